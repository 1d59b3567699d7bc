"""When things happen and how long they wait, as parameters of everything that calls ScaiVault."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import msgspec


def _now() -> datetime:
    return datetime.now(UTC)


def _jitter(most: float) -> float:
    return random.uniform(0.0, most)  # noqa: S311 - only jitter


class Timing(msgspec.Struct, frozen=True):
    """Clocks, waiting and chance.

    Args:
        monotonic: seconds for deadlines and caches.
        now: the time of day, with a zone.
        sleep: waits so many seconds.
        jitter: returns some seconds from 0 to its argument.
    """

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = _now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    jitter: Callable[[float], float] = _jitter
