"""Tools of the module for skills, scaiskills.

Data only. Spec: core-tools 2, scaigrid 11.
"""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import fields, list_of

_SKILLS = "/v1/modules/scaiskills/mcp/skills"

TOOLS = (
    tool(
        "skills_list",
        "List skills",
        "List the skills the caller may read, page by page; use it to see which written "
        "instructions exist for a task; returns slug, description, visibility and version of each.",
        f"POST {_SKILLS}/list",
        PAGE,
        permission="scaiskills:view",
        hints="R I",
        result=list_of("Skill"),
        module_id="scaiskills",
    ),
    tool(
        "skills_search",
        "Search for skills",
        "Search the skills by words; use it at the start of a task to find instructions that fit "
        "it; returns slug, description, version and score of the best matches.",
        f"POST {_SKILLS}/search",
        (
            arg("query:str(1–400)*", "Words for the task, for example write release notes."),
            arg("limit:int(1–50)=10", "Number of matches, from 1 to 50; 10 when absent."),
        ),
        permission="scaiskills:view",
        hints="R I",
        result=fields("items"),
        module_id="scaiskills",
    ),
    tool(
        "skills_view",
        "Read a skill",
        "Read one skill or one file that belongs to it; use it after skills_search and follow the "
        "text for the task; returns the content and the paths of the skill's other files.",
        f"POST {_SKILLS}/view",
        (
            arg("slug:str(3–64)*", "Slug of the skill, from skills_list or skills_search."),
            arg(
                "path:str(≤512)",
                "Path of a file of the skill, from files; the main text when absent.",
            ),
            arg("version:str(1–64)", "Version to read, for example 1.2.0; newest when absent."),
        ),
        permission="scaiskills:view",
        hints="R I",
        result=fields("slug, version, path, content, files", long_text=("content",)),
        module_id="scaiskills",
    ),
)
