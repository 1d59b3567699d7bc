"""Processes of the test's own, one set per test: what is killed must not be anybody else's."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.faults.rig import Rig, start_rig


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    place = Path(tempfile.mkdtemp(prefix="scaimcp-faults-"))
    async with start_rig(place) as started:
        yield started
    shutil.rmtree(place, ignore_errors=True)
