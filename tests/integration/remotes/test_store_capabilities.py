"""Definitions of remote servers in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from scaimcp.ids import new_id
from scaimcp.postgres import Database
from scaimcp.remotes.enumerations import CapabilityState, Kind, Status
from scaimcp.remotes.models import (
    Capability,
    CapabilityFilter,
    CapabilityKey,
    CapabilityPosition,
    CapabilityWrite,
    Counts,
    NewChange,
    ServerRow,
    WithheldName,
)
from scaimcp.remotes.stores import capability_store, change_store
from tests.integration.remotes.registry import (
    activate,
    change_state,
    digest,
    migrated,
    put,
    serve,
    server,
    shared,
    tool,
)

ALL = CapabilityFilter()
HELD = CapabilityState.HELD


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


async def store(
    database: Database, row: ServerRow, *writes: CapabilityWrite
) -> list[CapabilityKey]:
    async with database.transaction() as connection:
        return await capability_store.store_capabilities(connection, row.tenant_id, row.id, writes)


async def stored(
    database: Database, row: ServerRow, narrowed: CapabilityFilter = ALL
) -> tuple[Capability, ...]:
    async with database.transaction() as connection:
        page = await capability_store.list_capabilities(connection, row.tenant_id, row.id, narrowed)
    assert not page.has_more
    return page.items


async def names(database: Database, row: ServerRow, narrowed: CapabilityFilter = ALL) -> list[str]:
    return [found.name for found in await stored(database, row, narrowed)]


def key(name: str, kind: Kind = Kind.TOOL) -> CapabilityKey:
    return CapabilityKey(kind, name)


# --- storing ----------------------------------------------------------------------------------


async def test_a_definition_comes_back_byte_for_byte(database: Database) -> None:
    row = await put(database, server("tnt_bytes"))
    definition = b'{"z": 1.0, "a":{"y":"\\u0041\xc3\xa4","b":[1,  2]},"big":12345678901234567890}'
    write = CapabilityWrite(
        Kind.RESOURCE_TEMPLATE, "x://{ä}", 3, None, definition, digest("a"), digest("b"), HELD,
        "risk", [{"rule": "override", "severity": "high", "pointer": "/a", "excerpt": "é"}],
    )  # fmt: skip
    assert await store(database, row, write) == [key("x://{ä}", Kind.RESOURCE_TEMPLATE)]
    (found,) = await stored(database, row)
    assert bytes(found.definition) == definition
    for name in set(CapabilityWrite.__struct_fields__) - {"definition"}:
        assert getattr(found, name) == getattr(write, name)
    assert found.server_id == row.id
    assert found.first_seen_at == found.changed_at


async def test_unchanged_rows_are_not_written(database: Database) -> None:
    row = await put(database, server("tnt_same"))
    writes = [tool("a"), tool("b", ordinal=1, alias=None), tool("c", ordinal=2, reason="x")]
    assert await store(database, row, *writes) == [key("a"), key("b"), key("c")]
    assert await store(database, row, *writes) == []
    assert await store(database, row) == []
    changed = tool("b", "new text", ordinal=1)
    assert await store(database, row, writes[0], changed, writes[2]) == [key("b")]


CHANGES = {
    "definition_hash": digest("x"), "upstream_hash": digest("x"), "state": HELD,
    "ordinal": 7, "alias": "r_x", "reason": "x", "findings": [{"rule": "x"}],
    "definition": b'{"icons":[]}',
}  # fmt: skip


@pytest.mark.parametrize("field", CHANGES)
async def test_each_column_counts_and_hash_or_state_date_the_change(
    database: Database, field: str
) -> None:
    row = await put(database, server(f"tnt_col_{field}"))
    await store(database, row, tool("a"))
    (before,) = await stored(database, row)
    changed = msgspec.structs.replace(tool("a"), **{field: CHANGES[field]})
    assert await store(database, row, changed) == [key("a")]
    (after,) = await stored(database, row)
    assert after.first_seen_at == before.first_seen_at
    is_dated = field in {"definition_hash", "upstream_hash", "state"}
    assert (after.changed_at > before.changed_at) == is_dated


async def test_two_stores_at_once_leave_one_row(database: Database) -> None:
    row = await put(database, server("tnt_at_once"))
    found = await asyncio.gather(*(store(database, row, tool("a")) for _ in range(6)))
    assert found.count([key("a")]) == 1
    assert await names(database, row) == ["a"]


async def test_thousands_are_stored_and_listed_in_one_statement_each(database: Database) -> None:
    row = await put(database, server("tnt_many"))
    writes = [tool(f"t{at}", ordinal=at) for at in range(2500)]
    assert len(await store(database, row, *writes)) == 2500
    assert await names(database, row) == [write.name for write in writes]


async def test_a_name_may_be_long_and_no_longer(database: Database, database_url: str) -> None:
    row = await put(database, server("tnt_long"))
    assert await store(database, row, tool("ä" * 1024)) == [key("ä" * 1024)]
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await capability_store.store_capabilities(
                connection, "tnt_long", row.id, [tool("a" * 2049)]
            )
    finally:
        await connection.close()


# --- deletion ---------------------------------------------------------------------------------


async def test_what_was_not_seen_of_a_listed_kind_goes(database: Database) -> None:
    row = await put(database, server("tnt_unseen"))
    other = await put(database, server("tnt_unseen", "other"))
    for one in (row, other):
        await store(
            database, one, tool("a"), tool("b"), tool("a", kind=Kind.PROMPT),
            tool("b", kind=Kind.RESOURCE),
        )  # fmt: skip

    async def unseen(kinds: set[Kind], *seen: CapabilityKey) -> list[CapabilityKey]:
        async with database.transaction() as connection:
            return await capability_store.delete_unseen(
                connection, "tnt_unseen", row.id, kinds, seen
            )

    assert await unseen(set()) == []
    assert await unseen({Kind.TOOL, Kind.PROMPT}, key("a"), key("a", Kind.PROMPT)) == [key("b")]
    assert await unseen({Kind.PROMPT}, key("a")) == [key("a", Kind.PROMPT)]
    assert await unseen(set(Kind)) == [key("b", Kind.RESOURCE), key("a")]
    assert await names(database, row) == []
    assert len(await names(database, other)) == 4


# --- lists ------------------------------------------------------------------------------------


async def fill(database: Database, row: ServerRow) -> None:
    await store(
        database, row, tool("z", ordinal=0), tool("a", ordinal=1, state=HELD),
        tool("p", kind=Kind.PROMPT), tool("r", kind=Kind.RESOURCE, ordinal=9),
        tool("s", kind=Kind.RESOURCE, ordinal=2), tool("t", kind=Kind.RESOURCE_TEMPLATE),
        tool("B", ordinal=5), tool("b", ordinal=5),
    )  # fmt: skip


ORDER = ["z", "a", "B", "b", "s", "r", "t", "p"]


async def test_a_list_is_in_order_of_kind_and_upstream(database: Database) -> None:
    row = await put(database, server("tnt_list"))
    await fill(database, row)
    assert await names(database, row) == ORDER
    assert await names(database, row, CapabilityFilter(Kind.RESOURCE)) == ["s", "r"]
    assert await names(database, row, CapabilityFilter(state=HELD)) == ["a"]
    assert await names(database, row, CapabilityFilter(Kind.PROMPT, HELD)) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 8])
async def test_pages_meet_although_rows_come_and_go(database: Database, limit: int) -> None:
    row = await put(database, server(f"tnt_page{limit}"))
    await fill(database, row)
    found: list[str] = []
    after = None
    while True:
        async with database.transaction() as connection:
            page = await capability_store.list_capabilities(
                connection, row.tenant_id, row.id, ALL, after=after, limit=limit
            )
        found += [one.name for one in page.items]
        last = page.items[-1]
        after = CapabilityPosition(last.kind, last.ordinal, last.name)
        await store(database, row, tool(f"0{len(found)}", ordinal=-1))
        if not page.has_more:
            break
    assert found == ORDER


async def test_a_definition_is_found_by_name_before_by_alias(database: Database) -> None:
    row = await put(database, server("tnt_find"))
    await store(
        database, row, tool("first", alias="r_x"), tool("r_x", alias="r_y"),
        tool("first", kind=Kind.PROMPT, alias="r_p"), tool("held", state=HELD, alias=None),
    )  # fmt: skip

    async def find(name: str, kind: Kind = Kind.TOOL, tenant: str = "tnt_find") -> str | None:
        async with database.transaction() as connection:
            found = await capability_store.find_capability(connection, tenant, row.id, kind, name)
        return found and found.name

    assert await find("first") == "first"
    assert await find("r_x") == "r_x"
    assert await find("r_y") == "r_x"
    assert await find("held") == "held"
    assert await find("r_p", Kind.PROMPT) == "first"
    for missing in ("none", "", "\0", "\ud800", "r_p"):
        assert await find(missing) is None
    assert await find("first", tenant="tnt_find2") is None


# --- the tenant's catalogue -------------------------------------------------------------------


async def advertised(database: Database, tenant: str) -> list[Capability]:
    async with database.transaction() as connection:
        return await capability_store.advertised_capabilities(connection, tenant)


async def withheld(database: Database, tenant: str) -> list[WithheldName]:
    async with database.transaction() as connection:
        return await capability_store.withheld_names(connection, tenant)


async def test_the_catalogue_is_in_order_of_canonical_names(database: Database) -> None:
    tenant = "tnt_canon"
    places = [
        server(tenant, "b"), server(tenant, "a"), shared(tenant, "a"),
        server(tenant, "a", owner_user_id="Z", scope_key="Z"),
        server(tenant, "a", owner_user_id="usr_1-x", scope_key="usr_1-x"),
    ]  # fmt: skip
    expected = []
    for new in places:
        row = await put(database, new)
        await activate(database, row)
        for name in ("x", "X", "x.y", "é"):
            await store(database, row, tool(name))
            expected.append((f"remote.{row.scope_key}.{row.slug}.{name}", row.id, name))
        await store(database, row, tool("p", kind=Kind.PROMPT))
    found = await advertised(database, tenant)
    assert [(one.server_id, one.name) for one in found[:20]] == [
        (server_id, name) for _, server_id, name in sorted(expected)
    ]
    assert [one.kind for one in found[20:]] == [Kind.PROMPT] * 5


async def test_what_is_not_in_service_is_known_by_name_only(database: Database) -> None:
    tenant = "tnt_service"
    row = await put(database, server(tenant))
    await store(database, row, tool("on"), tool("off", state=HELD, alias=None))
    for status in Status:
        await change_state(database, row, status=status)
        is_on = status is Status.ACTIVE
        assert [one.name for one in await advertised(database, tenant)] == ["on"] * is_on
        found = {one.name: one for one in await withheld(database, tenant)}
        assert found.pop("off") == WithheldName(row.id, Kind.TOOL, "off", None, HELD)
        assert list(found) == ["on"] * (not is_on)
    assert found["on"].alias == "r_on"


async def test_no_function_reaches_into_another_tenant(database: Database) -> None:
    row = await put(database, server("tnt_a"))
    await activate(database, row)
    await store(database, row, tool("t"), tool("h", state=HELD))
    foreign = msgspec.structs.replace(row, tenant_id="tnt_b")
    assert await names(database, foreign) == []
    assert await advertised(database, "tnt_b") == []
    assert await withheld(database, "tnt_b") == []
    async with database.transaction() as connection:
        assert (
            await capability_store.delete_unseen(connection, "tnt_b", row.id, set(Kind), ()) == []
        )
        counts = await capability_store.count_capabilities(connection, "tnt_b", [row.id])
    assert counts == {row.id: Counts()}
    assert await names(database, row) == ["h", "t"]


async def test_a_foreign_server_takes_no_definitions(database: Database, database_url: str) -> None:
    row = await put(database, server("tnt_c"))
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await capability_store.store_capabilities(connection, "tnt_d", row.id, [tool("t")])
    finally:
        await connection.close()


async def test_counts_name_every_server_that_was_asked_for(database: Database) -> None:
    tenant = "tnt_counts"
    full = await put(database, server(tenant, "full"))
    empty = await put(database, server(tenant, "empty"))
    other = await put(database, server(tenant, "other"))
    for row in (full, other):
        await fill(database, row)
        changes = [
            NewChange(
                new_id("chg_"), Kind.TOOL, name, "added", "added", None, digest(name), b"{}",
                [], [],
            )
            for name in ("m", "n")
        ]  # fmt: skip
        async with database.transaction() as connection:
            await change_store.record_changes(connection, tenant, row.id, changes)
            await change_store.supersede_changes(connection, tenant, row.id, [key("n")])
    async with database.transaction() as connection:
        found = await capability_store.count_capabilities(connection, tenant, [full.id, empty.id])
        assert await capability_store.count_capabilities(connection, tenant, []) == {}
    assert found == {full.id: Counts(3, 2, 1, 1, held=1, pending_changes=1), empty.id: Counts()}


async def test_unknown_words_mean_less_rights(database: Database, database_url: str) -> None:
    tenant = "tnt_words"
    row = await put(database, server(tenant))
    await activate(database, row)
    await serve(database, row, tool("new_state"), tool("new_kind"))
    connection = await asyncpg.connect(database_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        for column in ("kind", "state"):
            await connection.execute(
                "ALTER TABLE remote_capabilities"
                f" DROP CONSTRAINT remote_capabilities_{column}_check"
            )
            await connection.execute(
                f"UPDATE remote_capabilities SET {column} = 'newer' WHERE name = 'new_{column}'"
            )
        page = await capability_store.list_capabilities(connection, tenant, row.id, ALL)
        served = await capability_store.advertised_capabilities(connection, tenant)
        hidden = await capability_store.withheld_names(connection, tenant)
        counts = await capability_store.count_capabilities(connection, tenant, [row.id])
        await transaction.rollback()
    finally:
        await connection.close()
    assert [(one.name, one.state) for one in page.items] == [("new_state", HELD)]
    assert served == []
    assert [(one.name, one.state) for one in hidden] == [("new_state", HELD)]
    assert counts[row.id] == Counts(held=1)


async def test_a_write_stands_and_falls_with_its_transaction(database: Database) -> None:
    row = await put(database, server("tnt_undone"))

    async def attempt() -> None:
        async with database.transaction() as connection:
            await capability_store.store_capabilities(connection, "tnt_undone", row.id, [tool("t")])
            raise KeyError

    with pytest.raises(KeyError):
        await attempt()
    assert await names(database, row) == []
