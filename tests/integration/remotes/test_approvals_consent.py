"""Consent before calls: forms, pages, replays, races. Spec: remote-servers 9; 11 rows 61 to 63."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.errors import ToolError
from scaimcp.postgres import Database, open_database
from scaimcp.remotes.consent.approvals import ApprovalView
from scaimcp.remotes.consent.checking import INVOKE, ConsentCall, Passed
from scaimcp.remotes.enumerations import ApprovalState, ConsentTier
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.stores import store
from scaimcp.types import Dialogue, Secret
from tests.integration.remotes.asked import (
    ARGUMENTS,
    FORM,
    KEY,
    NO,
    YES,
    Asked,
    answered,
    call,
    context,
    form,
    tampered,
)
from tests.integration.remotes.registry import count, digest, execute, migrated


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


@pytest.fixture
def asked(database: Database) -> Asked:
    return Asked(database)


async def decide(
    asked: Asked, row: ServerRow, approval_id: str, *, is_approved: bool = True
) -> ApprovalView:
    who = context(row.tenant_id)
    view = await asked.approvals.get(who.caller, approval_id)
    shown = bytes.fromhex(view.arguments_digest)
    return await asked.approvals.decide(who, approval_id, shown, is_approved=is_approved)


async def lapse(asked: Asked, approval_id: str) -> None:
    await execute(
        asked.database,
        "UPDATE remote_approvals SET expires_at = now() WHERE id = $1",
        approval_id,
    )


# --- tiers ------------------------------------------------------------------------------------


async def test_the_tier_auto_asks_nothing_and_stores_nothing(asked: Asked) -> None:
    row = await asked.row("tnt_auto", ConsentTier.AUTO)
    assert await asked.passes(call(row)) == Passed()
    assert await asked.passes(form(row)) == Passed()
    assert await count(asked.database, "remote_approvals", "tnt_auto") == 0


@pytest.mark.parametrize("make", [call, form])
async def test_the_tier_locked_is_not_called_however_one_answers(
    asked: Asked, make: Callable[..., ConsentCall]
) -> None:
    row = await asked.row(f"tnt_locked_{make.__name__}", ConsentTier.LOCKED)
    assert (await asked.fails(make(row))).code == "TOOL_LOCKED"


async def test_invoking_by_hand_is_the_consent_in_every_tier(asked: Asked) -> None:
    for tier in ConsentTier:
        row = await asked.row(f"tnt_invoke_{tier}", tier)
        assert await asked.passes(form(row, method=INVOKE)) == Passed()


# --- forms ------------------------------------------------------------------------------------


async def test_a_form_is_asked_without_storing_anything(asked: Asked) -> None:
    row = await asked.row("tnt_form")
    needed = await asked.asks(form(row))
    request = msgspec.json.decode(needed.requests)["consent"]
    assert request["method"] == "elicitation/create"
    assert '"create_issue"' in request["params"]["message"]
    assert "mcp.example.com" in request["params"]["message"]
    assert needed.state.startswith("v1.")
    assert await count(asked.database, "remote_approvals", "tnt_form") == 0
    assert await asked.audited("tnt_form") == []


async def test_a_yes_lets_exactly_this_call_pass_once(asked: Asked) -> None:
    row = await asked.row("tnt_yes")
    state = (await asked.asks(form(row))).state
    passed = await asked.passes(answered(form(row), state))
    assert passed.is_consented
    assert (passed.responses, passed.upstream_state, passed.hold) == ({}, None, None)
    assert msgspec.json.decode(passed.arguments or b"") == ARGUMENTS
    ((action, server_id, data),) = await asked.audited("tnt_yes")
    nonce = data["approval_id"]
    assert action == "consent.consume"
    assert (data["tool"], data["mode"], server_id) == ("create_issue", "form", row.id)
    async with asked.database.transaction() as connection:
        stored = await connection.fetchrow("SELECT * FROM remote_approvals WHERE id = $1", nonce)
    assert (stored["state"], stored["mode"], stored["arguments_sealed"]) == (
        "consumed",
        "form",
        None,
    )


@pytest.mark.row(61)
async def test_a_replayed_state_is_refused(asked: Asked) -> None:
    row = await asked.row("tnt_replay")
    state = (await asked.asks(form(row))).state
    assert await asked.outcome(answered(form(row), state)) == "passed"
    await asked.refuses(answered(form(row), state))
    assert await asked.actions("tnt_replay") == ["consent.consume"]


@pytest.mark.row(61)
async def test_of_parallel_answers_with_one_state_one_passes(asked: Asked) -> None:
    row = await asked.row("tnt_parallel")
    state = (await asked.asks(form(row))).state
    found = await asyncio.gather(*(asked.outcome(answered(form(row), state)) for _ in range(8)))
    assert sorted(found) == ["-32602"] * 7 + ["passed"]


@pytest.mark.row(61)
async def test_a_tampered_state_is_refused(asked: Asked) -> None:
    row = await asked.row("tnt_tamper")
    state = (await asked.asks(form(row))).state
    await asked.refuses(answered(form(row), tampered(state)))
    await asked.refuses(answered(form(row), "v1.AAAA"))
    assert await count(asked.database, "remote_approvals", "tnt_tamper") == 0


@pytest.mark.row(61)
@pytest.mark.parametrize("who", [{"user_id": "usr_2"}, {"tenant_id": "tnt_elsewhere"}])
async def test_a_state_of_another_user_is_refused(asked: Asked, who: dict[str, str]) -> None:
    row = await asked.row("tnt_mine_" + next(iter(who)))
    state = (await asked.asks(form(row))).state
    given = answered(form(row), state)
    theirs = msgspec.structs.replace(given.context.caller, **who)
    await asked.refuses(
        msgspec.structs.replace(
            given, context=msgspec.structs.replace(given.context, caller=theirs)
        )
    )


async def test_a_state_of_a_call_does_not_serve_for_invoking(asked: Asked) -> None:
    row = await asked.row("tnt_method")
    state = (await asked.asks(form(row))).state
    await asked.refuses(answered(form(row, method=INVOKE), state))


@pytest.mark.row(61)
async def test_a_state_whose_time_is_over_is_asked_anew(asked: Asked) -> None:
    row = await asked.row("tnt_late")
    state = (await asked.asks(form(row))).state
    asked.clock.forward(600)
    again = await asked.asks(answered(form(row), state))
    assert again.state != state
    assert await asked.outcome(answered(form(row), again.state)) == "passed"


ALTERED: dict[str, dict[str, Any]] = {
    "arguments": {"arguments": b'{"title":"Hi","n":2}'},
    "tool": {"tool": "delete_issue"},
    "definition": {"definition_hash": digest("changed")},
}


@pytest.mark.row(63)
@pytest.mark.parametrize("what", ALTERED)
async def test_an_altered_call_is_asked_anew(asked: Asked, what: str) -> None:
    row = await asked.row(f"tnt_altered_{what}")
    state = (await asked.asks(form(row))).state
    await asked.asks(answered(form(row, **ALTERED[what]), state))
    assert await asked.outcome(answered(form(row), state)) == "passed"


async def test_arguments_that_only_look_different_are_the_same(asked: Asked) -> None:
    row = await asked.row("tnt_spelling")
    state = (await asked.asks(form(row))).state
    other = form(row, arguments=b' { "n" : 1.0, "title" : "\\u0048i" } ')
    assert await asked.outcome(answered(other, state)) == "passed"


async def test_a_server_that_is_somewhere_else_by_now_is_asked_anew(asked: Asked) -> None:
    row = await asked.row("tnt_moved")
    state = (await asked.asks(form(row))).state
    moved = msgspec.structs.replace(row, config_version=row.config_version + 1)
    await asked.asks(answered(form(moved), state))


async def test_another_server_is_asked_anew(asked: Asked) -> None:
    row = await asked.row("tnt_servers")
    other = msgspec.structs.replace(row, id="rs_other")
    state = (await asked.asks(form(row))).state
    await asked.asks(answered(form(other), state))


@pytest.mark.parametrize(
    "answer",
    [NO, {"action": "cancel"}, {"action": "accept"}, {"action": "accept", "content": {}}],
)
async def test_anything_but_a_yes_is_a_no(asked: Asked, answer: Any) -> None:
    tenant = f"tnt_no_{len(answer)}_{answer['action']}"
    row = await asked.row(tenant)
    state = (await asked.asks(form(row))).state
    assert (await asked.fails(answered(form(row), state, answer))).code == "CONSENT_DENIED"
    assert await asked.actions(tenant) == ["consent.deny"]


async def test_answers_without_consent_are_asked_again(asked: Asked) -> None:
    row = await asked.row("tnt_else")
    state = (await asked.asks(form(row))).state
    again = await asked.asks(answered(form(row), state, None, other={"action": "accept"}))
    assert again.state != state


async def test_an_answer_without_a_state_is_asked(asked: Asked) -> None:
    row = await asked.row("tnt_stateless")
    consent = msgspec.Raw(msgspec.json.encode(YES))
    await asked.asks(call(row, Dialogue(FORM, None, {"consent": consent})))


async def test_what_the_user_saw_is_what_is_sent(asked: Asked) -> None:
    row = await asked.row("tnt_twice")
    failed = await asked.fails(form(row, arguments=b'{"to":"me","to":"them"}'))
    assert failed.code == "INVALID_ARGUMENTS"
    failed = await asked.fails(form(row, arguments=b'{"to":"\\ud800"}'))
    assert failed.code == "INVALID_ARGUMENTS"


async def test_the_answer_of_a_server_that_is_gone_is_refused(asked: Asked) -> None:
    row = await asked.row("tnt_gone")
    state = (await asked.asks(form(row))).state
    async with asked.database.transaction() as connection:
        assert await store.delete_server(connection, row.tenant_id, row.id)
    await asked.refuses(answered(form(row), state))


# --- rounds of the upstream -------------------------------------------------------------------


async def test_rounds_of_the_upstream_do_not_ask_again(asked: Asked) -> None:
    row = await asked.row("tnt_rounds")
    state = (await asked.asks(form(row))).state
    first = answered(form(row), state)
    passed = await asked.passes(first)
    needed = asked.consent.further(first, passed, b'{"consent":{}}', upstream_state="theirs")
    assert needed.requests == b'{"consent":{}}'
    second = answered(form(row), needed.state, {"action": "decline"}, more=1)
    again = await asked.passes(second)
    assert again.is_consented
    assert again.upstream_state == "theirs"
    # In a round of the upstream every name is the upstream's.
    assert set(again.responses) == {"consent", "more"}
    assert again.arguments is not None


async def test_a_round_serves_once(asked: Asked) -> None:
    row = await asked.row("tnt_round_once")
    state = (await asked.asks(form(row))).state
    first = answered(form(row), state)
    needed = asked.consent.further(first, await asked.passes(first), b"{}")
    assert await asked.outcome(answered(form(row), needed.state)) == "passed"
    await asked.refuses(answered(form(row), needed.state))


async def test_rounds_without_consent_pass_in_the_tier_auto_only(asked: Asked) -> None:
    row = await asked.row("tnt_open", ConsentTier.AUTO)
    passed = await asked.passes(form(row))
    needed = asked.consent.further(form(row), passed, b"{}", upstream_state="s")
    again = await asked.passes(answered(form(row), needed.state))
    assert (again.upstream_state, again.hold, again.is_consented) == ("s", None, False)
    stricter = msgspec.structs.replace(row, consent_tier=ConsentTier.CONFIRM)
    await asked.asks(answered(form(stricter), needed.state))


async def test_a_held_call_goes_on_or_is_lost_and_never_starts_anew(asked: Asked) -> None:
    row = await asked.row("tnt_held", ConsentTier.AUTO)
    state = asked.consent.further(form(row), Passed(), b"{}", hold="r/1/1").state
    assert (await asked.passes(answered(form(row), state))).hold == "r/1/1"
    stricter = msgspec.structs.replace(row, consent_tier=ConsentTier.CONFIRM)
    for other in (form(stricter), form(row, arguments=b"{}"), form(row, tool="delete_issue")):
        assert (await asked.fails(answered(other, state))).code == "ElicitationLostError"
    asked.clock.now += 601
    assert (await asked.fails(answered(form(row), state))).code == "ElicitationLostError"


async def test_altered_arguments_start_anew_in_the_tier_auto(asked: Asked) -> None:
    row = await asked.row("tnt_open_altered", ConsentTier.AUTO)
    needed = asked.consent.further(form(row), Passed(), b"{}", upstream_state="s")
    assert await asked.passes(answered(form(row, arguments=b"{}"), needed.state)) == Passed()


async def test_a_question_is_forgotten_once_the_tier_asks_no_more(asked: Asked) -> None:
    row = await asked.row("tnt_laxer")
    state = (await asked.asks(form(row))).state
    laxer = msgspec.structs.replace(row, consent_tier=ConsentTier.AUTO)
    assert await asked.passes(answered(form(laxer), state)) == Passed()


async def test_a_client_without_forms_may_bring_a_state_back(asked: Asked) -> None:
    row = await asked.row("tnt_formless", ConsentTier.AUTO)
    needed = asked.consent.further(call(row), Passed(), b"", upstream_state="load")
    plain = call(row, Dialogue(state=needed.state))
    assert (await asked.passes(plain)).upstream_state == "load"


async def test_a_state_that_is_too_large_is_not_sealed(asked: Asked) -> None:
    row = await asked.row("tnt_large", ConsentTier.AUTO)
    with pytest.raises(ToolError) as caught:
        asked.consent.further(form(row), Passed(), b"{}", upstream_state="x" * (32 * 1024 + 1))
    assert caught.value.code == "ResponseTooLargeError"


# --- pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialogue", [None, Dialogue(frozenset({"url"}))])
async def test_every_other_client_gets_an_address(asked: Asked, dialogue: Dialogue | None) -> None:
    tenant = f"tnt_page_{dialogue is None}"
    row = await asked.row(tenant)
    failed = await asked.fails(call(row, dialogue))
    assert failed.code == "CONSENT_REQUIRED"
    assert set(failed.members) == {"approval_id", "approval_url", "expires_at"}
    approval_id = failed.members["approval_id"]
    assert failed.members["approval_url"] == f"https://gw.example/approvals/{approval_id}"
    assert failed.members["expires_at"].endswith("Z")
    assert row.id not in failed.members["approval_url"]
    view = await asked.approvals.get(context(tenant).caller, approval_id)
    assert view.state is ApprovalState.PENDING
    assert await asked.actions(tenant) == ["consent.request"]


async def test_the_same_call_meets_the_same_address(asked: Asked) -> None:
    row = await asked.row("tnt_page_same")
    first = await asked.fails(call(row))
    again = await asked.fails(call(row))
    assert first.members == again.members
    assert await asked.actions("tnt_page_same") == ["consent.request"]


async def test_an_approved_call_passes_once(asked: Asked) -> None:
    row = await asked.row("tnt_approved")
    approval_id = (await asked.fails(call(row))).members["approval_id"]
    await decide(asked, row, approval_id)
    passed = await asked.passes(call(row))
    assert passed.is_consented
    assert msgspec.json.decode(passed.arguments or b"") == ARGUMENTS
    again = await asked.fails(call(row))
    assert again.code == "CONSENT_REQUIRED"
    assert again.members["approval_id"] != approval_id
    assert await asked.actions("tnt_approved") == [
        "consent.request",
        "consent.approve",
        "consent.consume",
        "consent.request",
    ]


@pytest.mark.row(62)
async def test_of_parallel_calls_one_approval_serves_one(asked: Asked) -> None:
    row = await asked.row("tnt_race")
    approval_id = (await asked.fails(call(row))).members["approval_id"]
    await decide(asked, row, approval_id)
    found = await asyncio.gather(*(asked.outcome(call(row)) for _ in range(6)))
    assert sorted(found) == ["CONSENT_REQUIRED"] * 5 + ["passed"]


@pytest.mark.row(63)
@pytest.mark.parametrize("what", ALTERED)
async def test_an_approval_serves_no_altered_call(asked: Asked, what: str) -> None:
    row = await asked.row(f"tnt_page_altered_{what}")
    approval_id = (await asked.fails(call(row))).members["approval_id"]
    await decide(asked, row, approval_id)
    other = await asked.fails(call(row, **ALTERED[what]))
    assert (other.code, other.members["approval_id"] == approval_id) == ("CONSENT_REQUIRED", False)
    assert await asked.outcome(call(row)) == "passed"


async def test_an_approval_serves_no_other_user(asked: Asked) -> None:
    row = await asked.row("tnt_page_user")
    approval_id = (await asked.fails(call(row))).members["approval_id"]
    await decide(asked, row, approval_id)
    theirs = call(row, context=context(row.tenant_id, user_id="usr_2"))
    assert (await asked.fails(theirs)).members["approval_id"] != approval_id


async def test_an_approval_ends_with_its_time(asked: Asked) -> None:
    row = await asked.row("tnt_page_late")
    approval_id = (await asked.fails(call(row))).members["approval_id"]
    await decide(asked, row, approval_id)
    await lapse(asked, approval_id)
    assert (await asked.fails(call(row))).code == "CONSENT_REQUIRED"


async def test_a_denial_stands_for_its_time(asked: Asked) -> None:
    row = await asked.row("tnt_page_denied")
    approval_id = (await asked.fails(call(row))).members["approval_id"]
    await decide(asked, row, approval_id, is_approved=False)
    for _ in range(2):
        assert (await asked.fails(call(row))).code == "CONSENT_DENIED"
    assert (await asked.fails(call(row, arguments=b"{}"))).code == "CONSENT_REQUIRED"
    await lapse(asked, approval_id)
    assert (await asked.fails(call(row))).code == "CONSENT_REQUIRED"


async def test_nobody_is_asked_about_a_server_that_is_gone(asked: Asked) -> None:
    row = await asked.row("tnt_page_gone")
    async with asked.database.transaction() as connection:
        assert await store.delete_server(connection, row.tenant_id, row.id)
    assert (await asked.fails(call(row))).code == "TOOL_NOT_FOUND"


async def test_a_program_gets_the_address_and_cannot_decide(asked: Asked) -> None:
    row = await asked.row("tnt_page_key")
    program = context(row.tenant_id, token=KEY, method="api_key")
    approval_id = (await asked.fails(call(row, context=program))).members["approval_id"]
    view = await asked.approvals.get(program.caller, approval_id)
    assert view.state is ApprovalState.PENDING
    await decide(asked, row, approval_id)
    assert await asked.outcome(call(row, context=program)) == "passed"


# --- without the database ---------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module")
async def away() -> AsyncIterator[Database]:
    """A database that nobody answers for."""
    url = Secret("postgresql://nobody@127.0.0.1:1/none")
    async with open_database(url, 1) as opened:
        yield opened


async def test_without_the_database_nothing_that_needs_consent_is_called(
    asked: Asked, away: Database
) -> None:
    row = await asked.row("tnt_away")
    lost = Asked(away)
    failed = await lost.fails(call(row))
    assert (failed.code, failed.retry_after) == ("CONSENT_UNAVAILABLE", 5)
    state = (await lost.asks(form(row))).state
    failed = await lost.fails(answered(form(row), state))
    assert (failed.code, failed.retry_after) == ("CONSENT_UNAVAILABLE", 5)
    assert (await lost.fails(answered(form(row), state, NO))).code == "CONSENT_DENIED"
    auto = msgspec.structs.replace(row, consent_tier=ConsentTier.AUTO)
    assert await lost.outcome(call(auto, Dialogue(FORM))) == "passed"


async def test_an_answer_counts_once_the_database_is_back(asked: Asked, away: Database) -> None:
    row = await asked.row("tnt_back")
    state = (await asked.asks(form(row))).state
    lost = Asked(away)
    assert await lost.outcome(answered(form(row), state)) == "CONSENT_UNAVAILABLE"
    assert await asked.outcome(answered(form(row), state)) == "passed"
