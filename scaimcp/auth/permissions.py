"""Roles and permissions as data, and the one rule that lists and refuses. Pure.

Spec: scaigrid 3; scaivault 3.
"""

from __future__ import annotations

from collections.abc import Iterable

from scaimcp.types import Grants

CORE_PERMISSIONS = frozenset(
    {
        "models:list",
        "models:use",
        "models:manage",
        "routing:view",
        "routing:manage",
        "accounting:view_own",
        "accounting:view_tenant",
        "accounting:view_partner",
        "accounting:manage_budgets",
        "users:manage",
        "api_keys:manage",
        "webhooks:manage",
        "modules:use",
        "modules:manage",
        "admin:access",
    }
)
_TENANT_USER = frozenset(
    {"models:list", "models:use", "accounting:view_own", "api_keys:manage", "modules:use"}
)
_PARTNER_VIEWER = frozenset(
    {"models:list", "accounting:view_own", "accounting:view_tenant", "accounting:view_partner"}
)
ROLE_CORE: dict[str, frozenset[str]] = {
    "super_admin": CORE_PERMISSIONS,
    "partner_admin": _PARTNER_VIEWER
    | {"accounting:manage_budgets", "users:manage", "admin:access"},
    "partner_viewer": _PARTNER_VIEWER,
    "tenant_admin": _TENANT_USER
    | {
        "routing:view",
        "accounting:view_tenant",
        "accounting:manage_budgets",
        "users:manage",
        "webhooks:manage",
        "modules:manage",
        "admin:access",
    },
    "tenant_user": _TENANT_USER,
    "tenant_viewer": frozenset({"models:list", "accounting:view_own"}),
}
_ALL = frozenset({"*"})
ROLE_MODULES: dict[str, frozenset[str]] = {
    "super_admin": _ALL,
    "partner_admin": _ALL,
    "tenant_admin": _ALL,
    "tenant_user": frozenset({"scaivault:read"}),
    "tenant_viewer": frozenset(
        {
            "scaimatrix:view",
            "scaimatrix:search",
            "scaiskills:view",
            "scaipersona:view",
            "scaispeak:voice.read",
            "scaimind:view",
            "scaicore:view",
            "scaibot:bots:read",
            "scaibot:conversations:read",
        }
    ),
}
PLATFORM_ROLES = frozenset({"super_admin", "partner_admin", "partner_viewer"})


def of_roles(roles: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the union of the roles' bundles: core permissions, module permissions."""
    core: frozenset[str] = frozenset()
    module: frozenset[str] = frozenset()
    for role in roles:
        core |= ROLE_CORE.get(role, frozenset())
        module |= ROLE_MODULES.get(role, frozenset())
    return core, module


def holds(grants: Grants, permission: str, *, is_guarded: bool = False) -> bool:
    """Tell whether `grants` contain `permission`.

    A core name is looked up in the core permissions, any other in the module permissions; ""
    admits everyone who is authenticated. Unresolved permissions hold what the fallback says, but
    never what the gateway itself guards (`is_guarded`). Spec: scaigrid 2 and 3.
    """
    if not permission:
        return True
    held = grants.core if permission in CORE_PERMISSIONS else grants.module
    if held is None:
        return grants.fallback_open and not is_guarded
    if permission in held:
        return True
    if permission in CORE_PERMISSIONS:
        return False
    return "*" in held or f"{permission.partition(':')[0]}:*" in held


def has_role(grants: Grants, roles: tuple[str, ...]) -> bool:
    """Tell whether the caller has one of `roles`; no roles named means no condition."""
    if not roles:
        return True
    if grants.source == "unresolved" and not grants.roles:
        return grants.fallback_open
    return not grants.roles.isdisjoint(roles)
