"""One gateway per module; tests that change it start their own."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from scaimcp.telemetry.logs import configure_logs
from tests.stack import database_url, embedded_stack, redis_url
from tests.world import World, start_world

__all__ = ["database_url", "embedded_stack", "redis_url"]


@pytest.fixture(scope="session", autouse=True)
def logs() -> None:
    """Log as a server does; the library's own default prints every local variable."""
    configure_logs("error", "json")


@pytest_asyncio.fixture(scope="module")
async def world(database_url: str, redis_url: str) -> AsyncIterator[World]:
    async with start_world(database_url, redis_url) as running:
        yield running
