"""Registered servers in PostgreSQL.

Every function runs in the transaction of the connection it is given. Whoever writes in several
tables keeps this order, so that no two transactions wait for each other: the server's row, its
state, its other rows, the catalogue version. Spec: remote-servers 1, 2.
"""

from __future__ import annotations

from typing import Any

from scaimcp.remotes.enumerations import (
    AuthType,
    ConsentTier,
    ToolChanges,
    Transport,
)
from scaimcp.remotes.models import (
    NewServer,
    Page,
    Position,
    Quota,
    QuotaReached,
    RegisteredServer,
    ServerFilter,
    ServerRow,
    SlugTaken,
    Visibility,
)
from scaimcp.remotes.stores.columns import affected, below, known, page_of, sql, storable
from scaimcp.remotes.stores.state_store import read_state, state_of

_SERVER_COLUMNS = """
  s.id, s.tenant_id, s.owner_user_id, s.scope_key, s.is_tenant_shared, s.name, s.slug,
  s.description, s.endpoint_url, s.endpoint_origin, s.transport, s.auth_type, s.consent_tier,
  s.tool_changes, s.forward_user_id, s.timeout_seconds, s.version, s.config_version,
  s.credential_version, s.created_by, s.approved_by, s.approved_at, s.disabled_by, s.created_at,
  s.updated_at
"""
_STATE_COLUMNS = """,
  t.server_id, t.status, t.status_reason, t.last_health_status, t.last_error_message,
  t.consecutive_failures, t.has_catalog, t.last_checked_at, t.last_ok_at, t.last_call_ok_at,
  t.last_call_failure_at, t.failing_since, t.next_check_at, t.last_discovery_at,
  t.next_discovery_at, t.protocol_era, t.protocol_version, t.era_checked_at, t.server_info,
  t.upstream_capabilities, t.list_notes, t.state_seq, t.lease_owner, t.lease_until, t.lease_seq,
  clock_timestamp() AS read_at
"""
_WITH_STATE = """
FROM remote_servers s
JOIN remote_server_state t ON t.tenant_id = s.tenant_id AND t.server_id = s.id
"""
# $1 tenant, $2 user, $3 own, $4 shared, $5 others.
_VISIBLE = """
WHERE s.tenant_id = $1 AND CASE
  WHEN s.is_tenant_shared THEN $4::boolean
  WHEN s.owner_user_id = $2 THEN $3::boolean
  ELSE $5::boolean
END
"""
_LOCK_TENANT = "SELECT pg_advisory_xact_lock(hashtextextended('remote_servers:' || $1::text, 0))"
_COUNT = """
SELECT count(*) AS of_tenant,
       count(*) FILTER (WHERE owner_user_id = $2 AND NOT is_tenant_shared) AS of_user
FROM remote_servers WHERE tenant_id = $1
"""
_HOLDER = "SELECT id FROM remote_servers WHERE tenant_id = $1 AND scope_key = $2 AND slug = $3"
# The clock and not the transaction's time: rows of a tenant then are as old as their order says,
# however long one waited for the lock.
_INSERT = sql(
    """
    INSERT INTO remote_servers AS s (
      id, tenant_id, owner_user_id, scope_key, is_tenant_shared, name, slug, description,
      endpoint_url, endpoint_origin, transport, auth_type, consent_tier, tool_changes,
      forward_user_id, timeout_seconds, created_by, approved_by, approved_at, created_at,
      updated_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18::text,
           CASE WHEN $18::text IS NOT NULL THEN moment END, moment, moment
    FROM clock_timestamp() AS moment
    RETURNING
    """,
    _SERVER_COLUMNS,
)
# A row that a crash leaves behind is found by the next health tick.
_INSERT_STATE = """
INSERT INTO remote_server_state (tenant_id, server_id, status, status_reason, next_check_at)
VALUES ($1, $2, $3, $4, CASE WHEN $3 = 'error' THEN now() END)
"""
_GET = sql("SELECT", _SERVER_COLUMNS, _STATE_COLUMNS, _WITH_STATE, _VISIBLE, "AND s.id = $6")
# Weaker than FOR UPDATE: rows that refer to the server can be written meanwhile.
_LOCK = sql(
    "SELECT", _SERVER_COLUMNS, "FROM remote_servers s", _VISIBLE, "AND s.id = $6",
    "FOR NO KEY UPDATE OF s",
)  # fmt: skip
_LIST = sql(
    "SELECT", _SERVER_COLUMNS, _STATE_COLUMNS, _WITH_STATE, _VISIBLE,
    """
    AND ($6::text IS NULL OR t.status = $6)
    AND (starts_with(lower(s.name), lower($7)) OR starts_with(s.slug, lower($7)))
    AND ($8::timestamptz IS NULL OR (s.created_at, s.id) < ($8, $9))
    ORDER BY s.created_at DESC, s.id DESC LIMIT $10
    """,
)  # fmt: skip
_OF_TENANT = sql(
    "SELECT", _SERVER_COLUMNS, _STATE_COLUMNS, _WITH_STATE,
    'WHERE s.tenant_id = $1 ORDER BY s.scope_key COLLATE "C", s.slug COLLATE "C"',
)  # fmt: skip
_UPDATE = sql(
    """
    UPDATE remote_servers AS s SET
      name = $4, description = $5, endpoint_url = $6, endpoint_origin = $7, transport = $8,
      auth_type = $9, consent_tier = $10, tool_changes = $11, forward_user_id = $12,
      timeout_seconds = $13, config_version = $14, credential_version = $15, disabled_by = $17,
      approved_at = CASE
        WHEN $16::text IS NULL THEN NULL
        WHEN approved_by IS NOT DISTINCT FROM $16 THEN approved_at
        ELSE now()
      END,
      approved_by = $16, version = s.version + 1, updated_at = now()
    WHERE s.tenant_id = $1 AND s.id = $2 AND s.version = $3
    RETURNING
    """,
    _SERVER_COLUMNS,
)
_DELETE = """
DELETE FROM remote_servers
WHERE tenant_id = $1 AND id = $2 AND ($3::integer IS NULL OR version = $3)
"""


def _row(record: Any) -> ServerRow:
    values = {name: record[name] for name in ServerRow.__struct_fields__}
    values["transport"] = known(Transport, values["transport"], None)
    values["auth_type"] = known(AuthType, values["auth_type"], None)
    values["consent_tier"] = known(ConsentTier, values["consent_tier"], ConsentTier.LOCKED)
    values["tool_changes"] = known(ToolChanges, values["tool_changes"], ToolChanges.REVIEW)
    return ServerRow(**values)


def _registered(record: Any) -> RegisteredServer:
    return RegisteredServer(_row(record), state_of(record))


def _seen_by(visibility: Visibility) -> tuple[Any, ...]:
    return (
        visibility.tenant_id,
        visibility.user_id,
        visibility.own,
        visibility.shared,
        visibility.others,
    )


async def insert_server(
    connection: Any, new: NewServer, quota: Quota
) -> ServerRow | SlugTaken | QuotaReached:
    """Store a server and its state, unless the quota or its slug forbids.

    Registrations of one tenant take turns until their transactions end, so that parallel ones
    cannot pass the quota. Both refusals leave nothing behind.
    """
    await connection.execute(_LOCK_TENANT, new.tenant_id)
    count = await connection.fetchrow(_COUNT, new.tenant_id, new.owner_user_id)
    if count["of_tenant"] >= quota.per_tenant:
        return QuotaReached("tenant", quota.per_tenant)
    if not new.is_tenant_shared and count["of_user"] >= quota.per_user:
        return QuotaReached("user", quota.per_user)
    holder = await connection.fetchval(_HOLDER, new.tenant_id, new.scope_key, new.slug)
    if holder is not None:
        return SlugTaken(holder)
    record = await connection.fetchrow(
        _INSERT,
        new.id, new.tenant_id, new.owner_user_id, new.scope_key, new.is_tenant_shared, new.name,
        new.slug, new.description, new.endpoint_url, new.endpoint_origin, new.transport,
        new.auth_type, new.consent_tier, new.tool_changes, new.forward_user_id,
        new.timeout_seconds, new.created_by, new.approved_by,
    )  # fmt: skip
    await connection.execute(_INSERT_STATE, new.tenant_id, new.id, new.status, new.status_reason)
    return _row(record)


async def get_server(
    connection: Any, visibility: Visibility, server_id: str
) -> RegisteredServer | None:
    """Return a server that can be seen, None for every other id, whatever its reason."""
    record = await connection.fetchrow(_GET, *_seen_by(visibility), storable(server_id))
    return None if record is None else _registered(record)


async def lock_server(
    connection: Any, visibility: Visibility, server_id: str
) -> RegisteredServer | None:
    """Return a server as `get_server` does; nobody else changes it until the transaction ends."""
    record = await connection.fetchrow(_LOCK, *_seen_by(visibility), storable(server_id))
    if record is None:
        return None
    state = await read_state(connection, visibility.tenant_id, record["id"], lock=True)
    return None if state is None else RegisteredServer(_row(record), state)


async def list_servers(
    connection: Any,
    visibility: Visibility,
    narrowed: ServerFilter,
    after: Position | None,
    limit: int,
) -> Page[RegisteredServer]:
    """Return a page of the servers that can be seen, newest first, from below `after`."""
    q = storable(narrowed.q)
    if q != narrowed.q:
        return Page((), has_more=False)
    records = await connection.fetch(
        _LIST,
        *_seen_by(visibility),
        narrowed.status,
        q,
        *below(after),
        limit + 1,
    )
    return page_of(records, limit, _registered)


async def tenant_servers(connection: Any, tenant_id: str) -> list[RegisteredServer]:
    """Return every server of the tenant in order of scope and slug, for a snapshot."""
    return [_registered(record) for record in await connection.fetch(_OF_TENANT, tenant_id)]


async def update_server(connection: Any, row: ServerRow) -> ServerRow | None:
    """Write what a manager changed in `row`, which was read before; return the row as it now is.

    Id, tenant, owner, scope, slug and creation never change. ``version`` rises by one;
    ``config_version`` and ``credential_version`` are written as given; a new ``approved_by``
    takes the time from the database. None: the row is gone or has another version by now.
    """
    record = await connection.fetchrow(
        _UPDATE,
        row.tenant_id, row.id, row.version, row.name, row.description, row.endpoint_url,
        row.endpoint_origin, row.transport, row.auth_type, row.consent_tier, row.tool_changes,
        row.forward_user_id, row.timeout_seconds, row.config_version, row.credential_version,
        row.approved_by, row.disabled_by,
    )  # fmt: skip
    return None if record is None else _row(record)


async def delete_server(
    connection: Any, tenant_id: str, server_id: str, version: int | None = None
) -> bool:
    """Delete a server with all that belongs to it; return whether it was there.

    With `version`, only if the row still has it.
    """
    return affected(await connection.execute(_DELETE, tenant_id, server_id, version)) == 1
