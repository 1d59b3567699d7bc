"""Every tool once: arguments, the requests that must arrive, members of the result."""

from __future__ import annotations

from tests.integration.scaivault.case import Case, filled
from tests.integration.scaivault.cases_issued import CERTIFICATES, CREDENTIALS
from tests.integration.scaivault.cases_kept import IDENTITIES, POLICIES, SECRETS

__all__ = ["CASES", "Case", "filled"]

_SPAN = "from=2026-04-23T03%3A06%3A40Z"
_DELIVERY = {"type": "webhook", "url": "https://hooks.example.com/x", "secret": "s" * 16}
_MAPPING = {"external/aws/**": "prod/payments/**"}
CONNECTED = (
    Case("list_federation_backends", {}, ("GET /v1/federation/backends?limit=50",)),
    Case(
        "get_federation_backend",
        {"backend_id": "{proxy}"},
        ("GET /v1/federation/backends/{proxy}",),
        shows=("id", "config", "path_mapping"),
    ),
    Case(
        "create_federation_backend",
        {
            "name": "aws",
            "type": "aws-secrets-manager",
            "config": {"region": "eu-west-1"},
            "path_mapping": _MAPPING,
            "mode": "proxy",
        },
        ("POST /v1/federation/backends",),
        {
            "name": "aws",
            "type": "aws-secrets-manager",
            "config": {"region": "eu-west-1"},
            "path_mapping": _MAPPING,
            "mode": "proxy",
        },
        ("id", "config"),
    ),
    Case(
        "test_federation_backend",
        {"backend_id": "{proxy}"},
        ("GET /v1/federation/backends/{proxy}/status",),
        shows=("id", "reachable", "status"),
    ),
    Case(
        "sync_federation_backend",
        {"backend_id": "{copied}"},
        ("POST /v1/federation/backends/{copied}/sync",),
        shows=("id", "status", "started_at"),
    ),
    Case(
        "proxy_read",
        {"backend_id": "{proxy}", "path": "external/app/db"},
        ("GET /v1/federation/backends/{proxy}", "GET /v1/secrets/external/app/db"),
        shows=("path", "data", "backend_id"),
    ),
    Case("list_subscriptions", {}, ("GET /v1/subscriptions?limit=50",)),
    Case(
        "get_subscription",
        {"subscription_id": "{subscription}"},
        ("GET /v1/subscriptions/{subscription}",),
        shows=("id", "paths", "delivery"),
    ),
    Case(
        "create_subscription",
        {
            "name": "hook",
            "paths": ["app/**"],
            "events": ["secret.rotated"],
            "delivery": _DELIVERY,
        },
        ("POST /v1/subscriptions",),
        {
            "name": "hook",
            "paths": ["app/**"],
            "events": ["secret.rotated"],
            "delivery": {**_DELIVERY, "buffer_size": 1_000},
        },
        ("id", "delivery"),
    ),
    Case(
        "delete_subscription",
        {"subscription_id": "{subscription}"},
        ("DELETE /v1/subscriptions/{subscription}",),
        shows=("id", "deleted"),
    ),
    Case("list_event_types", {}, (), shows=("items",)),
)

AUDIT = (
    Case(
        "query_audit",
        {"action": ["read", "write"], "success": True, "limit": 2, "path_prefix": "app"},
        (f"GET /v1/audit/logs?{_SPAN}&action=read%2Cwrite&path_prefix=app&success=true&limit=2",),
    ),
    Case(
        "audit_summary",
        {"to": "2026-04-24T03:06:40Z"},
        (f"GET /v1/audit/summary?{_SPAN}&to=2026-04-24T03%3A06%3A40Z",),
        shows=("from", "to", "total_events", "by_action", "top_paths"),
    ),
    Case(
        "secret_audit_trail",
        {"path": "app/db"},
        ("GET /v1/audit/secrets/app/db",),
        shows=("path", "period_days", "totals", "items"),
    ),
    Case(
        "find_unauthorized_access",
        {"min_failures": 2},
        (f"GET /v1/audit/logs?{_SPAN}&limit=1000&success=false",),
        shows=("groups", "truncated"),
    ),
)

CASES = (
    *SECRETS,
    *POLICIES,
    *IDENTITIES,
    *CERTIFICATES,
    *CREDENTIALS,
    *CONNECTED,
    *AUDIT,
)
