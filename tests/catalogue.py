"""What each role must see, derived from the contract's tables and not from the code.

``tests/data/catalogue.json`` is the tool table; the permission table of scaigrid 3 is below.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

CORE_ALL = [
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
]
TENANT_USER = ["models:list", "models:use", "accounting:view_own", "api_keys:manage", "modules:use"]
PARTNER_VIEWER = [
    "models:list",
    "accounting:view_own",
    "accounting:view_tenant",
    "accounting:view_partner",
]
CORE: dict[str, list[str]] = {
    "super_admin": CORE_ALL,
    "partner_admin": [
        *PARTNER_VIEWER, "accounting:manage_budgets", "users:manage", "admin:access",
    ],
    "partner_viewer": PARTNER_VIEWER,
    "tenant_admin": [
        *TENANT_USER, "routing:view", "accounting:view_tenant", "accounting:manage_budgets",
        "users:manage", "webhooks:manage", "modules:manage", "admin:access",
    ],
    "tenant_user": TENANT_USER,
    "tenant_viewer": ["models:list", "accounting:view_own"],
    "no_roles": [],
    # Callers whose grants are more than one built-in role; seeded in acme.
    "extra_permissions": TENANT_USER,
    "group_member": TENANT_USER,
    "scoped_key": ["models:list"],
    "custom_role": ["models:list", "accounting:view_own", "models:use", "modules:use"],
}  # fmt: skip
VIEWER_MODULES = [
    "scaimatrix:view",
    "scaimatrix:search",
    "scaiskills:view",
    "scaipersona:view",
    "scaispeak:voice.read",
    "scaimind:view",
    "scaicore:view",
    "scaibot:bots:read",
    "scaibot:conversations:read",
]
MODULE: dict[str, list[str]] = {
    "super_admin": ["*"],
    "partner_admin": ["*"],
    "tenant_admin": ["*"],
    "tenant_viewer": VIEWER_MODULES,
    "extra_permissions": ["scaimatrix:view", "scaimatrix:search", "demo-notes:notes.read"],
    "scoped_key": ["demo-notes:notes.read"],
    "custom_role": [*VIEWER_MODULES, "demo-notes:notes.read", "demo-notes:notes.write"],
}
# The module that is known by its manifest alone; further modules come last, ordered by name.
DEMO_NOTES = {
    "demo_notes_create": "demo-notes:notes.write",
    "demo_notes_get": "demo-notes:notes.read",
    "demo_notes_list": "demo-notes:notes.read",
}
# Seed of scaigrid 12: what is switched on for acme and globex.
ACME = [
    "scaibunker",
    "scaimatrix",
    "scaiskills",
    "scaiqueue",
    "scaipersona",
    "scaispeak",
    "scaiecho",
    "demo-notes",
]
GLOBEX = ["scaimatrix"]
TEN_MODULES = [
    "scaibunker",
    "scaimatrix",
    "scaiskills",
    "scaiqueue",
    "scaipersona",
    "scaispeak",
    "scaiecho",
    "scaimind",
    "scaicore",
    "scaibot",
]
GATEWAY_LISTED = "tools_explain"


@cache
def table() -> tuple[dict[str, Any], ...]:
    """Return the rows of the tool table in its order."""
    path = Path(__file__).parent / "data" / "catalogue.json"
    return tuple(json.loads(path.read_text(encoding="utf-8")))


def row(name: str) -> dict[str, Any]:
    """Return the row of one tool."""
    return next(entry for entry in table() if entry["name"] == name)


def split_permission(text: str) -> tuple[str, list[str]]:
    """Return permission and roles of a cell such as ``admin:access, role: super_admin``."""
    permission, _, roles = text.partition(", role: ")
    return permission, [role.strip() for role in roles.split(" or ")] if roles else []


def may(role: str, text: str) -> bool:
    """Tell whether a role without custom roles holds what a cell demands."""
    permission, roles = split_permission(text)
    if roles and role not in roles:
        return False
    if not permission or permission in CORE[role]:
        return True
    held = MODULE.get(role, [])
    return permission not in CORE_ALL and ("*" in held or permission in held)


def visible(role: str, modules: list[str]) -> list[str]:
    """Return the names that `role` sees in the default list, in published order."""
    rows = [entry for entry in table() if may(role, entry["permission"])]
    core = [entry["name"] for entry in rows if entry["group"] == "core"]
    built_in = sorted(
        (entry for entry in rows if entry["group"] == "module" and entry["module"] in modules),
        key=lambda entry: entry["module"],
    )
    further = [name for name, permission in DEMO_NOTES.items() if may(role, permission)]
    names = [*core, GATEWAY_LISTED, *(entry["name"] for entry in built_in)]
    return [*names, *further] if "demo-notes" in modules else names


# The seeded module with a manifest: its tools and what they need, by name. Spec: scaigrid 12.
DEMO_NOTES = {
    "demo_notes_create": "demo-notes:notes.write",
    "demo_notes_get": "demo-notes:notes.read",
    "demo_notes_list": "demo-notes:notes.read",
}
# Which modules a seeded role finds enabled. Callers without a tenant are told of every module if
# they may ask, of none otherwise (scaigrid 4).
MODULES: dict[str, list[str]] = {
    "super_admin": [*TEN_MODULES, "demo-notes"],
    "partner_admin": [],
    "partner_viewer": [],
    "tenant_admin": ACME,
    "tenant_user": ACME,
    "tenant_viewer": ACME,
    "no_roles": ACME,
}


def expected_tools(role: str) -> list[str]:
    """Return what a seeded role sees by default, in order; ``other_`` roles belong to globex.

    Holds for a gateway that knows acme's modules whoever asks: with the service token of an acme
    user who may list them.
    """
    plain = role.removeprefix("other_")
    return visible(plain, GLOBEX if plain != role else MODULES[plain])
