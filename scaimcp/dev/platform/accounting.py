"""Usage rows, budgets and audit rows. Spec: scaigrid 12 (accounting, audit)."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.clock import iso
from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row

MILLION = Decimal(1_000_000)
CENT = Decimal("0.000001")
LIMIT_FIELDS = {
    "used_cost": "cost_limit",
    "used_tokens": "token_limit",
    "used_requests": "request_limit",
}


def cost_of(model: Row, tokens_in: int, tokens_out: int) -> Decimal:
    """Return what some tokens cost at a model's prices, to the millionth."""
    price_in = Decimal(model.get("input_price_per_mtok") or "0")
    price_out = Decimal(model.get("output_price_per_mtok") or "0")
    cost = (price_in * tokens_in + price_out * tokens_out) / MILLION
    return cost.quantize(CENT, ROUND_HALF_UP)


def check_budgets(call: Call) -> None:
    """Refuse an inference call that a used-up budget blocks; call it before any work.

    Raises:
        PlatformError: `BUDGET_EXCEEDED`.
    """
    for budget in _budgets(call):
        if budget["hard_action"] == "block" and _share(budget) >= 1:
            raise PlatformError("BUDGET_EXCEEDED", f"The {budget['scope']} budget is used up.")


def charge(call: Call, model: Row, tokens_in: int, tokens_out: int, latency_ms: int = 1) -> Row:
    """Write the usage row of one inference call and count it in every budget it falls under.

    Returns:
        The usage row; a budget that crosses its soft or hard limit writes an event.
    """
    principal = call.principal
    cost = cost_of(model, tokens_in, tokens_out)
    for budget in _budgets(call):
        before = _share(budget)
        row = call.table("budgets").update(
            budget["id"],
            {
                "used_cost": str(Decimal(budget["used_cost"]) + cost),
                "used_tokens": budget["used_tokens"] + tokens_in + tokens_out,
                "used_requests": budget["used_requests"] + 1,
            },
        )
        _announce(call, row, before)
    return call.table("usage").insert(
        {
            "model": model["slug"],
            "backend_id": model.get("backend_id"),
            "user_id": principal.user_id,
            "tenant_id": principal.tenant_id,
            "partner_id": principal.partner_id,
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "cost": str(cost),
            "latency_ms": latency_ms,
        }
    )


def refresh_budget(platform: Platform, budget: Row) -> Row:
    """Start a new period of a budget whose period has ended; returns the row as it now is."""
    if budget["resets_at"] is None or budget["resets_at"] > platform.clock.iso():
        return budget
    changes = {
        "used_cost": "0",
        "used_tokens": 0,
        "used_requests": 0,
        "resets_at": period_end(budget["period"], platform.clock.now()),
    }
    return platform.store["budgets"].update(budget["id"], changes)


def period_end(period: str, now: float) -> str | None:
    """Return when the budget period containing `now` ends; None for `total`."""
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    ends = {
        "daily": day + timedelta(days=1),
        "weekly": day + timedelta(days=7 - day.weekday()),
        "monthly": (day.replace(day=1) + timedelta(days=32)).replace(day=1),
    }
    return iso(ends[period].timestamp()) if period in ends else None


def write_audit(call: Call, action: str, error: PlatformError | None) -> None:
    """Write the audit row of one call; called by the framework for endpoints with `audit`."""
    principal = call.principal
    details = dict(call.audit_details)
    if error is not None:
        details["code"] = error.code
    call.table("audit").insert(
        {
            "timestamp": call.now(),
            "action": action,
            "actor_id": principal.user_id,
            "actor_email": principal.user["email"],
            "actor_type": principal.subject_type,
            "tenant_id": principal.tenant_id,
            "partner_id": principal.partner_id,
            "resource_type": action.split(".")[-2],
            "resource_id": call.resource_id,
            "status": "SUCCESS" if error is None else "FAILURE",
            "ip_address": call.client_ip,
            "user_agent": call.headers.get("user-agent"),
            "details": details,
        }
    )


def _budgets(call: Call) -> list[Row]:
    table = call.table("budgets")
    return [
        refresh_budget(call.platform, budget)
        for scope, scope_id in sorted(call.principal.subjects())
        for budget in table.find(scope_id=scope_id, scope=scope)
    ]


def _share(budget: Row) -> Decimal:
    """Return the largest used share of a budget's limits; 1 is used up."""
    shares = [
        Decimal(str(budget[used])) / max(Decimal(str(budget[limit])), CENT)
        for used, limit in LIMIT_FIELDS.items()
        if budget.get(limit) is not None
    ]
    return max(shares, default=Decimal(0))


def _announce(call: Call, budget: Row, before: Decimal) -> None:
    after = _share(budget)
    soft = Decimal(str(budget["soft_limit_pct"]))
    for limit, event in ((soft, "budget.soft_limit"), (Decimal(1), "budget.hard_limit")):
        if before < limit <= after:
            payload: dict[str, object] = {"budget_id": budget["id"], "used_share": float(after)}
            call.platform.outbox.emit(call.principal.tenant_id, event, payload)
