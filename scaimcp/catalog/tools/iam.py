"""Tools for users, API keys, groups and roles. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, Rule, ToolDefinition, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import DELETED, an, fields, list_of

USER_ID = arg("user_id:id*", "Identifier of the user, for example usr_01J8, from users_list.")
GROUP_ID = arg("group_id:id*", "Identifier of the group, for example grp_01J8, from groups_list.")
ROLE_ID = arg(
    "role_id:id*", "Identifier of the custom role, for example crl_01J8, from custom_roles_list."
)

TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "users_list",
        "List users",
        "List the users the caller may manage, page by page; use it to find a user's identifier, "
        "status or roles; returns e-mail address, name, status and roles of each user.",
        "GET /v1/users",
        (
            *PAGE,
            arg(
                "status:enum(active,suspended)",
                "Only users with this status; both when left out.",
            ),
        ),
        permission="users:manage",
        hints="R I",
        result=list_of("User"),
    ),
    tool(
        "users_get",
        "Get a user",
        "Read one user; use it to check roles before users_set_roles or to see the last sign-in; "
        "returns e-mail address, name, status, roles and custom roles.",
        "GET /v1/users/{user_id}",
        (USER_ID,),
        permission="users:manage",
        hints="R I",
        result=an("User"),
    ),
    tool(
        "users_set_roles",
        "Replace a user's roles",
        "Replace all roles of one user; use it only after users_get, because roles left out of the "
        "call are removed; returns the user with the new roles.",
        "PUT /v1/users/{user_id}/roles",
        (
            USER_ID,
            arg(
                "roles:list<enum(super_admin,partner_admin,partner_viewer,tenant_admin,tenant_user,"
                "tenant_viewer)>(≤6)*",
                "All built-in roles that the user has from now on, none above the caller's own "
                "level; an empty list removes them all.",
            ),
            arg(
                "custom_role_ids:list<id>(≤32)",
                "Identifiers of all custom roles the user has from now on, for example crl_01J8, "
                "at most 32; none when left out.",
            ),
        ),
        permission="users:manage",
        hints="D I",
        result=an("User"),
    ),
    tool(
        "users_get_module_permissions",
        "Get a user's module permissions",
        "Read the module permissions granted to one user directly, besides those from roles; use "
        "it before users_set_module_permissions; returns the user's identifier and the permission "
        "keys.",
        "GET /v1/users/{user_id}/module-permissions",
        (USER_ID,),
        permission="users:manage",
        hints="R I",
        result=fields("user_id, permissions"),
    ),
    tool(
        "users_set_module_permissions",
        "Replace a user's module permissions",
        "Replace all module permissions granted to one user directly; use it only after "
        "users_get_module_permissions, because keys left out are removed; returns the new "
        "permission keys.",
        "PUT /v1/users/{user_id}/module-permissions",
        (
            USER_ID,
            arg(
                "permissions:list<str(1–128)>(≤256)*",
                "All permission keys the user has from now on, for example scaimatrix:search, at "
                "most 256; an empty list removes them all.",
            ),
        ),
        permission="users:manage",
        hints="D I",
        result=fields("user_id, permissions"),
    ),
    tool(
        "users_delete",
        "Delete a user",
        "Delete one user for good, with all access; use it only when the person shall never sign "
        "in again; returns a confirmation with the user's identifier.",
        "DELETE /v1/users/{user_id}",
        (USER_ID,),
        permission="users:manage",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "api_keys_list",
        "List API keys",
        "List API keys page by page, without their secret values; use it to find unused or "
        "expiring keys or a key's identifier; returns name, prefix, owner, expiry and last use of "
        "each key.",
        "GET /v1/api-keys",
        PAGE,
        permission="api_keys:manage",
        hints="R I",
        result=list_of("ApiKey"),
    ),
    tool(
        "api_keys_create",
        "Create an API key",
        "Create an API key that acts as one user; use it when a program needs access, and hand the "
        "value over at once, as it is shown only this time; returns the key's data and its secret "
        "value.",
        "POST /v1/api-keys",
        (
            arg("name:str*", "Name that tells what the key is for, for example nightly-report."),
            arg(
                "expires_at:ts",
                "Time at which the key stops working, RFC 3339 in UTC, for example "
                "2026-12-31T23:59:59Z; it never expires when left out.",
            ),
            arg(
                "assigned_user_id:id",
                "User the key acts as, for example usr_01J8; others than the caller need "
                "users:manage; the caller when left out.",
            ),
        ),
        permission="api_keys:manage",
        hints="",
        result=an("ApiKey", "key"),
    ),
    tool(
        "api_keys_delete",
        "Revoke an API key",
        "Revoke one API key at once and for good; use it when a key is no longer needed or may "
        "have leaked; returns a confirmation with the key's identifier.",
        "DELETE /v1/api-keys/{key_id}",
        (
            arg(
                "key_id:id*",
                "Identifier of the API key, for example apikey_01J8, from api_keys_list; never the "
                "secret value.",
            ),
        ),
        permission="api_keys:manage",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "groups_list",
        "List user groups",
        "List the user groups synchronised from the directory, page by page; use it to find a "
        "group for role mappings, budgets or model access; returns name and member count of each "
        "group.",
        "GET /v1/groups",
        PAGE,
        permission="users:manage",
        hints="R I",
        result=list_of("Group"),
    ),
    tool(
        "groups_get",
        "Get a user group",
        "Read one user group; use it to see who belongs to it and when it was last synchronised; "
        "returns the group with the identifiers of its members.",
        "GET /v1/groups/{group_id}",
        (GROUP_ID,),
        permission="users:manage",
        hints="R I",
        result=an("Group"),
    ),
    tool(
        "custom_roles_list",
        "List custom roles",
        "List the custom roles of the caller's tenant page by page; use it to find a role to "
        "assign or to review; returns name and permissions of each role.",
        "GET /v1/iam/custom-roles",
        PAGE,
        permission="users:manage",
        hints="R I",
        result=list_of("CustomRole"),
    ),
    tool(
        "custom_roles_get",
        "Get a custom role",
        "Read one custom role; use it before custom_roles_update to see which permissions it "
        "grants; returns name, slug, core permissions and module permissions.",
        "GET /v1/iam/custom-roles/{role_id}",
        (ROLE_ID,),
        permission="users:manage",
        hints="R I",
        result=an("CustomRole"),
    ),
    tool(
        "custom_roles_create",
        "Create a custom role",
        "Define a role of the tenant that adds chosen permissions to its holders; use it when no "
        "built-in role fits, then assign it with users_set_roles; returns the new role.",
        "POST /v1/iam/custom-roles",
        (
            arg("name:str*", "Name shown to people, for example Report writers."),
            arg(
                "slug:str(1–64)*",
                "Unique short name of lower-case letters, digits, dot, dash and underscore, for "
                "example writers; cannot be changed later.",
            ),
            arg(
                "description:str(≤2000)",
                "What the role is for, up to 2,000 characters; not set when left out.",
            ),
            arg(
                "core_permissions:list<str(1–64)>(≤15)",
                "Core permissions that the role grants, for example models:use, at most 15; none "
                "when left out.",
            ),
            arg(
                "module_permissions:list<str(1–128)>(≤256)",
                "Module permissions that the role grants, for example scaimatrix:search, at most "
                "256; none when left out.",
            ),
        ),
        permission="users:manage",
        hints="",
        result=an("CustomRole"),
    ),
    tool(
        "custom_roles_update",
        "Update a custom role",
        "Change name, description or permissions of one custom role; use it after "
        "custom_roles_get, as a given permission list replaces the old one for all holders; "
        "returns the role as it is now.",
        "PUT /v1/iam/custom-roles/{role_id}",
        (
            ROLE_ID,
            arg("name:str", "New name shown to people; unchanged when left out."),
            arg(
                "description:str(≤2000)",
                "New description, up to 2,000 characters; unchanged when left out.",
            ),
            arg(
                "core_permissions:list<str(1–64)>(≤15)",
                "All core permissions granted from now on, for example models:use, replacing the "
                "old list; unchanged when left out.",
            ),
            arg(
                "module_permissions:list<str(1–128)>(≤256)",
                "All module permissions granted from now on, for example scaimatrix:search, "
                "replacing the old list; unchanged when left out.",
            ),
        ),
        permission="users:manage",
        hints="D I",
        result=an("CustomRole"),
    ),
    tool(
        "custom_roles_delete",
        "Delete a custom role",
        "Delete one custom role for good, so that all its holders lose its permissions; use it "
        "when the role is no longer needed; returns a confirmation with the role's identifier.",
        "DELETE /v1/iam/custom-roles/{role_id}",
        (ROLE_ID,),
        permission="users:manage",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "role_mappings_list",
        "List role mappings",
        "List the rules that give the members of a group a role, page by page; use it to see where "
        "roles come from; returns group, role and revocation setting of each mapping.",
        "GET /v1/role-mappings",
        PAGE,
        permission="users:manage",
        hints="R I",
        result=list_of("RoleMapping"),
    ),
    tool(
        "role_mappings_create",
        "Create a role mapping",
        "Give all members of one group a role; use it to manage access by group instead of user by "
        "user, with exactly one of role and custom_role_id; returns the new mapping.",
        "POST /v1/role-mappings",
        (
            GROUP_ID,
            arg(
                "role:enum(partner_admin,partner_viewer,tenant_admin,tenant_user,tenant_viewer)",
                "Built-in role that the members get; give exactly one of role and custom_role_id.",
            ),
            arg(
                "custom_role_id:id",
                "Custom role that the members get, for example crl_01J8; give exactly one of role "
                "and custom_role_id.",
            ),
            arg(
                "auto_revoke:bool=true",
                "Whether members lose the role when they leave the group; true when left out.",
            ),
        ),
        permission="users:manage",
        hints="",
        result=an("RoleMapping"),
        rules=(Rule("exactly_one", ("role", "custom_role_id")),),
    ),
    tool(
        "role_mappings_delete",
        "Delete a role mapping",
        "Delete one role mapping for good; use it when a group's members shall no longer get that "
        "role; returns a confirmation with the mapping's identifier.",
        "DELETE /v1/role-mappings/{mapping_id}",
        (
            arg(
                "mapping_id:id*",
                "Identifier of the role mapping, for example rmp_01J8, from role_mappings_list.",
            ),
        ),
        permission="users:manage",
        hints="D I",
        result=DELETED,
    ),
)
