"""Usage: rows, sums, exports. Spec: scaigrid 10, 12 (accounting)."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso
from scaimcp.dev.platform.endpoint import Endpoint, Family, Raw, Reply
from scaimcp.dev.platform.errors import not_found, refuse
from scaimcp.dev.platform.exports import FORMAT, export
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

FIELDS = "id model backend_id user_id tenant_id tokens_in tokens_out cost latency_ms created_at"
COLUMNS = FIELDS.split()
FILTERS = (
    "start:ts, end:ts, period:enum(hour,day,week,month), user_id:id, tenant_id:id, model:str,"
    "backend_id:id"
)
PERIOD_SECONDS = {"hour": 3_600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
GROUP_FIELDS = {
    "model": "model",
    "user": "user_id",
    "backend": "backend_id",
    "tenant": "tenant_id",
}
OWN, TENANT, PARTNER = (
    "accounting:view_own",
    "accounting:view_tenant",
    "accounting:view_partner",
)
_usage = view(FIELDS)


def _in_reach(call: Call) -> list[Row]:
    """Return the usage the caller may see: their own, their tenant's, their partner's or all."""
    if not call.holds(TENANT):
        return call.table("usage").find(user_id=call.user_id)
    return call.rows("usage")


def check_times(call: Call) -> None:
    """Refuse an end before the start."""
    if "start" in call.query and "end" in call.query and call.query["end"] < call.query["start"]:
        refuse("end", "must not lie before start")


def within(rows: Iterable[Row], query: dict[str, Any], field: str = "created_at") -> list[Row]:
    """Return the rows from `start` (included) to `end` (excluded) of a query."""
    start, end = query.get("start", ""), query.get("end", "~")
    return [row for row in rows if start <= row[field] < end]


def _check_subjects(call: Call) -> None:
    user_id, tenant_id = call.query.get("user_id"), call.query.get("tenant_id")
    if user_id is not None and user_id != call.user_id:
        call.require(TENANT)
        user = call.table("users").get(user_id)
        if user is not None and not call.sees_tenant(user["tenant_id"]):
            raise not_found("USER")
    if tenant_id is not None and tenant_id != call.principal.tenant_id:
        call.require(PARTNER)
        if call.table("tenants").get(tenant_id) is None or not call.sees_tenant(tenant_id):
            raise not_found("TENANT")


def _chosen(call: Call) -> list[Row]:
    """Return the usage a query asks for; `period` is the time up to now."""
    check_times(call)
    _check_subjects(call)
    query = call.query
    wanted = {
        name: query[name]
        for name in ("user_id", "tenant_id", "model", "backend_id")
        if name in query
    }
    rows = within(_in_reach(call), query)
    if "period" in query:
        since = iso(call.platform.clock.now() - PERIOD_SECONDS[query["period"]])
        rows = [row for row in rows if row["created_at"] >= since]
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def list_usage(call: Call) -> Reply:
    """List usage rows, newest first."""
    return shape_a(call, _chosen(call), _usage, newest_first=True)


def summary(call: Call) -> list[Row]:
    """Return sums by model, user, backend or tenant, the costliest first."""
    name = GROUP_FIELDS[call.query["group_by"]]
    groups: dict[str | None, list[Row]] = {}
    for row in _chosen(call):
        groups.setdefault(row[name], []).append(row)
    sums = [_sum(key, rows) for key, rows in groups.items()]
    return sorted(sums, key=lambda group: (-Decimal(group["total_cost"]), str(group["group_key"])))


def _sum(key: str | None, rows: list[Row]) -> Row:
    tokens_in = sum(row["tokens_in"] for row in rows)
    tokens_out = sum(row["tokens_out"] for row in rows)
    cost = str(sum((Decimal(row["cost"]) for row in rows), Decimal(0)))
    return {
        "group_key": key,
        "request_count": len(rows),
        "input_tokens": tokens_in,
        "output_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "total_cost": cost,
        # The stand-in buys at the price it sells.
        "backend_cost": cost,
    }


def export_usage(call: Call) -> Raw:
    """Return usage rows as a file, oldest first."""
    check_times(call)
    return export(within(_in_reach(call), call.query), COLUMNS, call.query["format"])


ROOT = "/v1/accounting"

FAMILY = Family(
    endpoints=(
        Endpoint(
            "GET",
            f"{ROOT}/usage",
            OWN,
            list_usage,
            query=fields(f"{FILTERS}, limit:int(1-1000)=100, cursor:str(<=512)"),
        ),
        Endpoint(
            "GET",
            f"{ROOT}/usage/summary",
            OWN,
            summary,
            query=fields(f"{FILTERS}, group_by:enum(model,user,backend,tenant)=model"),
        ),
        Endpoint(
            "GET",
            f"{ROOT}/export",
            OWN,
            export_usage,
            query=fields(f"start:ts*, end:ts*, {FORMAT}"),
        ),
    )
)
