"""Tokens on request of the control surface. Spec: scaigrid 2 (claims), 12 (control surface)."""

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.platform.errors import not_found
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.tokens import Claims

CLIENT_ID = "scaigrid-web"


class MintRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What kind of token is wanted.

    Attributes:
        login: e-mail address of a user.
        ttl: seconds until it expires; negative makes an expired one.
        audience: `aud`; None is the client id of the platform's own web application.
        role: the `role` claim; absent is the user's highest role, null leaves the claim out.
        bad_signature: break the signature.
        client_id: make a client-credentials token of this client in the user's tenant; its rights
            are those of its `role` claim.
        scope: the `scope` claim.
    """

    login: str
    ttl: int = 3600
    audience: str | None = None
    role: str | msgspec.UnsetType | None = msgspec.UNSET
    bad_signature: bool = False
    client_id: str | None = None
    scope: str | None = None


def mint(platform: Platform, wanted: MintRequest, issuer: str) -> dict[str, object]:
    """Return `token`, `expires_at` and the `claims` of a new token.

    Raises:
        PlatformError: `USER_NOT_FOUND` for an unknown login.
    """
    user = platform.store["users"].first(email=wanted.login)
    if user is None:
        raise not_found("USER")
    roles = platform.auth.grants(user).roles
    role = (roles[0] if roles else None) if wanted.role is msgspec.UNSET else wanted.role
    issued = int(platform.clock.now())
    tenant = platform.store["tenants"].get(user["tenant_id"] or "")
    optional: Claims = {
        "tenant_id": user["tenant_id"],
        "partner_id": tenant["partner_id"] if tenant else user["partner_id"],
        "role": role,
        "scope": wanted.scope,
    }
    claims: Claims = {
        "iss": issuer,
        "aud": wanted.audience or CLIENT_ID,
        "sub": wanted.client_id or user["id"],
        "iat": issued,
        "exp": issued + wanted.ttl,
        "jti": platform.store.token("tok_"),
        "client_id": wanted.client_id or CLIENT_ID,
        "token_type": "client" if wanted.client_id else "user",
        **{name: value for name, value in optional.items() if value is not None},
    }
    return {
        "token": platform.keys.mint(claims, bad_signature=wanted.bad_signature),
        "expires_at": iso(issued + wanted.ttl),
        "claims": claims,
    }
