"""Routing policies: how the backends of a model share its calls. Spec: scaigrid 10."""

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import invalid, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row, TableSpec

POLICY_FIELDS = fields(
    "name:str*, model_id:id*,"
    "strategy:enum(priority,weighted,round_robin,least_latency,lowest_cost)*,"
    "backend_ids:list<id>(<=50), fallback_model:str, max_retries:int(0-5)=1,"
    "status:enum(active,disabled)=active"
)
_policy = view("id name model_id strategy backend_ids fallback_model max_retries status created_at")


def _named(call: Call) -> Row:
    row = call.table("routing_policies").get(call.params["policy_id"])
    if row is None:
        raise not_found("ROUTING_POLICY")
    return row


def _check(call: Call, model_id: str) -> None:
    """Refuse backends that do not serve the model and a fallback that does not exist."""
    own = {row["id"] for row in call.table("backends").find(model_id=model_id)}
    faults = [
        (f"backend_ids[{number}]", "is not a backend of the model")
        for number, backend_id in enumerate(call.body.get("backend_ids", ()))
        if backend_id not in own
    ]
    fallback = call.body.get("fallback_model")
    if fallback is not None and call.table("models").first(slug=fallback) is None:
        faults.append(("fallback_model", "is not a model"))
    if faults:
        raise invalid(*faults)


def list_policies(call: Call) -> Reply:
    """List the routing policies."""
    wanted = {name: call.query[name] for name in ("model_id",) if name in call.query}
    return shape_a(call, call.table("routing_policies").find(**wanted), _policy)


def get_policy(call: Call) -> object:
    """Return one routing policy."""
    return _policy(_named(call))


def create_policy(call: Call) -> object:
    """Add a routing policy."""
    if call.table("models").get(call.body["model_id"]) is None:
        raise not_found("MODEL")
    _check(call, call.body["model_id"])
    row: Row = {"backend_ids": [], "fallback_model": None, **call.body}
    return _policy(call.created("routing_policies", row))


def update_policy(call: Call) -> object:
    """Change the given fields; `backend_ids` replaces the set."""
    row = _named(call)
    _check(call, row["model_id"])
    return _policy(call.table("routing_policies").update(row["id"], call.body))


def delete_policy(call: Call) -> None:
    """Remove a routing policy."""
    call.table("routing_policies").delete(_named(call)["id"])


POLICIES, POLICY = "/v1/routing-policies", "/v1/routing-policies/{policy_id}"
VIEW, MANAGE = "routing:view", "routing:manage"

FAMILY = Family(
    tables=(TableSpec("routing_policies", "rtp_", ("model_id",)),),
    endpoints=(
        Endpoint("GET", POLICIES, VIEW, list_policies, query=fields("@page, model_id:id")),
        Endpoint("GET", POLICY, VIEW, get_policy),
        Endpoint(
            "POST",
            POLICIES,
            MANAGE,
            create_policy,
            body=json_body(POLICY_FIELDS),
            audit="routing_policy.create",
        ),
        Endpoint(
            "PUT",
            POLICY,
            MANAGE,
            update_policy,
            body=json_body(POLICY_FIELDS.partial("model_id")),
            audit="routing_policy.update",
        ),
        Endpoint("DELETE", POLICY, MANAGE, delete_policy, audit="routing_policy.delete"),
    ),
)
