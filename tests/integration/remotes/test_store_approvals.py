"""Questions to users and their answers in PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from scaimcp.ids import new_id
from scaimcp.postgres import Database
from scaimcp.remotes.approval_models import Approval, ApprovalDecision, Binding, NewApproval
from scaimcp.remotes.enumerations import ApprovalState
from scaimcp.remotes.models import Position
from scaimcp.remotes.stores import approval_store, store
from tests.integration.remotes.registry import (
    count,
    digest,
    execute,
    migrated,
    put,
    server,
)


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


async def binding(database: Database, tenant: str, name: str = "one") -> Binding:
    """What a call of a new server would be bound to."""
    row = await put(database, server(tenant, name))
    return Binding(tenant, "usr_1", row.id, "search", digest("arguments"), digest("definition"))


def question(bound: Binding, **changed: Any) -> NewApproval:
    base = NewApproval(new_id("apr_"), bound, "link", 600, b"sealed")
    return msgspec.structs.replace(base, **changed)


async def ask(database: Database, bound: Binding, **changed: Any) -> Approval:
    async with database.transaction() as connection:
        found = await approval_store.ask(connection, question(bound, **changed))
    assert found is not None
    return found


async def get(database: Database, bound: Binding, approval_id: str) -> Approval | None:
    async with database.transaction() as connection:
        return await approval_store.get_approval(
            connection, bound.tenant_id, bound.caller_user_id, approval_id
        )


async def decide(
    database: Database, asked: Approval, *, is_approved: bool = True, by: Binding | None = None
) -> Approval | None:
    bound = by or asked.binding
    word = ApprovalDecision(asked.id, bound.arguments_digest, is_approved)
    async with database.transaction() as connection:
        return await approval_store.decide_approval(
            connection, bound.tenant_id, bound.caller_user_id, word
        )


async def consume(database: Database, bound: Binding) -> str | None:
    async with database.transaction() as connection:
        return await approval_store.consume_approval(connection, bound)


async def lapse(database: Database, approval_id: str) -> None:
    await execute(
        database, "UPDATE remote_approvals SET expires_at = now() WHERE id = $1", approval_id
    )


# --- asking -----------------------------------------------------------------------------------


async def test_a_question_is_open_for_its_time(database: Database) -> None:
    bound = await binding(database, "tnt_ask")
    asked = await ask(database, bound)
    assert (asked.binding, asked.mode, asked.arguments_sealed) == (bound, "link", b"sealed")
    assert asked.state is ApprovalState.PENDING
    assert asked.expires_at - asked.created_at == timedelta(seconds=600)
    assert (asked.decided_at, asked.consumed_at) == (None, None)
    assert await get(database, bound, asked.id) == asked


async def test_the_same_call_meets_the_same_question(database: Database) -> None:
    bound = await binding(database, "tnt_same")
    first = await ask(database, bound)
    assert await ask(database, bound, mode="url", arguments_sealed=None) == first
    assert await count(database, "remote_approvals", "tnt_same") == 1


async def test_equal_calls_at_once_meet_one_question(database: Database) -> None:
    bound = await binding(database, "tnt_once")
    found = await asyncio.gather(*(ask(database, bound) for _ in range(10)))
    assert len({one.id for one in found}) == 1


OTHERS = {
    "caller_user_id": "usr_2", "tool": "Search", "arguments_digest": digest("x"),
    "definition_hash": digest("x"),
}  # fmt: skip


@pytest.mark.parametrize("field", OTHERS)
async def test_any_other_call_is_another_question(database: Database, field: str) -> None:
    bound = await binding(database, f"tnt_other_{field}")
    other = msgspec.structs.replace(bound, **{field: OTHERS[field]})
    asked = await ask(database, bound)
    assert (await ask(database, other)).id != asked.id
    await decide(database, asked)
    assert await consume(database, other) is None
    assert await consume(database, bound) == asked.id


async def test_a_question_whose_time_is_over_is_asked_anew(database: Database) -> None:
    bound = await binding(database, "tnt_over")
    asked = await ask(database, bound)
    await lapse(database, asked.id)
    shown = await get(database, bound, asked.id)
    assert shown is not None
    assert (shown.state, shown.arguments_sealed) == (ApprovalState.EXPIRED, None)
    assert await decide(database, asked) is None
    again = await ask(database, bound)
    assert again.id != asked.id
    assert again.state is ApprovalState.PENDING


async def test_nobody_is_asked_about_a_server_that_is_gone(database: Database) -> None:
    bound = await binding(database, "tnt_gone")
    foreign = msgspec.structs.replace(bound, tenant_id="tnt_gone2")
    async with database.transaction() as connection:
        assert await approval_store.ask(connection, question(foreign)) is None
        assert not await approval_store.insert_consumed(connection, question(foreign))
        assert await store.delete_server(connection, "tnt_gone", bound.server_id)
        assert await approval_store.ask(connection, question(bound)) is None
        assert not await approval_store.insert_consumed(connection, question(bound))


# --- deciding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("is_approved", [True, False])
async def test_the_sealed_arguments_go_with_the_decision(
    database: Database, is_approved: bool
) -> None:
    bound = await binding(database, f"tnt_word_{is_approved}".lower())
    asked = await ask(database, bound)
    found = await decide(database, asked, is_approved=is_approved)
    assert found is not None
    expected = ApprovalState.APPROVED if is_approved else ApprovalState.DENIED
    assert (found.state, found.arguments_sealed) == (expected, None)
    assert found.decided_at is not None
    async with database.transaction() as connection:
        assert await connection.fetchval(
            "SELECT arguments_sealed IS NULL FROM remote_approvals WHERE id = $1", asked.id
        )
    assert await decide(database, asked, is_approved=not is_approved) is None


async def test_only_the_same_user_decides_upon_the_same_arguments(database: Database) -> None:
    bound = await binding(database, "tnt_who")
    asked = await ask(database, bound)
    for by in (
        msgspec.structs.replace(bound, caller_user_id="usr_2"),
        msgspec.structs.replace(bound, tenant_id="tnt_who2"),
        msgspec.structs.replace(bound, arguments_digest=digest("others")),
    ):
        assert await decide(database, asked, by=by) is None
    assert await decide(database, asked) is not None


async def test_of_two_decisions_at_once_one_counts(database: Database) -> None:
    bound = await binding(database, "tnt_both")
    asked = await ask(database, bound)
    both = await asyncio.gather(
        decide(database, asked, is_approved=True), decide(database, asked, is_approved=False)
    )
    assert both.count(None) == 1


# --- consuming --------------------------------------------------------------------------------


@pytest.mark.row(62)
async def test_of_many_calls_at_once_one_consumes_the_approval(database: Database) -> None:
    bound = await binding(database, "tnt_use")
    asked = await ask(database, bound)
    assert await consume(database, bound) is None
    await decide(database, asked)
    found = await asyncio.gather(*(consume(database, bound) for _ in range(10)))
    assert sorted(found, key=str) == [*[None] * 9, asked.id]
    used = await get(database, bound, asked.id)
    assert used is not None
    assert used.state is ApprovalState.CONSUMED
    assert used.consumed_at is not None


async def test_a_call_does_not_wait_for_one_that_consumes(database: Database) -> None:
    bound = await binding(database, "tnt_skip")
    asked = await ask(database, bound)
    await decide(database, asked)
    async with database.transaction() as first:
        assert await approval_store.consume_approval(first, bound) == asked.id
        assert await asyncio.wait_for(consume(database, bound), 3) is None
    assert await consume(database, bound) is None


async def test_two_approvals_serve_two_calls(database: Database) -> None:
    bound = await binding(database, "tnt_pair")
    ids = set()
    for _ in range(2):
        asked = await ask(database, bound)
        await decide(database, asked)
        ids.add(asked.id)
    assert {await consume(database, bound), await consume(database, bound)} == ids
    assert await consume(database, bound) is None


async def test_a_call_that_failed_gives_its_approval_back(database: Database) -> None:
    bound = await binding(database, "tnt_undone")
    asked = await ask(database, bound)
    await decide(database, asked)

    async def attempt() -> None:
        async with database.transaction() as connection:
            await approval_store.consume_approval(connection, bound)
            raise KeyError

    with pytest.raises(KeyError):
        await attempt()
    assert await consume(database, bound) == asked.id


@pytest.mark.parametrize("why", ["denied", "late"])
async def test_what_is_not_approved_in_time_is_not_consumed(database: Database, why: str) -> None:
    bound = await binding(database, f"tnt_{why}")
    asked = await ask(database, bound)
    await decide(database, asked, is_approved=why == "late")
    await lapse(database, asked.id)
    assert await consume(database, bound) is None


async def test_an_answer_that_came_with_the_call_serves_once(database: Database) -> None:
    bound = await binding(database, "tnt_nonce")
    new = question(bound, id="nonce_1", mode="form")

    async def insert(one: NewApproval) -> bool:
        async with database.transaction() as connection:
            return await approval_store.insert_consumed(connection, one)

    found = await asyncio.gather(*(insert(new) for _ in range(6)))
    assert found.count(True) == 1
    assert not await insert(msgspec.structs.replace(new, seconds=1))
    assert await insert(question(bound, mode="form"))
    stored = await get(database, bound, "nonce_1")
    assert stored is not None
    assert (stored.state, stored.mode) == (ApprovalState.CONSUMED, "form")
    assert stored.arguments_sealed is None
    assert await consume(database, bound) is None


# --- reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strange", ["apr_none", "", "\0", "\ud800", "x" * 5000])
async def test_a_strange_id_is_missing(database: Database, strange: str) -> None:
    bound = Binding("tnt_strange", "usr_1", "rs_1", "t", b"", b"")
    assert await get(database, bound, strange) is None
    word = ApprovalDecision(strange, b"", is_approved=True)
    async with database.transaction() as connection:
        found = await approval_store.decide_approval(connection, "tnt_strange", "usr_1", word)
    assert found is None


async def listed(
    database: Database, tenant: str, user: str, state: ApprovalState | None = None
) -> list[str]:
    async with database.transaction() as connection:
        page = await approval_store.list_approvals(connection, tenant, user, state)
    assert not page.has_more
    return [one.id for one in page.items]


async def test_everyone_lists_their_own_questions_by_state(database: Database) -> None:
    bound = await binding(database, "tnt_list")
    asked = [await ask(database, msgspec.structs.replace(bound, tool=name)) for name in "abc"]
    theirs = await ask(database, msgspec.structs.replace(bound, caller_user_id="usr_2"))
    await decide(database, asked[0])
    await lapse(database, asked[1].id)
    ids = [one.id for one in asked]
    assert await listed(database, "tnt_list", "usr_1") == ids[::-1]
    assert await listed(database, "tnt_list", "usr_1", ApprovalState.PENDING) == [ids[2]]
    assert await listed(database, "tnt_list", "usr_1", ApprovalState.EXPIRED) == [ids[1]]
    assert await listed(database, "tnt_list", "usr_1", ApprovalState.APPROVED) == [ids[0]]
    assert await listed(database, "tnt_list", "usr_2") == [theirs.id]
    assert await listed(database, "tnt_other", "usr_1") == []
    assert await get(database, bound, theirs.id) is None
    foreign = msgspec.structs.replace(bound, tenant_id="tnt_other")
    assert await get(database, foreign, ids[0]) is None
    assert await consume(database, foreign) is None


async def test_pages_meet_although_rows_are_added(database: Database) -> None:
    bound = await binding(database, "tnt_pages")
    asked = [await ask(database, msgspec.structs.replace(bound, tool=f"t{at}")) for at in range(5)]
    await execute(
        database, "UPDATE remote_approvals SET created_at = now() WHERE tenant_id = 'tnt_pages'"
    )
    found: list[str] = []
    after = None
    while True:
        async with database.transaction() as connection:
            page = await approval_store.list_approvals(
                connection, "tnt_pages", "usr_1", None, after=after, limit=2
            )
        found += [one.id for one in page.items]
        after = Position(page.items[-1].created_at, page.items[-1].id)
        await ask(database, msgspec.structs.replace(bound, tool=f"late{len(found)}"))
        if not page.has_more:
            break
    assert found == sorted((one.id for one in asked), reverse=True)


# --- the end ----------------------------------------------------------------------------------


async def test_disabling_a_server_ends_what_is_open_or_unused(database: Database) -> None:
    bound = await binding(database, "tnt_end")
    beside = await binding(database, "tnt_end", "beside")
    opened = await ask(database, bound)
    unused = await ask(database, msgspec.structs.replace(bound, tool="unused"))
    denied = await ask(database, msgspec.structs.replace(bound, tool="denied"))
    other = await ask(database, beside)
    await decide(database, unused)
    await decide(database, denied, is_approved=False)
    async with database.transaction() as connection:
        foreign = await approval_store.expire_approvals(connection, "tnt_x", bound.server_id)
        ended = await approval_store.expire_approvals(connection, "tnt_end", bound.server_id)
        again = await approval_store.expire_approvals(connection, "tnt_end", bound.server_id)
    assert (list(foreign), list(again)) == ([], [])
    assert {one.id for one in ended} == {opened.id, unused.id}
    one = next(one for one in ended if one.id == opened.id)
    assert (one.binding, one.mode) == (bound, "link")
    assert await consume(database, unused.binding) is None
    assert await decide(database, opened) is None
    assert await decide(database, other) is not None


async def test_what_is_over_is_ended_in_batches(database: Database) -> None:
    await execute(database, "DELETE FROM remote_approvals")
    expected = set()
    for tenant in ("tnt_due1", "tnt_due2"):
        bound = await binding(database, tenant)
        for name in ("a", "b"):
            asked = await ask(database, msgspec.structs.replace(bound, tool=name))
            await lapse(database, asked.id)
            expected.add(asked.id)
        unused = await ask(database, msgspec.structs.replace(bound, tool="unused"))
        await decide(database, unused)
        await lapse(database, unused.id)
        expected.add(unused.id)
        await ask(database, bound)

    async def expire() -> list[str]:
        async with database.transaction() as connection:
            found = await approval_store.expire_due_approvals(connection, 4)
        return [one.id for one in found]

    first, second = await asyncio.gather(expire(), expire())
    rest = await expire()
    assert sorted(first + second + rest) == sorted(expected)
    async with database.transaction() as connection:
        left = await connection.fetchval(
            "SELECT count(*) FROM remote_approvals WHERE arguments_sealed IS NOT NULL"
        )
    assert left == 2


async def test_an_unknown_state_means_it_is_over(database: Database, database_url: str) -> None:
    bound = await binding(database, "tnt_words")
    asked = await ask(database, bound)
    connection = await asyncpg.connect(database_url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(
            "ALTER TABLE remote_approvals DROP CONSTRAINT remote_approvals_state_check"
        )
        await connection.execute(
            "UPDATE remote_approvals SET state = 'newer' WHERE id = $1", asked.id
        )
        found = await approval_store.get_approval(connection, "tnt_words", "usr_1", asked.id)
        await transaction.rollback()
    finally:
        await connection.close()
    assert found is not None
    assert (found.state, found.arguments_sealed) == (ApprovalState.EXPIRED, None)


async def test_the_tenant_of_a_question_is_told_to_its_user_only(database: Database) -> None:
    bound = await binding(database, "tnt_told")
    async with database.transaction() as connection:
        asked = await approval_store.ask(connection, question(bound))
        assert asked is not None
        tell = approval_store.tenant_of_question
        assert await tell(connection, "usr_1", asked.id) == "tnt_told"
        for user_id, approval_id in (
            ("usr_2", asked.id),
            ("", asked.id),
            ("usr_1", "apr_x"),
            ("usr_1\0", asked.id),
            ("\ud800", asked.id),
            ("usr_1", "\0"),
        ):
            assert await tell(connection, user_id, approval_id) is None
