"""The light remote servers speak what their paths say, without a socket."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.remote_upstream import CREDENTIAL, KINDS, MARKER, TOOLS, Site
from bench.tenancies import tool_of
from scaimcp.remotes.rules.naming import parse
from tests.unit.bench.test_upstream import split

AUTHORIZED = b"Bearer " + CREDENTIAL.encode()


def ask(kind: str, method: str, number: int | None = 7, site: Site | None = None) -> Any:
    message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
    if number is not None:
        message["id"] = number
    path, body = f"/{kind}/0".encode(), msgspec.json.encode(message)
    answer = (site or Site()).answer(path, AUTHORIZED, b"", body)
    head, _, told = answer.partition(b"\r\n\r\n")
    return head, told.removeprefix(b"event: message\ndata: ").strip()


@pytest.mark.parametrize("kind", KINDS)
def test_a_call_is_answered_with_its_id_and_the_marker(kind: str) -> None:
    head, body = ask(kind, "tools/call")
    answer = msgspec.json.decode(body)
    assert answer["id"] == 7
    assert answer["result"]["content"][0]["text"].startswith(MARKER)
    assert (b"mcp-session-id" in head) == (kind != "modern")
    assert (b"text/event-stream" in head) == (kind == "stream")


@pytest.mark.parametrize("kind", KINDS)
def test_every_server_lists_all_its_tools(kind: str) -> None:
    result = msgspec.json.decode(ask(kind, "tools/list")[1])["result"]
    assert len({tool["name"] for tool in result["tools"]}) == TOOLS
    assert ("resultType" in result) == (kind == "modern")


def test_each_era_knows_its_own_first_question_only() -> None:
    known = msgspec.json.decode(ask("modern", "server/discover")[1])["result"]
    assert known["supportedVersions"] == ["2026-07-28"]
    shaken = msgspec.json.decode(ask("legacy", "initialize")[1])["result"]
    assert shaken["protocolVersion"] == "2025-11-25"
    for kind, method in (("modern", "initialize"), ("stream", "server/discover")):
        assert msgspec.json.decode(ask(kind, method)[1])["error"]["code"] == -32601


def test_notifications_are_accepted_and_counted() -> None:
    site = Site()
    assert ask("legacy", "notifications/initialized", None, site)[0].startswith(b"HTTP/1.1 202")
    assert split(site.answer(b"/counts", b"", b"", b""))[2] == {"notifications/initialized": 1}


def test_without_the_credential_nothing_is_told() -> None:
    assert Site().answer(b"/modern/0", b"Bearer other", b"", b"{}").startswith(b"HTTP/1.1 401")


def test_a_body_is_not_asked_of_a_session_that_ends() -> None:
    assert Site().answer(b"/legacy/0", AUTHORIZED, b"", b"").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", KINDS)
def test_the_tools_that_are_called_have_names_of_the_registry(kind: str) -> None:
    parsed = parse(tool_of(kind))
    assert parsed is not None
    assert (parsed.scope, parsed.name) == ("tenant", "search_7")
