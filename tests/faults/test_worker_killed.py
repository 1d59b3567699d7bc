"""The worker is killed in the middle of a discovery, under load; and a job runs twice."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
import redis.asyncio

from tests.faults.checks import ENDED, nothing_is_missing, nothing_went_wrong
from tests.faults.load import Load, eventually, prepare
from tests.faults.rig import Rig

pytestmark = pytest.mark.slow
DUE = "UPDATE remote_server_state SET next_discovery_at = now() WHERE server_id = $1"
STATE = """
SELECT lease_owner, lease_seq, last_discovery_at, status,
  (SELECT count(*) FROM remote_capabilities c WHERE c.server_id = t.server_id) AS definitions
FROM remote_server_state t WHERE server_id = $1
"""


@pytest.mark.row(66)
async def test_what_a_killed_worker_had_begun_is_done_by_the_next_one(rig: Rig) -> None:
    await rig.start_gateway()
    worker = await rig.start_worker()
    async with prepare(rig) as load:
        slow = (await rig.share(rig.upstream.url("slow"), "slow"))["id"]
        gate = rig.upstream.hold("slow", "tools/list")
        await rig.sql(DUE, slow)
        await rig.job("remote_discoveries", job_id="tick")
        async with asyncio.timeout(30):
            await gate.arrived.wait()
        async with load.during():
            await worker.end(signal.SIGKILL)
            load.phase = "outage"
        held = await _state(rig, slow)
        assert held["lease_owner"].startswith("discovery:")
        assert (held["status"], held["definitions"]) == ("active", 1)
        del rig.upstream.gates[("slow", "tools/list")]
        gate.opened.set()
        await rig.start_worker()
        await _pass_a_minute(rig, slow)
        await eventually(lambda: _is_done(rig, slow, held))
        done = await _state(rig, slow)
        assert (done["lease_seq"], done["status"]) == (held["lease_seq"] + 1, "active")
        await load.run(1, "after")
        assert [load.failures(when) for when in ("before", "death", "outage", "after")] == [{}] * 4
        await _doubled(load, slow)
        print(await nothing_is_missing(load))
    nothing_went_wrong(rig)


async def _doubled(load: Load, server: str) -> None:
    """Two jobs for one server at once: one finds the other's lease and leaves."""
    rig, before = load.rig, await _state(load.rig, server)
    gate = rig.upstream.hold("slow", "tools/list")
    tenant = load.shared.plain["tenant_id"]
    await rig.job("discover_remote_server", tenant, server, job_id="one")
    async with asyncio.timeout(30):
        await gate.arrived.wait()
    asked = rig.upstream.asked.count(("slow", "tools/list"))
    await rig.job("discover_remote_server", tenant, server, job_id="two")

    async def is_over() -> bool:
        async with redis.asyncio.Redis.from_url(rig.stores.redis.url) as client:
            return not await client.exists("arq:job:two")

    await eventually(is_over)
    assert rig.upstream.asked.count(("slow", "tools/list")) == asked
    gate.opened.set()
    await eventually(lambda: _is_done(rig, server, before))
    after = await _state(rig, server)
    assert (after["lease_seq"], after["definitions"]) == (before["lease_seq"] + 1, 1)


async def _state(rig: Rig, server: str) -> Any:
    return (await rig.sql(STATE, server))[0]


async def _is_done(rig: Rig, server: str, before: Any) -> bool:
    now = await _state(rig, server)
    later = now["last_discovery_at"] > before["last_discovery_at"]
    return bool(now["lease_owner"] is None and later)


async def _pass_a_minute(rig: Rig, server: str) -> None:
    """Let what a dead worker holds end: its lease, and its mark on the job in the queue."""
    await rig.sql(ENDED, server)
    async with redis.asyncio.Redis.from_url(rig.stores.redis.url) as client:
        assert await client.delete(f"arq:in-progress:discover:{server}") == 1
