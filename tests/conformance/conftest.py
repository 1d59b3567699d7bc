"""The gateway that the conformance suite talks to, in the test's own process and loop."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest_asyncio

from tests.fakes.fixtures_source import FixtureSource
from tests.stack import database_url, embedded_stack, redis_url
from tests.world import start_world

__all__ = ["database_url", "embedded_stack", "redis_url"]


@dataclass(frozen=True)
class ConformanceGateway:
    """Where the suite has to go; the token's owner sees every fixture on the first page."""

    url: str
    token: str


@pytest_asyncio.fixture(scope="module")
async def conformance_gateway(
    database_url: str, redis_url: str
) -> AsyncIterator[ConformanceGateway]:
    source = FixtureSource()
    async with start_world(database_url, redis_url, sources=(source,)) as world:
        services = world.app.services
        assert services is not None
        source.changed = services.subscriptions.changed
        yield ConformanceGateway(world.mcp_url, world.tokens["no_roles"])
