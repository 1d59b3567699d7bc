"""What is remembered of a tenant's servers, for how long, and what an outage leaves of it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
import pytest_asyncio

from scaimcp.errors import ToolError
from scaimcp.ids import new_id
from scaimcp.postgres import Database
from scaimcp.remotes.calls.calling import CallRules
from scaimcp.remotes.calls.offers import PERMISSION, TenantOffers
from scaimcp.remotes.calls.snapshot import SnapshotRules, Snapshots
from scaimcp.remotes.calls.source import RemoteSource
from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.stores.store import delete_server
from scaimcp.types import RequestContext, Secret
from scaimcp.versions.store import raise_version
from tests.fakes.callers import caller, grants
from tests.integration.rawserver import Clock
from tests.integration.remotes.registry import (
    activate,
    change_state,
    migrated,
    put,
    serve,
    shared,
    tool,
)
from tests.waiting import until

USER = "usr_1"


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


class Counting:
    """A database that counts transactions, fails, or keeps everybody waiting."""

    def __init__(self, inner: Database, broken: Database) -> None:
        self._inner = inner
        self._broken = broken
        self.count = 0
        self.is_broken = False
        self.gate: asyncio.Event | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        self.count += 1
        if self.gate is not None:
            await self.gate.wait()
        used = self._broken if self.is_broken else self._inner
        async with used.transaction() as connection:
            yield connection


class Gone:
    """A pool that has been closed."""

    async def acquire(self, **_: Any) -> Any:
        raise OSError("gone")


class Setup:
    def __init__(self, database: Database, **rules: Any) -> None:
        self.database = database
        self.counting = Counting(database, Database(Gone()))
        self.clock = Clock()
        given: Any = self.counting
        self.snapshots = Snapshots(given, SnapshotRules(**rules), monotonic=self.clock)
        self.tenant = new_id("ten_")

    async def add(self, name: str) -> None:
        """Register a server with one tool, as a committed change does."""
        row = await put(self.database, shared(self.tenant, name))
        await activate(self.database, row)
        await serve(self.database, row, tool(f"tool_{name}"))
        async with self.database.transaction() as connection:
            await raise_version(connection, self.tenant)

    async def names(self) -> list[str]:
        return names(await self.snapshots.current(self.tenant))


def names(offers: TenantOffers | None) -> list[str]:
    assert offers is not None
    return [one.name.rpartition(".")[2] for one in offers.seen_by(USER).tools.tools]


async def test_nobody_waits_for_the_database_while_a_snapshot_is_fresh(database: Database) -> None:
    setup = Setup(database)
    assert setup.snapshots.known(setup.tenant) is None
    assert await setup.names() == []
    assert setup.counting.count == 1
    setup.clock.now += 2.4
    assert names(setup.snapshots.known(setup.tenant)) == []
    assert await setup.names() == []
    assert setup.counting.count == 1
    await setup.snapshots.aclose()


async def test_an_ageing_snapshot_is_checked_beside_the_requests(database: Database) -> None:
    setup = Setup(database)
    assert await setup.names() == []
    setup.clock.now += 3
    assert names(setup.snapshots.known(setup.tenant)) == []
    await until(lambda: setup.counting.count == 2)
    await setup.snapshots.aclose()


@pytest.mark.row(67)
async def test_a_change_is_seen_at_once_with_a_notice_and_soon_without(
    database: Database,
) -> None:
    setup = Setup(database)
    assert await setup.names() == []
    await setup.add("a")
    assert await setup.names() == []
    setup.clock.now += 5.1
    assert setup.snapshots.known(setup.tenant) is None
    assert await setup.names() == ["tool_a"]
    assert await setup.snapshots.is_trusted(setup.tenant)
    await setup.add("b")
    setup.snapshots.changed(setup.tenant, 2)
    assert await setup.names() == ["tool_a", "tool_b"]
    setup.snapshots.changed(setup.tenant, 2)
    assert setup.snapshots.known(setup.tenant) is not None
    await setup.add("c")
    setup.snapshots.changed("")
    assert setup.snapshots.known(setup.tenant) is None
    assert await setup.snapshots.is_trusted(setup.tenant)
    assert await setup.names() == ["tool_a", "tool_b", "tool_c"]
    setup.snapshots.changed("ten_of_nobody", 7)
    await setup.snapshots.aclose()


async def test_a_notice_during_a_reading_is_not_answered_from_that_reading(
    database: Database,
) -> None:
    """What was acknowledged before a request is in its answer, whatever was read meanwhile."""
    setup = Setup(database)
    assert await setup.names() == []
    setup.snapshots.changed(setup.tenant)
    setup.counting.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        before = group.create_task(setup.names())
        await until(lambda: setup.counting.count == 2)
        assert setup.snapshots.known(setup.tenant) is None
        await setup.add("a")
        setup.snapshots.changed(setup.tenant, 1)
        after = group.create_task(setup.names())
        trusted = group.create_task(setup.snapshots.is_trusted(setup.tenant))
        await asyncio.sleep(0)
        setup.counting.gate.set()
    assert before.result() in ([], ["tool_a"])
    assert after.result() == ["tool_a"]
    assert trusted.result()
    assert setup.counting.count == 3
    await setup.snapshots.aclose()


async def test_a_call_has_an_old_snapshot_checked_and_does_not_fail_for_its_age(
    database: Database,
) -> None:
    setup = Setup(database)
    assert await setup.names() == []
    setup.clock.now += 5.1
    assert await setup.snapshots.is_trusted(setup.tenant)
    assert setup.counting.count == 2
    setup.snapshots.changed(setup.tenant, 1)
    setup.counting.is_broken = True
    assert await setup.snapshots.is_trusted(setup.tenant)
    assert await setup.snapshots.is_trusted(setup.tenant)
    assert setup.counting.count == 3
    setup.clock.now += 5.1
    assert not await setup.snapshots.is_trusted(setup.tenant)
    await setup.snapshots.aclose()


async def test_many_requests_share_one_reading(database: Database) -> None:
    setup = Setup(database)
    await setup.add("a")
    found = await asyncio.gather(*(setup.names() for _ in range(20)))
    assert found == [["tool_a"]] * 20
    assert setup.counting.count == 1
    await setup.snapshots.aclose()


async def test_without_the_database_lists_go_on_for_five_minutes(database: Database) -> None:
    setup = Setup(database)
    await setup.add("a")
    assert await setup.names() == ["tool_a"]
    setup.counting.is_broken = True
    setup.clock.now += 6
    assert await setup.names() == ["tool_a"]
    assert not await setup.snapshots.is_trusted(setup.tenant)
    count = setup.counting.count
    assert await setup.names() == ["tool_a"]
    assert setup.counting.count == count
    setup.clock.now += 290
    assert await setup.names() == ["tool_a"]
    setup.clock.now += 5
    assert await setup.names() == []
    setup.counting.is_broken = False
    setup.clock.now += 2
    assert await setup.names() == ["tool_a"]
    assert await setup.snapshots.is_trusted(setup.tenant)
    await setup.snapshots.aclose()


async def test_a_tenant_first_met_in_an_outage_has_nothing(database: Database) -> None:
    setup = Setup(database)
    setup.counting.is_broken = True
    assert await setup.names() == []
    offers = await setup.snapshots.current(setup.tenant)
    refuse = offers.seen_by(USER).tools.withheld
    assert refuse is not None
    # It is not known that there is no such tool.
    assert [str(getattr(refuse(name), "code", None)) for name in ("remote.a.b.c", "r_a__b")] == [
        "DatabaseError"
    ] * 2
    assert refuse("models_list") is None
    assert not await setup.snapshots.is_trusted(setup.tenant)
    assert not await setup.snapshots.is_trusted("ten_never_met")
    await setup.snapshots.aclose()


class NoCaller:
    """Sends nothing; whoever asks it to has let a call through."""

    rules = CallRules()


async def test_what_an_outage_kept_listed_is_not_called_by_what_was_then_known(
    database: Database,
) -> None:
    """The rule that lists a tool is not the word on a call: that is what is true now."""
    setup, nobody = Setup(database), cast(Any, NoCaller())
    row = await put(database, shared(setup.tenant, "a"))
    await activate(database, row)
    await serve(database, row, tool("t"))
    source = RemoteSource(setup.snapshots, nobody, nobody, nobody)
    held = grants(more=[PERMISSION])
    context = RequestContext("req_1", caller(held, tenant_id=setup.tenant), Secret("x"))
    (listed,) = (await source.snapshot(context, 0)).tools
    setup.counting.is_broken = True
    setup.clock.now += 6
    assert (await source.snapshot(context, 0)).tools == (listed,)

    async def refused() -> str:
        setup.clock.now += 2
        with pytest.raises(ToolError) as caught:
            await source.call(listed, b"{}", context)
        return caught.value.code

    assert await refused() == "DatabaseError"
    await change_state(database, row, status=Status.DISABLED)
    async with database.transaction() as connection:
        await raise_version(connection, setup.tenant)
    setup.counting.is_broken = False
    assert await refused() == "REMOTE_SERVER_UNAVAILABLE"
    async with database.transaction() as connection:
        await delete_server(connection, setup.tenant, row.id)
        await raise_version(connection, setup.tenant)
    setup.snapshots.changed(setup.tenant)
    assert await refused() == "TOOL_NOT_FOUND"
    await setup.snapshots.aclose()


async def test_a_database_that_hangs_holds_nobody_for_long(database: Database) -> None:
    setup = Setup(database, wait=0.05)
    setup.counting.gate = asyncio.Event()
    assert await setup.names() == []
    assert setup.counting.count == 1
    # Who comes later does not wait at all, however long that reading takes.
    setup.clock.now += 2
    assert names(setup.snapshots.known(setup.tenant)) == []
    assert not await setup.snapshots.is_trusted(setup.tenant)
    assert setup.counting.count == 1
    await setup.add("a")
    setup.counting.gate.set()
    await until(lambda: names(setup.snapshots.known(setup.tenant)) == ["tool_a"])
    await setup.snapshots.aclose()


async def test_the_tenants_of_long_ago_are_forgotten(database: Database) -> None:
    setup = Setup(database, tenants=3)
    tenants = [new_id("ten_") for _ in range(5)]
    for tenant in tenants:
        await setup.snapshots.current(tenant)
    known = [setup.snapshots.known(tenant) is not None for tenant in tenants]
    assert known == [False, False, True, True, True]
    await setup.snapshots.aclose()


async def test_a_thousand_definitions_take_little_memory(database: Database) -> None:
    """At most 5 MiB, which is what a tenant's snapshot may cost."""
    setup = Setup(database)
    row = await put(database, shared(setup.tenant, "big"))
    await activate(database, row)
    properties = {
        f"argument_{at}": {"type": "string", "description": f"What argument {at} means here."}
        for at in range(10)
    }
    schema = {"type": "object", "properties": properties, "required": ["argument_0"]}
    writes = [
        msgspec.structs.replace(
            tool(f"t{at}"),
            definition=msgspec.json.encode(
                {"name": f"t{at}", "description": "Does it. " * 10, "inputSchema": schema}
            ),
        )
        for at in range(1_000)
    ]
    await serve(database, row, *writes)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        offers = await setup.snapshots.current(setup.tenant)
        assert len(names(offers)) == 1_000
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 5 * 1024 * 1024
    await setup.snapshots.aclose()
