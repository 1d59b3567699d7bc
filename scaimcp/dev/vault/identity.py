"""Who am I, and probes. Spec: scaivault 7 (identity)."""

from typing import Any

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.routing import ANYONE, OPEN, Route
from scaimcp.dev.vault.values import stamp


def whoami(call: Call) -> dict[str, Any]:
    """Return the identity behind the bearer; the tenant is the token's own."""
    identity = call.identity
    return {
        "identity_id": identity.id,
        "identity_type": identity.type,
        "display_name": identity.id.partition(":")[2],
        "tenant_id": identity.tenant_id,
        "partner_id": identity.partner_id,
        "scopes": identity.scopes,
        "groups": identity.groups,
        "roles": ["partner_admin"] if identity.partner_admin else [],
        "mfa_verified_at": stamp(identity.mfa_at),
        "token_expires_at": stamp(identity.expires_at),
    }


def health(call: Call) -> dict[str, Any]:
    """Say that the process answers."""
    return {"status": "healthy", "timestamp": iso(call.now)}


def ready(call: Call) -> dict[str, Any]:
    """Say that requests can be served."""
    return {"status": "ready", "checks": {"database": "ok", "redis": "ok", "encryption": "ok"}}


def version(call: Call) -> dict[str, Any]:
    """Return the version."""
    return {"version": "1.0.0-standin", "api_version": "v1"}


ROUTES = (
    Route("GET", "/v1/auth/whoami", whoami, ANYONE, None, "whoami"),
    Route("GET", "/v1/health", health, OPEN),
    Route("GET", "/v1/health/ready", ready, OPEN),
    Route("GET", "/v1/version", version, OPEN),
)
