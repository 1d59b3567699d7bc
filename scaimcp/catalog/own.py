"""The gateway's own tools, as the gateway needs them: definitions and an argument check."""

from __future__ import annotations

from typing import Any

from scaimcp.catalog.arguments import ArgumentCheck, compile_arguments
from scaimcp.catalog.definition import ToolDefinition
from scaimcp.catalog.registry import to_tool
from scaimcp.catalog.source import invalid_arguments, read_arguments
from scaimcp.types import Tool

_checks: dict[str, ArgumentCheck] = {}


def own_tools(definitions: tuple[ToolDefinition, ...], result_chars: int) -> tuple[Tool, ...]:
    """Return the gateway's tools as clients see them."""
    return tuple(to_tool(definition, result_chars) for definition in definitions)


def read_own(tool: Tool, arguments: bytes) -> dict[str, Any]:
    """Return the checked arguments of a call to one of them.

    Raises:
        ToolError: ``INVALID_ARGUMENTS``.
    """
    check = _checks.get(tool.name)
    if check is None:
        check = _checks[tool.name] = compile_arguments(tool.input_schema)
    checked, faults = check.check(read_arguments(arguments))
    if faults:
        raise invalid_arguments(faults)
    return checked
