"""``/approvals/{id}``: where a client sends its user to decide a call. Spec: remote-servers 9.

The address carries no right and no personal data. The page takes a token, shows the question to
the user it is for, and hands out a sealed ticket for the decision, so that no other site can
make the browser decide. It uses the same use cases as the REST calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from scaimcp.errors import GatewayError, RequestRefused
from scaimcp.remotes.approvals import Approvals
from scaimcp.remotes.refusals import registry_disabled
from scaimcp.rest import approval_html as html
from scaimcp.rest.access import REFUSALS, Access, id_of
from scaimcp.rest.bodies import read_bytes
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


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """Who may decide which question, and until when (wall clock, seconds)."""

    tenant_id: str
    user_id: str
    method: str
    subject_type: str
    digest: bytes
    expires_at: float


class ApprovalPage:
    """Serves the page.

    Args:
        access: who holds a token.
        approvals: the use cases; None without a KEK: then there is no page.
        sealer: of label `LABEL`, for tickets.
        wall: the wall clock.
    """

    def __init__(
        self,
        access: Access,
        approvals: Approvals | None,
        sealer: Sealer,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._access = access
        self._approvals = approvals
        self._sealer = sealer
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
                parameters=(_ID,),
                errors=() if method == "GET" else (404, 409, 413, 415, *REFUSALS),
                media_type="text/html",
            )
            for method, (name, summary, handler) in summaries.items()
        )

    async def ask(self, request: Request) -> Response:
        """Ask for a token; the same answer for every id."""
        return _html(request, html.sign_in())

    async def submit(self, request: Request) -> Response:
        """Show the question to the holder of a token, or take the holder of a ticket's word."""
        try:
            fields = await _fields(request)
            if self._approvals is None:
                raise registry_disabled()
            if "ticket" in fields:
                return await self._decide(request, self._approvals, fields)
            return await self._show(request, self._approvals, fields.get("token", ""))
        except GatewayError as error:
            is_unknown = error.http_status == 401
            page = html.sign_in(_ADVICE) if is_unknown else html.failed(error.message)
            response = _html(request, page, error.http_status)
            if isinstance(error, RequestRefused) and error.challenge is not None:
                response.headers["www-authenticate"] = error.challenge
            return response

    async def _show(self, request: Request, approvals: Approvals, token: str) -> Response:
        context = await self._access.confirmed(request, token.strip().removeprefix("Bearer "))
        approvals.demand_person(context)
        approval_id = request.path_params["id"]
        view = await approvals.get(context.caller, approval_id)
        caller = context.caller
        ticket = Ticket(
            caller.tenant_id,
            caller.user_id,
            caller.method,
            caller.subject_type,
            bytes.fromhex(view.arguments_digest),
            view.expires_at.timestamp(),
        )
        sealed = self._sealer.seal(msgspec.msgpack.encode(ticket), approval_id.encode())
        return _html(request, html.question(view, sealed))

    async def _decide(
        self, request: Request, approvals: Approvals, fields: Mapping[str, str]
    ) -> Response:
        approval_id = request.path_params["id"]
        ticket = self._ticket(fields["ticket"], approval_id)
        decision = fields.get("decision")
        if ticket is None or decision not in ("approve", "deny"):
            raise _stale()
        view = await approvals.decide(
            _context(request, ticket),
            approval_id,
            ticket.digest,
            is_approved=decision == "approve",
        )
        return _html(request, html.decided(view))

    def _ticket(self, text: str, approval_id: str) -> Ticket | None:
        plain = self._sealer.open(text, approval_id.encode())
        if plain is None:
            return None
        ticket = msgspec.msgpack.decode(plain, type=Ticket)
        return ticket if ticket.expires_at > self._wall() else None


_ADVICE = "This token is not accepted. Paste a current access token of yours."


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


def _context(request: Request, ticket: Ticket) -> RequestContext:
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
    return RequestContext(id_of(request), caller, Secret(""))


def _stale() -> RequestRefused:
    return RequestRefused(
        "SCAILINK_STATE_CONFLICT", "This page is too old; open the address again.", http_status=409
    )


def _html(request: Request, page: str, status: int = 200) -> Response:
    headers = {**html.HEADERS, "x-request-id": id_of(request)}
    return HTMLResponse(page, status, headers=headers)
