"""Tools the gateway answers itself: explain, search, describe, call. Data only.

Spec: core-tools 1 and 8.
"""

from __future__ import annotations

from scaimcp.catalog.definition import tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import gateway

TOOLS = (
    tool(
        "tools_explain",
        "Explain a missing tool",
        "Explain why a tool is or is not available to the caller; use it when a tool is missing or "
        "a call was refused; returns every check with its outcome, a remedy and similar names.",
        "gateway",
        (
            arg(
                "tool:str(1–256)*",
                "Name of the tool in question, for example bunker_exec; it need not exist.",
            ),
        ),
        permission="",
        hints="R I",
        result=gateway(
            "tool, is_listed, is_callable, first_failure, checks, suggestions, caller",
            ("tool", "is_listed", "is_callable", "checks"),
        ),
        origin="gateway",
    ),
    tool(
        "tools_search",
        "Search for tools",
        "Search all tools the caller may call by words; use it when no listed tool fits the task; "
        "returns name, title, description and score of the best matches, best first.",
        "gateway",
        (
            arg(
                "query:str(1–1000)*",
                "Words for what is to be done, for example transcribe a recording.",
            ),
            arg("top_k:int(1–50)=10", "Number of matches to return, from 1 to 50; 10 when absent."),
        ),
        permission="",
        hints="R I",
        result=gateway("items, total_count", ("items", "total_count")),
        origin="gateway",
    ),
    tool(
        "tools_describe",
        "Describe tools in full",
        "Show the full definition of tools by name; use it after tools_search and before "
        "tools_call to learn their arguments; returns the definitions and the names not found.",
        "gateway",
        (
            arg(
                "names:list<str(1–256)>(1–20)*",
                "Tool names from tools_search, 1 to 20, for example models_list.",
            ),
        ),
        permission="",
        hints="R I",
        result=gateway("items, not_found", ("items", "not_found")),
        origin="gateway",
    ),
    tool(
        "tools_call",
        "Call any tool",
        "Call one tool by its name with its own arguments; use it for tools that are callable but "
        "not in the list; returns exactly what the called tool returns.",
        "gateway",
        (
            arg(
                "name:str(1–256)*",
                "Name of the tool to call, from tools_search; tools_ names cannot be called.",
            ),
            arg(
                "arguments:map",
                "Arguments of the called tool as tools_describe shows them; none when absent.",
            ),
        ),
        permission="",
        hints="D O",
        result=gateway(""),
        origin="gateway",
    ),
)
