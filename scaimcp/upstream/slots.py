"""How many calls run at once: per server, and of one caller per server. In memory, per process.

Spec: remote-servers 5 (concurrency).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from types import TracebackType

from scaimcp.telemetry.metrics import queue_wait
from scaimcp.upstream.errors import RemoteBusyError

WAIT_SECONDS = 2.0


class _Places:
    __slots__ = ("by_caller", "running", "waiting")

    def __init__(self) -> None:
        self.running = 0
        self.by_caller: dict[str, int] = {}
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

    def __len__(self) -> int:
        """Count the servers with calls that run or wait."""
        return len(self._servers)

    def hold(self, server_id: str, caller: str) -> _Hold:
        """Hold a place during the block: ``async with slots.hold(…):``.

        Raises:
            RemoteBusyError: on entering, no place in time.
        """
        return _Hold(self, server_id, caller)

    async def take(self, server_id: str, caller: str) -> None:
        """Take a place that `give_back` must be called for.

        Raises:
            RemoteBusyError: no place in time.
        """
        places = self._servers.get(server_id)
        if places is None:
            places = self._servers[server_id] = _Places()
        if self._is_free(places, caller):
            self._enter(places, caller)
            queue_wait.observe(0.0)
            return
        started = time.perf_counter()
        try:
            await self._wait(places, caller)
        finally:
            queue_wait.observe(time.perf_counter() - started)

    def give_back(self, server_id: str, caller: str) -> None:
        """Give a place back; who has waited longest and may have it gets it."""
        places = self._servers[server_id]
        self._hand_over(places, caller)
        if not places.running and not places.waiting:
            del self._servers[server_id]

    def _is_free(self, places: _Places, caller: str) -> bool:
        if places.running >= self._per_server:
            return False
        return places.by_caller.get(caller, 0) < self._per_caller

    def _enter(self, places: _Places, caller: str) -> None:
        places.running += 1
        places.by_caller[caller] = places.by_caller.get(caller, 0) + 1

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

    def _hand_over(self, places: _Places, caller: str) -> None:
        places.running -= 1
        places.by_caller[caller] -= 1
        if not places.by_caller[caller]:
            del places.by_caller[caller]
        for turn, waiting in places.waiting.items():
            if self._is_free(places, waiting):
                del places.waiting[turn]
                self._enter(places, waiting)
                turn.set_result(None)
                return


class _Hold:
    """A place during a block. A class, for a generator would cost three times as much."""

    __slots__ = ("_caller", "_server_id", "_slots")

    def __init__(self, slots: Slots, server_id: str, caller: str) -> None:
        self._slots = slots
        self._server_id = server_id
        self._caller = caller

    async def __aenter__(self) -> None:
        await self._slots.take(self._server_id, self._caller)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._slots.give_back(self._server_id, self._caller)
