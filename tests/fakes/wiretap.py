"""A TCP proxy that can hold requests back and sees when their sender hangs up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Wiretap:
    """Passes bytes on, except a request whose bytes contain `held`: that one gets no answer.

    `caught` is set when such a request came, `released` when its sender closed the connection.
    """

    def __init__(self, host: str, port: int) -> None:
        self.held = b""
        self.caught = asyncio.Event()
        self.released = asyncio.Event()
        self.url = ""
        self._target = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()

    def hold(self, request: bytes) -> None:
        """Hold back the next requests that contain `request`, such as its request line."""
        self.held = request
        self.caught.clear()
        self.released.clear()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        there, onward = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as group:
                answers = group.create_task(_pump(there, writer))
                await self._watched(reader, onward)
                answers.cancel()
        finally:
            for each in (writer, onward):
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def _watched(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter) -> None:
        is_held = False
        with suppress(OSError):
            while data := await reader.read(65_536):
                is_held = is_held or (self.held != b"" and self.held in data)
                if is_held:
                    self.caught.set()
                else:
                    onward.write(data)
                    await onward.drain()
        if is_held:
            self.released.set()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def tapped(host: str, port: int) -> AsyncIterator[Wiretap]:
    """Serve a proxy to `host`:`port` on a free loopback port."""
    tap = Wiretap(host, port)
    server = await asyncio.start_server(tap.connected, "127.0.0.1", 0)
    tap.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield tap
    finally:
        server.close()
        await tap.stop()
        await server.wait_closed()
