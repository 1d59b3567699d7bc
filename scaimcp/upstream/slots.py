"""How many calls run at once: per server, and of one caller per server. In memory, per process.

Spec: remote-servers 5 (concurrency).
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaimcp.upstream.errors import RemoteBusyError

WAIT_SECONDS = 2.0


class _Places:
    __slots__ = ("by_caller", "running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.by_caller: Counter[str] = Counter()
        self.waiting: OrderedDict[asyncio.Future[None], str] = OrderedDict()


class Slots:
    """Places for calls.

    Args:
        per_server: calls to one server.
        per_caller: of these, calls of one caller.
        wait_seconds: how long a call waits for a place.
    """

    def __init__(
        self, per_server: int = 128, per_caller: int = 32, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._per_server = per_server
        self._per_caller = per_caller
        self._wait_seconds = wait_seconds
        self._servers: dict[str, _Places] = {}

    @asynccontextmanager
    async def hold(self, server_id: str, caller: str) -> AsyncIterator[None]:
        """Hold a place during the block.

        Raises:
            RemoteBusyError: no place in time.
        """
        places = self._servers.setdefault(server_id, _Places())
        if not self._is_free(places, caller):
            await self._wait(places, caller)
        else:
            self._take(places, caller)
        try:
            yield
        finally:
            self._give_back(server_id, places, caller)

    def _is_free(self, places: _Places, caller: str) -> bool:
        return places.running < self._per_server and places.by_caller[caller] < self._per_caller

    def _take(self, places: _Places, caller: str) -> None:
        places.running += 1
        places.by_caller[caller] += 1

    async def _wait(self, places: _Places, caller: str) -> None:
        """Wait until whoever leaves hands a place over, which is then already taken."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        places.waiting[turn] = caller
        try:
            done, _ = await asyncio.wait((turn,), timeout=self._wait_seconds)
        except asyncio.CancelledError:
            self._leave(places, caller, turn)
            raise
        if not done:
            del places.waiting[turn]
            raise RemoteBusyError("Too many calls to this server are running; try again shortly.")

    def _leave(self, places: _Places, caller: str, turn: asyncio.Future[None]) -> None:
        if turn.done():
            self._hand_over(places, caller)
        else:
            del places.waiting[turn]

    def _give_back(self, server_id: str, places: _Places, caller: str) -> None:
        self._hand_over(places, caller)
        if not places.running and not places.waiting:
            self._servers.pop(server_id, None)

    def _hand_over(self, places: _Places, caller: str) -> None:
        places.running -= 1
        places.by_caller[caller] -= 1
        if not places.by_caller[caller]:
            del places.by_caller[caller]
        for turn, waiting in places.waiting.items():
            if self._is_free(places, waiting):
                del places.waiting[turn]
                self._take(places, waiting)
                turn.set_result(None)
                return
