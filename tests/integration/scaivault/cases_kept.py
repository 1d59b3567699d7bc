"""Tools on secrets, policies and accounts, each once."""

from __future__ import annotations

from tests.integration.scaivault.case import Case

_SA = "/v1/identity/service-accounts"
_RULES = [{"path_pattern": "app/**", "permissions": ["read"]}]
_FIELDS = [{"name": "pw", "generator": "hex", "config": {"length": 8}}]

SECRETS = (
    Case(
        "read_secret",
        {"path": "app/db", "version": 1, "field": "user"},
        ("GET /v1/secrets/app/db?version=1",),
        shows=("path", "version", "data", "secret_type"),
    ),
    Case(
        "write_secret",
        {"path": "app/new", "data": {"a": 1}, "expires_in": "90d", "max_versions": 3},
        ("PUT /v1/secrets/app/new",),
        {
            "data": {"a": 1},
            "secret_type": "json",
            "options": {"max_versions": 3, "expires_in": "90d"},
        },
        ("path", "version", "secret_type", "expires_at"),
    ),
    Case(
        "delete_secret",
        {"path": "app/db", "permanent": True, "confirm": "app/db"},
        ("DELETE /v1/secrets/app/db?permanent=true",),
        shows=("path", "deleted", "permanent", "recoverable_until"),
    ),
    Case(
        "list_secrets",
        {"prefix": "app/", "limit": 1},
        ("GET /v1/secrets/?prefix=app&limit=1",),
        shows=("items", "has_more", "next_cursor"),
    ),
    Case("get_secret_versions", {"path": "app/db"}, ("GET /v1/secrets/app/db/versions?limit=50",)),
    Case(
        "rotate_secret",
        {"path": "app/db"},
        ("POST /v1/secrets/app/db/rotate",),
        shows=("path", "old_version", "new_version", "grace_period_ends", "auto_generated"),
    ),
    Case(
        "rotate_secret",
        {"path": "app/db", "rotation_policy_id": "{rotation}"},
        ("POST /v1/rotation/policies/{rotation}/rotate",),
        {"secret_paths": ["app/db"]},
        ("path", "old_version", "new_version", "grace_period_ends", "auto_generated"),
    ),
    Case(
        "check_expiration",
        {"within_days": 3650},
        ("GET /v1/secrets/?limit=200",),
        shows=("items", "truncated"),
    ),
    Case(
        "list_secret_policies",
        {"policy_type": "password"},
        ("GET /v1/secret-policies?policy_type=password&active_only=false&limit=50",),
    ),
    Case(
        "get_secret_policy",
        {"policy_id": "{secret_policy}"},
        ("GET /v1/secret-policies/{secret_policy}",),
        shows=("id", "name", "fields"),
    ),
    Case(
        "create_secret_policy",
        {"name": "hex", "policy_type": "custom", "fields": _FIELDS},
        ("POST /v1/secret-policies",),
        {"name": "hex", "policy_type": "custom", "fields": _FIELDS},
        ("id", "fields"),
    ),
    Case(
        "generate_secret_preview",
        {"policy_id": "{secret_policy}"},
        ("POST /v1/secret-policies/{secret_policy}/preview",),
        shows=("policy_id", "values", "stored"),
    ),
    Case("get_policy_types", {}, (), shows=("types", "generators", "charsets")),
)

POLICIES = (
    Case(
        "list_policies",
        {"scope": "tenant"},
        ("GET /v1/policies?scope=tenant&include_inactive=false&limit=50",),
    ),
    Case(
        "get_policy",
        {"policy_id": "pol_everything"},
        ("GET /v1/policies/pol_everything",),
        shows=("id", "rules", "bindings"),
    ),
    Case(
        "create_policy",
        {"name": "readers", "rules": _RULES},
        ("POST /v1/policies",),
        {"name": "readers", "rules": _RULES, "scope": "tenant"},
        ("id", "rules"),
    ),
    Case(
        "test_policy",
        {"identity_id": "sa:agent", "path": "app/db", "permission": "read"},
        ("POST /v1/policies/test",),
        {"identity_id": "sa:agent", "path": "app/db", "permission": "read"},
        ("allowed", "evaluated"),
    ),
    Case(
        "list_rotation_policies",
        {"active_only": True},
        ("GET /v1/rotation/policies?active_only=true&limit=50",),
    ),
    Case(
        "create_rotation_policy",
        {"name": "weekly", "interval": "7d", "warn_before": ["2d", "1d"]},
        ("POST /v1/rotation/policies",),
        {
            "name": "weekly",
            "interval": "7d",
            "grace_period": "48h",
            "warn_before": "2d,1d",
            "auto_generate": False,
        },
        ("id", "interval_seconds", "warn_before"),
    ),
    Case(
        "get_secrets_due_rotation",
        {"within_hours": 1000, "policy_id": "{rotation}"},
        ("GET /v1/rotation/due?within_hours=1000&include_overdue=true&policy_id={rotation}",),
    ),
)

IDENTITIES = (
    Case("list_service_accounts", {"status": "active"}, (f"GET {_SA}?status=active&limit=50",)),
    Case(
        "get_service_account",
        {"service_account_id": "{account}"},
        (f"GET {_SA}/{{account}}",),
        shows=("id", "name", "scopes"),
    ),
    Case(
        "create_service_account",
        {"name": "bot2"},
        (f"POST {_SA}",),
        {"name": "bot2"},
        ("id", "status"),
    ),
    Case(
        "update_service_account",
        {"service_account_id": "{account}", "status": "disabled"},
        (f"PATCH {_SA}/{{account}}",),
        {"status": "disabled"},
        ("id", "status"),
    ),
    Case(
        "delete_service_account",
        {"service_account_id": "{account}"},
        (f"DELETE {_SA}/{{account}}",),
        shows=("id", "deleted"),
    ),
    Case(
        "create_api_key",
        {"service_account_id": "{account}", "name": "second"},
        (f"POST {_SA}/{{account}}/api-keys",),
        {"name": "second", "expires_in": "90d"},
        ("id", "key", "prefix", "expires_at"),
    ),
    Case(
        "list_api_keys",
        {"service_account_id": "{account}"},
        (f"GET {_SA}/{{account}}/api-keys?limit=50",),
    ),
    Case(
        "delete_api_key",
        {"service_account_id": "{account}", "key_id": "{key}"},
        (f"DELETE {_SA}/{{account}}/api-keys/{{key}}",),
        shows=("id", "deleted"),
    ),
)
