"""What follows a commit: messages, jobs, closed sessions.

Nothing here can undo the commit: where Redis refuses, due times in the rows make a cron tick do
the work. Spec: remote-servers 6 (triggers), 12 (after commit).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta

import msgspec
from redis.exceptions import RedisError

from scaimcp.queue import JobQueue, QueueUnavailable
from scaimcp.redis import RedisClient, RedisUnavailable
from scaimcp.remotes.rules.health import Effect
from scaimcp.telemetry.logs import get_logger
from scaimcp.upstream.breaker import Breaker
from scaimcp.upstream.pool import SessionPool
from scaimcp.versions.notices import Notice, announce

CLOSE_CHANNEL = "scaimcp:close"
DISCOVER = "discover_remote_server"
DISCOVER_NOW = "discover_remote_server_now"
PROBE = "probe_remote_servers"
PAUSE_SECONDS = 30
_POLL_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_log = get_logger("scaimcp.remotes")


class Closing(msgspec.Struct, frozen=True):
    """Message on `CLOSE_CHANNEL`: sessions with a server are to be closed; "" for all."""

    server: str = ""


_closing = msgspec.json.Decoder(Closing).decode


class FollowUp:
    """Sends what a change entails: never raises, never waits for a remote server."""

    def __init__(
        self, redis: RedisClient, queue: JobQueue, pool: SessionPool, breaker: Breaker
    ) -> None:
        self._redis = redis
        self._queue = queue
        self._pool = pool
        self._breaker = breaker
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing: list[Callable[[str], None]] = []

    def on_closing(self, closing: Callable[[str], None]) -> None:
        """Have `closing` hear the id of every server whose sessions are closed; it never waits."""
        self._closing.append(closing)

    async def committed(
        self,
        tenant_id: str,
        server_id: str,
        effects: Collection[Effect],
        version: int | None = None,
    ) -> None:
        """Do what a transition wants done after its commit.

        Args:
            tenant_id: of the server.
            server_id: which one.
            effects: of `scaimcp.remotes.rules.health.next_state`; those that belong into the
                transaction, or are the caller's own, are passed over.
            version: the catalogue version that the transaction has raised, None where it has not.
        """
        if "close_sessions" in effects:
            await self.close_sessions(server_id)
        if version is not None:
            await announce(self._redis, Notice(tenant_id, version))
        if "discover" in effects:
            await self.discover_soon(tenant_id, server_id)
        if "probe" in effects:
            await self.probe_soon(tenant_id, server_id)

    async def discover_soon(self, tenant_id: str, server_id: str) -> None:
        """Ask for a discovery, at most one in 30 seconds: something may have changed.

        For ``list_changed``, a rotated credential, a server that lives again.
        """
        await self.is_discovery_taken(tenant_id, server_id)

    async def is_discovery_taken(self, tenant_id: str, server_id: str) -> bool:
        """Do as `discover_soon` and return whether one follows; False while Redis is away."""
        job_id = f"discover-now:{server_id}"
        try:
            taken = await self._queue.enqueue(DISCOVER_NOW, tenant_id, server_id, job_id=job_id)
            if not taken:
                # That job may run already and have read the lists before this change.
                at = datetime.now(UTC) + timedelta(seconds=PAUSE_SECONDS)
                await self._queue.enqueue(
                    DISCOVER_NOW, tenant_id, server_id, job_id=f"{job_id}:again", at=at
                )
        except QueueUnavailable as error:
            _log.warning("discovery not asked for", server_id=server_id, reason=error.message)
            return False
        return True

    async def probe_soon(self, tenant_id: str, server_id: str) -> None:
        """Ask for a probe at once."""
        try:
            await self._queue.enqueue(
                PROBE, [tenant_id], [server_id], job_id=f"probe-now:{server_id}"
            )
        except QueueUnavailable as error:
            _log.warning("probe not asked for", server_id=server_id, reason=error.message)

    async def close_sessions(self, server_id: str) -> None:
        """Close the sessions with a server here and in every other process."""
        self.close_here(server_id)
        try:
            await self._redis.publish(CLOSE_CHANNEL, msgspec.json.encode(Closing(server_id)))
        except RedisUnavailable as error:
            _log.warning("closing not announced", server_id=server_id, reason=error.message)

    def close_here(self, server_id: str) -> None:
        """Close this process's sessions with a server, beside; running calls get five seconds."""
        self._breaker.forget(server_id)
        for closing in self._closing:
            closing(server_id)
        self._beside(self._pool.close(server_id))

    async def follow(self) -> None:
        """Close sessions as other processes ask, until cancelled; survives outages of Redis."""
        while True:
            try:
                async with self._redis.raw.pubsub() as channel:
                    await channel.subscribe(CLOSE_CHANNEL)
                    while True:
                        _end_if_cancelled()
                        message = await channel.get_message(
                            ignore_subscribe_messages=True, timeout=_POLL_SECONDS
                        )
                        if message is not None:
                            self._close_as_told(message["data"])
            except (RedisError, OSError) as error:
                _log.warning("closing is not followed", reason=type(error).__name__)
            _end_if_cancelled()
            await asyncio.sleep(_RETRY_SECONDS)

    def _close_as_told(self, data: bytes) -> None:
        try:
            server_id = _closing(data).server
        except (msgspec.DecodeError, UnicodeDecodeError):
            _log.warning("closing cannot be read")
            return
        if server_id:
            self.close_here(server_id)

    def _beside(self, work: Awaitable[None]) -> None:
        task = asyncio.get_running_loop().create_task(_awaited(work), name="remote follow-up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Wait for what runs beside."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _end_if_cancelled() -> None:
    # As in scaimcp.versions.notices: the Redis library may lose a cancellation.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
