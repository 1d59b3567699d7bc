"""The fixtures other tests build on."""

from __future__ import annotations

import asyncpg
import pytest
import redis

from tests.stack import (
    DATABASE_VARIABLE,
    REDIS_VARIABLE,
    Services,
    _Shared,
    create_database,
    drop_database,
)


async def test_a_module_gets_an_empty_database_of_its_own(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    assert (await connection.fetchval("SELECT current_database()")).startswith("test_")
    await connection.execute("CREATE TABLE mine ()")
    await connection.close()


def test_a_module_gets_an_empty_redis(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


async def test_a_database_can_be_copied_and_dropped(embedded_stack: Services) -> None:
    template = create_database(embedded_stack, "template_of_test")
    connection = await asyncpg.connect(template)
    await connection.execute("CREATE TABLE inherited ()")
    await connection.close()
    copy = create_database(embedded_stack, "copy_of_test", template="template_of_test")
    connection = await asyncpg.connect(copy)
    assert await connection.fetchval("SELECT count(*) FROM inherited") == 0
    await connection.close()
    drop_database(embedded_stack, "copy_of_test")
    drop_database(embedded_stack, "template_of_test")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(copy)


def test_a_database_name_is_plain(embedded_stack: Services) -> None:
    with pytest.raises(ValueError, match="not a plain database name"):
        create_database(embedded_stack, 'x"; DROP')


def test_servers_named_in_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://db/x")
    monkeypatch.setenv(REDIS_VARIABLE, "redis://cache/0")
    shared = _Shared()
    services = shared.acquire()
    assert shared.acquire() is services
    assert services == Services("postgresql://db/x", "redis://cache/0")
    shared.release()
    shared.release()
