"""Settings of the job queue that gateway and worker share. Spec: register, Stored state."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from arq.connections import RedisSettings
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

from scaimcp.types import Secret

QUEUE = "scaimcp:queue"
HEALTH_KEY = f"{QUEUE}:health-check"
_RETRIES = 20


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
