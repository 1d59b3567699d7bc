"""Header rules of 2026-07-28."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from scaimcp.errors import ProtocolError
from scaimcp.server.envelope import (
    CLIENT_CAPABILITIES,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    PROTOCOL_VERSION,
    Params,
)
from scaimcp.server.headers import (
    check_envelope,
    check_params,
    check_routing,
    declared,
    decode_value,
    fold,
)
from scaimcp.server.revisions import V2025_11_25, V2026_07_28

ENVELOPE = {PROTOCOL_VERSION: "2026-07-28", CLIENT_CAPABILITIES: {}}
SCHEMA = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "ratio": {"type": "number", "x-mcp-header": "Ratio"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "deep": {
            "type": "object",
            "properties": {"inner": {"type": "string", "x-mcp-header": "Inner"}},
        },
        "plain": {"type": "string"},
        "wrong": {"type": "string", "x-mcp-header": 5},
        "open": True,
    },
}
WANTED = declared(SCHEMA)


def encoded(text: str) -> bytes:
    return b"=?base64?" + base64.b64encode(text.encode()) + b"?="


def params(**members: Any) -> Params:
    return msgspec.convert(members, Params)


def envelope(headers: dict[bytes, bytes], method: str, given: Params) -> None:
    check_envelope(headers, None, method, given, V2026_07_28)


def number(*arguments: Any) -> int:
    with pytest.raises(ProtocolError) as caught:
        check_envelope(*arguments)
    assert caught.value.http_status == 400
    return caught.value.number


# -- folding -----------------------------------------------------------------------------------


def test_headers_are_folded_and_mcp_values_stripped() -> None:
    lines = [(b"mcp-method", b" tools/list \t"), (b"accept", b" x "), (b"host", b"h")]
    assert fold(lines) == ({b"mcp-method": b"tools/list", b"accept": b" x ", b"host": b"h"}, None)


@pytest.mark.parametrize(
    "name", [b"mcp-protocol-version", b"mcp-method", b"mcp-name", b"mcp-param-region"]
)
def test_a_routing_header_that_comes_twice_is_named(name: bytes) -> None:
    assert fold([(name, b"a"), (name, b"a")])[1] == name


@pytest.mark.parametrize("name", [b"mcp-session-id", b"accept"])
def test_other_headers_may_come_twice(name: bytes) -> None:
    assert fold([(name, b"a"), (name, b"b")]) == ({name: b"b"}, None)


def test_the_first_repeated_header_is_named() -> None:
    lines = [(b"mcp-name", b"a"), (b"mcp-name", b"a"), (b"mcp-method", b"b"), (b"mcp-method", b"b")]
    assert fold(lines)[1] == b"mcp-name"


# -- the base64 sentinel -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (None, None),
        (b"", ""),
        (b"plain text", "plain text"),
        (encoded("é😀"), "é😀"),
        (encoded(""), ""),
        (encoded("=?base64?eA==?="), "=?base64?eA==?="),
        (b"=?base64?SGVsbG8", "=?base64?SGVsbG8"),
        (b"=?BASE64?eA==?=", "=?BASE64?eA==?="),
    ],
)
def test_a_value_is_literal_unless_it_is_a_whole_sentinel(
    raw: bytes | None, value: str | None
) -> None:
    assert decode_value(raw) == value


@pytest.mark.parametrize(
    "raw",
    [
        b"=?base64?SGVsbG8?=",
        b"=?base64?SGVsb%8=?=",
        b"=?base64?eB==?=",
        b"=?base64?/w==?=",
        b"\xe9",
        "é".encode(),
    ],
    ids=["padding", "alphabet", "not canonical", "not utf-8", "latin-1", "raw utf-8"],
)
def test_a_malformed_value_is_no_value(raw: bytes) -> None:
    assert decode_value(raw) is None


# -- routing headers ---------------------------------------------------------------------------


def test_headers_that_repeat_the_body_pass() -> None:
    headers = {b"mcp-method": b"tools/call", b"mcp-name": b"me_get"}
    check_routing(headers, "tools/call", "me_get")
    check_routing({b"mcp-method": b"tools/list"}, "tools/list", None)
    check_routing({b"mcp-method": b"tools/list", b"mcp-name": b"x"}, "tools/list", None)


def test_an_encoded_name_passes() -> None:
    headers = {b"mcp-method": b"resources/read", b"mcp-name": encoded("a://é")}
    check_routing(headers, "resources/read", "a://é")


@pytest.mark.parametrize(
    ("headers", "method", "name"),
    [
        ({}, "tools/list", None),
        ({b"mcp-method": b"tools/call"}, "tools/list", None),
        ({b"mcp-method": b"Tools/List"}, "tools/list", None),
        ({b"mcp-method": b"tools/call"}, "tools/call", "x"),
        ({b"mcp-method": b"tools/call", b"mcp-name": b"X"}, "tools/call", "x"),
        ({b"mcp-method": b"tools/call", b"mcp-name": b"=?base64?x?="}, "tools/call", "x"),
    ],
)
def test_a_missing_or_different_routing_header_is_a_mismatch(
    headers: dict[bytes, bytes], method: str, name: str | None
) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_routing(headers, method, name)
    assert caught.value.number == HEADER_MISMATCH


# -- the envelope in _meta ---------------------------------------------------------------------


def test_a_whole_envelope_passes_with_or_without_client_info() -> None:
    headers = {b"mcp-method": b"tools/list"}
    envelope(headers, "tools/list", params(_meta=ENVELOPE))
    info = {"io.modelcontextprotocol/clientInfo": {"name": "x"}}
    envelope(headers, "tools/list", params(_meta={**ENVELOPE, **info}))


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"_meta": {}},
        {"_meta": {PROTOCOL_VERSION: "2026-07-28"}},
        {"_meta": {CLIENT_CAPABILITIES: {}}},
        {"_meta": {**ENVELOPE, CLIENT_CAPABILITIES: []}},
        {"_meta": {**ENVELOPE, CLIENT_CAPABILITIES: None}},
    ],
)
def test_an_incomplete_envelope_is_invalid(given: dict[str, Any]) -> None:
    headers = {b"mcp-method": b"tools/list"}
    got = number(headers, None, "tools/list", params(**given), V2026_07_28)
    assert got == INVALID_PARAMS


@pytest.mark.parametrize("version", ["2025-11-25", "", 5, None])
def test_another_version_in_the_body_is_a_mismatch(version: Any) -> None:
    given = params(_meta={**ENVELOPE, PROTOCOL_VERSION: version})
    got = number({b"mcp-method": b"tools/list"}, None, "tools/list", given, V2026_07_28)
    assert got == HEADER_MISMATCH


def test_a_modern_envelope_under_a_handshake_header_is_a_mismatch() -> None:
    got = number({}, None, "tools/list", params(_meta=ENVELOPE), V2025_11_25)
    assert got == HEADER_MISMATCH


def test_handshake_requests_need_neither_envelope_nor_headers() -> None:
    check_envelope({}, b"mcp-name", "tools/call", params(name="x"), V2025_11_25)
    meta = {"progressToken": 1}
    check_envelope({}, None, "tools/call", params(name="x", _meta=meta), V2025_11_25)


def test_a_repeated_header_is_a_mismatch() -> None:
    headers = {b"mcp-method": b"tools/list"}
    got = number(headers, b"mcp-method", "tools/list", params(_meta=ENVELOPE), V2026_07_28)
    assert got == HEADER_MISMATCH


def test_a_resource_is_named_by_its_uri() -> None:
    given = params(_meta=ENVELOPE, uri="a://b", name="c")
    envelope({b"mcp-method": b"resources/read", b"mcp-name": b"a://b"}, "resources/read", given)
    envelope({b"mcp-method": b"prompts/get", b"mcp-name": b"c"}, "prompts/get", given)


# -- Mcp-Param-* -------------------------------------------------------------------------------


def test_declared_headers_are_found_at_any_depth() -> None:
    assert WANTED == (
        (("region",), b"mcp-param-region", "string"),
        (("count",), b"mcp-param-count", "integer"),
        (("ratio",), b"mcp-param-ratio", "number"),
        (("dry",), b"mcp-param-dry", "boolean"),
        (("deep", "inner"), b"mcp-param-inner", "string"),
    )
    assert declared({"type": "object"}) == ()
    assert declared({"properties": []}) == ()


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({}, {}),
        ({"region": None}, {}),
        ({"region": {}}, {}),
        ({"region": "eu"}, {b"mcp-param-region": b"eu"}),
        ({"region": "é"}, {b"mcp-param-region": encoded("é")}),
        ({"region": "=?base64?eA==?="}, {b"mcp-param-region": encoded("=?base64?eA==?=")}),
        ({"count": 42}, {b"mcp-param-count": b"42"}),
        ({"count": 42}, {b"mcp-param-count": b"42.0"}),
        ({"count": 42.0}, {b"mcp-param-count": b"42"}),
        ({"count": -3}, {b"mcp-param-count": b"-3"}),
        ({"ratio": 1.5}, {b"mcp-param-ratio": b"1.5"}),
        ({"dry": True}, {b"mcp-param-dry": b"true"}),
        ({"dry": False}, {b"mcp-param-dry": b"false"}),
        ({"deep": {"inner": "x"}}, {b"mcp-param-inner": b"x"}),
        ({"deep": "flat"}, {}),
        ({"plain": "x"}, {b"mcp-param-plain": b"y"}),
    ],
)
def test_headers_that_mirror_their_arguments_pass(
    arguments: dict[str, Any], headers: dict[bytes, bytes]
) -> None:
    check_params(WANTED, arguments, headers)


@pytest.mark.parametrize(
    ("arguments", "headers"),
    [
        ({"region": "eu"}, {}),
        ({"region": "eu"}, {b"mcp-param-region": b"EU"}),
        ({"region": "é"}, {b"mcp-param-region": "é".encode()}),
        ({"region": "eu"}, {b"mcp-param-region": b"=?base64?e?="}),
        ({}, {b"mcp-param-region": b"eu"}),
        ({"region": None}, {b"mcp-param-region": b""}),
        ({"region": {}}, {b"mcp-param-region": b"{}"}),
        ({"count": 42}, {b"mcp-param-count": b"42.5"}),
        ({"count": 42}, {b"mcp-param-count": b"4.2e1"}),
        ({"count": 42}, {b"mcp-param-count": b"9" * 5_000}),
        ({"count": True}, {b"mcp-param-count": b"1"}),
        ({"count": "42"}, {b"mcp-param-count": b"42.0"}),
        ({"ratio": 2}, {b"mcp-param-ratio": b"2.0"}),
        ({"dry": True}, {b"mcp-param-dry": b"True"}),
        ({"deep": {"inner": "x"}}, {b"mcp-param-inner": b"y"}),
    ],
)
def test_headers_that_say_something_else_are_a_mismatch(
    arguments: dict[str, Any], headers: dict[bytes, bytes]
) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_params(WANTED, arguments, headers)
    assert caught.value.number == HEADER_MISMATCH
    assert "eu" not in caught.value.message
