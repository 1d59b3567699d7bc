"""Databases for tests: one embedded PostgreSQL and Valkey per session, a database per module.

Import the fixtures in a ``conftest.py``. ``SCAIMCP_TEST_DATABASE_URL`` and
``SCAIMCP_TEST_REDIS_URL`` replace the embedded servers; whoever sets them allows this helper to
create and drop databases and to flush the Redis database.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis

from scaimcp.dev.stack import start_stack

DATABASE_VARIABLE = "SCAIMCP_TEST_DATABASE_URL"
REDIS_VARIABLE = "SCAIMCP_TEST_REDIS_URL"
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Services:
    """Where the test servers are; `database_url` is the maintenance database."""

    database_url: str
    redis_url: str


class _Shared:
    """The one running set, however many conftest files import the fixture."""

    def __init__(self) -> None:
        self._users = 0
        self._running = ExitStack()
        self._services: Services | None = None

    def acquire(self) -> Services:
        if self._services is None:
            self._services = self._start()
        self._users += 1
        return self._services

    def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._running.close()
            self._services = None

    def _start(self) -> Services:
        database_url = os.environ.get(DATABASE_VARIABLE, "")
        redis_url = os.environ.get(REDIS_VARIABLE, "")
        if not database_url or not redis_url:
            stack = self._running.enter_context(start_stack())
            database_url = database_url or stack.database_url
            redis_url = redis_url or stack.redis_url
        return Services(database_url, redis_url)


_shared = _Shared()


@pytest.fixture(scope="session")
def embedded_stack() -> Iterator[Services]:
    services = _shared.acquire()
    yield services
    _shared.release()


@pytest.fixture(scope="module")
def database_url(embedded_stack: Services) -> Iterator[str]:
    """A new, empty database for the module's tests."""
    name = f"test_{secrets.token_hex(6)}"
    url = create_database(embedded_stack, name)
    yield url
    drop_database(embedded_stack, name)


@pytest.fixture(scope="module")
def redis_url(embedded_stack: Services) -> str:
    """The Redis server, emptied for the module's tests."""
    with redis.Redis.from_url(embedded_stack.redis_url) as client:
        client.flushdb()
    return embedded_stack.redis_url


def create_database(services: Services, name: str, template: str = "template1") -> str:
    """Create a database, a copy of `template` (which must have no connections); return its DSN."""
    _execute(services, f'CREATE DATABASE "{_identifier(name)}" TEMPLATE "{_identifier(template)}"')
    parts = urlsplit(services.database_url)
    return urlunsplit(parts._replace(path=f"/{name}"))


def drop_database(services: Services, name: str) -> None:
    """Drop a database, ending the connections it still has."""
    _execute(services, f'DROP DATABASE IF EXISTS "{_identifier(name)}" WITH (FORCE)')


def _identifier(name: str) -> str:
    if IDENTIFIER.fullmatch(name) is None:
        raise ValueError(f"not a plain database name: {name!r}")
    return name


def _execute(services: Services, statement: str) -> None:
    async def work() -> None:
        connection = await asyncpg.connect(services.database_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    _run_aside(work())


def _run_aside(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine in a thread of its own, leaving the test's event loop alone."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()
