"""``/approvals/{id}``: where a client sends its user to decide a call. Spec: remote-servers 9.

The address carries no right and no personal data. The page signs the user in through the
platform's login, or takes a token where there is none and in development. It shows the question
to the user it is for, and hands out a sealed ticket for the decision, so that no other site can
make the browser decide. It uses the same use cases as the REST calls.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl, quote

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from scaimcp.errors import GatewayError, RequestRefused
from scaimcp.remotes.consent.approvals import Approvals
from scaimcp.remotes.refusals import registry_disabled
from scaimcp.rest import approval_html as html
from scaimcp.rest.access import REFUSALS, Access, id_of, user_agent
from scaimcp.rest.bodies import read_bytes
from scaimcp.rest.login import QUERY, SignIn
from scaimcp.rest.routes import Parameter, RestRoute
from scaimcp.sealing import Sealer
from scaimcp.types import Caller, Grants, RequestContext, Secret

PATH = "/approvals/{id}"
LABEL = "link"
_MOST_BYTES = 32 * 1024
_FORM = "application/x-www-form-urlencoded"
_OWN_SITES = ("same-origin", "none")
_NOBODY = Grants(frozenset(), frozenset())
_ID = Parameter("id", "path", "Id of the approval.", is_required=True)
_BEGIN = Parameter(QUERY, "query", "Begins the sign-in; `anew` as another user.")


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """Who may decide which question, and until when (wall clock, seconds).

    With ``is_signed_in`` it serves only together with the cookie of the same user's sign-in.
    """

    tenant_id: str
    user_id: str
    method: str
    subject_type: str
    digest: bytes
    expires_at: float
    is_signed_in: bool = False


class ApprovalPage:
    """Serves the page.

    Args:
        access: who holds a token.
        approvals: the use cases; None without a KEK: then there is no page.
        sealer: of label `LABEL`, for tickets.
        sign_in: the platform's login.
        wall: the wall clock.
    """

    def __init__(
        self,
        access: Access,
        approvals: Approvals | None,
        sealer: Sealer,
        sign_in: SignIn,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._approvals = approvals
        self._sealer = sealer
        self._sign_in = sign_in
        self._wall = wall

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the two routes of the page."""
        summaries = {
            "GET": ("approvalPage", "The page that asks who decides a call.", self.ask),
            "POST": ("approvalPageSubmit", "What the page's forms send.", self.submit),
        }
        return tuple(
            RestRoute(
                method,
                PATH,
                name,
                summary,
                handler,
                str,
                is_enveloped=False,
                needs_bearer=False,
                parameters=(_ID, _BEGIN) if method == "GET" else (_ID,),
                errors=(403, 502, 503) if method == "GET" else (404, 409, 413, 415, *REFUSALS),
                media_type="text/html",
            )
            for method, (name, summary, handler) in summaries.items()
        )

    async def ask(self, request: Request) -> Response:
        """Show the question to whom it is for; else ask who is there, alike for every id."""
        if self._sign_in.is_offered and QUERY in request.query_params:
            return await self._sign_in.begin(request, _path(request))
        user_id = self._sign_in.user(request)
        if user_id is None:
            return _html(request, self._who(request))
        return await self._guarded(request, self._show_signed_in(request, user_id))

    async def submit(self, request: Request) -> Response:
        """Show the question to the holder of a token, or take the holder of a ticket's word."""
        return await self._guarded(request, self._submitted(request))

    async def _submitted(self, request: Request) -> Response:
        fields = await _fields(request)
        approvals = self._open()
        if "ticket" in fields:
            return await self._decide(request, approvals, fields)
        if self._sign_in.is_required or "decision" in fields:
            # Without the ticket nobody knows that this page has sent the form.
            raise _stale()
        return await self._show(request, approvals, fields.get("token", ""))

    async def _guarded(self, request: Request, answer: Awaitable[Response]) -> Response:
        """Return the answer, or the page of its refusal."""
        try:
            return await answer
        except GatewayError as error:
            is_unknown = error.http_status == 401
            page = self._who(request, _ADVICE) if is_unknown else html.failed(error.message)
            response = _html(request, page, error.http_status)
            if isinstance(error, RequestRefused) and error.challenge is not None:
                response.headers["www-authenticate"] = error.challenge
            if error.retry_after is not None:
                response.headers["retry-after"] = str(error.retry_after)
            return response

    def _who(self, request: Request, message: str = "") -> str:
        address = self._sign_in.address(_path(request))
        return html.sign_in(message, address=address, takes_token=not self._sign_in.is_required)

    def _open(self) -> Approvals:
        if self._approvals is None:
            raise registry_disabled()
        return self._approvals

    async def _show_signed_in(self, request: Request, user_id: str) -> Response:
        approvals = self._open()
        tenant_id = await approvals.tenant_of(user_id, request.path_params["id"])
        if tenant_id is None:
            # Alike for what is there for another user and for what is not there.
            address = self._sign_in.address(_path(request), anew=True)
            return _html(request, html.not_yours(address), 403)
        caller = Caller(b"", user_id, tenant_id, "", "", _NOBODY)
        return await self._question(request, approvals, caller, is_signed_in=True)

    async def _show(self, request: Request, approvals: Approvals, token: str) -> Response:
        context = await self._access.confirmed(request, token.strip().removeprefix("Bearer "))
        approvals.demand_person(context)
        return await self._question(request, approvals, context.caller, is_signed_in=False)

    async def _question(
        self, request: Request, approvals: Approvals, caller: Caller, *, is_signed_in: bool
    ) -> Response:
        approval_id = request.path_params["id"]
        view = await approvals.get(caller, approval_id)
        ticket = Ticket(
            caller.tenant_id,
            caller.user_id,
            caller.method,
            caller.subject_type,
            bytes.fromhex(view.arguments_digest),
            view.expires_at.timestamp(),
            is_signed_in,
        )
        sealed = self._sealer.seal(msgspec.msgpack.encode(ticket), _bound(approval_id))
        return _html(request, html.question(view, sealed))

    async def _decide(
        self, request: Request, approvals: Approvals, fields: Mapping[str, str]
    ) -> Response:
        approval_id = request.path_params["id"]
        ticket = self._ticket(fields["ticket"], approval_id)
        decision = fields.get("decision")
        if ticket is None or decision not in ("approve", "deny"):
            raise _stale()
        if ticket.is_signed_in and self._sign_in.user(request) != ticket.user_id:
            return _html(request, self._who(request, _OVER), 401)
        view = await approvals.decide(
            _context(self._access, request, ticket),
            approval_id,
            ticket.digest,
            is_approved=decision == "approve",
        )
        return _html(request, html.decided(view))

    def _ticket(self, text: str, approval_id: str) -> Ticket | None:
        plain = self._sealer.open(text, _bound(approval_id))
        if plain is None:
            return None
        ticket = msgspec.msgpack.decode(plain, type=Ticket)
        return ticket if ticket.expires_at > self._wall() else None


_ADVICE = "This token is not accepted. Paste a current access token of yours."
_OVER = "Your sign-in is over, or you are somebody else now. Nothing was decided."


def _path(request: Request) -> str:
    return PATH.format(id=quote(request.path_params["id"], safe=""))


def _bound(approval_id: str) -> bytes:
    # Nothing else that is sealed with this label begins so, whatever stands in the path.
    return f"ticket {approval_id}".encode()


async def _fields(request: Request) -> dict[str, str]:
    """Return the fields of a form that the page itself has sent.

    Raises:
        RequestRefused: 403 from another site, 413, 415.
    """
    if request.headers.get("sec-fetch-site", "none") not in _OWN_SITES:
        raise RequestRefused(
            "AUTHZ_PERMISSION_DENIED", "Another site has sent this form.", http_status=403
        )
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise RequestRefused(
            "UNSUPPORTED_MEDIA_TYPE", f"The body must be {_FORM}.", http_status=415
        )
    body = await read_bytes(request, _MOST_BYTES)
    return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=None))


def _context(access: Access, request: Request, ticket: Ticket) -> RequestContext:
    """Return the context of a ticket's holder: no bearer, and no rights beyond this decision."""
    caller = Caller(
        b"",
        ticket.user_id,
        ticket.tenant_id,
        "",
        "",
        _NOBODY,
        method=ticket.method,
        subject_type=ticket.subject_type,
    )
    return RequestContext(
        id_of(request),
        caller,
        Secret(""),
        client_ip=access.client_ip(request),
        user_agent=user_agent(request),
    )


def _stale() -> RequestRefused:
    return RequestRefused(
        "SCAILINK_STATE_CONFLICT", "This page is too old; open the address again.", http_status=409
    )


def _html(request: Request, page: str, status: int = 200) -> Response:
    headers = {**html.HEADERS, "x-request-id": id_of(request)}
    return HTMLResponse(page, status, headers=headers)
