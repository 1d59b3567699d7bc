"""Jobs and crons on remote servers: what is due is done, once, whoever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
import redis
from arq.worker import Worker

from scaimcp.ids import new_id
from scaimcp.jobs import remotes as jobs
from scaimcp.queue import QUEUE, QueueUnavailable, open_queue
from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.rules.health import chunk_delay, discovery_offset
from scaimcp.remotes.watching.discovery import Discovered
from scaimcp.settings import Settings, load
from scaimcp.types import Secret
from scaimcp.worker import create_worker
from tests.integration.rawserver import eventually, reply, waiting
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.registry import until
from tests.integration.remotes.servers import KEK, Registry, Upstream, allowed, named, settings_for

# arq closes its client by a name that the Redis library has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


@pytest.fixture(autouse=True)
def empty_queue(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


@pytest_asyncio.fixture
async def row(registry: Registry, upstream: Upstream) -> AsyncIterator[ServerRow]:
    """The only server, active, of a registry whose tables are else empty."""
    await registry.execute("DELETE FROM remote_servers")
    found = await registry.put(upstream.url)
    await registry.discover(found)
    yield found


@asynccontextmanager
async def until_idle(settings: Settings) -> AsyncIterator[Worker]:
    """Run a worker until its queue is empty, then close it."""
    worker = create_worker(settings)
    worker.burst = True
    worker.cron_jobs = []
    try:
        await worker.async_run()
        yield worker
    finally:
        await worker.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)


def queued(redis_url: str) -> dict[str, float]:
    """Ids of waiting jobs, and when each is due."""
    with redis.Redis.from_url(redis_url) as client:
        found = client.zrange(QUEUE, 0, -1, withscores=True)
    return {job.decode(): score / 1000 for job, score in found}


# --- ticks ------------------------------------------------------------------------------------


async def test_a_tick_hands_out_each_server_once_for_its_own_moment(
    registry: Registry, redis_url: str, row: ServerRow
) -> None:
    due = datetime.now(UTC) + timedelta(seconds=300)
    await registry.execute("UPDATE remote_server_state SET next_discovery_at = $1", due)
    hand_out = jobs.hand_out_discoveries
    assert await hand_out(registry.database, registry.parts.queue, 900) == 1
    assert await hand_out(registry.database, registry.parts.queue, 900) == 0
    waiting_jobs = queued(redis_url)
    assert list(waiting_jobs) == [f"discover:{row.id}"]
    assert abs(waiting_jobs[f"discover:{row.id}"] - due.timestamp()) < 1


async def test_after_an_outage_servers_spread_over_their_slots(
    registry: Registry, redis_url: str, row: ServerRow
) -> None:
    await registry.set_state(row, "next_discovery_at = now() - interval '1 hour'")
    started = datetime.now(UTC).timestamp()
    assert await jobs.hand_out_discoveries(registry.database, registry.parts.queue, 900) == 1
    [due] = queued(redis_url).values()
    assert abs(due - started - discovery_offset(row.id)) < 5


@pytest.mark.parametrize("status", ["error", "disabled", "pending_approval"])
async def test_only_active_servers_are_discovered_by_ticks(
    registry: Registry, row: ServerRow, status: str
) -> None:
    await registry.set_state(row, f"next_discovery_at = now(), status = '{status}'")
    assert await jobs.hand_out_discoveries(registry.database, registry.parts.queue, 900) == 0


async def test_a_server_due_behind_the_next_tick_is_left_to_that(
    registry: Registry, row: ServerRow
) -> None:
    await registry.set_state(row, "next_discovery_at = now() + interval '901 seconds'")
    assert await jobs.hand_out_discoveries(registry.database, registry.parts.queue, 900) == 0


async def test_more_than_a_page_is_handed_out(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    for number in range(4):
        await registry.put(upstream.url, f"s{number}")
    await registry.execute(
        "UPDATE remote_server_state SET status = 'active', next_discovery_at = now()"
    )
    hand_out = jobs.hand_out_discoveries
    assert await hand_out(registry.database, registry.parts.queue, 900, page_size=2) == 5


async def test_probes_are_handed_out_in_chunks_that_are_spread(
    registry: Registry, upstream: Upstream, redis_url: str, row: ServerRow
) -> None:
    for number in range(29):
        await registry.put(upstream.url, f"s{number}")
    await registry.execute("UPDATE remote_server_state SET next_check_at = now()")
    started = datetime.now(UTC).timestamp()
    assert await jobs.hand_out_probes(registry.database, registry.parts.queue) == 30
    found = queued(redis_url)
    assert len(found) == 2
    assert {job.rpartition(":")[2] for job in found} == {"0", "1"}
    assert all(0 <= due - started < 47 for due in found.values())
    assert 0 <= chunk_delay(row.id) <= 45


async def test_nothing_due_is_nothing_done(registry: Registry, row: ServerRow) -> None:
    assert await jobs.hand_out_probes(registry.database, registry.parts.queue) == 0


async def test_without_redis_nothing_is_handed_out_and_stays_due(
    registry: Registry, row: ServerRow
) -> None:
    await registry.set_state(row, "next_discovery_at = now(), next_check_at = now()")
    async with open_queue(Secret("redis://127.0.0.1:1/0")) as queue:
        with pytest.raises(QueueUnavailable):
            await queue.enqueue("any", job_id="any")
        assert await jobs.hand_out_discoveries(registry.database, queue, 900) == 0
        assert await jobs.hand_out_probes(registry.database, queue) == 0
    assert await jobs.hand_out_probes(registry.database, registry.parts.queue) == 1


@pytest.mark.parametrize(
    ("seconds", "minutes"), [(900, {0, 15, 30, 45}), (60, set(range(60))), (3_600, {0})]
)
def test_ticks_fall_on_whole_parts_of_an_hour(seconds: int, minutes: set[int]) -> None:
    assert jobs.ticks(seconds) == minutes


def test_the_slot_of_the_contracts_example() -> None:
    assert discovery_offset("rs_01jz8xq5k2m3n4p5q6r7s8t9va") == 73


# --- jobs -------------------------------------------------------------------------------------


async def test_a_worker_discovers_what_was_handed_out_and_the_id_is_free_again(
    registry: Registry, upstream: Upstream, redis_url: str, row: ServerRow
) -> None:
    await registry.set_state(row, "next_discovery_at = now()")
    upstream.lists["tools/list"].append(named("more"))
    await jobs.hand_out_discoveries(registry.database, registry.parts.queue, 900)
    async with until_idle(registry.settings) as worker:
        assert (worker.jobs_complete, worker.jobs_failed) == (1, 0)
    assert await registry.names(row) == ["search", "more"]
    await registry.set_state(row, "next_discovery_at = now()")
    assert await jobs.hand_out_discoveries(registry.database, registry.parts.queue, 900) == 1


async def test_a_worker_probes_a_chunk(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    await registry.set_state(row, "next_check_at = now()")
    await registry.parts.follow_up.probe_soon(row.tenant_id, row.id)
    upstream.raw.seen.clear()
    async with until_idle(registry.settings) as worker:
        assert (worker.jobs_complete, worker.jobs_failed) == (1, 0)
    assert upstream.asked("server/discover") == 1
    assert upstream.asked("tools/list") == 0


async def test_an_event_discovers_at_most_once_in_thirty_seconds(
    registry: Registry, upstream: Upstream, redis_url: str, row: ServerRow
) -> None:
    upstream.raw.seen.clear()
    await registry.parts.follow_up.discover_soon(row.tenant_id, row.id)
    worker = create_worker(registry.settings)
    worker.cron_jobs = []
    running = asyncio.create_task(worker.async_run())
    try:
        await eventually(lambda: worker.jobs_retried == 1)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await worker.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
    [(job, due)] = queued(redis_url).items()
    assert job == f"discover-now:{row.id}"
    assert 25 < due - datetime.now(UTC).timestamp() <= 30.5
    assert upstream.raw.seen == []
    await registry.set_state(row, "last_discovery_at = now() - interval '31 seconds'")
    assert await jobs.pause_left(registry.database, row.tenant_id, row.id) == 0
    assert await jobs.pause_left(registry.database, row.tenant_id, "rs_none") == 0


async def test_a_discovery_that_failed_has_its_time_and_keeps_nobody_waiting(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    await registry.set_state(row, "last_discovery_at = now() - interval '1 hour'")
    upstream.plays["tools/list"] = reply(500)
    failed = Discovered("failed", "RemoteServerError")
    assert await registry.discover(row, "discovery") == failed
    state = (await registry.seen(row)).state
    assert state.last_discovery_at == state.last_checked_at
    assert await jobs.pause_left(registry.database, row.tenant_id, row.id) == 0


async def test_an_event_while_its_job_waits_asks_for_one_more(
    registry: Registry, redis_url: str, row: ServerRow
) -> None:
    for _ in range(5):
        await registry.parts.follow_up.discover_soon(row.tenant_id, row.id)
    assert set(queued(redis_url)) == {
        f"discover-now:{row.id}", f"discover-now:{row.id}:again",
    }  # fmt: skip


async def test_a_late_registration_is_finished_by_the_job(
    registry: Registry, upstream: Upstream
) -> None:
    await registry.execute("DELETE FROM remote_servers")
    row = await registry.put(upstream.url)
    upstream.plays["tools/list"] = waiting(asyncio.Event(), reply())
    assert await registry.discover(row, "register", 0.3) == Discovered("failed", "TimeoutError")
    del upstream.plays["tools/list"]
    async with until_idle(registry.settings) as worker:
        assert worker.jobs_complete == 1
    assert await registry.status(row) == (Status.ACTIVE, "ok")


async def test_a_dead_server_comes_back_by_probe_and_discovery(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    await registry.set_state(
        row,
        "status = 'error', next_check_at = now(), last_discovery_at = now() - interval '1 hour'",
    )
    assert await jobs.probe_many(registry.parts, [row.tenant_id], [row.id], "j") == 1
    async with until_idle(registry.settings) as worker:
        assert worker.jobs_complete == 1
    assert await registry.status(row) == (Status.ACTIVE, "ok")


@pytest.mark.row(66)
@pytest.mark.invariant("I5")
async def test_a_job_that_runs_twice_writes_the_same(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.lists["tools/list"].append(named("more"))
    results = [
        await jobs.discover_one(registry.parts, row.tenant_id, row.id, "job") for _ in range(2)
    ]
    assert results == [1, 1]
    assert await registry.version() == 2
    both = await asyncio.gather(
        *(jobs.discover_one(registry.parts, row.tenant_id, row.id, "job") for _ in range(2))
    )
    assert 1 in both
    assert await registry.version() == 2


async def test_a_job_for_a_server_that_is_gone_does_nothing(registry: Registry) -> None:
    assert await jobs.discover_one(registry.parts, "t", "rs_none", "job") == 0
    assert await jobs.probe_many(registry.parts, ["t"], ["rs_none"], "job") == 0


# --- the tables -------------------------------------------------------------------------------


def test_a_worker_without_a_kek_has_no_registry(migrated_url: str, redis_url: str) -> None:
    env = {"SCAIMCP_DATABASE_URL": migrated_url, "SCAIMCP_REDIS_URL": redis_url}
    worker = _made(lambda: create_worker(load(env)))
    assert set(worker.functions) == {"audit_prune"}


def test_a_worker_with_a_kek_has_every_job_and_cron(migrated_url: str, redis_url: str) -> None:
    worker = _made(lambda: create_worker(settings_for(migrated_url, redis_url)))
    assert set(worker.functions) == {
        "discover_remote_server", "discover_remote_server_now", "probe_remote_servers",
        "audit_prune", "approvals_expire", "approvals_prune", "remote_discoveries",
        "remote_probes",
    }  # fmt: skip
    crons = {job.name: job.minute for job in worker.cron_jobs or ()}
    assert crons["remote_discoveries"] == {0, 15, 30, 45}
    for name in ("discover_remote_server", "probe_remote_servers"):
        assert worker.functions[name].keep_result_s == 0


def _made(make: Callable[[], Worker]) -> Worker:
    """Make a worker in a loop of its own: it binds signals to the loop it is made in."""

    async def inside() -> Worker:
        worker = make()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)
        return worker

    return asyncio.run(inside())


async def test_every_cron_runs(registry: Registry, redis_url: str, row: ServerRow) -> None:
    await registry.set_state(row, "next_discovery_at = now(), next_check_at = now()")
    worker = create_worker(registry.settings)
    worker.burst = True
    for job in worker.cron_jobs or ():
        await registry.parts.queue.enqueue(job.name, job_id=f"test:{job.name}")
    try:
        await worker.async_run()
        assert worker.jobs_failed == 0
        # The crons, and what they hand out.
        assert worker.jobs_complete >= 7
    finally:
        await worker.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)


# --- as processes -----------------------------------------------------------------------------


@pytest.mark.row(66)
@pytest.mark.invariant("I5")
@pytest.mark.slow
async def test_a_worker_killed_while_it_discovers_is_made_up_for(
    registry_for: Opened, upstream: Upstream, migrated_url: str, redis_url: str
) -> None:
    async with registry_for(upstream.url) as registry:
        await registry.execute("DELETE FROM remote_servers")
        row = await registry.put(upstream.url)
        release = asyncio.Event()
        upstream.plays["tools/list"] = waiting(release, reply(500))
        await registry.parts.queue.enqueue(
            "discover_remote_server", row.tenant_id, row.id, job_id=new_id("j")
        )
        process = _worker(migrated_url, redis_url, upstream.url)
        try:
            await eventually(lambda: upstream.asked("tools/list") == 1, 30)
            held = (await registry.seen(row)).state
            assert (held.lease_owner or "").startswith("discovery:")
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)
        del upstream.plays["tools/list"]
        release.set()
        # Nobody gets in before the dead worker's lease ends.
        assert await registry.discover(row, "discovery") == Discovered("busy")
        await registry.set_state(row, "lease_until = now() - interval '1 second'")
        assert await registry.discover(row, "discovery") == Discovered("stored")
        assert await registry.names(row) == ["search"]
        assert (await registry.seen(row)).state.lease_seq == held.lease_seq + 1


@pytest.mark.slow
async def test_a_worker_that_is_told_to_stop_gives_its_lease_back(
    registry_for: Opened, upstream: Upstream, migrated_url: str, redis_url: str
) -> None:
    async with registry_for(upstream.url) as registry:
        await registry.execute("DELETE FROM remote_servers")
        row = await registry.put(upstream.url)
        upstream.plays["tools/list"] = waiting(asyncio.Event(), reply())
        await registry.parts.queue.enqueue(
            "discover_remote_server", row.tenant_id, row.id, job_id=new_id("j")
        )
        process = _worker(migrated_url, redis_url, upstream.url)
        try:
            await eventually(lambda: upstream.asked("tools/list") == 1, 30)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.wait, 20)
        finally:
            process.kill()
            await asyncio.to_thread(process.wait)

        async def is_free() -> bool:
            return (await registry.seen(row)).state.lease_owner is None

        await until(is_free)
        assert process.returncode == 0


def _worker(database_url: str, redis_url: str, url: str) -> subprocess.Popen[Any]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("SCAIMCP_")}
    env = {
        "SCAIMCP_DATABASE_URL": database_url,
        "SCAIMCP_REDIS_URL": redis_url,
        "SCAIMCP_ENCRYPTION_LOCAL_KEK": KEK,
        "SCAIMCP_REMOTE_ALLOWED_PRIVATE": allowed(url),
        "SCAIMCP_REMOTE_ALLOWED_PLAINTEXT_HOSTS": "127.0.0.1",
        "SCAIMCP_SERVER_DRAIN_SECONDS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "scaimcp", "worker"],
        env={**clean, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
