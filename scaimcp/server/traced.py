"""``/mcp`` with a span for each request. Spec: register, Settings (tracing)."""

from __future__ import annotations

from scaimcp.auth import admittance
from scaimcp.auth.verifier import Verifier
from scaimcp.server.asgi import Receive, Scope
from scaimcp.server.dispatch import Dispatcher
from scaimcp.server.endpoint import EdgePolicy, McpEndpoint
from scaimcp.server.exchange import Exchange
from scaimcp.server.revisions import SUPPORTED
from scaimcp.telemetry.tracing import Tracing

# A name that no tool has is the client's own text, of any length.
_NAME_CHARS = 128


class TracedEndpoint(McpEndpoint):
    """The endpoint when tracing is on.

    The span's context takes the place of the request's own ``traceparent``, so that everything
    asked of the platform for this request hangs below it.
    """

    def __init__(
        self, verifier: Verifier, dispatcher: Dispatcher, policy: EdgePolicy, tracing: Tracing
    ) -> None:
        super().__init__(verifier, dispatcher, policy)
        self._tracing = tracing

    async def _serve(
        self,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        headers: dict[bytes, bytes],
        repeated: bytes | None,
    ) -> str:
        given = admittance.given_traceparent(headers.get(b"traceparent"))
        attributes = {"scaimcp.request_id": exchange.request_id}
        version = headers.get(b"mcp-protocol-version", b"").decode("latin-1")
        if version in SUPPORTED:
            attributes["mcp.protocol.version"] = version
        exchange.span = self._tracing.start("mcp", "SERVER", given, attributes)
        headers[b"traceparent"] = exchange.span.traceparent.encode()
        return await super()._serve(exchange, scope, receive, headers, repeated)

    def _observe(self, method: str, exchange: Exchange, seconds: float) -> None:
        super()._observe(method, exchange, seconds)
        attributes: dict[str, str | int] = {"mcp.method.name": method}
        if exchange.status:
            attributes["http.response.status_code"] = exchange.status
        # A name that no tool has is the client's own text, and may be anything.
        if isinstance(exchange.tool, str) and exchange.error != "TOOL_NOT_FOUND":
            attributes["gen_ai.tool.name"] = exchange.tool[:_NAME_CHARS]
        error = exchange.error if exchange.status else "cancelled"
        exchange.span.end(attributes, error=error, name=f"mcp {method}")
