"""The arq worker: the only table of jobs and crons."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial, wraps
from typing import Any

from arq import cron, func
from arq.cron import CronJob
from arq.worker import Function, Retry, Worker
from redis.exceptions import RedisError

from scaimcp import __version__
from scaimcp.credentials.keys import LocalKeys
from scaimcp.jobs import remotes
from scaimcp.jobs.approvals import expire_approvals, prune_approvals
from scaimcp.jobs.audit import prune_audit
from scaimcp.jobs.figures import measuring
from scaimcp.postgres import DatabaseUnavailable, open_database
from scaimcp.queue import HEALTH_KEY, QUEUE, connection, deserialize, serialize
from scaimcp.redis import open_redis
from scaimcp.remotes.watching.followup import DISCOVER, DISCOVER_NOW, PROBE
from scaimcp.remotes.watching.listening import Listeners, open_listening
from scaimcp.remotes.watching.opening import WORKER_IDLE_SECONDS, RemoteParts, open_remotes
from scaimcp.settings import Settings, require
from scaimcp.telemetry.exposition import served_metrics
from scaimcp.telemetry.logs import get_logger, working_for
from scaimcp.telemetry.metrics import JOB_DURATION, JOBS
from scaimcp.telemetry.tracing import Tracing, open_tracing
from scaimcp.types import Secret

_log = get_logger("scaimcp.worker")
_HEALTH_SECONDS = 10
_JOB_SECONDS = 60
_CLOSE_SECONDS = 3.0
_CLOSE_ROUNDS = 3
_MOST_PAUSE_SECONDS = 10.0
_DATABASE_SECONDS = 5.0
_MOST_DATABASE_SECONDS = 60.0
# Each try of a postponed job counts, and so does each worker that died over it.
_TRIES = 20

_Job = Callable[..., Coroutine[Any, Any, int]]


class GatewayWorker(Worker):
    """arq's worker, which goes on while Redis is away, and also ends then."""

    _failures = 0

    async def _poll_iteration(self) -> None:
        """Look for jobs; without Redis look again, ever more seldom. Spec: remote-servers 12."""
        try:
            await super()._poll_iteration()
        except (RedisError, OSError) as error:
            self._failures += 1
            _log.warning("queue not read", reason=type(error).__name__, failures=self._failures)
            await asyncio.sleep(min(2.0**self._failures, _MOST_PAUSE_SECONDS))
        else:
            self._failures = 0

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start jobs; the place of one that could not be started is free again."""
        try:
            await super().start_jobs(job_ids)
        except (RedisError, OSError):
            # Jobs that have just ended give their places back at the loop's next turn.
            await asyncio.sleep(0)
            running = sum(not task.done() for task in self.tasks.values())
            for _ in range(running, self.job_counter):
                self._release_sem_dec_counter_on_complete()
            raise

    async def close(self) -> None:
        """Close everything; what Redis still holds of this worker ends by itself."""
        if self._pool is None:
            return
        await self._end_jobs()
        # Before the connections that Redis may hold up, so that every session is ended in time.
        listening: Listeners | None = self.ctx.get("listening")
        if listening is not None:
            await listening.aclose()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await super().close()
        except (RedisError, OSError) as error:
            _log.warning("closed without redis", reason=type(error).__name__)
            if self.on_shutdown is not None:
                await self.on_shutdown(self.ctx)
            await self._pool.aclose(close_connection_pool=True)
            self._pool = None

    async def _end_jobs(self) -> None:
        """Let cancelled jobs say so in Redis; one that cannot runs again after its time."""
        tasks = list(self.tasks.values())
        self.tasks.clear()
        left = set(tasks)
        for _ in range(_CLOSE_ROUNDS):
            if left:
                _, left = await asyncio.wait(left, timeout=_CLOSE_SECONDS / _CLOSE_ROUNDS)
            for task in left:
                task.cancel()
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()


async def audit_prune(ctx: dict[Any, Any], *_: Any, **__: Any) -> int:
    """Prune the audit log (cron, hourly)."""
    settings: Settings = ctx["settings"]
    days = settings.audit_retention_days
    run = partial(prune_audit, ctx["database"], days)
    return await _measured("audit_prune", run, ctx["tracing"])


async def approvals_expire(ctx: dict[Any, Any], *_: Any, **__: Any) -> int:
    """End questions to users whose time is over (cron, every minute)."""
    run = partial(expire_approvals, ctx["database"], _job(ctx))
    return await _measured("approvals_expire", run, ctx["tracing"])


async def approvals_prune(ctx: dict[Any, Any], *_: Any, **__: Any) -> int:
    """Prune questions that ended long ago (cron, hourly)."""
    run = partial(prune_approvals, ctx["database"])
    return await _measured("approvals_prune", run, ctx["tracing"])


async def remote_discoveries(ctx: dict[Any, Any], *_: Any, **__: Any) -> int:
    """Hand out the discoveries that are due (cron, every 15 minutes)."""
    parts: RemoteParts = ctx["remotes"]
    interval = parts.policy.discovery_interval
    run = partial(remotes.hand_out_discoveries, ctx["database"], parts.queue, interval)
    return await _measured("remote_discoveries", run, ctx["tracing"])


async def remote_probes(ctx: dict[Any, Any], *_: Any, **__: Any) -> int:
    """Hand out the probes that are due (cron, every minute)."""
    parts: RemoteParts = ctx["remotes"]
    run = partial(remotes.hand_out_probes, ctx["database"], parts.queue)
    return await _measured("remote_probes", run, ctx["tracing"])


async def discover_remote_server(ctx: dict[Any, Any], tenant_id: str, server_id: str) -> int:
    """Discover one server."""
    run = partial(remotes.discover_one, ctx["remotes"], tenant_id, server_id, _job(ctx))
    return await _measured(DISCOVER, run, ctx["tracing"])


async def discover_remote_server_now(ctx: dict[Any, Any], tenant_id: str, server_id: str) -> int:
    """Discover one server because of an event, at most once in thirty seconds."""
    pause = await remotes.pause_left(ctx["database"], tenant_id, server_id)
    if pause > 0:
        raise Retry(defer=pause)
    run = partial(remotes.discover_one, ctx["remotes"], tenant_id, server_id, _job(ctx))
    return await _measured(DISCOVER_NOW, run, ctx["tracing"])


async def probe_remote_servers(
    ctx: dict[Any, Any], tenants: Sequence[str], servers: Sequence[str]
) -> int:
    """Probe some servers."""
    run = partial(remotes.probe_many, ctx["remotes"], tenants, servers, _job(ctx))
    return await _measured(PROBE, run, ctx["tracing"])


async def _job_begins(ctx: dict[Any, Any]) -> None:
    working_for("job_id", _job(ctx))


def _job(ctx: dict[Any, Any]) -> str:
    return str(ctx.get("job_id", ""))


def _patient(job: _Job) -> _Job:
    """Return a job that is run again later where the database is away."""

    @wraps(job)
    async def run(ctx: dict[Any, Any], *ids: Any) -> int:
        try:
            return await job(ctx, *ids)
        except DatabaseUnavailable as error:
            _log.warning("job waits for the database", job_id=_job(ctx), reason=error.message)
            pause = min(_DATABASE_SECONDS * ctx["job_try"], _MOST_DATABASE_SECONDS)
            raise Retry(defer=pause) from None

    return run


def _ticking(tick: _Job) -> _Job:
    """Return a cron that leaves its work to the next tick where the database is away."""

    @wraps(tick)
    async def run(ctx: dict[Any, Any]) -> int:
        try:
            return await tick(ctx)
        except DatabaseUnavailable as error:
            _log.warning("tick left out", job_id=_job(ctx), reason=error.message)
            return 0

    return run


def _functions(settings: Settings) -> list[Function]:
    """Return the table of jobs; without a KEK there is no registry."""
    if settings.encryption_local_kek is None:
        return []
    jobs = {
        DISCOVER: discover_remote_server,
        DISCOVER_NOW: discover_remote_server_now,
        PROBE: probe_remote_servers,
    }
    # A result that is kept would keep the job's id from being used again.
    return [
        func(_patient(job), name=name, keep_result=0, timeout=_JOB_SECONDS, max_tries=_TRIES)
        for name, job in jobs.items()
    ]


def _crons(settings: Settings) -> list[CronJob]:
    """Return the table of crons."""
    table = [cron(_ticking(audit_prune), name="audit_prune", minute=17, timeout=_JOB_SECONDS)]
    if settings.encryption_local_kek is None:
        return table
    every: dict[str, tuple[Any, set[int] | None]] = {
        "approvals_expire": (approvals_expire, None),
        "approvals_prune": (approvals_prune, {47}),
        "remote_discoveries": (
            remote_discoveries,
            remotes.ticks(settings.remote_discovery_interval_seconds),
        ),
        "remote_probes": (remote_probes, remotes.ticks(settings.remote_health_interval_seconds)),
    }
    return table + [
        cron(_ticking(job), name=name, minute=minutes, timeout=_JOB_SECONDS)
        for name, (job, minutes) in every.items()
    ]


async def _measured(job: str, run: Callable[[], Awaitable[int]], tracing: Tracing | None) -> int:
    span = tracing.start(f"job {job}", "INTERNAL", None, {}) if tracing is not None else None
    started, outcome = time.perf_counter(), "failed"
    try:
        count = await run()
        outcome = "ok"
    finally:
        JOBS.labels(job, outcome).inc()
        JOB_DURATION.labels(job, outcome).observe(time.perf_counter() - started)
        if span is not None:
            span.end({}, error=None if outcome == "ok" else outcome)
    _log.info("job done", job=job, count=count)
    return count


def run_worker(worker: Worker) -> bool:
    """Run jobs until SIGTERM or SIGINT; return False when Redis stays away from the beginning."""
    try:
        worker.run()
    except (RedisError, OSError) as error:
        _log.error("worker ended, redis does not answer", reason=type(error).__name__)
        return False
    return True


async def _open_registry(ctx: dict[Any, Any], settings: Settings, redis_url: Secret) -> None:
    """Open what belongs to remote servers, if there is a key that seals their credentials."""
    kek, database = settings.encryption_local_kek, ctx["database"]
    if kek is None:
        return
    stack: AsyncExitStack = ctx["stack"]
    await stack.enter_async_context(measuring(database))
    redis = await stack.enter_async_context(open_redis(redis_url))
    ctx["remotes"] = await stack.enter_async_context(
        open_remotes(
            settings, database, redis, LocalKeys(kek), pool_idle_seconds=WORKER_IDLE_SECONDS
        )
    )
    ctx["listening"] = await stack.enter_async_context(
        open_listening(ctx["remotes"], database, redis)
    )


def create_worker(settings: Settings) -> GatewayWorker:
    """Return the worker, not yet running.

    Raises:
        SettingsError: database or Redis is not configured.
    """
    require(settings, "database_url", "redis_url")
    database_url, redis_url = settings.database_url, settings.redis_url
    if database_url is None or redis_url is None:
        raise AssertionError("require() let a missing setting pass")

    async def start(ctx: dict[Any, Any]) -> None:
        stack = AsyncExitStack()
        ctx["settings"] = settings
        ctx["stack"] = stack
        ctx["tracing"] = await stack.enter_async_context(
            open_tracing(settings.is_traced, "scaimcp-worker", __version__)
        )
        ctx["database"] = await stack.enter_async_context(
            open_database(database_url, settings.database_pool_max)
        )
        stack.enter_context(served_metrics(settings.metrics_bind))
        await _open_registry(ctx, settings, redis_url)
        _log.info("worker started", jobs_max=settings.worker_jobs_max)

    async def stop(ctx: dict[Any, Any]) -> None:
        # A worker that is stopped before it has reached Redis never started.
        if "stack" in ctx:
            await ctx["stack"].aclose()

    return GatewayWorker(
        functions=_functions(settings),
        cron_jobs=_crons(settings),
        queue_name=QUEUE,
        health_check_key=HEALTH_KEY,
        health_check_interval=_HEALTH_SECONDS,
        redis_settings=connection(redis_url),
        max_jobs=settings.worker_jobs_max,
        job_timeout=_JOB_SECONDS,
        job_completion_wait=settings.server_drain_seconds,
        job_serializer=serialize,
        job_deserializer=deserialize,
        on_startup=start,
        on_job_start=_job_begins,
        on_shutdown=stop,
    )
