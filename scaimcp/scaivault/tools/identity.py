"""Tools on service accounts and their API keys. Spec: scaivault 1, SA1–SA8."""

from __future__ import annotations

from scaimcp.scaivault.records import Mask, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import (
    DESCRIPTION,
    DURATION,
    ID,
    NAME,
    SHORT,
    Enum,
    Many,
    Text,
    may,
    need,
)

_BASE = "/v1/identity/service-accounts"
_ACCOUNT = need("service_account_id", ID, "Id of the service account.")
_STATUS = Enum(("active", "disabled"))
_SCOPES = Many(Text(1, 128), 0, 50)
_ROW = "id identity_id name status scopes created_at"
_ONE = f"{_ROW} description last_used_at"
_KEY_ROW = "id name prefix scopes last_used_at expires_at created_at"

TOOLS = (
    ToolRecord(
        code="SA1",
        name="scaivault_list_service_accounts",
        group="identity",
        tool_class="read",
        permission="admin",
        route=Route("GET", _BASE, query=("status", "limit", "cursor")),
        arguments=(may("status", _STATUS, "Only accounts of this status."), *paging()),
        description="List service accounts with their scopes. Holds no secret value.",
        hints="1010",
        fields=_ROW,
        mask=Mask(dropped=("keys",)),
        container=("service_accounts", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="SA2",
        name="scaivault_get_service_account",
        group="identity",
        tool_class="read",
        permission="admin",
        route=Route("GET", f"{_BASE}/{{service_account_id}}"),
        arguments=(_ACCOUNT,),
        description="Show a service account. Holds no secret value.",
        hints="1010",
        fields=_ONE,
        mask=Mask(dropped=("keys",)),
        is_partial=True,
    ),
    ToolRecord(
        code="SA3",
        name="scaivault_create_service_account",
        group="identity",
        tool_class="write",
        permission="admin",
        route=Route("POST", _BASE, body=("name", "description", "scopes")),
        arguments=(
            need("name", NAME, "Name of the account."),
            may("description", DESCRIPTION, "What it is for."),
            may("scopes", _SCOPES, "What it may do."),
        ),
        description="Create a service account (class write). Holds no secret value.",
        hints="0000",
        fields=_ONE,
        mask=Mask(dropped=("keys",)),
        is_partial=True,
    ),
    ToolRecord(
        code="SA4",
        name="scaivault_update_service_account",
        group="identity",
        tool_class="write",
        permission="admin",
        route=Route(
            "PATCH",
            f"{_BASE}/{{service_account_id}}",
            body=("name", "description", "scopes", "status"),
        ),
        arguments=(
            _ACCOUNT,
            may("name", NAME, "New name."),
            may("description", DESCRIPTION, "New description."),
            may("scopes", _SCOPES, "All scopes that it has from now on."),
            may("status", _STATUS, "New status."),
        ),
        description="Change a service account (class write); what is not given stays. Holds no "
        "secret value.",
        hints="0110",
        fields=_ONE,
        mask=Mask(dropped=("keys",)),
        is_partial=True,
    ),
    ToolRecord(
        code="SA5",
        name="scaivault_delete_service_account",
        group="identity",
        tool_class="delete",
        permission="admin",
        route=Route("DELETE", f"{_BASE}/{{service_account_id}}"),
        arguments=(_ACCOUNT,),
        description="Delete a service account with its keys (class delete). Holds no secret value.",
        hints="0110",
        fields="id deleted",
        is_partial=True,
    ),
    ToolRecord(
        code="SA6",
        name="scaivault_create_api_key",
        group="identity",
        tool_class="issue",
        permission="admin",
        route=Route(
            "POST",
            f"{_BASE}/{{service_account_id}}/api-keys",
            body=("name", "scopes", "expires_in"),
        ),
        arguments=(
            _ACCOUNT,
            need("name", SHORT, "Name of the key."),
            may("scopes", _SCOPES, "What the key may do; at most what the account may."),
            may("expires_in", DURATION, "Life of the key, 365d at most.", "90d"),
        ),
        description="Create an API key (class issue). The result holds the key, a secret value "
        "that is shown once; where values are masked it is lost.",
        hints="0000",
        fields="id name prefix key scopes expires_at created_at",
        mask=Mask(hidden=("key",)),
        is_partial=True,
    ),
    ToolRecord(
        code="SA7",
        name="scaivault_list_api_keys",
        group="identity",
        tool_class="read",
        permission="admin",
        route=Route("GET", f"{_BASE}/{{service_account_id}}/api-keys", query=("limit", "cursor")),
        arguments=(_ACCOUNT, *paging()),
        description="List the API keys of a service account by name and prefix. Holds no secret "
        "value.",
        hints="1010",
        fields=_KEY_ROW,
        mask=Mask(dropped=("key",)),
        container=("api_keys", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="SA8",
        name="scaivault_delete_api_key",
        group="identity",
        tool_class="delete",
        permission="admin",
        route=Route("DELETE", f"{_BASE}/{{service_account_id}}/api-keys/{{key_id}}"),
        arguments=(_ACCOUNT, need("key_id", ID, "Id of the key.")),
        description="Delete an API key (class delete); it stops working. Holds no secret value.",
        hints="0110",
        fields="id deleted",
        is_partial=True,
    ),
)
