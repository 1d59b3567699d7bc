"""Canonical JSON and digests, held against the RFC's samples and a second implementation.

Spec: remote-servers 6 and 9; RFC 8785.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.remotes.rules.canonical import (
    HASHED,
    CanonicalError,
    arguments_digest,
    definition_hash,
    hashed_part,
    rfc8785,
)

SEARCH = {
    "name": "search",
    "description": "Search pages.",
    "inputSchema": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
}
SEARCH_HASH = "5ccd6d2f4e026a46f441e163596cb13c6694eeed2ba27733caf0fe4c23e00b2a"


def test_the_definition_hash_is_the_specs() -> None:
    assert definition_hash("tool", SEARCH).hex() == SEARCH_HASH


def test_the_arguments_digest_is_the_specs() -> None:
    arguments = {"title": "Hi", "body": None, "n": 1, "tags": ["b", "a"]}
    digest = "a0474338041694b1c003f19a24b21757252de59be48823dc8647d87578b01368"
    assert arguments_digest(arguments).hex() == digest


@pytest.mark.parametrize(
    "more",
    [
        {"_meta": {"stamp": 1}},
        {"icons": [{"src": "https://a.example/x.png"}]},
        {"title": None},
        {"unknown": "x"},
    ],
)
def test_what_upstreams_stamp_does_not_change_the_hash(more: dict[str, Any]) -> None:
    assert definition_hash("tool", {**more, **SEARCH}).hex() == SEARCH_HASH


@pytest.mark.parametrize(
    ("kind", "member"), [(kind, name) for kind, names in HASHED.items() for name in names]
)
def test_every_member_of_its_kind_changes_the_hash(kind: str, member: str) -> None:
    plain = dict.fromkeys(HASHED[kind], "x")
    assert definition_hash(kind, {**plain, member: "y"}) != definition_hash(kind, plain)
    assert member in hashed_part(kind, plain)
    assert member not in hashed_part(kind, {**plain, member: None})


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("ffefffffffffffff", "-1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef4f", "999999999999999900000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("41b3de4355555554", "333333333.33333325"),
        ("41b3de4355555555", "333333333.3333333"),
        ("41b3de4355555556", "333333333.3333334"),
        ("41b3de4355555557", "333333333.33333343"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_a_double_is_written_as_the_rfc_shows(bits: str, expected: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert rfc8785(number).decode() == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0"),
        (-1, "-1"),
        (2**53, "9007199254740992"),
        (2**53 + 1, "9007199254740992"),
        (2**60, "1152921504606847000"),
        (2**63 - 1, "9223372036854776000"),
        (10**21, "1e+21"),
        (1.5, "1.5"),
        (4.50, "4.5"),
        (1e30, "1e+30"),
        (100.0, "100"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        ([], "[]"),
        ({}, "{}"),
        ((1, [2, {}]), "[1,[2,{}]]"),
        ('€$\x0f\nA\'B"\\\\"/', '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
        ("\b\t\n\f\r\x00\x1f\x7f\u2028", '"\\b\\t\\n\\f\\r\\u0000\\u001f\x7f\u2028"'),
        ({"b": 1, "a": {"d": [], "c": ""}}, '{"a":{"c":"","d":[]},"b":1}'),
    ],
)
def test_a_value_is_written_as_the_rfc_says(value: Any, expected: str) -> None:
    assert rfc8785(value).decode() == expected


def test_keys_are_ordered_by_their_utf16_code_units() -> None:
    keys = ["\r", "1", "\x80", "\xf6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(rfc8785(dict.fromkeys(reversed(keys))))) == keys
    assert sorted(keys) != keys


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        "\ud800",
        {"\udc00": 1},
        {"a": ["\ud83d"]},
        {1: 2},
        {"a": b"x"},
        {"a": {1, 2}},
        10**400,
        msgspec.Raw(b"1"),
    ],
)
def test_what_json_cannot_say_has_no_digest(value: Any) -> None:
    with pytest.raises(CanonicalError):
        rfc8785(value)


def test_a_number_of_too_many_digits_has_no_digest() -> None:
    with pytest.raises(CanonicalError, match="out of range"):
        arguments_digest({"n": 10**5_000})


def test_endless_nesting_is_an_error_and_not_a_crash() -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CanonicalError, match="nested"):
        rfc8785(value)
    while value:
        value = value[0]


def test_two_ids_that_round_to_one_double_are_two_calls() -> None:
    one, other = {"id": 2**53 + 1}, {"id": 2**53}
    assert rfc8785(one) == rfc8785(other)
    assert arguments_digest(one) != arguments_digest(other)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def plain(value: Any) -> bytes:
    """The simple oracle: right wherever no float and no astral key is involved."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


NO_FLOATS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(max_codepoint=0xD7FF)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(NO_FLOATS)
def test_without_floats_it_is_the_standard_librarys_sorted_json(value: Any) -> None:
    assert rfc8785(value) == plain(value)


@given(VALUES)
def test_canonical_json_reads_back_as_the_same_value_and_is_stable(value: Any) -> None:
    raw = rfc8785(value)
    assert json.loads(raw, parse_int=float) == value
    assert rfc8785(msgspec.json.decode(raw)) == raw


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_keeps_its_value_and_has_the_layout_of_ecmascript(number: float) -> None:
    text = rfc8785(number).decode()
    assert float(text) == number
    magnitude = abs(number)
    is_plain = magnitude == 0 or 1e-6 <= magnitude < 1e21
    assert ("e" in text) != is_plain
    assert not text.endswith(".0")


@given(st.dictionaries(st.text(), SCALARS, max_size=6))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    assert rfc8785(dict(reversed(value.items()))) == rfc8785(value)
