"""Open everything that talks to remote servers; gateway and worker share it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec

from scaimcp import __version__
from scaimcp.credentials.keys import KeyWrapper
from scaimcp.outbound import GuardedHttp, open_guarded_http
from scaimcp.postgres import Database
from scaimcp.queue import JobQueue, open_queue
from scaimcp.redis import RedisClient
from scaimcp.remotes.config import RemotePolicy, remote_policy
from scaimcp.remotes.watching.discovery import Discoverer
from scaimcp.remotes.watching.followup import FollowUp
from scaimcp.remotes.watching.liveness import Liveness
from scaimcp.remotes.watching.outward import Outward
from scaimcp.remotes.watching.probing import Prober
from scaimcp.settings import Settings, require
from scaimcp.upstream.breaker import Breaker
from scaimcp.upstream.pool import SessionPool
from scaimcp.upstream.slots import Slots

WORKER_IDLE_SECONDS = 600.0


class RemoteParts(msgspec.Struct, frozen=True):
    """What belongs to remote servers in one process, opened together."""

    policy: RemotePolicy
    http: GuardedHttp
    keys: KeyWrapper
    pool: SessionPool
    breaker: Breaker
    slots: Slots
    queue: JobQueue
    follow_up: FollowUp
    discoverer: Discoverer
    prober: Prober
    liveness: Liveness


@asynccontextmanager
async def open_remotes(
    settings: Settings,
    database: Database,
    redis: RedisClient,
    keys: KeyWrapper,
    *,
    pool_idle_seconds: float | None = None,
) -> AsyncIterator[RemoteParts]:
    """Open the parts, with the tasks that keep them up to date; close them in reverse.

    Args:
        settings: complete settings.
        database: the open pool.
        redis: the open client.
        keys: unwrap the credentials' data keys.
        pool_idle_seconds: when a session without calls is closed; None as the policy says.

    Raises:
        SettingsError: a list of the settings cannot be read, or Redis is not configured.
    """
    require(settings, "redis_url")
    if settings.redis_url is None:
        raise AssertionError("require() let a missing setting pass")
    policy = remote_policy(settings)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            open_guarded_http(
                policy.endpoints, f"ScaiMCP/{__version__}", ca_bundle=policy.ca_bundle
            )
        )
        queue = await stack.enter_async_context(open_queue(settings.redis_url))
        pool = SessionPool(
            http.session,
            most=policy.pool_sessions,
            idle_seconds=pool_idle_seconds or policy.pool_idle_seconds,
        )
        stack.push_async_callback(pool.aclose)
        breaker = Breaker()
        follow_up = FollowUp(redis, queue, pool, breaker)
        stack.push_async_callback(follow_up.aclose)
        outward = Outward(database, http, keys, policy, follow_up)
        discoverer = Discoverer(outward)
        stack.push_async_callback(discoverer.aclose)
        liveness = Liveness(database, follow_up, policy.health_interval)
        for work in (follow_up.follow(), liveness.run()):
            task = asyncio.get_running_loop().create_task(work, name="remote servers")
            stack.push_async_callback(_ended, task)
        yield RemoteParts(
            policy=policy,
            http=http,
            keys=keys,
            pool=pool,
            breaker=breaker,
            slots=Slots(policy.per_server, policy.per_caller),
            queue=queue,
            follow_up=follow_up,
            discoverer=discoverer,
            prober=Prober(outward, pool),
            liveness=liveness,
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
