"""What the client pages tell people to paste works."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from scaimcp.catalog.contributed import read_manifest
from tests.clients.node import node
from tests.world import LATEST, World

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "clients"
SHOWN_URL = "http://127.0.0.1:8080/mcp"
SHOWN_TOKEN = "sgk_your_key"
FENCE = re.compile(r"```(\w+) (config|run)\n(.*?)```", re.DOTALL)


def snippets(page: str, purpose: str) -> list[tuple[str, str]]:
    """Return (language, text) of the page's snippets for `purpose`."""
    text = (PAGES / page).read_text(encoding="utf-8")
    found = [(match[1], match[3]) for match in FENCE.finditer(text) if match[2] == purpose]
    assert found, f"{page} has no snippet to {purpose}"
    return found


def filled(text: str, world: World) -> str:
    """Return a snippet with the running gateway's URL and a real token."""
    assert SHOWN_URL in text
    assert SHOWN_TOKEN in text
    token = world.tokens["tenant_user"]
    return text.replace(SHOWN_URL, world.mcp_url).replace(SHOWN_TOKEN, token)


def connection(language: str, text: str) -> tuple[str, dict[str, str]]:
    """Return URL and headers as the client reads them out of its configuration."""
    if language == "json":
        document: dict[str, Any] = json.loads(text)
        servers = document.get("mcpServers") or document["servers"]
        entry = servers["scaigrid"]
        return entry["url"], entry["headers"]
    words = shlex.split(text)
    assert words[:5] == ["claude", "mcp", "add", "--transport", "http"]
    name, _, value = words[words.index("--header") + 1].partition(": ")
    return words[6], {name: value}


@pytest.mark.parametrize("page", ["claude-desktop.md", "claude-code.md", "cursor.md", "vscode.md"])
async def test_a_pasted_configuration_connects(world: World, page: str) -> None:
    for language, text in snippets(page, "config"):
        url, headers = connection(language, filled(text, world))
        assert url == world.mcp_url
        client = world.with_token(None).using(headers={k.lower(): v for k, v in headers.items()})
        assert (await client.initialize(LATEST)).result["serverInfo"]["name"] == "scaimcp"
        assert "me_get" in await client.names()


async def run(*command: str, cwd: Path | None = None) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.slow
async def test_the_python_client_of_the_page_runs(world: World, tmp_path: Path) -> None:
    [(_, text)] = snippets("python.md", "run")
    script = tmp_path / "client.py"
    script.write_text(filled(text, world), encoding="utf-8")
    printed = await run(sys.executable, str(script))
    assert "tools" in printed
    assert "scailabs/echo-1 active" in printed


@pytest.mark.slow
async def test_the_typescript_client_of_the_page_runs(world: World) -> None:
    [(_, text)] = snippets("typescript.md", "run")
    # Beside node_modules, where the import finds the package; the text is plain JavaScript too.
    script = ROOT / "tests" / "clients" / "snippet.tmp.mjs"
    script.write_text(filled(text, world), encoding="utf-8")
    try:
        printed = await run(str(node()), str(script))
    finally:
        script.unlink()
    assert "tools" in printed
    assert "scailabs/echo-1 active" in printed


async def test_the_manifest_of_the_module_page_is_accepted() -> None:
    from_page = re.search(
        r"```json\n(.*?)```", (ROOT / "docs" / "modules.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert from_page is not None
    contribution = read_manifest(from_page[1].encode(), "acme-crm")
    assert contribution.dropped == {}
    assert [tool.name for tool in contribution.tools] == ["acme_crm_contacts_find"]
