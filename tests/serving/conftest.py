"""Real gateway processes in front of one stand-in platform per module."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from scaimcp.dev.platform import Served, serve_platform
from scaimcp.migrating import migrate
from scaimcp.types import Secret
from tests.serving.process import Launcher
from tests.stack import database_url, embedded_stack, redis_url

__all__ = ["database_url", "embedded_stack", "redis_url"]


@pytest_asyncio.fixture(scope="module")
async def platform() -> AsyncIterator[Served]:
    async with serve_platform(None) as served:
        yield served


@pytest_asyncio.fixture(scope="module")
async def migrated(database_url: str) -> str:
    await asyncio.to_thread(migrate, Secret(database_url))
    return database_url


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets."""
    folder = Path(tempfile.mkdtemp(prefix="scaimcp-serving-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture
async def launch(
    platform: Served, migrated: str, redis_url: str, place: Path
) -> AsyncIterator[Launcher]:
    """Starts gateways; what still runs at the end is stopped, and must stop well."""
    launcher = Launcher(platform, migrated, redis_url, place)
    yield launcher
    await launcher.aclose()
