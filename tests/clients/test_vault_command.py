"""Inspector and both TypeScript SDKs talk to ``scaivault-mcp``: over stdio, HTTP and HTTP+SSE."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.server import Served, serve_vault
from scaimcp.scaivault.catalogue import TOOLS
from tests.clients.node import (
    HERE,
    INSPECTOR,
    Answer,
    Call,
    Session,
    package_file,
    parse_inspector,
    run_inspector,
    run_node,
    run_ts,
)
from tests.integration.scaivault.child import AUTH_TOKEN, COMMAND, SECRET, environment, web

pytestmark = pytest.mark.slow

NAMES = [record.name for record in TOOLS]
SDKS = [
    ("v1", "legacy", None),
    ("v2", "legacy", "2025-11-25"),
    ("v2", "auto", "2026-07-28"),
    ("v2", "2026-07-28", "2026-07-28"),
]


@pytest_asyncio.fixture(scope="module")
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as served:
        yield served


@pytest.mark.parametrize(("sdk", "era", "revision"), SDKS)
async def test_a_typescript_client_lists_and_calls(
    vault: Served, sdk: str, era: str, revision: str | None
) -> None:
    server = {"command": COMMAND[0], "args": COMMAND[1:], "env": environment(vault.url)}
    call = {"name": "scaivault_read_secret", "arguments": {"path": SECRET}}
    session = {"label": "one", "sdk": sdk, "era": era, "server": server, "calls": [call]}
    job = msgspec.json.encode({"url": "stdio:", "sessions": [session]})
    done = await run_node([HERE / "stdio.mjs"], stdin=job)
    assert done.code == 0, done.stderr
    answer = msgspec.json.decode(done.stdout, type=dict[str, Answer])["one"]
    assert answer.error is None
    assert answer.protocol_version == revision
    assert answer.names == NAMES
    assert answer.results[0].structured_content["data"] == {"key": "stripe-demo-key"}


async def inspect(program: Path, era: str, *options: str) -> dict[str, object]:
    """Run Inspector's command line against a program that it starts."""
    done = await run_node(
        [
            *(package_file(INSPECTOR), "--cli", program, "--transport", "stdio"),
            *("--protocol-era", era, "--format", "json", "--quiet", *options),
        ]
    )
    run = parse_inspector(done)
    assert (run.code, run.error) == (0, None), run.stderr
    assert run.result is not None
    return run.result


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_inspectors_command_line_lists_and_calls(
    vault: Served, era: str, tmp_path: Path
) -> None:
    program = tmp_path / "scaivault-mcp"
    names = environment(vault.url)
    exports = [f"export {name}='{value}'" for name, value in names.items()]
    lines = ["#!/bin/sh", *exports, f"exec {' '.join(COMMAND)}"]
    program.write_text("\n".join(lines) + "\n")
    program.chmod(0o755)
    listed = await inspect(program, era, "--method", "tools/list", "--strict")
    tools = msgspec.convert(listed["tools"], list[dict[str, object]])
    assert [tool["name"] for tool in tools] == NAMES
    options = ("--tool-name", "scaivault_read_secret", "--tool-arg", f"path={SECRET}")
    result = await inspect(program, era, "--method", "tools/call", *options)
    assert "stripe-demo-key" in str(result["structuredContent"])
    prompts = await inspect(program, era, "--method", "prompts/list")
    assert "migrate-from-env" in str(prompts)
    resources = await inspect(program, era, "--method", "resources/list")
    assert "scaivault://guards" in str(resources)


HTTP = [
    ("sdk_v1.mjs", "legacy", "2025-11-25"),
    ("client_v2.mjs", "legacy", "2025-11-25"),
    ("client_v2.mjs", "auto", "2026-07-28"),
    ("client_v2.mjs", "2026-07-28", "2026-07-28"),
]
READ = Call("scaivault_read_secret", {"path": SECRET})


@pytest.mark.parametrize(("script", "era", "revision"), HTTP)
async def test_a_typescript_client_lists_and_calls_over_http(
    vault: Served, script: str, era: str, revision: str
) -> None:
    async with web("streamable-http", vault.url, MCP_AUTH_TOKEN=AUTH_TOKEN) as running:
        session = Session("one", AUTH_TOKEN, era, (READ,))
        answer = (await run_ts(script, f"{running.url}/mcp", [session]))["one"]
        stranger = Session("two", "wrong", era, (READ,))
        refused = (await run_ts(script, f"{running.url}/mcp", [stranger]))["two"]
    assert (answer.error, answer.protocol_version, answer.names) == (None, revision, NAMES)
    assert answer.results[0].structured_content["data"] == {"key": "stripe-demo-key"}
    assert refused.error is not None


async def test_a_typescript_client_lists_and_calls_over_sse(vault: Served) -> None:
    async with web("sse", vault.url, MCP_AUTH_TOKEN=AUTH_TOKEN) as running:
        session = Session("one", AUTH_TOKEN, "legacy", (READ,))
        answer = (await run_ts("sse.mjs", f"{running.url}/sse", [session]))["one"]
    assert (answer.error, answer.names) == (None, NAMES)
    assert answer.results[0].structured_content["data"] == {"key": "stripe-demo-key"}


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_inspectors_command_line_lists_and_calls_over_http(vault: Served, era: str) -> None:
    options = ("--tool-name", "scaivault_read_secret", "--tool-arg", f"path={SECRET}")
    async with web("streamable-http", vault.url, MCP_AUTH_TOKEN=AUTH_TOKEN) as running:
        ask = partial(run_inspector, f"{running.url}/mcp", AUTH_TOKEN, era)
        listed = await ask("tools/list")
        result = await ask("tools/call", *options)
    assert (listed.code, result.code) == (0, 0), result.stderr
    assert listed.result is not None
    assert [tool["name"] for tool in listed.result["tools"]] == NAMES
    assert "stripe-demo-key" in str(result.result)
