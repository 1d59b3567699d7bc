"""The worker: starts, shows that it lives, runs its job, survives an outage, stops."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import asyncpg
import pytest
import pytest_asyncio
import redis
from arq.connections import ArqRedis, create_pool
from arq.worker import Worker
from redis.exceptions import RedisError

from scaimcp import queue
from scaimcp.errors import SettingsError
from scaimcp.migrating import migrate
from scaimcp.settings import Settings, load
from scaimcp.types import Secret
from scaimcp.worker import create_worker
from tests.integration.forwarder import forward
from tests.integration.rawserver import eventually
from tests.world import KEK


def environment(database_url: str, redis_url: str, **more: str) -> dict[str, str]:
    return {
        "SCAIMCP_DATABASE_URL": database_url,
        "SCAIMCP_REDIS_URL": redis_url,
        "SCAIMCP_SERVER_DRAIN_SECONDS": "2",
        **{f"SCAIMCP_{name}": value for name, value in more.items()},
    }


@pytest_asyncio.fixture(scope="module")
async def migrated_url(database_url: str) -> str:
    await asyncio.to_thread(migrate, Secret(database_url))
    return database_url


@pytest.fixture
def settings(migrated_url: str, redis_url: str) -> Settings:
    return load(environment(migrated_url, redis_url, AUDIT_RETENTION_DAYS="30"))


@pytest_asyncio.fixture
async def pool(redis_url: str) -> AsyncIterator[ArqRedis]:
    opened = await create_pool(
        queue.connection(Secret(redis_url)),
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
        default_queue_name=queue.QUEUE,
    )
    yield opened
    await opened.aclose()


async def rows_left(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM audit_events"))
    finally:
        await connection.close()


async def add_rows(url: str, days: int) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(
            "INSERT INTO audit_events (at, tenant_id, actor_id, actor_type, action, resource_type,"
            f" resource_id, status, request_id) VALUES (now() - interval '{days} days', 't', 'u',"
            " 'user', 'a.b', 'a', 'x', 'SUCCESS', 'r')"
        )
    finally:
        await connection.close()


@pytest.mark.parametrize("missing", ["SCAIMCP_DATABASE_URL", "SCAIMCP_REDIS_URL"])
def test_a_worker_without_its_stores_does_not_start(missing: str) -> None:
    env = environment("postgresql://h/d", "redis://h")
    del env[missing]
    with pytest.raises(SettingsError, match=missing):
        create_worker(load(env))


async def test_a_worker_has_the_contracts_queue_and_limits(settings: Settings) -> None:
    worker = create_worker(settings)
    assert (worker.queue_name, worker.health_check_key) == (
        "scaimcp:queue", "scaimcp:queue:health-check",
    )  # fmt: skip
    assert worker.max_jobs == 25
    assert worker.job_serializer is queue.serialize
    assert worker.job_deserializer is queue.deserialize
    assert [job.name for job in worker.cron_jobs or ()] == ["audit_prune"]
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


@asynccontextmanager
async def until_idle(settings: Settings) -> AsyncIterator[Worker]:
    """Run a worker until its queue is empty, then close it."""
    worker = create_worker(settings)
    worker.burst = True
    try:
        await worker.async_run()
        yield worker
    finally:
        await worker.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)


# arq closes its client by a name that the Redis library has given up.
@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
async def test_a_job_of_the_queue_prunes_and_the_health_key_tells(
    settings: Settings, pool: ArqRedis, migrated_url: str
) -> None:
    await add_rows(migrated_url, 31)
    await add_rows(migrated_url, 1)
    await pool.enqueue_job("audit_prune")
    async with until_idle(settings) as worker:
        assert worker.jobs_complete == 1
        assert await rows_left(migrated_url) == 1
        assert b"j_complete=" in (await pool.get(queue.HEALTH_KEY) or b"")
        assert 0 < await pool.pttl(queue.HEALTH_KEY) <= 11_000
    assert not await pool.exists(queue.HEALTH_KEY)


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
async def test_a_job_that_is_no_data_is_not_run(settings: Settings, pool: ArqRedis) -> None:
    import_job = b"cos\nsystem\n(S'touch /tmp/owned'\ntR."
    await pool.set("arq:job:evil", import_job)
    await pool.zadd(queue.QUEUE, {"evil": int(time.time() * 1000)})
    async with until_idle(settings) as worker:
        assert (worker.jobs_complete, worker.jobs_failed) == (0, 1)


# --- as a process -----------------------------------------------------------------------------


@contextmanager
def running_worker(env: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("SCAIMCP_")}
    process = subprocess.Popen(
        [sys.executable, *(arguments or ("-m", "scaimcp", "worker"))],
        env={**clean, **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for the end after SIGTERM and return what was logged."""
    process.send_signal(signal.SIGTERM)
    _, logged = process.communicate(timeout=20)
    return logged


@pytest.fixture
def store(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        opened.delete(queue.HEALTH_KEY)
        yield opened


@pytest.mark.slow
async def test_the_process_shows_that_it_lives_and_stops_on_sigterm(
    migrated_url: str, redis_url: str, store: redis.Redis
) -> None:
    with running_worker(environment(migrated_url, redis_url)) as process:
        await eventually(lambda: store.exists(queue.HEALTH_KEY) == 1, 20)
        assert process.poll() is None
        logged = await asyncio.to_thread(ended, process)
    assert process.returncode == 0
    assert "worker started" in logged
    assert "Traceback" not in logged


@pytest.mark.slow
async def test_an_outage_of_redis_is_survived(
    migrated_url: str, redis_url: str, store: redis.Redis, pool: ArqRedis
) -> None:
    async with forward(redis_url) as line:
        with running_worker(environment(migrated_url, line.url)) as process:
            await eventually(lambda: store.exists(queue.HEALTH_KEY) == 1, 20)
            await line.cut()
            await asyncio.sleep(3.5)
            assert process.poll() is None
            await line.mend()
            await add_rows(migrated_url, 400)
            before = await rows_left(migrated_url)
            await pool.enqueue_job("audit_prune")
            async with asyncio.timeout(30):
                left = before
                while left >= before:
                    await asyncio.sleep(0.05)
                    left = await rows_left(migrated_url)
            await asyncio.to_thread(ended, process)
    assert process.returncode == 0


@pytest.mark.slow
async def test_sigterm_ends_the_process_also_while_redis_is_away(
    migrated_url: str, redis_url: str, store: redis.Redis
) -> None:
    async with forward(redis_url) as line:
        with running_worker(environment(migrated_url, line.url)) as process:
            await eventually(lambda: store.exists(queue.HEALTH_KEY) == 1, 20)
            await line.cut()
            logged = await asyncio.to_thread(ended, process)
    assert process.returncode == 0
    assert "closed without redis" in logged
    assert "Traceback" not in logged


_IMPATIENT = """
import sys
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from scaimcp.settings import load
from scaimcp.telemetry.logs import configure_logs
from scaimcp.worker import create_worker, run_worker
configure_logs("warning", "json")
worker = create_worker(load())
worker.redis_settings.retry = Retry(NoBackoff(), 0)
sys.exit(0 if run_worker(worker) else 1)
"""


@pytest.mark.slow
async def test_an_outage_longer_than_all_tries_is_survived(
    migrated_url: str, redis_url: str, store: redis.Redis, pool: ArqRedis
) -> None:
    async with forward(redis_url) as line:
        with running_worker(environment(migrated_url, line.url), "-c", _IMPATIENT) as process:
            await eventually(lambda: store.exists(queue.HEALTH_KEY) == 1, 20)
            await line.cut()
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            said = await asyncio.to_thread(
                lambda: next(line for line in lines if '"failures":2' in line.replace(" ", ""))
            )
            assert "queue not read" in said
            assert process.poll() is None
            await line.mend()
            await add_rows(migrated_url, 400)
            before = await rows_left(migrated_url)
            await pool.enqueue_job("audit_prune")
            async with asyncio.timeout(30):
                left = before
                while left >= before:
                    await asyncio.sleep(0.05)
                    left = await rows_left(migrated_url)
            await asyncio.to_thread(ended, process)
    assert process.returncode == 0


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
async def test_a_job_that_could_not_be_started_takes_no_place(
    migrated_url: str, redis_url: str
) -> None:
    async with forward(redis_url) as line:
        worker = create_worker(load(environment(migrated_url, line.url)))
        assert worker.redis_settings is not None
        worker.redis_settings.retry = None
        worker.redis_settings.retry_on_error = []
        worker.burst = True
        await worker.async_run()
        await line.cut()
        for _ in range(3):
            with pytest.raises(RedisError):
                await worker.start_jobs([b"one"])
        assert worker.job_counter == 0
        assert not worker.sem.locked()
        await line.mend()
        await worker.close()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
async def test_without_the_database_jobs_wait_ticks_and_probes_are_left_out(
    redis_url: str, pool: ArqRedis
) -> None:
    await pool.delete(queue.QUEUE)
    away = environment("postgresql://u@127.0.0.1:1/d", redis_url, ENCRYPTION_LOCAL_KEK=KEK)
    await pool.enqueue_job("discover_remote_server_now", "ten_1", "rs_1", _job_id="waits")
    await pool.enqueue_job("probe_remote_servers", ["ten_1"], ["rs_1"], _job_id="dropped")
    await pool.enqueue_job("approvals_expire", _job_id="left out")
    worker = create_worker(load(away))
    worker.burst, worker.max_burst_jobs = True, 3
    try:
        await worker.async_run()
        assert (worker.jobs_complete, worker.jobs_retried, worker.jobs_failed) == (2, 1, 0)
        (job,) = await pool.queued_jobs()
        assert job.job_id == "waits"
        assert job.score is not None
        assert job.score > time.time() * 1000
    finally:
        await worker.close()
        await pool.delete(queue.QUEUE)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)


async def running_job(ends: asyncio.Event) -> None:
    """A job that needs to be told twice, as one that tries to write to Redis in the end."""
    try:
        await ends.wait()
    except asyncio.CancelledError:
        await ends.wait()


@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
async def test_closing_does_not_wait_for_jobs_that_never_end(settings: Settings) -> None:
    worker = create_worker(settings)
    worker.burst = True
    await worker.async_run()
    failing = asyncio.create_task(asyncio.to_thread(int, "no number"))
    stuck = asyncio.create_task(running_job(asyncio.Event()))
    worker.tasks.update({"failing": failing, "stuck": stuck})
    async with asyncio.timeout(10):
        await worker.close()
    with pytest.raises(asyncio.CancelledError):
        await stuck
    assert failing.done()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


_NEVER = """
import sys
from scaimcp.settings import load
from scaimcp.worker import create_worker, run_worker
worker = create_worker(load())
worker.redis_settings.conn_retries = 0
worker.redis_settings.retry = None
sys.exit(0 if run_worker(worker) else 1)
"""


def test_a_worker_whose_redis_stays_away_ends_with_one() -> None:
    env = {**os.environ, **environment("postgresql://h/d", "redis://127.0.0.1:1/0")}
    ran = subprocess.run(
        [sys.executable, "-c", _NEVER],
        env=env, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "redis does not answer" in ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr


@pytest.mark.slow
async def test_a_worker_that_misses_a_setting_ends_with_five() -> None:
    with running_worker({"SCAIMCP_REDIS_URL": "redis://127.0.0.1:1/0"}) as process:
        _, logged = await asyncio.to_thread(process.communicate, timeout=20)
    assert process.returncode == 5
    assert "SCAIMCP_DATABASE_URL" in logged
