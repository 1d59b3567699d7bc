"""May this caller see and call this tool? One pure rule for lists, calls and explanations.

Spec: core-tools 7 (order of checks), scaigrid 3 and 4.
"""

from __future__ import annotations

from typing import Literal

from scaimcp.auth.permissions import has_role, holds
from scaimcp.errors import ToolError
from scaimcp.types import Grants, ModuleView, Tool

Check = Literal["module_enabled", "permission", "role"]
SELF = "scaimcp"


def first_failure(tool: Tool, grants: Grants, modules: ModuleView) -> Check | None:
    """Return the first check that keeps `tool` from the caller, or None."""
    if missing_module(tool, modules) is not None:
        return "module_enabled"
    if not holds(grants, tool.permission):
        return "permission"
    if not has_role(grants, tool.roles):
        return "role"
    return None


def missing_module(tool: Tool, modules: ModuleView) -> str | None:
    """Return the module whose absence hides `tool`, or None.

    A tenant that has switched MCP itself off keeps the tools that need no permission.
    """
    if modules.mcp_is_off and tool.permission:
        return SELF
    if tool.module_id is not None and tool.module_id not in modules.active:
        return tool.module_id
    return None


def refusal(tool: Tool, check: Check, modules: ModuleView) -> ToolError:
    """Return the error of a refused call; the first failing check words it."""
    if check == "module_enabled":
        module = missing_module(tool, modules)
        return ToolError(
            "MODULE_NOT_ENABLED",
            f"{tool.name} needs the module {module}, which is not enabled for this tenant.",
        )
    if check == "permission":
        return ToolError("PERMISSION_DENIED", f"{tool.name} needs {tool.permission}.")
    return ToolError("PERMISSION_DENIED", f"{tool.name} needs the role {' or '.join(tool.roles)}.")
