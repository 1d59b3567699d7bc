"""Tell every process that a tenant's catalogue has changed, over Redis pub/sub.

A lost message costs freshness only: caches have short lives of their own. Spec: register,
Stored state (channel ``scaimcp:catalog``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from redis.exceptions import RedisError

from scaimcp.redis import RedisClient, RedisUnavailable
from scaimcp.telemetry.logs import get_logger

CHANNEL = "scaimcp:catalog"
_PAUSE_SECONDS = 1.0
_POLL_SECONDS = 5.0
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

    Whenever the subscription has come into force, for the first time or after a reconnection,
    ``changed`` gets a notice with an empty tenant: anything may have been missed before.
    """
    while True:
        try:
            async with client.raw.pubsub() as channel:
                await channel.subscribe(CHANNEL)
                while True:
                    _end_if_cancelled()
                    message = await channel.get_message(timeout=_POLL_SECONDS)
                    if message is not None:
                        _pass_on(message, changed)
        except (RedisError, OSError, TimeoutError) as error:
            _log.warning("catalogue changes are not followed", reason=type(error).__name__)
        _end_if_cancelled()
        await asyncio.sleep(_PAUSE_SECONDS)


def _end_if_cancelled() -> None:
    # The Redis library sends through asyncio.wait_for, which in Python 3.11 loses a cancellation
    # that arrives as the sending ends; whoever waits for the follower's end would wait for ever.
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _pass_on(message: dict[str, Any], changed: Callable[[Notice], None]) -> None:
    if message["type"] == "subscribe":
        # The library subscribes again by itself when it reconnects; this is how it shows.
        changed(Notice(""))
    elif message["type"] == "message":
        try:
            notice = msgspec.json.decode(message["data"], type=Notice)
        except (msgspec.DecodeError, UnicodeDecodeError):
            _log.warning("catalogue notice cannot be read")
            notice = Notice("")
        changed(notice)
