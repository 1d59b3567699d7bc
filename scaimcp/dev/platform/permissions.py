"""Roles and what they hold. Spec: scaigrid 3."""

from collections.abc import Iterable

CORE_PERMISSIONS = (
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
)
ALL_MODULES = "*"

TENANT_USER = ("models:list", "models:use", "accounting:view_own", "api_keys:manage", "modules:use")
ROLE_CORE: dict[str, tuple[str, ...]] = {
    "super_admin": CORE_PERMISSIONS,
    "partner_admin": (
        "models:list",
        "accounting:view_own",
        "accounting:view_tenant",
        "accounting:view_partner",
        "accounting:manage_budgets",
        "users:manage",
        "admin:access",
    ),
    "partner_viewer": (
        "models:list",
        "accounting:view_own",
        "accounting:view_tenant",
        "accounting:view_partner",
    ),
    "tenant_admin": (
        *TENANT_USER,
        "routing:view",
        "accounting:view_tenant",
        "accounting:manage_budgets",
        "users:manage",
        "webhooks:manage",
        "modules:manage",
        "admin:access",
    ),
    "tenant_user": TENANT_USER,
    "tenant_viewer": ("models:list", "accounting:view_own"),
}
ROLE_MODULES: dict[str, tuple[str, ...]] = {
    "super_admin": (ALL_MODULES,),
    "partner_admin": (ALL_MODULES,),
    "partner_viewer": (),
    "tenant_admin": (ALL_MODULES,),
    "tenant_user": ("scaivault:read",),
    "tenant_viewer": (
        "scaimatrix:view",
        "scaimatrix:search",
        "scaiskills:view",
        "scaipersona:view",
        "scaispeak:voice.read",
        "scaimind:view",
        "scaicore:view",
        "scaibot:bots:read",
        "scaibot:conversations:read",
    ),
}
# Higher may grant lower; who may act for whom is decided by this order.
ROLE_LEVELS: dict[str, int] = {
    "tenant_viewer": 1,
    "tenant_user": 2,
    "tenant_admin": 3,
    "partner_viewer": 4,
    "partner_admin": 5,
    "super_admin": 6,
}
MODULE_KEYS: dict[str, tuple[str, ...]] = {
    "scaimcp": (
        "access",
        "connections.view",
        "connections.manage",
        "configs.view",
        "configs.manage",
        "configs.use",
        "instances.own",
        "instances.manage",
        "accounts.own",
        "accounts.manage",
    ),
    "scailink": (
        "view",
        "invoke",
        "manage",
        "audit",
        "remote.use",
        "remote.manage_own",
        "remote.manage_tenant",
    ),
    "scaibunker": (
        "create",
        "create:session",
        "create:persistent",
        "execute",
        "shell",
        "files",
        "root",
        "network:registry",
        "network:allowlisted",
        "network:unrestricted",
        "network:transit",
        "l2_transparency",
        "images:manage",
        "admin",
        "admin:tenant",
        "admin:platform",
    ),
    "scaimatrix": ("view", "search", "ingest", "manage", "graph_edit", "access"),
    "scaiskills": ("view", "publish", "manage"),
    "scaiqueue": ("manage", "publish", "consume"),
    "scaipersona": ("view", "manage"),
    "scaispeak": ("voice.read", "voice.manage", "synthesize"),
    "scaiecho": ("transcribe", "diarize", "enroll", "admin"),
    "scaimind": ("view", "manage", "cluster_admin", "evaluate"),
    "scaicore": ("view", "manage", "debug", "checkpoint_resolve", "delegate", "admin"),
    "scaibot": (
        "bots:read",
        "bots:create",
        "bots:update",
        "bots:delete",
        "knowledge:manage",
        "conversations:read",
        "conversations:manage",
        "escalations:manage",
        "embed:issue",
        "embed:revoke",
    ),
    "demo-notes": ("notes.read", "notes.write"),
}


def holds(permission: str, core: frozenset[str], modules: frozenset[str]) -> bool:
    """Tell whether a permission is held: core names in `core`, all others in `modules`."""
    if not permission:
        return True
    if permission in CORE_PERMISSIONS:
        return permission in core
    module = permission.partition(":")[0]
    return permission in modules or ALL_MODULES in modules or f"{module}:*" in modules


def narrow(
    core: Iterable[str], modules: Iterable[str], scopes: Iterable[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Return what remains of a user's permissions under a key's scopes; `*` keeps everything."""
    core_set, module_set, scope_set = frozenset(core), frozenset(modules), frozenset(scopes)
    if ALL_MODULES in scope_set:
        return core_set, module_set
    core_scopes = scope_set & frozenset(CORE_PERMISSIONS)
    module_scopes = scope_set - core_scopes
    kept = {scope for scope in module_scopes if holds(scope, frozenset(), module_set)}
    kept |= {name for name in module_set if name != "*" and holds(name, frozenset(), module_scopes)}
    return core_set & core_scopes, frozenset(kept)
