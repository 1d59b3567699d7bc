"""The official Python SDK talks to ``scaivault-mcp`` over every transport, in both eras."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest
import pytest_asyncio
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.types import PromptReference

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.server import Served, serve_vault
from scaimcp.scaivault.catalogue import BY_NAME, TOOLS
from tests.integration.scaivault.case import Case, filled
from tests.integration.scaivault.cases import CASES
from tests.integration.scaivault.child import AUTH_TOKEN, COMMAND, ROOT, environment, web
from tests.integration.scaivault.desk import open_desk
from tests.integration.scaivault.world import furnish

pytestmark = pytest.mark.slow

SECRET = "integrations/stripe/api-key"
MODERN, LEGACY = "2026-07-28", "2025-11-25"
RUNS = [
    ("stdio", "legacy", LEGACY),
    ("stdio", "auto", MODERN),
    ("stdio", MODERN, MODERN),
    ("sse", "legacy", LEGACY),
    ("sse", "auto", LEGACY),
    ("streamable-http", "legacy", LEGACY),
    ("streamable-http", "auto", MODERN),
    ("streamable-http", MODERN, MODERN),
]
# The command has the clock of the machine, the vault one that stands still; ids of what a call
# has made are not known before it.
OWN = re.compile(r"(?<=[?&])(from|to)=[^&]*|(?<=/)(ord|chl)_[0-9a-f]+")
ORDER = Case(
    "request_certificate",
    {
        "account_id": "{acme}",
        "domains": ["b.example.com"],
        "challenge_type": "http-01",
        "wait_seconds": 0,
    },
    (
        "POST /v1/pki/acme/orders",
        "POST /v1/pki/acme/orders/ord_0/challenges/chl_0/complete",
    ),
    {"account_id": "{acme}", "domains": ["b.example.com"], "challenge_type": "http-01"},
    ("id", "status"),
)


@pytest_asyncio.fixture(scope="module")
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as served:
        yield served


@asynccontextmanager
async def connected(transport: str, url: str, mode: Any, **guards: str) -> AsyncIterator[Client]:
    """Return a client of a command that is started for it."""
    async with AsyncExitStack() as stack:
        server: Any
        if transport == "stdio":
            env = environment(url, **guards)
            server = StdioServerParameters(
                command=COMMAND[0], args=list(COMMAND[1:]), env=env, cwd=ROOT
            )
        else:
            running = await stack.enter_async_context(
                web(transport, url, MCP_AUTH_TOKEN=AUTH_TOKEN, **guards)
            )
            headers = {"Authorization": f"Bearer {AUTH_TOKEN}"}
            if transport == "sse":
                server = sse_client(f"{running.url}/sse", headers=headers)
            else:
                http = await stack.enter_async_context(
                    httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False)
                )
                server = streamable_http_client(f"{running.url}/mcp", http_client=http)
        yield await stack.enter_async_context(Client(server, mode=mode))


@pytest.mark.parametrize(("transport", "mode", "revision"), RUNS)
async def test_the_python_client_uses_everything(
    vault: Served, transport: str, mode: str, revision: str
) -> None:
    async with connected(transport, vault.url, mode) as client:
        assert client.protocol_version == revision
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == [record.name for record in TOOLS]
        result = await client.call_tool("scaivault_read_secret", {"path": SECRET})
        assert not result.is_error
        assert "stripe-demo-key" in str(result.content)
        resources = (await client.list_resources()).resources
        uri = f"scaivault://secrets/tnt_a/{SECRET}"
        assert uri in [str(resource.uri) for resource in resources]
        read = await client.read_resource(uri)
        assert "stripe-demo-key" in str(read.contents)
        templates = (await client.list_resource_templates()).resource_templates
        assert len(templates) == 5
        prompts = (await client.list_prompts()).prompts
        assert len(prompts) == 3
        prompt = await client.get_prompt("rotate-credential", {"path": SECRET})
        assert SECRET in str(prompt.messages)
        reference = PromptReference(type="ref/prompt", name="rotate-credential")
        argument = {"name": "path", "value": "integrations/"}
        found = await client.complete(reference, argument)
        assert SECRET in found.completion.values


@pytest.mark.parametrize("transport", ["stdio", "sse", "streamable-http"])
async def test_the_python_client_calls_every_tool(transport: str) -> None:
    """Each call of a vault that has something of every kind is the request of its record."""
    cases = (*CASES, ORDER)
    assert {f"scaivault_{case.tool}" for case in cases} == {record.name for record in TOOLS}
    async with open_desk() as desk, connected(transport, desk.served.url, "auto") as client:
        for case in cases:
            desk.served.vault.reset()
            ids = await furnish(desk)
            name, arguments = f"scaivault_{case.tool}", filled(case.arguments, ids)
            result = await client.call_tool(name, arguments)
            said = str(result.content)
            assert not result.is_error, (name, said)
            assert [OWN.sub("", line) for line in desk.lines()] == [
                OWN.sub("", line) for line in filled(case.lines, ids)
            ]
            bodies = [msgspec.json.decode(row["body"]) for row in desk.sent() if row["body"]]
            assert bodies == ([] if case.body is None else [filled(case.body, ids)])
            assert [member for member in case.shows if member not in said] == [], name


def has_path(case: Case) -> bool:
    """Tell whether a tool takes the path of a secret; their cases are below app or external."""
    checks = BY_NAME[f"scaivault_{case.tool}"].checks
    return any((check.kind, check.where) == ("path", "path") for check in checks)


@pytest.mark.parametrize("transport", ["stdio", "sse", "streamable-http"])
async def test_guards_refuse_every_tool_that_they_are_for(transport: str) -> None:
    changing = [case for case in (*CASES, ORDER) if not is_reading(case)]
    on_paths = [case for case in CASES if has_path(case)]
    assert len({case.tool for case in changing}) == 27
    assert len({case.tool for case in on_paths}) == 8
    runs = (
        ("READ_ONLY", changing, {"SCAIVAULT_READ_ONLY": "true"}),
        ("PATH_DENIED", on_paths, {"SCAIVAULT_DENIED_PATHS": "app,external"}),
    )
    async with open_desk() as desk:
        ids = await furnish(desk)
        for code, cases, guards in runs:
            async with connected(transport, desk.served.url, "auto", **guards) as client:
                for case in cases:
                    name = f"scaivault_{case.tool}"
                    result = await client.call_tool(name, filled(case.arguments, ids))
                    assert result.is_error, name
                    assert f'"code":"{code}"' in result.content[0].text, name
        assert desk.lines() == []


def is_reading(case: Case) -> bool:
    return BY_NAME[f"scaivault_{case.tool}"].tool_class == "read"
