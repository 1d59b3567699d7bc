"""JSON-RPC with remote servers, on bytes."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from scaimcp.upstream import wire
from scaimcp.upstream.errors import ProtocolError, ResponseTooLargeError
from scaimcp.upstream.wire import PAGE_DEPTH, read_messages

META = "io.modelcontextprotocol/"


def decoded(body: bytes) -> Any:
    return msgspec.json.decode(body)


def test_a_request_of_2026_carries_its_envelope_before_the_parameters() -> None:
    meta = wire.modern_meta(("form",), 7)
    body = decoded(wire.request_bytes(7, "tools/call", b'{"name":"add"}', meta))
    assert body == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {
            "_meta": {
                "progressToken": 7,
                f"{META}protocolVersion": "2026-07-28",
                f"{META}clientInfo": {"name": "ScaiMCP", "version": wire._CLIENT_INFO["version"]},
                f"{META}clientCapabilities": {"elicitation": {"form": {}}},
            },
            "name": "add",
        },
    }


@pytest.mark.parametrize("params", [b"{}", b"{ }"])
def test_an_envelope_alone_is_an_object(params: bytes) -> None:
    body = decoded(wire.request_bytes(1, "tools/list", params, wire.modern_meta((), None)))
    assert list(body["params"]) == ["_meta"]
    assert body["params"]["_meta"][f"{META}clientCapabilities"] == {}
    assert "progressToken" not in body["params"]["_meta"]


def test_a_request_of_the_handshake_era_has_meta_only_for_progress() -> None:
    assert decoded(wire.request_bytes(3, "ping", b"{}", wire.legacy_meta(None)))["params"] == {}
    with_token = wire.request_bytes(3, "ping", b"{}", wire.legacy_meta(3))
    assert decoded(with_token)["params"] == {"_meta": {"progressToken": 3}}


def test_initialize_offers_2025_11_25_and_declares_elicitation_only() -> None:
    params = decoded(wire.initialize_params(("form", "url")))
    assert params["protocolVersion"] == "2025-11-25"
    assert params["capabilities"] == {"elicitation": {"form": {}, "url": {}}}
    assert params["clientInfo"]["name"] == "ScaiMCP"


def test_notifications_and_answers_are_whole_messages() -> None:
    assert decoded(wire.notification_bytes("notifications/initialized")) == {
        "jsonrpc": "2.0",
        "method": "notifications/initialized",
        "params": {},
    }
    assert decoded(wire.answer_bytes(b'"q1"', b'{"a":1}'))["result"] == {"a": 1}
    assert decoded(wire.answer_bytes(b"4", None))["error"]["code"] == -32601


def test_a_result_stays_as_it_came() -> None:
    result = b'{"b": 1.10, "a":"\\u00e9", "n":12345678901234567890123}'
    (message,) = read_messages(b'{"jsonrpc":"2.0","id":1,"result":' + result + b"}")
    assert bytes(message.result) == result
    assert message.method is None


def test_a_batch_is_read_as_its_messages() -> None:
    first, second = read_messages(b' [{"method":"a"},{"id":1,"result":{}}]')
    assert (first.method, bytes(second.id)) == ("a", b"1")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"id":1,"result":{',
        b'{"id":1,"result":{"a":"\xff"}}',
        b'"text"',
        b'{"id":1,"method":5}',
        b'{"id":1,"error":"no"}',
        b'{"id":1,"result":{"a":"\\ud8"}}',
        b'{"id":1,"result":"\\ud800"',
    ],
)
def test_what_is_no_json_rpc_is_a_protocol_error_that_may_have_run(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read_messages(body)
    assert caught.value.code == "ProtocolError"
    assert caught.value.was_sent


@pytest.mark.parametrize(("levels", "depth"), [(65, 64), (513, PAGE_DEPTH), (5_000, 10_000)])
def test_json_that_is_too_deep_is_too_large(levels: int, depth: int) -> None:
    body = b'{"id":1,"result":' + b"[" * levels + b"]" * levels + b"}"
    with pytest.raises(ResponseTooLargeError):
        read_messages(body, depth)


def test_a_definition_two_hundred_deep_does_not_take_its_page_with_it() -> None:
    body = b'{"id":1,"result":' + b"[" * 200 + b"]" * 200 + b"}"
    assert read_messages(body, PAGE_DEPTH)


@pytest.mark.parametrize(
    ("text", "in_result", "in_page"),
    [
        (rb"a\ud800b", "a�b", "a\0b"),
        (rb"\udc00", "�", "\0"),
        (rb"\ud83d\ude00\ud83d", "😀�", "😀\0"),
        (rb"\\ud800 \ud800", "\\ud800 �", "\\ud800 \0"),
        (rb"\ud800\u0041", "�A", "\0A"),
    ],
)
def test_half_a_surrogate_pair_spoils_its_text_only(
    text: bytes, in_result: str, in_page: str
) -> None:
    body = b'{"id":1,"result":{"t":"' + text + b'"}}'
    for depth, wanted in ((64, in_result), (PAGE_DEPTH, in_page)):
        (message,) = read_messages(body, depth)
        assert decoded(bytes(message.result)) == {"t": wanted}


@pytest.mark.parametrize("value", ["search", "a b", "note://one?x=1", "=?base64", "x"])
def test_plain_values_go_into_headers_as_they_are(value: str) -> None:
    assert wire.header_value(value) == value


@pytest.mark.parametrize("value", ["検索", " x", "x ", "a\tb", "", "=?base64?eA==?=", "a\nb"])
def test_other_values_go_in_the_base64_sentinel(value: str) -> None:
    sent = wire.header_value(value)
    assert sent.startswith("=?base64?")
    assert base64.b64decode(sent[9:-2]).decode() == value


def test_encoded_members_join_to_an_object() -> None:
    assert wire.joined({"name": b'"x"', "arguments": b"{}"}) == b'{"name":"x","arguments":{}}'
    assert wire.joined({}) == b"{}"
