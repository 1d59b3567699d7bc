from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
import structlog
from structlog.testing import LogCapture

from tests.integration.scaivault.desk import Desk, open_desk
from tests.integration.scaivault.gateway import forget, forget_guards, rows, set_guards
from tests.world import World, start_world


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def world(database_url: str, redis_url: str) -> AsyncIterator[World]:
    """A gateway with a vault behind it."""
    async with start_world(database_url, redis_url, vault=True) as running:
        yield running


@pytest_asyncio.fixture
async def opened(world: World) -> World:
    """The world with everything open to the tenant."""
    await set_guards(world.as_("tenant_admin"))
    forget(world)
    return world


@pytest_asyncio.fixture
async def fresh(world: World) -> World:
    """The world with nobody's guards."""
    await rows(world, "DELETE FROM scaivault_guard_profiles WHERE true")
    forget_guards(world)
    forget(world)
    return world


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], str]]:
    """Return what shows every line that was logged, by us and by libraries."""
    caplog.set_level(logging.DEBUG)
    before, lines = structlog.get_config(), LogCapture()
    structlog.configure(
        processors=[lines], wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG)
    )
    try:
        yield lambda: repr(lines.entries) + caplog.text
    finally:
        structlog.configure(**before)
