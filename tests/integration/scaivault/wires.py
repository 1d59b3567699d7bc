"""One way of asking for every transport, which keeps all that came over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
import msgspec

from tests.integration.scaivault.child import Child, Web, environment, started, web
from tests.waiting import DEADLINE
from tests.world import Client

TRANSPORTS = ("stdio", "streamable-http", "sse")
_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}
# A line of an event stream; more than any answer here.
_LINE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Said:
    """What one message was answered with.

    Attributes:
        answer: the JSON-RPC answer.
        body: its text as it came.
        headers: every header line of the HTTP answer, "" where there is none.
    """

    answer: Any
    body: str
    headers: str = ""

    @property
    def text(self) -> str:
        return f"{self.headers}\n{self.body}"


class Wire(Protocol):
    """Takes JSON-RPC to a server."""

    async def send(self, body: bytes) -> Said:
        """Send a message, or what is none, and return its answer."""
        ...


async def ask(wire: Wire, method: str, params: Any = None) -> Said:
    """Send a request."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    return await wire.send(msgspec.json.encode(message))


def lines_of(headers: Any) -> str:
    """Return the headers of an HTTP answer as text."""
    return "\n".join(f"{name}: {value}" for name, value in headers.items())


@dataclass
class Lines:
    """stdio."""

    child: Child

    async def send(self, body: bytes) -> Said:
        await self.child.send(body)
        assert self.child.process.stdout is not None
        while True:
            async with asyncio.timeout(DEADLINE):
                line = await self.child.process.stdout.readline()
            answer = msgspec.json.decode(line)
            if "method" not in answer:
                return Said(answer, line.decode())


@dataclass
class Posts:
    """Streamable HTTP."""

    web: Web

    async def send(self, body: bytes) -> Said:
        status, headers, content = await self.web.post(body)
        text = content.decode()
        assert text, status
        return Said(msgspec.json.decode(content), text, lines_of(headers))


@dataclass
class Events:
    """HTTP+SSE: what is posted is answered on the stream."""

    web: Web
    stream: aiohttp.ClientResponse
    target: str = ""

    async def send(self, body: bytes) -> Said:
        status, headers, content = await self.web.post(body, self.target)
        assert status == 202, content
        event = await self.event()
        text = f"{content.decode()}\n{event}"
        answer = msgspec.json.decode(_data(event))
        return Said(answer, text, f"{lines_of(headers)}\n{lines_of(self.stream.headers)}")

    async def event(self) -> str:
        """Return the lines of the next event; comments are passed over."""
        found: list[str] = []
        async with asyncio.timeout(DEADLINE):
            while not found or found[-1]:
                line = (await self.stream.content.readline()).decode()
                assert line, "the stream has ended"
                if not line.startswith(":") and (found or line.strip()):
                    found.append(line.rstrip("\r\n"))
        return "\n".join(found).strip()


@dataclass
class Mcp:
    """``/mcp`` of a gateway."""

    client: Client

    async def send(self, body: bytes) -> Said:
        reply = await self.client.send(body)
        answer = reply.events[-1] if reply.is_stream else reply.json
        return Said(answer, reply.content.decode(), lines_of(reply.headers))


@asynccontextmanager
async def connected(transport: str, url: str, **more: str) -> AsyncIterator[tuple[Wire, Child]]:
    """Start the command for a transport and shake hands.

    Args:
        transport: one of `TRANSPORTS`.
        url: of the vault.
        more: further names of the environment.
    """
    if transport == "stdio":
        async with started(environment(url, **more)) as child:
            await child.initialize()
            yield Lines(child), child
        return
    async with web(transport, url, **more) as running:
        if transport == "streamable-http":
            yield Posts(running), running.child
            return
        async with _stream(running) as events:
            await ask(events, "initialize", _HELLO)
            yield events, running.child


@asynccontextmanager
async def _stream(running: Web) -> AsyncIterator[Events]:
    async with running.http.get(
        running.url + "/sse", timeout=aiohttp.ClientTimeout(total=None), read_bufsize=_LINE_BYTES
    ) as answer:
        events = Events(running, answer)
        events.target = _data(await events.event())
        yield events


def _data(event: str) -> str:
    return next(line[6:] for line in event.split("\n") if line.startswith("data: "))
