"""A migrated database, and one process's parts for remote servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import pytest_asyncio

from scaimcp.migrating import migrate
from scaimcp.types import Secret
from tests.integration.rawserver import serve_raw
from tests.integration.remotes.servers import Registry, Upstream, open_registry, settings_for

Opened = Callable[..., AbstractAsyncContextManager[Registry]]


@pytest_asyncio.fixture(scope="module")
async def migrated_url(database_url: str) -> str:
    await asyncio.to_thread(migrate, Secret(database_url))
    return database_url


@pytest.fixture
def registry_for(migrated_url: str, redis_url: str) -> Opened:
    """Open the parts of a process that may reach these URLs; each has a tenant of its own."""

    def opened(*urls: str, **more: str) -> AbstractAsyncContextManager[Registry]:
        return open_registry(settings_for(migrated_url, redis_url, *urls, **more))

    return opened


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with serve_raw() as raw:
        yield Upstream(raw)


@pytest_asyncio.fixture
async def registry(registry_for: Opened, upstream: Upstream) -> AsyncIterator[Registry]:
    async with registry_for(upstream.url) as opened:
        yield opened
