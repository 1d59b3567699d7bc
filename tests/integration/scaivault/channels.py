"""Everything that a gateway writes anywhere, as text to be searched."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import structlog
from redis.asyncio import Redis

from scaimcp.telemetry.logs import configure_logs
from tests.integration.collector import Collector, start_collector
from tests.integration.scaivault.gateway import rows
from tests.integration.scaivault.markers import Markers
from tests.waiting import DEADLINE, until
from tests.world import Client, World, start_world

# What stands in a channel if it is the right one, and was used.
TELLTALES = {
    "log": "request failed",
    "metrics": 'source="scaivault"',
    "database": "scaivault_read_secret",
    "redis": "PUBLISH",
    "spans": "scaivault_read_secret",
    "platform": "/v1/",
}
_WRITTEN = "SELECT 1 FROM audit_events WHERE request_id = $1"
# What shows the whole value of a key, by its type.
_READING: dict[str, Callable[[bytes], tuple[Any, ...]]] = {
    "string": lambda key: ("GET", key),
    "hash": lambda key: ("HGETALL", key),
    "list": lambda key: ("LRANGE", key, 0, -1),
    "set": lambda key: ("SMEMBERS", key),
    "zset": lambda key: ("ZRANGE", key, 0, -1, "WITHSCORES"),
    "stream": lambda key: ("XRANGE", key, "-", "+"),
}


@contextlib.contextmanager
def logging_to(form: str) -> Iterator[io.StringIO]:
    """Log as talkatively as a server can; yield all that is written."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        configure_logs("debug", form)
    try:
        yield written
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)


@dataclass
class Channels:
    """A gateway, and what can be read of it behind its back.

    Attributes:
        world: the gateway.
        redis: where its short-lived state is.
        collector: takes its spans.
        logged: its log.
        commands: all that anybody has asked of Redis.
    """

    world: World
    redis: Redis
    collector: Collector
    logged: io.StringIO
    commands: list[str] = field(default_factory=list)

    async def texts(self) -> dict[str, str]:
        """Return what stands in every channel now."""
        metrics = await self.world.with_token(None).get("/metrics")
        calls = msgspec.json.encode(await self.world.calls()).decode()
        kept = await self._stored()
        await self._listened()
        return {
            "log": self.logged.getvalue(),
            "metrics": metrics.content.decode(),
            "database": await self._rows(),
            "redis": "\n".join([*self.commands, *kept]),
            "spans": b"".join(self.collector.bodies).decode("latin-1"),
            "platform": calls,
        }

    async def found(self, markers: Markers) -> dict[str, set[str]]:
        """Return whose values stand where; a channel that was not used fails."""
        texts = await self.texts()
        for name, telltale in TELLTALES.items():
            assert telltale in texts[name], name
        found = {name: markers.found_in(text) for name, text in texts.items()}
        return {name: places for name, places in found.items() if places}

    async def _rows(self) -> str:
        """Return every row of every table."""
        tables = await rows(
            self.world, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        )
        found = [
            row[0]
            for (table,) in tables
            for row in await rows(self.world, f'SELECT t::text FROM "{table}" t')
        ]
        return "\n".join(found)

    async def _stored(self) -> list[str]:
        """Return every key that Redis holds, with what it holds."""
        return [f"{key!r} {await self._value(key)!r}" async for key in self.redis.scan_iter()]

    async def _value(self, key: bytes) -> Any:
        redis: Any = self.redis
        kind = (await redis.type(key)).decode()
        return await redis.execute_command(*_READING[kind](key))

    async def _listened(self) -> None:
        """Wait until all has been heard that Redis was asked until now."""
        last = secrets.token_hex(8)
        await self.redis.echo(last)
        await until(lambda: last in self.commands[-1])

    async def settled(self, client: Client) -> None:
        """Wait until audit row and span of one more call, hence of all before, have come out."""
        number = f"req_settled{len(self.collector.spans)}"
        path = {"path": "app/none"}
        await client.call("scaivault_read_secret", path, headers={"x-request-id": number})
        await self.collector.request(number)
        async with asyncio.timeout(DEADLINE):
            while not await rows(self.world, _WRITTEN, number):  # noqa: ASYNC110 - rows have no event
                await asyncio.sleep(0.01)


async def _listen(redis: Redis, commands: list[str], is_heard: asyncio.Event) -> None:
    connection = await redis.connection_pool.get_connection()
    try:
        await connection.send_command("MONITOR")
        await connection.read_response()
        is_heard.set()
        while True:
            commands.append(str(await connection.read_response(timeout=None)))
    finally:
        await connection.disconnect()


@asynccontextmanager
async def opened_channels(
    database_url: str, redis_url: str, form: str, **settings: Any
) -> AsyncIterator[Channels]:
    """Start a gateway with a vault, a log of a form, a collector, and an ear at Redis."""
    async with start_collector() as collector, Redis.from_url(redis_url) as redis:
        names = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
        with pytest.MonkeyPatch.context() as patch, logging_to(form) as logged:
            for name, value in names.items():
                patch.setenv(name, value)
            commands: list[str] = []
            async with (
                start_world(
                    database_url, redis_url, environment=names, vault=True, **settings
                ) as world,
                _hearing(redis, commands),
            ):
                yield Channels(world, redis, collector, logged, commands)


@asynccontextmanager
async def _hearing(redis: Redis, commands: list[str]) -> AsyncIterator[None]:
    is_heard = asyncio.Event()
    task: asyncio.Task[Any] = asyncio.create_task(_listen(redis, commands, is_heard))
    try:
        await until(lambda: is_heard.is_set() or task.done())
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
