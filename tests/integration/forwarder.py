"""A TCP port in front of a server, so that a test can cut the line and mend it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Forwarder:
    """Forwards a loopback port to a Redis URL's server."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """The Redis URL of the forwarded port."""
        stated = parse_qs(self._target.query).get("db", ["0"])[0]
        database = stated if self._target.scheme == "unix" else self._target.path.strip("/")
        return f"redis://127.0.0.1:{self.port}/{database or 0}"

    async def mend(self) -> None:
        """Listen, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        ends = [writer]
        try:
            onward, outward = await self._connect()
            ends.append(outward)
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, outward))
                group.create_task(_pump(onward, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self._running.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(self._target.path)
        return await asyncio.open_connection(self._target.hostname, self._target.port or 6379)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


@asynccontextmanager
async def forward(target: str) -> AsyncIterator[Forwarder]:
    """Forward a new port to `target`."""
    forwarder = Forwarder(target)
    await forwarder.mend()
    try:
        yield forwarder
    finally:
        await forwarder.cut()
