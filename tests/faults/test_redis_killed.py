"""Valkey is killed under load: nobody is refused anything, and the queue goes on afterwards."""

from __future__ import annotations

import time

import pytest
import redis.asyncio

from tests.faults.checks import nothing_is_missing, nothing_went_wrong
from tests.faults.load import Failed, Load, eventually, prepare
from tests.faults.rig import MANAGER, OWNERS, Rig

pytestmark = pytest.mark.slow
LIMITS = {f"LIMITS_RATE_{of}": "100000" for of in ("TOKEN", "USER", "TENANT")}
# What another process would have told, had there been a way.
SILENTLY = """
WITH gone AS (UPDATE remote_server_state SET status = 'disabled' WHERE server_id = $1
RETURNING tenant_id)
UPDATE catalog_versions SET version = version + 1 WHERE tenant_id = (SELECT tenant_id FROM gone)
"""


@pytest.mark.row(67)
async def test_nothing_fails_without_redis_and_nothing_is_lost(rig: Rig) -> None:
    await rig.start_gateway(**LIMITS)
    worker = await rig.start_worker()
    async with prepare(rig) as load:
        spare = await rig.share(rig.upstream.url("spare"), "spare")
        other = await rig.share(rig.upstream.url("other"), "other")
        await load.run(1)
        async with load.during():
            await rig.stores.redis.kill()
            load.phase = "outage"
        await load.run(2, "outage")
        ready = await rig.ready()
        assert (ready["status"], ready["parts"]["redis"]) == ("degraded", "degraded")
        # Here a deed counts at once; elsewhere, and so without a message, a little later.
        reply = await rig.rest(MANAGER).post(f"/{other['id']}/disable")
        assert reply.status == 200
        assert await _refusal(load, other["name_prefix"]) == "REMOTE_SERVER_UNAVAILABLE"
        await rig.sql(SILENTLY, spare["id"])
        began = time.monotonic()
        await eventually(lambda: _is_unlisted(load, f"{spare['name_prefix']}echo"))
        print(f"catalogue lag without messages: {time.monotonic() - began:.1f} s")
        assert worker.process.poll() is None
        await rig.stores.redis.start()
        await eventually(lambda: _are_followed(rig))
        assert (await rig.ready())["status"] == "ok"
        await load.run(1, "after")
        assert [load.failures(when) for when in ("before", "death", "outage", "after")] == [{}] * 4
        await _the_queue_goes_on(load)
        print(await nothing_is_missing(load))
    assert worker.process.poll() is None
    nothing_went_wrong(rig)


async def _refusal(load: Load, prefix: str) -> str:
    try:
        await load.call(OWNERS[0], f"{prefix}echo", "again")
    except Failed as error:
        return error.word
    return ""


async def _is_unlisted(load: Load, tool: str) -> bool:
    return tool not in await load.rig.client(OWNERS[0]).names()


async def _are_followed(rig: Rig) -> bool:
    """Tell whether the gateway hears messages again."""
    async with redis.asyncio.Redis.from_url(rig.stores.redis.url) as client:
        heard = await client.pubsub_numsub("scaimcp:catalog", "scaimcp:close")
    return all(count > 0 for _, count in heard)


async def _the_queue_goes_on(load: Load) -> None:
    """The worker, which was never started again, takes a job of the queue that was lost."""
    server = load.shared.plain["id"]
    before = await _discovered_at(load.rig, server)
    tenant = load.shared.plain["tenant_id"]
    await load.rig.job("discover_remote_server", tenant, server, job_id=f"discover:{server}")

    async def is_done() -> bool:
        return bool(await _discovered_at(load.rig, server) > before)

    await eventually(is_done)


async def _discovered_at(rig: Rig, server_id: str) -> float:
    found = await rig.sql(
        "SELECT extract(epoch FROM last_discovery_at) AS at FROM remote_server_state"
        " WHERE server_id = $1",
        server_id,
    )
    return float(found[0]["at"])
