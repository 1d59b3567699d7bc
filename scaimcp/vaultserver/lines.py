"""An answer that is written as whole JSON messages, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from scaimcp.server.asgi import AsgiMessage, HeaderLines
from scaimcp.server.exchange import Exchange

Write = Callable[[bytes], Awaitable[None]]
"""Writes one JSON message to the client."""


class MessageExchange(Exchange):
    """Writes the messages of one request; statuses and headers have no place here.

    Args:
        write: takes every message.
        request_id: of the request.
    """

    __slots__ = ("_write",)

    def __init__(self, write: Write, request_id: str) -> None:
        super().__init__(_nowhere, request_id)
        self._write = write

    async def json(self, status: int, body: bytes) -> None:
        """Finish with a message."""
        self.is_done = True
        self.status = status
        await self._write(body)

    async def send(self, status: int, parts: tuple[bytes, ...]) -> None:
        """Finish with a message in pieces."""
        await self.json(status, b"".join(parts))

    async def empty(self, status: int, headers: HeaderLines = ()) -> None:
        """Finish without a message: a notification has no answer."""
        self.is_done = True
        self.status = status

    async def event(self, body: bytes, name: bytes = b"message") -> None:
        """Write a message before the answer."""
        if not self.is_done:
            await self._write(body)

    async def keepalive(self) -> None:
        """Nothing to keep alive: the connection is not this request's own."""


async def _nowhere(message: AsgiMessage) -> None:
    """Take what is never sent: everything is written as messages."""
