"""The tables of the remote servers: there after the way up, gone after the way down."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest

from scaimcp.migrating import migrate
from scaimcp.types import Secret
from tests.stack import Services, create_database, drop_database

TABLES = {
    "remote_servers": 25, "remote_server_state": 26, "remote_credentials": 10,
    "remote_capabilities": 14, "remote_tool_pins": 8, "remote_tool_changes": 16,
    "remote_approvals": 14,
}  # fmt: skip
# Everything that the contract says of keys and indexes beyond primary keys.
INDEXES = {
    "(tenant_id, scope_key, slug)",
    "(tenant_id, id)",
    "(tenant_id, owner_user_id, created_at DESC, id DESC)",
    "(next_check_at) WHERE (status = ANY (ARRAY['active'::text, 'error'::text]))",
    "(next_discovery_at) WHERE (status = 'active'::text)",
    "(kek_id)",
    "(tenant_id, alias) WHERE (alias IS NOT NULL)",
    "(tenant_id, server_id, kind, name, new_hash)",
    "(tenant_id, caller_user_id, server_id, tool, arguments_digest, definition_hash)"
    " WHERE (state = 'pending'::text)",
}


@pytest.fixture
def empty_url(embedded_stack: Services) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield create_database(embedded_stack, name)
    drop_database(embedded_stack, name)


async def ask(url: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def shape(url: str) -> list[Any]:
    """Columns, constraints and indexes of the tables, as the database describes them."""
    return [
        await ask(url, query)
        for query in (
            "SELECT table_name, column_name, data_type, is_nullable, column_default"
            " FROM information_schema.columns WHERE table_name LIKE 'remote%' ORDER BY 1, 2",
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
            " FROM pg_constraint WHERE conrelid::regclass::text LIKE 'remote%' ORDER BY 1, 2",
            "SELECT tablename, indexname, indexdef FROM pg_indexes"
            " WHERE tablename LIKE 'remote%' ORDER BY 1, 2",
        )
    ]


async def test_up_down_and_up_again_is_the_same(empty_url: str) -> None:
    url = Secret(empty_url)
    await asyncio.to_thread(migrate, url, "0002")
    first = await shape(empty_url)
    await asyncio.to_thread(migrate, url, "0001", down=True)
    assert await shape(empty_url) == [[], [], []]
    await asyncio.to_thread(migrate, url, "0002")
    assert await shape(empty_url) == first


async def test_the_tables_have_the_shape_of_the_contract(empty_url: str) -> None:
    await asyncio.to_thread(migrate, Secret(empty_url), "0002")
    columns, constraints, indexes = await shape(empty_url)
    counts = dict.fromkeys(TABLES, 0)
    for table, *_ in columns:
        counts[table] += 1
    assert counts == TABLES
    times = [kind for _, column, kind, *_ in columns if column.endswith(("_at", "_until"))]
    assert set(times) == {"timestamp with time zone"}
    ordered = {(table, column): kind for table, column, kind, *_ in columns}
    for table in ("remote_capabilities", "remote_tool_pins"):
        assert ordered[table, "definition"] == "json"
    children = {table for table, _, text in constraints if text.endswith("ON DELETE CASCADE")}
    assert children == set(TABLES) - {"remote_servers"}
    described = {definition.partition(" USING btree ")[2] for *_, definition in indexes}
    assert described >= INDEXES


async def test_the_way_down_takes_rows_along(empty_url: str) -> None:
    url = Secret(empty_url)
    await asyncio.to_thread(migrate, url, "0002")
    await ask(
        empty_url,
        "INSERT INTO remote_servers (id, tenant_id, owner_user_id, scope_key, is_tenant_shared,"
        " name, slug, endpoint_url, endpoint_origin, transport, auth_type, created_by,"
        " created_at, updated_at) VALUES ('rs_1', 't', 'u', 'u', false, 'n', 'n-012345',"
        " 'https://x.example', 'https://x.example:443', 'sse', 'none', 'u', now(), now())",
    )
    await ask(
        empty_url,
        "INSERT INTO remote_server_state (tenant_id, server_id, status)"
        " VALUES ('t', 'rs_1', 'active')",
    )
    await asyncio.to_thread(migrate, url, "0001", down=True)
    assert await shape(empty_url) == [[], [], []]
