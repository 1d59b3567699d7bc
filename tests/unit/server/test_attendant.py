"""Looking after a slow call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from scaimcp.server.attendant import Attendant, ClientGone, Pace
from tests.unit.server.channel import Channel, chunk
from tests.waiting import until

QUICK = Pace(grace=0.001, first=0.002, interval=0.002)
NEVER = Pace(grace=60, first=60, interval=60)


class Call:
    """A call that waits for `release` and remembers how it ended."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.is_running = False
        self.was_cancelled = False

    async def run(self) -> str:
        self.is_running = True
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise
        return "done"


async def immediate() -> int:
    return 5


async def test_a_quick_call_is_not_looked_after() -> None:
    channel = Channel()
    channel.leave()
    assert await Attendant(channel.receive, pace=NEVER).run(immediate()) == 5
    assert await channel.receive()


async def test_a_slow_call_ends_when_its_client_leaves() -> None:
    channel, call = Channel(chunk(b"late")), Call()
    async with asyncio.TaskGroup() as group:
        attendant = Attendant(channel.receive, pace=QUICK)
        running = group.create_task(_caught(attendant.run(call.run())))
        await until(lambda: call.is_running)
        channel.leave()
    assert running.result() == "ClientGone"
    assert call.was_cancelled


async def _caught(work: Awaitable[object]) -> str:
    """Return the name of what `work` raised, and that the task can still wait afterwards."""
    try:
        await work
    except (ClientGone, RuntimeError) as error:
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return type(error).__name__
    return "nothing"


async def test_a_call_can_be_cancelled_before_anybody_looks_after_it() -> None:
    channel, call = Channel(), Call()
    attendant = Attendant(channel.receive, pace=NEVER)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(_caught(attendant.run(call.run())))
        await until(lambda: call.is_running)
        attendant.cancel()
        attendant.cancel()
    assert running.result() == "ClientGone"
    assert call.was_cancelled


async def test_cancelling_what_has_ended_does_nothing() -> None:
    attendant = Attendant(Channel().receive, pace=NEVER)
    attendant.cancel()
    assert await attendant.run(immediate()) == 5
    attendant.cancel()
    await asyncio.sleep(0)


async def test_a_cancellation_from_outside_stays_one() -> None:
    channel, call = Channel(), Call()
    task = asyncio.get_running_loop().create_task(
        Attendant(channel.receive, pace=QUICK).run(call.run())
    )
    await until(lambda: call.is_running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.was_cancelled


async def test_a_shutdown_wins_over_a_client_that_leaves() -> None:
    channel, call = Channel(), Call()
    attendant = Attendant(channel.receive, pace=NEVER)
    task = asyncio.get_running_loop().create_task(attendant.run(call.run()))
    await until(lambda: call.is_running)
    attendant.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failing_call_fails_as_itself() -> None:
    async def failing() -> None:
        await asyncio.sleep(0.01)
        raise RuntimeError("as it is")

    channel = Channel()
    assert await _caught(Attendant(channel.receive, pace=QUICK).run(failing())) == "RuntimeError"


async def test_a_patient_client_hears_again_and_again_until_the_end() -> None:
    channel, call, beats = Channel(), Call(), 0

    async def beat() -> None:
        nonlocal beats
        beats += 1
        if beats == 3:
            call.release.set()

    assert await Attendant(channel.receive, beat, QUICK).run(call.run()) == "done"
    heard = beats
    await asyncio.sleep(0.01)
    assert beats == heard >= 3


async def test_a_heartbeat_that_fails_does_not_fail_the_call() -> None:
    channel, call = Channel(), Call()

    async def beat() -> None:
        call.release.set()
        raise OSError("the pipe is broken")

    assert await Attendant(channel.receive, beat, QUICK).run(call.run()) == "done"


async def test_a_heartbeat_on_its_way_is_written_to_its_end() -> None:
    """Servers may have sent a part of what a cancelled send was given."""
    channel, call, gate = Channel(), Call(), asyncio.Event()
    written: list[str] = []

    async def beat() -> None:
        written.append("begun")
        await gate.wait()
        written.append("ended")

    async with asyncio.TaskGroup() as group:
        running = group.create_task(Attendant(channel.receive, beat, QUICK).run(call.run()))
        await until(lambda: written == ["begun"])
        call.release.set()
        await asyncio.sleep(0.01)
        assert not running.done()
        gate.set()
    assert running.result() == "done"
    assert written == ["begun", "ended"]


async def test_a_shutdown_does_not_wait_for_a_heartbeat() -> None:
    channel, call, written = Channel(), Call(), False

    async def beat() -> None:
        nonlocal written
        written = True
        await asyncio.Event().wait()

    task = asyncio.get_running_loop().create_task(
        Attendant(channel.receive, beat, QUICK).run(call.run())
    )
    await until(lambda: written)
    task.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_nothing_is_left_running() -> None:
    before = asyncio.all_tasks()
    channel, call = Channel(), Call()
    seen: list[int] = []

    async def beat() -> None:
        seen.append(len(asyncio.all_tasks() - before))
        call.release.set()

    await Attendant(channel.receive, beat, QUICK).run(call.run())
    assert seen[0] == 2
    assert asyncio.all_tasks() == before
