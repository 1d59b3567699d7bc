"""The Redis client, and the rate limits counted there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from scaimcp.errors import GatewayError
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import RATE_LIMITED
from scaimcp.types import Allowance, Caller, Secret

_log = get_logger("scaimcp.redis")
_SECONDS = 1.0
# For one command with all its tries: a handshake alone has several steps, each with its own limit.
_COMMAND_SECONDS = 2.0
# After a failure Redis is left alone for a moment, or each request would wait for the time-out.
_PAUSE_SECONDS = 2.0
_MOST_REMEMBERED = 10_000
_MINUTE = 60_000_000

# Generic cell rate algorithm over all limits at once: nothing is counted unless all admit.
# KEYS: one per limit; ARGV: interval in microseconds and burst per limit, in the same order.
# Answer: 0 and how many microseconds each limit needs to be whole again; or which limit refuses,
# and for how many microseconds.
_GCRA = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local new, left = {}, {0}
for i, key in ipairs(KEYS) do
  local interval, burst = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local tat = math.max(tonumber(redis.call('GET', key) or now), now)
  local allowed_at = tat + interval - interval * burst
  if allowed_at > now then return {i, allowed_at - now} end
  new[i] = tat + interval
end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.0f', new[i]), 'PX', math.ceil((new[i] - now) / 1000) + 1)
  left[i + 1] = new[i] - now
end
return left
"""

# KEYS: the group; ARGV: the member, and for how many milliseconds it stays without another word.
_ATTEND = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


class RedisUnavailable(GatewayError):
    """Redis does not answer."""

    http_status = 503
    retryable = True

    def __init__(self, kind: str) -> None:
        super().__init__("SERVICE_UNAVAILABLE", f"Redis failed ({kind}).", retry_after=5)


class RedisClient:
    """The few commands that the gateway uses; failures are `RedisUnavailable`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._gcra = client.register_script(_GCRA)
        self._attend = client.register_script(_ATTEND)

    @property
    def raw(self) -> Any:
        """The library's client, for subscriptions."""
        return self._client

    async def ping(self) -> None:
        """Ask for nothing."""
        await self._run(self._client.ping())

    async def publish(self, channel: str, message: bytes) -> None:
        """Send `message` to everyone who listens on `channel`."""
        await self._run(self._client.publish(channel, message))

    async def count(self, keys: list[str], arguments: list[int]) -> tuple[int, list[int]]:
        """Run the rate limits.

        Returns:
            0 and the µs until each limit is whole again; or the number of the limit that refuses,
            from 1, and the µs until it would not.
        """
        which, *micros = await self._run(self._gcra(keys=keys, args=arguments))
        return int(which), [int(value) for value in micros]

    async def attend(self, group: str, member: str, seconds: float) -> tuple[str, ...]:
        """Say that `member` of `group` lives, for so many seconds; return all that live."""
        found = await self._run(self._attend(keys=[group], args=[member, int(seconds * 1000)]))
        return tuple([one.decode() for one in found])

    async def leave(self, group: str, member: str) -> None:
        """Say that `member` of `group` lives no more."""
        await self._run(self._client.zrem(group, member))

    async def _run(self, command: Any) -> Any:
        try:
            async with asyncio.timeout(_COMMAND_SECONDS):
                return await command
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable(type(error).__name__) from error


@asynccontextmanager
async def open_redis(url: Secret) -> AsyncIterator[RedisClient]:
    """Open a client that rides out a short outage."""
    client: Any = redis.asyncio.Redis.from_url(
        url.reveal(),
        socket_timeout=_SECONDS,
        socket_connect_timeout=_SECONDS,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
        retry_on_error=[redis.exceptions.ConnectionError, redis.exceptions.TimeoutError],
        health_check_interval=30,
    )
    try:
        yield RedisClient(client)
    finally:
        await client.aclose()


class OwnCounters:
    """The same limits counted in this process, while Redis is away. Spec: remote-servers 12.

    Args:
        monotonic: clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._whole_at: dict[str, int] = {}

    def __len__(self) -> int:
        """Return how many subjects are remembered."""
        return len(self._whole_at)

    def count(self, keys: Sequence[str], arguments: Sequence[int]) -> tuple[int, list[int]]:
        """Do and return what `RedisClient.count` does."""
        now = int(self._monotonic() * 1_000_000)
        after: dict[str, int] = {}
        for at, key in enumerate(keys):
            interval, burst = arguments[2 * at], arguments[2 * at + 1]
            whole_at = max(self._whole_at.get(key, now), now) + interval
            wait = whole_at - interval * burst - now
            if wait > 0:
                return at + 1, [wait]
            after[key] = whole_at
        if len(self._whole_at) >= _MOST_REMEMBERED:
            self._whole_at = {key: at for key, at in self._whole_at.items() if at > now}
        self._whole_at.update(after)
        return 0, [whole_at - now for whole_at in after.values()]


class RedisRateLimiter:
    """The gateway's own limits per bearer, user and tenant: one script for all three.

    While Redis is away each process counts for itself, with the full limits. Spec: register,
    LIMITS_RATE; remote-servers 12.
    """

    def __init__(
        self,
        client: RedisClient,
        limits: dict[str, int],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._monotonic = monotonic
        self._paused_until = 0.0
        self._own = OwnCounters(monotonic)
        self._limits = {name: most for name, most in limits.items() if most > 0}
        self._policy = tuple(self._limits.items())
        self.is_on = bool(self._limits)

    async def take(self, caller: Caller) -> Allowance | None:
        """Count one request; return what is left, None without a limit."""
        if not self._policy:
            return None
        keys = [f"scaimcp:rate:{name}:{_subject(name, caller)}" for name, _ in self._policy]
        arguments = [number for _, most in self._policy for number in (_MINUTE // most, most)]
        which, micros = await self._counted(keys, arguments)
        if which == 0:
            return nearest(self._policy, micros)
        name = self._policy[which - 1][0]
        RATE_LIMITED.labels(name).inc()
        return Allowance(self._policy, name, 0, _whole_seconds(micros[0]), is_refused=True)

    async def _counted(self, keys: list[str], arguments: list[int]) -> tuple[int, list[int]]:
        if self._monotonic() >= self._paused_until:
            try:
                return await self._client.count(keys, arguments)
            except RedisUnavailable as error:
                self._paused_until = self._monotonic() + _PAUSE_SECONDS
                _log.warning("rate limits counted in this process", reason=error.message)
        return self._own.count(keys, arguments)


def nearest(policy: tuple[tuple[str, int], ...], micros: list[int]) -> Allowance:
    """Return what an admitted request leaves: the fewest places, and the longest wait for one.

    Args:
        policy: name and requests a minute of every limit.
        micros: µs until each limit is whole again, in the same order.
    """
    found: tuple[int, int, str] | None = None
    for (name, most), pending in zip(policy, micros, strict=True):
        interval = _MINUTE // most
        free = most * interval - pending
        remaining = max(0, free // interval)
        wait = (remaining + 1) * interval - free
        if found is None or (remaining, -wait) < (found[0], -found[1]):
            found = (remaining, wait, name)
    if found is None:
        raise ValueError("no limit is set")
    remaining, wait, name = found
    return Allowance(policy, name, remaining, _whole_seconds(wait))


def _whole_seconds(micros: int) -> int:
    return max(1, -(-micros // 1_000_000))


def _subject(limit: str, caller: Caller) -> str:
    subject = {
        "token": caller.key.hex(),
        "user": f"{caller.tenant_id}/{caller.user_id}",
        "tenant": caller.tenant_id or f"user:{caller.user_id}",
    }[limit]
    # Hashed, so that no foreign text ends up in a key.
    return hashlib.sha256(subject.encode()).hexdigest()[:32]
