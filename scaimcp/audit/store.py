"""Audit rows in PostgreSQL. A change writes its row in its own transaction.

Spec: remote-servers 2 (columns), register (Audit).
"""

from __future__ import annotations

from typing import Any

import msgspec

from scaimcp.types import RequestContext

_INSERT = """
INSERT INTO audit_events (at, tenant_id, actor_id, actor_type, action, resource_type, resource_id,
                          status, request_id, ip_address, data)
VALUES (now(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::jsonb)
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
        msgspec.json.encode(event.data).decode(),
    )


async def prune(connection: Any, days: int, batch: int) -> int:
    """Delete up to `batch` rows older than `days`; return how many went."""
    status: str = await connection.execute(_PRUNE, days, batch)
    return int(status.rpartition(" ")[2])
