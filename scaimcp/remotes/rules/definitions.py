"""What of an upstream's lists is kept: each definition is checked alone. Pure.

One bad definition costs only itself, and what is kept has no member that a strict client could
trip over. Spec: remote-servers 3 (names) and 6 (checks per definition).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.rules.canonical import CanonicalError, definition_hash
from scaimcp.remotes.rules.changes import HEADER_KEYWORD, Finding, scan, shown, texts
from scaimcp.remotes.rules.members import Malformed, known_members
from scaimcp.remotes.rules.metaschema import is_valid, subschemas
from scaimcp.remotes.rules.naming import MAX_UPSTREAM_NAME, alias

LIMITS: Mapping[Kind, int] = {
    Kind.TOOL: 512,
    Kind.RESOURCE: 2_000,
    Kind.RESOURCE_TEMPLATE: 200,
    Kind.PROMPT: 256,
}
REASONS = frozenset(
    {
        "invalid_name",
        "duplicate_name",
        "alias_collision",
        "not_an_object",
        "definition_too_large",
        "description_too_long",
        "schema_not_an_object",
        "schema_too_deep",
        "schema_too_many_nodes",
        "schema_invalid",
        "invalid_header_annotation",
        "task_only",
        "invalid_text",
        "invalid_uri",
    }
)
MAX_BYTES = 64 * 1024
MAX_DESCRIPTION_BYTES = 16 * 1024
MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_NODES = 5_000
_MAX_DEPTH = 64
_MAX_URI_BYTES = 2_048
SHOWN_NAME = 120

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20\x7f-\x9f]+\Z")
_TEMPLATE = re.compile(
    r"(?=[A-Za-z][A-Za-z0-9+.-]*:|\{)(?:[^\s\x00-\x20\x7f-\x9f{}]|\{[^\s\x00-\x20\x7f-\x9f{}]+\})+\Z"
)
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_HEADER_TYPES = ("string", "integer", "boolean")
_OBJECT_KEYWORDS = frozenset(
    {
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "unevaluatedProperties",
    }
)
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_SCHEMAS = ("inputSchema", "outputSchema")
_REFERENCE_ENDS = tuple(f"/{name}" for name in _REFERENCES)
_KEYS = {
    Kind.TOOL: "name",
    Kind.PROMPT: "name",
    Kind.RESOURCE: "uri",
    Kind.RESOURCE_TEMPLATE: "uriTemplate",
}
_URI_FORMS = {Kind.RESOURCE: _URI, Kind.RESOURCE_TEMPLATE: _TEMPLATE}


class Prefix(msgspec.Struct, frozen=True):
    """Scope segment and slug of the server whose lists are read."""

    scope: str
    slug: str


class Definition(msgspec.Struct, frozen=True):
    """A definition that passed every check.

    Args:
        kind: which list it came from.
        name: its key: the name of a tool or prompt, the URI or URI template of a resource.
        ordinal: its place in the upstream's list, from 0.
        alias: the safe name of a tool or prompt; None for resources.
        definition: known members only, in the upstream's order.
        definition_hash: SHA-256 of what it says.
        findings: hidden characters, and references that a client might fetch.
    """

    kind: Kind
    name: str
    ordinal: int
    alias: str | None
    definition: dict[str, Any]
    definition_hash: bytes
    findings: tuple[Finding, ...] = ()


class Dropped(msgspec.Struct, frozen=True):
    """A definition that is not served; ``name`` is at most 120 characters, ``#3`` if unreadable."""

    kind: Kind
    name: str
    reason: str


class Reading(msgspec.Struct, frozen=True):
    """One list, read; ``truncated`` counts the definitions beyond the limit of its kind."""

    kept: tuple[Definition, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    truncated: int = 0


class _Drop(Exception):
    """A check failed; the argument is the reason."""


def read(
    kind: Kind,
    raw: Sequence[bytes | msgspec.Raw],
    prefix: Prefix,
    taken_aliases: Collection[str] = frozenset(),
) -> Reading:
    """Check the definitions of one list.

    Args:
        kind: what is listed.
        raw: the JSON of each definition, in upstream order and from all pages.
        prefix: the server's scope and slug.
        taken_aliases: aliases that other servers' definitions of this kind already have.
    """
    limit = LIMITS[kind]
    kept: dict[str, Definition] = {}
    dropped: list[Dropped] = []
    aliases = set(taken_aliases)
    for ordinal, item in enumerate(raw[:limit]):
        value: Any = None
        try:
            value = _decode(bytes(item))
            definition = _checked(kind, value, ordinal, prefix)
            if definition.name in kept:
                raise _Drop("duplicate_name")
            if definition.alias in aliases:
                raise _Drop("alias_collision")
        except _Drop as drop:
            dropped.append(Dropped(kind, _label(kind, value, ordinal), str(drop)))
            continue
        kept[definition.name] = definition
        if definition.alias is not None:
            aliases.add(definition.alias)
    return Reading(tuple(kept.values()), tuple(dropped), max(len(raw) - limit, 0))


def _decode(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        raise _Drop("schema_too_deep") from None
    except msgspec.ValidationError:
        # A number that no double and no integer can hold.
        raise _Drop("schema_invalid") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _Drop("invalid_text") from None


def _label(kind: Kind, value: Any, ordinal: int) -> str:
    name = value.get(_KEYS[kind]) if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        return f"#{ordinal + 1}"
    visible = "".join("\ufffd" if _is_control(letter) else letter for letter in name[:SHOWN_NAME])
    return shown(visible)


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) == "Cc"


def _checked(kind: Kind, value: Any, ordinal: int, prefix: Prefix) -> Definition:
    if not isinstance(value, dict):
        raise _Drop("not_an_object")
    if _measure(value)[0] > _MAX_DEPTH:
        raise _Drop("schema_too_deep")
    if len(msgspec.json.encode(value)) > MAX_BYTES:
        raise _Drop("definition_too_large")
    if any("\x00" in text for _, text in texts(value)):
        raise _Drop("invalid_text")
    name = _name(kind, value)
    if len(str(value.get("description", "")).encode()) > MAX_DESCRIPTION_BYTES:
        raise _Drop("description_too_long")
    try:
        definition = known_members(kind, value)
    except Malformed:
        raise _Drop("schema_invalid") from None
    if kind is Kind.TOOL:
        _check_tool(definition)
    try:
        digest = definition_hash(kind, definition)
    except CanonicalError:
        raise _Drop("schema_invalid") from None
    has_alias = kind in (Kind.TOOL, Kind.PROMPT)
    return Definition(
        kind,
        name,
        ordinal,
        alias(prefix.scope, prefix.slug, name) if has_alias else None,
        definition,
        digest,
        (*scan(kind, definition), *_network_references(definition)),
    )


def _name(kind: Kind, value: Mapping[str, Any]) -> str:
    """Return a definition's key; a resource needs a name for people beside it."""
    name = value.get("name")
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= MAX_UPSTREAM_NAME
        or any(map(_is_control, name))
    ):
        raise _Drop("invalid_name")
    if kind not in _URI_FORMS:
        return name
    uri = value.get(_KEYS[kind])
    if not isinstance(uri, str) or len(uri.encode()) > _MAX_URI_BYTES:
        raise _Drop("invalid_uri")
    if not _URI_FORMS[kind].match(uri):
        raise _Drop("invalid_uri")
    return uri


def _check_tool(definition: dict[str, Any]) -> None:
    definition["inputSchema"] = _rooted(definition.get("inputSchema"))
    for schema in (definition["inputSchema"], definition.get("outputSchema")):
        if schema is not None:
            _check_schema(schema)
    _check_headers(definition["inputSchema"])
    if definition.get("execution", {}).get("taskSupport") == "required":
        raise _Drop("task_only")


def _rooted(schema: Any) -> dict[str, Any]:
    """Return an input schema that says it is an object's."""
    if not isinstance(schema, dict):
        raise _Drop("schema_not_an_object")
    if "type" not in schema and not _OBJECT_KEYWORDS.isdisjoint(schema):
        return {"type": "object", **schema}
    if schema.get("type") != "object":
        raise _Drop("schema_not_an_object")
    return schema


def _check_schema(schema: Any) -> None:
    if not isinstance(schema, dict):
        raise _Drop("schema_not_an_object")
    depth, nodes = _measure(schema)
    if depth > MAX_SCHEMA_DEPTH:
        raise _Drop("schema_too_deep")
    if nodes > MAX_SCHEMA_NODES:
        raise _Drop("schema_too_many_nodes")
    if not is_valid(schema):
        raise _Drop("schema_invalid")


def _measure(value: Any) -> tuple[int, int]:
    """Return how deep objects and arrays are nested, and how many values there are."""
    depth, nodes, level = 0, 0, [value]
    while level:
        nodes += len(level)
        inner: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                inner += node.values()
            elif isinstance(node, list):
                inner += node
        depth += any(isinstance(node, dict | list) for node in level)
        level = inner
    return depth, nodes


def _check_headers(schema: Mapping[str, Any]) -> None:
    """Apply MCP's rules for arguments that are mirrored in headers."""
    seen: set[str] = set()
    for path, node in subschemas(schema):
        if HEADER_KEYWORD not in node:
            continue
        token = node[HEADER_KEYWORD]
        if not path or not isinstance(token, str) or not _TOKEN.match(token):
            raise _Drop("invalid_header_annotation")
        if node.get("type") not in _HEADER_TYPES or token.lower() in seen:
            raise _Drop("invalid_header_annotation")
        seen.add(token.lower())


def _network_references(definition: Mapping[str, Any]) -> list[Finding]:
    """Flag references that lead out of the schema; the gateway itself never follows any."""
    schemas = {name: definition[name] for name in _SCHEMAS if name in definition}
    found = [(pointer, text) for pointer, text in texts(schemas)]
    own = {text.removesuffix("#") for pointer, text in found if pointer.endswith("/$id")}
    return [
        Finding("opaque_text", "low", shown(pointer), shown(text))
        for pointer, text in found
        if pointer.endswith(_REFERENCE_ENDS)
        and text not in _REFERENCES
        and not text.startswith("#")
        and text.partition("#")[0] not in own
    ]
