"""Tokens, tenants and what every tenant holds at the start."""

from typing import Any

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.state import Identity, Tenant, Vault
from scaimcp.dev.vault.store import NewVersion, write

AGENT = "skt_agent_a"
READER = "skt_reader_a"
REPORT_RUNNER = "skt_report_runner_a"
NO_SCOPES = "skt_noscopes_a"
PARTNER_ADMIN = "skt_partner_admin_a"
AGENT_B = "skt_agent_b"
AGENT_Y = "skt_agent_y"
EXPIRED = "skt_expired_a"
REVOKED = "skt_revoked_a"
DENIED_PATH = "infra/db/primary/credentials"
USER_SCOPES = ("secrets:read", "secrets:list", "policies:read", "audit:read")


def _service(name: str, letter: str, partner: str, scopes: tuple[str, ...]) -> Identity:
    return Identity(
        id=f"sa:{name}",
        type="service_account",
        tenant_id=f"tnt_{letter}",
        partner_id=partner,
        scopes=scopes,
    )


def _user(name: str, scopes: tuple[str, ...], **more: Any) -> Identity:
    return Identity(
        id=f"user:{name}@acme.example",
        type="user",
        tenant_id="tnt_a",
        partner_id="ptn_x",
        scopes=scopes,
        **more,
    )


TOKENS: dict[str, Identity] = {
    AGENT: _service("agent", "a", "ptn_x", ("admin",)),
    READER: _user("alice", USER_SCOPES, groups=("group:users",)),
    REPORT_RUNNER: _service("report-runner", "a", "ptn_x", ("secrets:read", "secrets:list")),
    NO_SCOPES: _user("norma", ()),
    PARTNER_ADMIN: _user("paula", ("admin",), groups=("group:admins",), partner_admin=True),
    AGENT_B: _service("agent", "b", "ptn_x", ("admin",)),
    AGENT_Y: _service("agent", "y", "ptn_y", ("admin",)),
    EXPIRED: _user("edward", ("admin",), expires_at=1.0),
    REVOKED: _user("rita", ("admin",), revoked=True),
}

SECRETS = (
    ("integrations/salesforce/oauth", {"client_id": "3MVG9-demo", "client_secret": "sf-demo"}, 3),
    ("integrations/stripe/api-key", {"key": "stripe-demo-key"}, 1),
    (DENIED_PATH, {"username": "postgres", "password": "pg-demo"}, 1),
    ("reports/mailer", {"password": "mail-demo"}, 1),
)

POLICIES = (
    ("everything", "**", ["admin"], [("service_account", "sa:agent"), ("group", "group:admins")]),
    ("integrations", "integrations/**", ["read", "list"], [("group", "group:users")]),
    ("reports", "reports/**", ["read", "list"], [("service_account", "sa:report-runner")]),
)
ROLE = {
    "name": "readonly",
    "engine": "postgres-prod",
    "creation_statements": [
        "CREATE ROLE \"{{username}}\" LOGIN PASSWORD '{{password}}'",
        'GRANT pg_read_all_data TO "{{username}}"',
    ],
    "revocation_statements": ['DROP ROLE "{{username}}"'],
    "default_ttl": "1h",
    "max_ttl": "24h",
}
ENGINE = {
    "name": "postgres-prod",
    "type": "database",
    "config": {
        "plugin": "postgresql",
        "connection_url": "postgresql://{{username}}:{{password}}@db.internal:5432/main",
        "root_credentials_path": DENIED_PATH,
    },
    "default_ttl": "1h",
    "max_ttl": "24h",
}
# Before the start: the last of the three is a minute old.
DENIED_SECONDS_AGO = (122, 91, 60)


def seed_tenant(vault: Vault, tenant: Tenant) -> None:
    """Fill a new tenant with secrets, policies, an engine and audit rows."""
    now = vault.clock.now()
    for path, data, count in SECRETS:
        for _ in range(count):
            metadata = {"owner": "team:platform"}
            write(tenant, path, NewVersion(data=data, by="system:seed", metadata=metadata), now)
    for name, glob, permissions, bound in POLICIES:
        bindings = [
            {"id": f"bnd_{name}_{n}", "identity_type": t, "identity_id": i, "expires_at": None}
            for n, (t, i) in enumerate(bound)
        ]
        tenant.table("policies")[f"pol_{name}"] = {
            "id": f"pol_{name}",
            "name": name,
            "description": None,
            "rules": [{"path_pattern": glob, "permissions": permissions}],
            "scope": "tenant",
            "bindings": bindings,
            "is_active": True,
            "created_at": iso(now),
            "updated_at": iso(now),
        }
    tenant.table("engines")["postgres-prod"] = {
        "id": vault.new_id("eng"),
        "status": "healthy",
        "created_at": iso(now),
        **ENGINE,
        "roles": {"readonly": {**ROLE}},
    }
    tenant.audit.extend(_denied(vault, now - ago) for ago in DENIED_SECONDS_AGO)


def _denied(vault: Vault, at: float) -> dict[str, Any]:
    return {
        "id": vault.new_id("log"),
        "timestamp": iso(at),
        "action": "read",
        "identity_type": "service_account",
        "identity_id": "sa:report-runner",
        "secret_path": DENIED_PATH,
        "source_ip": "10.0.1.50",
        "user_agent": "report-runner/2.1",
        "success": False,
        "duration_ms": 3,
        "request_id": vault.new_id("req"),
        "extra_data": {"error_code": "access_denied"},
    }
