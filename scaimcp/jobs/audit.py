"""Jobs on the audit log."""

from __future__ import annotations

from typing import Any

from scaimcp.audit import store
from scaimcp.jobs.batches import in_batches
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

    async def step(connection: Any, size: int) -> int:
        return await store.prune(connection, days, size)

    return await in_batches(database, step, batch, most_batches)
