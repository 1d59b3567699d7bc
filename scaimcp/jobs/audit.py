"""Jobs on the audit log."""

from __future__ import annotations

from scaimcp.audit import store
from scaimcp.postgres import Database

BATCH = 5_000
_MOST_BATCHES = 200


async def prune_audit(
    database: Database, days: int, *, batch: int = BATCH, most_batches: int = _MOST_BATCHES
) -> int:
    """Delete audit rows older than `days` in batches; return how many went.

    Idempotent: it may run twice or stop half-way. What is left after `most_batches` transactions
    of `batch` rows goes in the next run.
    """
    total = 0
    for _ in range(most_batches):
        async with database.transaction() as connection:
            deleted = await store.prune(connection, days, batch)
        total += deleted
        if deleted < batch:
            break
    return total
