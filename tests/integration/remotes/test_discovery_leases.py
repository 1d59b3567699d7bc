"""Several discoveries of one server at once, late and killed ones, moving configurations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import CoroutineType
from typing import Any

import msgspec
import pytest

from scaimcp.postgres import DatabaseUnavailable
from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.rules.health import Source
from scaimcp.remotes.stores import store
from scaimcp.remotes.stores.state_store import release_lease, take_lease
from scaimcp.remotes.watching.discovery import Discovered
from scaimcp.remotes.watching.followup import CLOSE_CHANNEL
from tests.integration.forwarder import forward
from tests.integration.rawserver import Play, Writer, eventually, reply, waiting
from tests.integration.relay import Relay
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.registry import until
from tests.integration.remotes.servers import (
    Registry,
    Upstream,
    named,
    open_circuit,
    open_registry,
    settings_for,
)

STORED = Discovered("stored")


def held_back(upstream: Upstream, release: asyncio.Event) -> Play:
    """Answer ``tools/list`` only when released."""

    async def play(writer: Writer) -> None:
        await release.wait()
        body = {"jsonrpc": "2.0", "id": _number(upstream), **upstream.answer_to("tools/list")}
        await reply(200, body)(writer)

    return play


@asynccontextmanager
async def asking(
    registry: Registry, upstream: Upstream, row: ServerRow, source: Source = "refresh"
) -> AsyncIterator[asyncio.Task[Discovered]]:
    """Discover a server that does not answer before the block ends."""
    before, release = upstream.asked("tools/list"), asyncio.Event()
    upstream.plays["tools/list"] = held_back(upstream, release)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(registry.discover(row, source))
        await eventually(lambda: upstream.asked("tools/list") > before)
        yield task
        release.set()


def _waiting() -> int:
    """How many discoveries have met another one's lease: they sleep between two looks at it."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "discovery"]
    return sum("sleep" in _awaited(task) for task in tasks)


def _awaited(task: asyncio.Task[Any]) -> list[str]:
    """The names of the coroutines that a task waits in, the outermost first."""
    names: list[str] = []
    inner: Any = task.get_coro()
    while isinstance(inner, CoroutineType):
        names.append(inner.__name__)
        inner = inner.cr_await
    return names


def _number(upstream: Upstream) -> int:
    return int(msgspec.json.decode(upstream.raw.seen[-1].body)["id"])


@pytest.mark.row(32)
async def test_ten_at_once_are_one_discovery(registry: Registry, upstream: Upstream) -> None:
    row = await registry.put(upstream.url)
    release = asyncio.Event()
    upstream.plays["tools/list"] = held_back(upstream, release)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(registry.discover(row)) for _ in range(10)]
        await eventually(lambda: upstream.asked("tools/list") == 1 and _waiting() == 9)
        release.set()
    results = sorted(task.result().result for task in tasks)
    assert results == ["joined"] * 9 + ["stored"]
    assert upstream.asked("tools/list") == 1
    assert await registry.version() == 1


async def test_those_who_join_hear_of_the_failure(registry: Registry, upstream: Upstream) -> None:
    row = await registry.put(upstream.url)
    release = asyncio.Event()
    upstream.plays["tools/list"] = waiting(release, reply(500))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(registry.discover(row)) for _ in range(2)]
        await eventually(lambda: upstream.asked("tools/list") == 1 and _waiting() == 1)
        release.set()
        # The one repetition of a list page that failed for good reason.
    assert {task.result().error_class for task in tasks} == {"RemoteServerError"}
    assert sorted(task.result().result for task in tasks) == ["failed", "joined"]


@pytest.mark.parametrize(
    ("written", "result"),
    [("last_discovery_at = clock_timestamp()", "joined"), ("status = 'disabled'", "skipped")],
)
async def test_a_request_that_comes_a_moment_late_asks_nobody(
    registry: Registry, upstream: Upstream, written: str, result: str
) -> None:
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.raw.seen.clear()
    async with asyncio.TaskGroup() as group, registry.meanwhile(row, written):
        task = group.create_task(registry.discover(row))
    assert task.result().result == result
    assert upstream.raw.seen == []
    assert (await registry.seen(row)).state.lease_owner is None


async def test_a_job_does_not_wait_for_another_discovery(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    async with registry.database.transaction() as connection:
        await take_lease(connection, row.tenant_id, row.id, "discovery:other")
    assert await registry.discover(row, "discovery") == Discovered("busy")
    assert await registry.discover(row, "refresh", 0.3) == Discovered("busy")
    assert upstream.raw.seen == []


async def test_a_request_takes_the_lease_when_a_probe_has_ended(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    taken = "lease_owner = 'probe:other', lease_until = now() + interval '1 minute', lease_seq = 7"
    async with asyncio.TaskGroup() as group:
        async with registry.meanwhile(row, taken):
            task = group.create_task(registry.discover(row))
        # It has met the probe's lease, and waits for its end.
        await registry.set_state(row, "last_checked_at = now()")
        async with registry.database.transaction() as connection:
            await release_lease(connection, row.tenant_id, row.id, 7)
    assert task.result() == STORED


@pytest.mark.row(66)
@pytest.mark.invariant("I5")
async def test_whoever_lost_the_lease_writes_nothing(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    await registry.discover(row)
    before = await registry.seen(row)
    upstream.lists["tools/list"] = [named("late")]
    async with asking(registry, upstream, row, "discovery") as task:
        # As if this process had slept for a minute.
        await registry.set_state(row, "lease_until = now() - interval '1 second'")
        async with registry.database.transaction() as connection:
            assert await take_lease(connection, row.tenant_id, row.id, "discovery:next")
    assert task.result() == Discovered("late")
    after = await registry.seen(row)
    assert await registry.names(row) == ["search"]
    assert (after.state.state_seq, after.state.lease_owner) == (
        before.state.state_seq, "discovery:next",
    )  # fmt: skip
    assert await registry.version() == 1


@pytest.mark.row(66)
@pytest.mark.invariant("I5")
async def test_the_lease_of_one_that_died_ends_and_the_next_one_goes_on(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    async with registry.database.transaction() as connection:
        await take_lease(connection, row.tenant_id, row.id, "discovery:dead", 0.5)
    assert await registry.discover(row) == STORED


async def test_a_cancelled_job_gives_its_lease_back(registry: Registry, upstream: Upstream) -> None:
    row = await registry.put(upstream.url)
    upstream.plays["tools/list"] = waiting(asyncio.Event(), reply())
    task = asyncio.create_task(registry.discover(row, "discovery"))
    await eventually(lambda: upstream.asked("tools/list") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    state = (await registry.seen(row)).state
    assert (state.lease_owner, state.status_reason) == (None, "discovering")


async def test_a_request_that_is_cancelled_leaves_its_discovery_running(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    release = asyncio.Event()
    upstream.plays["tools/list"] = held_back(upstream, release)
    task = asyncio.create_task(registry.discover(row, "register"))
    await eventually(lambda: upstream.asked("tools/list") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    release.set()
    await registry.parts.discoverer.aclose()
    assert await registry.names(row) == ["search"]


@pytest.mark.row(35)
async def test_a_server_deleted_meanwhile_drops_the_result(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    async with (
        asking(registry, upstream, row) as task,
        registry.database.transaction() as connection,
    ):
        assert await store.delete_server(connection, row.tenant_id, row.id)
    assert task.result() == Discovered("late")


async def test_a_server_disabled_meanwhile_keeps_its_rows_and_its_status(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    async with asking(registry, upstream, row) as task:
        await registry.set_state(row, "status = 'disabled', state_seq = state_seq + 1")
    assert task.result() == Discovered("skipped")
    state = (await registry.seen(row)).state
    assert (state.status, state.lease_owner) == (Status.DISABLED, None)
    assert await registry.rows(row) == []


async def test_a_configuration_changed_meanwhile_is_asked_again_with_the_new_one(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    async with asking(registry, upstream, row) as task:
        await registry.set_server(row, "config_version = config_version + 1")
    assert task.result() == STORED
    assert upstream.asked("tools/list") == 2


async def test_without_time_for_another_one_a_job_follows(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.plays["tools/list"] = waiting(asyncio.Event(), reply())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(registry.discover(row, seconds=0.5))
        await eventually(lambda: upstream.asked("tools/list") == 2)
        await registry.set_server(row, "credential_version = credential_version + 1")
    assert task.result() == Discovered("superseded")
    state = (await registry.seen(row)).state
    assert state.next_discovery_at is not None
    assert state.next_discovery_at <= state.read_at
    assert state.lease_owner is None
    assert await registry.has_job(f"discover-now:{row.id}")


# --- what happens after the commit ------------------------------------------------------------


@pytest.mark.row(67)
async def test_redis_away_after_the_commit_costs_nothing_but_the_message(
    migrated_url: str, redis_url: str, upstream: Upstream
) -> None:
    async with forward(redis_url) as line:
        settings = settings_for(migrated_url, line.url, upstream.url)
        async with open_registry(settings) as registry:
            row = await registry.put(upstream.url)
            await line.cut()
            assert await registry.discover(row) == STORED
            upstream.plays["tools/list"] = waiting(asyncio.Event(), reply())
            other = await registry.put(upstream.url, "two")
            ended = await registry.discover(other, "register", 0.3)
            assert ended == Discovered("failed", "TimeoutError")
            state = (await registry.seen(other)).state
            assert state.next_check_at is not None
            assert (state.next_check_at - state.read_at).total_seconds() < 30
            assert await registry.names(row) == ["search"]
            await registry.parts.follow_up.close_sessions(row.id)
            await registry.parts.follow_up.probe_soon(row.tenant_id, row.id)


@pytest.mark.row(67)
async def test_closing_is_followed_again_when_redis_is_back(
    migrated_url: str, redis_url: str, registry_for: Opened, upstream: Upstream
) -> None:
    async with forward(redis_url) as line:
        settings = settings_for(migrated_url, line.url, upstream.url)
        async with open_registry(settings) as registry, registry_for(upstream.url) as other:
            await line.cut()
            await line.mend()
            open_circuit(registry.parts.breaker, "rs_1")

            async def told() -> bool:
                await other.parts.follow_up.close_sessions("rs_1")
                return registry.parts.breaker.open_servers() == 0

            await until(told, 20)


async def test_the_database_away_raises_and_the_lease_is_given_back(
    registry_for: Opened, upstream: Upstream, migrated_url: str, redis_url: str
) -> None:
    async with Relay(migrated_url) as relay:
        settings = settings_for(relay.relayed, redis_url, upstream.url)
        async with open_registry(settings) as registry, registry_for(upstream.url) as other:
            other.tenant = registry.tenant
            row = await other.put(upstream.url)

            async def cut(writer: Writer) -> None:
                await relay.shut()
                await reply(500)(writer)

            upstream.plays["tools/list"] = cut
            with pytest.raises(DatabaseUnavailable):
                await registry.discover(row)
            state = (await other.seen(row)).state
            assert (state.status_reason, state.consecutive_failures) == ("discovering", 0)


async def test_every_process_hears_that_sessions_are_to_be_closed(
    registry_for: Opened, upstream: Upstream
) -> None:
    async with registry_for(upstream.url) as one, registry_for(upstream.url) as two:
        open_circuit(two.parts.breaker, "rs_1")

        async def told() -> bool:
            await one.parts.follow_up.close_sessions("rs_1")
            return two.parts.breaker.open_servers() == 0

        await until(told)
        for message in (b"no json", b'{"server":""}', b"\xff"):
            await one.redis.publish(CLOSE_CHANNEL, message)
        open_circuit(two.parts.breaker, "rs_1")
        await until(told)
