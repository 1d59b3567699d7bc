"""Revision 2026-07-28 on a whole gateway: stateless, with headers that repeat the body."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.world import CAPABILITIES, MODERN, VERSION, World

REQUEST_ID = "ai.scailabs.scaimcp/request_id"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
LIST = {"mcp-method": "tools/list"}


def body(method: str = "tools/list", **params: Any) -> dict[str, Any]:
    """Return a request whose `_meta` is whole unless `params` says otherwise."""
    params.setdefault("_meta", {VERSION: MODERN, CAPABILITIES: {}})
    return {"jsonrpc": "2.0", "id": 3, "method": method, "params": params}


async def refused(world: World, content: Any, headers: Any, status: int, number: int) -> Any:
    """Send and compare; return the error."""
    reply = await world.as_("tenant_user", MODERN).send(content, headers=headers)
    assert (reply.status, reply.error["code"]) == (status, number), reply.content
    return reply.error


# -- results -------------------------------------------------------------------------------------


async def test_discover_says_versions_and_capabilities(world: World) -> None:
    result = (await world.as_("no_roles", MODERN).rpc("server/discover")).result
    assert result["resultType"] == "complete"
    assert result["supportedVersions"][0] == MODERN
    assert len(result["supportedVersions"]) == 5
    assert result["capabilities"] == {
        "tools": {"listChanged": True},
        "resources": {},
        "prompts": {},
        "completions": {},
    }
    assert result["ttlMs"] > 0
    assert result["cacheScope"] == "private"
    assert result["instructions"]


@pytest.mark.parametrize(
    "method",
    ["server/discover", "tools/list", "resources/list", "resources/templates/list", "prompts/list"],
)
async def test_every_result_names_server_and_request(world: World, method: str) -> None:
    reply = await world.as_("tenant_user", MODERN).rpc(method)
    assert reply.result["resultType"] == "complete"
    meta = reply.result["_meta"]
    assert meta[SERVER_INFO]["name"] == "scaimcp"
    assert meta[REQUEST_ID] == reply.headers["x-request-id"]
    assert "mcp-session-id" not in reply.headers


@pytest.mark.parametrize(
    "method", ["tools/list", "resources/list", "resources/templates/list", "prompts/list"]
)
async def test_every_list_may_be_kept_a_minute_by_its_caller_alone(
    world: World, method: str
) -> None:
    result = (await world.as_("tenant_user", MODERN).rpc(method)).result
    assert (result["ttlMs"], result["cacheScope"]) == (60_000, "private")


async def test_a_call_answers_text_and_structure(world: World) -> None:
    called = await world.as_("tenant_user", MODERN).call("models_list", {"limit": 2})
    assert called.value["items"]
    assert called.reply.result["resultType"] == "complete"
    assert called.reply.result["structuredContent"] == called.value


async def test_a_failed_call_is_complete_too(world: World) -> None:
    called = await world.as_("tenant_user", MODERN).call("models_list", {"limit": "many"})
    assert called.code == "INVALID_ARGUMENTS"
    assert called.reply.result["resultType"] == "complete"


async def test_client_info_is_not_needed(world: World) -> None:
    info = {"io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"}}
    meta = {VERSION: MODERN, CAPABILITIES: {}, **info}
    for content in (body(), body(_meta=meta)):
        reply = await world.as_("tenant_user", MODERN).send(content, headers=LIST)
        assert reply.status == 200


async def test_a_session_id_is_ignored(world: World) -> None:
    headers = {"mcp-session-id": "nonsense"}
    reply = await world.as_("tenant_user", MODERN).rpc("tools/list", headers=headers)
    assert reply.status == 200


# -- the envelope --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {VERSION: MODERN},
        {CAPABILITIES: {}},
        {VERSION: MODERN, CAPABILITIES: None},
        {VERSION: MODERN, CAPABILITIES: []},
        {VERSION: MODERN, CAPABILITIES: {}, "progressToken": 1.5},
    ],
)
async def test_an_incomplete_envelope_is_invalid(world: World, meta: dict[str, Any]) -> None:
    await refused(world, body(_meta=meta), LIST, 400, -32602)


async def test_a_request_without_params_has_no_envelope(world: World) -> None:
    content = {"jsonrpc": "2.0", "id": 3, "method": "tools/list"}
    await refused(world, content, LIST, 400, -32602)


async def test_an_envelope_of_another_version_is_a_mismatch(world: World) -> None:
    meta = {VERSION: "2025-11-25", CAPABILITIES: {}}
    await refused(world, body(_meta=meta), LIST, 400, -32020)


async def test_an_unknown_version_is_refused_with_those_served(world: World) -> None:
    meta = {VERSION: "2027-01-01", CAPABILITIES: {}}
    headers = {**LIST, "mcp-protocol-version": "2027-01-01"}
    error = await refused(world, body(_meta=meta), headers, 400, -32022)
    assert error["data"]["requested"] == "2027-01-01"
    assert MODERN in error["data"]["supported"]


# -- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [{}, {"mcp-method": "tools/call"}, {"mcp-method": "TOOLS/LIST"}, {"mcp-method": ""}],
)
async def test_a_missing_or_different_method_header_is_a_mismatch(
    world: World, headers: dict[str, str]
) -> None:
    await refused(world, body(), headers, 400, -32020)


@pytest.mark.parametrize("name", [None, "models_get", "Models_list", "=?base64?bW9kZWxz?="])
async def test_a_missing_or_different_name_header_is_a_mismatch(
    world: World, name: str | None
) -> None:
    headers = {"mcp-method": "tools/call", "mcp-name": name}
    await refused(world, body("tools/call", name="models_list"), headers, 400, -32020)


@pytest.mark.parametrize(
    "name",
    ["models_list", "  models_list\t", f"=?base64?{base64.b64encode(b'models_list').decode()}?="],
)
async def test_a_name_header_may_be_padded_or_encoded(world: World, name: str) -> None:
    headers = {"Mcp-Method": "tools/call", "MCP-NAME": name}
    content = body("tools/call", name="models_list")
    reply = await world.as_("tenant_user", MODERN).send(content, headers=headers)
    assert reply.status == 200


@pytest.mark.parametrize("name", ["mcp-method", "mcp-protocol-version", "mcp-name"])
async def test_a_routing_header_that_comes_twice_is_a_mismatch(world: World, name: str) -> None:
    client = world.as_("tenant_user", MODERN)
    lines = [
        ("content-type", "application/json"),
        ("authorization", f"Bearer {client.token}"),
        ("mcp-protocol-version", MODERN),
        ("mcp-method", "tools/call"),
        ("mcp-name", "me_get"),
    ]
    lines.append(next(line for line in lines if line[0] == name))
    async with world.http.post(
        world.mcp_url, json=body("tools/call", name="me_get"), headers=lines
    ) as response:
        assert response.status == 400
        assert (await response.json())["error"]["code"] == -32020


# -- errors and statuses -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method",
    ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe",
     "tasks/get", "nothing", ""],
)  # fmt: skip
async def test_removed_and_unknown_methods_are_404(world: World, method: str) -> None:
    error = await refused(world, body(method), {"mcp-method": method}, 404, -32601)
    assert "data" not in error


async def test_an_unknown_tool_is_a_protocol_error_with_suggestions(world: World) -> None:
    reply = await world.as_("tenant_user", MODERN).rpc("tools/call", {"name": "models_lst"})
    assert (reply.status, reply.error["code"], reply.word) == (400, -32602, "TOOL_NOT_FOUND")
    assert "models_list" in reply.error["data"]["error"]["details"][0]["message"]


async def test_a_tool_that_may_not_be_called_is_a_failed_call(world: World) -> None:
    called = await world.as_("tenant_user", MODERN).call("tenants_list")
    assert (called.reply.status, called.code) == (200, "PERMISSION_DENIED")


@pytest.mark.parametrize("arguments", [[], "x", 5, True])
@pytest.mark.parametrize("revision", [MODERN, "2025-11-25"])
async def test_arguments_that_are_no_object_are_invalid_params(
    world: World, revision: str, arguments: Any
) -> None:
    params = {"name": "models_list", "arguments": arguments}
    reply = await world.as_("tenant_user", revision).rpc("tools/call", params)
    expected = 400 if revision == MODERN else 200
    assert (reply.status, reply.error["code"]) == (expected, -32602)


async def test_a_call_without_a_name_is_invalid(world: World) -> None:
    await refused(world, body("tools/call"), {"mcp-method": "tools/call"}, 400, -32602)


async def test_an_unknown_resource_names_its_uri(world: World) -> None:
    reply = await world.as_("tenant_user", MODERN).rpc("resources/read", {"uri": "test://é"})
    assert (reply.status, reply.error["code"]) == (400, -32602)
    assert reply.error["data"] == {"uri": "test://é"}


async def test_an_unknown_prompt_is_invalid(world: World) -> None:
    reply = await world.as_("tenant_user", MODERN).rpc("prompts/get", {"name": "x"})
    assert (reply.status, reply.error["code"]) == (400, -32602)


async def test_params_of_the_wrong_type_are_invalid(world: World) -> None:
    await refused(world, body("tools/list", cursor=5), LIST, 400, -32602)


async def test_the_request_id_comes_back_even_with_an_error(world: World) -> None:
    client = world.as_("tenant_user", MODERN)
    reply = await client.rpc("nothing", message_id="é", headers={"mcp-method": "nothing"})
    assert reply.json["id"] == "é"


async def test_a_response_is_not_accepted(world: World) -> None:
    await refused(world, {"jsonrpc": "2.0", "id": 1, "result": {}}, {}, 400, -32600)


async def test_a_batch_is_not_accepted(world: World) -> None:
    await refused(world, [body()], LIST, 400, -32600)


async def test_a_notification_is_accepted_and_ignored(world: World) -> None:
    content = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    reply = await world.as_("tenant_user", MODERN).send(content)
    assert (reply.status, reply.content) == (202, b"")


async def test_the_list_is_the_same_every_time_and_on_every_connection(world: World) -> None:
    first = (await world.as_("tenant_user", MODERN).rpc("tools/list")).result["tools"]
    again = (await world.as_("tenant_user", MODERN).rpc("tools/list")).result["tools"]
    assert first == again


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER_TRACE = "00-11111111111111111111111111111111-2222222222222222-00"


@pytest.mark.parametrize(
    ("named", "header", "sent"),
    [
        (TRACE, None, TRACE),
        (TRACE, OTHER_TRACE, OTHER_TRACE),
        ("00-nonsense", None, None),
        (["00"], None, None),
    ],
)
async def test_the_trace_of_the_envelope_reaches_the_platform(
    world: World, named: Any, header: str | None, sent: str | None
) -> None:
    await world.control("DELETE", "/calls")
    lines = {"mcp-method": "tools/call", "mcp-name": "models_list", "traceparent": header}
    params = {"name": "models_list", "_meta": {"traceparent": named}}
    reply = await world.as_("tenant_user", MODERN).rpc("tools/call", params, headers=lines)
    assert reply.status == 200
    [call] = await world.calls("/v1/models")
    assert call["headers"].get("traceparent") == sent
