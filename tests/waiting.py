"""Waiting for something that has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

DEADLINE = 30.0


async def until(condition: Callable[[], object], seconds: float = DEADLINE) -> None:
    """Return as soon as `condition` holds.

    Raises:
        TimeoutError: It did not within `seconds`.
    """
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - a condition has no event
            await asyncio.sleep(0.001)
