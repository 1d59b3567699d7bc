"""JSON as bytes: every digit and every character stays. Spec: core-tools 6."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.catalog import rawjson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (rb'{"a" : 1 ,%s "b":[1, 2 ]}' % b"\n", b'{"a":1,"b":[1,2]}'),
        (rb'"caf\u00e9"', '"café"'.encode()),
        (rb'"\ud83d\ude00\u00e9"', '"😀é"'.encode()),
        (rb'"\u4f60\u597d"', '"你好"'.encode()),
        (rb'"\\u0041"', rb'"\\u0041"'),
        (rb'"\\\u0041"', rb'"\\A"'),
        (rb'"\u0001\u001f"', rb'"\u0001\u001f"'),
        (rb'"\u0022\u005c\u000a"', rb'"\"\\\n"'),
        (rb'"a\nb\"c\u00e9"', rb'"a\nb\"c' + "é".encode() + b'"'),
        (b'"caf\xc3\xa9"', b'"caf\xc3\xa9"'),
    ],
)
def test_text_is_compact_and_unescaped(raw: bytes, expected: bytes) -> None:
    assert rawjson.compact(raw) == expected


@pytest.mark.parametrize("escape", ["", r'"\u00e9",'])
@pytest.mark.parametrize(
    "number",
    [
        "0.1",
        "1.10",
        "1e2",
        "1E-400",
        "1e99999999999999999999",
        "-0.0",
        "123456789012345678901234567890",
        "3.14159265358979323846264338327950288",
    ],
)
def test_numbers_keep_every_digit(number: str, escape: str) -> None:
    raw = f"[{escape}{number}]".encode()
    assert rawjson.compact(raw).decode().endswith(f"{number}]")


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":\\q}', b"nonsense", rb'"\u00e"', rb'"\ud83d"'])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        rawjson.compact(raw)


def test_what_is_no_utf_8_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        rawjson.compact(b'{"a":"\xff"}')


@given(VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_the_value_never_changes(value: Any, is_ascii: bool, indent: int | None) -> None:
    raw = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    compact = rawjson.compact(raw.encode()).decode()
    assert json.loads(compact) == value
    assert all(mark >= " " for mark in compact)


def test_members_keep_their_order_and_nulls_go() -> None:
    assert list(rawjson.members(b'{"b":1,"a":null,"c":"x"}').items()) == [
        ("b", b"1"),
        ("c", b'"x"'),
    ]


@pytest.mark.parametrize(("read", "raw"), [(rawjson.members, b"[1]"), (rawjson.elements, b"{}")])
def test_another_kind_of_value_is_refused(read: Any, raw: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(raw)


def test_elements_stay_encoded() -> None:
    assert rawjson.elements(b'[1.10,"x",{"a":1}]') == [b"1.10", b'"x"', b'{"a":1}']


def test_an_absent_value_is_none() -> None:
    assert rawjson.value(None) is None
    assert rawjson.value(b'{"a":[1]}') == {"a": [1]}


def test_objects_and_arrays_are_joined() -> None:
    assert rawjson.to_object([("a", b"1"), ('q"', b"[]")]) == b'{"a":1,"q\\"":[]}'
    assert rawjson.to_object([]) == b"{}"
    assert rawjson.to_array([b"1", b"2"]) == b"[1,2]"


def test_named_members_come_first_and_others_as_they_came() -> None:
    fields = {"z": b"1", "b": b"2", "y": b"3", "a": b"4"}
    ordered = rawjson.ordered(fields, ["a", "missing", "b"])
    assert [name for name, _ in ordered] == ["a", "b", "z", "y"]
