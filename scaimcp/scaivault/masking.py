"""Masking: secret values become markers before anything else sees the result. Pure.

A tool that returns secrets shows only its listed fields; everywhere else keys named like secrets
are swept. Certificates stay. Masking comes before truncation and before any log line.
Spec: scaivault 2.5.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

import msgspec

from scaimcp.scaivault.errors import MARKER
from scaimcp.scaivault.records import Mask, ToolRecord
from scaimcp.scaivault.secret_names import holds_private_key, names_secret

Rule = Literal["plain", "open", "hidden", "members"]
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"([^\s\[\]{}]+)([\[{]?)|([\]}])")
# Listed fields that are objects of anybody's making.
_OPEN_FIELDS = frozenset({"metadata", "filters", "config", "path_mapping"})
# Their members' names are people's own, and may be those of dropped fields.
_NOTES = frozenset({"metadata", "path_mapping"})
_MOST_DEPTH = 64
# Tables that are part of this program.
_FIXED = frozenset({"policy_types", "event_types"})
# What stands beside the rows of a list.
LIST_MEMBERS = ("items", "has_more", "next_cursor", "truncated")


class Node(msgspec.Struct):
    """How one field of a result is masked.

    Args:
        rule: ``plain`` shows a value or an array of them, ``open`` an object that is swept;
            ``hidden`` is one marker, ``members`` one for each member.
        children: the members that are listed; None where none are.
        kept: members that ``members`` leaves.
    """

    rule: Rule = "plain"
    children: dict[str, Node] | None = None
    kept: tuple[str, ...] = ()


def mask(record: ToolRecord, result: dict[str, Any]) -> dict[str, Any]:
    """Return a result as it is shown under MASK_VALUES, with ``masked: true``.

    Args:
        record: the tool.
        result: of a list ``items`` and what stands beside them.
    """
    masked: dict[str, Any]
    if record.special in _FIXED:
        masked = dict(result)
    elif not record.mask.is_strict:
        masked = _swept_members(result, 0)
    elif record.is_list:
        tree = fields_of(record.fields, record.mask)
        page = Node(children={name: Node() for name in LIST_MEMBERS} | {"items": tree})
        masked = _masked(page, result)
    else:
        masked = _masked(fields_of(record.fields, record.mask), result)
    return {**masked, "masked": True}


def drop(mask: Mask, value: Any) -> Any:
    """Return a result without the fields that are never returned, masked or not.

    They go at any depth, except where people choose the names of members.
    """
    for where in mask.dropped:
        holder, _, name = where.rpartition(".")
        value = _without(value, holder, name, is_inside=not holder)
    return value


def _without(value: Any, holder: str, name: str, *, is_inside: bool) -> Any:
    if isinstance(value, list):
        return [_without(item, holder, name, is_inside=is_inside) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: inner
        if key in _NOTES
        else _without(inner, holder, name, is_inside=is_inside or key == holder)
        for key, inner in value.items()
        if not (is_inside and key == name)
    }


def sweep(value: Any) -> Any:
    """Return a value with markers under keys named like secrets and in place of private keys."""
    return _swept(value, 0)


def sweep_faults(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is said of single fields, with a marker where a field is named like a secret.

    Args:
        details: objects with ``field`` and ``message``, each a text, or less.
    """
    return [
        {**sweep(detail), "message": MARKER}
        if "message" in detail and names_secret(detail.get("field", ""))
        else sweep(detail)
        for detail in details
    ]


# -- fields that are listed ----------------------------------------------------------------------


@lru_cache(maxsize=256)
def fields_of(fields: str, mask: Mask) -> Node:
    """Return how the listed fields of a result are masked; not to be changed by the caller."""
    root = Node(children={})
    holders = [root]
    for name, bracket, closing in _TOKEN.findall(fields):
        if closing:
            holders.pop()
            continue
        node = Node("open" if name in _OPEN_FIELDS else "plain")
        if bracket:
            node.children = {}
        _children(holders[-1])[name] = node
        if bracket:
            holders.append(node)
    for where in mask.hidden:
        _hide(root, where.split("."), mask.kept)
    return root


def _children(node: Node) -> dict[str, Node]:
    if node.children is None:
        node.children = {}
    return node.children


def _hide(node: Node, steps: list[str], kept: tuple[str, ...]) -> None:
    """Put a hidden field among the listed ones; below one that is not listed all is hidden."""
    name = steps[0].removesuffix("[]")
    if len(steps) == 1:
        _children(node)[name] = Node("hidden")
    elif steps[1:] == ["*"]:
        _children(node)[name] = Node("members", kept=kept)
    elif name in _children(node):
        _hide(_children(node)[name], steps[1:], kept)


def _masked(node: Node, value: Any) -> Any:
    if node.rule == "hidden":
        return MARKER
    if node.rule == "members":
        return _masked_members(value, node.kept)
    if isinstance(value, list):
        return [_masked(node, item) for item in value]
    if isinstance(value, dict):
        return _listed(node, value)
    # A value where members are listed is none of those.
    if node.children is not None and value is not None:
        return MARKER
    return _clean(value)


def _listed(node: Node, value: dict[str, Any]) -> dict[str, Any]:
    children = node.children or {}
    rest = _swept_members(value, 0) if node.rule == "open" else {}
    shown = _Names()
    result = {}
    for key, inner in value.items():
        if key in children:
            result[key] = _masked(children[key], inner)
        elif node.rule != "open":
            result[shown.of(key)] = MARKER
    return {**rest, **result}


def _masked_members(value: Any, kept: tuple[str, ...]) -> Any:
    """Return an object with its first-level keys and markers; anything else is one marker."""
    if not isinstance(value, dict):
        return MARKER
    shown = _Names()
    result = {}
    for key, inner in value.items():
        is_kept = _is_kept(key, kept) and not isinstance(inner, dict | list)
        result[shown.of(key)] = _clean(inner) if is_kept else MARKER
    return result


def _is_kept(key: str, kept: tuple[str, ...]) -> bool:
    return any(
        key.endswith(pattern[1:]) if pattern.startswith("*") else key == pattern for pattern in kept
    )


class _Names:
    """Names of one object's members; a name that might hold a value is shown as a number."""

    def __init__(self) -> None:
        self._hidden = 0

    def of(self, key: str) -> str:
        if _KEY.fullmatch(key):
            return key
        self._hidden += 1
        return f"{MARKER}{self._hidden}"


# -- sweep ---------------------------------------------------------------------------------------


def _swept(value: Any, depth: int) -> Any:
    if depth > _MOST_DEPTH:
        return MARKER
    if isinstance(value, dict):
        return _swept_members(value, depth)
    if isinstance(value, list):
        return [_swept(item, depth + 1) for item in value]
    return _clean(value)


def _swept_members(value: dict[str, Any], depth: int) -> dict[str, Any]:
    return {
        _clean(key): MARKER if names_secret(key) else _swept(inner, depth + 1)
        for key, inner in value.items()
    }


def _clean(value: Any) -> Any:
    return MARKER if isinstance(value, str) and holds_private_key(value) else value
