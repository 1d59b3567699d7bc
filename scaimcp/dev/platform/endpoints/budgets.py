"""Budgets; inference counts in them and is refused by them. Spec: scaigrid 10, 12."""

from collections.abc import Callable, Iterable
from typing import Any

from scaimcp.dev.platform.accounting import LIMIT_FIELDS, period_end, refresh_budget
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.endpoints.users import reachable_user
from scaimcp.dev.platform.errors import PlatformError, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

SCOPES = "enum(partner,tenant,user,group)"
BUDGET_FIELDS = fields(
    f"scope:{SCOPES}*, scope_id:id*, period:enum(daily,weekly,monthly,total)*,"
    "cost_limit:money, token_limit:int(>=1), request_limit:int(>=1),"
    "hard_action:enum(block,notify,throttle)=block, soft_limit_pct:num(0-1)=0.8"
)
LIMITS = tuple(LIMIT_FIELDS.values())
_budget = view(
    "id scope scope_id period cost_limit token_limit request_limit hard_action soft_limit_pct"
    " used_cost used_tokens used_requests resets_at created_at"
)


def _show(call: Call, row: Row) -> object:
    return _budget(refresh_budget(call.platform, row))


def _partner(call: Call, partner_id: str) -> Row:
    """Return where a partner's budget belongs; nobody below the partner may set one."""
    if call.principal.reach != "platform" and partner_id != call.principal.partner_id:
        raise not_found("PARTNER")
    if call.table("partners").get(partner_id) is None:
        raise not_found("PARTNER")
    if call.principal.reach == "tenant":
        raise _too_high()
    return {"tenant_id": None, "partner_id": partner_id}


def _tenant(call: Call, tenant_id: str) -> Row:
    tenant = call.table("tenants").get(tenant_id)
    if tenant is None or not call.sees_tenant(tenant_id):
        raise not_found("TENANT")
    return {"tenant_id": tenant_id, "partner_id": tenant["partner_id"]}


def _user(call: Call, user_id: str) -> Row:
    user = reachable_user(call, user_id)
    return {"tenant_id": user["tenant_id"], "partner_id": user["partner_id"]}


def _group(call: Call, group_id: str) -> Row:
    return _tenant(call, call.find("groups", group_id, "GROUP")["tenant_id"])


HOMES: dict[str, Callable[[Call, str], Row]] = {
    "partner": _partner,
    "tenant": _tenant,
    "user": _user,
    "group": _group,
}


def _too_high() -> PlatformError:
    return PlatformError("AUTHZ_PERMISSION_DENIED", "The budget belongs to a higher level.")


def _within_walls(call: Call, row: Row) -> bool:
    """Tell whether a budget belongs to the caller's tenant, partner or platform."""
    reach = call.principal.reach
    if reach == "tenant" or row["tenant_id"] is not None:
        return call.sees_tenant(row["tenant_id"])
    return reach == "platform" or row.get("partner_id") == call.principal.partner_id


def _visible(call: Call, row: Row) -> bool:
    """Tell whether a budget concerns the caller, or everybody's in reach do."""
    if (row["scope"], row["scope_id"]) in call.principal.subjects():
        return True
    return call.holds("accounting:view_tenant") and _within_walls(call, row)


def _named(call: Call) -> Row:
    row = call.table("budgets").get(call.params["budget_id"])
    if row is None or not _visible(call, row):
        raise not_found("BUDGET")
    return row


def _managed(call: Call) -> Row:
    row = call.table("budgets").get(call.params["budget_id"])
    if row is None or not (_within_walls(call, row) or _visible(call, row)):
        raise not_found("BUDGET")
    if not _within_walls(call, row):
        raise _too_high()
    return row


def list_budgets(call: Call) -> Reply:
    """List the budgets that concern the caller and those in reach."""
    wanted = {name: call.query[name] for name in ("scope",) if name in call.query}
    rows = [row for row in call.table("budgets").find(**wanted) if _visible(call, row)]
    return shape_a(call, rows, lambda row: _show(call, row))


def get_budget(call: Call) -> object:
    """Return one budget."""
    return _show(call, _named(call))


def create_budget(call: Call) -> object:
    """Add a budget; it counts from now on."""
    body = call.body
    row: Row = {
        **dict.fromkeys(LIMITS),
        **body,
        **HOMES[body["scope"]](call, body["scope_id"]),
        "used_cost": "0",
        "used_tokens": 0,
        "used_requests": 0,
        "resets_at": period_end(body["period"], call.platform.clock.now()),
    }
    return _show(call, call.created("budgets", row))


def update_budget(call: Call) -> object:
    """Change limits or what happens at them; what was used stays."""
    return _show(call, call.table("budgets").update(_managed(call)["id"], call.body))


def delete_budget(call: Call) -> None:
    """Remove a budget."""
    call.table("budgets").delete(_managed(call)["id"])


def _check_limits(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if not any(name in body for name in LIMITS):
        yield "cost_limit", f"is required unless one of {', '.join(LIMITS[1:])} is given"


BUDGETS, BUDGET = "/v1/accounting/budgets", "/v1/accounting/budgets/{budget_id}"
OWN, MANAGE = "accounting:view_own", "accounting:manage_budgets"

FAMILY = Family(
    endpoints=(
        Endpoint("GET", BUDGETS, OWN, list_budgets, query=fields(f"@page, scope:{SCOPES}")),
        Endpoint("GET", BUDGET, OWN, get_budget),
        Endpoint(
            "POST",
            BUDGETS,
            MANAGE,
            create_budget,
            body=json_body(BUDGET_FIELDS, _check_limits),
            audit="budget.create",
        ),
        Endpoint(
            "PUT",
            BUDGET,
            MANAGE,
            update_budget,
            body=json_body(BUDGET_FIELDS.partial("scope", "scope_id", "period")),
            audit="budget.update",
        ),
        Endpoint("DELETE", BUDGET, MANAGE, delete_budget, audit="budget.delete"),
    )
)
