"""Real MCP servers on loopback sockets, and the guarded client that reaches them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import BaseModel

from scaimcp.errors import EndpointForbidden
from scaimcp.outbound import GuardedHttp, open_guarded_http
from scaimcp.types import Secret
from scaimcp.upstream.opening import Opening
from scaimcp.upstream.request import Opener, Target

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
OPEN = TransportSecuritySettings(enable_dns_rebinding_protection=False)


class AllowAll:
    """A policy that records what it was asked, and refuses what it was told to."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.asked: list[tuple[str, int, tuple[str, ...]]] = []

    def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        self.asked.append((host, port, tuple(addresses)))
        for address in addresses:
            if address in self.refused:
                raise EndpointForbidden("address", "The address is off limits.", address=address)


@asynccontextmanager
async def guarded(policy: AllowAll | None = None, **more: Any) -> AsyncIterator[GuardedHttp]:
    async with open_guarded_http(policy or AllowAll(), "ScaiMCP/test", **more) as http:
        yield http


def target(url: str, **credentials: str) -> Target:
    """A target with credential headers; underscores in names stand for hyphens."""
    named = tuple((key.replace("_", "-"), Secret(value)) for key, value in credentials.items())
    return Target(url, named)


def opener(url: str, **credentials: str) -> Opener:
    async def opened() -> Target:
        return target(url, **credentials)

    return opened


def opening(url: str, **more: Any) -> Opening:
    """An opening that declares forms."""
    return Opening(opener(url), **{"elicitation": ("form",), **more})


@dataclass
class Heard:
    """A listener that keeps what it hears and answers elicitations with `answer`."""

    answer: bytes | None = None
    notes: list[tuple[str, Any]] = field(default_factory=list)
    questions: list[Any] = field(default_factory=list)

    async def notified(self, method: str, params: bytes) -> None:
        self.notes.append((method, msgspec.json.decode(params) if params else None))

    async def asked(self, method: str, params: bytes) -> bytes | None:
        self.questions.append(msgspec.json.decode(params))
        return self.answer

    def progress(self) -> list[float]:
        return [p["progress"] for method, p in self.notes if method == "notifications/progress"]


class Approval(BaseModel):
    approve: bool


@dataclass
class Fleet:
    """What the tools of `sdk_server` did."""

    started: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""


def sdk_server(fleet: Fleet) -> MCPServer[Any]:
    """The official SDK's server with one tool for each behaviour."""
    server = MCPServer("fleet", version="3.2.0", instructions="Be kind.", log_level="CRITICAL")

    @server.tool()
    async def add(a: int, b: int) -> int:
        fleet.started.append("add")
        return a + b

    @server.tool()
    async def fail() -> str:
        raise ValueError("it broke")

    @server.tool()
    async def steps(ctx: Context[Any, Any]) -> str:
        for at in (1.0, 2.0, 3.0):
            await ctx.report_progress(at, 3.0, f"step {at:g}")
        return "done"

    @server.tool()
    async def ask(ctx: Context[Any, Any]) -> str:
        answer = await ctx.elicit("Really?", Approval)
        return f"{answer.action} {getattr(answer, 'data', None)}"

    @server.tool()
    async def linger() -> str:
        fleet.started.append("linger")
        try:
            await asyncio.sleep(3_600)
        except asyncio.CancelledError:
            fleet.cancelled.append("linger")
            raise
        return "never"

    @server.resource("note://one", name="one")
    async def note() -> str:
        return "a note"

    @server.prompt()
    async def greet(name: str) -> str:
        return f"Hello {name}"

    return server


def recording(app: Any, fleet: Fleet) -> Any:
    """Record the headers of every request."""

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            fleet.requests.append((scope["method"], headers))
        await app(scope, receive, send)

    return record


def without_modern(app: Any) -> Any:
    """Refuse requests of 2026-07-28 as servers of the handshake era do."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if headers.get(b"mcp-protocol-version") == b"2026-07-28":
            body = (
                b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"No valid session"}}'
            )
            await send(
                {
                    "type": "http.response.start",
                    "status": 400,
                    "headers": [(b"content-type", b"application/json")],
                }
            )
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)

    return refuse


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI application on a free loopback port; give its origin."""
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, lifespan="on")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    running = asyncio.get_running_loop().create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            assert not running.done(), running
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        listening.close()


@asynccontextmanager
async def sdk(era: str = "both", **more: Any) -> AsyncIterator[Fleet]:
    """Serve the SDK's server: ``both`` eras, ``legacy`` only, or ``sse``."""
    fleet = Fleet()
    server = sdk_server(fleet)
    if era == "sse":
        app: Any = server.sse_app(transport_security=OPEN)
    else:
        app = server.streamable_http_app(transport_security=OPEN, **more)
    app = recording(app if era != "legacy" else without_modern(app), fleet)
    async with serving(app) as origin:
        fleet.url = f"{origin}/{'sse' if era == 'sse' else 'mcp'}"
        yield fleet
