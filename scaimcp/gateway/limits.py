"""How much one caller may do at a time: calls in flight, and requests a minute.

Spec: core-tools 7, register (Settings, LIMITS).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from scaimcp.errors import ToolError
from scaimcp.types import Caller


class RateLimiter(Protocol):
    """Counts requests; says how long to wait when one is too many."""

    async def take(self, caller: Caller) -> int | None:
        """Count one request; return None, or the seconds to wait when it is refused."""
        ...


class NoLimits:
    """The platform's limits are the only ones."""

    async def take(self, caller: Caller) -> int | None:
        """Refuse nothing."""
        return None


class InFlight:
    """Counts running calls per caller in this process."""

    def __init__(self, per_caller: int) -> None:
        self._most = per_caller
        self._running: dict[bytes, int] = {}

    @contextmanager
    def call(self, caller: Caller) -> Iterator[None]:
        """Hold one of the caller's places while a call runs.

        Raises:
            ToolError: ``GATEWAY_BUSY`` when all places are taken.
        """
        running = self._running
        key = caller.key
        count = running.get(key, 0)
        if count >= self._most:
            raise ToolError(
                "GATEWAY_BUSY", "Too many calls of this caller are running.", retry_after=1
            )
        running[key] = count + 1
        try:
            yield
        finally:
            left = running[key] - 1
            if left:
                running[key] = left
            else:
                del running[key]
