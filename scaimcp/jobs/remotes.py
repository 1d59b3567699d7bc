"""Jobs on remote servers. Each may run twice, or end half-way. Spec: remote-servers 6, 7.

Ticks look for what is due and hand it out; what Redis refuses is due again at the next tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.queue import JobQueue, QueueUnavailable
from scaimcp.remotes.models import DueServer
from scaimcp.remotes.rules.health import HEALTHY, chunk_delay, discovery_offset
from scaimcp.remotes.stores import state_store
from scaimcp.remotes.watching.followup import DISCOVER, PAUSE_SECONDS, PROBE
from scaimcp.remotes.watching.opening import RemoteParts
from scaimcp.telemetry.logs import get_logger

PAGE = 500
CHUNK = 25
_AT_ONCE = 10
_log = get_logger("scaimcp.jobs")


async def hand_out_discoveries(
    database: Database, queue: JobQueue, interval: int, *, page_size: int = PAGE
) -> int:
    """Hand out the discoveries due before the next tick, each for its own moment.

    Args:
        database: the open pool.
        queue: takes the jobs.
        interval: seconds between two ticks.
        page_size: servers a transaction.

    Returns:
        How many were handed out that had not been already.
    """
    count, after = 0, None
    while True:
        async with database.transaction() as connection:
            page = await state_store.due_discoveries(connection, interval, after, page_size)
        for due in page:
            try:
                count += await queue.enqueue(
                    DISCOVER,
                    due.tenant_id,
                    due.server_id,
                    job_id=f"discover:{due.server_id}",
                    at=_moment(due, interval),
                )
            except QueueUnavailable as error:
                _log.warning("discoveries not handed out", reason=error.message)
                return count
        if len(page) < page_size:
            return count
        after = page[-1]


def _moment(due: DueServer, interval: int) -> datetime:
    """Return when a discovery is to run; after an outage the servers spread over their slots."""
    now = datetime.now(UTC)
    if now - due.due_at < timedelta(seconds=interval):
        return due.due_at
    return now + timedelta(seconds=discovery_offset(due.server_id, interval))


async def hand_out_probes(database: Database, queue: JobQueue) -> int:
    """Hand out the probes that are due, in chunks spread over the minute; return how many."""
    now = datetime.now(UTC)
    minute = int(now.timestamp()) // 60
    count, chunk, after = 0, 0, None
    while True:
        async with database.transaction() as connection:
            page = await state_store.due_checks(connection, after, CHUNK)
        if page:
            try:
                count += await _hand_out_chunk(queue, page, f"health:{minute}:{chunk}", now)
            except QueueUnavailable as error:
                _log.warning("probes not handed out", reason=error.message)
                return count
        if len(page) < CHUNK:
            return count
        after, chunk = page[-1], chunk + 1


async def _hand_out_chunk(
    queue: JobQueue, page: Sequence[DueServer], job_id: str, now: datetime
) -> int:
    tenants = [due.tenant_id for due in page]
    servers = [due.server_id for due in page]
    at = now + timedelta(seconds=chunk_delay(servers[0]))
    return len(page) if await queue.enqueue(PROBE, tenants, servers, job_id=job_id, at=at) else 0


async def discover_one(parts: RemoteParts, tenant_id: str, server_id: str, job: str) -> int:
    """Discover a server; return 1 if its catalogue was stored."""
    ended = await parts.discoverer.discover(
        tenant_id,
        server_id,
        source="discovery",
        seconds=parts.policy.discovery_seconds,
        request_id=job,
    )
    if ended.result in ("busy", "skipped", "late"):
        _tell_skipped(tenant_id, server_id, job, ended.result)
    return int(ended.result == "stored")


def _tell_skipped(tenant_id: str, server_id: str, job: str, reason: str) -> None:
    _log.info(
        "remote_job_skipped", job_id=job, tenant_id=tenant_id, server_id=server_id, reason=reason
    )


async def pause_left(database: Database, tenant_id: str, server_id: str) -> float:
    """Return for how many seconds a server is not discovered again; 0 where it may be now.

    Only a catalogue that was read well is not read again at once: after a discovery that failed
    there is nothing to spare, and a new credential or a late answer is what it waits for.
    """
    async with database.transaction() as connection:
        state = await state_store.read_state(connection, tenant_id, server_id)
    if state is None or state.last_discovery_at is None or state.last_health_status != HEALTHY:
        return 0.0
    return max(PAUSE_SECONDS - (state.read_at - state.last_discovery_at).total_seconds(), 0.0)


async def probe_many(
    parts: RemoteParts, tenants: Sequence[str], servers: Sequence[str], job: str
) -> int:
    """Probe the servers that are still due, ten at once; return how many were asked.

    While the database is away outcomes are dropped, not counted. Spec: remote-servers 12.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def probe(tenant_id: str, server_id: str) -> int:
        async with places:
            try:
                probed = await parts.prober.probe(tenant_id, server_id, job=job)
            except DatabaseUnavailable as error:
                _log.warning("probe dropped", server_id=server_id, reason=error.message)
                return 0
        if probed.result in ("busy", "skipped", "late"):
            _tell_skipped(tenant_id, server_id, job, probed.result)
        return int(probed.result in ("ok", "failed"))

    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(probe(tenant_id, server_id))
            for tenant_id, server_id in zip(tenants, servers, strict=True)
        ]
    return sum([task.result() for task in tasks])


def ticks(seconds: int) -> set[int]:
    """Return the minutes of an hour in which a tick of this interval falls."""
    return set(range(0, 60, max(seconds // 60, 1)))
