"""Run migrations over asyncpg, so that every form of DATABASE_URL works as in the gateway."""

from __future__ import annotations

import asyncio

import asyncpg
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from alembic import context
from scaimcp.settings import load, require

# A migration must not queue behind long readers while writers queue behind it.
LIMITS = {"lock_timeout": "4s", "statement_timeout": "5s"}


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


async def run_online(url: str) -> None:
    """Connect and run."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(url, server_settings=LIMITS)

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=pool.NullPool
    )
    async with engine.connect() as connection:
        await connection.run_sync(run)
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
