"""JSON Schema held against its own meta-schema, as tables of keywords. Pure.

The general validator interprets the meta-schema and needs half a second for the largest schema
that is allowed; these tables give the same verdict in one walk. Spec: remote-servers 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_ANCHOR = re.compile(r"[A-Za-z_][-A-Za-z0-9._]*\Z")
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})

# A rule returns the schemas inside a keyword's value, or None if the value is malformed.
_Rule = Callable[[Any], list[Any] | None]


def _plain(test: Callable[[Any], bool]) -> _Rule:
    return lambda value: [] if test(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_number(value) and value >= 0 and value % 1 == 0


def _is_names(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(name, str) for name in value)
        and len(set(value)) == len(value)
    )


def _is_type(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return _is_names(value) and bool(value) and _TYPES.issuperset(value)


def _is_anchor(value: Any) -> bool:
    return isinstance(value, str) and _ANCHOR.match(value) is not None


def _is_plain_uri(value: Any) -> bool:
    return isinstance(value, str) and "#" not in value.removesuffix("#")


def _is_vocabulary(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, bool) for item in value.values())


def _one(value: Any) -> list[Any] | None:
    return [value]


def _many(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) and value else None


def _one_or_many(value: Any) -> list[Any] | None:
    return _many(value) if isinstance(value, list) else [value]


def _named(value: Any) -> list[Any] | None:
    return list(value.values()) if isinstance(value, dict) else None


def _dependencies(value: Any) -> list[Any] | None:
    if not isinstance(value, dict):
        return None
    inner = [item for item in value.values() if not isinstance(item, list)]
    return (
        inner if all(map(_is_names, (i for i in value.values() if isinstance(i, list)))) else None
    )


def _required_names(value: Any) -> list[Any] | None:
    return [] if isinstance(value, dict) and all(map(_is_names, value.values())) else None


_TEXT = _plain(lambda value: isinstance(value, str))
_FLAG = _plain(lambda value: isinstance(value, bool))
_LIST = _plain(lambda value: isinstance(value, list))
_COUNT = _plain(_is_count)
_NUMBER = _plain(_is_number)
_POSITIVE = _plain(lambda value: _is_number(value) and value > 0)


def _table(**rules: tuple[_Rule, str]) -> dict[str, _Rule]:
    return {keyword: rule for rule, keywords in rules.values() for keyword in keywords.split()}


_COMMON = _table(
    text=(_TEXT, "$schema $ref $comment title description pattern format contentEncoding "
          "contentMediaType"),
    flag=(_FLAG, "uniqueItems readOnly"),
    list=(_LIST, "enum examples"),
    count=(_COUNT, "maxLength minLength maxItems minItems maxProperties minProperties"),
    number=(_NUMBER, "maximum exclusiveMaximum minimum exclusiveMinimum"),
    positive=(_POSITIVE, "multipleOf"),
    names=(_plain(_is_names), "required"),
    type=(_plain(_is_type), "type"),
    one=(_one, "contains additionalProperties propertyNames if then else not"),
    many=(_many, "allOf anyOf oneOf"),
    named=(_named, "definitions properties patternProperties"),
    mixed=(_dependencies, "dependencies"),
)  # fmt: skip
_DRAFT_07 = {
    **_COMMON,
    **_table(text=(_TEXT, "$id"), one=(_one, "additionalItems"), items=(_one_or_many, "items")),
}
_DRAFT_2020 = {
    **_COMMON,
    **_table(
        id=(_plain(_is_plain_uri), "$id"),
        text=(_TEXT, "$dynamicRef $recursiveRef"),
        anchor=(_plain(_is_anchor), "$anchor $dynamicAnchor $recursiveAnchor"),
        vocabulary=(_plain(_is_vocabulary), "$vocabulary"),
        flag=(_FLAG, "deprecated writeOnly"),
        count=(_COUNT, "maxContains minContains"),
        one=(_one, "items unevaluatedItems unevaluatedProperties contentSchema"),
        many=(_many, "prefixItems"),
        named=(_named, "$defs dependentSchemas"),
        dependent=(_required_names, "dependentRequired"),
    ),
}
_DIALECTS: Mapping[str, Mapping[str, _Rule]] = {
    "json-schema.org/draft/2020-12/schema": _DRAFT_2020,
    "json-schema.org/draft-07/schema": _DRAFT_07,
}
_DEFAULT_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def is_valid(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema is one of the dialect that it names, 2020-12 where it names none.

    Patterns are not compiled and references are not followed.
    """
    rules = _dialect(schema)
    if rules is None:
        return False
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, bool):
            continue
        if not isinstance(node, dict):
            return False
        for keyword in node.keys() & rules.keys():
            inner = rules[keyword](node[keyword])
            if inner is None:
                return False
            waiting += inner
    return True


def subschemas(
    schema: Mapping[str, Any],
) -> Iterator[tuple[tuple[str, ...] | None, dict[str, Any]]]:
    """Yield every schema inside a valid one, with the names that lead to it.

    The path is that of ``properties`` alone, as arguments are nested; None for schemas that any
    other keyword leads to, since no argument is surely there.
    """
    rules = _dialect(schema) or {}
    waiting: list[tuple[tuple[str, ...] | None, Any]] = [((), schema)]
    while waiting:
        path, node = waiting.pop()
        if not isinstance(node, dict):
            continue
        yield path, node
        for keyword in node.keys() & rules.keys():
            if keyword == "properties" and path is not None:
                waiting += [((*path, name), inner) for name, inner in node[keyword].items()]
            else:
                waiting += [(None, inner) for inner in rules[keyword](node[keyword]) or ()]


def _dialect(schema: Mapping[str, Any]) -> Mapping[str, _Rule] | None:
    named = schema.get("$schema", _DEFAULT_DIALECT)
    if not isinstance(named, str):
        return None
    return _DIALECTS.get(named.removesuffix("#").partition("://")[2])
