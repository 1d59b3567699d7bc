"""Rows of sealed credentials in PostgreSQL. Spec: remote-servers 2 and 4."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
import pytest_asyncio

from scaimcp.credentials import store
from scaimcp.credentials.envelope import RowId
from scaimcp.postgres import Database, DatabaseUnavailable
from tests.integration.remotes.registry import execute, migrated
from tests.integration.remotes.sealed_rows import (
    counts,
    fetch,
    fill,
    names,
    new_server,
    sealed_values,
    set_values,
    values_of,
)
from tests.unit.credentials.support import keys

KEYS = keys("a")


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


@pytest_asyncio.fixture(autouse=True)
async def empty(database: Database) -> None:
    await execute(database, "DELETE FROM remote_servers")


async def test_what_was_put_is_read_and_opens(database: Database) -> None:
    row = await new_server(database, "ten_a")
    await set_values(database, KEYS, row, by="usr_7", b="two", a="one")
    assert await values_of(database, KEYS, row) == {"a": "one", "b": "two"}
    async with database.transaction() as connection:
        first, second = await store.read_fields(connection, "ten_a", row.id)
    assert (first.field, first.row_version, first.rotated_by) == ("a", 1, "usr_7")
    assert first.sealed.kek_id == second.sealed.kek_id == "a"
    assert store.oldest_days((first, second), first.rotated_at) == 0


async def test_overwriting_leaves_nothing_of_the_old_value(database: Database) -> None:
    row = await new_server(database, "ten_a")
    await set_values(database, KEYS, row, a="one", b="two")
    before = dict(await fetch(database, "SELECT field, row(c.*)::text FROM remote_credentials c"))
    await set_values(database, KEYS, row, by="usr_2", a="new")
    assert await values_of(database, KEYS, row) == {"a": "new", "b": "two"}
    async with database.transaction() as connection:
        first, second = await store.read_fields(connection, "ten_a", row.id)
    assert (first.row_version, first.rotated_by) == (2, "usr_2")
    assert (second.row_version, second.rotated_by) == (1, "usr_1")
    assert first.rotated_at > second.rotated_at
    after = dict(await fetch(database, "SELECT field, row(c.*)::text FROM remote_credentials c"))
    assert after["b"] == before["b"]
    spent = fetch(database, "SELECT created_at < rotated_at FROM remote_credentials ORDER BY field")
    assert await spent == [(True,), (False,)]
    for part in (first.sealed.ciphertext, first.sealed.wrapped_dek):
        assert part.hex() not in before["a"]


async def test_replacing_makes_the_set_the_whole_set(database: Database) -> None:
    row = await new_server(database, "ten_a")
    other = await new_server(database, "ten_a", "two")
    for each in (row, other):
        await set_values(database, KEYS, each, a="one", b="two", c="three")
    fields = await sealed_values(KEYS, row, {"b": "new", "d": "four"})
    async with database.transaction() as connection:
        gone = await store.replace_fields(connection, "ten_a", row.id, fields, "usr_1")
    assert gone == ("a", "c")
    assert await values_of(database, KEYS, row) == {"b": "new", "d": "four"}
    assert len(await values_of(database, KEYS, other)) == 3
    async with database.transaction() as connection:
        assert await store.replace_fields(connection, "ten_a", row.id, {}, "usr_1") == ("b", "d")
    assert await values_of(database, KEYS, row) == {}


async def test_deleting_tells_what_was_there(database: Database) -> None:
    row = await new_server(database, "ten_a")
    await set_values(database, KEYS, row, a="one", b="two")
    async with database.transaction() as connection:
        assert await store.delete_fields(connection, "ten_a", row.id, ("b", "z")) == ("b",)
        assert await store.delete_fields(connection, "ten_a", row.id, ("b",)) == ()
        assert names(await store.read_fields(connection, "ten_a", row.id)) == ["a"]


async def test_a_transaction_that_fails_changes_no_credential(database: Database) -> None:
    row = await new_server(database, "ten_a")
    await set_values(database, KEYS, row, a="one")
    fields = await sealed_values(KEYS, row, {"b": "two"})

    async def attempt() -> None:
        async with database.transaction() as connection:
            await store.replace_fields(connection, "ten_a", row.id, fields, "usr_1")
            raise KeyError

    with pytest.raises(KeyError):
        await attempt()
    assert await values_of(database, KEYS, row) == {"a": "one"}


async def test_another_tenant_neither_sees_nor_changes_them(database: Database) -> None:
    row = await new_server(database, "ten_a")
    await set_values(database, KEYS, row, a="one")
    fields = await sealed_values(KEYS, row, {"a": "stolen"})
    async with database.transaction() as connection:
        assert await store.read_fields(connection, "ten_b", row.id) == ()
        assert await store.read_many(connection, "ten_b", (row.id,)) == {}
        assert await store.delete_fields(connection, "ten_b", row.id, ("a",)) == ()
        assert await store.replace_fields(connection, "ten_b", row.id, {}, "usr_1") == ()
    with pytest.raises(DatabaseUnavailable, match="ForeignKeyViolation"):
        async with database.transaction() as connection:
            await store.put_fields(connection, "ten_b", row.id, fields, "usr_1")
    assert await values_of(database, KEYS, row) == {"a": "one"}


async def test_credentials_go_with_their_server(database: Database) -> None:
    row, other = await fill(database, KEYS, 2, 2)
    await execute(database, "DELETE FROM remote_servers WHERE id = $1", row.id)
    assert await counts(database) == {"a": 2}
    assert await values_of(database, KEYS, other) == {"f0": "v0", "f1": "v1"}


async def test_many_servers_are_read_at_once(database: Database) -> None:
    one, two, three = await fill(database, KEYS, 3, 2)
    bare = await new_server(database, "ten_a", "bare")
    async with database.transaction() as connection:
        found = await store.read_many(connection, "ten_a", (one.id, three.id, bare.id))
    assert set(found) == {one.id, three.id}
    assert names(found[one.id]) == ["f0", "f1"]
    assert two.id not in found


async def test_rows_are_counted_by_key_over_all_tenants(database: Database) -> None:
    assert await counts(database) == {}
    await fill(database, KEYS, 1, 2)
    await fill(database, keys("b"), 2, 1, "ten_b")
    assert await counts(database) == {"a": 2, "b": 2}


async def test_a_row_that_changed_meanwhile_is_not_rewrapped(database: Database) -> None:
    row = await new_server(database, "ten_a")
    await set_values(database, KEYS, row, a="one", b="two")
    async with database.transaction() as connection:
        one, two = await store.lock_wrapped(connection, "new", store.START, 10)
        fresh = [
            store.Rewrapped(msgspec.structs.replace(one, row_version=2), b"lost", "new"),
            store.Rewrapped(two, b"kept", "new"),
        ]
        assert await store.write_wrapped(connection, fresh) == ("a",)
    found = await fetch(
        database, "SELECT field, wrapped_dek, kek_id, row_version FROM remote_credentials"
    )
    assert sorted(found) == [("a", one.wrapped_dek, "a", 1), ("b", b"kept", "new", 2)]


async def test_the_walk_meets_every_row_once_in_pages(database: Database) -> None:
    await fill(database, KEYS, 2, 2, "ten_b")
    await fill(database, KEYS, 1, 3, "ten_a")
    met: list[tuple[str, str, str]] = []
    after = store.START
    async with database.transaction() as connection:
        while page := await store.walk(connection, after, 3):
            met += [(place.tenant_id, place.server_id, place.field) for place, _ in page]
            after = page[-1][0]
            assert {place.origin for place, _ in page} == {"https://mcp.example.com:443"}
    assert len(met) == len(set(met)) == 7
    assert met == sorted(met)
    assert isinstance(after, RowId)
