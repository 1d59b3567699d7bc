"""SIGTERM with work in hand: calls end well, leases and sessions are given back."""

from __future__ import annotations

import asyncio
import signal

import aiohttp
import pytest

from tests.faults.checks import every_call_is_audited, nothing_went_wrong
from tests.faults.load import called, eventually, prepare
from tests.faults.rig import MANAGER, OWNERS, Rig
from tests.integration.remotes.rest import body

pytestmark = pytest.mark.slow
LEFT = """
SELECT status FROM remote_servers s JOIN remote_server_state t ON t.server_id = s.id
WHERE s.name = 'left'
"""
LEASED = "SELECT lease_owner FROM remote_server_state WHERE lease_owner IS NOT NULL"


@pytest.mark.row(12)
async def test_running_calls_and_discoveries_end_and_sessions_are_closed(rig: Rig) -> None:
    gateway = await rig.start_gateway(SERVER_DRAIN_SECONDS="30")
    async with prepare(rig) as load:
        await load.run(1)
        old = await rig.share(rig.old.url, "old")
        added = await rig.client(MANAGER).call(f"{old['name_prefix']}add", {"a": 1, "b": 2})
        assert called(added).result["content"][0]["text"] == "3"
        asked = rig.upstream.hold("plain", "tools/call")
        listed = rig.upstream.hold("late", "tools/list")
        await _hang_up(rig)
        rest = rig.rest(OWNERS[1])
        tool = f"{load.shared.plain['name_prefix']}echo"
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            call = group.create_task(load.call(OWNERS[0], tool, "late"))
            registration = group.create_task(rest.post(body=body(rig.upstream.url("late"), "late")))
            await asked.arrived.wait()
            await listed.arrived.wait()
            assert len(await rig.sql(LEASED)) == 2
            gateway.send(signal.SIGTERM)
            await eventually(lambda: _is_closed(rig))
            assert gateway.process.poll() is None
            asked.opened.set()
            listed.opened.set()
            rig.upstream.gates[("left", "tools/list")].opened.set()
        assert call.result() == "late"
        assert registration.result().status == 201
        assert registration.result().json["data"]["status"] == "active"
        assert await gateway.ended() == 0
        assert await rig.sql(LEASED) == []
        assert [row["status"] for row in await rig.sql(LEFT)] == ["active"]
        assert await every_call_is_audited(load)
        assert [method for method, _ in rig.old.requests][-1] == "DELETE"
    nothing_went_wrong(rig)


async def test_a_worker_gives_its_lease_back_and_the_next_one_goes_on(rig: Rig) -> None:
    await rig.start_gateway()
    worker = await rig.start_worker()
    async with prepare(rig) as load:
        slow = (await rig.share(rig.upstream.url("slow"), "slow"))["id"]
        gate = rig.upstream.hold("slow", "tools/list")
        tenant = load.shared.plain["tenant_id"]
        await rig.job("discover_remote_server", tenant, slow, job_id=f"discover:{slow}")
        async with asyncio.timeout(30):
            await gate.arrived.wait()
        async with load.during(1):
            # It waits for its jobs, then gives them up.
            assert await worker.end(signal.SIGTERM) == 0
        assert await rig.sql(LEASED) == []
        assert load.failures("before") == {}
        del rig.upstream.gates[("slow", "tools/list")]
        gate.opened.set()
        asked = rig.upstream.asked.count(("slow", "tools/list"))
        await rig.start_worker()
        await eventually(lambda: _is_asked(rig, asked))
    nothing_went_wrong(rig)


async def _hang_up(rig: Rig) -> None:
    """Begin a registration and go away while the server is asked."""
    gate = rig.upstream.hold("left", "tools/list")
    async with aiohttp.ClientSession() as http:
        given = body(rig.upstream.url("left"), "left")
        asking = asyncio.gather(rig.rest(OWNERS[2], http).post(body=given))
        async with asyncio.timeout(30):
            await gate.arrived.wait()
        asking.cancel()
        await asyncio.wait((asking,))


async def _is_asked(rig: Rig, before: int) -> bool:
    return rig.upstream.asked.count(("slow", "tools/list")) > before


async def _is_closed(rig: Rig) -> bool:
    """Tell whether the gateway takes no connections any more."""
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{rig.gateway.url}/livez"):
            return False
    except aiohttp.ClientConnectionError:
        return True
