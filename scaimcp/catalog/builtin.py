"""The built-in catalogue in its published order. Data only. Spec: core-tools 1–3."""

from __future__ import annotations

from scaimcp.catalog.definition import ToolDefinition
from scaimcp.catalog.tools import (
    accounting,
    backends,
    gateway,
    iam,
    inference,
    me,
    models,
    modules,
    platform,
    sessions,
    webhooks,
)

CORE: tuple[ToolDefinition, ...] = (
    *me.TOOLS,
    *inference.TOOLS,
    *models.TOOLS,
    *backends.TOOLS,
    *sessions.TOOLS,
    *accounting.TOOLS,
    *iam.TOOLS,
    *webhooks.TOOLS,
    *platform.TOOLS,
)
GATEWAY: tuple[ToolDefinition, ...] = gateway.TOOLS
MODULES: tuple[ToolDefinition, ...] = modules.MODULE_TOOLS
