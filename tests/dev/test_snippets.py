from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from scaimcp.dev.banner import OWN_KEY, banner
from scaimcp.dev.snippets import (
    CLIENTS,
    claude_code,
    claude_desktop,
    curl,
    cursor,
    person_token,
    vault_switch,
    vs_code,
)
from scaimcp.rest.scaivault_guards import PATH

PLATFORM = "http://127.0.0.1:9"
VAULT = "http://127.0.0.1:8910"
URL = "http://127.0.0.1:8080/mcp"
TOKEN = "sgk_0123456789abcdef"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
TOKENS = {"super_admin": "sgk_1", "tenant_admin": "sgk_2", "tenant_user": TOKEN}


@pytest.mark.parametrize(
    ("snippet", "expected"),
    [
        (
            claude_desktop,
            {
                "mcpServers": {
                    "scaigrid": {"transport": "streamable-http", "url": URL, "headers": HEADERS}
                }
            },
        ),
        (cursor, {"mcpServers": {"scaigrid": {"url": URL, "headers": HEADERS}}}),
        (vs_code, {"servers": {"scaigrid": {"type": "http", "url": URL, "headers": HEADERS}}}),
    ],
)
def test_a_configuration_is_json_with_url_and_header(snippet: Any, expected: Any) -> None:
    assert json.loads(snippet(URL, TOKEN)) == expected


def test_the_claude_code_command_is_one_shell_line() -> None:
    assert shlex.split(claude_code(URL, TOKEN)) == [
        "claude",
        "mcp",
        "add",
        "--transport",
        "http",
        "scaigrid",
        URL,
        "--header",
        f"Authorization: Bearer {TOKEN}",
    ]


def test_the_curl_line_lists_tools() -> None:
    words = shlex.split(curl(URL, TOKEN))
    assert words[:3] == ["curl", "-sS", URL]
    assert f"Authorization: Bearer {TOKEN}" in words
    assert json.loads(words[-1])["method"] == "tools/list"


def test_the_line_that_signs_a_person_in_names_the_login() -> None:
    words = shlex.split(person_token(PLATFORM, "user@acme.test"))
    assert words[:3] == ["curl", "-sS", f"{PLATFORM}/__standin/tokens"]
    assert json.loads(words[-1]) == {"login": "user@acme.test"}


def test_the_line_that_switches_scaivault_on_replaces_the_guards() -> None:
    words = shlex.split(vault_switch(URL, "sgk_2"))
    assert words[:5] == ["curl", "-sS", "-X", "PUT", f"http://127.0.0.1:8080{PATH}"]
    assert {"Authorization: Bearer sgk_2", "If-Match: *"} < set(words)
    assert json.loads(words[-1]) == {"enabled": True}


def _banner(tokens: dict[str, str], *, warn: bool = False) -> str:
    return banner(
        URL, tokens, platform_url=PLATFORM, vault_url=VAULT, kept="data in /data", warn=warn
    )


def test_the_banner_names_endpoint_tokens_and_the_stand_in() -> None:
    text = _banner(TOKENS)
    assert f"ScaiMCP is ready: {URL}\n" in text
    assert "a stand-in, not ScaiGrid" in text
    assert f"So is the ScaiVault behind it: {VAULT}." in text
    assert f"  {vault_switch(URL, 'sgk_2')}\n" in text
    assert all(f"{role:<12}  {token}\n" in text for role, token in TOKENS.items())
    assert f"  {person_token(PLATFORM, 'user@acme.test')}\n" in text
    assert all(f"\n{client}:\n" in text for client in CLIENTS)
    assert text.count(TOKEN) == 1 + len(CLIENTS)
    assert "WARNING" not in text


def test_the_banner_of_a_real_platform_shows_no_tokens() -> None:
    text = _banner({})
    assert "Tokens by role" not in text
    assert "__standin" not in text
    assert "stand-in" not in text
    assert text.count(OWN_KEY) == len(CLIENTS)


def test_the_banner_warns_when_other_machines_can_connect() -> None:
    assert "WARNING: other machines can reach this gateway" in _banner(TOKENS, warn=True)
