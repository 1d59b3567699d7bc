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
from scaimcp.scaivault.outline import Outline, names_in
from scaimcp.scaivault.records import Mask, ToolRecord
from scaimcp.scaivault.secret_names import encodes_private_key, holds_private_key, names_secret

Rule = Literal["plain", "open", "map", "hidden", "members"]
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"([^\s\[\]{}]+)([\[{]?)|([\]}])")
# Listed fields that are objects of anybody's making.
_OPEN_FIELDS = frozenset({"metadata", "filters", "config"})
# Listed fields that are objects from path to path: ``secrets/**`` there is no name of a secret.
_MAPS = frozenset({"path_mapping"})
# Their members' names are people's own, and may be those of dropped fields.
_NOTES = frozenset({"metadata", "path_mapping"})
_MOST_DEPTH = 64
# Tables that are part of this program.
_FIXED = frozenset({"policy_types", "event_types"})
# What stands beside the rows of a list.
LIST_MEMBERS = ("items", "has_more", "next_cursor", "truncated")
_encode = msgspec.json.encode
# Rules that look at each member's value.
_BY_VALUE = frozenset({"map", "members"})
# More changes than this are not made row by row.
_MOST_CHANGES = 32


class Node(msgspec.Struct):
    """How one field of a result is masked.

    Args:
        rule: ``plain`` shows a value or an array of them, ``open`` an object that is swept,
            ``map`` an object of plain values; ``hidden`` is one marker, ``members`` one for each
            member.
        children: the members that are listed; None where none are.
        kept: members that ``members`` leaves.
    """

    rule: Rule = "plain"
    children: dict[str, Node] | None = None
    kept: tuple[str, ...] = ()


def masked_json(
    record: ToolRecord, result: dict[str, Any], outline: Outline | None = None
) -> tuple[dict[str, Any], bytes]:
    """Return a result as it is shown under MASK_VALUES, with ``masked: true``, and its JSON.

    Args:
        record: the tool.
        result: of a list ``items`` and what stands beside them.
        outline: of this very result; the same comes out without it, only later.
    """
    if record.special in _FIXED:
        masked = {**result, "masked": True}
        return masked, _encode(masked)
    tree = _tree(record)
    changes = None if outline is None else _changes(tree, outline)
    if changes is not None:
        masked = {**_changed(result, changes), "masked": True}
        encoded = _encode(masked)
        # What is looked for stands in JSON as it is, and nothing else reads like it.
        if not encodes_private_key(encoded):
            return masked, encoded
    masked = {**_masked(tree, result), "masked": True}
    return masked, _encode(masked)


def _tree(record: ToolRecord) -> Node:
    if not record.mask.is_strict:
        return _SWEPT
    tree = fields_of(record.fields, record.mask)
    if not record.is_list:
        return tree
    return Node(children={**_BESIDE, "items": tree})


def drop(mask: Mask, value: Any, outline: Outline | None = None) -> Any:
    """Return a result without the fields that are never returned, masked or not.

    They go at any depth, except where people choose the names of members.

    Args:
        mask: names the fields.
        value: the result.
        outline: of this very result; the same comes out without it, only later.
    """
    there = None if outline is None else set(names_in(outline))
    for where in mask.dropped:
        holder, _, name = where.rpartition(".")
        if there is None or name in there:
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


_SWEPT, _HIDDEN = Node("open"), Node("hidden")
_BESIDE = dict.fromkeys(LIST_MEMBERS, Node())


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
        node = Node(_rule_of(name))
        if bracket:
            node.children = {}
        _children(holders[-1])[name] = node
        if bracket:
            holders.append(node)
    for where in mask.hidden:
        _hide(root, where.split("."), mask.kept)
    return root


def _rule_of(name: str) -> Rule:
    if name in _MAPS:
        return "map"
    return "open" if name in _OPEN_FIELDS else "plain"


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
    if node.rule == "map":
        return {_clean(name): _plain(inner) for name, inner in value.items()}
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
        result[shown.of(key)] = _plain(inner) if is_kept(key, kept) else MARKER
    return result


def is_kept(key: str, kept: tuple[str, ...]) -> bool:
    """Tell whether a member of a hidden object stays."""
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


# -- many rows at once ---------------------------------------------------------------------------


class _Changes(msgspec.Struct):
    """What masking changes at one place.

    Args:
        hides_scalars: whether a value that is no object becomes a marker.
        is_even: whether all objects there have the same members.
        markers: markers by the names of members that become one.
        inner: by the names of other members: a node for what has to be looked at value by value,
            or what changes inside.
    """

    hides_scalars: bool
    is_even: bool
    markers: dict[str, str]
    inner: dict[str, Node | _Changes]


def _changes(node: Node, outline: Outline) -> _Changes | None:
    """Return what `_masked` changes, private keys in texts aside.

    None where that is another thing in each row, or too much.
    """
    found = _Changes(node.children is not None, outline.is_even, {}, {})
    children = node.children or {}
    for name in outline.names:
        child = children.get(name)
        if child is None and node.rule == "open":
            child = _HIDDEN if names_secret(name) else _SWEPT
        elif child is None:
            # A name that might hold a value is shown as a number, which is its object's own.
            if not _KEY.fullmatch(name):
                return None
            child = _HIDDEN
        inner = outline.inner.get(name)
        # Most members are listed and hold one value: nothing to do.
        is_plain = inner is None and child.rule == "plain" and child.children is None
        if not is_plain and not _find_change(found, name, child, inner):
            return None
    return found if len(found.markers) + len(found.inner) <= _MOST_CHANGES else None


def _find_change(found: _Changes, name: str, child: Node, inner: Outline | None) -> bool:
    """Put what changes in a member among the changes; tell whether that can be said."""
    if child.rule == "hidden":
        found.markers[name] = MARKER
    elif child.rule in _BY_VALUE or (child.children is not None and inner is None):
        found.inner[name] = child
    elif inner is not None:
        changes = _changes(child, inner)
        if changes is None:
            return False
        if changes.markers or changes.inner or changes.hides_scalars:
            found.inner[name] = changes
    return True


def _changed(value: Any, changes: _Changes) -> Any:
    """Return what `_masked` returns, private keys in texts aside."""
    if isinstance(value, list):
        markers = changes.markers if changes.is_even and not changes.inner else None
        return [
            {**item, **markers} if markers and isinstance(item, dict) else _changed(item, changes)
            for item in value
        ]
    if not isinstance(value, dict):
        return MARKER if changes.hides_scalars and value is not None else value
    markers = changes.markers
    if not changes.is_even:
        markers = {name: MARKER for name in markers if name in value}
    # In their old places: a member that is there keeps it.
    changed = {**value, **markers} if markers else value
    for name, change in changes.inner.items():
        if name in changed:
            changed = {**changed, name: _changed_member(changed[name], change)}
    return changed


def _changed_member(value: Any, change: Node | _Changes) -> Any:
    return _masked(change, value) if isinstance(change, Node) else _changed(value, change)


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


def _plain(value: Any) -> Any:
    return MARKER if isinstance(value, dict | list) else _clean(value)


def _clean(value: Any) -> Any:
    return MARKER if isinstance(value, str) and holds_private_key(value) else value
