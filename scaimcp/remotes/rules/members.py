"""Which members of a definition are kept, as tables. Pure.

Clients parse whole lists strictly: one description that is no text would cost them every other
definition. So members are kept by name, and only with the type that MCP gives them.
Spec: remote-servers 6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from scaimcp.remotes.enumerations import Kind

_MAX_ICON = 16 * 1024


class Malformed(ValueError):
    """A prompt's arguments cannot be read."""


def known_members(kind: Kind, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members that MCP defines and that have the type it wants, in their order.

    The schemas of a tool are left as they are, whatever they are.

    Raises:
        Malformed: the arguments of a prompt.
    """
    return _kept(_MEMBERS[kind], value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _object(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _anything(value: Any) -> Any:
    return value


def _hints(value: Any) -> dict[str, Any] | None:
    """Keep hints that are booleans; a hint of another type would count as its default."""
    if not isinstance(value, dict):
        return None
    return {
        name: item
        for name, item in value.items()
        if not (name == "title" and not isinstance(item, str))
        and not (name.endswith("Hint") and not isinstance(item, bool))
    }


def _icons(value: Any) -> list[dict[str, Any]] | None:
    """Keep icons that are fetched over https or carry a small image themselves."""
    if not isinstance(value, list):
        return None
    return [icon for icon in value if isinstance(icon, dict) and _is_icon(icon.get("src"))] or None


def _is_icon(source: Any) -> bool:
    if not isinstance(source, str) or len(source) > _MAX_ICON:
        return False
    return source.lower().startswith(("https:", "data:image/"))


def _arguments(value: Any) -> list[dict[str, Any]]:
    """Return a prompt's arguments; malformed ones make the prompt unusable."""
    if not isinstance(value, list):
        raise Malformed
    arguments = []
    for item in value:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise Malformed
        members = (
            (name, _ARGUMENT[name](part)) for name, part in item.items() if name in _ARGUMENT
        )
        arguments.append({name: part for name, part in members if part is not None})
    return arguments


def _kept(readers: Mapping[str, _Reader], value: Mapping[str, Any]) -> dict[str, Any]:
    found = ((name, readers[name](item)) for name, item in value.items() if name in readers)
    return {name: item for name, item in found if item is not None}


_Reader = Callable[[Any], Any]
_ARGUMENT: Mapping[str, _Reader] = {
    "name": _text,
    "title": _text,
    "description": _text,
    "required": _flag,
}
_SHARED: Mapping[str, _Reader] = {
    "name": _text,
    "title": _text,
    "description": _text,
    "icons": _icons,
    "_meta": _object,
}
_MEMBERS: Mapping[Kind, Mapping[str, _Reader]] = {
    Kind.TOOL: {
        **_SHARED,
        "inputSchema": _anything,
        "outputSchema": _anything,
        "annotations": _hints,
        "execution": _object,
    },
    Kind.PROMPT: {**_SHARED, "arguments": _arguments},
    Kind.RESOURCE: {
        **_SHARED,
        "uri": _text,
        "mimeType": _text,
        "size": _count,
        "annotations": _object,
    },
    Kind.RESOURCE_TEMPLATE: {
        **_SHARED,
        "uriTemplate": _text,
        "mimeType": _text,
        "annotations": _object,
    },
}
