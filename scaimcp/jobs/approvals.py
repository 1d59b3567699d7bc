"""Jobs on questions to users and their answers. Each may run twice, or end half-way.

Spec: remote-servers 9.
"""

from __future__ import annotations

from typing import Any

from scaimcp.audit.store import record_own
from scaimcp.jobs.batches import in_batches
from scaimcp.postgres import Database
from scaimcp.remotes.consent.consent_events import consent_event
from scaimcp.remotes.stores import approval_store

EXPIRED_BATCH = 500
PRUNED_BATCH = 5_000
RETENTION_DAYS = 30
"""How long an ended question can still be looked up; the audit log keeps what was decided."""
_MOST_EXPIRED_BATCHES = 20
_MOST_PRUNED_BATCHES = 200


async def expire_approvals(database: Database, job: str, *, batch: int = EXPIRED_BATCH) -> int:
    """End questions and unused approvals whose time is over; return how many."""

    async def step(connection: Any, size: int) -> int:
        expired = await approval_store.expire_due_approvals(connection, size)
        for one in expired:
            event = consent_event("expire", one.id, one.binding, one.mode)
            await record_own(connection, event, job)
        return len(expired)

    return await in_batches(database, step, batch, _MOST_EXPIRED_BATCHES)


async def prune_approvals(
    database: Database, *, batch: int = PRUNED_BATCH, most_batches: int = _MOST_PRUNED_BATCHES
) -> int:
    """Delete questions that ended over `RETENTION_DAYS` ago; return how many went.

    One that is open, or an approval nobody has used, ends first, with its audit row.
    """

    async def step(connection: Any, size: int) -> int:
        return await approval_store.prune_approvals(connection, RETENTION_DAYS, size)

    return await in_batches(database, step, batch, most_batches)
