"""No secret value survives masking. Spec: scaivault 2.5."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.masking import fields_of, sweep
from scaimcp.scaivault.output import render
from scaimcp.scaivault.places import fits
from scaimcp.scaivault.records import ToolRecord

# Thousands of examples: for the whole run, not for `make check`.
pytestmark = pytest.mark.slow

MASKING = Guards(mask_values=True)
# A secret value can be told from all else in the output, whatever it is wrapped in.
SECRET = "hunter2-7731"
STRICT = [record for record in TOOLS if record.mask.is_strict]
EACH_STRICT = pytest.mark.parametrize("record", STRICT, ids=lambda record: record.code)
NAMES = st.sampled_from(["value", "x", "odd key", "password", "name", "data", "config"])
SECRETS = st.recursive(
    st.sampled_from([SECRET, f"a {SECRET}", f"-----BEGIN PRIVATE KEY-----{SECRET}"]),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=2)
        | st.dictionaries(NAMES, inner, min_size=1, max_size=2)
    ),
    max_leaves=5,
)
SECRET_KEYS = st.sampled_from(
    ["password", "x_PASSWD", "clientSecret", "auth_token", "private_key", "my_key_pem", "api_key",
     "credentials", "connection_url", "Authorization"]
)  # fmt: skip
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet="abc", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(alphabet="xyz", max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)


def listed(record: ToolRecord) -> set[str]:
    return set(fields_of(record.fields, record.mask).children or {})


def shown_bytes(record: ToolRecord, result: dict[str, Any]) -> bytes:
    page = {"items": [result], "has_more": False} if record.is_list else result
    shown, encoded = render(record, page, MASKING)
    assert shown["masked"] is True
    return encoded


def secret_places(record: ToolRecord, secret: Any) -> dict[str, Any]:
    """Return a result with a secret in every place that the record masks or drops."""
    result: dict[str, Any] = {}
    for where in record.mask.hidden + record.mask.dropped:
        put(result, where.split("."), secret)
    return result


def put(holder: dict[str, Any], steps: list[str], secret: Any) -> None:
    name = steps[0].removesuffix("[]")
    if len(steps) == 1:
        holder[name] = secret
    elif steps[1:] == ["*"]:
        holder[name] = {"first": secret, "second key": secret}
    else:
        inner = {"name": "shown"}
        put(inner, steps[1:], secret)
        holder[name] = [inner, inner] if steps[0].endswith("[]") else inner


@EACH_STRICT
@given(secret=SECRETS, more=st.dictionaries(st.text(max_size=12), SECRETS, max_size=3))
def test_no_value_in_a_masked_place_or_an_unknown_field_is_shown(
    record: ToolRecord, secret: Any, more: dict[str, Any]
) -> None:
    unknown = {name: value for name, value in more.items() if name not in listed(record)}
    result = {**unknown, "unlisted": secret, **secret_places(record, secret)}
    assert SECRET.encode() not in shown_bytes(record, result)


@EACH_STRICT
@given(st.data())
def test_no_member_below_a_listed_field_brings_a_secret(
    record: ToolRecord, data: st.DataObject
) -> None:
    tree = fields_of(record.fields, record.mask).children or {}
    closed = [name for name, node in tree.items() if node.rule == "plain"]
    name = data.draw(st.sampled_from(closed))
    member = data.draw(st.sampled_from(["plaintext", "v2", "odd key"]))
    wrapped: Any = {member: data.draw(SECRETS)}
    for _ in range(data.draw(st.integers(0, 2))):
        wrapped = [wrapped]
    assert SECRET.encode() not in shown_bytes(record, {name: wrapped})


@pytest.mark.parametrize(
    "record", [r for r in TOOLS if not r.mask.is_strict and r.special not in
               {"policy_types", "event_types"}], ids=lambda record: record.code
)  # fmt: skip
@given(key=SECRET_KEYS, secret=SECRETS, around=PLAIN, depth=st.integers(0, 4))
def test_no_value_under_a_secrets_name_is_shown_anywhere(
    record: ToolRecord, key: str, secret: Any, around: Any, depth: int
) -> None:
    value: Any = {key: secret, "beside": around}
    for _ in range(depth):
        value = {"extra_data": [value]}
    assert SECRET.encode() not in shown_bytes(record, {"id": 1, "metadata": value})


@given(
    st.sampled_from(TOOLS),
    st.lists(st.sampled_from(["id", "status", "metadata", "x"]), min_size=1, max_size=3),
)
def test_no_private_key_is_shown_by_any_tool(record: ToolRecord, names: list[str]) -> None:
    value: Any = f"a\n-----BEGIN EC PRIVATE KEY-----\n{SECRET}"
    for name in names:
        value = {name: value}
    if record.special not in {"policy_types", "event_types"}:
        assert SECRET.encode() not in shown_bytes(record, value)


@pytest.mark.parametrize(
    "record", [record for record in TOOLS if record.mask.kept], ids=lambda record: record.code
)
@given(st.dictionaries(st.text(max_size=10), st.just(SECRET), max_size=4))
def test_settings_show_no_value_that_is_not_a_safe_one(
    record: ToolRecord, config: dict[str, Any]
) -> None:
    unsafe = {
        name: value
        for name, value in config.items()
        if not any(fits(kept, name) for kept in record.mask.kept)
    }
    assert SECRET.encode() not in shown_bytes(record, {"config": unsafe})


@given(PLAIN)
def test_the_sweep_leaves_what_is_plain(value: Any) -> None:
    assert sweep(value) == value


@given(st.sampled_from(TOOLS), st.data())
def test_shaping_takes_any_result_and_changes_nothing_in_place(
    record: ToolRecord, data: st.DataObject
) -> None:
    names = st.sampled_from([*listed(record), "items", "groups", "metadata"]) | st.text(max_size=8)
    result = data.draw(st.dictionaries(names, PLAIN, max_size=4))
    before = msgspec.json.encode(result)
    for guards in (Guards(), MASKING, Guards(denied=("a",), mask_values=True)):
        _, encoded = render(record, result, guards)
        assert re.search(rb"\{.*\}", encoded, re.DOTALL)
    assert msgspec.json.encode(result) == before
