"""Paste-ready client configuration: pure functions from URL and token to text."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

SERVER_NAME = "scaigrid"
GUARDS_PATH = "/v1/modules/scaimcp/scaivault/guards"
LIST_TOOLS = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}


def claude_desktop(url: str, token: str) -> str:
    """Return the JSON for ``claude_desktop_config.json``."""
    server = {"transport": "streamable-http", "url": url, "headers": _headers(token)}
    return _pretty({"mcpServers": {SERVER_NAME: server}})


def claude_code(url: str, token: str) -> str:
    """Return the shell command that adds the server to Claude Code."""
    command = f"claude mcp add --transport http {SERVER_NAME} {shlex.quote(url)}"
    return f'{command} --header "Authorization: Bearer {token}"'


def cursor(url: str, token: str) -> str:
    """Return the JSON for ``~/.cursor/mcp.json``."""
    return _pretty({"mcpServers": {SERVER_NAME: {"url": url, "headers": _headers(token)}}})


def vs_code(url: str, token: str) -> str:
    """Return the JSON for ``.vscode/mcp.json``."""
    server = {"type": "http", "url": url, "headers": _headers(token)}
    return _pretty({"servers": {SERVER_NAME: server}})


def curl(url: str, token: str) -> str:
    """Return a shell command that lists the tools of the caller behind `token`."""
    body = json.dumps(LIST_TOOLS, separators=(",", ":"))
    headers = (
        f"Authorization: Bearer {token}",
        "Content-Type: application/json",
        "Accept: application/json, text/event-stream",
        "MCP-Protocol-Version: 2025-06-18",
    )
    return f"curl -sS {shlex.quote(url)} {_options(headers)} -d {shlex.quote(body)}"


def person_token(platform_url: str, login: str) -> str:
    """Return a shell command that makes the stand-in sign somebody in for an hour."""
    body = json.dumps({"login": login}, separators=(",", ":"))
    return f"curl -sS {shlex.quote(f'{platform_url}/__standin/tokens')} -d {shlex.quote(body)}"


def vault_switch(url: str, token: str) -> str:
    """Return a shell command that switches ScaiVault's tools on, read-only and masked.

    Args:
        url: The endpoint of the gateway.
        token: Of an administrator of the tenant.
    """
    lines = (f"Authorization: Bearer {token}", "Content-Type: application/json", "If-Match: *")
    guards = f"{url.removesuffix('/mcp')}{GUARDS_PATH}"
    body = json.dumps({"enabled": True}, separators=(",", ":"))
    return f"curl -sS -X PUT {shlex.quote(guards)} {_options(lines)} -d {shlex.quote(body)}"


CLIENTS: Mapping[str, Callable[[str, str], str]] = MappingProxyType(
    {
        "Claude Desktop (claude_desktop_config.json)": claude_desktop,
        "Claude Code": claude_code,
        "Cursor (~/.cursor/mcp.json)": cursor,
        "VS Code (.vscode/mcp.json)": vs_code,
        "curl": curl,
    }
)


def _options(headers: Iterable[str]) -> str:
    return " ".join(f"-H {shlex.quote(header)}" for header in headers)


def _headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _pretty(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2)
