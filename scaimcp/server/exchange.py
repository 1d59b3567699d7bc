"""One HTTP exchange: the answer as JSON, or as a stream once something has to be said first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from scaimcp.errors import GatewayError, ProtocolError, RequestRefused
from scaimcp.server.asgi import HeaderLines, Send
from scaimcp.server.envelope import encode, error_message
from scaimcp.server.ratelimit import LIMIT_FIELDS, limit_lines
from scaimcp.types import Allowance

_JSON = (b"content-type", b"application/json")
_STREAM: HeaderLines = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
)
KEEPALIVE = b": keep-alive\n\n"
# Copying this much costs more than another write.
_LARGE = 64 * 1024


class Exchange:
    """Writes one answer. ``is_streaming`` turns true with the first event.

    ``error`` is the stable code of the failure that the answer carries, ``tool`` the tool that
    was called, ``span`` the span of a traced request; each may stay None.
    """

    __slots__ = (
        "_send",
        "_writing",
        "error",
        "extra",
        "give_up_place",
        "is_done",
        "is_streaming",
        "request_id",
        "span",
        "status",
        "tool",
    )

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        # A call and its heartbeat may both have something to say first.
        self._writing: asyncio.Lock | None = None
        # Set while the request counts among the running ones.
        self.give_up_place: Callable[[], None] | None = None
        self.request_id = request_id
        self.extra: HeaderLines = ()
        self.is_streaming = False
        self.is_done = False
        self.status = 0
        self.error: str | None = None
        self.tool: Any = None
        self.span: Any = None

    def limited(self, allowance: Allowance) -> None:
        """Tell the client what its nearest limit leaves; of a batch, the last word counts."""
        kept = [line for line in self.extra if line[0] not in LIMIT_FIELDS]
        self.extra = (*kept, *limit_lines(allowance))

    def failed(self, code: str) -> None:
        """Note the stable code of the failure that the answer carries."""
        self.error = code

    def stand(self) -> None:
        """From now on the answer waits for news; it takes no place among the running ones."""
        if self.give_up_place is not None:
            self.give_up_place()
            self.give_up_place = None

    async def json(self, status: int, body: bytes) -> None:
        """Finish with a JSON body, as the last event when the stream has begun."""
        self.is_done = True
        if self.is_streaming:
            event = b"event: message\ndata: " + body + b"\n\n"
            await self._send({"type": "http.response.body", "body": event})
            return
        await self._start(
            status, (_JSON, (b"content-length", str(len(body)).encode()), *self.extra)
        )
        await self._send({"type": "http.response.body", "body": body})

    async def send(self, status: int, parts: tuple[bytes, ...]) -> None:
        """Finish with a JSON body in pieces; a large last one goes out as it is, uncopied."""
        if self.is_streaming or len(parts[-1]) < _LARGE:
            await self.json(status, b"".join(parts))
            return
        self.is_done = True
        size = str(sum(map(len, parts))).encode()
        await self._start(status, (_JSON, (b"content-length", size), *self.extra))
        small = b"".join(parts[:-1])
        await self._send({"type": "http.response.body", "body": small, "more_body": True})
        await self._send({"type": "http.response.body", "body": parts[-1]})

    async def empty(self, status: int, headers: HeaderLines = ()) -> None:
        """Finish without a body."""
        self.is_done = True
        if self.is_streaming:
            await self._send({"type": "http.response.body", "body": b""})
            return
        await self._start(status, ((b"content-length", b"0"), *headers, *self.extra))
        await self._send({"type": "http.response.body", "body": b""})

    async def event(self, body: bytes, name: bytes = b"message") -> None:
        """Send one event; the first one makes the answer a stream."""
        await self._stream(b"event: " + name + b"\ndata: " + body + b"\n\n")

    async def keepalive(self) -> None:
        """Send a comment, so that proxies do not close a quiet stream."""
        await self._stream(KEEPALIVE)

    async def notify(self, method: str, params: object) -> None:
        """Send a notification as an event."""
        await self.event(encode({"jsonrpc": "2.0", "method": method, "params": params}))

    async def refuse(self, error: GatewayError, message_id: bytes | None = None) -> None:
        """Finish with a JSON-RPC error in the status that the error asks for.

        Does nothing when the answer is complete: a fault that follows it cannot be told any more.
        """
        if self.is_done:
            return
        self.error = word(error)
        lines: list[tuple[bytes, bytes]] = []
        if isinstance(error, RequestRefused) and error.challenge is not None:
            lines.append((b"www-authenticate", error.challenge.encode("latin-1", "replace")))
        if error.retry_after is not None:
            lines.append((b"retry-after", str(error.retry_after).encode()))
        self.extra = (*self.extra, *lines)
        await self.json(error.http_status, error_message(message_id, error, self.request_id))

    async def _stream(self, chunk: bytes) -> None:
        if self.is_done:
            return
        if self._writing is None:
            self._writing = asyncio.Lock()
        async with self._writing:
            if not self.is_streaming:
                await self._start(200, (*_STREAM, *self.extra))
                self.is_streaming = True
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def _start(self, status: int, headers: HeaderLines) -> None:
        self.status = status
        lines = [*headers, (b"x-request-id", self.request_id.encode())]
        await self._send({"type": "http.response.start", "status": status, "headers": lines})


def word(error: GatewayError) -> str:
    """Return the stable code of a failure: its word, or the number of a bare JSON-RPC error."""
    return error.code or (str(error.number) if isinstance(error, ProtocolError) else "")
