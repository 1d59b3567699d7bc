"""How many calls run at once. Spec: scaivault 4 (limits)."""

from __future__ import annotations

import asyncio

from scaimcp.deadline import Deadline

CALLS_AT_ONCE = 16
WAIT_SECONDS = 5.0
# What may wait for ScaiVault; everything else is answered at once.
_CALLS = frozenset({"tools/call", "resources/list", "resources/read", "completion/complete"})
BATCH = "batch"


def is_call(method: str) -> bool:
    """Tell whether requests of a method are counted."""
    return method == BATCH or method in _CALLS


class Places:
    """Places for running calls.

    Args:
        count: of places.
        seconds: how long `take` waits for one.
    """

    def __init__(self, count: int = CALLS_AT_ONCE, seconds: float = WAIT_SECONDS) -> None:
        self._free = asyncio.Semaphore(count)
        self._seconds = seconds

    async def take(self) -> bool:
        """Take a place; False where none became free in time."""
        if not self._free.locked():
            return await self._free.acquire()
        try:
            with Deadline(self._seconds):
                return await self._free.acquire()
        except TimeoutError:
            return False

    async def wait(self) -> None:
        """Take a place, however long it takes."""
        await self._free.acquire()

    def give_back(self) -> None:
        """Let the next one have a place."""
        self._free.release()
