"""Tools of the module for bots, scaibot.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import an, list_of

_BOTS = "/v1/modules/scaibot/bots"

TOOLS = (
    tool(
        "bot_list",
        "List bots",
        "List the bots page by page; use it to find a bot to add to a room with rooms_add_member; "
        "returns name, slug, model and status of each.",
        f"GET {_BOTS}",
        PAGE,
        permission="scaibot:bots:read",
        hints="R I",
        result=list_of("Bot"),
        module_id="scaibot",
    ),
    tool(
        "bot_get",
        "Show a bot",
        "Show one bot; use it to see which model is behind it and whether it is active; returns "
        "its name, slug, model, status and time of creation.",
        f"GET {_BOTS}/{{bot_id}}",
        (arg("bot_id:id*", "Identifier of the bot, from bot_list."),),
        permission="scaibot:bots:read",
        hints="R I",
        result=an("Bot"),
        module_id="scaibot",
    ),
)
