"""Tools on certificates from public authorities. Spec: scaivault 1, AC1–AC6."""

from __future__ import annotations

from scaimcp.scaivault.records import Mask, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import DNS, EMAIL, ID, NAME, URL, Enum, Integer, Many, may, need

_NO_KEY = Mask(dropped=("private_key",))
_ACCOUNT_KEY = Mask(dropped=("account_key",))
_ACCOUNT_ROW = "id name provider environment email status created_at"
_ORDER_ROW = "id account_id status domains challenge_type certificate_id created_at expires_at"
_ORDER = f"{_ORDER_ROW} challenges[id domain type status token record_name record_value]"
_STATUS = Enum(("pending", "processing", "valid", "invalid"))
_PROVIDER = Enum(("letsencrypt", "zerossl", "buypass", "google", "custom"))
_CHALLENGE = Enum(("http-01", "dns-01", "tls-alpn-01"))
_ORDERING = (
    need("account_id", ID, "Id of the ACME account."),
    need("domains", Many(DNS, 1, 100), "Names on the certificate; a wildcard needs dns-01."),
    need("challenge_type", _CHALLENGE, "How the names are proven."),
    may("dns_provider_id", ID, "Who sets the DNS records; needed for dns-01."),
)
_ORDER_ROUTE = Route(
    "POST",
    "/v1/pki/acme/orders",
    body=("account_id", "domains", "challenge_type", "dns_provider_id"),
)

TOOLS = (
    ToolRecord(
        code="AC1",
        name="scaivault_list_acme_accounts",
        group="acme",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/pki/acme/accounts", query=("limit", "cursor")),
        arguments=paging(),
        description="List ACME accounts. Holds no secret value.",
        hints="1010",
        fields=_ACCOUNT_ROW,
        mask=_ACCOUNT_KEY,
        container=("accounts", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="AC2",
        name="scaivault_create_acme_account",
        group="acme",
        tool_class="write",
        permission="admin",
        route=Route(
            "POST",
            "/v1/pki/acme/accounts",
            body=("name", "provider", "email", "environment", "directory_url"),
        ),
        arguments=(
            need("name", NAME, "Name of the account."),
            need("provider", _PROVIDER, "The certificate authority."),
            need("email", EMAIL, "Address for its notices."),
            may(
                "environment", Enum(("production", "staging")), "Which of its services.", "staging"
            ),
            may("directory_url", URL, "Its directory; for custom, and only then."),
        ),
        description="Create an account with a public certificate authority (class write). Holds "
        "no secret value.",
        hints="0001",
        fields=_ACCOUNT_ROW,
        mask=_ACCOUNT_KEY,
    ),
    ToolRecord(
        code="AC3",
        name="scaivault_list_acme_orders",
        group="acme",
        tool_class="read",
        permission="read",
        route=Route(
            "GET", "/v1/pki/acme/orders", query=("account_id", "status", "limit", "cursor")
        ),
        arguments=(
            may("account_id", ID, "Only orders of this account."),
            may("status", _STATUS, "Only orders of this status."),
            *paging(),
        ),
        description="List ACME orders with their status. Holds no secret value.",
        hints="1010",
        fields=_ORDER_ROW,
        mask=_NO_KEY,
        container=("orders", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="AC4",
        name="scaivault_create_acme_order",
        group="acme",
        tool_class="write",
        permission="write",
        route=_ORDER_ROUTE,
        arguments=_ORDERING,
        description="Order a certificate from a public authority (class write); its challenges "
        "are to be completed next. Holds no secret value.",
        hints="0001",
        fields=_ORDER,
        mask=_NO_KEY,
        is_partial=True,
    ),
    ToolRecord(
        code="AC5",
        name="scaivault_complete_acme_challenge",
        group="acme",
        tool_class="write",
        permission="write",
        route=Route("POST", "/v1/pki/acme/orders/{order_id}/challenges/{challenge_id}/complete"),
        arguments=(
            need("order_id", ID, "Id of the order."),
            need("challenge_id", ID, "Id of the challenge."),
        ),
        description="Complete a challenge of an ACME order once its proof is in place (class "
        "write). Holds no secret value.",
        hints="0011",
        fields=_ORDER,
        mask=_NO_KEY,
        is_partial=True,
    ),
    ToolRecord(
        code="AC6",
        name="scaivault_request_certificate",
        group="acme",
        tool_class="issue",
        permission="issue",
        route=_ORDER_ROUTE,
        arguments=(
            *_ORDERING,
            may("wait_seconds", Integer(0, 120), "How long to wait for the certificate.", 30),
        ),
        description="Request a certificate from a public authority in one go: order, challenges, "
        "wait (class issue). Its private key, a secret value, stays in ScaiVault.",
        hints="0001",
        fields="order_id status certificate_id certificate ca_chain not_after",
        mask=Mask(hidden=("private_key",)),
        special="request_certificate",
        is_partial=True,
    ),
)
