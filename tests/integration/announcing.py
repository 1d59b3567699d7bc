"""Servers that tell of changes of their lists: of the official SDK, and raw ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.mcpserver import MCPServer
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged
from mcp_types import NotificationParams

from tests.integration.rawserver import RawServer, Writer, eventually, reply
from tests.integration.upstream.support import OPEN, Fleet, recording, serving, without_modern

CHANGED = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
DECLARED = {"tools": {"listChanged": True}}


@dataclass
class Announcing:
    """A server of the SDK whose tools change while it runs."""

    fleet: Fleet
    server: MCPServer[Any]
    bus: InMemorySubscriptionBus
    sessions: list[Any] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.fleet.url

    def add(self, name: str) -> None:
        """Add a tool without a word."""
        self.server.add_tool(_does_nothing, name=name, description=f"Does {name}.")

    async def announce(self, sessions: int = 0) -> None:
        """Tell everybody who listens that the tools have changed.

        Args:
            sessions: how many of the handshake era there have been; the SDK takes note of one
                only after it has answered.
        """
        await eventually(lambda: len(self.sessions) >= sessions)
        for session in self.sessions:
            await session.send_tool_list_changed()
        await self.bus.publish(ToolsListChanged())

    def asked(self, method: str) -> int:
        """How many requests of an HTTP method there were."""
        return sum([one == method for one, _ in self.fleet.requests])


async def _does_nothing(q: str = "") -> str:
    return q


@asynccontextmanager
async def announcing(era: str, *tools: str) -> AsyncIterator[Announcing]:
    """Serve a server that announces: ``modern`` (both eras), ``legacy`` only, or ``sse``."""
    bus = InMemorySubscriptionBus()
    server: MCPServer[Any] = MCPServer("news", log_level="CRITICAL", subscriptions=bus)
    told = Announcing(Fleet(), server, bus)
    for name in tools or ("search",):
        told.add(name)
    low = server._lowlevel_server
    # The SDK's own way of declaring `listChanged` is an argument that its applications leave out.
    options = partial(low.create_initialization_options, NotificationOptions(tools_changed=True))
    vars(low)["create_initialization_options"] = options

    async def initialized(context: Any, params: NotificationParams) -> None:
        told.sessions.append(context.session)

    low.add_notification_handler("notifications/initialized", NotificationParams, initialized)
    app: Any = None
    if era == "sse":
        app = server.sse_app(transport_security=OPEN)
    else:
        app = server.streamable_http_app(transport_security=OPEN)
    app = recording(app if era == "modern" else without_modern(app), told.fleet)
    async with serving(app) as origin:
        told.fleet.url = f"{origin}/{'sse' if era == 'sse' else 'mcp'}"
        yield told


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def event(data: bytes | Any, kind: str = "message") -> bytes:
    """One event as it stands on the wire."""
    content = data if isinstance(data, bytes) else msgspec.json.encode(data)
    return b"event: " + kind.encode() + b"\ndata: " + content + b"\n\n"


class Player:
    """A raw server of the handshake era, over streamable HTTP or HTTP+SSE, with open streams.

    `streams` are those that are open now; `get` replaces the answer to a GET; `posts` holds every
    message that was sent here.
    """

    def __init__(self, raw: RawServer, *, is_sse: bool = False) -> None:
        self.raw = raw
        self.url = f"{raw.url}/{'sse' if is_sse else 'mcp'}"
        self.streams: list[Writer] = []
        self.gets = 0
        self.get: Any = None
        self.head = HEAD
        self.posts: list[Any] = []
        self.capabilities: dict[str, Any] = DECLARED
        self._is_sse = is_sse
        raw.default = self.play

    async def play(self, writer: Writer) -> None:
        seen = self.raw.current[writer]
        if seen.method == "GET":
            self.gets += 1
            await (self.get or self.stream)(writer)
        elif seen.method == "DELETE":
            await reply(204)(writer)
        else:
            await self._posted(msgspec.json.decode(seen.body), writer)

    async def stream(self, writer: Writer) -> None:
        """Keep a stream open."""
        writer.write(self.head)
        if self._is_sse:
            writer.write(event(b"/messages?session=1", "endpoint"))
        await writer.drain()
        self.streams.append(writer)
        try:
            await asyncio.Event().wait()
        finally:
            self.streams.remove(writer)

    async def say(self, content: bytes) -> None:
        """Send bytes on every open stream."""
        for writer in tuple(self.streams):
            writer.write(content)
            await writer.drain()

    async def _posted(self, message: Any, writer: Writer) -> None:
        self.posts.append(message)
        method = message.get("method")
        if method is None or "id" not in message:
            await reply(202)(writer)
            return
        result: Any = {"tools": [{"name": "search", "inputSchema": {"type": "object"}}]}
        if method == "initialize":
            result = {
                "protocolVersion": "2024-11-05" if self._is_sse else "2025-11-25",
                "capabilities": self.capabilities,
                "serverInfo": {"name": "raw", "version": "1"},
            }
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        if method == "server/discover":
            answer = {**answer, "error": {"code": -32601, "message": "No."}}
            del answer["result"]
        if self._is_sse:
            await reply(202)(writer)
            await self.say(event(answer))
            return
        session = () if method == "server/discover" else ("Mcp-Session-Id: s-1",)
        await reply(200, answer, *session)(writer)

    @property
    def deleted(self) -> int:
        """How many sessions were ended."""
        return sum([seen.method == "DELETE" for seen in self.raw.seen])
