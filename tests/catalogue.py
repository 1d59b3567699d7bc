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
    return [*core, GATEWAY_LISTED, *(entry["name"] for entry in built_in)]
