"""The tables of keywords give the verdict of the meta-schemas themselves."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.remotes.rules.metaschema import is_valid, subschemas

DIALECTS: dict[str, Any] = {
    "https://json-schema.org/draft/2020-12/schema": jsonschema.Draft202012Validator,
    "http://json-schema.org/draft-07/schema#": jsonschema.Draft7Validator,
}
_KEYWORDS = """
$id $ref $anchor $dynamicRef $dynamicAnchor $vocabulary $comment $defs prefixItems
items contains additionalProperties properties patternProperties dependentSchemas
propertyNames if then else allOf anyOf oneOf not title default unevaluatedItems
unevaluatedProperties type const enum multipleOf maximum exclusiveMaximum minimum
exclusiveMinimum maxLength minLength pattern maxItems minItems uniqueItems maxContains
minContains maxProperties minProperties required dependentRequired description deprecated
readOnly writeOnly examples format contentEncoding contentMediaType contentSchema
definitions dependencies $recursiveRef $recursiveAnchor additionalItems x-unknown
"""
KEYWORDS = _KEYWORDS.split()
VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 1.5, 3.0, -0.5, 1e400, "", "a", "#", "a#", "a#b", "1a", "string",
    [], [1], ["a"], ["a", "a"], ["string", "null"], ["string", "string"], ["text"], [True],
    [{}], [{"type": "x"}], [[]], {}, {"a": True}, {"a": 1}, {"a": {}}, {"a": []}, {"a": ["b"]},
    {"a": ["b", "b"]}, {"a": [1]}, {"type": "string"}, {"type": 5}, {"a": {"type": "x"}},
]  # fmt: skip


def verdict(dialect: str, schema: dict[str, Any]) -> bool:
    validator = DIALECTS[dialect]
    return bool(validator(validator.META_SCHEMA).is_valid(schema))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_takes_what_the_meta_schema_takes(dialect: str, keyword: str) -> None:
    for value in VALUES:
        if value == 1e400:
            continue
        schema = {"$schema": dialect, keyword: value}
        assert is_valid(schema) == verdict(dialect, schema), (keyword, value)
        nested = {"$schema": dialect, "properties": {"p": {"not": {keyword: value}}}}
        assert is_valid(nested) == is_valid(schema), (keyword, value)


SCHEMAS = st.recursive(
    st.sampled_from(VALUES).filter(lambda value: value != 1e400),
    lambda inner: (
        st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=3)
        | st.lists(inner, max_size=2)
    ),
    max_leaves=8,
)


@given(st.sampled_from(sorted(DIALECTS)), SCHEMAS)
def test_nested_schemas_have_the_verdict_of_the_meta_schema(dialect: str, inner: Any) -> None:
    schema = {"$schema": dialect, "type": "object", "properties": {"p": inner}, "anyOf": [inner]}
    assert is_valid(schema) == verdict(dialect, schema)


@pytest.mark.parametrize(
    ("named", "known"),
    [
        ("https://json-schema.org/draft/2020-12/schema", True),
        ("https://json-schema.org/draft/2020-12/schema#", True),
        ("http://json-schema.org/draft-07/schema", True),
        ("https://json-schema.org/draft-07/schema#", True),
        ("http://json-schema.org/draft-04/schema#", False),
        ("https://json-schema.org/draft/2019-09/schema", False),
        ("", False),
        (5, False),
    ],
)
def test_two_dialects_are_known(named: Any, known: bool) -> None:
    assert is_valid({"$schema": named, "type": "object"}) == known
    assert len(list(subschemas({"$schema": named, "not": {}}))) == (2 if known else 1)


def test_without_a_dialect_it_is_the_newer_one() -> None:
    assert is_valid({"items": {}})
    assert not is_valid({"items": [{}]})
    assert is_valid({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{}]})


def test_an_infinite_count_is_no_count() -> None:
    assert not is_valid({"maxLength": float("inf")})


def test_paths_follow_properties_only() -> None:
    schema = {
        "properties": {
            "a": {"properties": {"b": {"type": "string"}}},
            "c": {"items": {"properties": {"d": True}}},
            "e": {"default": {"properties": {"f": {}}}},
        },
        "anyOf": [{"properties": {"g": {}}}],
    }
    paths = {path for path, _ in subschemas(schema)}
    assert paths == {(), ("a",), ("a", "b"), ("c",), ("e",), None}


def test_the_largest_schema_is_judged() -> None:
    schema = {"properties": {f"p{n}": {"type": "string", "title": "x"} for n in range(1_600)}}
    assert is_valid(schema)
