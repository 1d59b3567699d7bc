"""Tell every process that a tenant's catalogue has changed, over Redis pub/sub.

A lost message costs freshness only: caches have short lives of their own. Spec: register,
Stored state (channel ``scaimcp:catalog``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from redis.exceptions import RedisError

from scaimcp.redis import RedisClient, RedisUnavailable
from scaimcp.telemetry.logs import get_logger

CHANNEL = "scaimcp:catalog"
_PAUSE_SECONDS = 1.0
_log = get_logger("scaimcp.versions")


class Notice(msgspec.Struct, frozen=True):
    """A tenant's catalogue rose to `version`; 0 when the number is not known."""

    tenant_id: str
    version: int = 0


async def announce(client: RedisClient, notice: Notice) -> None:
    """Send `notice`; a failure is logged, not raised: listeners have caches that end."""
    try:
        await client.publish(CHANNEL, msgspec.json.encode(notice))
    except RedisUnavailable as error:
        _log.warning("catalogue change not announced", reason=error.message)


async def follow(client: RedisClient, changed: Callable[[Notice], None]) -> None:
    """Call `changed` for every notice until cancelled; survives outages of Redis.

    After a reconnection ``changed`` gets a notice with an empty tenant: anything may have been
    missed.
    """
    while True:
        try:
            async with client.raw.pubsub(ignore_subscribe_messages=True) as channel:
                await channel.subscribe(CHANNEL)
                changed(Notice(""))
                while True:
                    message = await channel.get_message(timeout=5.0)
                    if message is not None:
                        changed(msgspec.json.decode(message["data"], type=Notice))
        except (RedisError, OSError, TimeoutError, msgspec.DecodeError) as error:
            _log.warning("catalogue changes are not followed", reason=type(error).__name__)
        await asyncio.sleep(_PAUSE_SECONDS)
