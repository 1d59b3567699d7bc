"""Webhooks and what was delivered to them. Spec: scaigrid 10, 12 (events)."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row

WEBHOOK_FIELDS = fields(
    "url:str(1-2048)*, events:list<str(1-128)>(1-64)*, secret:str(16-128),"
    "status:enum(active,inactive)=active, max_retries:int(0-10)=5"
)
TEST_EVENT = "webhook.test"
SWITCHED_OFF = "Nothing was sent: outgoing posts are switched off."
_webhook = view("id url events status max_retries consecutive_failures created_at")
_delivery = view("id event_type status status_code attempts duration_ms error created_at")


def _named(call: Call) -> Row:
    return call.find("webhooks", call.params["webhook_id"], "WEBHOOK")


def list_webhooks(call: Call) -> Reply:
    """List the webhooks."""
    return shape_a(call, call.rows("webhooks"), _webhook)


def get_webhook(call: Call) -> object:
    """Return one webhook, never with its secret."""
    return _webhook(_named(call))


def create_webhook(call: Call) -> object:
    """Add a webhook."""
    row: Row = {"secret": None, **call.body, "tenant_id": call.tenant_id, "consecutive_failures": 0}
    return _webhook(call.created("webhooks", row))


def update_webhook(call: Call) -> object:
    """Change the given fields."""
    return _webhook(call.table("webhooks").update(_named(call)["id"], call.body))


def delete_webhook(call: Call) -> None:
    """Remove a webhook with its deliveries."""
    row = _named(call)
    for delivery in call.table("deliveries").find(webhook_id=row["id"]):
        call.table("deliveries").delete(delivery["id"])
    call.table("webhooks").delete(row["id"])


async def send_test(call: Call) -> Row:
    """Send one test event now and tell what came back; without posts it stays pending."""
    hook, outbox = _named(call), call.platform.outbox
    payload: dict[str, object] = {"webhook_id": hook["id"]}
    delivery = outbox.record(hook, TEST_EVENT, payload)
    error = SWITCHED_OFF
    if outbox.posts:
        body = msgspec.json.encode({"id": delivery["id"], "type": TEST_EVENT, "data": payload})
        once = {**hook, "max_retries": 0}
        delivery = await outbox.post(call.platform.http, once, delivery, body)
        error = delivery["error"]
    return {
        "delivery_id": delivery["id"],
        "status_code": delivery["status_code"],
        "duration_ms": delivery["duration_ms"],
        "error": error,
    }


def list_deliveries(call: Call) -> Reply:
    """List the deliveries to a webhook, newest first."""
    wanted = {name: call.query[name] for name in ("status",) if name in call.query}
    since = call.query.get("since", "")
    rows = call.table("deliveries").find(webhook_id=_named(call)["id"], **wanted)
    return shape_a(
        call, [row for row in rows if row["created_at"] >= since], _delivery, newest_first=True
    )


def _check_url(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    if "url" not in body:
        return
    try:
        parts = urlsplit(body["url"])
        # Reading the port finds one that is no number.
        good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        yield "url", "must be an https URL"


WEBHOOKS, WEBHOOK, MANAGE = "/v1/webhooks", "/v1/webhooks/{webhook_id}", "webhooks:manage"

FAMILY = Family(
    endpoints=(
        Endpoint("GET", WEBHOOKS, MANAGE, list_webhooks, query=fields("@page")),
        Endpoint(
            "POST",
            WEBHOOKS,
            MANAGE,
            create_webhook,
            body=json_body(WEBHOOK_FIELDS, _check_url),
            audit="webhook.create",
        ),
        Endpoint("GET", WEBHOOK, MANAGE, get_webhook),
        Endpoint(
            "PUT",
            WEBHOOK,
            MANAGE,
            update_webhook,
            body=json_body(WEBHOOK_FIELDS.partial(), _check_url),
            audit="webhook.update",
        ),
        Endpoint("DELETE", WEBHOOK, MANAGE, delete_webhook, audit="webhook.delete"),
        Endpoint("POST", f"{WEBHOOK}/test", MANAGE, send_test, audit="webhook.test"),
        Endpoint(
            "GET",
            f"{WEBHOOK}/deliveries",
            MANAGE,
            list_deliveries,
            query=fields("@page, status:enum(success,failed,pending), since:ts"),
        ),
    )
)
