"""Access policies. Spec: scaivault 7 (policies)."""

from typing import Annotated, Any, Literal

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.access import Context, Permission, Rule, decide, visible
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, refuse
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.store import check_path
from scaimcp.dev.vault.values import instant
from scaimcp.dev.vault.views import Body, Short, view

Rules = Annotated[list[Rule], msgspec.Meta(min_length=1, max_length=50)]


class PolicyBody(Body, frozen=True):
    """Body of POST and PUT."""

    name: Short
    rules: Rules
    description: str | None = None
    scope: Literal["tenant", "partner"] = "tenant"


class PolicyPatch(Body, frozen=True, omit_defaults=True):
    """Body of PATCH."""

    name: Short | None = None
    rules: Rules | None = None
    description: str | None = None
    is_active: bool | None = None


class BindingBody(Body, frozen=True):
    """Body of POST bindings."""

    identity_type: Literal["user", "service_account", "group"]
    identity_id: str
    expires_at: str | None = None


class TestContext(Body, frozen=True):
    """What a dry run pretends."""

    source_ip: str | None = None
    mfa_verified: bool = False
    timestamp: str | None = None


class TestBody(Body, frozen=True):
    """Body of POST test."""

    identity_id: str
    path: str
    permission: Permission
    context: TestContext = TestContext()


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    counts = {"rule_count": len(row["rules"]), "binding_count": len(row["bindings"])}
    return {**view(row, "id name is_active created_at updated_at"), **counts}


def _own(call: Call) -> dict[str, Any]:
    row: dict[str, Any] = find(call.tenant.table("policies"), call.params["id"], "policy_not_found")
    return row


def _told(call: Call, row: dict[str, Any], change: str) -> dict[str, Any]:
    """Name a changed policy in the audit row and in an event, and return it."""
    call.extra["policy_id"] = row["id"]
    call.vault.emit(call.tenant, f"policy.{change}", policy_id=row["id"], name=row["name"])
    return row


def list_policies(call: Call) -> Any:
    """Return a page of policies, without inactive ones unless asked for."""
    scope = call.query.get("scope")
    inactive = call.flag("include_inactive")
    rows = [
        _listed(row)
        for row in visible(call.vault, call.tenant)
        if scope in (None, row["scope"]) and (row["is_active"] or inactive)
    ]
    return page(call, rows, "policies")


def create(call: Call) -> Reply:
    """Create a policy; one for the whole partner needs a partner admin."""
    body = call.read(PolicyBody)
    if body.scope == "partner" and not call.identity.partner_admin:
        refuse(403, "forbidden", "Only partner admins make policies of the partner.")
    row = {
        "id": call.vault.new_id("pol"),
        **msgspec.to_builtins(body),
        "bindings": [],
        "is_active": True,
        "created_at": iso(call.now),
        "updated_at": iso(call.now),
    }
    call.tenant.table("policies")[row["id"]] = row
    return Reply(_told(call, row, "created"), 201)


def read(call: Call) -> dict[str, Any]:
    """Return one policy with rules and bindings."""
    known = {row["id"]: row for row in visible(call.vault, call.tenant)}
    return find(known, call.params["id"], "policy_not_found")


def replace(call: Call) -> dict[str, Any]:
    """Replace rules and names; bindings stay."""
    row = _own(call)
    row.update(msgspec.to_builtins(call.read(PolicyBody)), updated_at=iso(call.now))
    return _told(call, row, "updated")


def change(call: Call) -> dict[str, Any]:
    """Change the fields that are given."""
    row = _own(call)
    row.update(msgspec.to_builtins(call.read(PolicyPatch)), updated_at=iso(call.now))
    return _told(call, row, "updated")


def delete(call: Call) -> Reply:
    """Delete a policy; a bound one only with `force`."""
    row = _own(call)
    if row["bindings"] and not call.flag("force"):
        refuse(409, "policy_in_use", "The policy has bindings.", binding_count=len(row["bindings"]))
    del call.tenant.table("policies")[_told(call, row, "deleted")["id"]]
    return Reply({"id": row["id"], "deleted": True})


def list_bindings(call: Call) -> Any:
    """Return a page of a policy's bindings."""
    return page(call, read(call)["bindings"], "bindings")


def bind(call: Call) -> Reply:
    """Bind a policy to an identity."""
    body = call.read(BindingBody)
    if body.expires_at is not None:
        instant(body.expires_at)
    binding = {"id": call.vault.new_id("bnd"), **msgspec.to_builtins(body)}
    _own(call)["bindings"].append(binding)
    return Reply(binding, 201)


def unbind(call: Call) -> Reply:
    """Take a binding away."""
    bindings = _own(call)["bindings"]
    known = {binding["id"]: binding for binding in bindings}
    bindings.remove(find(known, call.params["binding"], "binding_not_found"))
    return Reply({"id": call.params["binding"], "deleted": True})


def test(call: Call) -> dict[str, Any]:
    """Say what a request would meet; nothing is written."""
    body = call.read(TestBody)
    groups = {i.id: i.groups for i in call.vault.tokens.values()}.get(body.identity_id, ())
    now = instant(body.context.timestamp) if body.context.timestamp else call.now
    context = Context(body.context.source_ip, body.context.mfa_verified, now)
    policies = visible(call.vault, call.tenant)
    who = (body.identity_id, *groups)
    decision = decide(policies, who, (check_path(body.path), body.permission), context)
    return decision._asdict()


BASE = "/v1/policies"
ONE = BASE + "/{id}"
BINDINGS = ONE + "/bindings"
UNBIND = BINDINGS + "/{binding}"
ROUTES = (
    Route("GET", BASE, list_policies, "policies:read", "list", "policy"),
    Route("POST", BASE, create, "policies:write", "policy_create", "policy"),
    Route("POST", BASE + "/test", test, "policies:read", None, "policy_test"),
    Route("GET", ONE, read, "policies:read", "read", "policy"),
    Route("PUT", ONE, replace, "policies:write", "policy_update", "policy"),
    Route("PATCH", ONE, change, "policies:write", "policy_update", "policy"),
    Route("DELETE", ONE, delete, "policies:write", "policy_delete", "policy"),
    Route("GET", BINDINGS, list_bindings, "policies:read", "list", "policy"),
    Route("POST", BINDINGS, bind, "policies:write", "policy_bind", "policy"),
    Route("DELETE", UNBIND, unbind, "policies:write", "policy_unbind", "policy"),
)
