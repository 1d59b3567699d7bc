"""The handshake revisions on a whole gateway: initialize, sessions, what each revision is told."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import msgspec
import pytest

from scaimcp.sealing import Sealer
from scaimcp.server.session import LIFE_SECONDS, Session
from scaimcp.settings import load
from tests.world import LATEST, STATE_KEY, Client, World

HANDSHAKE = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STRUCTURED = ("2025-06-18", "2025-11-25")
REQUEST_ID = "ai.scailabs.scaimcp/request_id"


async def session_of(client: Client, revision: str = LATEST) -> str:
    return str((await client.initialize(revision)).headers["mcp-session-id"])


async def ping(client: Client, session: str, revision: str | None = None) -> Any:
    return await client.using(revision=revision).rpc("ping", headers={"mcp-session-id": session})


def sealed(session: Session) -> str:
    """Return a session id as this gateway would have made it."""
    ring = load({"SCAIMCP_STATE_KEYS": STATE_KEY}).state_keys
    assert ring is not None
    return Sealer(ring, "session").seal(msgspec.msgpack.encode(session))


# -- initialize ----------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_initialize_settles_on_the_revision_asked_for(world: World, revision: str) -> None:
    reply = await world.as_("tenant_user").initialize(revision)
    assert reply.status == 200
    assert reply.result["protocolVersion"] == revision
    assert reply.result["serverInfo"].keys() == {"name", "version"}
    assert reply.result["instructions"]
    assert "resultType" not in reply.result


@pytest.mark.parametrize("asked", ["2026-07-28", "2023-01-01", "next"])
async def test_initialize_offers_the_newest_to_those_who_ask_for_another(
    world: World, asked: str
) -> None:
    reply = await world.as_("tenant_user").initialize(asked)
    assert reply.result["protocolVersion"] == LATEST


@pytest.mark.parametrize("header", [None, "2025-06-18", "1999-01-01"])
async def test_initialize_does_not_look_at_the_version_header(
    world: World, header: str | None
) -> None:
    client = world.as_("tenant_user", None)
    params = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": {"name": "x"}}
    reply = await client.rpc("initialize", params, headers={"mcp-protocol-version": header})
    assert reply.result["protocolVersion"] == "2025-03-26"


async def test_initialize_without_a_version_is_invalid(world: World) -> None:
    reply = await world.as_("tenant_user", None).rpc("initialize", {"capabilities": {}})
    assert (reply.status, reply.error["code"]) == (200, -32602)
    assert "mcp-session-id" not in reply.headers


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_handshake_clients_are_not_promised_list_changes(world: World, revision: str) -> None:
    capabilities = (await world.as_("tenant_user").initialize(revision)).result["capabilities"]
    assert capabilities["tools"] == capabilities["resources"] == capabilities["prompts"] == {}
    assert ("completions" in capabilities) is (revision != "2024-11-05")
    assert "logging" not in capabilities


@pytest.mark.parametrize("method", ["notifications/initialized", "notifications/anything"])
async def test_a_notification_is_accepted_without_an_answer(world: World, method: str) -> None:
    client = world.as_("tenant_user")
    session = await session_of(client)
    body = {"jsonrpc": "2.0", "method": method}
    reply = await client.send(body, headers={"mcp-session-id": session})
    assert (reply.status, reply.content) == (202, b"")


async def test_a_request_without_an_id_is_a_notification_and_does_nothing(world: World) -> None:
    before = len(await world.calls("/v1/models"))
    body = {"jsonrpc": "2.0", "method": "tools/call", "params": {"name": "models_list"}}
    reply = await world.as_("tenant_user").send(body)
    assert (reply.status, reply.content) == (202, b"")
    assert len(await world.calls("/v1/models")) == before


async def test_a_response_is_accepted_without_an_answer(world: World) -> None:
    reply = await world.as_("tenant_user").send({"jsonrpc": "2.0", "id": 9, "result": {}})
    assert (reply.status, reply.content) == (202, b"")


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_ping_is_answered_with_the_empty_object(world: World, revision: str) -> None:
    reply = await world.as_("no_roles", revision).rpc("ping", message_id="a")
    assert (reply.status, reply.json) == (200, {"jsonrpc": "2.0", "id": "a", "result": {}})


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen", "logging/setLevel"])
async def test_methods_of_other_revisions_are_not_found(world: World, method: str) -> None:
    reply = await world.as_("tenant_user").rpc(method)
    assert (reply.status, reply.error["code"]) == (200, -32601)


# -- sessions ------------------------------------------------------------------------------------


async def test_a_session_id_is_visible_ascii(world: World) -> None:
    session = await session_of(world.as_("tenant_user"))
    assert session.isascii()
    assert session.isprintable()
    assert " " not in session


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_without_a_version_header_the_session_says_the_revision(
    world: World, revision: str
) -> None:
    client = world.as_("tenant_user")
    session = await session_of(client, revision)
    silent = client.using(revision=None, headers={"mcp-session-id": session})
    tool = (await silent.rpc("tools/list")).result["tools"][0]
    assert ("annotations" in tool) is (revision != "2024-11-05")
    assert ("title" in tool) is (revision in STRUCTURED)


async def test_without_header_and_session_2025_03_26_is_assumed(world: World) -> None:
    tool = (await world.as_("tenant_user", None).rpc("tools/list")).result["tools"][0]
    assert "title" in tool["annotations"]
    assert "title" not in tool


async def test_the_header_may_differ_from_the_session(world: World) -> None:
    client = world.as_("tenant_user")
    session = await session_of(client)
    assert (await ping(client, session, "2025-03-26")).status == 200


@pytest.mark.parametrize("other", ["tenant_admin", "other_tenant_user", "super_admin"])
async def test_a_foreign_session_is_404(world: World, other: str) -> None:
    session = await session_of(world.as_("tenant_user"))
    reply = await ping(world.as_(other), session, LATEST)
    assert (reply.status, reply.word) == (404, "NOT_FOUND")


@pytest.mark.parametrize("session", ["nonsense", "AAAA", "x" * 5_000])
async def test_an_unreadable_session_is_404(world: World, session: str) -> None:
    reply = await ping(world.as_("tenant_user"), session, LATEST)
    assert (reply.status, reply.word) == (404, "NOT_FOUND")


async def test_a_tampered_session_is_404_and_its_client_can_initialize_again(world: World) -> None:
    client = world.as_("tenant_user")
    session = await session_of(client)
    other = "A" if session[40] != "A" else "B"
    reply = await ping(client, session[:40] + other + session[41:])
    assert reply.status == 404
    again = await client.initialize()
    assert again.status == 200
    assert again.headers["mcp-session-id"] != session


async def test_a_notification_with_an_unreadable_session_is_404(world: World) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    reply = await world.as_("tenant_user").send(body, headers={"mcp-session-id": "nonsense"})
    assert (reply.status, reply.json["id"]) == (404, None)


async def test_a_session_of_yesterday_counts_as_absent(world: World) -> None:
    client = world.as_("tenant_user")
    me = (await client.call("me_get")).value
    fields = (me["tenant"]["id"], me["user"]["id"], "/mcp", "2024-11-05", "x", ())
    young = Session(*fields, int(time.time()) - LIFE_SECONDS + 60, b"n" * 16)
    old = Session(*fields, int(time.time()) - LIFE_SECONDS - 60, b"n" * 16)
    silent = client.using(revision=None)
    for session, is_known in ((young, True), (old, False)):
        reply = await silent.rpc("tools/list", headers={"mcp-session-id": sealed(session)})
        assert ("annotations" in reply.result["tools"][0]) is not is_known


async def test_a_session_of_another_endpoint_is_404(world: World) -> None:
    me = (await world.as_("tenant_user").call("me_get")).value
    fields = (me["tenant"]["id"], me["user"]["id"], "/mcp/u/else", LATEST, "x", ())
    session = sealed(Session(*fields, int(time.time()), b"n" * 16))
    assert (await ping(world.as_("tenant_user"), session)).status == 404


async def test_a_session_gives_no_right(world: World) -> None:
    session = await session_of(world.as_("tenant_user"))
    reply = await ping(world.as_(None), session)
    assert (reply.status, reply.word) == (401, "AUTH_TOKEN_MISSING")


# -- versions ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1999-01-01", "2025-11-26", "", "latest"])
async def test_an_unknown_version_is_refused_with_those_served(world: World, version: str) -> None:
    reply = await world.as_("tenant_user", None).rpc(
        "tools/list", headers={"mcp-protocol-version": version}
    )
    assert (reply.status, reply.error["code"]) == (400, -32022)
    assert reply.error["data"] == {
        "supported": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
        "requested": version,
    }


async def test_a_modern_body_under_a_handshake_header_is_refused(world: World) -> None:
    body = world.as_("tenant_user", "2026-07-28").request("tools/list")
    for version in (LATEST, None):
        reply = await world.as_("tenant_user", version).send(body)
        assert (reply.status, reply.error["code"]) == (400, -32020)


# -- what each revision is told ------------------------------------------------------------------


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_a_list_is_spelled_for_its_revision(world: World, revision: str) -> None:
    result = (await world.as_("tenant_user", revision).rpc("tools/list")).result
    assert result.keys() == {"tools", "_meta"}
    keys = {"name", "description", "inputSchema"}
    keys |= {"annotations"} if revision != "2024-11-05" else set()
    keys |= {"title", "outputSchema", "_meta"} if revision in STRUCTURED else set()
    assert all(tool.keys() == keys for tool in result["tools"])


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_a_result_is_spelled_for_its_revision(world: World, revision: str) -> None:
    called = await world.as_("tenant_user", revision).call("models_list", {"limit": 2})
    result = called.reply.result
    assert result["isError"] is False
    assert json.loads(result["content"][0]["text"])["items"]
    assert ("structuredContent" in result) is (revision in STRUCTURED)
    assert "resultType" not in result
    assert result["_meta"].keys() == {REQUEST_ID}


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_an_unknown_tool_is_a_failed_call(world: World, revision: str) -> None:
    called = await world.as_("tenant_user", revision).call("models_lst")
    assert (called.reply.status, called.code) == (200, "TOOL_NOT_FOUND")
    assert "models_list" in called.error["details"][0]["message"]


@pytest.mark.parametrize("revision", HANDSHAKE)
async def test_audio_reaches_each_revision_in_a_form_it_knows(world: World, revision: str) -> None:
    arguments = {"model": "scailabs/tone-1", "input": "one two", "voice": "alloy"}
    called = await world.as_("tenant_user", revision).call("inference_synthesize", arguments)
    (block,) = called.blocks
    if revision == "2024-11-05":
        assert block["type"] == "resource"
        data = block["resource"]["blob"]
    else:
        assert block["type"] == "audio"
        data = block["data"]
    assert base64.b64decode(data).startswith(b"RIFF")


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ],
)
async def test_surfaces_without_a_source_are_empty_lists(
    world: World, method: str, key: str
) -> None:
    reply = await world.as_("tenant_user").rpc(method)
    assert reply.result[key] == []
    stale = await world.as_("tenant_user").rpc(method, {"cursor": "x"})
    assert stale.error["code"] == -32602


async def test_an_unknown_resource_has_the_number_of_its_revision(world: World) -> None:
    client = world.as_("tenant_user")
    reply = await client.rpc("resources/read", {"uri": "test://nothing"})
    assert (reply.status, reply.error["code"]) == (200, -32002)
    assert reply.error["data"] == {"uri": "test://nothing"}
    assert (await client.rpc("resources/read")).error["code"] == -32602


async def test_an_unknown_prompt_is_invalid(world: World) -> None:
    client = world.as_("tenant_user")
    for params in ({"name": "nothing"}, {}):
        reply = await client.rpc("prompts/get", params)
        assert (reply.status, reply.error["code"]) == (200, -32602)


@pytest.mark.parametrize(
    "reference", [{"type": "ref/prompt", "name": "x"}, {"type": "ref/resource", "uri": "a://{b}"}]
)
async def test_a_completion_suggests_nothing(world: World, reference: dict[str, str]) -> None:
    params = {"ref": reference, "argument": {"name": "a", "value": ""}}
    reply = await world.as_("tenant_user").rpc("completion/complete", params)
    assert reply.result["completion"] == {"values": []}


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ref": {"type": "ref/prompt", "name": "x"}},
        {"ref": {"type": "ref/prompt"}, "argument": {"name": "a", "value": ""}},
        {"ref": {"type": "ref/other", "name": "x"}, "argument": {"name": "a", "value": ""}},
        {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a"}},
    ],
)
async def test_a_completion_of_nothing_in_particular_is_invalid(
    world: World, params: dict[str, Any]
) -> None:
    reply = await world.as_("tenant_user").rpc("completion/complete", params)
    assert reply.error["code"] == -32602


async def test_the_first_revision_has_no_completions(world: World) -> None:
    reply = await world.as_("tenant_user", "2024-11-05").rpc("completion/complete")
    assert reply.error["code"] == -32601
