"""Credentials made on demand, and their leases. Spec: scaivault 1 (DY1-DY10), 7 (dynamic)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, invalid, refuse
from scaimcp.dev.vault.generators import random_text
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row
from scaimcp.dev.vault.store import live
from scaimcp.dev.vault.values import duration
from scaimcp.dev.vault.views import Body, Name, chosen, free, listing, showing, view

ENGINE = "id name type default_ttl max_ttl status created_at"
ROLE = "name engine creation_statements revocation_statements default_ttl max_ttl"
LEASE = "lease_id engine role identity_id issued_at"
DATABASE_SETTINGS = ("plugin", "connection_url")

Statements = Annotated[tuple[str, ...], msgspec.Meta(max_length=20)]


class _NewEngine(Body, frozen=True):
    name: Name
    type: Literal["database", "aws", "azure", "gcp", "ssh", "custom"]
    config: Mapping[str, str | int | float | bool | None]
    default_ttl: str = "1h"
    max_ttl: str = "24h"


class _NewRole(Body, frozen=True):
    name: Name
    creation_statements: Annotated[Statements, msgspec.Meta(min_length=1)]
    revocation_statements: Statements = ()
    default_ttl: str | None = None
    max_ttl: str | None = None


class _Wanted(Body, frozen=True):
    ttl: str | None = None
    increment: str | None = None


def _at_most(field: str, text: str, longest: str) -> int:
    seconds = duration(text)
    if seconds > duration(longest):
        invalid(field, f"must be at most {longest}")
    return seconds


def _check_settings(call: Call, kind: str, config: Mapping[str, Any]) -> None:
    """Refuse settings that reach nothing; the root credentials are a secret of this vault."""
    needed = DATABASE_SETTINGS if kind == "database" else ()
    missing = [name for name in needed if not config.get(name)]
    if missing:
        refuse(400, "invalid_config", "A setting is missing.", missing=missing)
    path = str(config.get("root_credentials_path"))
    if live(call.tenant, path, call.now) is None:
        text = "The root credentials do not exist."
        refuse(400, "invalid_config", text, root_credentials_path=path)


def _engines(call: Call) -> dict[str, Row]:
    return call.tenant.table("engines")


def _engine(call: Call) -> Row:
    return find(_engines(call), call.params["engine"], "engine_not_found")


def _create_engine(call: Call) -> Reply:
    body = call.read(_NewEngine)
    free(_engines(call).values(), body.name)
    _at_most("default_ttl", body.default_ttl, body.max_ttl)
    _check_settings(call, body.type, body.config)
    row = {"id": call.vault.new_id("eng"), "status": "healthy", "created_at": iso(call.now)}
    _engines(call)[body.name] = {**msgspec.to_builtins(body), **row, "roles": {}}
    return Reply(view(_engines(call)[body.name], ENGINE + " config"), 201)


def _create_role(call: Call) -> Reply:
    engine, body = _engine(call), call.read(_NewRole)
    free(engine["roles"].values(), body.name)
    longest = body.max_ttl or engine["max_ttl"]
    _at_most("max_ttl", longest, engine["max_ttl"])
    usual = body.default_ttl or min(engine["default_ttl"], longest, key=duration)
    _at_most("default_ttl", usual, longest)
    row = {**msgspec.to_builtins(body), "engine": engine["name"]}
    engine["roles"][body.name] = {**row, "default_ttl": usual, "max_ttl": longest}
    return Reply(engine["roles"][body.name], 201)


def _list_roles(call: Call) -> Any:
    rows = _engine(call)["roles"].values()
    return page(call, [view(row, ROLE) for row in rows], "roles", "name")


def _generate(call: Call) -> Row:
    engine = _engine(call)
    role: Row = find(engine["roles"], call.params["role"], "role_not_found")
    ttl = call.read(_Wanted).ttl or role["default_ttl"]
    life = _at_most("ttl", ttl, role["max_ttl"])
    _check_settings(call, engine["type"], engine["config"])
    user, password = f"v_{role['name']}_{random_text(8, 'hex')}", random_text(32)
    credentials = {"username": user, "password": password}
    url = engine["config"].get("connection_url")
    if url is not None:
        filled = str(url).replace("{{username}}", user).replace("{{password}}", password)
        credentials["connection_url"] = filled
    row = {
        "lease_id": call.vault.new_id("lease"),
        "engine": engine["name"],
        "role": role["name"],
        "identity_id": call.identity.id,
        "issued_at": iso(call.now),
        "ends": call.now + life,
        "last": call.now + duration(role["max_ttl"]),
        "usual": duration(role["default_ttl"]),
        "revoked": None,
    }
    call.tenant.table("leases")[row["lease_id"]] = row
    shown = view(_lease_row(call, row), "lease_id engine role expires_at renewable")
    return {**shown, "credentials": credentials, "ttl": ttl}


def _lease_row(call: Call, row: Row) -> Row:
    """Return a lease as the clock has it now, without its credential."""
    if row["revoked"] is not None:
        status = "revoked"
    else:
        status = "expired" if row["ends"] <= call.now else "active"
    renewable = status == "active" and row["ends"] < row["last"]
    expires_at = iso(row["ends"])
    return {**view(row, LEASE), "expires_at": expires_at, "renewable": renewable, "status": status}


def _list_leases(call: Call) -> Any:
    rows = [_lease_row(call, row) for row in call.tenant.table("leases").values()]
    return page(call, chosen(call, rows, "engine role status"), "leases", "lease_id")


def _lease(call: Call) -> Row:
    """Return a lease that has not expired; an expired one is gone."""
    row: Row = find(call.tenant.table("leases"), call.params["id"], "lease_not_found")
    if _lease_row(call, row)["status"] == "expired":
        refuse(404, "lease_not_found", "The lease has expired.")
    return row


def _renew(call: Call) -> Row:
    row = _lease(call)
    if row["revoked"] is not None:
        refuse(404, "lease_not_found", "The lease was revoked.")
    increment = call.read(_Wanted).increment
    more = row["usual"] if increment is None else duration(increment)
    row["ends"] = min(row["ends"] + more, row["last"])
    return view(_lease_row(call, row), "lease_id expires_at renewable")


def _revoke(call: Call) -> Row:
    row = _lease(call)
    if row["revoked"] is None:
        row["revoked"] = call.now
    return {**view(row, "lease_id"), "status": "revoked", "revoked_at": iso(row["revoked"])}


_BASE = "/v1/dynamic/engines"
_list_engines = listing("engines", "engines", ENGINE, "type", "name")
_show_engine = showing("engines", "engine_not_found", ENGINE + " config", "engine")
_ONE, _LEASES = _BASE + "/{engine}", "/v1/dynamic/leases"
_CREDS = _ONE + "/creds/{role}"
ROUTES = (
    Route("GET", _BASE, _list_engines, "dynamic:read", "list", "dynamic_admin"),
    Route("POST", _BASE, _create_engine, "dynamic:manage", "write", "dynamic_admin"),
    Route("GET", _ONE, _show_engine, "dynamic:read", "read", "dynamic_admin"),
    Route("GET", _ONE + "/roles", _list_roles, "dynamic:read", "list", "dynamic_admin"),
    Route("POST", _ONE + "/roles", _create_role, "dynamic:manage", "write", "dynamic_admin"),
    Route("POST", _CREDS, _generate, "dynamic:read", "dynamic_generate", "dynamic_generate"),
    Route("GET", _LEASES, _list_leases, "dynamic:read", "list", "lease"),
    Route("POST", _LEASES + "/{id}/renew", _renew, "dynamic:read", "dynamic_renew", "lease"),
    Route("POST", _LEASES + "/{id}/revoke", _revoke, "dynamic:read", "dynamic_revoke", "lease"),
)
