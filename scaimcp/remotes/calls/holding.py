"""Calls of handshake servers that wait for the answer of a client of 2026-07-28.

Such a client is asked with the answer to its request, so the call to the server has to outlive
it: a call that may be asked about runs in a task of its own, and whoever repeats it with the
answer goes on waiting for that task. In memory, per process; the sealed state that the client
holds names process and call, so that another process, or this one after a restart, knows that
the call is lost. Spec: remote-servers 8 (held calls), 12 (shutdown); register, Second step.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from scaimcp.ids import random_id
from scaimcp.remotes.consent.questions import LOST, Question, is_object, named, question
from scaimcp.remotes.consent.state_sealing import unusable_state
from scaimcp.telemetry.metrics import held_calls
from scaimcp.types import Reply, RequestContext, Secret
from scaimcp.upstream.errors import ElicitationLostError, RemoteBusyError

HOLD_SECONDS = 120.0
MOST_HOLDS = 64

Send = Callable[[RequestContext], Awaitable[msgspec.Raw]]
"""Sends the call as the context says, and returns the server's result."""


class Put(msgspec.Struct, frozen=True):
    """A question that goes to the client now.

    Args:
        requests: encoded ``inputRequests``.
        hold: names process, call and question; to be sealed.
    """

    requests: bytes
    hold: str


class _Open:
    """A question of the server that is not answered yet."""

    __slots__ = ("answer", "params")

    def __init__(self, params: bytes) -> None:
        self.params = params
        self.answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()


class HeldCall:
    """One call in a task of its own; its server asks it, its clients wait for it.

    ``number`` counts the questions put to the client; an answer serves for the last one only.
    """

    def __init__(self, call_id: str, context: RequestContext, modes: frozenset[str]) -> None:
        self.id = call_id
        self.modes = modes
        self.number = 0
        self.is_waiting = False
        self.is_over = False
        self.open: deque[_Open] = deque()
        self._context = context
        self._progress = context.progress
        self._telling = asyncio.Lock()
        self._news = asyncio.Event()
        self._task: asyncio.Task[msgspec.Raw] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, send: Send) -> asyncio.Task[msgspec.Raw]:
        """Begin the call; nothing of the first request but who calls stays with it."""
        context = msgspec.structs.replace(
            self._context,
            bearer=Secret(""),
            answer=None,
            dialogue=None,
            asker=self,
            progress=None if self._progress is None else self._told,
        )
        task = asyncio.get_running_loop().create_task(_sent(send, context), name="held call")
        self._task = task
        task.add_done_callback(self._ended)
        return task

    async def ask(self, params: bytes) -> Reply | None:
        """Keep a question of the server until a client has answered it."""
        if self.is_over:
            return None
        asked = _Open(params)
        self.open.append(asked)
        self._news.set()
        try:
            return await asked.answer
        finally:
            if asked in self.open:
                self.open.remove(asked)

    async def outcome(self) -> msgspec.Raw | None:
        """Wait for the result, or for a question: then return None.

        Whoever waits and is cancelled ends the call.

        Raises:
            RemoteFailure: the call failed.
            ElicitationLostError: it was given up.
        """
        task = self._task
        if task is None:
            raise AssertionError("the call has not begun")
        try:
            while not task.done():
                if self.open:
                    await self._detach()
                    # Meanwhile the server may have done without the answer.
                    if self.open and not task.done():
                        return None
                self._news.clear()
                if not task.done():
                    await self._news.wait()
        except asyncio.CancelledError:
            self.end()
            raise
        if task.cancelled():
            raise ElicitationLostError(LOST)
        return task.result()

    def go_on(self, context: RequestContext, reply: Reply | None) -> None:
        """Let another request wait for the call, and give the server the answer it brings."""
        self.stop_clock()
        self._progress = context.progress
        if reply is not None and self.open:
            waiting = self.open.popleft().answer
            # It may be withdrawn in this very moment.
            if not waiting.done():
                waiting.set_result(reply)

    def start_clock(self, seconds: float, over: Callable[[HeldCall], None]) -> None:
        """Call `over` when no answer has come within `seconds`."""
        self._timer = asyncio.get_running_loop().call_later(seconds, over, self)

    def stop_clock(self) -> None:
        """Forget the time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Give the call up; its server is told."""
        self.is_over = True
        self._progress = None
        self.stop_clock()
        if self._task is not None:
            self._task.cancel()

    async def _detach(self) -> None:
        """Send no more progress on the stream of the request that is answered now."""
        async with self._telling:
            self._progress = None

    async def _told(self, progress: float, total: float | None, message: str | None) -> None:
        async with self._telling:
            if self._progress is not None:
                await self._progress(progress, total, message)

    def _ended(self, task: asyncio.Task[msgspec.Raw]) -> None:
        self._news.set()
        if not task.cancelled():
            # Read, so that a failure that nobody comes back for is not reported.
            task.exception()


class Holds:
    """All calls of this process that may have to wait for a user.

    Args:
        seconds: how long one question waits for its answer.
        most: calls that wait at the same time; further ones are given up.
    """

    def __init__(self, seconds: float = HOLD_SECONDS, most: int = MOST_HOLDS) -> None:
        self.seconds = seconds
        self.most = most
        self._replica = random_id("")
        self._asked: dict[str, HeldCall] = {}
        self._running: dict[asyncio.Task[msgspec.Raw], HeldCall] = {}
        self._is_closed = False

    @property
    def waiting(self) -> int:
        """How many calls wait for an answer now."""
        return sum([held.is_waiting for held in self._asked.values()])

    def start(self, context: RequestContext, modes: frozenset[str], send: Send) -> HeldCall:
        """Begin a call that its server may ask about.

        Args:
            context: of the client's request.
            modes: kinds of question that the client can show.
            send: sends the call.
        """
        held = HeldCall(random_id(""), context, modes)
        held.is_over = self._is_closed
        task = held.start(send)
        self._running[task] = held
        task.add_done_callback(self._ended)
        return held

    def put(self, held: HeldCall) -> Put:
        """Hold a call while its client is asked.

        Raises:
            RemoteBusyError: too many calls wait already; this one was given up.
            ElicitationLostError: the gateway is shutting down.
        """
        if self._is_closed:
            held.end()
            raise ElicitationLostError(LOST)
        if not held.is_waiting and self.waiting >= self.most:
            held.end()
            raise RemoteBusyError("Too many calls wait for their users.", was_sent=True)
        held.number += 1
        if not held.is_waiting:
            self._asked[held.id] = held
            self._set_waiting(held, is_waiting=True)
            held.start_clock(self.seconds, self._expire)
        name = f"question_{held.number}"
        asked: dict[str, Question] = {name: question(held.open[0].params)}
        return Put(named(asked), f"{self._replica}/{held.id}/{held.number}")

    def resumed(
        self, hold: str, responses: Mapping[str, msgspec.Raw], context: RequestContext
    ) -> HeldCall | Put:
        """Return the call that a client has come back for; without an answer, the question again.

        Args:
            hold: as `put` has named it.
            responses: the client's answers by the names of the questions.
            context: of the request that brings them.

        Raises:
            ElicitationLostError: the call is not here any more, or never was.
            ProtocolError: -32602, the question has been answered before, or the answer is none.
        """
        replica, call_id, number = hold.split("/")
        held = self._asked.get(call_id)
        if replica != self._replica or held is None or held.is_over:
            raise ElicitationLostError(LOST)
        if not held.is_waiting or held.number != int(number):
            raise unusable_state()
        response = responses.get(f"question_{number}")
        if held.open and response is None:
            return self.put(held)
        if response is not None and not is_object(response):
            raise unusable_state()
        self._set_waiting(held, is_waiting=False)
        held.go_on(context, None if response is None else Reply(bytes(response)))
        return held

    def close(self) -> None:
        """End the calls that wait; those that run may finish, but not be held any more."""
        self._is_closed = True
        for held in self._running.values():
            held.is_over = True
        for held in tuple(self._asked.values()):
            if held.is_waiting:
                self._expire(held)

    async def aclose(self) -> None:
        """End every call."""
        self.close()
        for held in self._running.values():
            held.end()
        if self._running:
            await asyncio.wait(tuple(self._running))

    def _set_waiting(self, held: HeldCall, *, is_waiting: bool) -> None:
        if held.is_waiting is not is_waiting:
            held.is_waiting = is_waiting
            held_calls.add(1 if is_waiting else -1)

    def _expire(self, held: HeldCall) -> None:
        """Give up a call that nobody has come back for."""
        held.end()
        self._forget(held)

    def _ended(self, task: asyncio.Task[msgspec.Raw]) -> None:
        """Forget a call, unless its client is still to fetch how it ended."""
        held = self._running.pop(task)
        if not held.is_waiting:
            self._forget(held)

    def _forget(self, held: HeldCall) -> None:
        held.stop_clock()
        self._asked.pop(held.id, None)
        self._set_waiting(held, is_waiting=False)


async def _sent(send: Send, context: RequestContext) -> msgspec.Raw:
    return await send(context)
