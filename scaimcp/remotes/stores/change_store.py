"""Accepted definitions and changes to decide on, in PostgreSQL. Spec: remote-servers 1, 6."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from scaimcp.remotes.enumerations import ChangeState, Kind
from scaimcp.remotes.models import (
    CapabilityKey,
    Change,
    ChangeDecision,
    NewChange,
    Page,
    Pin,
    PinWrite,
    Position,
)
from scaimcp.remotes.stores.columns import (
    affected,
    below,
    columns,
    decoded,
    encoded,
    known,
    page_of,
    raw,
    sql,
    storable,
)

_PINS = """
SELECT server_id, kind, name, definition, definition_hash, accepted_by, accepted_at
FROM remote_tool_pins
WHERE tenant_id = $1 AND server_id = $2 AND kind = ANY($3)
ORDER BY array_position($3::text[], kind), name COLLATE "C"
"""
_TAKE_OVER = """
ON CONFLICT (tenant_id, server_id, kind, name) DO UPDATE SET
  definition = excluded.definition, definition_hash = excluded.definition_hash,
  accepted_by = excluded.accepted_by, accepted_at = excluded.accepted_at
WHERE p.definition_hash <> excluded.definition_hash
"""
_WRITE_PINS = sql(
    """
    INSERT INTO remote_tool_pins AS p (
      tenant_id, server_id, kind, name, definition, definition_hash, accepted_by, accepted_at)
    SELECT $1, $2, n.kind, n.name, n.definition::json, n.definition_hash, $3, now()
    FROM unnest($4::text[], $5::text[], $6::text[], $7::bytea[])
      AS n (kind, name, definition, definition_hash)
    """,
    _TAKE_OVER,
)
# Only tools and prompts can be held, so only they are pinned.
_PIN_SERVED = sql(
    """
    INSERT INTO remote_tool_pins AS p (
      tenant_id, server_id, kind, name, definition, definition_hash, accepted_by, accepted_at)
    SELECT c.tenant_id, c.server_id, c.kind, c.name, c.definition, c.definition_hash, $3, now()
    FROM remote_capabilities c
    WHERE c.tenant_id = $1 AND c.server_id = $2 AND c.state = 'advertised'
      AND c.kind IN ('tool', 'prompt')
    """,
    _TAKE_OVER,
)
_DELETE_PINS = "DELETE FROM remote_tool_pins WHERE tenant_id = $1 AND server_id = $2"
_CHANGE_COLUMNS = """
  id, server_id, kind, name, change, class AS change_class, old_hash, new_hash, new_definition,
  diff, findings, state, detected_at, decided_by, decided_at
"""
_SUPERSEDE = """
UPDATE remote_tool_changes c SET state = 'superseded'
FROM unnest($3::text[], $4::text[], $5::bytea[]) AS n (kind, name, new_hash)
WHERE c.tenant_id = $1 AND c.server_id = $2 AND c.state = 'pending'
  AND c.kind = n.kind AND c.name = n.name AND c.new_hash IS DISTINCT FROM n.new_hash
"""
# A hash that was superseded or accepted once can come up again; a rejected one stays rejected.
_RECORD = """
INSERT INTO remote_tool_changes AS c (
  id, tenant_id, server_id, kind, name, change, class, old_hash, new_hash, new_definition, diff,
  findings, state, detected_at)
SELECT n.id, $1, $2, n.kind, n.name, n.change, n.class, n.old_hash, n.new_hash,
       n.new_definition::json, n.diff::jsonb, n.findings::jsonb, 'pending', now()
FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
            $9::bytea[], $10::text[], $11::text[], $12::text[])
  AS n (id, kind, name, change, class, old_hash, new_hash, new_definition, diff, findings)
ON CONFLICT (tenant_id, server_id, kind, name, new_hash) DO UPDATE SET
  change = excluded.change, class = excluded.class, old_hash = excluded.old_hash,
  new_definition = excluded.new_definition, diff = excluded.diff, findings = excluded.findings,
  state = 'pending', detected_at = excluded.detected_at, decided_by = NULL, decided_at = NULL
WHERE c.state IN ('superseded', 'accepted')
RETURNING c.id
"""
_LIST = sql(
    "SELECT", _CHANGE_COLUMNS,
    """
    FROM remote_tool_changes
    WHERE tenant_id = $1 AND server_id = $2 AND kind = ANY($3)
      AND ($4::text IS NULL OR state = $4)
      AND ($5::timestamptz IS NULL OR (detected_at, id) < ($5, $6))
    ORDER BY detected_at DESC, id DESC LIMIT $7
    """,
)  # fmt: skip
_GET = sql(
    "SELECT", _CHANGE_COLUMNS,
    """
    FROM remote_tool_changes
    WHERE tenant_id = $1 AND server_id = $2 AND kind = ANY($3) AND id = $4
    """,
)  # fmt: skip
_DECIDE = sql(
    """
    UPDATE remote_tool_changes SET state = $6, decided_by = $7, decided_at = now()
    WHERE tenant_id = $1 AND server_id = $2 AND kind = ANY($3) AND id = $4 AND new_hash = $5
      AND state = 'pending'
    RETURNING
    """,
    _CHANGE_COLUMNS,
)
_REJECTED = """
SELECT kind, name, new_hash FROM remote_tool_changes
WHERE tenant_id = $1 AND server_id = $2 AND kind = ANY($3) AND state = 'rejected'
"""
_KINDS = [kind.value for kind in Kind]


def _change(record: Any) -> Change:
    values = dict(record)
    values["kind"] = Kind(values["kind"])
    values["new_definition"] = raw(values["new_definition"])
    values["diff"] = decoded(values["diff"])
    values["findings"] = decoded(values["findings"])
    values["state"] = known(ChangeState, values["state"], ChangeState.SUPERSEDED)
    return Change(**values)


async def list_pins(connection: Any, tenant_id: str, server_id: str) -> list[Pin]:
    """Return every accepted definition of a server by kind and name."""
    return [
        Pin(
            record["server_id"],
            Kind(record["kind"]),
            record["name"],
            raw(record["definition"]),
            record["definition_hash"],
            record["accepted_by"],
            record["accepted_at"],
        )
        for record in await connection.fetch(_PINS, tenant_id, storable(server_id), _KINDS)
    ]


async def write_pins(
    connection: Any, tenant_id: str, server_id: str, user_id: str, pins: Sequence[PinWrite]
) -> int:
    """Accept definitions in the name of `user_id`; return how many were not accepted already."""
    arrays = columns(
        ((pin.kind.value, pin.name, pin.definition.decode(), pin.definition_hash) for pin in pins),
        4,
    )
    status = await connection.execute(_WRITE_PINS, tenant_id, server_id, user_id, *arrays)
    return affected(status)


async def pin_served(connection: Any, tenant_id: str, server_id: str, user_id: str) -> int:
    """Accept the tools and prompts that are in service now; return how many pins changed."""
    return affected(await connection.execute(_PIN_SERVED, tenant_id, server_id, user_id))


async def delete_pins(connection: Any, tenant_id: str, server_id: str) -> int:
    """Forget what was accepted, as when the server becomes another one; return how much."""
    return affected(await connection.execute(_DELETE_PINS, tenant_id, server_id))


async def record_changes(
    connection: Any, tenant_id: str, server_id: str, changes: Sequence[NewChange]
) -> list[str]:
    """Store changes to decide on, at most one for a definition; return ids newly pending.

    A pending change of the same definition to another hash is superseded. A change that is
    pending or rejected already stays as it is; one superseded or accepted before comes up again
    under its old id.
    """
    news = [(change.kind.value, change.name, change.new_hash) for change in changes]
    await connection.execute(_SUPERSEDE, tenant_id, server_id, *columns(news, 3))
    arrays = columns(
        (
            (
                change.id, change.kind.value, change.name, change.change, change.change_class,
                change.old_hash, change.new_hash, change.new_definition.decode(),
                encoded(change.diff), encoded(change.findings),
            )
            for change in changes
        ),
        10,
    )  # fmt: skip
    records = await connection.fetch(_RECORD, tenant_id, server_id, *arrays)
    return [record["id"] for record in records]


async def supersede_changes(
    connection: Any, tenant_id: str, server_id: str, keys: Collection[CapabilityKey]
) -> int:
    """Take back what is pending for definitions that went, or are as accepted again."""
    arrays = columns(((key.kind.value, key.name, None) for key in keys), 3)
    return affected(await connection.execute(_SUPERSEDE, tenant_id, server_id, *arrays))


async def list_changes(
    connection: Any,
    tenant_id: str,
    server_id: str,
    state: ChangeState | None,
    *,
    after: Position | None = None,
    limit: int = 200,
) -> Page[Change]:
    """Return a page of a server's changes, newest first, from below `after`."""
    records = await connection.fetch(
        _LIST,
        tenant_id,
        storable(server_id),
        _KINDS,
        state,
        *below(after),
        limit + 1,
    )
    return page_of(records, limit, _change)


async def get_change(
    connection: Any, tenant_id: str, server_id: str, change_id: str
) -> Change | None:
    """Return one change of a server, None for every other id."""
    record = await connection.fetchrow(
        _GET, tenant_id, storable(server_id), _KINDS, storable(change_id)
    )
    return None if record is None else _change(record)


async def decide_change(
    connection: Any, tenant_id: str, server_id: str, decision: ChangeDecision
) -> Change | None:
    """Accept or reject a pending change and return it.

    None: there is none, its hash is another than was shown, or it is decided or superseded.
    """
    record = await connection.fetchrow(
        _DECIDE,
        tenant_id,
        storable(server_id),
        _KINDS,
        storable(decision.change_id),
        decision.new_hash,
        ChangeState.ACCEPTED if decision.is_accepted else ChangeState.REJECTED,
        decision.user_id,
    )
    return None if record is None else _change(record)


async def rejected_hashes(
    connection: Any, tenant_id: str, server_id: str
) -> frozenset[tuple[CapabilityKey, bytes]]:
    """Return which definitions of a server were rejected, each with the hash."""
    records = await connection.fetch(_REJECTED, tenant_id, server_id, _KINDS)
    return frozenset(
        (CapabilityKey(Kind(record["kind"]), record["name"]), record["new_hash"])
        for record in records
    )
