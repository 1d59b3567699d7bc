"""The built-in tools as a reference: a table for the terminal, JSON, and the page docs/tools.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from scaimcp.catalog import builtin
from scaimcp.catalog.definition import ToolDefinition
from scaimcp.catalog.registry import domain

FORMATS = ("table", "json", "markdown")
_INTRO = """\
<!-- Made by `scaimcp catalog --format markdown > docs/tools.md`; a test compares. -->
# Built-in tools

The {count} built-in tools of `/mcp`, in the order in which they are listed. A caller sees those
that permissions and enabled modules allow; `tools_explain` tells why one is missing.

Hints: *read-only* changes nothing, *destructive* may overwrite or delete, *idempotent* may be
repeated without further effect, *open-world* reaches beyond the platform. A result is one JSON
object; fields that are not marked *always* may be missing.
"""
_HINTS = (
    ("read_only", "read-only"),
    ("destructive", "destructive"),
    ("idempotent", "idempotent"),
    ("open_world", "open-world"),
)
_KINDS = {"integer": "integer", "number": "number", "boolean": "boolean", "string": "text"}
_BOUNDS = {
    "string": ("minLength", "maxLength", " characters"),
    "array": ("minItems", "maxItems", ""),
    "integer": ("minimum", "maximum", ""),
    "number": ("minimum", "maximum", ""),
}


def built_in() -> tuple[ToolDefinition, ...]:
    """Return all built-in tools in their published order."""
    return (*builtin.CORE, *builtin.GATEWAY, *builtin.MODULES)


def render(form: str) -> str:
    """Return the catalogue in one of `FORMATS`, ending with a line feed."""
    return {"table": _table, "json": _json, "markdown": _markdown}[form](built_in())


def _group(tool: ToolDefinition) -> str:
    return tool.module_id or domain(tool)


def _permission(tool: ToolDefinition) -> str:
    words = [tool.permission] if tool.permission else []
    if tool.roles:
        words.append(f"role {' or '.join(tool.roles)}")
    return " and ".join(words)


def _table(tools: Iterable[ToolDefinition]) -> str:
    rows = [(t.name, _group(t), _permission(t) or "-", t.title) for t in tools]
    rows.insert(0, ("NAME", "GROUP", "PERMISSION", "TITLE"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = (
        "  ".join([*(c.ljust(w) for c, w in zip(row[:3], widths, strict=True)), row[3]])
        for row in rows
    )
    return "\n".join(lines) + "\n"


def _json(tools: Iterable[ToolDefinition]) -> str:
    listed = [
        {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "group": _group(tool),
            "module_id": tool.module_id,
            "permission": tool.permission,
            "roles": tool.roles,
            "hints": msgspec.to_builtins(tool.hints),
            "input_schema": tool.input_schema,
            "output_schema": tool.output_schema,
        }
        for tool in tools
    ]
    return msgspec.json.format(msgspec.json.encode(listed), indent=2).decode() + "\n"


def _markdown(tools: Iterable[ToolDefinition]) -> str:
    groups: dict[str, list[ToolDefinition]] = {}
    for tool in tools:
        groups.setdefault(_group(tool), []).append(tool)
    count = sum(map(len, groups.values()))
    parts = [_INTRO.format(count=count)]
    parts += [f"- [{name}](#{name}): {_names(members)}" for name, members in groups.items()]
    for name, members in groups.items():
        parts.append(f"\n## {name}")
        parts += [line for tool in members for line in _section(tool)]
    return "\n".join(parts) + "\n"


def _names(tools: Iterable[ToolDefinition]) -> str:
    return ", ".join(f"[`{tool.name}`](#{tool.name})" for tool in tools)


def _section(tool: ToolDefinition) -> Iterator[str]:
    hints = [word for field, word in _HINTS if getattr(tool.hints, field)]
    permission = f"`{tool.permission}`" if tool.permission else "none, any caller"
    roles = f", with role {' or '.join(f'`{r}`' for r in tool.roles)}" if tool.roles else ""
    yield f"\n### {tool.name}\n\n**{tool.title}.** {tool.description}\n"
    yield f"Permission: {permission}{roles} · Hints: {', '.join(hints) or 'none'}"
    arguments = list(_arguments(tool.input_schema, ""))
    if arguments:
        yield "\n| Argument | Type | Meaning |\n|---|---|---|"
        yield from arguments
    else:
        yield "\nNo arguments."
    for rule in tool.rules:
        words = {"exactly_one": "Exactly one", "at_least_one": "At least one"}[rule.kind]
        yield f"\n{words} of {', '.join(f'`{name}`' for name in rule.arguments)} is given."
    if tool.result.fields:
        yield "\n| Result | Meaning |\n|---|---|"
        for name, meaning in tool.result.fields:
            always = " *always*" if name in tool.result.always else ""
            yield f"| `{name}`{always} | {_cell(meaning)} |"


def _arguments(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    """Return a row per property, those of nested objects behind their owner."""
    required = schema.get("required", ())
    for name, value in schema["properties"].items():
        path = f"{prefix}{name}"
        must = " **required**" if name in required else ""
        yield f"| `{path}`{must} | {_type(value)} | {_cell(value['description'])} |"
        inner = value
        while inner["type"] == "array":
            inner, path = inner["items"], f"{path}[]"
        if "properties" in inner:
            yield from _arguments(inner, f"{path}.")


def _type(schema: dict[str, Any]) -> str:
    kind = schema["type"]
    if "enum" in schema:
        text = " · ".join(f"`{value}`" for value in schema["enum"])
    elif kind == "array":
        text = f"list of {_type(schema['items'])}{_range(schema)}"
    elif kind == "object":
        text = "object" if "properties" in schema else "open object"
    else:
        text = f"{_KINDS[kind]}{_range(schema)}"
    if "default" in schema:
        text += f"; default `{msgspec.json.encode(schema['default']).decode()}`"
    return text


def _range(schema: dict[str, Any]) -> str:
    low_key, high_key, unit = _BOUNDS.get(schema["type"], ("", "", ""))
    low, high = schema.get(low_key), schema.get(high_key)
    if low is None and high is None:
        return ""
    if low is None:
        return f", ≤ {high:,}{unit}"
    if high is None:
        return f", ≥ {low:,}{unit}"
    return f", {low:,}–{high:,}{unit}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
