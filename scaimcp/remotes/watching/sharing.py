"""Which worker listens to which server.

Every worker says in Redis that it lives, and a server belongs to the worker for which the hash of
both is highest: no worker asks another, and where one joins or goes, only its share moves. Without
Redis the workers that were known last count; then two may listen to one server, which costs a
connection and nothing else, since discoveries are debounced.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from scaimcp.redis import RedisClient, RedisUnavailable
from scaimcp.telemetry.logs import get_logger

LISTENERS = "scaimcp:listeners"
_log = get_logger("scaimcp.remotes")


def weight(worker: str, server_id: str) -> bytes:
    """Return how much of a claim `worker` has to a server; nobody has the same."""
    return hashlib.sha256(f"{worker}/{server_id}".encode()).digest()


def belongs_to(worker: str, server_id: str, workers: Collection[str]) -> bool:
    """Tell whether a server belongs to `worker`, one of `workers`."""
    return worker == max(workers, key=lambda other: weight(other, server_id))


class Presence:
    """This worker among those that live.

    Args:
        redis: where they meet.
        name: of this worker, unlike any other's.
        seconds: how long a worker counts that says no more.
    """

    def __init__(self, redis: RedisClient, name: str, seconds: float) -> None:
        self.name = name
        self._redis = redis
        self._seconds = seconds
        self._known: frozenset[str] = frozenset((name,))

    async def workers(self) -> frozenset[str]:
        """Say that this worker lives and return all that do, itself among them."""
        try:
            found = await self._redis.attend(LISTENERS, self.name, self._seconds)
            self._known = frozenset((self.name, *found))
        except RedisUnavailable as error:
            _log.debug("listening workers not known", reason=error.message)
        return self._known

    async def leave(self) -> None:
        """Say that this worker goes, so that the others need not wait."""
        try:
            await self._redis.leave(LISTENERS, self.name)
        except RedisUnavailable as error:
            _log.debug("going not announced", reason=error.message)
