"""The rules an input schema keeps, whoever wrote it.

Built-in schemas come from the catalogue's notation and keep them by construction; those of
entry points and manifests are foreign data and may be anything. Spec: core-tools 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

MAX_DEPTH = 4
MAX_PROPERTIES = 40
MAX_ENUM = 32
MAX_MAP_MEMBERS = 64
_DESCRIPTION = (10, 200)
_COMMON = frozenset({"type", "description"})
_KEYWORDS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"enum", "default", "minLength", "maxLength"}),
    "integer": frozenset({"default", "minimum", "maximum"}),
    "number": frozenset({"default", "minimum", "maximum"}),
    "boolean": frozenset({"default"}),
    "array": frozenset({"items", "default", "minItems", "maxItems"}),
    "object": frozenset({"properties", "required", "additionalProperties", "maxProperties"}),
}


class SchemaError(ValueError):
    """An input schema outside the subset that the catalogue allows."""


def check_input_schema(schema: Any) -> None:
    """Refuse a schema that breaks a rule of the catalogue.

    Its size in bytes and its defaults are not looked at here.

    Raises:
        SchemaError: names the first rule broken and where; never another exception, whatever
            JSON value `schema` is.
    """
    _check(schema, "the schema", 0)
    if is_open_map(schema) or schema["type"] != "object":
        raise SchemaError("the schema must be a closed object")
    if _count(schema) > MAX_PROPERTIES:
        raise SchemaError(f"the schema has more than {MAX_PROPERTIES} properties")


def is_open_map(schema: Mapping[str, Any]) -> bool:
    """Tell whether a schema takes members of any name."""
    return schema.get("additionalProperties") is True


def _check(node: Any, path: str, depth: int) -> None:
    """Check one node and what is below it."""
    kind = node.get("type") if isinstance(node, dict) else None
    keywords = _KEYWORDS.get(kind) if isinstance(kind, str) else None
    if keywords is None:
        raise SchemaError(f"{path} has no supported type")
    if depth > MAX_DEPTH:
        raise SchemaError(f"{path} is nested more than {MAX_DEPTH} levels deep")
    foreign = sorted(node.keys() - keywords - _COMMON)
    if foreign:
        raise SchemaError(f"{path} has unsupported keywords: {', '.join(foreign)[:80]}")
    _CHECKS[str(kind)](node, path, depth)


def _check_string(node: Mapping[str, Any], path: str, _depth: int) -> None:
    if "enum" not in node:
        _check_range(node, path, "minLength", "maxLength")
        return
    values = node["enum"]
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_ENUM:
        raise SchemaError(f"{path} has not 1 to {MAX_ENUM} enum values")
    if not all(isinstance(value, str) and value for value in values):
        raise SchemaError(f"{path} has enum values that are empty or no strings")


def _check_number(node: Mapping[str, Any], path: str, _depth: int) -> None:
    for keyword in ("minimum", "maximum"):
        value = node.get(keyword, 0)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise SchemaError(f"{path} has a {keyword} that is no number")


def _check_nothing(_node: Mapping[str, Any], _path: str, _depth: int) -> None:
    """A boolean has nothing to check."""


def _check_array(node: Mapping[str, Any], path: str, depth: int) -> None:
    _check_range(node, path, "minItems", "maxItems")
    _check(node.get("items"), f"{path}[]", depth + 1)


def _check_object(node: Mapping[str, Any], path: str, depth: int) -> None:
    if is_open_map(node):
        _check_range(node, path, "minProperties", "maxProperties")
        if node["maxProperties"] > MAX_MAP_MEMBERS or node.keys() & {"properties", "required"}:
            raise SchemaError(f"{path} is not an open object of at most {MAX_MAP_MEMBERS} members")
        return
    properties = node.get("properties", {})
    required = node.get("required", [])
    if node.get("additionalProperties") is not False or "maxProperties" in node:
        raise SchemaError(f"{path} is neither a closed object nor an open one")
    if not isinstance(properties, dict) or not isinstance(required, list):
        raise SchemaError(f"{path} has malformed properties")
    if not all(isinstance(name, str) and name in properties for name in required):
        raise SchemaError(f"{path} requires properties that it does not have")
    for name, member in properties.items():
        at = f"{path}.{name}"[:120]
        _check(member, at, depth + 1)
        text = member.get("description")
        if not isinstance(text, str) or not _DESCRIPTION[0] <= len(text) <= _DESCRIPTION[1]:
            raise SchemaError(f"{at} has no description of 10 to 200 characters")


def _check_range(node: Mapping[str, Any], path: str, low_key: str, high_key: str) -> None:
    """Check a range of sizes: whole numbers, the upper one present."""
    low, high = node.get(low_key, 0), node.get(high_key)
    if type(high) is not int:
        raise SchemaError(f"{path} has no {high_key}")
    if type(low) is not int or not 0 <= low <= high:
        raise SchemaError(f"{path} has a malformed {low_key}")


def _count(node: Mapping[str, Any]) -> int:
    """Count the properties at every level."""
    members = node.get("properties", {})
    below = sum(_count(member) for member in members.values())
    return len(members) + below + (_count(node["items"]) if "items" in node else 0)


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], str, int], None]] = {
    "string": _check_string,
    "integer": _check_number,
    "number": _check_number,
    "boolean": _check_nothing,
    "array": _check_array,
    "object": _check_object,
}
