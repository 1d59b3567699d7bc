"""Work on many rows in short transactions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from scaimcp.postgres import Database


async def in_batches(
    database: Database, step: Callable[[Any, int], Awaitable[int]], size: int, most: int
) -> int:
    """Repeat `step`, each time in a transaction of its own, until less than `size` was left.

    Args:
        database: the open pool.
        step: takes a connection and how many rows to treat; returns how many there were.
        size: rows a transaction.
        most: transactions in one run; what is left then waits for the next run.

    Returns:
        How many rows were treated.
    """
    total = 0
    for _ in range(most):
        async with database.transaction() as connection:
            treated = await step(connection, size)
        total += treated
        if treated < size:
            break
    return total
