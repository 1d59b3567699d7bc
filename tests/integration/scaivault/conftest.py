from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.scaivault.desk import Desk, open_desk


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as running:
        yield running
