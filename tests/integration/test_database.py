"""The pool, the migrations, the stores and the pruning job on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import secrets
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from scaimcp.audit import store as audit
from scaimcp.jobs.audit import BATCH, prune_audit
from scaimcp.migrating import current_revision, head_revision, migrate, scripts
from scaimcp.postgres import Database, DatabaseUnavailable, open_database
from scaimcp.settings import load
from scaimcp.telemetry import metrics
from scaimcp.types import Caller, Grants, RequestContext, Secret
from scaimcp.versions.store import raise_version
from scaimcp.worker import audit_prune
from tests.stack import Services, create_database, drop_database

DEAD = Secret("postgresql://scaimcp:hunter2@127.0.0.1:1/scaimcp")
UNREADABLE = "postgresql://u:p/hunter2@h:x/d"
MIGRATION_LOCK = 0x5CA1_3C70
CALLER = Caller(b"k" * 32, "usr_1", "tnt_1", "acme", "", Grants(None, None), subject_type="client")
CONTEXT = RequestContext("req_1", CALLER, Secret("t"), client_ip="203.0.113.9")


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    await asyncio.to_thread(migrate, Secret(database_url))
    async with open_database(Secret(database_url), 3) as opened:
        yield opened


@pytest.fixture
def empty_url(embedded_stack: Services) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield create_database(embedded_stack, name)
    drop_database(embedded_stack, name)


async def rows(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def tables(url: str) -> set[str]:
    found = await rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    return {name for (name,) in found}


# --- the pool ---------------------------------------------------------------------------------


async def test_a_transaction_commits(database: Database) -> None:
    async with database.transaction() as connection:
        version = await raise_version(connection, "tnt_commit")
    async with database.transaction() as connection:
        assert await raise_version(connection, "tnt_commit") == version + 1 == 2


async def test_a_failure_rolls_everything_back(database: Database) -> None:
    async def attempt() -> None:
        async with database.transaction() as connection:
            await raise_version(connection, "tnt_rollback")
            raise KeyError

    with pytest.raises(KeyError):
        await attempt()
    async with database.transaction() as connection:
        assert await raise_version(connection, "tnt_rollback") == 1


async def test_a_refusal_of_the_database_has_a_code_and_no_statement(database: Database) -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        async with database.transaction() as connection:
            await connection.execute("SELECT secret_column FROM nowhere")
    error = caught.value
    assert (error.http_status, error.code, error.retry_after) == (503, "SERVICE_UNAVAILABLE", 5)
    assert error.message == "The database failed (UndefinedTableError)."
    assert error.retryable


async def test_an_unreachable_database_says_nothing_of_its_address() -> None:
    async with open_database(DEAD, 1) as dead:
        for attempt in (dead.ping, lambda: _begin(dead)):
            with pytest.raises(DatabaseUnavailable) as caught:
                await attempt()
            shown = f"{caught.value} {caught.value.__cause__}"
            assert "hunter2" not in shown
            assert "127.0.0.1" not in shown


async def _begin(database: Database) -> None:
    async with database.transaction():
        raise AssertionError("there is no database")


@pytest.mark.parametrize(
    "url", [UNREADABLE, "postgresql://u@127.0.0.1:99999/d", "postgresql://u@127.0.0.1/d?sslmode=odd"]
)  # fmt: skip
async def test_an_unreadable_address_is_unavailable_and_not_quoted(url: str) -> None:
    async with open_database(Secret(url), 1) as broken:
        with pytest.raises(DatabaseUnavailable) as caught:
            await _begin(broken)
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


async def test_a_ping_answers(database: Database) -> None:
    await database.ping()


async def test_a_full_pool_is_unavailable_and_recovers(database_url: str) -> None:
    async with open_database(Secret(database_url), 1, acquire_seconds=0.1) as small:
        async with small.transaction():
            with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
                await _begin(small)
        async with small.transaction() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_broken_connection_is_replaced(database_url: str) -> None:
    async with open_database(Secret(database_url), 1) as pool:
        with pytest.raises(DatabaseUnavailable):
            await _broken(pool, database_url, "SELECT 1")
        async with pool.transaction() as connection:
            assert await connection.fetchval("SELECT 1") == 1


async def test_a_connection_that_breaks_at_the_commit_is_unavailable(database_url: str) -> None:
    async with open_database(Secret(database_url), 1) as pool:
        with pytest.raises(DatabaseUnavailable):
            await _broken(pool, database_url, None)
        await pool.ping()


async def _broken(pool: Database, url: str, statement: str | None) -> None:
    async with pool.transaction() as connection:
        own = await connection.fetchval("SELECT pg_backend_pid()")
        await rows(url, f"SELECT pg_terminate_backend({own})")
        if statement is not None:
            await connection.fetchval(statement)


async def test_a_cancelled_transaction_gives_its_connection_back(database_url: str) -> None:
    async with open_database(Secret(database_url), 1, acquire_seconds=1.0) as pool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1), pool.transaction() as connection:
                await connection.execute("SELECT pg_sleep(5)")
        async with pool.transaction() as connection:
            assert await connection.fetchval("SELECT 1") == 1


# --- migrations -------------------------------------------------------------------------------

FIRST = {"alembic_version", "catalog_versions", "audit_events"}


async def test_up_down_and_up_again(empty_url: str) -> None:
    url = Secret(empty_url)
    await asyncio.to_thread(migrate, url)
    assert await tables(empty_url) >= FIRST
    await asyncio.to_thread(migrate, url, "base", down=True)
    assert await tables(empty_url) == {"alembic_version"}
    await asyncio.to_thread(migrate, url)
    await asyncio.to_thread(migrate, url)
    assert await tables(empty_url) >= FIRST


@pytest.mark.parametrize("more", [(), ("--down",)])
def test_an_unknown_revision_is_told_in_one_line(empty_url: str, more: tuple[str, ...]) -> None:
    ran = _migrate_by_command(empty_url, "--to", "nonsense", *more)
    assert ran.returncode == 1
    assert "scaimcp: there is no way to revision nonsense" in ran.stderr
    assert "Traceback" not in ran.stderr


def _migrate_by_command(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scaimcp", "migrate", *arguments],
        env={**os.environ, "SCAIMCP_DATABASE_URL": url},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


async def test_every_revision_can_be_taken_back_one_by_one(empty_url: str) -> None:
    url = Secret(empty_url)
    known = [revision.revision for revision in _scripts().walk_revisions()]
    for revision in reversed(known):
        await asyncio.to_thread(migrate, url, revision)
        await asyncio.to_thread(migrate, url, "-1", down=True)
        await asyncio.to_thread(migrate, url, revision)


def _scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(scripts()))
    return ScriptDirectory.from_config(config)


def test_the_revisions_are_one_line() -> None:
    assert len(_scripts().get_heads()) == 1
    assert len(_scripts().get_bases()) == 1


async def test_the_revision_of_a_database_can_be_asked(empty_url: str) -> None:
    async with open_database(Secret(empty_url), 1) as opened:
        assert await current_revision(opened) is None
        await asyncio.to_thread(migrate, Secret(empty_url))
        assert await current_revision(opened) == head_revision() == _scripts().get_current_head()
    async with open_database(DEAD, 1) as dead:
        with pytest.raises(DatabaseUnavailable):
            await current_revision(dead)


async def test_a_migration_waits_for_one_that_is_running(empty_url: str) -> None:
    other = await asyncpg.connect(empty_url)
    await other.execute(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asyncio.to_thread(migrate, Secret(empty_url)))
        waiting = "SELECT count(*) > 1 FROM pg_stat_activity WHERE datname = current_database()"
        async with asyncio.timeout(10):
            await _until(lambda: other.fetchval(waiting))
        assert not await tables(empty_url)
        assert not task.done()
        await other.close()
    assert await tables(empty_url) >= FIRST


async def test_a_migration_that_waits_leaves_no_transaction_open(empty_url: str) -> None:
    # The one that it waits for may build an index concurrently, which waits for transactions.
    other = await asyncpg.connect(empty_url)
    await other.execute(f"SELECT pg_advisory_lock({MIGRATION_LOCK})")
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(migrate, Secret(empty_url)))
        between_two_tries = (
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state = 'idle' AND query = 'COMMIT;'"
        )
        async with asyncio.timeout(10):
            await _until(lambda: other.fetchval(between_two_tries))
        await other.execute("CREATE TABLE t (n int)")
        await other.execute("CREATE INDEX CONCURRENTLY ON t (n)")
        await other.execute("DROP TABLE t")
        await other.close()
    assert await tables(empty_url) >= FIRST


async def test_an_index_left_half_built_is_built_again(empty_url: str) -> None:
    url = Secret(empty_url)
    await asyncio.to_thread(migrate, url, "0002")
    connection = await asyncpg.connect(empty_url)
    name = "remote_approvals_expiry"
    await connection.execute(f"CREATE INDEX {name} ON remote_approvals (expires_at)")
    await connection.execute(
        f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{name}'::regclass"
    )
    await asyncio.to_thread(migrate, url)
    is_valid = f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{name}'::regclass"
    assert await connection.fetchval(is_valid)
    await connection.close()


async def test_a_refused_statement_is_told_by_its_sqlstate(empty_url: str) -> None:
    connection = await asyncpg.connect(empty_url)
    await connection.execute("CREATE TABLE audit_events (n int)")
    await connection.close()
    ran = await asyncio.to_thread(_migrate_by_command, empty_url)
    assert ran.returncode == 1
    assert ran.stderr == "scaimcp: migration failed (ProgrammingError, SQLSTATE 42P07)\n"


async def _until(condition: Callable[[], Awaitable[Any]]) -> None:
    is_met = False
    while not is_met:
        await asyncio.sleep(0.01)
        is_met = await condition()


async def test_the_sql_can_be_printed_instead() -> None:
    printed = io.StringIO()
    config = Config(output_buffer=printed)
    config.set_main_option("script_location", str(scripts()))
    await asyncio.to_thread(command.upgrade, config, "head", sql=True)
    assert "CREATE TABLE audit_events" in printed.getvalue()


async def test_without_a_database_the_reason_quotes_no_password(empty_url: str) -> None:
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.to_thread(migrate, DEAD)
    for broken in (UNREADABLE, empty_url.replace("/test_", "/none_")):
        with pytest.raises(ConnectionError) as caught:
            await asyncio.to_thread(migrate, Secret(broken))
        assert str(caught.value) in {"ValueError", "InvalidCatalogNameError"}
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_the_audit_table_has_the_columns_of_the_contract(
    database: Database, database_url: str
) -> None:
    found = await rows(
        database_url,
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'audit_events'",
    )
    assert {name for (name,) in found} == {
        "id", "at", "tenant_id", "actor_id", "actor_type", "action", "resource_type",
        "resource_id", "status", "request_id", "ip_address", "user_agent", "data",
    }  # fmt: skip


# --- the stores -------------------------------------------------------------------------------


async def test_a_row_says_who_did_what(database: Database, database_url: str) -> None:
    event = audit.AuditEvent("tnt_1", "module.enable", "module", "scaiqueue", data={"ä": [1]})
    async with database.transaction() as connection:
        await audit.record(connection, event, CONTEXT)
    found = await rows(
        database_url,
        "SELECT tenant_id, actor_id, actor_type, action, resource_type, resource_id, status,"
        " request_id, ip_address, data, now() - at < interval '1 minute' FROM audit_events",
    )
    *columns, data, is_recent = found[0]
    assert columns == [
        "tnt_1", "usr_1", "client", "module.enable", "module", "scaiqueue", "SUCCESS", "req_1",
        "203.0.113.9",
    ]  # fmt: skip
    assert msgspec.json.decode(data) == {"ä": [1]}
    assert is_recent


async def test_a_row_stands_and_falls_with_its_change(
    database: Database, database_url: str
) -> None:
    event = audit.AuditEvent("tnt_undone", "module.enable", "module", "x", status="FAILURE")

    async def attempt() -> None:
        async with database.transaction() as connection:
            await audit.record(connection, event, CONTEXT)
            raise KeyError

    with pytest.raises(KeyError):
        await attempt()
    query = "SELECT count(*) FROM audit_events WHERE tenant_id = 'tnt_undone'"
    assert await rows(database_url, query) == [(0,)]


async def test_versions_rise_one_by_one_under_contention(database: Database) -> None:
    async def rise() -> int:
        async with database.transaction() as connection:
            return await raise_version(connection, "tnt_many")

    assert sorted(await asyncio.gather(*(rise() for _ in range(20)))) == list(range(1, 21))


# --- the pruning job --------------------------------------------------------------------------


async def _fill(url: str, count: int, days: int) -> None:
    await rows(
        url,
        "INSERT INTO audit_events (at, tenant_id, actor_id, actor_type, action, resource_type,"
        " resource_id, status, request_id)"
        f" SELECT now() - interval '{days} days', 'tnt_old', 'u', 'user', 'a.b', 'a', 'x',"
        f" 'SUCCESS', 'r' FROM generate_series(1, {count})",
    )


async def _left(url: str) -> int:
    return int((await rows(url, "SELECT count(*) FROM audit_events"))[0][0])


async def test_old_rows_go_in_batches_and_young_ones_stay(
    database: Database, database_url: str
) -> None:
    await rows(database_url, "TRUNCATE audit_events")
    await _fill(database_url, 2 * BATCH + 7, 31)
    await _fill(database_url, 5, 29)
    assert await prune_audit(database, 30) == 2 * BATCH + 7
    assert await _left(database_url) == 5
    assert await prune_audit(database, 30) == 0


async def test_an_exact_number_of_batches_is_pruned_too(
    database: Database, database_url: str
) -> None:
    await rows(database_url, "TRUNCATE audit_events")
    await _fill(database_url, BATCH, 31)
    assert await prune_audit(database, 30) == BATCH
    assert await _left(database_url) == 0


async def test_one_run_ends_after_its_share_of_batches(
    database: Database, database_url: str
) -> None:
    await rows(database_url, "TRUNCATE audit_events")
    await _fill(database_url, 10, 31)
    assert await prune_audit(database, 30, batch=2, most_batches=3) == 6
    assert await _left(database_url) == 4


async def test_the_job_reads_its_setting_and_is_counted(
    database: Database, database_url: str
) -> None:
    await rows(database_url, "TRUNCATE audit_events")
    await _fill(database_url, 3, 8)
    counter = metrics.JOBS.labels("audit_prune", "ok")._value
    before = counter.get()
    settings = load({"SCAIMCP_AUDIT_RETENTION_DAYS": "7"})
    assert await audit_prune({"settings": settings, "database": database, "tracing": None}) == 3
    assert counter.get() == before + 1


async def test_a_job_that_fails_is_counted_and_raises() -> None:
    counter = metrics.JOBS.labels("audit_prune", "failed")._value
    before = counter.get()
    async with open_database(DEAD, 1) as dead:
        with pytest.raises(DatabaseUnavailable):
            await audit_prune({"settings": load({}), "database": dead, "tracing": None})
    assert counter.get() == before + 1
