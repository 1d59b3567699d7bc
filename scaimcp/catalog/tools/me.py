"""Tools of the caller's own identity. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import tool
from scaimcp.catalog.results import fields

TOOLS = (
    tool(
        "me_get",
        "Show my identity",
        "Show who the caller is and what the caller may do; use it first when another tool is "
        "missing or refused; returns user, tenant, roles, permissions and how they were found.",
        "GET /v1/me",
        (),
        permission="",
        hints="R I",
        result=fields(
            "user, tenant, partner, roles, custom_roles, groups, permissions, "
            "module_permissions, auth, permissions_source"
        ),
    ),
)
