"""Consent end to end: a real client's bytes, a real server behind. Spec: remote-servers 9."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.remotes.enumerations import CapabilityState
from tests.integration.remotes.consenting import (
    FORM,
    SUM,
    YES,
    Consenting,
    start_consenting,
    text,
)
from tests.world import CAPABILITIES, MODERN

HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


@pytest_asyncio.fixture(scope="module")
async def it(database_url: str, redis_url: str) -> AsyncIterator[Consenting]:
    async with start_consenting(database_url, redis_url) as started:
        yield started


@pytest.fixture(autouse=True)
def _quiet(it: Consenting) -> None:
    it.upstream.started.clear()


# --- forms ------------------------------------------------------------------------------------


async def test_a_modern_client_is_asked_within_the_call(it: Consenting) -> None:
    first = await it.formed({"a": 10, "b": 1})
    assert first.status == 200
    assert first.result["resultType"] == "input_required"
    message = first.result["inputRequests"]["consent"]["params"]["message"]
    assert '{"a": 10, "b": 1}' in message
    assert "127.0.0.1" in message
    assert it.upstream.started == []
    second = await it.formed(
        {"a": 10, "b": 1}, requestState=first.result["requestState"], inputResponses=YES
    )
    assert second.result["resultType"] == "complete"
    assert text(second) == "11"
    assert it.upstream.started == ["add"]
    again = await it.formed(
        {"a": 10, "b": 1}, requestState=first.result["requestState"], inputResponses=YES
    )
    assert (again.status, again.error["code"]) == (400, -32602)
    assert it.upstream.started == ["add"]


async def test_a_client_that_says_no_gets_a_failed_call(it: Consenting) -> None:
    first = await it.formed({"a": 11, "b": 1})
    second = await it.formed(
        {"a": 11, "b": 1},
        requestState=first.result["requestState"],
        inputResponses={"consent": {"action": "decline"}},
    )
    assert second.result["isError"] is True
    assert "CONSENT_DENIED" in text(second)
    assert it.upstream.started == []


@pytest.mark.row(63)
async def test_arguments_altered_after_the_yes_are_asked_again(it: Consenting) -> None:
    first = await it.formed({"a": 12, "b": 1})
    state = first.result["requestState"]
    altered = await it.formed({"a": 12, "b": 99}, requestState=state, inputResponses=YES)
    assert altered.result["resultType"] == "input_required"
    assert altered.result["requestState"] != state
    assert it.upstream.started == []


@pytest.mark.row(61)
async def test_a_state_of_another_user_never_calls(it: Consenting) -> None:
    first = await it.formed({"a": 13, "b": 1})
    given = {
        "_meta": {CAPABILITIES: FORM},
        "requestState": first.result["requestState"],
        "inputResponses": YES,
    }
    theirs = it.program(role="tenant_user")
    reply = (await it.asked(theirs, {"a": 13, "b": 1}, params=given)).reply
    assert (reply.status, reply.error["code"]) == (400, -32602)
    assert it.upstream.started == []


@pytest.mark.row(61)
@pytest.mark.parametrize(
    "given", [{"requestState": "v1.forged"}, {"requestState": 1}, {"inputResponses": []}]
)
async def test_what_is_no_state_is_invalid_params(it: Consenting, given: dict[str, Any]) -> None:
    reply = await it.formed({"a": 14, "b": 1}, **given)
    assert (reply.status, reply.error["code"]) == (400, -32602)
    assert it.upstream.started == []


async def test_consent_is_asked_through_tools_call_too(it: Consenting) -> None:
    given = {"name": it.name(), "arguments": {"a": 15, "b": 1}}
    meta = {"_meta": {CAPABILITIES: FORM}}
    client = it.program()
    first = (await client.call("tools_call", given, params=meta)).reply
    assert first.result["resultType"] == "input_required"
    params = {**meta, "requestState": first.result["requestState"], "inputResponses": YES}
    second = (await client.call("tools_call", given, params=params)).reply
    assert text(second) == "16"


async def test_a_question_of_the_server_follows_the_consent(it: Consenting) -> None:
    meta = {"_meta": {CAPABILITIES: FORM}}
    client, name = it.program(), it.name("wonder")
    first = (await client.call(name, {}, params=meta)).reply.result
    assert list(first["inputRequests"]) == ["consent"]
    params = {**meta, "requestState": first["requestState"], "inputResponses": YES}
    second = (await client.call(name, {}, params=params)).reply.result
    assert second["resultType"] == "input_required"
    assert list(second["inputRequests"]) == ["really"]
    answer = {"really": {"action": "accept", "content": {"approve": True}}}
    params = {**meta, "requestState": second["requestState"], "inputResponses": answer}
    third = (await client.call(name, {}, params=params)).reply
    assert text(third) == "accept {'approve': True} theirs"
    replayed = (await client.call(name, {}, params=params)).reply
    assert replayed.error["code"] == -32602


async def test_the_tier_auto_asks_nothing(it: Consenting) -> None:
    called = await it.program().call(it.name("add", "auto"), SUM)
    assert text(called.reply) == "3"


# --- pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [*HANDSHAKE, MODERN])
async def test_every_other_client_gets_an_address(it: Consenting, revision: str) -> None:
    arguments = {"a": 20, "b": int(revision[:4])}
    client = it.program(revision)
    called = await it.asked(client, arguments)
    assert called.code == "CONSENT_REQUIRED"
    error = called.error
    assert error["approval_url"] == f"{it.fleet.world.url}/approvals/{error['approval_id']}"
    assert error["request_id"] == called.reply.headers["x-request-id"]
    assert error["expires_at"].endswith("Z")
    same = await it.asked(client, arguments)
    assert same.error["approval_id"] == error["approval_id"]
    assert it.upstream.started == []
    reply = await it.decide(it.person(), error["approval_id"])
    assert reply.status == 200, reply.content
    assert text((await it.asked(client, arguments)).reply) == str(20 + int(revision[:4]))
    assert (await it.asked(client, arguments)).code == "CONSENT_REQUIRED"
    assert it.upstream.started == ["add"]


async def test_a_denied_call_does_not_run(it: Consenting) -> None:
    approval_id = await it.question({"a": 21, "b": 1})
    assert (await it.decide(it.person(), approval_id, "deny")).status == 200
    called = await it.asked(it.program("2025-11-25"), {"a": 21, "b": 1})
    assert called.code == "CONSENT_DENIED"
    assert it.upstream.started == []


@pytest.mark.row(62)
async def test_of_parallel_calls_with_one_approval_one_runs(it: Consenting) -> None:
    approval_id = await it.question({"a": 22, "b": 1})
    await it.decide(it.person(), approval_id)
    client = it.program("2025-11-25")
    found = await asyncio.gather(*(it.asked(client, {"a": 22, "b": 1}) for _ in range(5)))
    assert sorted(called.is_error for called in found) == [False, True, True, True, True]
    assert it.upstream.started == ["add"]


# --- locked -----------------------------------------------------------------------------------


async def test_locked_tools_are_not_listed_and_not_called(it: Consenting) -> None:
    client = it.program()
    names = await client.names()
    assert it.name("add", "confirm") in names
    assert it.name("add", "locked") not in names
    called = await client.call(it.name("add", "locked"), SUM)
    assert called.code == "TOOL_LOCKED"
    assert it.upstream.started == []


async def test_a_person_runs_a_locked_tool_by_hand(it: Consenting) -> None:
    reply = await it.invoke(it.person())
    assert reply.status == 200, reply.content
    data = reply.json["data"]
    assert data["result_type"] == "complete"
    assert data["result"]["content"][0]["text"] == "3"
    assert data["duration_ms"] >= 0
    assert "resultType" not in data["result"]
    assert it.upstream.started == ["add"]
    action, actor, noted = (await it.audited())[-1]
    assert (action, actor, noted["mode"]) == ("consent.consume", it.fleet.user_id, "invoke")


@pytest.mark.parametrize("tier", ["auto", "confirm"])
async def test_tools_of_the_other_tiers_are_run_by_hand_too(it: Consenting, tier: str) -> None:
    reply = await it.invoke(it.person(), tier=tier)
    assert reply.json["data"]["result_type"] == "complete"


async def test_a_failing_tool_is_a_result(it: Consenting) -> None:
    data = (await it.invoke(it.person(), "fail", arguments={})).json["data"]
    assert data["result_type"] == "complete"
    assert data["result"]["isError"] is True


async def test_a_server_that_cannot_be_reached_is_a_result(it: Consenting) -> None:
    row = it.rows["locked"]
    await it.fleet.registry.set_server(row, "endpoint_url = 'http://127.0.0.1:1/mcp'")
    try:
        data = (await it.invoke(it.person())).json["data"]
    finally:
        await it.fleet.registry.set_server(row, f"endpoint_url = '{row.endpoint_url}'")
    assert data["result"]["isError"] is True
    error = msgspec.json.decode(data["result"]["content"][0]["text"])["error"]
    assert error["code"] == "EndpointForbiddenError"
    assert error["request_id"].startswith("req_")
    assert it.upstream.started == []


async def test_a_question_of_the_server_is_answered_by_hand(it: Consenting) -> None:
    person = it.person()
    first = (await it.invoke(person, "wonder", arguments={})).json["data"]
    assert first["result_type"] == "input_required"
    assert list(first["input_requests"]) == ["really"]
    answer = {"really": {"action": "accept", "content": {"approve": False}}}
    state = first["request_state"]
    reply = await it.invoke(
        person, "wonder", arguments={}, input_responses=answer, request_state=state
    )
    said = reply.json["data"]["result"]["content"][0]["text"]
    assert said == "accept {'approve': False} theirs"
    forged = await it.invoke(person, "wonder", arguments={}, request_state="v1.forged")
    assert (forged.status, forged.word) == (422, "VALIDATION_ERROR")


@pytest.mark.row(64)
async def test_a_program_runs_nothing_by_hand(it: Consenting) -> None:
    reply = await it.invoke(it.program())
    assert (reply.status, reply.word) == (403, "INTERACTIVE_LOGIN_REQUIRED")
    client = await it.sign_in(client_id="cli_1", role="tenant_admin")
    reply = await it.invoke(it.person(client))
    assert reply.status == 403
    assert it.upstream.started == []


async def test_who_may_use_no_remote_server_runs_nothing(it: Consenting) -> None:
    reply = await it.invoke(it.person(await it.sign_in("tenant_viewer")))
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")


async def test_another_definition_than_was_shown_is_not_run(it: Consenting) -> None:
    reply = await it.invoke(it.person(), definition_hash="00" * 32)
    assert (reply.status, reply.word) == (409, "SCAILINK_CHANGE_STALE")
    assert it.upstream.started == []


async def test_a_held_tool_is_not_run(it: Consenting) -> None:
    await it.hold("add", "locked", CapabilityState.HELD)
    try:
        reply = await it.invoke(it.person())
    finally:
        await it.hold("add", "locked", CapabilityState.ADVERTISED)
    assert (reply.status, reply.word) == (409, "TOOL_HELD")


async def test_a_server_out_of_service_runs_nothing(it: Consenting) -> None:
    row = it.rows["locked"]
    await it.fleet.registry.set_state(row, "status = 'error'")
    try:
        reply = await it.invoke(it.person())
    finally:
        await it.fleet.registry.set_state(row, "status = 'active'")
    assert (reply.status, reply.word) == (409, "SCAILINK_STATE_CONFLICT")


async def test_tools_and_servers_that_are_not_there_are_404(it: Consenting) -> None:
    person = it.person()
    given = {"arguments": {}, "definition_hash": "00" * 32}
    reply = await it.invoke(person, "nothing", definition_hash="00" * 32)
    assert (reply.status, reply.word) == (404, "TOOL_NOT_FOUND")
    for server_id in ("rs_" + "0" * 26, "x", "%00"):
        path = f"/v1/modules/scailink/remote-servers/{server_id}/tools/add/invoke"
        reply = await person.send(given, path=path)
        assert (reply.status, reply.word) == (404, "SCAILINK_SERVER_NOT_FOUND")


async def test_another_users_own_server_is_not_run_by_a_manager(it: Consenting) -> None:
    row = await it.fleet.register(
        it.upstream.url, "theirs", is_tenant_shared=False, scope_key="usr_x", owner_user_id="usr_x"
    )
    path = f"/v1/modules/scailink/remote-servers/{row.id}/tools/add/invoke"
    reply = await it.person().send({"arguments": SUM, "definition_hash": "00" * 32}, path=path)
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")


FAULTS: dict[str, dict[str, Any]] = {
    "arguments": {"arguments": [1]},
    "definition_hash": {"definition_hash": "AB" * 32},
    "input_responses": {"input_responses": []},
    "request_state": {"request_state": 1},
    "argumnets": {"argumnets": {}},
}


@pytest.mark.parametrize("field", FAULTS)
async def test_a_malformed_invocation_names_the_field(it: Consenting, field: str) -> None:
    reply = await it.invoke(it.person(), **FAULTS[field])
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")
    assert [fault["field"] for fault in reply.json["error"]["details"]] == [field]
    assert it.upstream.started == []


async def test_the_body_of_an_invocation_is_read_strictly(it: Consenting) -> None:
    path = f"/v1/modules/scailink/remote-servers/{it.rows['locked'].id}/tools/add/invoke"
    person = it.person()
    for body, status, word in (
        (b"{", 400, "INVALID_JSON"),
        (b"[]", 400, "INVALID_JSON"),
        (b'{"arguments":{"a":1,"a":2}}', 400, "INVALID_JSON"),
        (b'{"arguments":{"a":"\\ud800"}}', 400, "INVALID_JSON"),
        (b'{"arguments":{"a":NaN}}', 400, "INVALID_JSON"),
        (b'{"a":' * 17 + b"1" + b"}" * 17, 400, "INVALID_JSON"),
        (b'{"arguments":"' + b"x" * 300_000 + b'"}', 413, "PAYLOAD_TOO_LARGE"),
    ):
        reply = await person.send(body, path=path)
        assert (reply.status, reply.word) == (status, word), body[:40]
    reply = await person.send(b"{}", path=path, headers={"content-type": "text/plain"})
    assert (reply.status, reply.word) == (415, "UNSUPPORTED_MEDIA_TYPE")
