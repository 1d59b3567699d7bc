"""The gateway is killed under load: whole, and one of its processes."""

from __future__ import annotations

import os
import signal

import pytest

from tests.faults.checks import nothing_is_missing, nothing_went_wrong
from tests.faults.load import CUT, Load, eventually, prepare
from tests.faults.rig import MANAGER, OWNERS, Rig
from tests.waiting import until

pytestmark = pytest.mark.slow


async def test_a_gateway_that_is_started_again_has_all_that_it_had(rig: Rig) -> None:
    await rig.start_gateway()
    await rig.start_worker()
    async with prepare(rig) as load:
        await load.run(1)
        assert load.failures("before") == {}
        async with load.during():
            rig.gateway.send(signal.SIGKILL)
            load.phase = "outage"
        await rig.gateway.ended()
        assert set(load.failures("death")) <= {CUT}
        # What was on its way may still have been answered, by bytes that were already sent.
        assert set(load.failures("outage")) == {CUT}
        await rig.start_gateway()
        await load.run(1, "after")
        assert load.failures("after") == {}
        found = await nothing_is_missing(load)
        print(found)
        assert found["committed"] + found["not committed"] > 0
    nothing_went_wrong(rig)


async def test_the_other_process_goes_on_and_the_dead_one_is_replaced(rig: Rig) -> None:
    gateway = await rig.start_gateway(SERVER_WORKERS="2")
    await rig.start_worker()
    async with prepare(rig) as load:
        first, second = gateway.workers()
        await _connect(load, OWNERS[:2], stopped=second)
        await _connect(load, (*OWNERS[2:], MANAGER), stopped=first)
        await load.run(1)
        assert load.failures("before") == {}
        async with load.during():
            os.kill(first, signal.SIGKILL)
            load.phase = "outage"
        await until(lambda: len(set(gateway.workers()) - {first}) == 2)
        await gateway.wait_started(3)
        # Two people had their one connection to the dead process, and lose it once.
        cut = load.failures("death").get(CUT, 0) + load.failures("outage").get(CUT, 0)
        assert cut <= 2
        assert set(load.failures("death")) <= {CUT}
        assert set(load.failures("outage")) <= {CUT}
        await load.run(1, "after")
        assert load.failures("after") == {}
        await eventually(lambda: _both_know(load))
        print(await nothing_is_missing(load))
    nothing_went_wrong(rig, "worker ended")


async def _connect(load: Load, roles: tuple[str, ...], stopped: int) -> None:
    """Open the connections of some people; a process that is stopped accepts none."""
    os.kill(stopped, signal.SIGSTOP)
    try:
        for role in roles:
            assert (await (await load.client(role)).get("/livez")).status == 200
    finally:
        os.kill(stopped, signal.SIGCONT)


async def _both_know(load: Load) -> bool:
    """Tell whether calls see the newest credentials, whichever process answers."""
    load.journal.wrong.clear()
    for role in OWNERS:
        for server in load.journal.servers[role].values():
            await load.own(role, server)
    return not load.journal.wrong
