"""How much one caller may do at a time: calls in flight, and requests a minute.

Spec: core-tools 7, register (Settings, LIMITS).
"""

from __future__ import annotations

from typing import Protocol

from scaimcp.errors import ToolError
from scaimcp.types import Allowance, Caller


class RateLimiter(Protocol):
    """Counts requests; says how long to wait when one is too many.

    ``is_on`` is false when nothing is counted, so that nobody need ask.
    """

    is_on: bool

    async def take(self, caller: Caller) -> Allowance | None:
        """Count one request; return what is left, None when it could not be counted."""
        ...


class NoLimits:
    """The platform's limits are the only ones."""

    is_on = False

    async def take(self, caller: Caller) -> Allowance | None:
        """Count nothing."""
        return None


class InFlight:
    """Counts running calls per caller in this process."""

    def __init__(self, per_caller: int) -> None:
        self._most = per_caller
        self._running: dict[bytes, int] = {}

    def call(self, caller: Caller) -> Place:
        """Return one of the caller's places, to be held with ``with`` while a call runs."""
        return Place(self._running, caller.key, self._most)


class Place:
    """One running call; entering raises `ToolError` ``GATEWAY_BUSY`` when all are taken."""

    __slots__ = ("_key", "_most", "_running")

    def __init__(self, running: dict[bytes, int], key: bytes, most: int) -> None:
        self._running = running
        self._key = key
        self._most = most

    def __enter__(self) -> None:
        count = self._running.get(self._key, 0)
        if count >= self._most:
            raise ToolError(
                "GATEWAY_BUSY", "Too many calls of this caller are running.", retry_after=1
            )
        self._running[self._key] = count + 1

    def __exit__(self, *_: object) -> None:
        left = self._running[self._key] - 1
        if left:
            self._running[self._key] = left
        else:
            del self._running[self._key]
