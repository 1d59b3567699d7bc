"""Tools on event subscriptions. Spec: scaivault 1, SU1–SU5."""

from __future__ import annotations

from scaimcp.scaivault.known import EVENTS
from scaimcp.scaivault.records import Mask, PathCheck, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import (
    GLOB,
    ID,
    SHORT,
    URL,
    Enum,
    Integer,
    Many,
    Open,
    Record,
    Text,
    may,
    need,
)

_BASE = "/v1/subscriptions"
_SUBSCRIPTION = need("subscription_id", ID, "Id of the subscription.")
_ROW = "id name paths events delivery{type url buffer_size} status identity_id"
_ONE = f"{_ROW} filters created_at"
_NO_SECRET = Mask(dropped=("delivery.secret",))
_SHOWN = PathCheck("show", "paths[]")
_DELIVERY = Record(
    (
        need("type", Enum(("webhook", "polling")), "How events arrive."),
        may("url", URL, "Where to; for webhook, and only then."),
        may("secret", Text(16, 256), "Signs what a webhook gets."),
        may("buffer_size", Integer(1, 10_000), "Events kept for polling.", 1_000),
    )
)

TOOLS = (
    ToolRecord(
        code="SU1",
        name="scaivault_list_subscriptions",
        group="subscriptions",
        tool_class="read",
        permission="read",
        route=Route("GET", _BASE, query=("limit", "cursor")),
        arguments=paging(),
        description="List event subscriptions. Holds no secret value.",
        hints="1010",
        fields=_ROW,
        checks=(PathCheck("rows", "paths[]"), _SHOWN),
        mask=_NO_SECRET,
        container=("subscriptions", "data"),
    ),
    ToolRecord(
        code="SU2",
        name="scaivault_get_subscription",
        group="subscriptions",
        tool_class="read",
        permission="read",
        route=Route("GET", f"{_BASE}/{{subscription_id}}"),
        arguments=(_SUBSCRIPTION,),
        description="Show an event subscription. Holds no secret value.",
        hints="1010",
        fields=_ONE,
        checks=(_SHOWN,),
        mask=_NO_SECRET,
    ),
    ToolRecord(
        code="SU3",
        name="scaivault_create_subscription",
        group="subscriptions",
        tool_class="write",
        permission="write",
        route=Route("POST", _BASE, body=("name", "paths", "events", "delivery", "filters")),
        arguments=(
            need("name", SHORT, "Name of the subscription."),
            need("paths", Many(GLOB, 1, 50), "Globs of the paths to hear of."),
            need("events", Many(Enum(EVENTS), 1, 50), "Events to hear of."),
            need("delivery", _DELIVERY, "How events arrive."),
            may("filters", Open(8_192), "Further conditions."),
        ),
        description="Subscribe to events of secrets (class write). Holds no secret value.",
        hints="0001",
        fields=_ONE,
        checks=(PathCheck("glob", "paths[]"), _SHOWN),
        mask=_NO_SECRET,
    ),
    ToolRecord(
        code="SU4",
        name="scaivault_delete_subscription",
        group="subscriptions",
        tool_class="delete",
        permission="delete",
        route=Route("DELETE", f"{_BASE}/{{subscription_id}}"),
        arguments=(_SUBSCRIPTION,),
        description="Delete an event subscription (class delete). Holds no secret value.",
        hints="0110",
        fields="id deleted",
        checks=(PathCheck("glob", "paths[]", is_pre_read=True),),
    ),
    ToolRecord(
        code="SU5",
        name="scaivault_list_event_types",
        group="subscriptions",
        tool_class="read",
        permission="read",
        route=Route("", ""),
        arguments=(),
        description="List the events that one can subscribe to, with their fields. Holds no secret "
        "value.",
        hints="1010",
        fields="event_type data_fields",
        special="event_types",
    ),
)
