"""What is remembered of a tenant's servers, for how long, and what an outage leaves of it."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest_asyncio

from scaimcp.ids import new_id
from scaimcp.postgres import Database
from scaimcp.remotes.offers import TenantOffers
from scaimcp.remotes.snapshot import SnapshotRules, Snapshots
from scaimcp.versions.store import raise_version
from tests.integration.rawserver import Clock
from tests.integration.remotes.registry import activate, migrated, put, serve, shared, tool
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


async def test_a_change_is_seen_at_once_with_a_notice_and_soon_without(
    database: Database,
) -> None:
    setup = Setup(database)
    assert await setup.names() == []
    await setup.add("a")
    assert await setup.names() == []
    setup.clock.now += 5.1
    assert setup.snapshots.known(setup.tenant) is None
    assert not setup.snapshots.is_trusted(setup.tenant)
    assert await setup.names() == ["tool_a"]
    assert setup.snapshots.is_trusted(setup.tenant)
    await setup.add("b")
    setup.snapshots.changed(setup.tenant, 2)
    assert await setup.names() == ["tool_a", "tool_b"]
    setup.snapshots.changed(setup.tenant, 2)
    assert setup.snapshots.known(setup.tenant) is not None
    await setup.add("c")
    setup.snapshots.changed("")
    assert not setup.snapshots.is_trusted(setup.tenant)
    assert await setup.names() == ["tool_a", "tool_b", "tool_c"]
    setup.snapshots.changed("ten_of_nobody", 7)
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
    assert not setup.snapshots.is_trusted(setup.tenant)
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
    assert setup.snapshots.is_trusted(setup.tenant)
    await setup.snapshots.aclose()


async def test_a_tenant_first_met_in_an_outage_has_nothing(database: Database) -> None:
    setup = Setup(database)
    setup.counting.is_broken = True
    assert await setup.names() == []
    assert not setup.snapshots.is_trusted(setup.tenant)
    assert not setup.snapshots.is_trusted("ten_never_met")
    await setup.snapshots.aclose()


async def test_a_database_that_hangs_holds_nobody_for_long(database: Database) -> None:
    setup = Setup(database, wait=0.05)
    setup.counting.gate = asyncio.Event()
    assert await setup.names() == []
    assert await setup.names() == []
    assert setup.counting.count == 1
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
