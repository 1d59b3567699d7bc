"""Event subscriptions. Spec: scaivault 1 (SU1-SU4), 7 (subscriptions).

A poll answers at once, whatever its `timeout`; webhooks are kept but never called.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.access import pattern
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, invalid, refuse
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row
from scaimcp.dev.vault.views import Body, Short, listing, showing, view

ROW = "id name paths events delivery status identity_id"
ONE = ROW + " filters created_at"

Texts = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=50)]


class _Delivery(Body, frozen=True, omit_defaults=True):
    type: Literal["webhook", "polling"]
    url: str | None = None
    secret: Annotated[str, msgspec.Meta(min_length=16, max_length=256)] | None = None
    buffer_size: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000


class _New(Body, frozen=True):
    name: Short
    paths: Texts
    events: Texts
    delivery: _Delivery
    filters: Mapping[str, Any] = msgspec.field(default_factory=dict)


class _Change(Body, frozen=True):
    paths: Texts | msgspec.UnsetType = msgspec.UNSET
    events: Texts | msgspec.UnsetType = msgspec.UNSET
    delivery: _Delivery | msgspec.UnsetType = msgspec.UNSET


class _Ack(Body, frozen=True):
    event_ids: tuple[str, ...]


def _one(call: Call) -> Row:
    return find(call.tenant.table("subscriptions"), call.params["id"], "subscription_not_found")


def _own(call: Call) -> Row:
    row = _one(call)
    if row["identity_id"] != call.identity.id:
        refuse(403, "forbidden", "Only the subscription's owner may do this.")
    return row


def _checked(body: _New | _Change) -> Row:
    """Return what a body sets; the signing secret of a webhook is never shown again."""
    if isinstance(body.paths, tuple):
        for glob in body.paths:
            pattern(glob)
    fields: Row = msgspec.to_builtins(body)
    if isinstance(body.delivery, _Delivery):
        delivery = body.delivery
        if (delivery.type == "webhook") != (delivery.url is not None):
            invalid("delivery.url", "is for webhooks, and needed there")
        shown = {"type": delivery.type, "buffer_size": delivery.buffer_size}
        fields["delivery"] = {**shown, **({"url": delivery.url} if delivery.url else {})}
    return fields


def _create(call: Call) -> Reply:
    row = {
        **_checked(call.read(_New)),
        "id": call.vault.new_id("sub"),
        "status": "active",
        "identity_id": call.identity.id,
        "created_at": iso(call.now),
        "start": len(call.tenant.events),
        "acknowledged": set(),
    }
    call.tenant.table("subscriptions")[row["id"]] = row
    return Reply(view(row, ONE), 201)


def _change(call: Call) -> Row:
    row = _own(call)
    row.update(_checked(call.read(_Change)))
    return view(row, ONE)


def _delete(call: Call) -> Row:
    row = call.tenant.table("subscriptions").pop(_one(call)["id"])
    return {"id": row["id"], "deleted": True}


def _event(event: Row) -> Row:
    data = dict(event["data"])
    path = {"path": data.pop("path")} if "path" in data else {}
    row = view(event, "event_type timestamp")
    return {"event_id": event["id"], **row, **path, "data": data}


def _waiting(call: Call, row: Row) -> list[Row]:
    """Return the newest events since the start that match, acknowledged ones left out.

    An event without a path, such as a certificate's, goes to whoever names its type.
    """
    globs = [pattern(glob) for glob in row["paths"]]
    events = [_event(event) for event in call.tenant.events[row["start"] :]]
    matching = [
        event
        for event in events
        if event["event_type"] in row["events"]
        and ("path" not in event or any(glob.fullmatch(event["path"]) for glob in globs))
        and event["event_id"] not in row["acknowledged"]
    ]
    return matching[-row["delivery"]["buffer_size"] :]


def _poll(call: Call) -> Row:
    row = _own(call)
    if row["delivery"]["type"] != "polling":
        refuse(400, "invalid_request", "The subscription delivers to a webhook.")
    events = _waiting(call, row)
    since = call.query.get("since_event_id")
    ids = [event["event_id"] for event in events]
    if since in ids:
        events = events[ids.index(since) + 1 :]
    most = call.number("max_events", 100, 1, 1000)
    return {"events": events[:most], "has_more": len(events) > most}


def _acknowledge(call: Call) -> Row:
    row, body = _own(call), call.read(_Ack)
    waiting = {event["event_id"] for event in _waiting(call, row)}
    row["acknowledged"].update(waiting.intersection(body.event_ids))
    return {"acknowledged": len(waiting.intersection(body.event_ids))}


_list = listing("subscriptions", "subscriptions", ROW)
_show = showing("subscriptions", "subscription_not_found", ONE)
_BASE = "/v1/subscriptions"
_ONE = _BASE + "/{id}"
ROUTES = (
    Route("GET", _BASE, _list, "subscriptions:read", "list", "subscription"),
    Route("POST", _BASE, _create, "subscriptions:write", "write", "subscription"),
    Route("GET", _ONE, _show, "subscriptions:read", "read", "subscription"),
    Route("PATCH", _ONE, _change, "subscriptions:write", "write", "subscription"),
    Route("DELETE", _ONE, _delete, "subscriptions:write", "delete", "subscription"),
    Route("GET", _ONE + "/poll", _poll, "subscriptions:read", "subscription_event", "poll"),
    Route("POST", _ONE + "/ack", _acknowledge, "subscriptions:read", "write", "poll"),
)
