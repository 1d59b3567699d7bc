"""Standard streams that cannot hurt: closed ones are replaced, stderr never blocks and never fails.

Clients start the command with pipes of theirs. Some close the one for stderr, others never read
it; neither may stop an answer. Spec: scaivault 4 (stdout, logs).
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import select
import sys
import threading
from collections.abc import Iterator
from typing import Any

END_SECONDS = 1.0
# Writes that wait for a reader; more are lost.
_MOST_WAITING = 2_048
_STDERR = 2


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything, also to a descriptor that another process has made non-blocking.

    Raises:
        OSError: nobody can read it.
    """
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            wait_for(descriptor, select.POLLOUT)


def wait_for(descriptor: int, event: int) -> None:
    """Wait until a descriptor is ready, or has ended."""
    waiting = select.poll()
    waiting.register(descriptor, event)
    waiting.poll()


def fill_gaps() -> None:
    """Open what the parent has closed, so that no socket takes the place of a standard stream."""
    for descriptor in range(_STDERR + 1):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest one that is free, which is this one.
            os.open(os.devnull, os.O_RDWR)


class LossyWriter(io.RawIOBase):
    """Writes from a thread; what finds no room, or no reader, is lost.

    Args:
        descriptor: is never closed.
        most: writes that may wait.
    """

    def __init__(self, descriptor: int, most: int = _MOST_WAITING) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: queue.Queue[bytes | None] = queue.Queue(most)
        self._thread = threading.Thread(target=self._run, name="stderr", daemon=True)
        self._thread.start()

    def writable(self) -> bool:
        """Tell that it can be written to."""
        return True

    def write(self, data: Any, /) -> int:
        """Take data to be written."""
        taken = bytes(data)
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(taken)
        return len(taken)

    def end(self, seconds: float) -> None:
        """Write what waits, for at most `seconds` where nobody reads."""
        with contextlib.suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (data := self._waiting.get()) is not None:
            with contextlib.suppress(OSError):
                write_all(self._descriptor, data)


@contextlib.contextmanager
def safe_streams() -> Iterator[None]:
    """Put a `LossyWriter` in the place of ``sys.stderr``; what it holds is written at the end."""
    fill_gaps()
    before = sys.stderr
    writer = LossyWriter(_STDERR)
    sys.stderr = io.TextIOWrapper(
        writer, encoding="utf-8", errors="backslashreplace", write_through=True
    )
    try:
        yield
    finally:
        sys.stderr = before
        writer.end(END_SECONDS)
