"""Places for calls to one server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from scaimcp.upstream.errors import RemoteBusyError
from scaimcp.upstream.slots import Slots
from tests.integration.rawserver import eventually


async def taken(stack: AsyncExitStack, slots: Slots, *callers: str, server: str = "rs_1") -> None:
    for caller in callers:
        await stack.enter_async_context(slots.hold(server, caller))


async def test_a_full_server_refuses_after_the_wait_and_others_go_on() -> None:
    slots = Slots(2, 2, 0.01)
    async with AsyncExitStack() as stack:
        await taken(stack, slots, "alice", "bob")
        with pytest.raises(RemoteBusyError) as caught:
            await taken(stack, slots, "carol")
        assert caught.value.code == "RemoteBusyError"
        assert not caught.value.was_sent
        await taken(stack, slots, "carol", server="rs_2")
    assert len(slots) == 0


async def test_one_caller_cannot_take_every_place() -> None:
    slots = Slots(3, 1, 0.01)
    async with AsyncExitStack() as stack:
        await taken(stack, slots, "alice")
        with pytest.raises(RemoteBusyError):
            await taken(stack, slots, "alice")
        await taken(stack, slots, "bob")
    assert len(slots) == 0


async def test_a_place_that_is_given_back_goes_to_the_first_who_may_have_it() -> None:
    slots = Slots(2, 1, 5.0)
    order: list[str] = []

    async def call(caller: str, name: str) -> None:
        async with slots.hold("rs_1", caller):
            order.append(name)

    async with AsyncExitStack() as stack:
        await taken(stack, slots, "alice")
        bob = AsyncExitStack()
        await taken(bob, slots, "bob")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(call("alice", "alice again"))
            tasks.create_task(call("carol", "carol"))
            tasks.create_task(call("dave", "dave"))
            await asyncio.sleep(0)
            await bob.aclose()
            await eventually(lambda: order == ["carol", "dave"])
            await stack.aclose()
    assert order == ["carol", "dave", "alice again"]
    assert len(slots) == 0


@pytest.mark.parametrize("has_place", [False, True])
async def test_a_waiter_that_is_cancelled_leaves_nothing_behind(has_place: bool) -> None:
    slots = Slots(1, 1, 5.0)

    async def call() -> None:
        async with slots.hold("rs_1", "bob"):
            raise AssertionError("it was cancelled")

    async with AsyncExitStack() as stack:
        await taken(stack, slots, "alice")
        waiting = asyncio.get_running_loop().create_task(call())
        await asyncio.sleep(0)
        if has_place:
            await stack.aclose()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with AsyncExitStack() as stack:
        await taken(stack, slots, "carol")
    assert len(slots) == 0
