"""The arq worker: the only table of jobs and crons."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from arq import cron
from arq.worker import Worker

from scaimcp.jobs.audit import prune_audit
from scaimcp.postgres import open_database
from scaimcp.queue import HEALTH_KEY, QUEUE, connection, deserialize, serialize
from scaimcp.settings import Settings, require
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import JOB_DURATION, JOBS

_log = get_logger("scaimcp.worker")
_HEALTH_SECONDS = 10
_JOB_SECONDS = 60


async def audit_prune(ctx: dict[Any, Any], *_: Any, **__: Any) -> int:
    """Prune the audit log (cron, hourly)."""
    settings: Settings = ctx["settings"]
    days = settings.audit_retention_days
    return await _measured("audit_prune", lambda: prune_audit(ctx["database"], days))


async def _measured(job: str, run: Callable[[], Awaitable[int]]) -> int:
    started, outcome = time.perf_counter(), "failed"
    try:
        count = await run()
        outcome = "ok"
    finally:
        JOBS.labels(job, outcome).inc()
        JOB_DURATION.labels(job, outcome).observe(time.perf_counter() - started)
    _log.info("job done", job=job, count=count)
    return count


def create_worker(settings: Settings) -> Worker:
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
        ctx["database"] = await stack.enter_async_context(
            open_database(database_url, settings.database_pool_max)
        )
        _log.info("worker started", jobs_max=settings.worker_jobs_max)

    async def stop(ctx: dict[Any, Any]) -> None:
        await ctx["stack"].aclose()

    return Worker(
        functions=[],
        cron_jobs=[cron(audit_prune, name="audit_prune", minute=17, timeout=_JOB_SECONDS)],
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
        on_shutdown=stop,
    )
