"""Servers with sealed credentials, for tests of their rows and keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from scaimcp.credentials import store
from scaimcp.credentials.envelope import Place, RowId, Sealed, seal, unseal
from scaimcp.credentials.keys import KeyWrapper
from scaimcp.postgres import Database
from scaimcp.remotes.enumerations import AuthType
from scaimcp.remotes.models import ServerRow
from scaimcp.types import Secret
from tests.integration.remotes.registry import put, server


async def new_server(database: Database, tenant: str, name: str = "one") -> ServerRow:
    return await put(database, server(tenant, name, auth_type=AuthType.API_KEY_HEADER))


def place(row: ServerRow, field: str) -> Place:
    return Place(row.tenant_id, row.id, field, row.endpoint_origin)


async def sealed_values(
    keys: KeyWrapper, row: ServerRow, values: Mapping[str, str]
) -> dict[str, Sealed]:
    return {name: await seal(keys, place(row, name), Secret(v)) for name, v in values.items()}


async def set_values(
    database: Database, keys: KeyWrapper, row: ServerRow, by: str = "usr_1", **values: str
) -> None:
    """Insert or overwrite some credentials of a server."""
    fields = await sealed_values(keys, row, values)
    async with database.transaction() as connection:
        await store.put_fields(connection, row.tenant_id, row.id, fields, by)


async def values_of(database: Database, keys: KeyWrapper, row: ServerRow) -> dict[str, str]:
    """What a call would send: the server's credentials as stored now, opened."""
    async with database.transaction() as connection:
        fields = await store.read_fields(connection, row.tenant_id, row.id)
    return {
        stored.field: (await unseal(keys, place(row, stored.field), stored.sealed)).reveal()
        for stored in fields
    }


async def fill(
    database: Database, keys: KeyWrapper, servers: int, fields: int, tenant: str = "ten_a"
) -> list[ServerRow]:
    """Register `servers` servers with `fields` credentials each, ``f0`` worth ``v0`` and so on."""
    rows = []
    for at in range(servers):
        row = await new_server(database, tenant, f"server{at}")
        await set_values(database, keys, row, **{f"f{n}": f"v{n}" for n in range(fields)})
        rows.append(row)
    return rows


async def fetch(database: Database, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    async with database.transaction() as connection:
        return [tuple(row) for row in await connection.fetch(statement, *values)]


async def counts(database: Database) -> dict[str, int]:
    async with database.transaction() as connection:
        return await store.count_by_key(connection)


class Notes:
    """A journal in memory."""

    def __init__(self) -> None:
        self.batches: list[dict[str, int]] = []
        self.damaged: list[RowId] = []

    async def rotated(self, _: Any, counts: Mapping[str, int]) -> None:
        self.batches.append(dict(counts))

    async def corrupt(self, _: Any, row: RowId, __: str) -> None:
        self.damaged.append(RowId(row.tenant_id, row.server_id, row.field))

    def sum(self) -> dict[str, int]:
        return dict(sum((Counter(batch) for batch in self.batches), Counter[str]()))


def names(fields: Sequence[store.StoredField]) -> list[str]:
    return [stored.field for stored in fields]
