"""Tools for partners, tenants and the audit log. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, ToolDefinition, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import EXPORT, an, list_of

EXPORT_SECONDS = 60.0

PARTNER_ID = arg(
    "partner_id:id*", "Identifier of the partner, for example prt_01J8, from partners_list."
)
TENANT_ID = arg(
    "tenant_id:id*", "Identifier of the tenant, for example tnt_01J8, from tenants_list."
)
SLUG = arg(
    "slug:str(2–64)*",
    "Unique short name of 2 to 64 lower-case letters, digits, dot, dash and underscore, for "
    "example acme; cannot be changed later.",
)
NEW_NAME = arg("display_name:str", "New name shown to people; unchanged when left out.")
SETTINGS = arg(
    "settings:map",
    'Settings by name, at most 64, for example {"locale": "de"}; the platform\'s defaults when '
    "left out.",
)
NEW_SETTINGS = arg(
    "settings:map",
    "New settings by name, at most 64, replacing the old ones; unchanged when left out.",
)
AUDIT_FILTERS = (
    arg(
        "start:ts",
        "Begin of the time span, RFC 3339 in UTC, for example 2026-01-01T00:00:00Z; from the "
        "first entry when left out.",
    ),
    arg(
        "end:ts",
        "End of the time span, RFC 3339 in UTC, for example 2026-02-01T00:00:00Z, after start; "
        "now when left out.",
    ),
    arg(
        "action:str",
        "Only entries of this action, for example user.role_update or model.create; all actions "
        "when left out.",
    ),
    arg(
        "actor_id:id",
        "Only entries of actions done by this user, for example usr_01J8; by anyone when left out.",
    ),
    arg(
        "resource_type:str",
        "Only entries about this kind of resource, for example model or api_key; all kinds when "
        "left out.",
    ),
    arg(
        "resource_id:id",
        "Only entries about the resource with this identifier, for example mdl_01J8; all when "
        "left out.",
    ),
    arg(
        "status:enum(SUCCESS,FAILURE)",
        "Only entries with this outcome; both when left out.",
    ),
    arg(
        "ip_address:str(2–64)",
        "Only entries from this network address, for example 203.0.113.7; from all when left out.",
    ),
)

TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "partners_list",
        "List partners",
        "List the partners the caller may see, page by page; use it to find a partner's "
        "identifier; returns slug, name, status and settings of each partner.",
        "GET /v1/partners",
        (
            *PAGE,
            arg(
                "status:enum(active,suspended)",
                "Only partners with this status; both when left out.",
            ),
        ),
        permission="accounting:view_partner",
        hints="R I",
        result=list_of("Partner"),
    ),
    tool(
        "partners_get",
        "Get a partner",
        "Read one partner; use it to check its status and settings before partners_update; returns "
        "all of the partner's fields.",
        "GET /v1/partners/{partner_id}",
        (PARTNER_ID,),
        permission="accounting:view_partner",
        hints="R I",
        result=an("Partner"),
    ),
    tool(
        "partners_create",
        "Create a partner",
        "Set up a new partner organisation that can hold tenants; use it only as super_admin when "
        "a partner joins the platform; returns the new partner.",
        "POST /v1/partners",
        (
            SLUG,
            arg("display_name:str*", "Name shown to people, for example North Consulting."),
            SETTINGS,
        ),
        permission="admin:access",
        hints="",
        result=an("Partner"),
        roles=("super_admin",),
    ),
    tool(
        "partners_update",
        "Update a partner",
        "Change name, status or settings of one partner; use it with care, as suspending a partner "
        "shuts out all of its tenants; returns the partner as it is now.",
        "PUT /v1/partners/{partner_id}",
        (
            PARTNER_ID,
            NEW_NAME,
            arg(
                "status:enum(active,suspended)",
                "suspended shuts the partner and its tenants out, active lets them in; unchanged "
                "when left out.",
            ),
            NEW_SETTINGS,
        ),
        permission="admin:access",
        hints="D I",
        result=an("Partner"),
        roles=("super_admin",),
    ),
    tool(
        "tenants_list",
        "List tenants",
        "List the tenants of the caller's partner page by page; use it to find a tenant's "
        "identifier; returns slug, name, partner, status and settings of each tenant.",
        "GET /v1/tenants",
        (
            *PAGE,
            arg(
                "status:enum(active,suspended)",
                "Only tenants with this status; both when left out.",
            ),
            arg(
                "partner_id:id",
                "Only tenants of this partner, for example prt_01J8; all visible tenants when left "
                "out.",
            ),
        ),
        permission="accounting:view_partner",
        hints="R I",
        result=list_of("Tenant"),
    ),
    tool(
        "tenants_get",
        "Get a tenant",
        "Read one tenant; use it to check its partner, status and settings before tenants_update; "
        "returns all of the tenant's fields.",
        "GET /v1/tenants/{tenant_id}",
        (TENANT_ID,),
        permission="accounting:view_partner",
        hints="R I",
        result=an("Tenant"),
    ),
    tool(
        "tenants_create",
        "Create a tenant",
        "Set up a new tenant under a partner; use it as super_admin or partner_admin when a "
        "customer joins the platform; returns the new tenant.",
        "POST /v1/tenants",
        (
            SLUG,
            arg("display_name:str*", "Name shown to people, for example Acme."),
            arg(
                "partner_id:id",
                "Partner that the tenant belongs to, for example prt_01J8, only for super_admin; "
                "the caller's partner when left out.",
            ),
            SETTINGS,
        ),
        permission="admin:access",
        hints="",
        result=an("Tenant"),
        roles=("super_admin", "partner_admin"),
    ),
    tool(
        "tenants_update",
        "Update a tenant",
        "Change name, status or settings of one tenant; use it with care, as suspending a tenant "
        "shuts out all of its users; returns the tenant as it is now.",
        "PUT /v1/tenants/{tenant_id}",
        (
            TENANT_ID,
            NEW_NAME,
            arg(
                "status:enum(active,suspended)",
                "suspended shuts all users of the tenant out, active lets them in; unchanged when "
                "left out.",
            ),
            NEW_SETTINGS,
        ),
        permission="admin:access",
        hints="D I",
        result=an("Tenant"),
        roles=("super_admin", "partner_admin"),
    ),
    tool(
        "audit_list",
        "List audit entries",
        "List who changed what and when, page by page; use it to investigate a change, a failure "
        "or an actor's doings; returns time, action, actor, resource and outcome of each entry.",
        "GET /v1/audit-log",
        (
            *AUDIT_FILTERS,
            arg(
                "limit:int(1–1000)=50",
                "Number of rows to return, from 1 to 1,000; 50 when left out.",
            ),
            PAGE[1],
        ),
        permission="admin:access",
        hints="R I",
        result=list_of("AuditRow"),
    ),
    tool(
        "audit_export",
        "Export audit entries",
        "Export all matching audit entries as one text; use it when they are to be saved or worked "
        "on elsewhere rather than read; returns the text in the chosen format and its size.",
        "GET /v1/audit-log/export",
        (
            *AUDIT_FILTERS,
            arg(
                "format:enum(csv,json,ndjson)=csv",
                "Form of the text: csv, one json array, or ndjson with one object per line; csv "
                "when left out.",
            ),
        ),
        permission="admin:access",
        hints="R I",
        result=EXPORT,
        timeout_seconds=EXPORT_SECONDS,
    ),
)
