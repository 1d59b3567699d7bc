"""Rows for tests of the remote servers' stores, on a migrated database."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from scaimcp.ids import new_id
from scaimcp.migrating import migrate
from scaimcp.postgres import Database, open_database
from scaimcp.remotes.enumerations import (
    AuthType,
    CapabilityState,
    ConsentTier,
    Kind,
    Status,
    ToolChanges,
    Transport,
)
from scaimcp.remotes.models import (
    CapabilityWrite,
    NewServer,
    Quota,
    RegisteredServer,
    ServerRow,
    ServerState,
    Visibility,
)
from scaimcp.remotes.stores import capability_store, store
from scaimcp.remotes.stores.state_store import read_state, write_state
from scaimcp.types import Secret

PLENTY = Quota(1000, 1000)


@asynccontextmanager
async def migrated(url: str, most: int = 8) -> AsyncIterator[Database]:
    """Migrate the database and open a pool on it."""
    await asyncio.to_thread(migrate, Secret(url))
    async with open_database(Secret(url), most) as opened:
        yield opened


def digest(text: str) -> bytes:
    """A hash that differs wherever `text` does."""
    return hashlib.sha256(text.encode()).digest()


def server(tenant: str, name: str = "one", **changed: Any) -> NewServer:
    """A personal server of ``usr_1`` that waits for its first discovery."""
    base = NewServer(
        id=new_id("rs_"), tenant_id=tenant, owner_user_id="usr_1", scope_key="usr_1",
        is_tenant_shared=False, name=name, slug=f"{name.lower()}-{digest(name).hex()[:6]}",
        description="", endpoint_url="https://mcp.example.com/mcp?x=1",
        endpoint_origin="https://mcp.example.com:443", transport=Transport.STREAMABLE_HTTP,
        auth_type=AuthType.NONE, consent_tier=ConsentTier.AUTO, tool_changes=ToolChanges.AUTO,
        forward_user_id=False, timeout_seconds=None, created_by="usr_1", approved_by="usr_1",
        status=Status.ERROR, status_reason="discovering",
    )  # fmt: skip
    return msgspec.structs.replace(base, **changed)


def shared(tenant: str, name: str = "one", **changed: Any) -> NewServer:
    return server(tenant, name, is_tenant_shared=True, scope_key="tenant", **changed)


def everything(tenant: str, user: str = "usr_1") -> Visibility:
    """Everything of a tenant, as no caller quite sees it."""
    return Visibility(tenant, user, own=True, shared=True, others=True)


async def put(database: Database, new: NewServer) -> ServerRow:
    """Store a server; it must be possible."""
    async with database.transaction() as connection:
        row = await store.insert_server(connection, new, PLENTY)
    assert isinstance(row, ServerRow)
    return row


async def seen(database: Database, row: ServerRow) -> RegisteredServer:
    """The server as it is now."""
    async with database.transaction() as connection:
        found = await store.get_server(connection, everything(row.tenant_id), row.id)
    assert found is not None
    return found


async def change_state(database: Database, row: ServerRow, **changed: Any) -> ServerState:
    """Write some columns of the state, and return it as it then is."""
    async with database.transaction() as connection:
        state = await read_state(connection, row.tenant_id, row.id, lock=True)
        assert state is not None
        assert await write_state(connection, msgspec.structs.replace(state, **changed))
        written = await read_state(connection, row.tenant_id, row.id)
        assert written is not None
        return written


async def activate(database: Database, row: ServerRow) -> ServerState:
    return await change_state(database, row, status=Status.ACTIVE, status_reason=None)


def tool(name: str, text: str = "", **changed: Any) -> CapabilityWrite:
    """A definition in service; `text` makes another one of it."""
    definition = msgspec.json.encode({"name": name, "description": text, "inputSchema": {}})
    found = digest(name + text)
    base = CapabilityWrite(
        Kind.TOOL, name, 0, f"r_{name}", definition, found, found, CapabilityState.ADVERTISED
    )
    return msgspec.structs.replace(base, **changed)


async def serve(database: Database, row: ServerRow, *writes: CapabilityWrite) -> None:
    async with database.transaction() as connection:
        await capability_store.store_capabilities(connection, row.tenant_id, row.id, writes)


async def execute(database: Database, statement: str, *values: Any) -> None:
    """Do what no store does, such as letting time pass."""
    async with database.transaction() as connection:
        await connection.execute(statement, *values)


async def count(database: Database, table: str, tenant: str) -> int:
    async with database.transaction() as connection:
        return int(
            await connection.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", tenant)
        )


async def is_somebody_waiting(database: Database) -> bool:
    """Tell whether a transaction of this database waits for another's lock."""
    async with database.transaction() as connection:
        return bool(
            await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
        )


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - a condition has no event
            await asyncio.sleep(0.02)
