"""Tools on certificates and credentials, each once."""

from __future__ import annotations

from tests.integration.scaivault.case import Case

_ORDER = {"account_id": "{acme}", "domains": ["x.example.com"], "challenge_type": "http-01"}
_ORDERS = "/v1/pki/acme/orders"
_CONFIG = {
    "plugin": "mysql",
    "connection_url": "mysql://{{username}}:{{password}}@db/x",
    "root_credentials_path": "app/pg-root",
}

CERTIFICATES = (
    Case("list_cas", {"ca_type": "root"}, ("GET /v1/pki/ca?ca_type=root&limit=50",)),
    Case(
        "get_ca",
        {"ca_id": "{ca}", "include_pem": True},
        ("GET /v1/pki/ca/{ca}", "GET /v1/pki/ca/{ca}/certificate"),
        shows=("id", "certificate_pem"),
    ),
    Case(
        "create_root_ca",
        {"name": "r2", "common_name": "R2", "key_type": "ec", "key_size": 256},
        ("POST /v1/pki/ca",),
        {
            "ca_type": "root",
            "name": "r2",
            "common_name": "R2",
            "key_type": "ec",
            "key_size": 256,
            "validity_days": 3650,
        },
        ("id", "ca_type"),
    ),
    Case(
        "list_certificates",
        {"ca_id": "{ca}", "expiring_within": "60d"},
        ("GET /v1/pki/certificates?ca_id={ca}&expiring_within=60d&include_revoked=false&limit=50",),
    ),
    Case(
        "get_certificate",
        {"certificate_id": "{certificate}"},
        (
            "GET /v1/pki/certificates/{certificate}",
            "GET /v1/pki/certificates/{certificate}/pem",
        ),
        shows=("id", "certificate", "ca_chain", "private_key", "status"),
    ),
    Case(
        "issue_certificate",
        {"role": "web", "common_name": "b.example.com", "ttl": "24h"},
        ("POST /v1/pki/issue/web",),
        {"common_name": "b.example.com", "ttl": "24h"},
        ("id", "certificate", "private_key", "ca_chain", "serial_number"),
    ),
    Case(
        "revoke_certificate",
        {"certificate_id": "{certificate}", "reason": "superseded"},
        ("POST /v1/pki/certificates/{certificate}/revoke",),
        {"reason": "superseded"},
        ("id", "status", "reason", "revoked_at"),
    ),
    Case(
        "validate_certificate",
        {"certificate_id": "{certificate}", "hostname": "www.example.com"},
        (
            "GET /v1/pki/certificates/{certificate}",
            "GET /v1/pki/ca/{ca}/certificate",
            "GET /v1/pki/ca/{ca}/crl",
        ),
        shows=("valid", "chain_ok", "revoked", "reasons"),
    ),
    Case(
        "check_expiring_certs",
        {"within": "60d"},
        ("GET /v1/pki/certificates?expiring_within=60d&limit=50",),
    ),
    Case("list_acme_accounts", {}, ("GET /v1/pki/acme/accounts?limit=50",)),
    Case(
        "create_acme_account",
        {"name": "z", "provider": "zerossl", "email": "z@example.com"},
        ("POST /v1/pki/acme/accounts",),
        {
            "name": "z",
            "provider": "zerossl",
            "email": "z@example.com",
            "environment": "staging",
        },
        ("id", "environment"),
    ),
    Case(
        "list_acme_orders",
        {"account_id": "{acme}", "status": "pending"},
        (f"GET {_ORDERS}?account_id={{acme}}&status=pending&limit=50",),
    ),
    Case("create_acme_order", _ORDER, (f"POST {_ORDERS}",), _ORDER, ("id", "challenges")),
    Case(
        "complete_acme_challenge",
        {"order_id": "{order}", "challenge_id": "{challenge}"},
        (f"POST {_ORDERS}/{{order}}/challenges/{{challenge}}/complete",),
        shows=("id", "status", "challenges"),
    ),
)

CREDENTIALS = (
    Case(
        "list_dynamic_engines",
        {"type": "database"},
        ("GET /v1/dynamic/engines?type=database&limit=50",),
    ),
    Case(
        "get_dynamic_engine",
        {"engine": "pg"},
        ("GET /v1/dynamic/engines/pg",),
        shows=("id", "config"),
    ),
    Case(
        "create_dynamic_engine",
        {"name": "my", "type": "database", "config": _CONFIG},
        ("POST /v1/dynamic/engines",),
        {
            "name": "my",
            "type": "database",
            "config": _CONFIG,
            "default_ttl": "1h",
            "max_ttl": "24h",
        },
        ("id", "config"),
    ),
    Case("list_dynamic_roles", {"engine": "pg"}, ("GET /v1/dynamic/engines/pg/roles?limit=50",)),
    Case(
        "create_dynamic_role",
        {"engine": "pg", "name": "rw", "creation_statements": ["GRANT"]},
        ("POST /v1/dynamic/engines/pg/roles",),
        {"name": "rw", "creation_statements": ["GRANT"]},
        ("name", "engine"),
    ),
    Case(
        "generate_credentials",
        {"engine": "pg", "role": "ro", "ttl": "30m"},
        ("POST /v1/dynamic/engines/pg/creds/ro",),
        {"ttl": "30m"},
        ("lease_id", "credentials", "expires_at", "renewable"),
    ),
    Case(
        "list_leases",
        {"engine": "pg"},
        ("GET /v1/dynamic/leases?engine=pg&status=active&limit=50",),
    ),
    Case(
        "renew_lease",
        {"lease_id": "{lease}", "increment": "10m"},
        ("POST /v1/dynamic/leases/{lease}/renew",),
        {"increment": "10m"},
        ("lease_id", "expires_at", "renewable"),
    ),
    Case(
        "revoke_lease",
        {"lease_id": "{lease}"},
        ("POST /v1/dynamic/leases/{lease}/revoke",),
        shows=("lease_id", "status", "revoked_at"),
    ),
    Case(
        "check_expiring_leases",
        {"within": "2h", "engine": "pg"},
        ("GET /v1/dynamic/leases?engine=pg&limit=200&status=active",),
        shows=("items", "truncated"),
    ),
)
