"""The PostgreSQL pool and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from scaimcp.errors import GatewayError
from scaimcp.types import Secret

_COMMAND_SECONDS = 5.0
_ACQUIRE_SECONDS = 5.0
_PING_SECONDS = 1.0
# The internal one is what asyncpg raises when a connection breaks between two statements.
_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# A connection string is parsed when the first connection is made.
_CONNECT_ERRORS = (*_ERRORS, ValueError, OverflowError)


class DatabaseUnavailable(GatewayError):
    """The database cannot be used now; says nothing of addresses or statements."""

    http_status = 503
    retryable = True

    def __init__(self, kind: str) -> None:
        super().__init__("SERVICE_UNAVAILABLE", f"The database failed ({kind}).", retry_after=5)


class Database:
    """A pool whose failures are `DatabaseUnavailable`."""

    def __init__(self, pool: Any, acquire_seconds: float = _ACQUIRE_SECONDS) -> None:
        self._pool = pool
        self._acquire_seconds = acquire_seconds

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Yield a connection inside one transaction.

        Raises:
            DatabaseUnavailable: no connection, or the database refused.
        """
        connection = await self._acquire()
        try:
            try:
                async with connection.transaction():
                    yield connection
            finally:
                await self._pool.release(connection)
        except _ERRORS as error:
            raise DatabaseUnavailable(type(error).__name__) from error

    async def _acquire(self) -> Any:
        try:
            return await self._pool.acquire(timeout=self._acquire_seconds)
        except _CONNECT_ERRORS as error:
            # Without its cause: that text may quote the connection string.
            raise DatabaseUnavailable(type(error).__name__) from None

    async def ping(self) -> None:
        """Ask for nothing.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        try:
            async with asyncio.timeout(_PING_SECONDS):
                await self._pool.execute("SELECT 1")
        except _CONNECT_ERRORS as error:
            raise DatabaseUnavailable(type(error).__name__) from None


@asynccontextmanager
async def open_database(
    url: Secret, most: int, *, acquire_seconds: float = _ACQUIRE_SECONDS
) -> AsyncIterator[Database]:
    """Open a pool of at most `most` connections; the first connection is made when needed.

    Args:
        url: connection string of asyncpg's form.
        most: connections at a time.
        acquire_seconds: longest wait for a free connection.
    """
    pool = await asyncpg.create_pool(
        url.reveal(),
        min_size=0,
        max_size=most,
        command_timeout=_COMMAND_SECONDS,
        timeout=_ACQUIRE_SECONDS,
        server_settings={"application_name": "scaimcp"},
    )
    try:
        yield Database(pool, acquire_seconds)
    finally:
        pool.terminate()
