"""``POST /mcp``: bytes in, bytes out. The order of checks is the order of this file.

Host, origin, verb, media type → room → bearer → body → JSON-RPC → revision → method.
Spec: register, Errors; MCP of all served revisions, Transports.
"""

from __future__ import annotations

import time
from urllib.parse import urlsplit

import msgspec

from scaimcp.auth import admittance
from scaimcp.auth.challenge import invalid_token, metadata_url, missing_token
from scaimcp.auth.verifier import Verifier
from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError, ProtocolError, RequestRefused
from scaimcp.gateway.view import UnknownOption, View, parse_view
from scaimcp.ids import new_id
from scaimcp.scaigrid.client import Trace
from scaimcp.server.asgi import Receive, Scope, Send
from scaimcp.server.attendant import ClientGone
from scaimcp.server.dispatch import Dispatcher, Inbound, internal_error
from scaimcp.server.envelope import INVALID_REQUEST
from scaimcp.server.exchange import Exchange
from scaimcp.server.headers import fold
from scaimcp.telemetry.logs import get_logger, working_for
from scaimcp.telemetry.metrics import in_flight, request_outcome
from scaimcp.types import Caller, RequestContext, Secret

HOPS = b"x-scaimcp-hops"
MAX_HOPS = 3
_ALLOW = ((b"allow", b"POST"),)
_log = get_logger("scaimcp.server")


class EdgePolicy(msgspec.Struct, frozen=True):
    """Limits and names of the endpoint.

    ``origins`` are allowed beside the gateway's own; a body must arrive in ``body_seconds``.
    """

    public_url: str
    hosts: frozenset[str]
    origins: frozenset[str]
    body_bytes: int
    inflight: int
    body_seconds: float = 30.0
    trusted_proxies: tuple[str, ...] = ()


class McpEndpoint:
    """The ASGI application behind ``/mcp``."""

    def __init__(self, verifier: Verifier, dispatcher: Dispatcher, policy: EdgePolicy) -> None:
        self._verifier = verifier
        self._dispatcher = dispatcher
        self._policy = policy
        self._metadata = metadata_url(policy.public_url)
        self._origins = policy.origins | {origin_of(policy.public_url)}
        self._proxies = admittance.Proxies(policy.trusted_proxies)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        started = time.perf_counter()
        headers, repeated = fold(scope["headers"])
        given = admittance.given_request_id(headers.get(b"x-request-id"))
        exchange = Exchange(send, given or new_id("req_"))
        working_for("request_id", exchange.request_id)
        exchange.give_up_place = self._give_up_place
        self._running += 1
        in_flight.add(1)
        method = "none"
        try:
            method = await self._serve(exchange, scope, receive, headers, repeated)
        except ClientGone:
            exchange.status = 0
        except GatewayError as error:
            await exchange.refuse(error)
        except Exception as error:  # noqa: BLE001 - the last line: nothing internal may leak
            _log.error("request failed", request_id=exchange.request_id, exc_info=error)
            await exchange.refuse(internal_error())
        finally:
            exchange.stand()
            in_flight.add(-1)
            self._observe(method, exchange, time.perf_counter() - started)

    def _give_up_place(self) -> None:
        self._running -= 1

    def _observe(self, method: str, exchange: Exchange, seconds: float) -> None:
        status = exchange.status
        outcome = "ok" if 200 <= status < 300 else str(status or "gone")
        count, duration = request_outcome("mcp", method, outcome)
        count.inc()
        duration.observe(seconds)

    async def _serve(
        self,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        headers: dict[bytes, bytes],
        repeated: bytes | None,
    ) -> str:
        """Check the bare request, then hand the body on; return the method for the metrics."""
        policy = self._policy
        admittance.check_host(headers.get(b"host"), policy.hosts)
        exchange.extra = admittance.check_origin(headers.get(b"origin"), self._origins)
        if scope["method"] == "OPTIONS" and exchange.extra:
            await exchange.empty(204, admittance.preflight())
            return "none"
        if scope["method"] != "POST":
            exchange.extra = (*exchange.extra, *_ALLOW)
            raise RequestRefused(
                "METHOD_NOT_ALLOWED", "This endpoint takes POST only.", http_status=405
            )
        admittance.check_media_type(headers.get(b"content-type"))
        _check_hops(headers)
        if self._running > policy.inflight:
            raise RequestRefused(
                "GATEWAY_BUSY", "Too many requests are running.", http_status=503, retry_after=1
            )
        try:
            view = parse_view(scope.get("query_string", b""))
        except UnknownOption as error:
            raise ProtocolError(INVALID_REQUEST, str(error)) from None
        context = self._known(exchange, scope, headers, view)
        if context is None:
            context = await self._identify(exchange, scope, headers, view)
        body = await self._body(receive, headers)
        path = scope["path"]
        request = Inbound(exchange, receive, headers, repeated, path, view, context)
        return await self._dispatcher.handle(request, body)

    def _known(
        self, exchange: Exchange, scope: Scope, headers: dict[bytes, bytes], view: View
    ) -> RequestContext | None:
        """Return the context of a caller whose bearer was confirmed just now, else None."""
        token = admittance.bearer(headers.get(b"authorization"))
        if token is None:
            raise missing_token(self._metadata)
        if not token:
            raise invalid_token(self._metadata)
        caller = self._verifier.remembered(token)
        if caller is None:
            return None
        return self._context(exchange, scope, headers, caller, token, view)

    async def _identify(
        self, exchange: Exchange, scope: Scope, headers: dict[bytes, bytes], view: View
    ) -> RequestContext:
        """Ask the platform who is calling."""
        token = admittance.bearer(headers.get(b"authorization")) or ""
        traceparent = admittance.given_traceparent(headers.get(b"traceparent"))
        trace = Trace(exchange.request_id, traceparent, self._client_ip(scope))
        caller = await self._verifier.verify(token, trace)
        return self._context(exchange, scope, headers, caller, token, view)

    def _context(
        self,
        exchange: Exchange,
        scope: Scope,
        headers: dict[bytes, bytes],
        caller: Caller,
        token: str,
        view: View,
    ) -> RequestContext:
        return RequestContext(
            exchange.request_id,
            caller,
            Secret(token),
            admittance.given_traceparent(headers.get(b"traceparent")),
            self._client_ip(scope),
            view=view,
            answer=exchange,
            hops=int(headers[HOPS]) if HOPS in headers else 0,
            user_agent=admittance.user_agent(headers.get(b"user-agent")),
        )

    def _client_ip(self, scope: Scope) -> str | None:
        peer = scope.get("client")
        # Every proxy may have added a line of its own.
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        forwarded = {b"x-forwarded-for": b",".join(lines)}
        return self._proxies.client_ip(peer[0] if peer else None, forwarded)

    async def _body(self, receive: Receive, headers: dict[bytes, bytes]) -> bytes:
        most = self._policy.body_bytes
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > most:
            raise _too_large()
        try:
            with Deadline(self._policy.body_seconds):
                return await read_body(receive, most)
        except TimeoutError:
            raise RequestRefused(
                "REQUEST_TIMEOUT", "The body did not arrive in time.", http_status=408
            ) from None


async def read_body(receive: Receive, most: int) -> bytes:
    """Read a request's body of at most `most` bytes.

    Raises:
        RequestRefused: 413.
        ClientGone: the client left before the end.
    """
    chunks: list[bytes] = []
    size, has_more = 0, True
    while has_more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > most:
            raise _too_large()
        has_more = message.get("more_body", False)
    return b"".join(chunks) if len(chunks) > 1 else chunks[0]


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers send it: lower case, no default port."""
    parts = urlsplit(url.lower())
    default = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(default)}"


def _check_hops(headers: dict[bytes, bytes]) -> None:
    """Refuse requests that have passed too many gateways, or do not say how many."""
    hops = headers.get(HOPS)
    if hops is not None and not (hops.isdigit() and len(hops) == 1 and int(hops) < MAX_HOPS):
        raise RequestRefused(
            "LOOP_DETECTED", "The request has passed too many gateways.", http_status=508
        )


def _too_large() -> RequestRefused:
    return RequestRefused("PAYLOAD_TOO_LARGE", "The body is too large.", http_status=413)
