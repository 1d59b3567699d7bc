"""Both stores and the gateway die at once and come back in the worst order."""

from __future__ import annotations

import signal

import pytest

from tests.faults.checks import nothing_is_missing, nothing_went_wrong
from tests.faults.load import eventually, prepare
from tests.faults.rig import OWNERS, Rig

pytestmark = pytest.mark.slow


async def test_a_gateway_starts_without_its_stores_and_finds_all_when_they_are_back(
    rig: Rig,
) -> None:
    await rig.start_gateway()
    worker = await rig.start_worker()
    async with prepare(rig) as load:
        await load.run(1)
        assert load.failures("before") == {}
        async with load.during():
            await rig.stores.postgres.kill()
            await rig.stores.redis.kill()
            rig.gateway.send(signal.SIGKILL)
            load.phase = "outage"
        await rig.start_gateway()
        ready = await rig.ready()
        assert (ready["parts"]["postgres"], ready["parts"]["redis"]) == ("degraded", "degraded")
        await load.run(1, "alone")
        assert load.failures("alone", "platform") == {}
        # Nothing is known of any server, so nothing of it is listed or called.
        assert set(load.outcomes("alone", "list")) == {"incomplete"}
        assert set(load.outcomes("alone", "remote", "own")) == {"DatabaseError"}
        assert set(load.outcomes("alone", "register", "rest")) == {"SERVICE_UNAVAILABLE"}
        tool = f"{load.shared.plain['name_prefix']}echo"
        await rig.stores.postgres.start()

        async def is_listed() -> bool:
            return tool in await rig.client(OWNERS[0]).names()

        await eventually(is_listed)
        await rig.stores.redis.start()
        await load.run(1, "after")
        assert load.failures("after") == {}
        print(await nothing_is_missing(load))
    assert worker.process.poll() is None
    nothing_went_wrong(rig)
