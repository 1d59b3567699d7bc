"""All built-in module tools in their published order: by module id, then as in the tables.

Data only. Spec: core-tools 2 and 3, "Order".
"""

from __future__ import annotations

from scaimcp.catalog.definition import ToolDefinition
from scaimcp.catalog.tools import (
    module_bot,
    module_bunker,
    module_core,
    module_echo,
    module_matrix,
    module_mind,
    module_persona,
    module_queue,
    module_skills,
    module_speak,
)

MODULE_TOOLS: tuple[ToolDefinition, ...] = (
    *module_bot.TOOLS,
    *module_bunker.TOOLS,
    *module_core.TOOLS,
    *module_echo.TOOLS,
    *module_matrix.TOOLS,
    *module_mind.TOOLS,
    *module_persona.TOOLS,
    *module_queue.TOOLS,
    *module_skills.TOOLS,
    *module_speak.TOOLS,
)
