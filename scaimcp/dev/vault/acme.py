"""Certificates from simulated public authorities, driven by the clock. Spec: scaivault 7 (ACME).

An order is pending until its last challenge is completed, then processing for three seconds, then
valid with a certificate of the tenant's `acme-staging` authority, or invalid if one of its domains
starts with `fail.`. A pending order turns invalid after a week.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Annotated, Any, Literal

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, invalid
from scaimcp.dev.vault.generators import random_text
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.pki import NewCa, add_ca, certify
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row
from scaimcp.dev.vault.values import DAY
from scaimcp.dev.vault.views import Body, Name, chosen, free, listing, view
from scaimcp.dev.vault.x509 import Subject, new_key, private_pem

PROCESSING_SECONDS = 3
ORDER_SECONDS = 7 * DAY
LIFE_SECONDS = 90 * DAY
STAGING = NewCa("acme-staging", "(STAGING) Stand-in ACME Authority", "root", key_type="ec")
ACCOUNT = "id name provider environment email status created_at"
ORDER = "id account_id status domains challenge_type certificate_id created_at expires_at"


class _NewAccount(Body, frozen=True):
    name: Name
    provider: Literal["letsencrypt", "zerossl", "buypass", "google", "custom"]
    email: Annotated[str, msgspec.Meta(pattern=r"^[^@\s]+@[^@\s]+\Z")]
    environment: Literal["production", "staging"] = "staging"
    directory_url: str | None = None


class _NewOrder(Body, frozen=True):
    account_id: str
    domains: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)]
    challenge_type: Literal["http-01", "dns-01", "tls-alpn-01"]
    dns_provider_id: str | None = None


def _create_account(call: Call) -> Reply:
    body, table = call.read(_NewAccount), call.tenant.table("acme_accounts")
    free(table.values(), body.name)
    if (body.provider == "custom") != (body.directory_url is not None):
        invalid("directory_url", "is for custom providers, and needed there")
    row = {"id": call.vault.new_id("acct"), "status": "valid", "created_at": iso(call.now)}
    table[row["id"]] = {**msgspec.to_builtins(body), **row}
    return Reply(view(table[row["id"]], ACCOUNT), 201)


def _challenge(call: Call, kind: str, domain: str) -> Row:
    token = random_text(43)
    digest = urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
    is_dns = kind == "dns-01"
    return {
        "id": call.vault.new_id("chl"),
        "domain": domain,
        "type": kind,
        "status": "pending",
        "token": token,
        "record_name": f"_acme-challenge.{domain.removeprefix('*.')}" if is_dns else None,
        "record_value": digest if is_dns else None,
    }


def _create_order(call: Call) -> Reply:
    body = call.read(_NewOrder)
    find(call.tenant.table("acme_accounts"), body.account_id, "acme_account_not_found")
    is_dns = body.challenge_type == "dns-01"
    if any(domain.startswith("*.") for domain in body.domains) and not is_dns:
        invalid("challenge_type", "must be dns-01 for a wildcard")
    if is_dns and body.dns_provider_id is None:
        invalid("dns_provider_id", "is needed for dns-01")
    row = {
        **msgspec.to_builtins(body),
        "id": call.vault.new_id("ord"),
        "status": "pending",
        "certificate_id": None,
        "created_at": iso(call.now),
        "expires_at": iso(call.now + ORDER_SECONDS),
        "since": call.now,
        "challenges": [_challenge(call, body.challenge_type, name) for name in body.domains],
    }
    call.tenant.table("acme_orders")[row["id"]] = row
    return Reply(_shown(call, row), 201)


def _settle(call: Call, row: Row) -> Row:
    """Bring an order to where the clock has it by now."""
    waited = call.now - row["since"]
    if row["status"] == "pending" and waited >= ORDER_SECONDS:
        row["status"] = "invalid"
    if row["status"] == "processing" and waited >= PROCESSING_SECONDS:
        for challenge in row["challenges"]:
            failed = challenge["domain"].startswith("fail.")
            challenge["status"] = "invalid" if failed else "valid"
        reached = {challenge["status"] for challenge in row["challenges"]}
        row["status"] = "invalid" if "invalid" in reached else "valid"
        if row["status"] == "valid":
            row["certificate_id"] = _certify(call, row["domains"])["id"]
    return row


def _certify(call: Call, domains: list[str]) -> Row:
    made = [ca for ca in call.tenant.table("cas").values() if ca["name"] == STAGING.name]
    ca = made[0] if made else add_ca(call.vault, call.tenant, STAGING)
    key = new_key("ec", 256)
    subject = Subject(domains[0][:64], domains, (), call.now, call.now + LIFE_SECONDS)
    kept = {"role": None, "private_key": private_pem(key)}
    return certify(call.vault, call.tenant, ca, subject, key.public_key(), **kept)


def _shown(call: Call, row: Row) -> Row:
    shown = view(row, ORDER + " challenges")
    if row["certificate_id"] is None:
        return shown
    certificate = call.tenant.table("certificates")[row["certificate_id"]]
    return {**shown, **view(certificate, "certificate ca_chain not_after")}


def _order(call: Call) -> Row:
    row: Row = find(call.tenant.table("acme_orders"), call.params["id"], "acme_order_not_found")
    return _settle(call, row)


def _show_order(call: Call) -> Row:
    return _shown(call, _order(call))


def _list_orders(call: Call) -> Any:
    rows = [_settle(call, row) for row in call.tenant.table("acme_orders").values()]
    chosen_rows = chosen(call, rows, "account_id status")
    return page(call, [view(row, ORDER) for row in chosen_rows], "orders")


def _complete(call: Call) -> Row:
    row = _order(call)
    known = {challenge["id"]: challenge for challenge in row["challenges"]}
    challenge: Row = find(known, call.params["challenge_id"], "acme_challenge_not_found")
    if row["status"] == "pending" and challenge["status"] == "pending":
        challenge["status"] = "processing"
        if all(other["status"] == "processing" for other in known.values()):
            row.update(status="processing", since=call.now)
    return _shown(call, row)


_BASE = "/v1/pki/acme"
_list_accounts = listing("acme_accounts", "accounts", ACCOUNT)
_COMPLETE = _BASE + "/orders/{id}/challenges/{challenge_id}/complete"
ROUTES = (
    Route("GET", _BASE + "/accounts", _list_accounts, "pki:issue", "list", "acme"),
    Route("POST", _BASE + "/accounts", _create_account, "pki:admin", "write", "acme"),
    Route("GET", _BASE + "/orders", _list_orders, "pki:issue", "list", "acme"),
    Route("POST", _BASE + "/orders", _create_order, "pki:issue", "write", "acme"),
    Route("GET", _BASE + "/orders/{id}", _show_order, "pki:issue", "read", "acme"),
    Route("POST", _COMPLETE, _complete, "pki:issue", "write", "acme"),
)
