"""Questions over REST: seen by their user alone, decided by people. Spec: remote-servers 1, 9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.dev.platform import SEED_LOGINS
from tests.integration.relay import Relay
from tests.integration.remotes.consenting import APPROVALS, Consenting, start_consenting
from tests.world import World, start_world


@pytest_asyncio.fixture(scope="module")
async def it(database_url: str, redis_url: str) -> AsyncIterator[Consenting]:
    async with start_consenting(database_url, redis_url) as started:
        yield started


async def lapse(it: Consenting, approval_id: str) -> None:
    await it.fleet.registry.execute(
        "UPDATE remote_approvals SET expires_at = now() WHERE id = $1", approval_id
    )


# --- reading ----------------------------------------------------------------------------------


async def test_a_question_shows_server_tool_and_arguments(it: Consenting) -> None:
    approval_id = await it.question({"b": 2, "a": {"deep": ["ü"]}})
    reply = await it.person().get(f"{APPROVALS}/{approval_id}")
    assert reply.status == 200
    data = reply.json["data"]
    row = it.rows["confirm"]
    assert data["server"] == {
        "id": row.id,
        "name": row.name,
        "host": row.endpoint_origin.removeprefix("http://"),
    }
    assert (data["tool"], data["state"]) == ("add", "pending")
    assert list(data["arguments"]) == ["b", "a"]
    assert len(data["arguments_digest"]) == 64
    assert data["created_at"] < data["expires_at"]
    assert set(data) == {
        "id", "server", "tool", "arguments", "arguments_digest", "state", "created_at",
        "expires_at",
    }  # fmt: skip


async def test_a_program_may_look_at_its_own_questions(it: Consenting) -> None:
    approval_id = await it.question({"a": 1})
    assert (await it.program().get(f"{APPROVALS}/{approval_id}")).status == 200


async def test_of_long_arguments_the_beginning_is_shown(it: Consenting) -> None:
    approval_id = await it.question({"a": "x" * 70_000})
    data = (await it.person().get(f"{APPROVALS}/{approval_id}")).json["data"]
    assert isinstance(data["arguments"], str)
    assert data["arguments"].startswith('{"a":"xxx')
    assert len(data["arguments"]) == 4096
    assert (await it.decide(it.person(), approval_id)).status == 200


@pytest.mark.parametrize("role", ["tenant_user", "other_tenant_admin", "super_admin"])
async def test_nobody_else_sees_or_decides_a_question(it: Consenting, role: str) -> None:
    approval_id = await it.question({"a": "mine"})
    theirs = it.person(await it.sign_in(role))
    digest = {"arguments_digest": "00" * 32}
    for reply in (
        await theirs.get(f"{APPROVALS}/{approval_id}"),
        await it.decide(theirs, approval_id, **digest),
        await it.decide(theirs, approval_id, "deny", **digest),
    ):
        assert (reply.status, reply.word) == (404, "SCAILINK_APPROVAL_NOT_FOUND")
    shown = await it.person().get(f"{APPROVALS}/{approval_id}")
    assert shown.json["data"]["state"] == "pending"


@pytest.mark.parametrize("approval_id", ["x", "apr_" + "0" * 26, "%00", "%F0%9F%99%82"])
async def test_ids_that_are_not_there_are_404(it: Consenting, approval_id: str) -> None:
    reply = await it.person().get(f"{APPROVALS}/{approval_id}")
    assert (reply.status, reply.word) == (404, "SCAILINK_APPROVAL_NOT_FOUND")


async def test_the_list_has_the_callers_own_newest_first(it: Consenting) -> None:
    asked = [await it.question({"a": f"list {n}"}, role="tenant_user") for n in range(5)]
    theirs = it.person(await it.sign_in("tenant_user"))
    found: list[Any] = []
    cursor = ""
    while True:
        page = (await theirs.get(f"{APPROVALS}?limit=2{cursor}")).json
        found += page["data"]["items"]
        assert len(page["data"]["items"]) <= 2
        if not page["pagination"]["has_more"]:
            assert page["pagination"]["next_cursor"] is None
            break
        cursor = f"&cursor={page['pagination']['next_cursor']}"
    assert [item["id"] for item in found] == asked[::-1]


async def test_the_list_is_narrowed_to_a_state(it: Consenting) -> None:
    approval_id = await it.question({"a": "narrow"})
    await it.decide(it.person(), approval_id, "deny")
    items = (await it.person().get(f"{APPROVALS}?state=denied")).json["data"]["items"]
    assert approval_id in [item["id"] for item in items]
    assert {item["state"] for item in items} == {"denied"}
    assert items[0]["arguments"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1.5", "limit"),
        ("limit=", "limit"),
        ("state=open", "state"),
        ("cursor=junk", "cursor"),
        ("cursor=" + "A" * 5000, "cursor"),
    ],
)
async def test_malformed_queries_name_the_parameter(it: Consenting, query: str, field: str) -> None:
    reply = await it.person().get(f"{APPROVALS}?{query}")
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")
    assert [fault["field"] for fault in reply.json["error"]["details"]] == [field]


async def test_a_cursor_serves_its_own_list_and_caller_only(it: Consenting) -> None:
    for n in range(3):
        await it.question({"a": f"cursor {n}"})
    page = (await it.person().get(f"{APPROVALS}?limit=1")).json
    cursor = page["pagination"]["next_cursor"]
    theirs = it.person(await it.sign_in("tenant_user"))
    assert (await it.person().get(f"{APPROVALS}?cursor={cursor}")).status == 200
    assert (await it.person().get(f"{APPROVALS}?cursor={cursor}&state=pending")).status == 422
    assert (await theirs.get(f"{APPROVALS}?cursor={cursor}")).status == 422


async def test_without_a_token_there_is_a_challenge(it: Consenting) -> None:
    reply = await it.fleet.world.with_token(None).get(APPROVALS)
    assert (reply.status, reply.word) == (401, "AUTH_TOKEN_MISSING")
    assert "www-authenticate" in reply.headers


# --- deciding ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "state"), [("approve", "approved"), ("deny", "denied")])
async def test_a_decision_is_taken_once_and_may_be_repeated(
    it: Consenting, verb: str, state: str
) -> None:
    approval_id = await it.question({"a": verb})
    shown = (await it.person().get(f"{APPROVALS}/{approval_id}")).json["data"]
    digest = {"arguments_digest": shown["arguments_digest"]}
    for _ in range(2):
        reply = await it.decide(it.person(), approval_id, verb, **digest)
        assert (reply.status, reply.json["data"]["state"]) == (200, state)
        assert reply.json["data"]["arguments"] is None
    other = "deny" if verb == "approve" else "approve"
    reply = await it.decide(it.person(), approval_id, other, **digest)
    assert (reply.status, reply.word) == (409, "SCAILINK_STATE_CONFLICT")
    decided = [one for one in await it.audited() if one[0] == f"consent.{verb}"]
    assert decided[-1][1] == it.fleet.user_id
    assert decided[-1][2]["digest"] == shown["arguments_digest"]
    assert len([one for one in decided if one[2]["digest"] == shown["arguments_digest"]]) == 1


@pytest.mark.row(64)
@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_a_program_decides_nothing(it: Consenting, verb: str) -> None:
    approval_id = await it.question({"a": f"program {verb}"})
    reply = await it.decide(it.program(), approval_id, verb)
    assert (reply.status, reply.word) == (403, "INTERACTIVE_LOGIN_REQUIRED")
    shown = await it.person().get(f"{APPROVALS}/{approval_id}")
    assert shown.json["data"]["state"] == "pending"


async def test_a_client_of_its_own_is_no_person(it: Consenting) -> None:
    token = await it.sign_in(client_id="cli_1", role="tenant_admin")
    digest = {"arguments_digest": "00" * 32}
    reply = await it.decide(it.person(token), "apr_x", **digest)
    assert (reply.status, reply.word) == (403, "INTERACTIVE_LOGIN_REQUIRED")


async def test_other_arguments_than_were_shown_are_not_approved(it: Consenting) -> None:
    approval_id = await it.question({"a": "shown"})
    reply = await it.decide(it.person(), approval_id, arguments_digest="00" * 32)
    assert (reply.status, reply.word) == (409, "SCAILINK_STATE_CONFLICT")


async def test_a_question_whose_time_is_over_is_not_decided(it: Consenting) -> None:
    approval_id = await it.question({"a": "late"})
    await lapse(it, approval_id)
    shown = (await it.person().get(f"{APPROVALS}/{approval_id}")).json["data"]
    assert (shown["state"], shown["arguments"]) == ("expired", None)
    reply = await it.decide(it.person(), approval_id)
    assert (reply.status, reply.word) == (409, "SCAILINK_STATE_CONFLICT")


async def test_arguments_that_do_not_open_any_more_are_not_approved(it: Consenting) -> None:
    approval_id = await it.question({"a": "key gone"})
    await it.fleet.registry.execute(
        "UPDATE remote_approvals SET arguments_sealed = 'x' WHERE id = $1", approval_id
    )
    reply = await it.decide(it.person(), approval_id)
    assert (reply.status, reply.word) == (409, "SCAILINK_STATE_CONFLICT")
    assert (await it.decide(it.person(), approval_id, "deny")).status == 200


async def test_of_opposite_decisions_at_once_one_counts(it: Consenting) -> None:
    approval_id = await it.question({"a": "both"})
    person = it.person()
    replies = await asyncio.gather(
        *(it.decide(person, approval_id, verb) for verb in ("approve", "deny") * 3)
    )
    states = {reply.json["data"]["state"] for reply in replies if reply.status == 200}
    assert len(states) == 1
    assert {reply.status for reply in replies} == {200, 409}


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"{", 400, "INVALID_JSON"),
        (b"[]", 400, "INVALID_JSON"),
        (b'{"arguments_digest":"a","arguments_digest":"b"}', 400, "INVALID_JSON"),
        (b"{}", 422, "VALIDATION_ERROR"),
        (b'{"arguments_digest":1}', 422, "VALIDATION_ERROR"),
        (b'{"arguments_digest":"' + b"0" * 63 + b'"}', 422, "VALIDATION_ERROR"),
        (b'{"digest":"' + b"0" * 64 + b'"}', 422, "VALIDATION_ERROR"),
        (b'{"x":"' + b"0" * 300_000 + b'"}', 413, "PAYLOAD_TOO_LARGE"),
    ],
)
async def test_malformed_decisions_are_refused(
    it: Consenting, body: bytes, status: int, word: str
) -> None:
    reply = await it.person().send(body, path=f"{APPROVALS}/apr_x/approve")
    assert (reply.status, reply.word) == (status, word)


async def test_a_decision_must_be_json(it: Consenting) -> None:
    path = f"{APPROVALS}/apr_x/approve"
    form = {"content-type": "application/x-www-form-urlencoded"}
    reply = await it.person().send(b"arguments_digest=0", path=path, headers=form)
    assert (reply.status, reply.word) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_disabling_a_server_ends_its_questions(it: Consenting) -> None:
    row = it.rows["confirm"]
    approval_id = await it.question({"a": "disabled"})
    servers = f"/v1/modules/scailink/remote-servers/{row.id}"
    assert (await it.person().send({}, path=f"{servers}/disable")).status == 200
    try:
        shown = await it.person().get(f"{APPROVALS}/{approval_id}")
        assert shown.json["data"]["state"] == "expired"
    finally:
        assert (await it.person().send({}, path=f"{servers}/enable")).status == 200


# --- settings ---------------------------------------------------------------------------------


async def test_without_a_key_every_call_is_503(world: World) -> None:
    minted = await world.control("POST", "/tokens", {"login": SEED_LOGINS["tenant_admin"]})
    person = world.with_token(minted["token"])
    digest = {"arguments_digest": "00" * 32}
    for reply in (
        await person.get(APPROVALS),
        await person.get(f"{APPROVALS}/apr_x"),
        await person.send(digest, path=f"{APPROVALS}/apr_x/approve"),
        await person.send(digest, path=f"{APPROVALS}/apr_x/deny"),
        await person.send({}, path="/v1/modules/scailink/remote-servers/rs_x/tools/t/invoke"),
    ):
        assert (reply.status, reply.word) == (503, "SCAILINK_REGISTRY_DISABLED")


async def test_the_document_describes_the_calls(it: Consenting) -> None:
    paths = (await it.person().get("/openapi.json")).json["paths"]
    approve = paths[f"{APPROVALS}/{{id}}/approve"]["post"]
    schema = approve["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Decision"}
    assert {"400", "403", "404", "409", "413", "415", "422"} <= set(approve["responses"])
    assert "/v1/modules/scailink/remote-servers/{id}/tools/{tool}/invoke" in paths
    assert paths["/approvals/{id}"]["get"]["security"] == []


async def test_without_the_database_questions_are_503(database_url: str, redis_url: str) -> None:
    async with (
        Relay(database_url) as relay,
        start_world(relay.relayed, redis_url, remote=True) as world,
    ):
        minted = await world.control("POST", "/tokens", {"login": SEED_LOGINS["tenant_admin"]})
        person = world.with_token(minted["token"])
        assert (await person.get(APPROVALS)).status == 200
        await relay.shut()
        reply = await person.get(APPROVALS)
        assert (reply.status, reply.word) == (503, "SERVICE_UNAVAILABLE")
        assert reply.headers["retry-after"] == "5"
