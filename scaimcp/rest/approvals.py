"""``/v1/modules/scailink/approvals``: the questions to a user. Spec: remote-servers 1, 9."""

from __future__ import annotations

import re

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.errors import RequestRefused
from scaimcp.remotes.consent.approvals import Approvals, ApprovalView
from scaimcp.remotes.enumerations import ApprovalState
from scaimcp.remotes.models import Position
from scaimcp.remotes.refusals import registry_disabled
from scaimcp.rest.access import REFUSALS, Access, id_of
from scaimcp.rest.bodies import read_object
from scaimcp.rest.paging import Cursors, invalid_query, limit_of
from scaimcp.rest.responses import listing, success
from scaimcp.rest.routes import Parameter, RestRoute
from scaimcp.types import RequestContext

ROOT = "/v1/modules/scailink/approvals"
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_ID = Parameter("id", "path", "Id of the approval.", is_required=True)
_BODY_ERRORS = (400, 404, 409, 413, 415, 422)


class Decision(msgspec.Struct, frozen=True):
    """``arguments_digest`` is the one that was shown, 64 hexadecimal digits."""

    arguments_digest: str


class ApprovalList(msgspec.Struct, frozen=True):
    """A page of questions, newest first."""

    items: list[ApprovalView]


class ApprovalResource:
    """Serves questions to the user whose calls they are about.

    Args:
        access: who calls.
        approvals: the use cases; None without a KEK: then every call is 503.
        cursors: of lists.
    """

    def __init__(self, access: Access, approvals: Approvals | None, cursors: Cursors) -> None:
        self._access = access
        self._approvals = approvals
        self._cursors = cursors

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the routes of this resource."""
        return (
            RestRoute(
                "GET",
                ROOT,
                "listApprovals",
                "List the questions about the caller's own calls.",
                self.index,
                ApprovalList,
                parameters=(
                    Parameter("state", "query", "Only questions in this state."),
                    Parameter("limit", "query", "1 to 200; 50 if absent."),
                    Parameter("cursor", "query", "Where the page begins."),
                ),
                errors=(422, *REFUSALS),
            ),
            RestRoute(
                "GET",
                f"{ROOT}/{{id}}",
                "getApproval",
                "Return one question with the arguments of the call.",
                self.show,
                ApprovalView,
                parameters=(_ID,),
                errors=(404, *REFUSALS),
            ),
            RestRoute(
                "POST",
                f"{ROOT}/{{id}}/approve",
                "approveCall",
                "Let the call run once.",
                self.approve,
                ApprovalView,
                parameters=(_ID,),
                errors=(*_BODY_ERRORS, *REFUSALS),
                body=Decision,
            ),
            RestRoute(
                "POST",
                f"{ROOT}/{{id}}/deny",
                "denyCall",
                "Refuse the call.",
                self.deny,
                ApprovalView,
                parameters=(_ID,),
                errors=(*_BODY_ERRORS, *REFUSALS),
                body=Decision,
            ),
        )

    async def index(self, request: Request) -> Response:
        """Return a page of the caller's questions."""
        context, approvals = await self._opened(request)
        state = _state_of(request)
        filters = ("approvals", state)
        after = self._cursors.open(request, context.caller, filters, Position)
        page = await approvals.list(context.caller, state, after, limit_of(request))
        cursor = None
        if page.has_more:
            last = page.items[-1]
            place = Position(last.created_at, last.id)
            cursor = self._cursors.seal(context.caller, filters, place)
        return listing(page.items, cursor, id_of(request))

    async def show(self, request: Request) -> Response:
        """Return one question."""
        context, approvals = await self._opened(request)
        found = await approvals.get(context.caller, request.path_params["id"])
        return success(found, id_of(request))

    async def approve(self, request: Request) -> Response:
        """Let the call run once."""
        return await self._decide(request, is_approved=True)

    async def deny(self, request: Request) -> Response:
        """Refuse the call."""
        return await self._decide(request, is_approved=False)

    async def _decide(self, request: Request, *, is_approved: bool) -> Response:
        context, approvals = await self._opened(request)
        approvals.demand_person(context)
        digest = read_decision(await read_object(request))
        found = await approvals.decide(
            context, request.path_params["id"], digest, is_approved=is_approved
        )
        return success(found, id_of(request))

    async def _opened(self, request: Request) -> tuple[RequestContext, Approvals]:
        context = await self._access.context(request)
        if self._approvals is None:
            raise registry_disabled()
        return context, self._approvals


def read_decision(body: dict[str, object]) -> bytes:
    """Return the digest that a decision names.

    Raises:
        RequestRefused: 422 with every fault.
    """
    details = [
        {"field": field[:64], "message": "is not a known field"}
        for field in body
        if field != "arguments_digest"
    ]
    given = body.get("arguments_digest")
    if not isinstance(given, str) or not _DIGEST.match(given):
        fault = "must be the 64 hexadecimal digits that were shown"
        details.append({"field": "arguments_digest", "message": fault})
        given = ""
    if details:
        raise RequestRefused(
            "VALIDATION_ERROR",
            "The request is not valid.",
            http_status=422,
            details=tuple(details),
        )
    return bytes.fromhex(given)


def _state_of(request: Request) -> ApprovalState | None:
    given = request.query_params.get("state")
    if given is None:
        return None
    try:
        return ApprovalState(given)
    except ValueError:
        raise invalid_query("state", f"must be one of {', '.join(ApprovalState)}") from None
