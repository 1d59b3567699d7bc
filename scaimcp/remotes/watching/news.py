"""What listening streams have told, on its way to the queue; and when a stream is tried again."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

_PAUSE_SECONDS = 1.0
_Key = tuple[str, str]


class Discoveries(Protocol):
    """Takes wishes for discoveries."""

    async def is_discovery_taken(self, tenant_id: str, server_id: str) -> bool:
        """Take one; False where that is not possible now."""
        ...


def pause_after(failures: int, bounds: tuple[float, float], jitter: float) -> float:
    """Return how long to wait before a stream is opened again.

    Args:
        failures: in a row before this one.
        bounds: shortest and longest.
        jitter: 0 to 1; takes up to half of it away.
    """
    least, most = bounds
    return max(min(least * 2.0 ** min(failures, 64), most) * (1.0 - jitter / 2.0), least)


class News:
    """Servers whose lists are to be read again, each handed over at most once in a time."""

    def __init__(self, discoveries: Discoveries, seconds: float) -> None:
        self._discoveries = discoveries
        self._seconds = seconds
        self._owed: set[_Key] = set()
        self._told: dict[_Key, float] = {}
        self._wake = asyncio.Event()

    def tell(self, tenant_id: str, server_id: str) -> bool:
        """Take in that a server's lists may have changed; return whether that was not known."""
        key = (tenant_id, server_id)
        is_new = key not in self._owed
        self._owed.add(key)
        self._wake.set()
        return is_new

    async def run(self) -> None:
        """Ask for discoveries until cancelled; what Redis refuses is asked for again."""
        while not is_cancelled():
            await self._wake.wait()
            self._wake.clear()
            now = time.monotonic()
            self._told = {key: at for key, at in self._told.items() if now - at < self._seconds}
            for key in self._owed - self._told.keys():
                # Before it is handed over: what comes meanwhile may be newer than what is read.
                self._owed.discard(key)
                if not await self._discoveries.is_discovery_taken(*key):
                    self._owed.add(key)
                    break
                self._told[key] = time.monotonic()
            if self._owed:
                await asyncio.sleep(min(self._seconds, _PAUSE_SECONDS))
                self._wake.set()


def is_cancelled() -> bool:
    """Tell whether this task was cancelled.

    As in scaimcp.versions.notices: the Redis library may lose a cancellation.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
