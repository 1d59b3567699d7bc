"""Run migrations over asyncpg, so that every form of DATABASE_URL works as in the gateway."""

from __future__ import annotations

import asyncio
import time

import asyncpg
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import context
from scaimcp.settings import load, require

# A migration must not queue behind long readers while writers queue behind it.
LIMITS = {"lock_timeout": "4s", "statement_timeout": "5s"}
# Replicas that start together would otherwise create the same tables.
LOCK = 0x5CA1_3C70
LOCK_SECONDS = 60.0
CONNECT_SECONDS = 10.0


def run_offline() -> None:
    """Print the SQL instead of running it."""
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run(connection: Connection) -> None:
    """Run every pending migration, each in a transaction of its own."""
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def lock(connection: Connection) -> None:
    """Wait until no other process migrates this database; held until the connection closes."""
    deadline = time.monotonic() + LOCK_SECONDS
    while not has_lock(connection):
        if time.monotonic() > deadline:
            raise TimeoutError("another migration is running")
        time.sleep(0.1)


def has_lock(connection: Connection) -> bool:
    """Try to take the lock, in a transaction that ends at once.

    Whoever holds the lock may build an index concurrently, which waits for the transactions of
    all others: one left open here would wait for the lock while the holder waits for it.
    """
    taken: bool = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK})").scalar_one()
    connection.commit()
    return taken


async def run_online(url: str) -> None:
    """Connect and run, one process at a time."""

    async def connect() -> asyncpg.Connection:
        try:
            return await asyncpg.connect(url, server_settings=LIMITS, timeout=CONNECT_SECONDS)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError, OverflowError) as error:
            # Without its text, which may quote the address.
            raise ConnectionError(type(error).__name__) from None

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=pool.NullPool
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(lock)
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def database_url() -> str:
    """Return the URL that the command line gave, else the setting's."""
    given = context.config.attributes.get("database_url")
    if given is not None:
        return str(given)
    settings = load()
    require(settings, "database_url")
    if settings.database_url is None:
        raise AssertionError("require() let a missing setting pass")
    return settings.database_url.reveal()


if context.is_offline_mode():
    run_offline()
else:
    asyncio.run(run_online(database_url()))
