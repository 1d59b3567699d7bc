"""Looks after one slow call: notices a client that went away, and tells a patient one to wait.

Most calls finish before anybody has to look after them; then only one timer was set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from scaimcp.server.asgi import Receive

T = TypeVar("T")


class Pace(msgspec.Struct, frozen=True):
    """Times in seconds.

    Args:
        grace: how long a call may take before anybody looks whether its client is still there.
        first: when a patient client hears for the first time that the call still runs.
        interval: when it hears so again.
    """

    grace: float = 0.05
    first: float = 5.0
    interval: float = 15.0


PACE = Pace()


class ClientGone(Exception):
    """The client closed the stream or cancelled; nothing is to be answered."""


class Attendant:
    """Runs one call in the current task and cancels it when the client has gone.

    Args:
        receive: the request's ASGI channel; its next message is the disconnect.
        heartbeat: called at the times of `pace`; None for clients that cannot be told.
        pace: when to begin looking after the call.
    """

    __slots__ = ("_heartbeat", "_is_beating", "_is_gone", "_pace", "_receive", "_task", "_tasks")

    def __init__(
        self,
        receive: Receive,
        heartbeat: Callable[[], Awaitable[None]] | None = None,
        pace: Pace = PACE,
    ) -> None:
        self._receive = receive
        self._heartbeat = heartbeat
        self._pace = pace
        self._is_gone = False
        self._task: asyncio.Task[object] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, call: Awaitable[T]) -> T:
        """Await `call`.

        Raises:
            ClientGone: the client went away meanwhile; the call has been cancelled.
        """
        task = self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._pace.grace, self._begin, loop)
        try:
            return await call
        except asyncio.CancelledError:
            # Whoever else has cancelled this task comes first.
            if not self._is_gone or task is None or task.uncancel():
                self._is_beating = False
                raise
            raise ClientGone from None
        finally:
            timer.cancel()
            self._task = None
            if self._tasks:
                await self._end()

    def cancel(self) -> None:
        """Treat the client as gone: it has cancelled the request."""
        if self._task is not None and not self._is_gone:
            self._is_gone = True
            self._task.cancel()

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_beating = False
        self._tasks.append(loop.create_task(self._watch(self._receive), name="disconnect"))
        if self._heartbeat is not None:
            self._tasks.append(loop.create_task(self._beat(self._heartbeat), name="heartbeat"))

    async def _end(self) -> None:
        # A heartbeat that is being written is let end: half of it may be on its way, and the
        # answer that follows must know whether the stream has begun.
        kept = self._tasks[-1] if self._is_beating else None
        for task in self._tasks:
            if task is not kept:
                task.cancel()
        # A heartbeat that could not be sent says nothing that the answer does not say as well.
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch(self, receive: Receive) -> None:
        while (await receive()).get("type") != "http.disconnect":
            continue
        self.cancel()

    async def _beat(self, heartbeat: Callable[[], Awaitable[None]]) -> None:
        pause = self._pace.first
        while self._task is not None:
            await asyncio.sleep(pause)
            self._is_beating = True
            await heartbeat()
            self._is_beating = False
            pause = self._pace.interval
