from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import database_url, embedded_stack, redis_url

__all__ = ["database_url", "embedded_stack", "redis_url"]


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A short directory every account can enter, unlike pytest's own when root runs the tests."""
    directory = Path(tempfile.mkdtemp(prefix="scaimcp-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)
