"""Secret policies, which say how values are generated. Spec: scaivault 1 (SP1-SP4), 7."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find
from scaimcp.dev.vault.generators import check, generate
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row
from scaimcp.dev.vault.views import Body, Name, Short, chosen, free

BASE = "/v1/secret-policies"


class _Field(Body, frozen=True):
    name: Name
    generator: str
    config: Mapping[str, Any] = msgspec.field(default_factory=dict)


class _NewPolicy(Body, frozen=True):
    name: Short
    policy_type: Literal["password", "api_key", "oauth_client", "ssh_key", "custom"]
    fields: Annotated[tuple[_Field, ...], msgspec.Meta(min_length=1, max_length=20)]
    description: str = ""


def _one(call: Call) -> Row:
    return find(call.tenant.table("secret_policies"), call.params["id"], "secret_policy_not_found")


def _list(call: Call) -> Any:
    rows = chosen(call, call.tenant.table("secret_policies").values(), "policy_type")
    wanted = (True,) if call.flag("active_only") else (True, False)
    return page(call, [row for row in rows if row["is_active"] in wanted], "policies")


def _create(call: Call) -> Reply:
    body = msgspec.to_builtins(call.read(_NewPolicy))
    check(body["fields"])
    table = call.tenant.table("secret_policies")
    free(table.values(), body["name"])
    policy_id, now = call.vault.new_id("sp"), iso(call.now)
    row = {"id": policy_id, **body, "is_active": True, "created_at": now, "updated_at": now}
    table[policy_id] = row
    return Reply(row, 201)


def _preview(call: Call) -> Row:
    row = _one(call)
    return {"policy_id": row["id"], "values": generate(call.vault, row), "stored": False}


ROUTES = (
    Route("GET", BASE, _list, "policies:read", "list", "policy"),
    Route("POST", BASE, _create, "policies:write", "policy_create", "policy"),
    Route("GET", BASE + "/{id}", _one, "policies:read", "read", "policy"),
    Route("POST", BASE + "/{id}/preview", _preview, "policies:read", "read", "policy"),
)
