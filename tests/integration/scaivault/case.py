"""One call of one tool, as data.

``{name}`` stands for an id of `tests.integration.scaivault.world`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Case(NamedTuple):
    """One call.

    Attributes:
        tool: name without ``scaivault_``.
        arguments: of the call.
        lines: method and target of every request.
        body: of the first request that has one; None where none may have one.
        shows: members that the result must have.
    """

    tool: str
    arguments: dict[str, Any]
    lines: tuple[str, ...]
    body: Any = None
    shows: tuple[str, ...] = ("items", "has_more")


def filled(value: Any, ids: dict[str, str]) -> Any:
    """Return a value with ids in place of their names."""
    if isinstance(value, str):
        for name, found in ids.items():
            value = value.replace(f"{{{name}}}", found)
        return value
    if isinstance(value, dict):
        return {filled(key, ids): filled(inner, ids) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(item, ids) for item in value)
    return value
