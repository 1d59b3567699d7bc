"""Providers of models and what they offer. Spec: scaigrid 10."""

import re
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import PlatformError, conflict, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

TYPES = "enum(openai,anthropic,azure,mistral,qwen,google,scaiinfer,custom)"
PROVIDER_FIELDS = fields(
    f"name:str*, provider_type:{TYPES}*, base_url:str(<=2048), connection_config:map,"
    "status:enum(active,disabled)=active"
)
SECRET = re.compile(r"key|secret|token|password|credential|authorization", re.IGNORECASE)
HIDDEN = "***"
CONTEXT_WINDOW = 131_072
_provider = view("id name provider_type base_url status created_at")


def masked(config: dict[str, Any]) -> dict[str, Any]:
    """Return a connection configuration with every secret value hidden, at any depth."""
    return {
        name: masked(value)
        if isinstance(value, dict)
        else HIDDEN
        if SECRET.search(name) and value is not None
        else value
        for name, value in config.items()
    }


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return a new configuration in which a value sent back hidden keeps the stored one."""
    kept: dict[str, Any] = {}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            kept[name] = merged(before, value)
        else:
            kept[name] = before if value == HIDDEN and before is not None else value
    return kept


def provider_row(call: Call, provider_id: str) -> Row:
    """Return a provider; providers belong to the whole platform.

    Raises:
        PlatformError: `PROVIDER_NOT_FOUND`.
    """
    row = call.table("providers").get(provider_id)
    if row is None:
        raise not_found("PROVIDER")
    return row


def _show(call: Call, row: Row) -> Row:
    backends = call.table("backends").find(provider_id=row["id"])
    return {**_provider(row), "backend_count": len(backends)}


def _named(call: Call) -> Row:
    return provider_row(call, call.params["provider_id"])


def list_providers(call: Call) -> Reply:
    """List the providers."""
    wanted = {name: call.query[name] for name in ("provider_type",) if name in call.query}
    rows = call.table("providers").find(**wanted)
    return shape_a(call, rows, lambda row: _show(call, row))


def get_provider(call: Call) -> Row:
    """Return one provider."""
    return _show(call, _named(call))


def create_provider(call: Call) -> Row:
    """Add a provider."""
    return _show(
        call, call.created("providers", {"base_url": None, "connection_config": {}, **call.body})
    )


def update_provider(call: Call) -> Row:
    """Change the given fields; `connection_config` replaces the stored one."""
    row, changes = _named(call), dict(call.body)
    if "connection_config" in changes:
        changes["connection_config"] = merged(
            row["connection_config"], changes["connection_config"]
        )
    return _show(call, call.table("providers").update(row["id"], changes))


def delete_provider(call: Call) -> None:
    """Remove a provider that serves no backend."""
    row = _named(call)
    if call.table("backends").find(provider_id=row["id"]):
        raise conflict("The provider has backends.", "PROVIDER_HAS_BACKENDS")
    call.table("providers").delete(row["id"])


def discover(call: Call) -> Row:
    """Return what a provider offers: its mapped models and two that are made up from its type."""
    row = _named(call)
    if row["status"] != "active":
        raise PlatformError("PROVIDER_DISCOVERY_ERROR", "The provider is disabled.")
    offered = dict.fromkeys(
        backend["upstream_model"] for backend in call.table("backends").find(provider_id=row["id"])
    )
    mapped = set(offered)
    kinds = {name: _modality(call, name) for name in offered}
    kinds |= {f"{row['provider_type']}-{kind}-1": kind for kind in ("chat", "embedding")}
    return {
        "provider_id": row["id"],
        "models": [
            {
                "upstream_model": name,
                "modality": modality,
                "context_window": CONTEXT_WINDOW,
                "is_mapped": name in mapped,
            }
            for name, modality in kinds.items()
        ],
    }


def _modality(call: Call, upstream_model: str) -> str:
    """Return the modality of the model an upstream one is mapped to; chat while it is unmapped."""
    for backend in call.table("backends").find(upstream_model=upstream_model):
        model = call.table("models").get(backend["model_id"] or "")
        if model is not None:
            return str(model["modality"])
    return "chat"


PROVIDERS, PROVIDER, MANAGE = "/v1/providers", "/v1/providers/{provider_id}", "models:manage"

FAMILY = Family(
    endpoints=(
        Endpoint(
            "GET",
            PROVIDERS,
            MANAGE,
            list_providers,
            query=fields(f"@page, provider_type:{TYPES}"),
        ),
        Endpoint(
            "POST",
            PROVIDERS,
            MANAGE,
            create_provider,
            body=json_body(PROVIDER_FIELDS),
            audit="provider.create",
        ),
        Endpoint("GET", PROVIDER, MANAGE, get_provider),
        Endpoint(
            "PUT",
            PROVIDER,
            MANAGE,
            update_provider,
            body=json_body(PROVIDER_FIELDS.partial("provider_type")),
            audit="provider.update",
        ),
        Endpoint("DELETE", PROVIDER, MANAGE, delete_provider, audit="provider.delete"),
        Endpoint("POST", f"{PROVIDER}/discover", MANAGE, discover, audit="provider.discover"),
    )
)
