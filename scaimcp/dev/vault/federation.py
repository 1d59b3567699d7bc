"""Other vaults behind this one, played by a fixture. Spec: scaivault 1 (FE1-FE6), 7.

`secrets.py` asks `remote` on reads and `refuse_remote` on writes. A backend whose endpoint has a
host starting with `down.` cannot be reached.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.access import pattern
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, refuse
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row, Tenant
from scaimcp.dev.vault.store import NewVersion, live, write
from scaimcp.dev.vault.values import duration
from scaimcp.dev.vault.views import Body, Name, free, listing, showing, view

REMOTE_VALUES: Mapping[str, dict[str, Any]] = {
    "secret/data/app/db": {"username": "app", "password": "remote-db-demo"},
    "secret/data/app/mailer": {"password": "remote-mail-demo"},
    "prod/payments/stripe": {"key": "remote-stripe-demo"},
    "prod/payments/paypal": {"key": "remote-paypal-demo"},
}
SYNC_IDENTITY = "system:federation-sync"
ROW = "id name type mode path_mapping sync_interval status"
ONE = ROW + " config created_at"
DOWN = re.compile(r"https?://down\.")


class _NewBackend(Body, frozen=True):
    name: Name
    type: Literal[
        "hashicorp-vault", "aws-secrets-manager", "azure-key-vault", "google-secret-manager"
    ]
    config: Mapping[str, Any]
    path_mapping: Annotated[dict[str, str], msgspec.Meta(min_length=1, max_length=50)]
    mode: Literal["proxy", "sync"]
    sync_interval: str | None = None


class _Mapped(NamedTuple):
    backend: Row
    remote_path: str


def _base(text: str) -> str:
    """Return what stands before the first wildcard; all of it where there is none."""
    return re.split(r"[*?]", text, maxsplit=1)[0]


def _mapped(tenant: Tenant, path: str) -> _Mapped | None:
    for backend in tenant.table("backends").values():
        for glob, template in backend["path_mapping"].items():
            if backend["mode"] == "proxy" and pattern(glob).fullmatch(path):
                return _Mapped(backend, _base(template) + path.removeprefix(_base(glob)))
    return None


def remote(tenant: Tenant, path: str) -> dict[str, Any] | None:
    """Return the value of a proxied path; None where no proxy backend maps it.

    Raises:
        Refusal: 404 `secret_not_found` where the other vault has none, 503 `service_unavailable`.
    """
    found = _mapped(tenant, path)
    if found is None:
        return None
    if _status(found.backend) != "healthy":
        refuse(503, "service_unavailable", "The backend cannot be reached.")
    value = REMOTE_VALUES.get(found.remote_path)
    if value is None:
        refuse(404, "secret_not_found", "There is no secret at this path.", path=path)
    return value


def refuse_remote(tenant: Tenant, path: str) -> None:
    """Refuse to change a proxied path; others pass.

    Raises:
        Refusal: 403 `forbidden`.
    """
    if _mapped(tenant, path) is not None:
        refuse(403, "forbidden", "A proxied path is read-only.", path=path)


def _status(backend: Row) -> str:
    return "unreachable" if DOWN.match(str(backend["config"].get("endpoint"))) else "healthy"


def _one(call: Call) -> Row:
    return find(call.tenant.table("backends"), call.params["id"], "backend_not_found")


def _create(call: Call) -> Reply:
    body, table = call.read(_NewBackend), call.tenant.table("backends")
    free(table.values(), body.name)
    for glob in body.path_mapping:
        pattern(glob)
    interval = (body.sync_interval or "15m") if body.mode == "sync" else None
    if body.sync_interval is not None:
        duration(body.sync_interval)
    row = {
        **msgspec.to_builtins(body),
        "id": call.vault.new_id("fed"),
        "sync_interval": interval,
        "created_at": iso(call.now),
        "last_sync": None,
        "synced": {},
        "conflicts": [],
    }
    row["status"] = _status(row)
    table[row["id"]] = row
    return Reply(view(row, ONE), 201)


def _probe(call: Call) -> Row:
    row = _one(call)
    reachable = row["status"] == "healthy"
    connection = {"status": "connected" if reachable else "failed", "latency_ms": 15}
    return {
        **view(row, "id name status last_sync"),
        "reachable": reachable,
        "last_sync_duration_ms": None if row["last_sync"] is None else 40,
        "secrets_synced": len(row["synced"]),
        "connection": connection,
    }


def _sync(call: Call) -> Row:
    """Copy what the mapping names; a value that somebody wrote here stays, as a conflict."""
    row = _one(call)
    if row["mode"] != "sync":
        refuse(400, "invalid_request", "A proxy backend is not synced.")
    if row["status"] != "healthy":
        refuse(503, "service_unavailable", "The backend cannot be reached.")
    row.update(last_sync=iso(call.now), conflicts=[])
    for glob, template in row["path_mapping"].items():
        for remote_path, value in REMOTE_VALUES.items():
            path = _base(glob) + remote_path.removeprefix(_base(template))
            if remote_path.startswith(_base(template)) and pattern(glob).fullmatch(path):
                _copy(call, row, path, value)
    return {"id": row["id"], "status": "completed", "started_at": iso(call.now)}


def _copy(call: Call, row: Row, path: str, value: dict[str, Any]) -> None:
    local = live(call.tenant, path, call.now)
    if local is None or local.current.data != value:
        if local is not None and local.current.created_by != SYNC_IDENTITY:
            version = local.current.number
            conflict = {"path": path, "local_version": version, "detected_at": iso(call.now)}
            row["conflicts"].append(conflict)
            return
        write(call.tenant, path, NewVersion(data=value, by=SYNC_IDENTITY), call.now)
    row["synced"][path] = iso(call.now)


def _conflicts(call: Call) -> Any:
    return page(call, _one(call)["conflicts"], "conflicts", "path")


_list = listing("backends", "backends", ROW)
_show = showing("backends", "backend_not_found", ONE)
_BASE = "/v1/federation/backends"
_ONE = _BASE + "/{id}"
ROUTES = (
    Route("GET", _BASE, _list, "federation:read", "list", "federation"),
    Route("POST", _BASE, _create, "federation:write", "write", "federation"),
    Route("GET", _ONE, _show, "federation:read", "read", "federation"),
    Route("GET", _ONE + "/status", _probe, "federation:read", "read", "federation"),
    Route("POST", _ONE + "/sync", _sync, "federation:write", "federation_sync", "federation"),
    Route("GET", _ONE + "/conflicts", _conflicts, "federation:read", "list", "federation"),
)
