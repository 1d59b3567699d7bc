"""Clients that other people wrote list and call through the gateway, as every role.

Inspector, both TypeScript SDKs (one Node process each serves all roles) and the Python SDK.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.catalogue import expected_tools
from tests.clients.node import Answer, Call, Session, ToolResult, run_inspector, run_ts

pytestmark = pytest.mark.slow

ROLES = (
    "super_admin",
    "tenant_admin",
    "tenant_user",
    "tenant_viewer",
    "no_roles",
    "other_tenant_admin",
)
LEGACY = "2025-11-25"
MODERN = "2026-07-28"
ME = Call("me_get")
MODELS = Call("models_list", {"limit": 5})
# Only members that nobody lacks: the platform's super_admin has no tenant.
ME_KEYS = {"user", "roles", "permissions", "auth", "permissions_source"}
LIST_KEYS = {"items", "has_more"}

# Script, era in the client's words, revision that must be negotiated (None: it does not say).
NODE_CLIENTS = [
    ("inspector.mjs", "legacy", None),
    ("inspector.mjs", "modern", None),
    ("sdk_v1.mjs", "legacy", LEGACY),
    ("client_v2.mjs", "legacy", LEGACY),
    ("client_v2.mjs", "auto", MODERN),
    ("client_v2.mjs", MODERN, MODERN),
]
PYTHON_MODES = [("auto", MODERN), ("legacy", LEGACY), (MODERN, MODERN)]


class Gateway(Protocol):
    """A running gateway with a bearer for each of `ROLES`."""

    mcp_url: str
    tokens: Mapping[str, str]


def calls(role: str) -> tuple[Call, ...]:
    return (ME, MODELS) if MODELS.name in expected_tools(role) else (ME,)


def check_result(role: str, call: Call, result: ToolResult) -> None:
    where = f"{call.name} as {role}"
    structured: Any = result.structured_content
    assert not result.is_error, f"{where}: {result.content}"
    assert isinstance(structured, dict), where
    assert structured.keys() >= (ME_KEYS if call == ME else LIST_KEYS), where
    assert [block["type"] for block in result.content] == ["text"], where
    assert json.loads(result.content[0]["text"]) == structured, where


def check_answer(role: str, answer: Answer, revision: str | None) -> None:
    assert answer.error is None, f"{role}: {answer.error}"
    assert answer.names == expected_tools(role), role
    assert all(tool["description"] and tool["inputSchema"] for tool in answer.tools), role
    assert revision in (None, answer.protocol_version), role
    for call, result in zip(calls(role), answer.results, strict=True):
        check_result(role, call, result)


@pytest.mark.parametrize(
    ("script", "era", "revision"),
    NODE_CLIENTS,
    ids=[f"{script.removesuffix('.mjs')}-{era}" for script, era, _ in NODE_CLIENTS],
)
async def test_a_node_client_sees_and_calls_what_its_role_may(
    script: str, era: str, revision: str | None, gateway: Gateway
) -> None:
    sessions = [Session(role, gateway.tokens[role], era, calls(role)) for role in ROLES]
    answers = await run_ts(script, gateway.mcp_url, sessions)
    assert list(answers) == list(ROLES)
    for role, answer in answers.items():
        check_answer(role, answer, revision)


async def python_answer(url: str, token: str, mode: str, wanted: tuple[Call, ...]) -> Answer:
    """Do in the Python SDK what the Node scripts do."""
    headers = {"Authorization": f"Bearer {token}"}
    tools: list[dict[str, Any]] = []
    results: list[ToolResult] = []
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        page = await client.list_tools()
        tools += [tool.model_dump(by_alias=True) for tool in page.tools]
        while page.next_cursor is not None:
            page = await client.list_tools(cursor=page.next_cursor)
            tools += [tool.model_dump(by_alias=True) for tool in page.tools]
        for call in wanted:
            got = await client.call_tool(call.name, call.arguments)
            content = [block.model_dump(by_alias=True) for block in got.content]
            results.append(ToolResult(content, bool(got.is_error), got.structured_content))
        return Answer(client.protocol_version, tools, results, None)


@pytest.mark.parametrize(("mode", "revision"), PYTHON_MODES, ids=[mode for mode, _ in PYTHON_MODES])
async def test_the_python_client_sees_and_calls_what_its_role_may(
    mode: str, revision: str, gateway: Gateway
) -> None:
    for role in ROLES:
        answer = await python_answer(gateway.mcp_url, gateway.tokens[role], mode, calls(role))
        check_answer(role, answer, revision)


@pytest.mark.parametrize("era", ["legacy", "modern"])
@pytest.mark.parametrize("token", [None, "not-a-token"])
async def test_inspector_is_told_to_authenticate(
    era: str, token: str | None, gateway: Gateway
) -> None:
    run = await run_inspector(gateway.mcp_url, token, era, "tools/list")
    assert (run.code, run.result) == (3, None)
    assert run.error is not None
    assert run.error["code"] == "auth_required"


async def test_inspector_run_as_a_person_would_calls_a_tool(gateway: Gateway) -> None:
    token = gateway.tokens["tenant_user"]
    options = ("--tool-name", "models_list", "--tool-arg", "limit=5")
    run = await run_inspector(gateway.mcp_url, token, "modern", "tools/call", *options)
    assert (run.code, run.error) == (0, None)
    assert run.result is not None
    assert run.result["structuredContent"].keys() >= LIST_KEYS


async def test_inspector_reports_a_tool_that_the_caller_does_not_have(gateway: Gateway) -> None:
    token = gateway.tokens["no_roles"]
    options = ("--tool-name", "models_list")
    run = await run_inspector(gateway.mcp_url, token, "modern", "tools/call", *options)
    assert run.code == 5
    assert run.error is not None
    assert run.error["code"] == "tool_not_found"
