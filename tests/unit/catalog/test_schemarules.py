"""The rules an input schema keeps: each one broken, and foreign JSON. Spec: core-tools 4."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.catalog.arguments import compile_arguments
from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.schemarules import SchemaError, check_input_schema

TEXT = "An argument of the call."


def closed(**properties: Any) -> dict[str, Any]:
    described = {
        name: {"description": TEXT, **member} if isinstance(member, dict) else member
        for name, member in properties.items()
    }
    return {"type": "object", "properties": described, "additionalProperties": False}


STRING = {"type": "string", "maxLength": 9}
MAP = {"type": "object", "maxProperties": 64, "additionalProperties": True}
NESTED = {"type": "array", "maxItems": 1, "items": {"type": "array", "maxItems": 1, "items": MAP}}


def test_every_built_in_schema_keeps_the_rules() -> None:
    for tool in (*CORE, *GATEWAY, *MODULES):
        check_input_schema(tool.input_schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "additionalProperties": False},
        closed(),
        closed(a=STRING, b=MAP, c={"type": "boolean"}, d={"type": "integer"}),
        closed(a={"type": "string", "enum": ["x"]}),
        closed(a={"type": "number", "minimum": 0.5, "maximum": 1}),
        closed(a={"type": "array", "maxItems": 3, "items": NESTED}),
        closed(a={"type": "array", "maxItems": 3, "items": closed(b=STRING)}),
        closed(**{f"a{index}": STRING for index in range(40)}),
        {**closed(a=STRING), "required": ["a"]},
    ],
)
def test_a_schema_within_the_rules_passes(schema: dict[str, Any]) -> None:
    check_input_schema(schema)
    compile_arguments(schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (None, "the schema has no supported type"),
        ([], "the schema has no supported type"),
        ({}, "the schema has no supported type"),
        (STRING, "must be a closed object"),
        (MAP, "must be a closed object"),
        ({"type": "object", "properties": {}}, "neither a closed object nor an open one"),
        ({**closed(), "maxProperties": 3}, "neither a closed object nor an open one"),
        ({**closed(), "$defs": {}}, r"unsupported keywords: \$defs"),
        ({**closed(), "properties": []}, "malformed properties"),
        ({**closed(), "required": "a"}, "malformed properties"),
        ({**closed(), "required": ["a"]}, "requires properties that it does not have"),
        ({**closed(), "required": [["a"]]}, "requires properties that it does not have"),
        (closed(a=True), "a has no supported type"),
        (closed(a={"type": ["string", "null"], "maxLength": 1}), "a has no supported type"),
        (closed(a={"type": "null"}), "a has no supported type"),
        (closed(a={"anyOf": []}), "a has no supported type"),
        (closed(a={**STRING, "pattern": "x"}), "unsupported keywords: pattern"),
        (closed(a={**STRING, "format": "uri"}), "unsupported keywords: format"),
        (closed(a={**STRING, "minimum": 1}), "unsupported keywords: minimum"),
        (closed(a={**STRING, "description": "Too short"}), "a has no description"),
        (closed(a={**STRING, "description": "x" * 201}), "a has no description"),
        (closed(a={**STRING, "description": 5}), "a has no description"),
        (closed(a={"type": "string"}), "a has no maxLength"),
        (closed(a={"type": "string", "maxLength": "5"}), "a has no maxLength"),
        (closed(a={"type": "string", "maxLength": True}), "a has no maxLength"),
        (closed(a={**STRING, "minLength": 10}), "a has a malformed minLength"),
        (closed(a={**STRING, "minLength": -1}), "a has a malformed minLength"),
        (closed(a={**STRING, "minLength": 1.5}), "a has a malformed minLength"),
        (closed(a={"type": "string", "enum": []}), "a has not 1 to 32 enum values"),
        (closed(a={"type": "string", "enum": "xy"}), "a has not 1 to 32 enum values"),
        (closed(a={"type": "string", "enum": ["x"] * 33}), "a has not 1 to 32 enum values"),
        (closed(a={"type": "string", "enum": ["x", ""]}), "empty or no strings"),
        (closed(a={"type": "string", "enum": ["x", 5]}), "empty or no strings"),
        (closed(a={"type": "integer", "enum": [1]}), "unsupported keywords: enum"),
        (closed(a={"type": "integer", "minimum": "1"}), "a minimum that is no number"),
        (closed(a={"type": "number", "maximum": True}), "a maximum that is no number"),
        (closed(a={"type": "array", "items": STRING}), "a has no maxItems"),
        (closed(a={"type": "array", "maxItems": 2}), r"a\[\] has no supported type"),
        (closed(a={"type": "array", "maxItems": 2, "items": [STRING]}), "no supported type"),
        (closed(a={**MAP, "maxProperties": 65}), "not an open object of at most 64 members"),
        (closed(a={**MAP, "properties": {}}), "not an open object of at most 64 members"),
        (closed(a={"type": "object", "additionalProperties": True}), "a has no maxProperties"),
        (closed(a={"type": "object", "additionalProperties": STRING}), "neither a closed"),
        (
            closed(a={"type": "array", "maxItems": 1, "items": closed(b=NESTED)}),
            r"the schema\.a\[\]\.b\[\]\[\] is nested more than 4 levels deep",
        ),
        (closed(**{f"a{index}": STRING for index in range(41)}), "more than 40 properties"),
        (
            closed(
                a={"type": "array", "maxItems": 1, "items": closed(b=STRING, c=STRING)},
                **{f"d{index}": STRING for index in range(38)},
            ),
            "more than 40 properties",
        ),
    ],
)
def test_each_broken_rule_is_named(schema: Any, reason: str) -> None:
    with pytest.raises(SchemaError, match=reason):
        check_input_schema(schema)


WORDS = st.sampled_from(
    ["type", "properties", "items", "enum", "maxLength", "maxItems", "required", "description",
     "additionalProperties", "maxProperties", "default", "minimum", "a"]
)  # fmt: skip
VALUES = st.sampled_from(["object", "array", "string", "integer", "a", TEXT])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


@given(JSON, JSON)
def test_a_foreign_schema_is_refused_or_compiles_but_never_breaks(top: Any, inner: Any) -> None:
    for schema in (top, closed(a=inner), closed(a={**STRING, "default": inner})):
        with contextlib.suppress(SchemaError):
            compile_arguments(schema).check({"a": inner})
