"""The caller's own identity. Spec: scaigrid 2."""

from typing import Any, cast

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso
from scaimcp.dev.platform.endpoint import Endpoint, Family
from scaimcp.dev.platform.identity import Principal
from scaimcp.dev.platform.pages import view
from scaimcp.dev.platform.permissions import CORE_PERMISSIONS

Body = dict[str, Any]
USER = view("id email display_name status created_at")
TENANT = view("id slug display_name status")
PARTNER = view("id slug display_name")
CUSTOM_ROLE = view("id slug name")
API_KEY = view("id name prefix scopes expires_at")


def me(call: Call) -> Body:
    """Return the caller's profile, in the form a fault may ask for."""
    principal = call.principal
    if call.fault is not None and call.fault.me_flat:
        return _flat(principal)
    body = profile(principal)
    for path in (call.fault.me_omit or ()) if call.fault is not None else ():
        _omit(body, path)
    return body


def profile(principal: Principal) -> Body:
    """Return the full form."""
    return {
        "user": USER(principal.user),
        "tenant": None if principal.tenant is None else TENANT(principal.tenant),
        "partner": None if principal.partner is None else PARTNER(principal.partner),
        "roles": list(principal.roles),
        "custom_roles": [CUSTOM_ROLE(row) for row in principal.custom_roles],
        "groups": list(principal.groups),
        "permissions": [name for name in CORE_PERMISSIONS if name in principal.core],
        "module_permissions": sorted(principal.modules),
        "auth": _auth(principal),
    }


def _auth(principal: Principal) -> Body:
    issued = principal.claims.get("iat")
    expires = principal.claims.get("exp")
    key = principal.key
    return {
        "method": "jwt" if key is None else "api_key",
        "subject_type": principal.subject_type,
        "issued_at": None if issued is None else iso(cast(float, issued)),
        "expires_at": iso(cast(float, expires)) if key is None else key["expires_at"],
        "api_key": None if key is None else API_KEY(key),
    }


def _flat(principal: Principal) -> Body:
    return {
        "id": principal.user_id,
        "email": principal.user["email"],
        "tenant_id": principal.tenant_id,
        "partner_id": principal.partner_id,
        "name": principal.user["display_name"],
    }


def _omit(body: Body, path: str) -> None:
    *parents, last = path.split(".")
    inner: Any = body
    for name in parents:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        inner.pop(last, None)


FAMILY = Family(
    endpoints=(Endpoint("GET", "/v1/me", "", me), Endpoint("GET", "/v1/auth/me", "", me))
)
