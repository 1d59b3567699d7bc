"""State, leases and due times of servers in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.postgres import Database
from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import DueServer, ServerRow, ServerState
from scaimcp.remotes.stores import state_store, store
from tests.integration.remotes.registry import (
    activate,
    change_state,
    execute,
    migrated,
    put,
    seen,
    server,
    shared,
)


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


async def read(database: Database, row: ServerRow) -> ServerState:
    return (await seen(database, row)).state


async def write(database: Database, state: ServerState) -> int | None:
    async with database.transaction() as connection:
        return await state_store.write_state(connection, state)


# --- reading and writing ----------------------------------------------------------------------


async def test_every_column_of_the_state_is_written(database: Database) -> None:
    row = await put(database, server("tnt_write"))
    before = await read(database, row)
    moment = before.read_at
    times = {
        name: moment + timedelta(seconds=at)
        for at, name in enumerate(
            (
                "last_checked_at", "last_ok_at", "last_call_ok_at", "last_call_failure_at",
                "failing_since", "next_check_at", "last_discovery_at", "next_discovery_at",
                "era_checked_at",
            )
        )
    }  # fmt: skip
    changed = msgspec.structs.replace(
        before, status=Status.ACTIVE, status_reason="r", last_health_status="TimeoutError",
        last_error_message="m", consecutive_failures=4, has_catalog=True, protocol_era="modern",
        protocol_version="2026-07-28", **times,
    )  # fmt: skip
    assert await write(database, changed) == 1
    after = await read(database, row)
    assert after == msgspec.structs.replace(changed, state_seq=1, read_at=after.read_at)


async def test_notes_are_written_apart_and_keep_their_order(database: Database) -> None:
    row = await put(database, server("tnt_notes"))
    before = await read(database, row)
    notes: dict[str, Any] = {
        "server_info": {"z": 1, "name": "ä\u2028", "a": None},
        "upstream_capabilities": {"tools": {}},
        "list_notes": {"dropped": [{"kind": "tool"}], "truncated": {"tool": 3}},
    }
    changed = msgspec.structs.replace(before, status=Status.DISABLED, **notes)
    async with database.transaction() as connection:
        assert await state_store.write_notes(connection, changed) == 1
        assert await state_store.write_notes(connection, changed) is None
    after = await read(database, row)
    assert after == msgspec.structs.replace(before, state_seq=1, read_at=after.read_at, **notes)
    assert list(after.server_info or {}) == ["z", "name", "a"]
    assert await write(database, msgspec.structs.replace(after, server_info={}, state_seq=1)) == 2
    assert (await read(database, row)).server_info == notes["server_info"]


async def test_of_many_writers_upon_one_reading_one_succeeds(database: Database) -> None:
    row = await put(database, server("tnt_cas"))
    state = await read(database, row)
    found = await asyncio.gather(
        *(
            write(database, msgspec.structs.replace(state, consecutive_failures=at))
            for at in range(1, 11)
        )
    )
    assert sorted(found, key=str) == [1, *[None] * 9]
    assert (await read(database, row)).consecutive_failures == found.index(1) + 1


async def test_writers_that_read_again_lose_nothing(database: Database) -> None:
    row = await put(database, server("tnt_again"))

    async def fail_once_more() -> None:
        written = None
        while written is None:
            state = await read(database, row)
            written = await write(
                database,
                msgspec.structs.replace(state, consecutive_failures=state.consecutive_failures + 1),
            )

    await asyncio.gather(*(fail_once_more() for _ in range(8)))
    state = await read(database, row)
    assert (state.consecutive_failures, state.state_seq) == (8, 8)


async def test_a_locked_state_waits_for_its_holder(database: Database) -> None:
    row = await put(database, server("tnt_held"))

    async def count() -> None:
        async with database.transaction() as connection:
            state = await state_store.read_state(connection, "tnt_held", row.id, lock=True)
            assert state is not None
            more = msgspec.structs.replace(
                state, consecutive_failures=state.consecutive_failures + 1
            )
            assert await state_store.write_state(connection, more) is not None

    await asyncio.gather(*(count() for _ in range(8)))
    assert (await read(database, row)).consecutive_failures == 8


async def test_the_clock_of_a_reading_is_after_the_wait_for_the_row(database: Database) -> None:
    row = await put(database, server("tnt_clock"))
    async with database.transaction() as connection:
        first = await state_store.read_state(connection, "tnt_clock", row.id)
        second = await state_store.read_state(connection, "tnt_clock", row.id)
    assert first is not None
    assert second is not None
    assert first.read_at < second.read_at


# --- tenants ----------------------------------------------------------------------------------


async def test_no_function_reaches_into_another_tenant(database: Database) -> None:
    row = await put(database, server("tnt_a"))
    await activate(database, row)
    async with database.transaction() as connection:
        lease = await state_store.take_lease(connection, "tnt_a", row.id, "probe")
        assert lease is not None
    before = await read(database, row)
    foreign = msgspec.structs.replace(before, tenant_id="tnt_b", status=Status.DISABLED)
    async with database.transaction() as connection:
        assert await state_store.read_state(connection, "tnt_b", row.id) is None
        assert await state_store.read_state(connection, "tnt_b", row.id, lock=True) is None
        assert await state_store.write_state(connection, foreign) is None
        assert await state_store.write_notes(connection, foreign) is None
        assert await state_store.take_lease(connection, "tnt_b", row.id, "x") is None
        assert not await state_store.release_lease(connection, "tnt_b", row.id, lease)
        assert not await state_store.hold_lease(connection, "tnt_b", row.id, lease)
        assert not await state_store.check_soon(connection, "tnt_b", row.id)
        assert not await state_store.discover_soon(connection, "tnt_b", row.id)
        assert not await state_store.note_call_failure(connection, "tnt_b", row.id, 0)
    after = await read(database, row)
    assert after == msgspec.structs.replace(before, read_at=after.read_at)


# --- leases -----------------------------------------------------------------------------------


async def take(database: Database, row: ServerRow, owner: str) -> int | None:
    async with database.transaction() as connection:
        return await state_store.take_lease(connection, row.tenant_id, row.id, owner)


async def release(database: Database, row: ServerRow, seq: int) -> bool:
    async with database.transaction() as connection:
        return await state_store.release_lease(connection, row.tenant_id, row.id, seq)


async def holds(database: Database, row: ServerRow, seq: int) -> bool:
    async with database.transaction() as connection:
        return await state_store.hold_lease(connection, row.tenant_id, row.id, seq)


async def lapse(database: Database, row: ServerRow) -> None:
    """Let the minute of a lease pass."""
    await execute(
        database,
        "UPDATE remote_server_state SET lease_until = now() - interval '1 second'"
        " WHERE server_id = $1",
        row.id,
    )


async def test_of_many_takers_one_gets_the_lease(database: Database) -> None:
    row = await put(database, server("tnt_lease"))
    found = await asyncio.gather(*(take(database, row, f"w{at}") for at in range(10)))
    assert sorted(found, key=str) == [1, *[None] * 9]
    state = await read(database, row)
    assert state.lease_owner == f"w{found.index(1)}"
    assert state.lease_until is not None
    assert timedelta(seconds=50) < state.lease_until - state.read_at <= timedelta(seconds=60)
    assert state.state_seq == 0


async def test_a_lease_given_back_is_free_at_once(database: Database) -> None:
    row = await put(database, server("tnt_back"))
    assert await take(database, row, "a") == 1
    assert await take(database, row, "b") is None
    assert await release(database, row, 1)
    state = await read(database, row)
    assert (state.lease_owner, state.lease_until, state.lease_seq) == (None, None, 1)
    assert await take(database, row, "b") == 2
    assert not await release(database, row, 1)
    assert (await read(database, row)).lease_owner == "b"


async def test_a_late_loser_writes_nothing(database: Database) -> None:
    row = await put(database, server("tnt_late"))
    assert await take(database, row, "slow") == 1
    assert await holds(database, row, 1)
    await lapse(database, row)
    # Late, but nobody else began: what it found is still the newest.
    assert await holds(database, row, 1)
    assert await take(database, row, "quick") == 2
    assert not await holds(database, row, 1)
    assert await holds(database, row, 2)


async def test_nobody_takes_a_lease_while_its_holder_stores(database: Database) -> None:
    row = await put(database, server("tnt_store"))
    assert await take(database, row, "slow") == 1
    await lapse(database, row)
    async with database.transaction() as storing:
        assert await state_store.hold_lease(storing, "tnt_store", row.id, 1)
        other = asyncio.gather(take(database, row, "quick"))
        state = await state_store.read_state(storing, "tnt_store", row.id)
        assert state is not None
        assert state.lease_seq == 1
        assert await state_store.write_state(storing, state) == 1
        assert not other.done()
    assert await other == [2]


async def test_a_server_that_is_gone_has_no_lease(database: Database) -> None:
    row = await put(database, server("tnt_del"))
    assert await take(database, row, "a") == 1
    async with database.transaction() as connection:
        assert await store.delete_server(connection, "tnt_del", row.id)
    assert not await holds(database, row, 1)
    assert not await release(database, row, 1)
    assert await take(database, row, "a") is None


# --- what is due ------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def emptied(database: Database) -> Database:
    await execute(database, "DELETE FROM remote_servers")
    return database


async def when(database: Database, row: ServerRow, column: str, seconds: int) -> None:
    await execute(
        database,
        f"UPDATE remote_server_state SET {column} = now() + make_interval(secs => $2)"
        " WHERE server_id = $1",
        row.id,
        seconds,
    )


async def checks(database: Database, limit: int = 100) -> list[DueServer]:
    async with database.transaction() as connection:
        return await state_store.due_checks(connection, None, limit)


async def test_checks_of_all_tenants_are_due_the_longest_due_first(emptied: Database) -> None:
    rows = [await put(emptied, server(f"tnt_{at}")) for at in range(4)]
    for row, seconds in zip(rows, (-10, 3600, -30, -20), strict=True):
        await when(emptied, row, "next_check_at", seconds)
    found = await checks(emptied)
    assert [one.tenant_id for one in found] == ["tnt_2", "tnt_3", "tnt_0"]
    assert [one.server_id for one in found] == [rows[at].id for at in (2, 3, 0)]


@pytest.mark.parametrize(
    ("status", "health", "is_early"),
    [
        (Status.ACTIVE, "ok", True),
        (Status.ACTIVE, None, True),
        (Status.ACTIVE, "ConnectError", True),
        (Status.ACTIVE, "RateLimitedError", False),
        (Status.ERROR, "ConnectError", False),
    ],
)
async def test_who_was_probed_late_in_a_minute_is_due_at_the_next_tick(
    emptied: Database, status: Status, health: str | None, is_early: bool
) -> None:
    row = await put(emptied, server("tnt_early"))
    await change_state(emptied, row, status=status, last_health_status=health)
    await when(emptied, row, "next_check_at", 40)
    assert bool(await checks(emptied)) == is_early
    await when(emptied, row, "next_check_at", 50)
    assert await checks(emptied) == []


async def test_only_active_and_failing_servers_are_checked(emptied: Database) -> None:
    row = await put(emptied, server("tnt_which"))
    for status in Status:
        await change_state(emptied, row, status=status)
        await when(emptied, row, "next_check_at", -1)
        assert bool(await checks(emptied)) == (status in {Status.ACTIVE, Status.ERROR})
    await activate(emptied, row)
    await change_state(emptied, row, next_check_at=None)
    assert await checks(emptied) == []


async def test_discoveries_are_due_within_a_span_for_active_servers(emptied: Database) -> None:
    rows = [await put(emptied, server(f"tnt_{at}")) for at in range(4)]
    for row, seconds in zip(rows, (-100, 500, 899, 1000), strict=True):
        await activate(emptied, row)
        await when(emptied, row, "next_discovery_at", seconds)
    failing = await put(emptied, shared("tnt_0"))
    await when(emptied, failing, "next_discovery_at", -1)

    async def due(seconds: float) -> list[str]:
        async with emptied.transaction() as connection:
            found = await state_store.due_discoveries(connection, seconds, None, 100)
        return [one.server_id for one in found]

    assert await due(0) == [rows[0].id]
    assert await due(900) == [row.id for row in rows[:3]]
    assert await due(2000) == [row.id for row in rows]


@pytest.mark.parametrize("what", ["check", "discovery"])
async def test_pages_of_due_servers_meet(emptied: Database, what: str) -> None:
    rows = [await put(emptied, server(f"tnt_{at}")) for at in range(7)]
    for row in rows:
        await activate(emptied, row)
    # All at one moment: the id decides.
    await execute(
        emptied,
        f"UPDATE remote_server_state SET next_{what}_at = now() - interval '5 seconds'",
    )
    found: list[str] = []
    after: DueServer | None = None
    while True:
        async with emptied.transaction() as connection:
            if what == "check":
                page = await state_store.due_checks(connection, after, 3)
            else:
                page = await state_store.due_discoveries(connection, 0, after, 3)
        found += [one.server_id for one in page]
        if len(page) < 3:
            break
        after = page[-1]
        # One that was dealt with meanwhile hides no other.
        await when(emptied, rows[0], f"next_{what}_at", 60)
    assert found == sorted(row.id for row in rows)


async def test_a_check_can_be_made_due(emptied: Database) -> None:
    row = await put(emptied, server("tnt_soon"))
    await activate(emptied, row)
    await when(emptied, row, "next_check_at", 600)
    before = await read(emptied, row)
    async with emptied.transaction() as connection:
        assert await state_store.check_soon(connection, "tnt_soon", row.id)
        assert await state_store.discover_soon(connection, "tnt_soon", row.id)
    assert [one.server_id for one in await checks(emptied)] == [row.id]
    async with emptied.transaction() as connection:
        found = await state_store.due_discoveries(connection, 1, None, 9)
    assert [one.server_id for one in found] == [row.id]
    # A transition that was computed before must not undo it.
    assert await write(emptied, before) is None


@pytest.mark.parametrize("status", [Status.DISABLED, Status.PENDING_APPROVAL])
async def test_a_server_without_traffic_is_not_made_due(emptied: Database, status: Status) -> None:
    row = await put(emptied, server("tnt_none"))
    state = await change_state(emptied, row, status=status, next_check_at=None)
    async with emptied.transaction() as connection:
        assert not await state_store.check_soon(connection, "tnt_none", row.id)
        assert not await state_store.discover_soon(connection, "tnt_none", row.id)
        assert not await state_store.note_call_failure(connection, "tnt_none", row.id, 0)
    after = await read(emptied, row)
    assert after == msgspec.structs.replace(state, read_at=after.read_at)


async def test_a_failing_server_is_checked_and_not_discovered(emptied: Database) -> None:
    row = await put(emptied, server("tnt_fail"))
    async with emptied.transaction() as connection:
        assert await state_store.check_soon(connection, "tnt_fail", row.id)
        assert not await state_store.discover_soon(connection, "tnt_fail", row.id)


async def test_of_many_failing_calls_one_asks_for_a_probe(emptied: Database) -> None:
    row = await put(emptied, server("tnt_calls"))
    await activate(emptied, row)
    await when(emptied, row, "next_check_at", 600)

    async def note() -> bool:
        async with emptied.transaction() as connection:
            return await state_store.note_call_failure(connection, "tnt_calls", row.id, 20)

    assert sum(await asyncio.gather(*(note() for _ in range(10)))) == 1
    assert [one.server_id for one in await checks(emptied)] == [row.id]
    assert not await note()
    await when(emptied, row, "last_call_failure_at", -21)
    assert await note()
