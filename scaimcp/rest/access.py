"""Who calls a REST route: the same bearer, verifier and challenges as at ``/mcp``."""

from __future__ import annotations

from starlette.requests import Request

from scaimcp.auth import admittance
from scaimcp.auth.challenge import invalid_token, metadata_url, missing_token
from scaimcp.auth.permissions import holds
from scaimcp.auth.verifier import Verifier
from scaimcp.errors import RequestRefused
from scaimcp.ids import new_id
from scaimcp.scaigrid.client import Trace
from scaimcp.types import RequestContext, Secret

# Statuses with which a bearer may be refused.
REFUSALS = (401, 403, 429, 502, 503)


class Access:
    """Checks REST requests.

    Args:
        proxies: tells the client's address.
    """

    def __init__(self, verifier: Verifier, public_url: str, proxies: admittance.Proxies) -> None:
        self._verifier = verifier
        self._metadata = metadata_url(public_url)
        self._proxies = proxies

    async def context(self, request: Request) -> RequestContext:
        """Return who calls.

        Raises:
            RequestRefused: 401, 403, 429, 502 or 503, as at ``/mcp``.
        """
        raw = request.headers.get("authorization")
        token = admittance.bearer(raw.encode("latin-1") if raw is not None else None)
        if token is None:
            raise missing_token(self._metadata)
        return await self.confirmed(request, token)

    async def confirmed(self, request: Request, token: str) -> RequestContext:
        """Return who holds `token`, however it came.

        Raises:
            RequestRefused: as `context`.
        """
        if not token:
            raise invalid_token(self._metadata)
        given = request.headers.get("traceparent")
        traceparent = admittance.given_traceparent(given.encode("latin-1") if given else None)
        request_id = id_of(request)
        client_ip = self.client_ip(request)
        caller = await self._verifier.verify(token, Trace(request_id, traceparent, client_ip))
        return RequestContext(
            request_id,
            caller,
            Secret(token),
            traceparent,
            client_ip,
            user_agent=user_agent(request),
        )

    def client_ip(self, request: Request) -> str | None:
        """Return the client's address, None where it cannot be told."""
        peer = request.client.host if request.client is not None else None
        # A proxy may add a line of its own below the one that the client wrote.
        forwarded = ",".join(request.headers.getlist("x-forwarded-for")).encode("latin-1")
        return self._proxies.client_ip(peer, {b"x-forwarded-for": forwarded})


def demand(context: RequestContext, permission: str) -> None:
    """Refuse a caller without `permission`; unresolved permissions open nothing here.

    Raises:
        RequestRefused: 403.
    """
    if not holds(context.caller.grants, permission, is_guarded=True):
        raise RequestRefused(
            "AUTHZ_PERMISSION_DENIED", f"This needs {permission}.", http_status=403
        )


def user_agent(request: Request) -> str | None:
    """Return what the client calls itself, None where it does not say."""
    return admittance.user_agent(request.headers.get("user-agent", "").encode("latin-1"))


def id_of(request: Request) -> str:
    """Return the request's id: the client's own if it is well-formed, else a new one."""
    known: str | None = getattr(request.state, "request_id", None)
    if known is None:
        given = request.headers.get("x-request-id", "").encode("latin-1")
        known = admittance.given_request_id(given) or new_id("req_")
        request.state.request_id = known
    return known
