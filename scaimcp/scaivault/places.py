"""Places in an object, such as ``rules[].path_pattern``: find or change what is there. Pure.

Notation: ``a.b`` a member, ``a[]`` each item, ``a{}`` the keys of an object, ``*_path`` each member
that ends like this, at any depth. Spec: scaivault 1 (path check, masked).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Change = Callable[[Any], Any]
_ITEMS, _KEYS, _DEEP = "[]", "{}", "*"
_LONGEST_NAME = 64


def fits(pattern: str, name: str) -> bool:
    """Tell whether a member's name is `pattern`, or ends like it where it begins with ``*``.

    Endings fit in any case: a guard must not be led past ``ROOT_PATH``.
    """
    if pattern.startswith(_DEEP):
        return name.lower().endswith(pattern[1:])
    return name == pattern


def found_at(where: str, holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of everything that stands at a place.

    A name tells the number of an item, never a key of ``a{}``. What is not shaped as the place
    says is yielded as it is, so that whoever judges it can refuse it.
    """
    yield from _found(where.split("."), holder, "")


def _found(steps: list[str], holder: Any, at: str) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield at, holder
        return
    name, kind = _step(steps[0])
    if not isinstance(holder, dict):
        yield at, holder
        return
    before = f"{at}." if at else ""
    for key, value in holder.items():
        here = before + key[:_LONGEST_NAME]
        if fits(name, key):
            for label, inner in _parts(kind, value, here):
                yield from _found(steps[1:], inner, label)
        elif name.startswith(_DEEP):
            yield from _found_below(steps, value, here)


def _found_below(steps: list[str], value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from _found(steps, value, at)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _found_below(steps, item, f"{at}[{number}]")


def _parts(kind: str, value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if kind and isinstance(value, list | dict):
        # The keys of an object are what is iterated over.
        for number, part in enumerate(value):
            yield f"{at}[{number}]", part
    else:
        yield at, value


def changed_at(where: str, holder: Any, change: Change) -> Any:
    """Return `holder` with everything at a place changed; ``a{}`` is not taken.

    What stands in the way and is no object is given to `change` too, unless it is null.
    """
    return _changed(where.split("."), holder, change)


def _changed(steps: list[str], holder: Any, change: Change) -> Any:
    if holder is None:
        return None
    if not steps or not isinstance(holder, dict):
        return change(holder)
    name, kind = _step(steps[0])
    result = {}
    for key, value in holder.items():
        if not fits(name, key):
            is_deep = name.startswith(_DEEP)
            result[key] = _changed_below(steps, value, change) if is_deep else value
        elif kind == _ITEMS and isinstance(value, list):
            result[key] = [_changed(steps[1:], item, change) for item in value]
        else:
            result[key] = _changed(steps[1:], value, change)
    return result


def _changed_below(steps: list[str], value: Any, change: Change) -> Any:
    if isinstance(value, dict):
        return _changed(steps, value, change)
    if isinstance(value, list):
        return [_changed_below(steps, item, change) for item in value]
    return value


def _step(step: str) -> tuple[str, str]:
    for kind in (_ITEMS, _KEYS):
        if step.endswith(kind):
            return step.removesuffix(kind), kind
    return step, ""
