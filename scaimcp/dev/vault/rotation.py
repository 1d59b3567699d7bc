"""Rotation policies, their secrets and what is due. Spec: scaivault 1 (RO1-RO3, S6), 7."""

from typing import Any

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.access import decision, require_access
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, invalid
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.records import Secret
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row
from scaimcp.dev.vault.store import NewVersion, live, new_value, require, rotate
from scaimcp.dev.vault.values import duration
from scaimcp.dev.vault.views import Body, Short, chosen, free, view

ROW = "id name interval interval_seconds grace_period auto_generate is_active"
ONE = ROW + " description warn_before secret_policy_id webhook_ids created_at"


class _NewPolicy(Body, frozen=True):
    name: Short
    interval: str
    description: str = ""
    grace_period: str = "48h"
    warn_before: str = ""
    auto_generate: bool = False
    secret_policy_id: str | None = None
    webhook_ids: tuple[str, ...] = ()


class _Assignment(Body, frozen=True):
    secret_path: str


class _Rotation(Body, frozen=True):
    secret_paths: tuple[str, ...] | None = None


def _table(call: Call) -> dict[str, Row]:
    return call.tenant.table("rotation_policies")


def _policy(call: Call) -> Row:
    return find(_table(call), call.params["id"], "rotation_policy_not_found")


def _secrets(call: Call, policy: Row) -> list[Secret]:
    """Return the policy's secrets in the order of their paths."""
    found = (live(call.tenant, path, call.now) for path in sorted(call.tenant.secrets))
    return [secret for secret in found if secret and secret.rotation_policy_id == policy["id"]]


def _shown(call: Call, policy: Row, names: str) -> Row:
    return {**view(policy, names), "secrets_count": len(_secrets(call, policy))}


def _create(call: Call) -> Reply:
    body = call.read(_NewPolicy)
    free(_table(call).values(), body.name)
    seconds = duration(body.interval)
    for text in filter(None, body.warn_before.split(",")):
        duration(text)
    if duration(body.grace_period) >= seconds:
        invalid("grace_period", "must be shorter than the interval")
    if body.secret_policy_id is not None:
        known = call.tenant.table("secret_policies")
        find(known, body.secret_policy_id, "secret_policy_not_found")
    row: Row = {"id": call.vault.new_id("rot"), "is_active": True, "created_at": iso(call.now)}
    more = {"interval_seconds": seconds, "history": []}
    _table(call)[row["id"]] = {**msgspec.to_builtins(body), **row, **more}
    return Reply(_shown(call, _table(call)[row["id"]], ONE), 201)


def _list(call: Call) -> Any:
    wanted = (True,) if call.flag("active_only") else (True, False)
    rows = [row for row in _table(call).values() if row["is_active"] in wanted]
    return page(call, [_shown(call, row, ROW) for row in rows], "data")


def _show(call: Call) -> Row:
    return _shown(call, _policy(call), ONE)


def _switch(call: Call) -> Row:
    """Enable or disable, as the last word of the path says."""
    policy = _policy(call)
    policy["is_active"] = call.raw_path.endswith("/enable")
    return _shown(call, policy, ONE)


def _assign(call: Call) -> Reply:
    policy = _policy(call)
    call.secret_path = call.read(_Assignment).secret_path
    secret = require(call.tenant, call.secret_path, call.now)
    secret.rotation_policy_id = policy["id"]
    secret.secret_policy_id = policy["secret_policy_id"]
    return Reply({"policy_id": policy["id"], "secret_path": secret.path}, 201)


def _detach(call: Call) -> Row:
    policy = _policy(call)
    call.secret_path = call.params["path"]
    known = {secret.path: secret for secret in _secrets(call, policy)}
    secret = find(known, call.secret_path, "secret_not_found")
    secret.rotation_policy_id = None
    return {"policy_id": policy["id"], "secret_path": secret.path, "detached": True}


def _rotate(call: Call) -> list[Row]:
    """Rotate all secrets of a policy, or those named; without auto_generate only ask for it."""
    policy = _policy(call)
    known = {secret.path: secret for secret in _secrets(call, policy)}
    paths = call.read(_Rotation).secret_paths
    for path in known if paths is None else paths:
        if path not in known:
            invalid("secret_paths", "must belong to the policy")
        require_access(call, path, "rotate")
    items = [_rotated(call, policy, known[path]) for path in (known if paths is None else paths)]
    call.secret_path = items[0]["secret_path"] if len(items) == 1 else None
    policy["history"] = [*reversed(items), *policy["history"]]
    return items


def _rotated(call: Call, policy: Row, secret: Secret) -> Row:
    item = {
        "id": call.vault.new_id("rh"),
        "policy_id": policy["id"],
        "secret_path": secret.path,
        "status": "pending",
        "old_version": secret.current.number,
        "new_version": None,
        "grace_period_ends": None,
        "auto_generated": policy["auto_generate"],
        "rotated_at": iso(call.now),
    }
    emit, named = call.vault.emit, {"path": secret.path, "rotation_policy_id": policy["id"]}
    if not policy["auto_generate"]:
        emit(call.tenant, "rotation.due", due_at=iso(call.now), due_now=True, **named)
        return item
    new = NewVersion(data=new_value(call.vault, call.tenant, secret), by="system:rotation")
    grace = duration(policy["grace_period"])
    done = rotate(call.tenant, secret.path, new, call.now, grace)
    ends = iso(done["grace_period_ends"])
    versions = view(done, "old_version new_version")
    told = {**named, **versions, "grace_period_ends": ends, "auto_generated": True}
    emit(call.tenant, "secret.rotated", rotation_policy_name=policy["name"], **told)
    emit(call.tenant, "rotation.completed", new_version=done["new_version"], **named)
    return {**item, **versions, "status": "success", "grace_period_ends": ends}


def _history(call: Call) -> Any:
    return page(call, chosen(call, _policy(call)["history"], "status"), "data")


def _due(call: Call) -> Any:
    """Return what is due within the asked hours, of the secrets that the caller may list."""
    until = call.now + call.number("within_hours", 24, 0, 8760) * 3600
    overdue = call.flag("include_overdue", True)
    rows = []
    for policy in _table(call).values():
        if not policy["is_active"] or call.query.get("policy_id", policy["id"]) != policy["id"]:
            continue
        for secret in _secrets(call, policy):
            due = secret.current.created_at + policy["interval_seconds"]
            if due > until or (due <= call.now and not overdue):
                continue
            if decision(call, secret.path, "list").allowed:
                rows.append(_due_row(call, policy, secret, due))
    return page(call, sorted(rows, key=lambda row: row["due_at"]), "data", "secret_path")


def _due_row(call: Call, policy: Row, secret: Secret, due: float) -> Row:
    last = secret.last_rotated_at
    return {
        "secret_path": secret.path,
        "policy_id": policy["id"],
        "due_at": iso(due),
        "overdue": due <= call.now,
        "last_rotated_at": None if last is None else iso(last),
    }


_BASE = "/v1/rotation/policies"
_ONE = _BASE + "/{id}"
ROUTES = (
    Route("GET", "/v1/rotation/due", _due, "secrets:rotate", "list", "policy"),
    Route("GET", _BASE, _list, "admin", "list", "policy"),
    Route("POST", _BASE, _create, "admin", "policy_create", "policy"),
    Route("GET", _ONE, _show, "admin", "read", "policy"),
    Route("POST", _ONE + "/enable", _switch, "admin", "policy_update", "policy"),
    Route("POST", _ONE + "/disable", _switch, "admin", "policy_update", "policy"),
    Route("POST", _ONE + "/secrets", _assign, "admin", "policy_bind", "policy"),
    Route("DELETE", _ONE + "/secrets/{path:path}", _detach, "admin", "policy_unbind", "policy"),
    Route("POST", _ONE + "/rotate", _rotate, "secrets:rotate", "rotate", "policy"),
    Route("GET", _ONE + "/history", _history, "audit:read", "list", "policy"),
)
