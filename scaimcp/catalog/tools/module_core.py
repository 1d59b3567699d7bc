"""Tools of the module for event-driven agents, scaicore.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import an, list_of

_ROOT = "/v1/modules/scaicore"

TOOLS = (
    tool(
        "core_list",
        "List agent cores",
        "List the cores, agents that run on events, page by page; use it to find a core or to see "
        "which ones run; returns name, modes, privilege level and status of each.",
        f"GET {_ROOT}/cores",
        PAGE,
        permission="scaicore:view",
        hints="R I",
        result=list_of("Core"),
        module_id="scaicore",
    ),
    tool(
        "core_get",
        "Show an agent core",
        "Show one core, an agent that runs on events; use it to check how it is set up and whether "
        "it runs; returns its modes, privilege level and status.",
        f"GET {_ROOT}/cores/{{core_id}}",
        (arg("core_id:id*", "Identifier of the core, from core_list."),),
        permission="scaicore:view",
        hints="R I",
        result=an("Core"),
        module_id="scaicore",
    ),
    tool(
        "core_events_list",
        "List core events",
        "List the events of cores page by page; use it to find out what a core did or why it "
        "failed; returns type, core, payload and time of each event.",
        f"GET {_ROOT}/events",
        (
            *PAGE,
            arg("core_id:id", "Only events of this core, from core_list; all when absent."),
            arg("type:str(1–64)", "Only events of this type, for example error; all when absent."),
            arg(
                "since:ts",
                "Only events from this time on, RFC 3339, for example 2025-06-01T12:00:00Z; all "
                "when absent.",
            ),
        ),
        permission="scaicore:view",
        hints="R I",
        result=list_of("Event"),
        module_id="scaicore",
    ),
)
