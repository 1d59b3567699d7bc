"""Audit queries. Spec: scaivault 7 (audit)."""

from collections import Counter
from typing import Any

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import refuse
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.routing import Route
from scaimcp.dev.vault.store import check_path
from scaimcp.dev.vault.values import DAY, instant

ACTIONS = frozenset({
    "read", "write", "delete", "list", "rotate", "policy_create", "policy_update", "policy_delete",
    "policy_bind", "policy_unbind", "pki_issue", "pki_sign", "pki_revoke", "pki_ca_create",
    "dynamic_generate", "dynamic_renew", "dynamic_revoke", "webhook_delivery",
    "subscription_event", "federation_sync", "identity_sync", "export_created",
})  # fmt: skip
EXACT = ("identity_id", "identity_type", "source_ip", "request_id")
TRAIL_DAYS = 30
TOP_PATHS = 10
DEFAULT_LIMIT = 100


def _window(call: Call) -> tuple[float, float]:
    """Return the asked window in Unix seconds: by default the last 24 hours."""
    until = instant(call.query["to"]) if "to" in call.query else call.now
    since = instant(call.query["from"]) if "from" in call.query else until - DAY
    return since, until


def _rows(call: Call, since: float, until: float) -> list[dict[str, Any]]:
    """Return the tenant's rows of a window with both ends, newest first."""
    rows = reversed(call.tenant.audit)
    return [row for row in rows if since <= instant(row["timestamp"]) <= until]


def _actions(call: Call) -> frozenset[str]:
    asked = frozenset(filter(None, call.query.get("action", "").split(",")))
    if not asked <= ACTIONS:
        refuse(400, "invalid_request", "There is no such action.", action=call.query["action"])
    return asked or ACTIONS


def query(call: Call) -> Any:
    """Return a page of rows by the documented filters, newest first."""
    actions = _actions(call)
    prefix = call.query.get("path_prefix", "")
    exact = {name: call.query[name] for name in EXACT if name in call.query}
    outcomes = (call.flag("success"),) if "success" in call.query else (True, False)
    rows = [
        row
        for row in _rows(call, *_window(call))
        if row["action"] in actions
        and row["success"] in outcomes
        and (row["secret_path"] or "").startswith(prefix)
        and all(row[name] == value for name, value in exact.items())
    ]
    return page(call, rows, "logs", default=DEFAULT_LIMIT)


def _totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    good = sum(row["success"] for row in rows)
    return {
        "total_events": len(rows),
        "successful_events": good,
        "failed_events": len(rows) - good,
    }


def summary(call: Call) -> dict[str, Any]:
    """Return the counts of a window."""
    since, until = _window(call)
    rows = _rows(call, since, until)
    paths = Counter(row["secret_path"] for row in rows if row["secret_path"])
    top = [{"path": path, "count": count} for path, count in paths.most_common(TOP_PATHS)]
    return {
        "from": iso(since),
        "to": iso(until),
        **_totals(rows),
        "by_action": Counter(row["action"] for row in rows),
        "top_paths": top,
    }


def trail(call: Call) -> dict[str, Any]:
    """Return one secret's rows of the last 30 days."""
    path = check_path("%" if "%" in call.raw_path else call.params["path"])
    window = _rows(call, call.now - TRAIL_DAYS * DAY, call.now)
    rows = [row for row in window if row["secret_path"] == path]
    return {"path": path, "period_days": TRAIL_DAYS, "totals": _totals(rows), "logs": rows}


ROUTES = (
    Route("GET", "/v1/audit/logs", query, "audit:read", None, "audit"),
    Route("GET", "/v1/audit/summary", summary, "audit:read", None, "audit"),
    Route("GET", "/v1/audit/secrets/{path:path}", trail, "audit:read", None, "audit"),
)
