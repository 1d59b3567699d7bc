"""The first SIGTERM or Ctrl-C begins the end, the second one is the end. Spec: scaivault 4."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGINT)
_EXIT_BASE = 128


def leave_at_once() -> None:
    """Let a signal that comes before anything runs end the process well."""
    _handle(lambda number: sys.exit(0))


def ending() -> asyncio.Event:
    """Return what the first signal sets; the second one ends the process with 128 + its number."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    seen: list[int] = []

    def came(number: int) -> None:
        if seen:
            os._exit(_EXIT_BASE + number)
        seen.append(number)
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    _handle(came)
    return stop


def _handle(came: Callable[[int], None]) -> None:
    def handle(number: int, frame: FrameType | None) -> None:
        came(number)

    for number in _ENDING:
        signal.signal(number, handle)
