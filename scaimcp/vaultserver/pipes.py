"""stdin and stdout as they come: pipes, files or terminals, each in a thread of its own.

The threads are daemons: one that hangs in the kernel must not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import select
import threading
from collections.abc import Callable, Iterator

from scaimcp.vaultserver.streams import wait_for, write_all

MOST_LINE_BYTES = 1024 * 1024
_CHUNK = 64 * 1024
# Lines that were read and not taken yet.
_AHEAD = 16


class LineSplitter:
    """Cuts a stream into lines; one that is too long is skipped and told as None.

    Args:
        most: bytes of a line without its end.
    """

    def __init__(self, most: int = MOST_LINE_BYTES) -> None:
        self._most = most
        self._rest = bytearray()
        self._is_skipping = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """Return the lines that end in a chunk, without their ends."""
        pieces = chunk.split(b"\n")
        for piece in pieces[:-1]:
            yield from self._end(piece)
        self._add(pieces[-1])

    def close(self) -> Iterator[bytes | None]:
        """Return the last line, which has no end."""
        if self._rest or self._is_skipping:
            yield from self._end(b"")

    def _end(self, piece: bytes) -> Iterator[bytes | None]:
        self._add(piece)
        line = None if self._is_skipping else bytes(self._rest).removesuffix(b"\r")
        self._rest.clear()
        self._is_skipping = False
        if line is None or line.strip():
            yield line

    def _add(self, piece: bytes) -> None:
        if self._is_skipping:
            return
        self._rest += piece
        if len(self._rest) > self._most:
            self._rest.clear()
            self._is_skipping = True


class LineReader:
    """Reads lines from a file descriptor.

    Args:
        descriptor: of the input; it is never closed.
        loop: where `next` is awaited.
    """

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(_AHEAD)
        self.is_ended = False
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    async def next(self) -> bytes | None:
        """Return the next line, None for one that was too long or, once `is_ended`, for none."""
        line = await self._lines.get()
        self._room.release()
        if line == b"":
            self.is_ended = True
            return None
        return line

    def _run(self) -> None:
        splitter = LineSplitter()
        while chunk := self._chunk():
            for line in splitter.feed(chunk):
                self._hand_over(line)
        for line in splitter.close():
            self._hand_over(line)
        self._hand_over(b"")

    def _chunk(self) -> bytes:
        while True:
            try:
                return os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                # Another process has made it so.
                wait_for(self._descriptor, select.POLLIN)
            except OSError:
                return b""

    def _hand_over(self, line: bytes | None) -> None:
        self._room.acquire()
        # The loop may have closed: nobody reads on.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)


class LineWriter:
    """Writes whole lines to a file descriptor, in order.

    Args:
        descriptor: of the output; it is never closed.
        loop: where `write` is awaited.

    ``broken`` is set when nobody reads any more.
    """

    def __init__(self, descriptor: int, loop: asyncio.AbstractEventLoop) -> None:
        self._descriptor = descriptor
        self._loop = loop
        self._waiting: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        self.broken = asyncio.Event()
        threading.Thread(target=self._run, name="stdout", daemon=True).start()

    async def write(self, line: bytes) -> None:
        """Write a line and its end; returns once it has left this process, or never can."""
        if self.broken.is_set():
            return
        written: asyncio.Future[None] = self._loop.create_future()
        self._waiting.put((line + b"\n", written))
        # A request that is cancelled meanwhile must not leave half a line behind.
        await asyncio.shield(written)

    def _run(self) -> None:
        while True:
            line, written = self._waiting.get()
            try:
                write_all(self._descriptor, line)
            except OSError:
                self._tell(self.broken.set)
            self._tell(written.set_result, None)

    def _tell(self, call: Callable[..., object], *arguments: object) -> None:
        # The loop may have closed: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *arguments)
