"""The form of the table of tool calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One successful call.

    Args:
        tool: its name.
        request: the REST request that must arrive: method, path as sent, query in any order.
        arguments: of the call.
        body: what must arrive as JSON, exactly; for a form its fields; None for no body.
        result: what the result must hold: values, types, ``...`` for anything, or a predicate.
        keep: variable → field of the result, dots reach inside.
        before: requests that come first, without a body.
        blocks: content blocks after the text, matched like `result`.
        role: seeded role instead of the story's.
        is_cold: the gateway has forgotten caller and modules.
        shift: seconds that the platform's clock goes on before the call.
    """

    tool: str
    request: str
    arguments: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    result: dict[str, Any] = field(default_factory=dict)
    keep: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    blocks: tuple[dict[str, Any], ...] = ()
    role: str | None = None
    is_cold: bool = False
    shift: float = 0


@dataclass(frozen=True)
class Story:
    """Steps in order, by one caller unless a step says otherwise.

    ``modules`` are switched on for acme before it begins.
    """

    name: str
    role: str
    steps: tuple[Step, ...]
    modules: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def deleted(identifier: str) -> dict[str, Any]:
    """Return the result of every deletion."""
    return {"deleted": True, "id": identifier}


def page(*items: Any, has_more: bool = False) -> dict[str, Any]:
    """Return a page of rows."""
    return {"items": list(items), "has_more": has_more}
