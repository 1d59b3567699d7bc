"""Service accounts and their API keys, which open nothing here. Spec: scaivault 1 (SA1-SA8), 7.

`app.py` switches these routes off.
"""

from typing import Annotated, Any, Literal

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, invalid, refuse
from scaimcp.dev.vault.generators import random_text
from scaimcp.dev.vault.paging import numbered
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row
from scaimcp.dev.vault.values import duration
from scaimcp.dev.vault.views import Body, Name, Short, chosen, free, view

BASE = "/v1/identity/service-accounts"
ROW = "id identity_id name status scopes created_at"
ONE = ROW + " description last_used_at"
KEY = "id name prefix scopes last_used_at expires_at created_at"
LONGEST = "365d"

Scopes = Annotated[tuple[str, ...], msgspec.Meta(max_length=50)]


class _NewAccount(Body, frozen=True):
    name: Name
    description: str = ""
    scopes: Scopes = ()


class _Change(Body, frozen=True):
    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType = msgspec.UNSET
    scopes: Scopes | msgspec.UnsetType = msgspec.UNSET
    status: Literal["active", "disabled"] | msgspec.UnsetType = msgspec.UNSET


class _NewKey(Body, frozen=True):
    name: Short
    scopes: Scopes | None = None
    expires_in: str = "90d"


def _table(call: Call) -> dict[str, Row]:
    return call.tenant.table("service_accounts")


def _account(call: Call) -> Row:
    return find(_table(call), call.params["id"], "service_account_not_found")


def _page(call: Call, rows: list[Row], container: str) -> Any:
    if "limit" in call.query:
        call.query = {"page_size": call.query["limit"], **call.query}
    return numbered(call, rows, container)


def _list(call: Call) -> Any:
    rows = chosen(call, _table(call).values(), "status")
    return _page(call, [view(row, ROW) for row in rows], "service_accounts")


def _create(call: Call) -> Reply:
    body = call.read(_NewAccount)
    free(_table(call).values(), body.name)
    row = {
        "id": call.vault.new_id("sa"),
        "identity_id": f"sa:{body.name}",
        "status": "active",
        "created_at": iso(call.now),
        "last_used_at": None,
        "keys": {},
        **msgspec.to_builtins(body),
    }
    _table(call)[row["id"]] = row
    return Reply(view(row, ONE), 201)


def _show(call: Call) -> Row:
    return view(_account(call), ONE)


def _change(call: Call) -> Row:
    row = _account(call)
    changes = msgspec.to_builtins(call.read(_Change))
    if changes.get("name", row["name"]) != row["name"]:
        free(_table(call).values(), changes["name"])
    row.update(changes)
    return view(row, ONE)


def _delete(call: Call) -> Row:
    row = _table(call).pop(_account(call)["id"])
    return {"id": row["id"], "deleted": True}


def _create_key(call: Call) -> Reply:
    account, body = _account(call), call.read(_NewKey)
    life = duration(body.expires_in)
    if life > duration(LONGEST):
        invalid("expires_in", f"must be at most {LONGEST}")
    scopes = list(account["scopes"] if body.scopes is None else body.scopes)
    beyond = sorted(set(scopes) - set(account["scopes"]))
    if beyond:
        refuse(403, "insufficient_scope", "The account lacks a scope.", required=beyond)
    text = f"skt_{random_text(40)}"
    key = {
        "id": call.vault.new_id("key"),
        "name": body.name,
        "prefix": text[:12],
        "key": text,
        "scopes": scopes,
        "last_used_at": None,
        "expires_at": iso(call.now + life),
        "created_at": iso(call.now),
    }
    account["keys"][key["id"]] = key
    return Reply(view(key, "id name prefix key scopes expires_at created_at"), 201)


def _list_keys(call: Call) -> Any:
    return _page(call, [view(key, KEY) for key in _account(call)["keys"].values()], "api_keys")


def _delete_key(call: Call) -> Row:
    keys = _account(call)["keys"]
    key: Row = find(keys, call.params["key_id"], "api_key_not_found")
    del keys[key["id"]]
    return {"id": key["id"], "deleted": True}


ROUTES = (
    Route("GET", BASE, _list, "admin", "list", "identity"),
    Route("POST", BASE, _create, "admin", "write", "identity"),
    Route("GET", BASE + "/{id}", _show, "admin", "read", "identity"),
    Route("PATCH", BASE + "/{id}", _change, "admin", "write", "identity"),
    Route("DELETE", BASE + "/{id}", _delete, "admin", "delete", "identity"),
    Route("POST", BASE + "/{id}/api-keys", _create_key, "admin", "write", "identity"),
    Route("GET", BASE + "/{id}/api-keys", _list_keys, "admin", "list", "identity"),
    Route("DELETE", BASE + "/{id}/api-keys/{key_id}", _delete_key, "admin", "delete", "identity"),
)
