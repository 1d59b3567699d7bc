"""The PostgreSQL pool and transactions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from scaimcp.errors import GatewayError
from scaimcp.types import Secret

_COMMAND_SECONDS = 5.0
_ACQUIRE_SECONDS = 5.0
_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


class DatabaseUnavailable(GatewayError):
    """The database cannot be used now; says nothing of addresses or statements."""

    http_status = 503
    retryable = True

    def __init__(self, kind: str) -> None:
        super().__init__("SERVICE_UNAVAILABLE", f"The database failed ({kind}).", retry_after=5)


class Database:
    """A pool whose failures are `DatabaseUnavailable`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Yield a connection inside one transaction.

        Raises:
            DatabaseUnavailable: no connection, or the database refused.
        """
        try:
            async with (
                self._pool.acquire(timeout=_ACQUIRE_SECONDS) as connection,
                connection.transaction(),
            ):
                yield connection
        except _ERRORS as error:
            raise DatabaseUnavailable(type(error).__name__) from error

    async def ping(self) -> None:
        """Ask for nothing.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        try:
            await self._pool.execute("SELECT 1", timeout=1.0)
        except _ERRORS as error:
            raise DatabaseUnavailable(type(error).__name__) from error


@asynccontextmanager
async def open_database(url: Secret, most: int) -> AsyncIterator[Database]:
    """Open a pool of at most `most` connections; the first connection is made when needed."""
    pool = await asyncpg.create_pool(
        url.reveal(),
        min_size=0,
        max_size=most,
        command_timeout=_COMMAND_SECONDS,
        timeout=_ACQUIRE_SECONDS,
        server_settings={"application_name": "scaimcp"},
    )
    try:
        yield Database(pool)
    finally:
        pool.terminate()
