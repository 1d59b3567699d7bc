"""Something of every kind in the vault, so that every tool finds what it needs."""

from __future__ import annotations

from tests.integration.scaivault.desk import Desk

EC = {"key_type": "ec", "key_size": 256}
LOGIN = "app/pg-root"
ENGINE = {
    "name": "pg",
    "type": "database",
    "config": {
        "plugin": "postgresql",
        "connection_url": "postgresql://{{username}}:{{password}}@db/app",
        "root_credentials_path": LOGIN,
    },
}


async def furnish(desk: Desk) -> dict[str, str]:
    """Return the ids of what was made."""
    await desk.secret("app/db", {"user": "u", "password": "hunter2"})
    await desk.secret(LOGIN, {"password": "root"})
    ids = {**await _policies(desk), **await _pki(desk), **await _others(desk)}
    desk.forget()
    return ids


async def _policies(desk: Desk) -> dict[str, str]:
    fields = [{"name": "password", "generator": "static", "config": {"value": "s3cret"}}]
    body = {"name": "pw", "policy_type": "password", "fields": fields}
    secret_policy = await desk.rest("POST", "/v1/secret-policies", body)
    rotation = await desk.rest(
        "POST",
        "/v1/rotation/policies",
        {"name": "monthly", "interval": "30d", "auto_generate": True},
    )
    path = f"/v1/rotation/policies/{rotation['id']}/secrets"
    await desk.rest("POST", path, {"secret_path": "app/db"})
    account = await desk.rest(
        "POST", "/v1/identity/service-accounts", {"name": "bot", "scopes": ["secrets:read"]}
    )
    keys = f"/v1/identity/service-accounts/{account['id']}/api-keys"
    key = await desk.rest("POST", keys, {"name": "first", "expires_in": "30d"})
    return {
        "secret_policy": secret_policy["id"],
        "rotation": rotation["id"],
        "account": account["id"],
        "key": key["id"],
    }


async def _pki(desk: Desk) -> dict[str, str]:
    root = {"name": "root", "common_name": "Root", "ca_type": "root", **EC}
    ca = await desk.rest("POST", "/v1/pki/ca", root)
    role = {
        "name": "web",
        "ca_id": ca["id"],
        "allowed_domains": ["example.com"],
        "allow_subdomains": True,
        "store_private_keys": True,
        "max_ttl": "720h",
    }
    await desk.rest("POST", "/v1/pki/roles", role)
    wanted = {"common_name": "www.example.com"}
    certificate = await desk.rest("POST", "/v1/pki/issue/web", wanted)
    account = await desk.rest(
        "POST",
        "/v1/pki/acme/accounts",
        {"name": "le", "provider": "letsencrypt", "email": "a@example.com"},
    )
    order = await desk.rest(
        "POST",
        "/v1/pki/acme/orders",
        {"account_id": account["id"], "domains": ["a.example.com"], "challenge_type": "http-01"},
    )
    return {
        "ca": ca["id"],
        "certificate": certificate["id"],
        "acme": account["id"],
        "order": order["id"],
        "challenge": order["challenges"][0]["id"],
    }


async def _others(desk: Desk) -> dict[str, str]:
    await desk.rest("POST", "/v1/dynamic/engines", ENGINE)
    role = {"name": "ro", "creation_statements": ["CREATE ROLE x"]}
    await desk.rest("POST", "/v1/dynamic/engines/pg/roles", role)
    lease = await desk.rest("POST", "/v1/dynamic/engines/pg/creds/ro", {})
    backend = {
        "name": "hcv",
        "type": "hashicorp-vault",
        "config": {"endpoint": "https://vault.example.com", "auth_config_path": LOGIN},
        "path_mapping": {"external/app/**": "secret/data/app/**"},
        "mode": "proxy",
    }
    proxy = await desk.rest("POST", "/v1/federation/backends", backend)
    backend |= {"name": "hcs", "mode": "sync", "path_mapping": {"copy/**": "prod/payments/**"}}
    copied = await desk.rest("POST", "/v1/federation/backends", backend)
    subscription = await desk.rest(
        "POST",
        "/v1/subscriptions",
        {
            "name": "all",
            "paths": ["app/**"],
            "events": ["secret.updated"],
            "delivery": {"type": "polling"},
        },
    )
    return {
        "lease": lease["lease_id"],
        "proxy": proxy["id"],
        "copied": copied["id"],
        "subscription": subscription["id"],
    }
