"""MCP servers of the official SDK, any number behind one port, told apart by the first segment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from mcp.server.mcpserver import MCPServer

from tests.integration.upstream import support
from tests.world import bound, serve_at


class Gate:
    """Holds requests until it is opened; `arrived` tells that one waits."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.opened = asyncio.Event()

    async def passed(self) -> None:
        self.arrived.set()
        await self.opened.wait()


class Upstream:
    """One SDK server under any number of names, and what it heard.

    Attributes:
        tokens: the bearer that came with a call of ``echo``, by the call's argument.
        asked: name and JSON-RPC method of every request, oldest first.
        gates: hold requests, by name and method.
    """

    def __init__(self, server: MCPServer[Any]) -> None:
        self.server = server
        self.origin = ""
        self.tokens: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.gates: dict[tuple[str, str], Gate] = {}

    def url(self, name: str) -> str:
        """The endpoint of the server with this name."""
        return f"{self.origin}/{name}/mcp"

    def offer(self, *tools: str) -> None:
        """Offer further tools."""
        for name in tools:
            self.server.add_tool(_echo, name=name, description=f"Does {name}.")

    def hold(self, name: str, method: str) -> Gate:
        """Hold the requests of a method to one name from now on."""
        self.gates[(name, method)] = gate = Gate()
        return gate

    def front(self, app: Any) -> Any:
        """Return `app` under every name."""

        async def serve(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            name, _, rest = scope["path"].lstrip("/").partition("/")
            body = await _body(receive)
            message = msgspec.json.decode(body) if body else {}
            await self._take(name, scope, message)
            path = f"/{rest}"
            inner = {**scope, "path": path, "raw_path": path.encode()}
            await app(inner, _again(body, receive), send)

        return serve

    async def _take(self, name: str, scope: Any, message: Any) -> None:
        method = message.get("method", "")
        self.asked.append((name, method))
        if method == "tools/call":
            word = message["params"].get("arguments", {}).get("q", "")
            bearer = dict(scope["headers"]).get(b"authorization", b"").decode()
            self.tokens[word] = bearer.removeprefix("Bearer ")
        gate = self.gates.get((name, method))
        if gate is not None:
            await gate.passed()


async def _echo(q: str = "") -> str:
    return q


async def _body(receive: Any) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _again(body: bytes, receive: Any) -> Any:
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Any:
        return pending.pop() if pending else await receive()

    return again


@asynccontextmanager
async def serve_upstream(tools: Sequence[str] = ("echo",)) -> AsyncIterator[Upstream]:
    """Serve an SDK server on a port of its own."""
    upstream = Upstream(MCPServer("upstream", version="1", log_level="CRITICAL"))
    upstream.offer(*tools)
    app = upstream.server.streamable_http_app(transport_security=support.OPEN)
    place = bound()
    async with serve_at(place, upstream.front(app)) as origin:
        upstream.origin = origin
        try:
            yield upstream
        finally:
            for gate in upstream.gates.values():
                gate.opened.set()
