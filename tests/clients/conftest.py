"""The gateway that foreign clients talk to, in the test's own process and loop."""

from collections.abc import AsyncIterator

import pytest_asyncio

from scaimcp.dev.platform import SEED_LOGINS, api_key
from tests.stack import database_url, embedded_stack, redis_url
from tests.world import World, start_world

__all__ = ["database_url", "embedded_stack", "redis_url"]


@pytest_asyncio.fixture(scope="module")
async def gateway(database_url: str, redis_url: str) -> AsyncIterator[World]:
    """A gateway that knows acme's modules whoever asks: viewers may not list them themselves."""
    service_token = api_key(SEED_LOGINS["tenant_admin"])
    async with start_world(database_url, redis_url, PLATFORM_SERVICE_TOKEN=service_token) as world:
        yield world
