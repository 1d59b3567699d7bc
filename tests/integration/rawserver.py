"""An HTTP server that can misbehave byte by byte, and records what really arrived."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import msgspec


@dataclass
class Seen:
    """One request as it came over the wire."""

    method: str
    target: str
    lines: list[tuple[str, str]]
    body: bytes
    at: float

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.lines}


Writer = asyncio.StreamWriter
Play = Callable[[Writer], Awaitable[None]]
"""Answers one request; closing the writer ends the connection."""


def reply(
    status: int = 200, body: bytes | Any = b"", *lines: str, content_type: str = "application/json"
) -> Play:
    """Return a play that sends a whole answer; a body that is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)

    async def play(writer: Writer) -> None:
        head = [
            f"HTTP/1.1 {status} X",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(content)}",
            *lines,
        ]
        writer.write("\r\n".join([*head, "", ""]).encode("latin-1") + content)
        await writer.drain()

    return play


def raw(content: bytes, *, then_close: bool = True) -> Play:
    """Return a play that sends exactly these bytes."""

    async def play(writer: Writer) -> None:
        writer.write(content)
        await writer.drain()
        if then_close:
            writer.close()

    return play


def reset() -> Play:
    """Return a play that breaks the connection off without a word."""

    async def play(writer: Writer) -> None:
        writer.transport.abort()

    return play


def waiting(release: asyncio.Event, after: Play) -> Play:
    """Return a play that waits for `release` first."""

    async def play(writer: Writer) -> None:
        await release.wait()
        await after(writer)

    return play


def error(status: int, code: str, *lines: str, **more: Any) -> Play:
    """Return a play that sends the platform's error envelope."""
    body = {"status": "error", "error": {"code": code, "message": "Because.", **more}}
    return reply(status, body, *lines)


@dataclass
class RawServer:
    """Plays `plays` one by one, then `default` for ever."""

    default: Play = field(default_factory=lambda: reply(200, {"status": "ok", "data": {"a": 1}}))
    plays: list[Play] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    lost: int = 0
    url: str = ""
    current: WeakKeyDictionary[Writer, Seen] = field(default_factory=WeakKeyDictionary)
    """What each connection asks now; `seen` has them in the order in which they came."""

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                request = self.current[writer] = await _read_request(reader)
                self.seen.append(request)
                play = self.plays.pop(0) if self.plays else self.default
                answering = asyncio.get_running_loop().create_task(_answer(play, writer))
                watching = asyncio.get_running_loop().create_task(reader.read(1))
                try:
                    await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
                    if not answering.done():
                        self.lost += 1
                        break
                finally:
                    for task in (answering, watching):
                        task.cancel()
                    await asyncio.gather(answering, watching, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def _answer(play: Play, writer: Writer) -> None:
    with contextlib.suppress(ConnectionError):
        await play(writer)


async def _read_request(reader: asyncio.StreamReader) -> Seen:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    lines = [(name, value.strip()) for name, _, value in (line.partition(":") for line in rest)]
    headers = {name.lower(): value for name, value in lines}
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readuntil(b"\r\n")), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    return Seen(method, target, lines, body, asyncio.get_running_loop().time())


@asynccontextmanager
async def serve_raw(context: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Serve on a free loopback port."""
    server = RawServer()
    running: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        try:
            await server.serve(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            running.discard(task)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        listening.close()
        for task in list(running):
            task.cancel()
        if running:
            await asyncio.wait(running)


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until `condition` holds."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it did not become true in time"
        await asyncio.sleep(0.005)


class Clock:
    """A clock that only the test moves."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
