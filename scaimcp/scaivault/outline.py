"""The outline of a result: which members stand where in it, whatever their values. Pure.

Rows of a list are alike, so their outline is small, and what guards and masks have to change is
decided once for all of them. Spec: scaivault 2.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

_SCALARS = frozenset({str, int, float, bool, type(None)})
_MOST_DEPTH = 60


class Outline(msgspec.Struct):
    """What stands at one place; all items of a list, at any depth of lists, stand at its place.

    Args:
        names: members that some object there has.
        inner: the places of those members that are objects or lists somewhere.
        is_even: whether every object there has all of these members.
    """

    names: set[str]
    inner: dict[str, Outline]
    is_even: bool


def outline_of(value: Any) -> Outline | None:
    """Return the outline of a value; None for one that is nested deep, or is more than JSON."""
    return _outline([value], 0)


def names_in(outline: Outline) -> Iterator[str]:
    """Yield the names of all members, at any depth."""
    yield from outline.names
    for inner in outline.inner.values():
        yield from names_in(inner)


def _outline(holders: list[Any], depth: int) -> Outline | None:
    objects: list[dict[str, Any]] = []
    while holders:
        objects += [holder for holder in holders if holder.__class__ is dict]
        lists = [holder for holder in holders if holder.__class__ is list]
        if depth > _MOST_DEPTH or not _are_known(holders):
            return None
        holders = [item for each in lists for item in each if item.__class__ not in _SCALARS]
        depth += 1
    below: dict[str, list[Any]] = {}
    for holder in objects:
        for name, value in holder.items():
            if value.__class__ not in _SCALARS:
                below.setdefault(name, []).append(value)
    names = set[str]().union(*objects)
    found = Outline(names, {}, {len(names)}.issuperset(map(len, objects)))
    for name, values in below.items():
        inner = _outline(values, depth)
        if inner is None:
            return None
        found.inner[name] = inner
    return found


def _are_known(holders: list[Any]) -> bool:
    """Tell whether there are objects and lists only, of no class of their own."""
    return {holder.__class__ for holder in holders} <= {dict, list}
