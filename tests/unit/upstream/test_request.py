"""Headers are built from nothing, and requests from encoded parts."""

from __future__ import annotations

import msgspec
import pytest
from yarl import URL

from scaimcp.types import Secret
from scaimcp.upstream import request
from scaimcp.upstream.request import Ask, Handshake, Target

TARGET = Target("https://mcp.example.com/mcp", (("x-api-key", Secret("k1")),), "ann é", 2)


def test_a_modern_request_has_exactly_these_headers() -> None:
    ask = Ask("tools/call", b"{}", "検索", (("mcp-param-region", "eu west "),))
    assert request.modern_headers(TARGET, ask) == {
        "Accept": "application/json, text/event-stream",
        "x-scaimcp-hops": "2",
        "x-api-key": "k1",
        "X-ScaiGrid-User": "ann%20%C3%A9",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "=?base64?5qSc57Si?=",
        "mcp-param-region": "=?base64?ZXUgd2VzdCA=?=",
    }


def test_a_legacy_request_has_exactly_these_headers() -> None:
    assert request.legacy_headers(Target("https://a.example"), "2025-06-18", "s1") == {
        "Accept": "application/json, text/event-stream",
        "x-scaimcp-hops": "1",
        "MCP-Protocol-Version": "2025-06-18",
        "Mcp-Session-Id": "s1",
    }
    assert "Mcp-Session-Id" not in request.legacy_headers(TARGET, "2025-06-18", None)


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        ("usr_42", "usr_42"),
        ("a@b.example", "a@b.example"),
        ("50%/\"'~", "50%/\"'~"),
        ("x\r\ny", "x%0D%0Ay"),
        ("名", "%E5%90%8D"),
    ],
)
def test_a_user_id_is_sent_with_all_but_visible_ascii_encoded(user: str, sent: str) -> None:
    headers = request.base_headers(Target("https://a.example", user_id=user))
    assert headers["X-ScaiGrid-User"] == sent


def test_a_target_does_not_show_its_credentials() -> None:
    assert "k1" not in repr(TARGET)
    assert TARGET.secrets() == ("k1",)
    with pytest.raises(TypeError):
        msgspec.json.encode(TARGET)


def test_requests_are_spliced_from_encoded_parts() -> None:
    more = {"requestState": b'"s"'}
    call = request.call_tool("add", b'{"a":1}', more)
    assert (call.method, call.name) == ("tools/call", "add")
    assert call.params == b'{"name":"add","arguments":{"a":1},"requestState":"s"}'
    read = request.read_resource("note://one")
    assert (read.params, read.name) == (b'{"uri":"note://one"}', "note://one")
    prompt = request.get_prompt("greet", b"{}")
    assert (prompt.params, prompt.name) == (b'{"name":"greet","arguments":{}}', "greet")
    assert request.complete(b'{"ref":{}}').params == b'{"ref":{}}'
    assert request.ping().method == "ping"


def test_an_untold_capability_may_be_there() -> None:
    assert Handshake("modern", "2026-07-28").has("tools")
    told = Handshake("modern", "2026-07-28", {"tools": msgspec.Raw(b"{}")})
    assert told.has("tools")
    assert not told.has("prompts")


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ("https://A.example/x", True),
        ("https://a.example:443/", True),
        ("https://a.example:444/", False),
        ("http://a.example/", False),
        ("https://b.example/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(other: str, is_same: bool) -> None:
    assert request.same_origin(URL("https://a.example/mcp"), URL(other)) is is_same
