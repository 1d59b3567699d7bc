"""Jobs on the audit log."""

from __future__ import annotations

from scaimcp.audit import store
from scaimcp.postgres import Database

BATCH = 5_000
_MOST_BATCHES = 200


async def prune_audit(database: Database, days: int) -> int:
    """Delete audit rows older than `days` in batches; return how many went.

    Idempotent: it may run twice or stop half-way.
    """
    total = 0
    for _ in range(_MOST_BATCHES):
        async with database.transaction() as connection:
            deleted = await store.prune(connection, days, BATCH)
        total += deleted
        if deleted < BATCH:
            break
    return total
