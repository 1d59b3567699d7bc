"""The start state every fresh platform has. Spec: scaigrid 12 (seed, keys)."""

import hashlib
from collections.abc import Iterable

from scaimcp.dev.platform.identity import digest_of
from scaimcp.dev.platform.permissions import MODULE_KEYS
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row, Store

START = "2026-01-01T00:00:00.000Z"
# The keys are what tests name; the values are the logins, which are e-mail addresses.
SEED_LOGINS: dict[str, str] = {
    "super_admin": "root@platform.test",
    "partner_admin": "admin@north.test",
    "partner_viewer": "viewer@north.test",
    "tenant_admin": "admin@acme.test",
    "tenant_user": "user@acme.test",
    "tenant_viewer": "viewer@acme.test",
    "no_roles": "nobody@acme.test",
    "extra_permissions": "extra@acme.test",
    "custom_role": "writer@acme.test",
    "group_member": "member@acme.test",
    "scoped_key": "scoped@acme.test",
    "suspended_user": "suspended@acme.test",
    "other_partner_admin": "admin@south.test",
    "other_partner_viewer": "viewer@south.test",
    "other_tenant_admin": "admin@globex.test",
    "other_tenant_user": "user@globex.test",
    "other_tenant_viewer": "viewer@globex.test",
    "other_no_roles": "nobody@globex.test",
    "other_extra_permissions": "extra@globex.test",
}
EXTRA_PERMISSIONS = ["scaimatrix:view", "scaimatrix:search", "demo-notes:notes.read"]
# What differs from a tenant_user with a key for everything.
PECULIAR: dict[str, Row] = {
    "super_admin": {"roles": ["super_admin"]},
    "partner_admin": {"roles": ["partner_admin"]},
    "partner_viewer": {"roles": ["partner_viewer"]},
    "tenant_admin": {"roles": ["tenant_admin"]},
    "tenant_viewer": {"roles": ["tenant_viewer"]},
    "no_roles": {"roles": []},
    "extra_permissions": {"module_permissions": EXTRA_PERMISSIONS},
    "custom_role": {"roles": ["tenant_viewer"]},
    "group_member": {"roles": []},
    "suspended_user": {"status": "suspended"},
}
SCOPES: dict[str, list[str]] = {"scoped_key": ["models:list", "demo-notes:notes.read"]}
MODULE_NAMES = {
    "scaimcp": "ScaiMCP",
    "scailink": "ScaiLink",
    "scaibunker": "ScaiBunker",
    "scaimatrix": "ScaiMatrix",
    "scaiskills": "ScaiSkills",
    "scaiqueue": "ScaiQueue",
    "scaipersona": "ScaiPersona",
    "scaispeak": "ScaiSpeak",
    "scaiecho": "ScaiEcho",
    "scaimind": "ScaiMind",
    "scaicore": "ScaiCore",
    "scaibot": "ScaiBot",
    "demo-notes": "Demo notes",
}
OFF_AT_ACME = ("scaimind", "scaicore", "scaibot")
ON_AT_GLOBEX = ("scaimcp", "scailink", "scaimatrix")
# slug, modality, status, price in, price out, further fields
MODELS: tuple[tuple[str, str, str, str, str], ...] = (
    ("scailabs/echo-1", "chat", "active", "1.00", "2.00"),
    ("scailabs/embed-det-1", "embedding", "active", "0.10", "0.00"),
    ("scailabs/pixel-1", "image", "active", "5.00", "0.00"),
    ("scailabs/tone-1", "audio", "active", "3.00", "0.00"),
    ("scailabs/scribe-1", "audio", "active", "3.00", "0.00"),
    ("scailabs/offline-1", "chat", "active", "1.00", "2.00"),
    ("scailabs/legacy-0", "chat", "deprecated", "0.50", "1.00"),
)


def api_key(login: str) -> str:
    """Return the API key of a seeded login, such as `user@acme.test`."""
    return "sgk_" + hashlib.sha256(f"standin:{login}".encode()).hexdigest()[:40]


def write_seed(platform: Platform) -> None:
    """Write partners, tenants, users with keys, modules and models into an empty store."""
    store = platform.store
    homes = _organisations(store)
    for name, login in SEED_LOGINS.items():
        _user(store, name, login, homes)
    _custom_role(store, homes["acme"])
    _modules(store, homes)
    _models(store, platform.config.inference_models)


def _organisations(store: Store) -> dict[str, Row]:
    """Return partners and tenants by slug."""
    homes: dict[str, Row] = {}
    for slug in ("north", "south"):
        homes[slug] = store["partners"].insert(_home(slug))
    for slug, partner in (("acme", "north"), ("globex", "south")):
        tenant = {**_home(slug), "partner_id": homes[partner]["id"]}
        homes[slug] = store["tenants"].insert(tenant)
    return homes


def _home(slug: str) -> Row:
    return {
        "slug": slug,
        "display_name": slug.capitalize(),
        "status": "active",
        "settings": {},
        "created_at": START,
    }


def _user(store: Store, name: str, login: str, homes: dict[str, Row]) -> None:
    home = homes.get(login.partition("@")[2].partition(".")[0])
    tenant = home if home is not None and "partner_id" in home else None
    user = store["users"].insert(
        {
            "email": login,
            "display_name": name.replace("_", " ").capitalize(),
            "status": "active",
            "roles": ["tenant_user"],
            "custom_role_ids": [],
            "module_permissions": [],
            "tenant_id": tenant["id"] if tenant else None,
            "partner_id": (tenant["partner_id"] if tenant else home["id"]) if home else None,
            "last_login_at": None,
            "created_at": START,
            **PECULIAR.get(name.removeprefix("other_"), {}),
        }
    )
    store["api_keys"].insert(
        {
            "name": "seed",
            "prefix": api_key(login)[:8],
            "hash": digest_of(api_key(login)),
            "scopes": SCOPES.get(name, ["*"]),
            "tenant_id": user["tenant_id"],
            "assigned_user_id": user["id"],
            "expires_at": None,
            "last_used_at": None,
            "created_at": START,
        }
    )


def _custom_role(store: Store, tenant: Row) -> None:
    """Give one user a custom role and another a role through a mapped group."""
    writer = store["users"].find(email=SEED_LOGINS["custom_role"])[0]
    member = store["users"].find(email=SEED_LOGINS["group_member"])[0]
    role = store["custom_roles"].insert(
        {
            "tenant_id": tenant["id"],
            "name": "Writers",
            "slug": "writers",
            "description": "May use models and write notes.",
            "core_permissions": ["models:use", "modules:use"],
            "module_permissions": ["demo-notes:notes.read", "demo-notes:notes.write"],
            "created_by": writer["id"],
            "created_at": START,
            "updated_at": START,
        }
    )
    store["users"].update(writer["id"], {"custom_role_ids": [role["id"]]})
    group = store["groups"].insert(
        {
            "tenant_id": tenant["id"],
            "name": "Engineering",
            "external_id": "engineering",
            "member_ids": [member["id"]],
            "synced_at": START,
            "created_at": START,
        }
    )
    store["role_mappings"].insert(
        {
            "tenant_id": tenant["id"],
            "group_id": group["id"],
            "role": "tenant_user",
            "custom_role_id": None,
            "auto_revoke": True,
            "created_at": START,
        }
    )


def _modules(store: Store, homes: dict[str, Row]) -> None:
    for module_id, name in MODULE_NAMES.items():
        row: Row = {
            "module_id": module_id,
            "display_name": name,
            "version": "1.0.0",
            "description": f"{name}, as the stand-in platform offers it.",
            "admin_pages": [],
            "dependencies": [],
            "permissions": [f"{module_id}:{key}" for key in MODULE_KEYS[module_id]],
            "frontend_url": None,
            "global_config": {},
            "created_at": START,
        }
        if module_id == "demo-notes":
            row["mcp_tools_path"] = "/v1/modules/demo-notes/mcp/tools"
        store["modules"].insert(row)
        _module_state(store, homes["acme"], module_id, on=module_id not in OFF_AT_ACME)
        _module_state(store, homes["globex"], module_id, on=module_id in ON_AT_GLOBEX)
    _module_state(store, homes["south"], "scaibunker", on=False)


def _module_state(store: Store, home: Row, module_id: str, *, on: bool) -> None:
    store["module_states"].insert(
        {
            "module_id": module_id,
            "scope_id": home["id"],
            "status": "active" if on else "disabled",
            "config": {},
            "created_at": START,
        }
    )


def _models(store: Store, further: Iterable[str]) -> None:
    provider = store["providers"].insert(
        {
            "name": "Stand-in",
            "provider_type": "custom",
            "base_url": "https://models.standin.invalid/v1",
            "connection_config": {},
            "status": "active",
            "created_at": START,
        }
    )
    asked = [(*entry.partition("=")[::2], "active", "1.00", "2.00") for entry in further]
    for slug, modality, status, price_in, price_out in (*MODELS, *asked):
        name = slug.rpartition("/")[2]
        model = store["models"].insert(
            {
                "slug": slug,
                "display_name": name,
                "description": f"The stand-in's {name}.",
                "modality": modality or "chat",
                "context_window": 131_072,
                "max_output_tokens": 16_384,
                "input_price_per_mtok": price_in,
                "output_price_per_mtok": price_out,
                "default_params": {},
                "status": status,
                "created_at": START,
                "updated_at": START,
            }
        )
        store["backends"].insert(
            {
                "name": f"{name} on stand-in",
                "provider_id": provider["id"],
                "provider_type": provider["provider_type"],
                "model_id": model["id"],
                "upstream_model": slug,
                "connection_config": {},
                "priority": 100,
                "weight": 1,
                "status": "active",
                "health_status": "unavailable" if name == "offline-1" else "healthy",
                "created_at": START,
            }
        )
