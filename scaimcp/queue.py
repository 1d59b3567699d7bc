"""The job queue that gateway and worker share. Spec: register, Stored state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import redis.asyncio
from arq.connections import ArqRedis, RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError

from scaimcp.errors import GatewayError
from scaimcp.types import Secret

QUEUE = "scaimcp:queue"
HEALTH_KEY = f"{QUEUE}:health-check"
_RETRIES = 20
_SECONDS = 1.0
# For one job with all its tries.
_ENQUEUE_SECONDS = 2.0


class QueueUnavailable(GatewayError):
    """The queue takes no jobs now: Redis does not answer."""

    http_status = 503
    retryable = True

    def __init__(self, kind: str) -> None:
        super().__init__("SERVICE_UNAVAILABLE", f"The queue failed ({kind}).", retry_after=5)


class JobQueue:
    """Takes jobs for the workers. Enqueue after the commit, ids only."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def enqueue(
        self, job: str, *ids: str | list[str], job_id: str, at: datetime | None = None
    ) -> bool:
        """Hand over a job; False if one with this id is waiting or running already.

        Args:
            job: name in the worker's table.
            ids: the job's arguments.
            job_id: the same id is never in the queue twice.
            at: when to run it, None to run it at once.

        Raises:
            QueueUnavailable: Redis does not answer; the job may have been taken all the same.
        """
        try:
            async with asyncio.timeout(_ENQUEUE_SECONDS):
                taken = await self._client.enqueue_job(job, *ids, _job_id=job_id, _defer_until=at)
        except (RedisError, OSError) as error:
            raise QueueUnavailable(type(error).__name__) from error
        return taken is not None


@asynccontextmanager
async def open_queue(url: Secret) -> AsyncIterator[JobQueue]:
    """Open the queue for handing over jobs; Redis is asked first when there is one."""
    pool: Any = redis.asyncio.ConnectionPool.from_url(
        url.reveal(),
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[ConnectionError, TimeoutError],
        health_check_interval=30,
    )
    client = ArqRedis(
        pool, job_serializer=serialize, job_deserializer=deserialize, default_queue_name=QUEUE
    )
    try:
        yield JobQueue(client)
    finally:
        await client.aclose()
        await pool.disconnect()


def connection(url: Secret) -> RedisSettings:
    """Return arq's connection settings; they ride out an outage of some seconds."""
    parts = urlsplit(url.reveal())
    # arq takes a bare "/" for a number that is missing, unlike the Redis library.
    settings = RedisSettings.from_dsn(parts._replace(path=parts.path.rstrip("/")).geturl())
    # arq leaves these percent-encoded, unlike the Redis library.
    settings.username = _plain(settings.username)
    settings.password = _plain(settings.password)
    settings.unix_socket_path = _plain(settings.unix_socket_path)
    settings.conn_timeout = 2
    settings.conn_retries = _RETRIES
    settings.retry_on_timeout = True
    settings.retry_on_error = [ConnectionError, TimeoutError, BusyLoadingError, OSError]
    settings.retry = Retry(ExponentialBackoff(cap=1, base=0.05), _RETRIES)
    return settings


def _plain(text: str | None) -> str | None:
    return unquote(text) if text is not None else None


def serialize(job: dict[str, Any]) -> bytes:
    """Encode a job; never pickle, or whoever writes to Redis runs code in the worker."""
    return msgspec.msgpack.encode(job, enc_hook=repr)


def deserialize(raw: bytes) -> dict[str, Any]:
    """Decode a job."""
    return msgspec.msgpack.decode(raw, type=dict[str, Any])
