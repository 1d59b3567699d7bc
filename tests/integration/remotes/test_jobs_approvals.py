"""Jobs on questions to users: what is over ends, and what ended long ago goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.jobs import approvals as jobs
from scaimcp.postgres import Database
from scaimcp.remotes.approval_models import ApprovalDecision, Binding, NewApproval
from scaimcp.remotes.stores import approval_store
from scaimcp.worker import approvals_prune
from tests.integration.remotes.registry import digest, execute, migrated, put, server

TENANT = "tnt_jobs"


@pytest_asyncio.fixture(scope="module")
async def opened(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


@pytest_asyncio.fixture
async def database(opened: Database) -> Database:
    """A database without a question in it."""
    await execute(opened, "DELETE FROM remote_servers")
    await execute(opened, "DELETE FROM audit_events")
    return opened


@pytest_asyncio.fixture
async def bound(database: Database) -> Binding:
    row = await put(database, server(TENANT))
    return Binding(TENANT, "usr_1", row.id, "search", digest("arguments"), digest("definition"))


async def ask(database: Database, bound: Binding, *names: str) -> None:
    """Ask about a call of each of these tools; a question's id is its tool's name."""
    for name in names:
        about = msgspec.structs.replace(bound, tool=name)
        new = NewApproval(name, about, "page", 600, b"sealed")
        async with database.transaction() as connection:
            assert await approval_store.ask(connection, new)


async def answer(database: Database, bound: Binding, name: str, *, is_approved: bool) -> None:
    word = ApprovalDecision(name, bound.arguments_digest, is_approved)
    async with database.transaction() as connection:
        assert await approval_store.decide_approval(connection, TENANT, "usr_1", word)


async def age(database: Database, name: str, days: float) -> None:
    """Let a question's time be over for so long."""
    statement = "UPDATE remote_approvals SET expires_at = now() - $2 * interval '1 day'"
    await execute(database, f"{statement} WHERE id = $1", name, days)


async def left(database: Database) -> dict[str, Any]:
    """The states of all questions by id."""
    async with database.transaction() as connection:
        found = await connection.fetch("SELECT id, state FROM remote_approvals")
    return {row["id"]: row["state"] for row in found}


async def told(database: Database) -> list[dict[str, Any]]:
    async with database.transaction() as connection:
        found = await connection.fetch(
            "SELECT data FROM audit_events WHERE action = 'consent.expire' AND tenant_id = $1"
            " AND actor_type = 'system' AND request_id = 'job'", TENANT,
        )  # fmt: skip
    return [msgspec.json.decode(row["data"]) for row in found]


async def test_questions_whose_time_is_over_end_with_an_audit_row(
    database: Database, bound: Binding
) -> None:
    await ask(database, bound, "one", "two", "three")
    assert await jobs.expire_approvals(database, "job") == 0
    await age(database, "one", 0)
    await age(database, "two", 0)
    assert await jobs.expire_approvals(database, "job", batch=1) == 2
    assert await jobs.expire_approvals(database, "job") == 0
    assert await left(database) == {"one": "expired", "two": "expired", "three": "pending"}
    rows = await told(database)
    assert sorted(row["approval_id"] for row in rows) == ["one", "two"]
    assert {row["digest"] for row in rows} == {bound.arguments_digest.hex()}


async def test_what_was_asked_does_not_stay_in_the_database(
    database: Database, bound: Binding
) -> None:
    await ask(database, bound, "approved", "denied", "over", "open")
    await answer(database, bound, "approved", is_approved=True)
    await answer(database, bound, "denied", is_approved=False)
    await age(database, "over", 0)
    await jobs.expire_approvals(database, "job")
    async with database.transaction() as connection:
        sealed = await connection.fetch(
            "SELECT id FROM remote_approvals WHERE arguments_sealed IS NOT NULL"
        )
    assert [row["id"] for row in sealed] == ["open"]


async def test_ended_questions_go_after_thirty_days_whatever_became_of_them(
    database: Database, bound: Binding
) -> None:
    await ask(database, bound, "consumed", "denied", "over", "young")
    for name in ("consumed", "denied", "young"):
        await answer(database, bound, name, is_approved=name != "denied")
    async with database.transaction() as connection:
        about = msgspec.structs.replace(bound, tool="consumed")
        assert await approval_store.consume_approval(connection, about)
    for name in ("consumed", "denied", "over"):
        await age(database, name, jobs.RETENTION_DAYS + 0.1)
    await age(database, "young", jobs.RETENTION_DAYS - 0.1)
    assert await jobs.expire_approvals(database, "job") == 2
    assert await jobs.prune_approvals(database) == 3
    assert await left(database) == {"young": "expired"}
    assert await jobs.prune_approvals(database) == 0


@pytest.mark.parametrize("is_approved", [True, False])
async def test_nothing_is_pruned_that_has_not_ended_with_an_audit_row(
    database: Database, bound: Binding, *, is_approved: bool
) -> None:
    await ask(database, bound, "one")
    if is_approved:
        await answer(database, bound, "one", is_approved=True)
    await age(database, "one", 400)
    assert await jobs.prune_approvals(database) == 0
    assert await jobs.expire_approvals(database, "job") == 1
    assert await jobs.prune_approvals(database) == 1
    assert len(await told(database)) == 1


async def test_pruning_goes_in_batches_and_two_workers_share_them(
    database: Database, bound: Binding
) -> None:
    names = [f"q{number}" for number in range(10)]
    await ask(database, bound, *names)
    for name in names:
        await age(database, name, 31)
    assert await jobs.expire_approvals(database, "job") == 10
    assert await jobs.prune_approvals(database, batch=2, most_batches=2) == 4
    both = await asyncio.gather(*(jobs.prune_approvals(database, batch=1) for _ in range(2)))
    # One that finds every row held by the other ends early.
    rest = await jobs.prune_approvals(database)
    assert sum(both) + rest == 6
    assert await left(database) == {}


async def test_the_cron_prunes(database: Database, bound: Binding) -> None:
    await ask(database, bound, "one")
    await age(database, "one", 31)
    await jobs.expire_approvals(database, "job")
    assert await approvals_prune({"database": database, "tracing": None}) == 1
