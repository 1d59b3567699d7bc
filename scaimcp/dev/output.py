"""Forward what the children write, line by line, with the child's name in front."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

READ_BYTES = 65_536
MAX_LINE_BYTES = 65_536
NAME_WIDTH = 8


class LinePump:
    """Reads a pipe inside the running event loop and hands complete lines to `sink`.

    Attributes:
        writer: Descriptor for the child's output; close it with `release_writer` once the child
            has its copy.
    """

    def __init__(self, name: str, sink: Callable[[str], None]) -> None:
        self._prefix = f"{name:<{NAME_WIDTH}} | "
        self._sink = sink
        self._pending = b""
        self._loop = asyncio.get_running_loop()
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._read)

    def release_writer(self) -> None:
        """Close our copy of the writing end, so that end of file can be seen."""
        os.close(self.writer)

    def close(self) -> None:
        """Take what is left in the pipe and stop reading. May be repeated."""
        more = self._reader >= 0
        while more:
            more = self._read()
        self._close_reader()

    def _read(self) -> bool:
        """Take one block; whether there may be more. Closes at end of file."""
        try:
            block = os.read(self._reader, READ_BYTES)
        except BlockingIOError:
            return False
        self._pending += block
        *lines, self._pending = self._pending.split(b"\n")
        if not block or len(self._pending) > MAX_LINE_BYTES:
            lines.append(self._pending)
            self._pending = b""
        for line in lines:
            if line:
                self._sink(self._prefix + line.decode(errors="replace").rstrip("\r"))
        if not block:
            self._close_reader()
        return bool(block)

    def _close_reader(self) -> None:
        if self._reader >= 0:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
