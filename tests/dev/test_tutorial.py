"""The published tutorial "Register a cloud MCP server", with its own curl lines.

Its commands stand here as they are printed there; only the addresses of the MCP servers, which
run on this machine, and the values of the credentials are put in.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from scaimcp.dev.snippets import curl
from tests.dev.running import Dev, leave_nothing_running
from tests.integration.remotes.rest import serve_upstream
from tests.world import bound

__all__ = ["leave_nothing_running"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
]
REGISTER_BEARER = """
curl -X POST "$SCAIGRID_HOST/v1/modules/scailink/remote-servers" \\
  -H "Authorization: Bearer $SCAIGRID_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "Acme Notion MCP",
    "endpoint_url": "https://mcp.notion.example.com/mcp",
    "auth_type": "bearer",
    "credentials": {"authorization": "ntn_..."},
    "is_tenant_shared": false,
    "transport": "streamable_http",
    "consent_tier": "auto"
  }'
"""
REGISTER_HEADERS = """
curl -X POST "$SCAIGRID_HOST/v1/modules/scailink/remote-servers" \\
  -H "Authorization: Bearer $SCAIGRID_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "Internal CRM MCP",
    "endpoint_url": "https://crm.internal.example.com/mcp",
    "auth_type": "api_key_header",
    "credentials": {
      "x-api-key": "ak_...",
      "x-org-id": "org_..."
    },
    "is_tenant_shared": true,
    "transport": "streamable_http"
  }'
"""
REGISTER_SHARED = """
curl -X POST "$SCAIGRID_HOST/v1/modules/scailink/remote-servers" \\
  -H "Authorization: Bearer $SCAIGRID_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "name": "Shared GitHub MCP",
    "endpoint_url": "https://gh-mcp.example.com/mcp",
    "auth_type": "bearer",
    "credentials": {"authorization": "ghp_service_..."},
    "is_tenant_shared": true,
    "forward_user_id": true
  }'
"""
CONFIRM = """
curl "$SCAIGRID_HOST/v1/modules/scailink/remote-servers/$SERVER_ID" \\
  -H "Authorization: Bearer $SCAIGRID_API_KEY"
"""
REFRESH = """
curl -X POST "$SCAIGRID_HOST/v1/modules/scailink/remote-servers/$SERVER_ID/refresh" \\
  -H "Authorization: Bearer $SCAIGRID_API_KEY"
"""
ROTATE = """
curl -X PUT "$SCAIGRID_HOST/v1/modules/scailink/remote-servers/$SERVER_ID/credentials/authorization" \\
  -H "Authorization: Bearer $SCAIGRID_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{"value": "ntn_new..."}'
"""  # noqa: E501 - as it is printed


@dataclass
class Shell:
    """A terminal with the tutorial's variables."""

    variables: dict[str, str]
    put_in: dict[str, str] = field(default_factory=dict)

    async def run(self, command: str) -> Any:
        """Run a command; return the JSON that it prints."""
        for printed, here in self.put_in.items():
            command = command.replace(printed, here)
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", command, env=self.variables,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, warned = await process.communicate()
        assert process.returncode == 0, warned
        return json.loads(said)

    async def data(self, command: str) -> Any:
        """Run a command that must succeed; return its ``data``."""
        answer = await self.run(command)
        assert answer["status"] == "ok", answer
        return answer["data"]

    def about(self, server: Any) -> None:
        self.variables["SERVER_ID"] = server["id"]


async def test_the_published_tutorial_works_against_scaimcp_dev(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    document = await asyncio.to_thread(dev.wait_ready)
    shell = Shell(
        {
            "PATH": "/usr/bin:/bin",
            "SCAIGRID_HOST": document["rest_url"],
            "SCAIGRID_API_KEY": document["tokens"]["tenant_admin"],
        }
    )
    async with (
        serve_upstream(bound(), "search", token="ntn_...") as notion,
        serve_upstream(bound(), "contacts") as crm,
        serve_upstream(bound(), "issues", token="ghp_service_...") as github,
    ):
        shell.put_in = {
            "https://mcp.notion.example.com/mcp": notion.url,
            "https://crm.internal.example.com/mcp": crm.url,
            "https://gh-mcp.example.com/mcp": github.url,
        }
        # 2. A personal server with a bearer.
        server = await shell.data(REGISTER_BEARER)
        assert server["slug"] == "acme-notion-mcp-1ef47b"
        # 3. Several headers; each is sent under its name.
        several = await shell.data(REGISTER_HEADERS)
        assert several["status"] == "active"
        assert (crm.requests("x-api-key")[-1], crm.requests("x-org-id")[-1]) == (
            "ak_...",
            "org_...",
        )
        # 4. Shared with the tenant.
        shared = await shell.data(REGISTER_SHARED)
        assert (shared["status"], shared["is_tenant_shared"]) == ("active", True)
        # 5. Discovery has succeeded.
        shell.about(server)
        found = await shell.data(CONFIRM)
        assert (found["status"], found["last_health_status"]) == ("active", "ok")
        assert found["consecutive_failures"] == 0
        assert [one["name"] for one in found["capabilities"]] == ["search"]
        # 6. A new tool is there after a refresh, in an answer of the same shape.
        notion.server.add_tool(_added, name="create", description="Creates.")
        refreshed = await shell.data(REFRESH)
        assert [one["name"] for one in refreshed["capabilities"]] == ["search", "create"]
        assert refreshed.keys() == found.keys()
        # 7. A rotated credential; names stay.
        notion.token = "ntn_new..."
        rotated = await shell.data(ROTATE)
        assert (rotated["id"], rotated["slug"]) == (server["id"], server["slug"])
        assert (await shell.data(REFRESH))["last_health_status"] == "ok"
        assert await shell.data(ROTATE) is not None
        # 8. The age of the oldest credential.
        assert (await shell.data(CONFIRM))["credential_oldest_days"] == 0
        # Done: visible in /mcp.
        expected = {
            f"{server['name_prefix']}create",
            f"{several['name_prefix']}contacts",
            f"{shared['name_prefix']}issues",
        }
        assert expected <= set(await _names(shell, document, document["tokens"]["tenant_admin"]))
    assert dev.end() == 0


async def test_the_printed_lines_sign_a_user_in_and_switch_scaivault_on(open_dir: Path) -> None:
    dev = Dev(open_dir, "--ephemeral")
    document = await asyncio.to_thread(dev.wait_ready)
    [line] = [line for line in dev.said.splitlines() if "/__standin/tokens" in line]
    shell = Shell({"PATH": "/usr/bin:/bin"})
    token = (await shell.run(line))["token"]
    assert not token.startswith("sgk_")
    by_key = await _names(shell, document, document["tokens"]["tenant_user"])
    assert await _names(shell, document, token) == by_key
    # With ScaiVault's tools too, once the other printed line has switched them on.
    [switch] = [line for line in dev.said.splitlines() if "/scaivault/guards" in line]
    effective = (await shell.run(switch))["data"]["effective"]
    assert (effective["enabled"], effective["read_only"], effective["mask_values"]) == (True,) * 3
    more = set(await _names(shell, document, token)) - set(by_key)
    assert "scaivault_read_secret" in more
    assert all(name.startswith("scaivault_") for name in more)
    assert await _names(shell, document, document["tokens"]["tenant_user"]) == by_key
    assert dev.end() == 0


async def _names(shell: Shell, document: Any, bearer: str) -> list[str]:
    """What the curl line that ``scaimcp dev`` prints lists for a bearer."""
    listed = await shell.run(curl(document["mcp_url"], bearer))
    return [tool["name"] for tool in listed["result"]["tools"]]


async def _added() -> str:
    return ""
