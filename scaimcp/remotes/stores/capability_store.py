"""Definitions of remote servers in PostgreSQL. Spec: remote-servers 2, 6, 8."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from scaimcp.remotes.enumerations import CapabilityState, Kind
from scaimcp.remotes.models import (
    Capability,
    CapabilityFilter,
    CapabilityKey,
    CapabilityPosition,
    CapabilityWrite,
    Counts,
    Page,
    WithheldName,
)
from scaimcp.remotes.stores.columns import (
    columns,
    decoded,
    encoded,
    known,
    page_of,
    raw,
    sql,
    storable,
)

_COLUMNS = """
  c.server_id, c.kind, c.name, c.ordinal, c.alias, c.definition, c.definition_hash,
  c.upstream_hash, c.state, c.reason, c.findings, c.first_seen_at, c.changed_at
"""
_FROM = "FROM remote_capabilities c"
# $2 is always the list of kinds, in their order: a kind of a later version is left out.
_RANK = "array_position($2::text[], c.kind)"
_KINDS = [kind.value for kind in Kind]

_UPSERT = """
INSERT INTO remote_capabilities AS c (
  tenant_id, server_id, kind, name, ordinal, alias, definition, definition_hash, upstream_hash,
  state, reason, findings, first_seen_at, changed_at)
SELECT $1, $2, n.kind, n.name, n.ordinal, n.alias, n.definition::json, n.definition_hash,
       n.upstream_hash, n.state, n.reason, n.findings::jsonb, now(), now()
FROM unnest($3::text[], $4::text[], $5::integer[], $6::text[], $7::text[], $8::bytea[],
            $9::bytea[], $10::text[], $11::text[], $12::text[])
  AS n (kind, name, ordinal, alias, definition, definition_hash, upstream_hash, state, reason,
        findings)
ON CONFLICT (tenant_id, server_id, kind, name) DO UPDATE SET
  ordinal = excluded.ordinal, alias = excluded.alias, definition = excluded.definition,
  definition_hash = excluded.definition_hash, upstream_hash = excluded.upstream_hash,
  state = excluded.state, reason = excluded.reason, findings = excluded.findings,
  changed_at = CASE
    WHEN (c.definition_hash, c.upstream_hash, c.state)
      = (excluded.definition_hash, excluded.upstream_hash, excluded.state) THEN c.changed_at
    ELSE excluded.changed_at
  END
WHERE (c.ordinal, c.alias, c.definition::text, c.definition_hash, c.upstream_hash, c.state,
       c.reason, c.findings)
  IS DISTINCT FROM (excluded.ordinal, excluded.alias, excluded.definition::text,
       excluded.definition_hash, excluded.upstream_hash, excluded.state, excluded.reason,
       excluded.findings)
RETURNING c.kind, c.name
"""
_DELETE_UNSEEN = """
DELETE FROM remote_capabilities c
WHERE c.tenant_id = $1 AND c.server_id = $2 AND c.kind = ANY($3::text[]) AND NOT EXISTS (
  SELECT FROM unnest($4::text[], $5::text[]) AS seen (kind, name)
  WHERE seen.kind = c.kind AND seen.name = c.name)
RETURNING c.kind, c.name
"""
_LIST = sql(
    "SELECT", _COLUMNS, _FROM,
    "WHERE c.tenant_id = $1 AND c.kind = ANY($2) AND c.server_id = $3",
    "AND ($4::text IS NULL OR c.kind = $4) AND ($5::text IS NULL OR c.state = $5)",
    "AND ($6::text IS NULL OR",
    "(", _RANK, ', c.ordinal, c.name COLLATE "C")',
    "> (array_position($2, $6), $7::integer, $8::text))",
    "ORDER BY", _RANK, ', c.ordinal, c.name COLLATE "C" LIMIT $9',
)  # fmt: skip
# By name before by alias: an upstream may call a tool what another one's alias is.
_FIND = sql(
    "SELECT", _COLUMNS, _FROM,
    "WHERE c.tenant_id = $1 AND c.server_id = $2 AND c.kind = $3 AND $4 IN (c.name, c.alias)",
    "ORDER BY c.name = $4 DESC LIMIT 1",
)  # fmt: skip
_OF_SERVERS = """
FROM remote_capabilities c
JOIN remote_servers s ON s.tenant_id = c.tenant_id AND s.id = c.server_id
JOIN remote_server_state t ON t.tenant_id = c.tenant_id AND t.server_id = c.server_id
WHERE c.tenant_id = $1 AND c.kind = ANY($2)
"""
# The order of canonical names, whose first word is the same for all.
_BY_CANONICAL_NAME = sql(
    "ORDER BY", _RANK,
    """, (s.scope_key || '.' || s.slug || '.' || c.name) COLLATE "C" """,
)  # fmt: skip
_ADVERTISED = sql(
    "SELECT", _COLUMNS, _OF_SERVERS, "AND t.status = 'active' AND c.state = 'advertised'",
    _BY_CANONICAL_NAME,
)  # fmt: skip
_WITHHELD = sql(
    "SELECT c.server_id, c.kind, c.name, c.alias, c.state", _OF_SERVERS,
    "AND NOT (t.status = 'active' AND c.state = 'advertised')", _BY_CANONICAL_NAME,
)  # fmt: skip
_COUNT = """
SELECT server_id, kind AS what, count(*) AS n FROM remote_capabilities
WHERE tenant_id = $1 AND server_id = ANY($2) AND state = 'advertised' AND kind = ANY($3)
GROUP BY server_id, kind
UNION ALL
SELECT server_id, 'held', count(*) FROM remote_capabilities
WHERE tenant_id = $1 AND server_id = ANY($2) AND state <> 'advertised' AND kind = ANY($3)
GROUP BY server_id
UNION ALL
SELECT server_id, 'pending_changes', count(*) FROM remote_tool_changes
WHERE tenant_id = $1 AND server_id = ANY($2) AND state = 'pending'
GROUP BY server_id
"""


def _capability(record: Any) -> Capability:
    values = dict(record)
    values["kind"] = Kind(values["kind"])
    values["definition"] = raw(values["definition"])
    values["state"] = known(CapabilityState, values["state"], CapabilityState.HELD)
    values["findings"] = decoded(values["findings"])
    return Capability(**values)


def _keys(records: Sequence[Any]) -> list[CapabilityKey]:
    return sorted(CapabilityKey(Kind(record["kind"]), record["name"]) for record in records)


async def store_capabilities(
    connection: Any, tenant_id: str, server_id: str, writes: Sequence[CapabilityWrite]
) -> list[CapabilityKey]:
    """Insert or update definitions, each named once; return those that were really written.

    Rows that hold the same already are left alone. ``changed_at`` moves when a hash or the
    state does, not with the order.
    """
    arrays = columns(
        (
            (
                write.kind.value, write.name, write.ordinal, write.alias,
                write.definition.decode(), write.definition_hash, write.upstream_hash,
                write.state.value, write.reason, encoded(write.findings),
            )
            for write in writes
        ),
        10,
    )  # fmt: skip
    return _keys(await connection.fetch(_UPSERT, tenant_id, server_id, *arrays))


async def delete_unseen(
    connection: Any,
    tenant_id: str,
    server_id: str,
    listed: Collection[Kind],
    seen: Collection[CapabilityKey],
) -> list[CapabilityKey]:
    """Delete definitions of the fully listed kinds that were not seen; return which went."""
    kinds = [kind.value for kind in listed]
    arrays = columns(((key.kind.value, key.name) for key in seen), 2)
    return _keys(await connection.fetch(_DELETE_UNSEEN, tenant_id, server_id, kinds, *arrays))


async def list_capabilities(
    connection: Any,
    tenant_id: str,
    server_id: str,
    narrowed: CapabilityFilter,
    *,
    after: CapabilityPosition | None = None,
    limit: int = 1_000_000,
) -> Page[Capability]:
    """Return a page of a server's definitions by kind and upstream order, from behind `after`.

    Without `limit` all of them; a discovery keeps at most some thousands.
    """
    records = await connection.fetch(
        _LIST,
        tenant_id,
        _KINDS,
        storable(server_id),
        narrowed.kind,
        narrowed.state,
        after.kind if after else None,
        after.ordinal if after else None,
        after.name if after else None,
        limit + 1,
    )
    return page_of(records, limit, _capability)


async def find_capability(
    connection: Any, tenant_id: str, server_id: str, kind: Kind, name: str
) -> Capability | None:
    """Return the server's definition with upstream name or alias `name`, whatever its state."""
    found = storable(name)
    if found != name:
        return None
    record = await connection.fetchrow(_FIND, tenant_id, storable(server_id), kind, found)
    return None if record is None else _capability(record)


async def advertised_capabilities(connection: Any, tenant_id: str) -> list[Capability]:
    """Return what the tenant's active servers have in service, by kind and canonical name."""
    records = await connection.fetch(_ADVERTISED, tenant_id, _KINDS)
    return [_capability(record) for record in records]


async def withheld_names(connection: Any, tenant_id: str) -> list[WithheldName]:
    """Return the names of all else the tenant has: held ones, and those of inactive servers."""
    records = await connection.fetch(_WITHHELD, tenant_id, _KINDS)
    return [
        WithheldName(
            record["server_id"],
            Kind(record["kind"]),
            record["name"],
            record["alias"],
            known(CapabilityState, record["state"], CapabilityState.HELD),
        )
        for record in records
    ]


async def count_capabilities(
    connection: Any, tenant_id: str, server_ids: Sequence[str]
) -> dict[str, Counts]:
    """Return the counts of each of the servers; zeros for those that have nothing."""
    counts: dict[str, dict[str, int]] = {server_id: {} for server_id in server_ids}
    for record in await connection.fetch(_COUNT, tenant_id, list(server_ids), _KINDS):
        counts[record["server_id"]][record["what"]] = record["n"]
    return {server_id: Counts(**found) for server_id, found in counts.items()}
