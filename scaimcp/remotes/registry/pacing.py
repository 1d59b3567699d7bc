"""How often servers may be changed and refreshed, counted in Redis, else in this process.

Spec: remote-servers 1 (rate), 12 (Redis down).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import msgspec

from scaimcp.errors import RequestRefused
from scaimcp.redis import OwnCounters, RedisClient, RedisUnavailable
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import RATE_LIMITED

_MINUTE = 60_000_000
_PAUSE_SECONDS = 2.0
_log = get_logger("scaimcp.remotes")


class Limit(msgspec.Struct, frozen=True):
    """At most ``per_minute`` deeds of each subject; ``name`` is the label of the metric."""

    name: str
    per_minute: int


WRITES = Limit("remote_writes", 30)
REFRESHES = Limit("remote_refreshes", 6)
TENANT_REFRESHES = Limit("remote_tenant_refreshes", 60)


class Pace:
    """Counts deeds; while Redis is away in this process, each with the full limit.

    Args:
        client: the counters that all processes share.
        monotonic: clock of the counters in this process, in seconds.
    """

    def __init__(
        self, client: RedisClient, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._monotonic = monotonic
        self._paused_until = 0.0
        self._own = OwnCounters(monotonic)

    async def take(self, *asked: tuple[Limit, str]) -> None:
        """Count one deed under each limit and subject, or under none.

        Raises:
            RequestRefused: 429, with the seconds until it would be admitted.
        """
        keys = [f"scaimcp:rate:{limit.name}:{_hashed(subject)}" for limit, subject in asked]
        which, micros = await self._count(keys, [limit for limit, _ in asked])
        if which == 0:
            return
        RATE_LIMITED.labels(asked[which - 1][0].name).inc()
        raise RequestRefused(
            "RATE_LIMITED",
            "Too many changes in a short time.",
            http_status=429,
            retry_after=max(1, -(-micros // 1_000_000)),
        )

    async def _count(self, keys: list[str], limits: list[Limit]) -> tuple[int, int]:
        """Return 0, or the number of the limit that refuses and for how many µs."""
        arguments = [
            number for limit in limits for number in (_MINUTE // limit.per_minute, limit.per_minute)
        ]
        if self._monotonic() >= self._paused_until:
            try:
                which, micros = await self._client.count(keys, arguments)
                return which, micros[0] if micros else 0
            except RedisUnavailable as error:
                self._paused_until = self._monotonic() + _PAUSE_SECONDS
                _log.warning("remote limits counted in this process", reason=error.message)
        which, micros = self._own.count(keys, arguments)
        return which, micros[0] if micros else 0


def _hashed(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()[:32]
