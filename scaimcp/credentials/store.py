"""Sealed credentials in PostgreSQL; every function works in the caller's transaction.

Statements on one server name its tenant. Only the operator's rotation and check, which go over
every row, do not. Spec: remote-servers 2 and 4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from scaimcp.credentials.envelope import Place, RowId, Sealed

ROTATION_DUE_DAYS = 90
START = RowId("", "", "")

_COLUMNS = "server_id, field, ciphertext, wrapped_dek, kek_id, row_version, rotated_at, rotated_by"
_PUT = """
INSERT INTO remote_credentials (tenant_id, server_id, field, ciphertext, wrapped_dek, kek_id,
                                created_at, rotated_at, rotated_by)
SELECT $1, $2, n.field, n.ciphertext, n.wrapped_dek, n.kek_id, now(), now(), $3
FROM unnest($4::text[], $5::bytea[], $6::bytea[], $7::text[])
  AS n (field, ciphertext, wrapped_dek, kek_id)
ON CONFLICT (tenant_id, server_id, field) DO UPDATE
SET ciphertext = excluded.ciphertext, wrapped_dek = excluded.wrapped_dek,
    kek_id = excluded.kek_id, row_version = remote_credentials.row_version + 1,
    rotated_at = excluded.rotated_at, rotated_by = excluded.rotated_by
"""
_DELETE = """
DELETE FROM remote_credentials
WHERE tenant_id = $1 AND server_id = $2 AND field = ANY ($3::text[])
RETURNING field
"""
_DELETE_OTHERS = """
DELETE FROM remote_credentials
WHERE tenant_id = $1 AND server_id = $2 AND field <> ALL ($3::text[])
RETURNING field
"""
_READ = f"""
SELECT {_COLUMNS} FROM remote_credentials
WHERE tenant_id = $1 AND server_id = ANY ($2::text[]) ORDER BY server_id, field
"""  # noqa: S608 - a constant
_COUNT = "SELECT kek_id, count(*) FROM remote_credentials GROUP BY kek_id ORDER BY kek_id"
_LOCK = """
SELECT tenant_id, server_id, field, wrapped_dek, kek_id, row_version FROM remote_credentials
WHERE kek_id <> $1 AND (tenant_id, server_id, field) > ($2, $3, $4)
ORDER BY tenant_id, server_id, field LIMIT $5 FOR UPDATE SKIP LOCKED
"""
_REWRAP = """
UPDATE remote_credentials AS c
SET wrapped_dek = n.wrapped_dek, kek_id = n.kek_id, row_version = c.row_version + 1
FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::bytea[], $6::text[], $7::text[])
  AS n (tenant_id, server_id, field, row_version, wrapped_dek, kek_id, old_kek_id)
WHERE c.tenant_id = n.tenant_id AND c.server_id = n.server_id AND c.field = n.field
  AND c.row_version = n.row_version
RETURNING n.old_kek_id
"""
_WALK = """
SELECT c.tenant_id, c.server_id, c.field, s.endpoint_origin, c.ciphertext, c.wrapped_dek, c.kek_id
FROM remote_credentials AS c
JOIN remote_servers AS s ON s.tenant_id = c.tenant_id AND s.id = c.server_id
WHERE (c.tenant_id, c.server_id, c.field) > ($1, $2, $3)
ORDER BY c.tenant_id, c.server_id, c.field LIMIT $4
"""


class StoredField(msgspec.Struct, frozen=True):
    """One credential of a server as stored. ``rotated_at`` is when its value was last set."""

    field: str
    sealed: Sealed
    row_version: int
    rotated_at: datetime
    rotated_by: str


class WrappedRow(msgspec.Struct, frozen=True):
    """What rotation needs of a row: which one, its wrapped DEK and the version it was read at."""

    row: RowId
    wrapped_dek: bytes
    kek_id: str
    row_version: int


class Rewrapped(msgspec.Struct, frozen=True):
    """A row as read, and its DEK wrapped anew."""

    read: WrappedRow
    wrapped_dek: bytes
    kek_id: str


async def put_fields(
    connection: Any, tenant_id: str, server_id: str, fields: Mapping[str, Sealed], by: str
) -> None:
    """Insert or overwrite `fields`, leaving the server's other fields alone.

    What was there is gone for good. The caller raises the server's ``credential_version`` in the
    same transaction.

    Args:
        connection: inside a transaction.
        tenant_id: tenant of the server.
        server_id: an existing server; the database refuses any other.
        fields: sealed values by field name.
        by: user id for ``rotated_by``.
    """
    named = sorted(fields.items())
    await connection.execute(
        _PUT,
        tenant_id,
        server_id,
        by,
        [field for field, _ in named],
        [sealed.ciphertext for _, sealed in named],
        [sealed.wrapped_dek for _, sealed in named],
        [sealed.kek_id for _, sealed in named],
    )


async def replace_fields(
    connection: Any, tenant_id: str, server_id: str, fields: Mapping[str, Sealed], by: str
) -> tuple[str, ...]:
    """Make `fields` the server's whole set; return the names of the fields that went."""
    gone = await connection.fetch(_DELETE_OTHERS, tenant_id, server_id, list(fields))
    await put_fields(connection, tenant_id, server_id, fields, by)
    return tuple(sorted(row["field"] for row in gone))


async def delete_fields(
    connection: Any, tenant_id: str, server_id: str, fields: Collection[str]
) -> tuple[str, ...]:
    """Delete `fields` of one server; return the names of those that existed."""
    gone = await connection.fetch(_DELETE, tenant_id, server_id, list(fields))
    return tuple(sorted(row["field"] for row in gone))


async def read_fields(connection: Any, tenant_id: str, server_id: str) -> tuple[StoredField, ...]:
    """Return the fields of one server by name; empty for a server of another tenant."""
    found = await read_many(connection, tenant_id, (server_id,))
    return found.get(server_id, ())


async def read_many(
    connection: Any, tenant_id: str, server_ids: Collection[str]
) -> dict[str, tuple[StoredField, ...]]:
    """Return the fields of several servers of one tenant; servers without any are left out."""
    found: dict[str, tuple[StoredField, ...]] = {}
    for row in await connection.fetch(_READ, tenant_id, list(server_ids)):
        field = StoredField(
            row["field"],
            Sealed(row["ciphertext"], row["wrapped_dek"], row["kek_id"]),
            row["row_version"],
            row["rotated_at"],
            row["rotated_by"],
        )
        found[row["server_id"]] = (*found.get(row["server_id"], ()), field)
    return found


def oldest_days(fields: Sequence[StoredField], now: datetime) -> int | None:
    """Return the age in whole days of the value set longest ago, None without fields.

    From `ROTATION_DUE_DAYS` on, a new value is due.
    """
    if not fields:
        return None
    return max((now - min(field.rotated_at for field in fields)).days, 0)


async def count_by_key(connection: Any) -> dict[str, int]:
    """Return how many rows each key wraps, over all tenants."""
    return {row["kek_id"]: row["count"] for row in await connection.fetch(_COUNT)}


async def lock_wrapped(
    connection: Any, primary: str, after: RowId, limit: int
) -> tuple[WrappedRow, ...]:
    """Lock and return up to `limit` rows behind `after` that `primary` does not wrap.

    Rows that another transaction holds are passed over.
    """
    rows = await connection.fetch(
        _LOCK, primary, after.tenant_id, after.server_id, after.field, limit
    )
    return tuple(
        WrappedRow(
            RowId(row["tenant_id"], row["server_id"], row["field"]),
            row["wrapped_dek"],
            row["kek_id"],
            row["row_version"],
        )
        for row in rows
    )


async def write_wrapped(connection: Any, rows: Sequence[Rewrapped]) -> tuple[str, ...]:
    """Store DEKs wrapped anew, each only if its row is as it was read.

    Returns:
        The old key id of each row that was written.
    """
    written = await connection.fetch(
        _REWRAP,
        [row.read.row.tenant_id for row in rows],
        [row.read.row.server_id for row in rows],
        [row.read.row.field for row in rows],
        [row.read.row_version for row in rows],
        [row.wrapped_dek for row in rows],
        [row.kek_id for row in rows],
        [row.read.kek_id for row in rows],
    )
    return tuple(row["old_kek_id"] for row in written)


async def walk(connection: Any, after: RowId, limit: int) -> tuple[tuple[Place, Sealed], ...]:
    """Return up to `limit` rows of all tenants behind `after`, each with its place."""
    rows = await connection.fetch(_WALK, after.tenant_id, after.server_id, after.field, limit)
    return tuple(
        (
            Place(row["tenant_id"], row["server_id"], row["field"], row["endpoint_origin"]),
            Sealed(row["ciphertext"], row["wrapped_dek"], row["kek_id"]),
        )
        for row in rows
    )
