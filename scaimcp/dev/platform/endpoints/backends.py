"""Backends: which provider serves which model, and how well. Spec: scaigrid 10."""

import hashlib

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.endpoints.providers import masked, merged, provider_row
from scaimcp.dev.platform.errors import not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

BACKEND_FIELDS = fields(
    "name:str*, provider_id:id*, model_id:id, upstream_model:str*, connection_config:map,"
    "priority:int(0-1000)=100, weight:int(1-100)=1, status:enum(active,disabled)=active"
)
FILTERS = ("provider_id", "model_id", "health_status")
_backend = view(
    "id name provider_id provider_type model_id upstream_model connection_config priority weight"
    " status health_status created_at"
)


def _show(row: Row) -> Row:
    return {**_backend(row), "connection_config": masked(row["connection_config"])}


def _named(call: Call) -> Row:
    row = call.table("backends").get(call.params["backend_id"])
    if row is None:
        raise not_found("BACKEND")
    return row


def _references(call: Call) -> Row:
    """Check the ids of a body and return what the row takes from them."""
    if "model_id" in call.body and call.table("models").get(call.body["model_id"]) is None:
        raise not_found("MODEL")
    if "provider_id" not in call.body:
        return {}
    return {"provider_type": provider_row(call, call.body["provider_id"])["provider_type"]}


def list_backends(call: Call) -> Reply:
    """List the backends."""
    wanted = {name: call.query[name] for name in FILTERS if name in call.query}
    return shape_a(call, call.table("backends").find(**wanted), _show)


def get_backend(call: Call) -> Row:
    """Return one backend."""
    return _show(_named(call))


def create_backend(call: Call) -> Row:
    """Add a backend; it counts as healthy at once."""
    taken = _references(call)
    row: Row = {
        "model_id": None,
        "connection_config": {},
        **call.body,
        **taken,
        "health_status": "healthy",
    }
    return _show(call.created("backends", row))


def update_backend(call: Call) -> Row:
    """Change the given fields; `connection_config` replaces the stored one."""
    row = _named(call)
    changes = {**call.body, **_references(call)}
    if "connection_config" in changes:
        changes["connection_config"] = merged(
            row["connection_config"], changes["connection_config"]
        )
    return _show(call.table("backends").update(row["id"], changes))


def delete_backend(call: Call) -> None:
    """Remove a backend, also from the routing policies that name it."""
    row = _named(call)
    policies = call.table("routing_policies")
    for policy in policies.all():
        left = [backend_id for backend_id in policy["backend_ids"] if backend_id != row["id"]]
        if left != policy["backend_ids"]:
            policies.update(policy["id"], {"backend_ids": left})
    call.table("backends").delete(row["id"])


def health(call: Call) -> Row:
    """Return the state of a backend; a disabled one or one of a disabled provider takes no call."""
    row = _named(call)
    provider = call.table("providers").get(row["provider_id"])
    enabled = row["status"] == "active" and provider is not None and provider["status"] == "active"
    status = row["health_status"] if enabled else "unavailable"
    answer: Row = {"backend_id": row["id"], "status": status, "checked_at": call.now()}
    if status == "unavailable":
        error = "The backend does not answer." if enabled else "The backend is disabled."
        return {**answer, "latency_ms": None, "error": error}
    # Somewhere between 5 and 68 ms, the same for a backend every time.
    return {**answer, "latency_ms": 5 + hashlib.sha256(row["id"].encode()).digest()[0] // 4}


BACKENDS, BACKEND, MANAGE = "/v1/backends", "/v1/backends/{backend_id}", "models:manage"

FAMILY = Family(
    endpoints=(
        Endpoint(
            "GET",
            BACKENDS,
            MANAGE,
            list_backends,
            query=fields(
                "@page, provider_id:id, model_id:id,"
                "health_status:enum(healthy,degraded,unhealthy,unavailable)"
            ),
        ),
        Endpoint(
            "POST",
            BACKENDS,
            MANAGE,
            create_backend,
            body=json_body(BACKEND_FIELDS),
            audit="backend.create",
        ),
        Endpoint("GET", BACKEND, MANAGE, get_backend),
        Endpoint(
            "PUT",
            BACKEND,
            MANAGE,
            update_backend,
            body=json_body(BACKEND_FIELDS.partial()),
            audit="backend.update",
        ),
        Endpoint("DELETE", BACKEND, MANAGE, delete_backend, audit="backend.delete"),
        Endpoint("GET", f"{BACKEND}/health", MANAGE, health),
    )
)
