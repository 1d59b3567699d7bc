"""One gateway per module; tests that change it start their own."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.stack import database_url, embedded_stack, redis_url
from tests.world import World, start_world

__all__ = ["database_url", "embedded_stack", "redis_url"]


@pytest_asyncio.fixture(scope="module")
async def world(database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with start_world(database_url, redis_url) as running:
        yield running
