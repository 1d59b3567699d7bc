"""Audit rows in PostgreSQL. A change writes its row in its own transaction.

Spec: remote-servers 2 (columns), register (Audit).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scaimcp.types import RequestContext

_INSERT = """
INSERT INTO audit_events (at, tenant_id, actor_id, actor_type, action, resource_type, resource_id,
                          status, request_id, ip_address, user_agent, data)
VALUES (now(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb)
"""
_INSERT_MANY = """
INSERT INTO audit_events (at, tenant_id, actor_id, actor_type, action, resource_type, resource_id,
                          status, request_id, ip_address, user_agent, data)
SELECT now() - make_interval(secs => n.age), n.tenant_id, n.actor_id, n.actor_type, n.action,
       n.resource_type, n.resource_id, n.status, n.request_id, n.ip_address, n.user_agent,
       n.data::jsonb
FROM unnest($1::float8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
            $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])
  AS n (age, tenant_id, actor_id, actor_type, action, resource_type, resource_id, status,
        request_id, ip_address, user_agent, data)
"""
_PRUNE = """
DELETE FROM audit_events WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM audit_events WHERE at < now() - make_interval(days => $1) LIMIT $2))
"""


class AuditEvent(msgspec.Struct, frozen=True):
    """One thing that somebody did. ``action`` is ``<resource>.<verb>``; ``data`` no secrets."""

    tenant_id: str
    action: str
    resource_type: str
    resource_id: str
    status: str = "SUCCESS"
    data: dict[str, Any] = {}


class AuditRow(msgspec.Struct, frozen=True):
    """A whole row of something that was done ``age`` seconds ago; ``data`` is encoded JSON."""

    age: float
    tenant_id: str
    actor_id: str
    actor_type: str
    action: str
    resource_type: str
    resource_id: str
    status: str
    request_id: str
    ip_address: str | None
    user_agent: str | None
    data: str


async def record(connection: Any, event: AuditEvent, context: RequestContext) -> None:
    """Write `event` as the caller's doing, in the transaction of `connection`."""
    caller = context.caller
    await connection.execute(
        _INSERT,
        event.tenant_id,
        caller.user_id,
        caller.subject_type,
        event.action,
        event.resource_type,
        event.resource_id,
        event.status,
        context.request_id,
        context.client_ip,
        storable(context.user_agent),
        msgspec.json.encode(event.data).decode(),
    )


async def record_own(connection: Any, event: AuditEvent, request_id: str) -> None:
    """Write `event` as the program's own doing: no caller stands behind it.

    Args:
        connection: inside the transaction of the change.
        event: what was done; ``tenant_id`` is "" where it concerns all tenants.
        request_id: id of the job or command that did it.
    """
    await connection.execute(
        _INSERT,
        event.tenant_id,
        "scaimcp",
        "system",
        event.action,
        event.resource_type,
        event.resource_id,
        event.status,
        request_id,
        None,
        None,
        msgspec.json.encode(event.data).decode(),
    )


async def record_many(connection: Any, rows: Sequence[AuditRow]) -> None:
    """Write many rows with one statement; their texts must be `storable`."""
    columns: list[list[Any]] = [
        [getattr(row, name) for row in rows] for name in AuditRow.__struct_fields__
    ]
    await connection.execute(_INSERT_MANY, *columns)


def storable(text: str | None) -> str | None:
    """Return `text` as the database takes it: no NUL, no half of a surrogate pair."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


async def prune(connection: Any, days: int, batch: int) -> int:
    """Delete up to `batch` rows older than `days`; return how many went."""
    status: str = await connection.execute(_PRUNE, days, batch)
    return int(status.rpartition(" ")[2])
