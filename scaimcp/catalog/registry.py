"""The platform's tools by name and in published order. Pure.

Order: core, gateway's own, built-in modules, further modules by id and name. For equal names the
earlier origin wins. Spec: core-tools 3 and 9.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from scaimcp.catalog.definition import ToolDefinition
from scaimcp.types import ModuleView, Snapshot, Tool

_META = "ai.scailabs.scaimcp/"
_MAX_CHARS = "anthropic/maxResultSizeChars"
# Origins whose tools stand behind the built-in ones.
_FURTHER = frozenset({"entry_point", "manifest"})
_BASE64_ARGUMENTS = ("audio_base64", "content_base64")


class Registry(msgspec.Struct, frozen=True):
    """Definitions in published order, with those that were dropped and why."""

    definitions: dict[str, ToolDefinition]
    dropped: dict[str, str] = {}

    def extended(
        self, more: Iterable[ToolDefinition], dropped: dict[str, str] | None = None
    ) -> Registry:
        """Return a registry with further modules' tools behind, ordered by module id and name.

        A name that is taken stays with its owner; the later tool is dropped with the reason.
        """
        further = {n: d for n, d in self.definitions.items() if d.origin in _FURTHER}
        built_in = {n: d for n, d in self.definitions.items() if n not in further}
        reasons = {**self.dropped, **(dropped or {})}
        for definition in sorted(more, key=_place):
            taken = built_in.get(definition.name) or further.get(definition.name)
            if taken is None:
                further[definition.name] = definition
                continue
            owner = taken.module_id or "the core catalogue"
            label = f"{definition.module_id}/{definition.name}"
            reasons[label] = f"The name is already taken by {owner}."
        behind = sorted(further.values(), key=_place)
        return Registry({**built_in, **{d.name: d for d in behind}}, reasons)


def _place(definition: ToolDefinition) -> tuple[str, str]:
    return definition.module_id or "", definition.name


def build(definitions: Iterable[ToolDefinition], request_bytes: int) -> Registry:
    """Return the registry of built-in tools.

    Args:
        definitions: in published order.
        request_bytes: cap of a request; base64 arguments publish no larger ``maxLength``.
    """
    fitted = (_fit_base64(definition, request_bytes) for definition in definitions)
    return Registry({definition.name: definition for definition in fitted})


def _fit_base64(definition: ToolDefinition, request_bytes: int) -> ToolDefinition:
    properties = definition.input_schema["properties"]
    large = [
        name
        for name in _BASE64_ARGUMENTS
        if name in properties and properties[name]["maxLength"] > request_bytes
    ]
    if not large:
        return definition
    fitted = {name: {**properties[name], "maxLength": request_bytes} for name in large}
    schema = {**definition.input_schema, "properties": {**properties, **fitted}}
    return msgspec.structs.replace(definition, input_schema=schema)


def to_tool(definition: ToolDefinition, result_chars: int) -> Tool:
    """Return the tool as clients see it."""
    hints = definition.hints
    meta: dict[str, Any] = {
        f"{_META}module_id": definition.module_id,
        f"{_META}required_permission": definition.permission,
        _MAX_CHARS: definition.chars or result_chars,
    }
    # tools_call answers with the called tool's own result, whose shape it cannot promise.
    has_output = definition.name != "tools_call"
    return Tool(
        name=definition.name,
        title=definition.title,
        description=definition.description,
        input_schema=definition.input_schema,
        output_schema=definition.output_schema if has_output else None,
        annotations={
            "readOnlyHint": hints.read_only,
            "destructiveHint": hints.destructive,
            "idempotentHint": hints.idempotent,
            "openWorldHint": hints.open_world,
        },
        meta=meta,
        permission=definition.permission,
        roles=definition.roles,
        module_id=definition.module_id,
        domain=definition.module_id or domain(definition),
        record=definition,
    )


def domain(definition: ToolDefinition) -> str:
    """Return the core domain of a tool: its REST resource in snake case."""
    request = definition.request
    if request is None:
        return "tools"
    resource = request.path.removeprefix("/v1/").removeprefix("iam/").partition("/")[0]
    if resource == "models" and "/access" in request.path:
        return "model_access"
    if resource == "inference" and "/batch" in request.path:
        return "inference_batch"
    return {"audit-log": "audit"}.get(resource, resource.replace("-", "_"))


def snapshot(registry: Registry, view: ModuleView, key: Any, result_chars: int) -> Snapshot:
    """Return what the registry offers, unfiltered; built once per registry and module view."""
    tools = tuple(to_tool(definition, result_chars) for definition in registry.definitions.values())
    return Snapshot(key, tools, {tool.name: tool for tool in tools}, view, registry.dropped)
