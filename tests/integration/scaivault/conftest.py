from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import pytest_asyncio
import structlog
from structlog.testing import LogCapture

from tests.integration.scaivault.desk import Desk, open_desk


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as running:
        yield running


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
