"""Accepted definitions and changes to decide on, in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.ids import new_id
from scaimcp.postgres import Database
from scaimcp.remotes.enumerations import CapabilityState, ChangeState, Kind
from scaimcp.remotes.models import (
    CapabilityKey,
    Change,
    ChangeDecision,
    NewChange,
    Pin,
    PinWrite,
    Position,
    ServerRow,
)
from scaimcp.remotes.stores import change_store
from tests.integration.remotes.registry import (
    digest,
    execute,
    migrated,
    put,
    serve,
    server,
    tool,
)

FOREIGN_OR_STRANGE = ("chg_none", "", "\0", "\ud800", "x" * 5000)


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


def change(name: str, text: str, **changed: Any) -> NewChange:
    base = NewChange(
        new_id("chg_"), Kind.TOOL, name, "changed", "breaking", digest(name), digest(name + text),
        b'{"z":1,"a":"%s"}' % text.encode(), [{"pointer": "/a", "op": "replace"}],
        [{"rule": "hidden_characters"}],
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


def pin(name: str, text: str = "", **changed: Any) -> PinWrite:
    base = PinWrite(Kind.TOOL, name, b'{"z":1, "a":2}', digest(name + text))
    return msgspec.structs.replace(base, **changed)


async def record(database: Database, row: ServerRow, *changes: NewChange) -> list[str]:
    async with database.transaction() as connection:
        return await change_store.record_changes(connection, row.tenant_id, row.id, changes)


async def get(database: Database, row: ServerRow, change_id: str) -> Change | None:
    async with database.transaction() as connection:
        return await change_store.get_change(connection, row.tenant_id, row.id, change_id)


async def state(database: Database, row: ServerRow, change_id: str) -> ChangeState:
    found = await get(database, row, change_id)
    assert found is not None
    return found.state


async def decide(
    database: Database, row: ServerRow, one: NewChange, is_accepted: bool, **changed: Any
) -> Change | None:
    word = ChangeDecision(one.id, one.new_hash, is_accepted, "usr_boss")
    async with database.transaction() as connection:
        return await change_store.decide_change(
            connection, row.tenant_id, row.id, msgspec.structs.replace(word, **changed)
        )


async def pins(database: Database, row: ServerRow) -> list[Pin]:
    async with database.transaction() as connection:
        return await change_store.list_pins(connection, row.tenant_id, row.id)


async def write(database: Database, row: ServerRow, user: str, *some: PinWrite) -> int:
    async with database.transaction() as connection:
        return await change_store.write_pins(connection, row.tenant_id, row.id, user, some)


# --- pins -------------------------------------------------------------------------------------


async def test_a_pin_says_what_was_accepted_by_whom(database: Database) -> None:
    row = await put(database, server("tnt_pin"))
    assert await write(database, row, "usr_1", pin("b"), pin("a"), pin("a", kind=Kind.PROMPT)) == 3
    found = await pins(database, row)
    assert [(one.kind, one.name) for one in found] == [
        (Kind.TOOL, "a"), (Kind.TOOL, "b"), (Kind.PROMPT, "a"),
    ]  # fmt: skip
    assert bytes(found[0].definition) == b'{"z":1, "a":2}'
    assert (found[0].definition_hash, found[0].accepted_by) == (digest("a"), "usr_1")
    assert found[0].server_id == row.id


async def test_accepting_again_changes_who_only_with_the_hash(database: Database) -> None:
    row = await put(database, server("tnt_repin"))
    assert await write(database, row, "usr_1", pin("a"), pin("b")) == 2
    assert await write(database, row, "usr_2", pin("a", "new"), pin("b")) == 1
    a, b = await pins(database, row)
    assert (a.definition_hash, a.accepted_by, b.accepted_by) == (digest("anew"), "usr_2", "usr_1")
    assert a.accepted_at > b.accepted_at


async def test_what_is_served_becomes_the_baseline(database: Database) -> None:
    row = await put(database, server("tnt_base"))
    await serve(
        database, row, tool("t"), tool("held", state=CapabilityState.HELD),
        tool("p", kind=Kind.PROMPT), tool("r", kind=Kind.RESOURCE),
        tool("s", kind=Kind.RESOURCE_TEMPLATE),
    )  # fmt: skip
    async with database.transaction() as connection:
        assert await change_store.pin_served(connection, "tnt_base", row.id, "usr_1") == 2
        assert await change_store.pin_served(connection, "tnt_base", row.id, "usr_2") == 0
    found = await pins(database, row)
    assert [(one.name, one.accepted_by) for one in found] == [("t", "usr_1"), ("p", "usr_1")]
    assert bytes(found[0].definition) == tool("t").definition
    async with database.transaction() as connection:
        assert await change_store.delete_pins(connection, "tnt_base", row.id) == 2
    assert await pins(database, row) == []


# --- detection --------------------------------------------------------------------------------


async def test_a_change_comes_back_as_it_was_recorded(database: Database) -> None:
    row = await put(database, server("tnt_chg"))
    one = change("a", "x", old_hash=None, change="added", change_class="added", kind=Kind.PROMPT)
    assert await record(database, row, one) == [one.id]
    found = await get(database, row, one.id)
    assert found is not None
    for name in set(NewChange.__struct_fields__) - {"new_definition"}:
        assert getattr(found, name) == getattr(one, name)
    assert bytes(found.new_definition) == one.new_definition
    assert (found.server_id, found.state) == (row.id, ChangeState.PENDING)
    assert (found.decided_by, found.decided_at) == (None, None)


async def test_a_newer_hash_supersedes_what_is_pending(database: Database) -> None:
    row = await put(database, server("tnt_newer"))
    first, other, second = change("a", "1"), change("b", "1"), change("a", "2")
    assert set(await record(database, row, first, other)) == {first.id, other.id}
    assert await record(database, row, second) == [second.id]
    assert await state(database, row, first.id) is ChangeState.SUPERSEDED
    assert await state(database, row, other.id) is ChangeState.PENDING
    assert await decide(database, row, first, is_accepted=True) is None
    # The superseded one is seen again: it comes up under the id it had.
    again = change("a", "1", change_class="risk", diff=[])
    assert await record(database, row, again) == [first.id]
    found = await get(database, row, first.id)
    assert found is not None
    assert (found.state, found.change_class, found.diff) == (ChangeState.PENDING, "risk", [])
    assert await state(database, row, second.id) is ChangeState.SUPERSEDED
    assert await get(database, row, again.id) is None


async def test_a_change_seen_twice_is_one(database: Database) -> None:
    row = await put(database, server("tnt_twice"))
    one = change("a", "1")
    assert await record(database, row, one) == [one.id]
    before = await get(database, row, one.id)
    assert await record(database, row, change("a", "1")) == []
    assert await record(database, row) == []
    assert await get(database, row, one.id) == before


async def test_equal_changes_recorded_at_once_are_one(database: Database) -> None:
    row = await put(database, server("tnt_once"))
    found = await asyncio.gather(*(record(database, row, change("a", "1")) for _ in range(6)))
    assert sum(len(ids) for ids in found) == 1


async def test_a_rejected_hash_stays_rejected(database: Database) -> None:
    row = await put(database, server("tnt_reject"))
    one = change("a", "1")
    await record(database, row, one)
    found = await decide(database, row, one, is_accepted=False)
    assert found is not None
    assert (found.state, found.decided_by) == (ChangeState.REJECTED, "usr_boss")
    assert await record(database, row, change("a", "1")) == []
    assert await state(database, row, one.id) is ChangeState.REJECTED
    async with database.transaction() as connection:
        rejected = await change_store.rejected_hashes(connection, "tnt_reject", row.id)
        assert await change_store.rejected_hashes(connection, "tnt_other", row.id) == frozenset()
    assert rejected == {(CapabilityKey(Kind.TOOL, "a"), digest("a1"))}


async def test_a_hash_accepted_before_can_be_asked_about_again(database: Database) -> None:
    row = await put(database, server("tnt_return"))
    one = change("a", "1")
    await record(database, row, one)
    assert await decide(database, row, one, is_accepted=True) is not None
    assert await record(database, row, change("a", "1", old_hash=digest("other"))) == [one.id]
    found = await get(database, row, one.id)
    assert found is not None
    assert (found.state, found.old_hash) == (ChangeState.PENDING, digest("other"))
    assert (found.decided_by, found.decided_at) == (None, None)


async def test_a_definition_that_goes_takes_its_pending_change(database: Database) -> None:
    row = await put(database, server("tnt_went"))
    gone, stays, done = change("a", "1"), change("a", "1", kind=Kind.PROMPT), change("b", "1")
    await record(database, row, gone, stays, done)
    await decide(database, row, done, is_accepted=True)
    keys = [CapabilityKey(Kind.TOOL, "a"), CapabilityKey(Kind.TOOL, "b")]
    async with database.transaction() as connection:
        assert await change_store.supersede_changes(connection, "tnt_went", row.id, keys) == 1
        assert await change_store.supersede_changes(connection, "tnt_went", row.id, []) == 0
    assert await state(database, row, gone.id) is ChangeState.SUPERSEDED
    assert await state(database, row, stays.id) is ChangeState.PENDING
    assert await state(database, row, done.id) is ChangeState.ACCEPTED


# --- decision ---------------------------------------------------------------------------------


async def test_only_the_hash_that_was_shown_is_decided(database: Database) -> None:
    row = await put(database, server("tnt_shown"))
    one = change("a", "1")
    await record(database, row, one)
    assert await decide(database, row, one, is_accepted=True, new_hash=digest("old")) is None
    for strange in FOREIGN_OR_STRANGE:
        assert await decide(database, row, one, is_accepted=True, change_id=strange) is None
    found = await decide(database, row, one, is_accepted=True)
    assert found is not None
    assert (found.state, found.decided_by) == (ChangeState.ACCEPTED, "usr_boss")
    assert found.decided_at is not None
    assert await decide(database, row, one, is_accepted=False) is None
    assert await state(database, row, one.id) is ChangeState.ACCEPTED


async def test_of_two_decisions_at_once_one_counts(database: Database) -> None:
    row = await put(database, server("tnt_both"))
    one = change("a", "1")
    await record(database, row, one)
    both = await asyncio.gather(
        decide(database, row, one, is_accepted=True),
        decide(database, row, one, is_accepted=False),
    )
    (word,) = [found for found in both if found is not None]
    assert await state(database, row, one.id) is word.state


async def test_no_function_reaches_into_another_tenant_or_server(database: Database) -> None:
    row = await put(database, server("tnt_a"))
    beside = await put(database, server("tnt_a", "beside"))
    one = change("a", "1")
    await record(database, row, one)
    await write(database, row, "usr_1", pin("a"))
    await serve(database, row, tool("t"))
    key = [CapabilityKey(Kind.TOOL, "a")]
    for foreign in (msgspec.structs.replace(row, tenant_id="tnt_b"), beside):
        tenant, server_id = foreign.tenant_id, foreign.id
        assert await get(database, foreign, one.id) is None
        assert await decide(database, foreign, one, is_accepted=True) is None
        assert await pins(database, foreign) == []
        async with database.transaction() as connection:
            page = await change_store.list_changes(connection, tenant, server_id, None)
            assert page.items == ()
            assert await change_store.delete_pins(connection, tenant, server_id) == 0
            assert await change_store.pin_served(connection, tenant, server_id, "u") == 0
            assert await change_store.supersede_changes(connection, tenant, server_id, key) == 0
            assert not await change_store.rejected_hashes(connection, tenant, server_id)
    assert await state(database, row, one.id) is ChangeState.PENDING
    assert len(await pins(database, row)) == 1


@pytest.mark.parametrize("strange", FOREIGN_OR_STRANGE)
async def test_a_strange_id_is_missing(database: Database, strange: str) -> None:
    row = await put(database, server(f"tnt_{digest(repr(strange)).hex()[:9]}"))
    assert await get(database, row, strange) is None
    assert await get(database, msgspec.structs.replace(row, id=strange), "chg_x") is None
    assert await pins(database, msgspec.structs.replace(row, id=strange)) == []


# --- lists ------------------------------------------------------------------------------------


async def test_changes_are_listed_by_state_newest_first(database: Database) -> None:
    row = await put(database, server("tnt_states"))
    made = [change(name, "1") for name in "abc"]
    for one in made:
        await record(database, row, one)
    await decide(database, row, made[0], is_accepted=False)

    async def ids(wanted: ChangeState | None) -> list[str]:
        async with database.transaction() as connection:
            page = await change_store.list_changes(connection, "tnt_states", row.id, wanted)
        return [one.id for one in page.items]

    assert await ids(ChangeState.PENDING) == [made[2].id, made[1].id]
    assert await ids(ChangeState.REJECTED) == [made[0].id]
    assert await ids(None) == [made[2].id, made[1].id, made[0].id]
    assert await ids(ChangeState.ACCEPTED) == []


async def test_pages_meet_although_rows_are_added(database: Database) -> None:
    row = await put(database, server("tnt_pages"))
    made = [change(f"n{at}", "1") for at in range(7)]
    await record(database, row, *made)
    await execute(
        database, "UPDATE remote_tool_changes SET detected_at = now() WHERE server_id = $1", row.id
    )
    found: list[str] = []
    after = None
    while True:
        async with database.transaction() as connection:
            page = await change_store.list_changes(
                connection, "tnt_pages", row.id, None, after=after, limit=3
            )
        found += [one.id for one in page.items]
        after = Position(page.items[-1].detected_at, page.items[-1].id)
        await record(database, row, change(f"late{len(found)}", "1"))
        if not page.has_more:
            break
    assert found == sorted((one.id for one in made), reverse=True)
