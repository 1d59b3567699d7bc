"""users, api_keys, groups, custom_roles, role_mappings."""

from tests.integration.stories.step import Step, Story, deleted, page

USERS = Story(
    "users",
    "tenant_admin",
    (
        Step(
            "users_list",
            "GET /v1/users?limit=100&status=active",
            {"limit": 100, "status": "active"},
            result={"items": lambda rows: {row["status"] for row in rows} == {"active"}},
        ),
        Step(
            "users_get",
            "GET /v1/users/$viewer",
            {"user_id": "$viewer"},
            result={"id": "$viewer", "roles": ["tenant_viewer"], "tenant_id": "$acme"},
        ),
        Step(
            "users_set_roles",
            "PUT /v1/users/$viewer/roles",
            {"user_id": "$viewer", "roles": ["tenant_user"], "custom_role_ids": []},
            body={"roles": ["tenant_user"], "custom_role_ids": []},
            result={"id": "$viewer", "roles": ["tenant_user"]},
        ),
        Step(
            "users_set_module_permissions",
            "PUT /v1/users/$viewer/module-permissions",
            {"user_id": "$viewer", "permissions": ["scaimatrix:view"]},
            body={"permissions": ["scaimatrix:view"]},
            result={"user_id": "$viewer", "permissions": ["scaimatrix:view"]},
        ),
        Step(
            "users_get_module_permissions",
            "GET /v1/users/$viewer/module-permissions",
            {"user_id": "$viewer"},
            result={"user_id": "$viewer", "permissions": ["scaimatrix:view"]},
        ),
        Step(
            "users_delete",
            "DELETE /v1/users/$viewer",
            {"user_id": "$viewer"},
            result=deleted("$viewer"),
        ),
    ),
)

API_KEYS = Story(
    "api_keys",
    "tenant_admin",
    (
        Step(
            "api_keys_create",
            "POST /v1/api-keys",
            {"name": "laptop", "expires_at": "2035-01-01T00:00:00Z", "assigned_user_id": "$user"},
            body={
                "name": "laptop",
                "expires_at": "2035-01-01T00:00:00Z",
                "assigned_user_id": "$user",
            },
            result={
                "name": "laptop",
                "assigned_user_id": "$user",
                "key": lambda key: key.startswith("sgk_"),
            },
            keep={"key": "id"},
        ),
        Step(
            "api_keys_list",
            "GET /v1/api-keys?limit=100",
            {"limit": 100},
            result={
                "items": lambda rows: (
                    any(row["name"] == "laptop" for row in rows)
                    and not any("key" in row for row in rows)
                )
            },
        ),
        Step(
            "api_keys_delete",
            "DELETE /v1/api-keys/$key",
            {"key_id": "$key"},
            result=deleted("$key"),
        ),
    ),
)

GROUPS = Story(
    "groups",
    "tenant_admin",
    (
        Step("groups_list", "GET /v1/groups?limit=25", result=page({"id": "$group"})),
        Step(
            "groups_get",
            "GET /v1/groups/$group",
            {"group_id": "$group"},
            result={"name": "Engineering", "member_ids": [str]},
        ),
    ),
)

CUSTOM_ROLES = Story(
    "custom_roles",
    "tenant_admin",
    (
        Step(
            "custom_roles_create",
            "POST /v1/iam/custom-roles",
            {
                "name": "Readers",
                "slug": "readers",
                "description": "May read.",
                "core_permissions": ["models:list"],
                "module_permissions": ["scaimatrix:view"],
            },
            body={
                "name": "Readers",
                "slug": "readers",
                "description": "May read.",
                "core_permissions": ["models:list"],
                "module_permissions": ["scaimatrix:view"],
            },
            result={"slug": "readers", "tenant_id": "$acme"},
            keep={"role": "id"},
        ),
        Step(
            "custom_roles_list",
            "GET /v1/iam/custom-roles?limit=25",
            result=page({"slug": "writers"}, {"id": "$role"}),
        ),
        Step(
            "custom_roles_get",
            "GET /v1/iam/custom-roles/$role",
            {"role_id": "$role"},
            result={"name": "Readers"},
        ),
        Step(
            "custom_roles_update",
            "PUT /v1/iam/custom-roles/$role",
            {"role_id": "$role", "name": "All readers", "core_permissions": []},
            body={"name": "All readers", "core_permissions": []},
            result={"name": "All readers", "core_permissions": []},
        ),
        Step(
            "role_mappings_create",
            "POST /v1/role-mappings",
            {"group_id": "$group", "custom_role_id": "$role"},
            body={"group_id": "$group", "custom_role_id": "$role", "auto_revoke": True},
            result={"group_id": "$group", "custom_role_id": "$role"},
            keep={"mapping": "id"},
        ),
        Step(
            "role_mappings_create",
            "POST /v1/role-mappings",
            {"group_id": "$group", "role": "tenant_viewer", "auto_revoke": False},
            body={"group_id": "$group", "role": "tenant_viewer", "auto_revoke": False},
            result={"role": "tenant_viewer", "auto_revoke": False},
        ),
        Step(
            "role_mappings_list",
            "GET /v1/role-mappings?limit=25",
            result={"items": lambda rows: len(rows) == 3},
        ),
        Step(
            "role_mappings_delete",
            "DELETE /v1/role-mappings/$mapping",
            {"mapping_id": "$mapping"},
            result=deleted("$mapping"),
        ),
        Step(
            "custom_roles_delete",
            "DELETE /v1/iam/custom-roles/$role",
            {"role_id": "$role"},
            result=deleted("$role"),
        ),
    ),
)

STORIES = (USERS, API_KEYS, GROUPS, CUSTOM_ROLES)
