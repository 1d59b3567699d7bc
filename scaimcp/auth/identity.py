"""Read ``GET /v1/me`` into a `Caller`. Pure. Spec: scaigrid 2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from scaimcp.auth.permissions import PLATFORM_ROLES, of_roles
from scaimcp.errors import PlatformFailure, RequestRefused
from scaimcp.types import Caller, Grants


class _Named(msgspec.Struct):
    id: str = ""
    slug: str | None = None
    status: str = "active"


class _ApiKey(msgspec.Struct):
    expires_at: str | None = None


class _Auth(msgspec.Struct):
    method: str = "jwt"
    subject_type: str = "user"
    expires_at: str | None = None
    api_key: _ApiKey | None = None


class _Profile(msgspec.Struct):
    user: _Named | None = None
    tenant: _Named | None = None
    partner: _Named | None = None
    roles: list[str] | None = None
    custom_roles: list[_Named] | None = None
    permissions: list[str] | None = None
    module_permissions: list[str] | None = None
    auth: _Auth | None = None
    # The flat profile: the same facts at the top.
    id: str = ""
    status: str = "active"
    tenant_id: str | None = None
    partner_id: str | None = None


def read_profile(
    data: bytes, key: bytes, *, token_role: str | None, fallback_open: bool, confirmed_at: float
) -> Caller:
    """Return the caller that ``data`` of ``/v1/me`` describes.

    Args:
        data: JSON of the envelope's ``data``.
        key: SHA-256 of the bearer.
        token_role: ``role`` claim of a JWT that the platform has just confirmed, or None.
        fallback_open: whether unresolved permissions list what the platform then decides.
        confirmed_at: monotonic time of the confirmation, seconds.

    Raises:
        RequestRefused: user or tenant is not active (403).
        PlatformFailure: the body names no identity (``PLATFORM_BAD_RESPONSE``, 502).
    """
    try:
        profile = msgspec.json.decode(data, type=_Profile)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _unreadable() from None
    user = profile.user or _Named(id=profile.id, status=profile.status)
    tenant = profile.tenant or _Named(id=profile.tenant_id or "")
    roles = frozenset(profile.roles or ())
    if not user.id or not (tenant.id or roles & PLATFORM_ROLES):
        raise _unreadable()
    for owner, name in ((user, "user"), (tenant, "tenant")):
        if owner.status != "active":
            raise RequestRefused(
                "AUTHZ_PERMISSION_DENIED", f"This {name} is not active.", http_status=403
            )
    auth = profile.auth or _Auth()
    return Caller(
        key=key,
        user_id=user.id,
        tenant_id=tenant.id,
        tenant_slug=tenant.slug or "",
        partner_id=(profile.partner.id if profile.partner else profile.partner_id) or "",
        grants=_grants(profile, roles, token_role, fallback_open),
        custom_role_ids=tuple(role.id for role in profile.custom_roles or ()),
        method=auth.method,
        subject_type=auth.subject_type,
        confirmed_at=confirmed_at,
        expires_at=_expiry(auth),
        profile=msgspec.Raw(bytes(data)),
    )


def _grants(
    profile: _Profile, roles: frozenset[str], token_role: str | None, fallback_open: bool
) -> Grants:
    core, module = profile.permissions, profile.module_permissions
    if core is not None and module is not None:
        return Grants(frozenset(core), frozenset(module), roles, "me")
    source, named = "unresolved", frozenset[str]()
    if not profile.custom_roles:
        if profile.roles is not None:
            source, named = "roles", roles
        elif token_role:
            source, named = "token_role", frozenset({token_role})
    if source == "unresolved":
        return Grants(
            frozenset(core) if core is not None else None,
            frozenset(module) if module is not None else None,
            roles,
            source,
            fallback_open,
        )
    role_core, role_module = of_roles(named)
    return Grants(
        frozenset(core) if core is not None else role_core,
        frozenset(module) if module is not None else role_module,
        roles | named,
        source,
    )


def _expiry(auth: _Auth) -> float | None:
    """Return the earliest expiry as Unix time; an unreadable one counts as none stated."""
    stated: list[Any] = [auth.expires_at, auth.api_key.expires_at if auth.api_key else None]
    times = []
    for text in stated:
        if not text:
            continue
        try:
            stated_time = datetime.fromisoformat(text)
            if stated_time.tzinfo is None:
                stated_time = stated_time.replace(tzinfo=UTC)
            times.append(stated_time.timestamp())
        except (ValueError, OverflowError):
            continue
    return min(times) if times else None


def _unreadable() -> PlatformFailure:
    return PlatformFailure(
        "PLATFORM_BAD_RESPONSE", "The platform named no identity for this token.", http_status=502
    )
