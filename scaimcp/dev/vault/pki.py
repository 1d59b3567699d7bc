"""Certificate authorities, roles and certificates, all real. Spec: scaivault 1 (PK1-PK9), 7."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Literal

import msgspec
from cryptography import x509 as library
from cryptography.hazmat.primitives.serialization import Encoding

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import find, invalid, refuse
from scaimcp.dev.vault.paging import page
from scaimcp.dev.vault.routing import Reply, Route
from scaimcp.dev.vault.state import Row, Tenant, Vault
from scaimcp.dev.vault.values import DAY, duration, instant
from scaimcp.dev.vault.views import Body, Name, chosen, free, listing, showing, view
from scaimcp.dev.vault.x509 import (
    CRL_LIFE,
    SIZES,
    PublicKey,
    Revoked,
    Subject,
    new_authority,
    new_key,
    pem,
    private_pem,
    revocation_list,
    sign_leaf,
)

CA = (
    "id name common_name ca_type key_type key_size valid_from valid_until is_active "
    "certificates_issued created_at"
)
ROW = "id serial_number common_name alt_names ca_id role not_before not_after"
ONE = ROW + " certificate ca_chain"
PEM = "application/x-pem-file"
DNS = re.compile(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")

KeyType = Literal["rsa", "ec"]
CommonName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class NewCa(Body, frozen=True):
    """Body of POST ca; None takes 2048 or 256 bits, and 10 years or 5 below another authority."""

    name: Name
    common_name: CommonName
    ca_type: Literal["root", "intermediate"]
    parent_ca_id: str | None = None
    key_type: KeyType = "rsa"
    key_size: int | None = None
    validity_days: Annotated[int, msgspec.Meta(ge=1, le=7300)] | None = None


class _NewRole(Body, frozen=True):
    name: Name
    ca_id: str
    allowed_domains: tuple[str, ...]
    allow_subdomains: bool = False
    allow_ip_sans: bool = False
    max_ttl: str = "720h"
    key_type: KeyType = "ec"
    key_bits: int | None = None
    store_private_keys: bool = False


class _Issue(Body, frozen=True):
    common_name: CommonName
    alt_names: tuple[str, ...] = ()
    ip_sans: tuple[str, ...] = ()
    ttl: str | None = None


class _Sign(Body, frozen=True):
    csr_pem: str
    ttl: str | None = None


class _Revoke(Body, frozen=True):
    reason: Literal[
        "unspecified",
        "key_compromise",
        "affiliation_changed",
        "superseded",
        "cessation_of_operation",
        "privilege_withdrawn",
    ] = "unspecified"


def _ca(call: Call) -> Row:
    return find(call.tenant.table("cas"), call.params["id"], "ca_not_found")


def _size(kind: str, size: int | None, field: str) -> int:
    sizes = SIZES[kind]
    if size not in (None, *sizes):
        invalid(field, f"must be one of {sizes} for {kind}")
    return size or sizes[0]


def add_ca(vault: Vault, tenant: Tenant, body: NewCa) -> Row:
    """Make an authority and return its row.

    Raises:
        Refusal: 404 `ca_not_found` for the parent, 409 `conflict`, 422 `validation_error`.
    """
    table, now = tenant.table("cas"), vault.clock.now()
    free(table.values(), body.name)
    if (body.ca_type == "root") != (body.parent_ca_id is None):
        invalid("parent_ca_id", "is for an intermediate, and needed there")
    parent = None if body.parent_ca_id is None else find(table, body.parent_ca_id, "ca_not_found")
    size = _size(body.key_type, body.key_size, "key_size")
    days = body.validity_days or (3650 if parent is None else 1825)
    key = new_key(body.key_type, size)
    above = None if parent is None else parent["authority"]
    authority = new_authority(body.common_name, key, (now, now + days * DAY), above)
    row = {
        **msgspec.to_builtins(body),
        "id": vault.new_id("ca"),
        "key_size": size,
        "valid_from": iso(authority.certificate.not_valid_before_utc.timestamp()),
        "valid_until": iso(authority.certificate.not_valid_after_utc.timestamp()),
        "is_active": True,
        "certificates_issued": 0,
        "created_at": iso(now),
        "authority": authority,
    }
    table[row["id"]] = row
    return row


def _create_ca(call: Call) -> Reply:
    return Reply(view(add_ca(call.vault, call.tenant, call.read(NewCa)), CA), 201)


def _ca_certificate(call: Call) -> Any:
    """Return JSON, or the text alone to who asks for PEM: the documents show both."""
    text = pem(_ca(call)["authority"].certificate)
    if "pem" in call.headers.get("accept", ""):
        return Reply(text, content_type=PEM)
    return {"certificate_pem": text}


def _crl(call: Call) -> Reply:
    ca = _ca(call)
    lines = [
        Revoked(row["serial"], row["revoked"], row["reason"])
        for row in call.tenant.table("certificates").values()
        if row["ca_id"] == ca["id"] and row["revoked"] is not None
    ]
    made = revocation_list(ca["authority"], lines, call.now)
    return Reply(made.public_bytes(Encoding.PEM).decode(), content_type=PEM)


def _new_crl(call: Call) -> Row:
    text = _crl(call).data
    return {"crl_pem": text, "next_update": iso(call.now + CRL_LIFE.total_seconds())}


def _create_role(call: Call) -> Reply:
    body, table = call.read(_NewRole), call.tenant.table("pki_roles")
    free(table.values(), body.name)
    find(call.tenant.table("cas"), body.ca_id, "ca_not_found")
    duration(body.max_ttl)
    size = _size(body.key_type, body.key_bits, "key_bits")
    table[body.name] = {**msgspec.to_builtins(body), "key_bits": size, "created_at": iso(call.now)}
    return Reply(table[body.name], 201)


def _role(call: Call) -> Row:
    role = call.tenant.table("pki_roles").get(call.params["role"])
    if role is None:
        refuse(400, "invalid_role", "There is no such role.", role=call.params["role"])
    return role


def _allows(role: Row, name: str) -> bool:
    """Tell whether a role covers a name; `*.x` is one label below x, or more with subdomains."""
    if not DNS.fullmatch(name):
        return False
    for domain in role["allowed_domains"]:
        base = domain.removeprefix("*.")
        label = name.removesuffix(f".{base}")
        below = label != name
        if name == domain or (below and role["allow_subdomains"]):
            return True
        if below and domain != base and "." not in label:
            return True
    return False


def _addresses(role: Row, texts: tuple[str, ...]) -> list[IPv4Address | IPv6Address]:
    if texts and not role["allow_ip_sans"]:
        invalid("ip_sans", "are not allowed by the role")
    try:
        return [ip_address(text) for text in texts]
    except ValueError:
        invalid("ip_sans", "must be IP addresses")


def _subject(call: Call, role: Row, body: _Issue) -> Subject:
    names = list(dict.fromkeys((body.common_name, *body.alt_names)))
    for name in names:
        if not _allows(role, name):
            invalid("common_name" if name == names[0] else "alt_names", "is outside the role")
    life, longest = duration(body.ttl or role["max_ttl"]), duration(role["max_ttl"])
    if life > longest:
        invalid("ttl", f"must be at most {role['max_ttl']}")
    addresses = _addresses(role, body.ip_sans)
    return Subject(body.common_name, names, addresses, call.now, call.now + life)


def certify(
    vault: Vault, tenant: Tenant, ca: Row, subject: Subject, public: PublicKey, **fields: Any
) -> Row:
    """Sign and store a certificate, tell subscribers of it, and return its row.

    Args:
        vault: names it.
        tenant: whose it is.
        ca: row of the authority that signs.
        subject: whom it is for.
        public: the subject's key.
        fields: `role`, and `private_key`, None where it is not kept.
    """
    made = sign_leaf(ca["authority"], subject, public)
    ca["certificates_issued"] += 1
    row = {
        "id": vault.new_id("cert"),
        "serial_number": f"{made.serial_number:x}",
        "common_name": subject.common_name,
        "alt_names": [*subject.names, *map(str, subject.addresses)],
        "ca_id": ca["id"],
        "not_before": iso(made.not_valid_before_utc.timestamp()),
        "not_after": iso(made.not_valid_after_utc.timestamp()),
        "certificate": pem(made),
        "ca_chain": [pem(above) for above in ca["authority"].chain],
        "serial": made.serial_number,
        "revoked": None,
        "reason": None,
        **fields,
    }
    tenant.table("certificates")[row["id"]] = row
    told = view(row, "serial_number common_name not_after")
    vault.emit(tenant, "certificate.issued", certificate_id=row["id"], **told)
    return row


def _certify(call: Call, role: Row, subject: Subject, public: Any, key: str | None) -> Row:
    ca: Row = find(call.tenant.table("cas"), role["ca_id"], "ca_not_found")
    kept = {"role": role["name"], "private_key": key if role["store_private_keys"] else None}
    row = certify(call.vault, call.tenant, ca, subject, public, **kept)
    return view(row, "id certificate ca_chain serial_number not_after")


def _issue(call: Call) -> Row:
    role = _role(call)
    subject = _subject(call, role, call.read(_Issue))
    key = new_key(role["key_type"], role["key_bits"])
    text = private_pem(key)
    return {**_certify(call, role, subject, key.public_key(), text), "private_key": text}


def _sign(call: Call) -> Row:
    role, body = _role(call), call.read(_Sign)
    try:
        csr = library.load_pem_x509_csr(body.csr_pem.encode())
    except ValueError:
        invalid("csr_pem", "must be a certificate request in PEM")
    named = csr.subject.get_attributes_for_oid(library.NameOID.COMMON_NAME)
    if not csr.is_signature_valid or not named:
        invalid("csr_pem", "must be signed and have a common name")
    try:
        kinds = csr.extensions.get_extension_for_class(library.SubjectAlternativeName).value
    except library.ExtensionNotFound:
        kinds = library.SubjectAlternativeName([])
    names = tuple(kinds.get_values_for_type(library.DNSName))
    addresses = tuple(str(address) for address in kinds.get_values_for_type(library.IPAddress))
    subject = _subject(call, role, _Issue(str(named[0].value), names, addresses, body.ttl))
    return _certify(call, role, subject, csr.public_key(), None)


def _status(row: Row, now: float) -> str:
    if row["revoked"] is not None:
        return "revoked"
    return "expired" if instant(row["not_after"]) <= now else "active"


def _list_certificates(call: Call) -> Any:
    rows = chosen(call, call.tenant.table("certificates").values(), "ca_id")
    shown = [{**view(row, ROW), "status": _status(row, call.now)} for row in rows]
    if not call.flag("include_revoked"):
        shown = [row for row in shown if row["status"] != "revoked"]
    within = call.query.get("expiring_within")
    if within is not None:
        last = iso(call.now + duration(within))
        shown = [r for r in shown if r["status"] == "active" and r["not_after"] <= last]
    return page(call, shown, "certificates")


def _certificate(call: Call) -> Row:
    return find(call.tenant.table("certificates"), call.params["id"], "certificate_not_found")


def _show_certificate(call: Call) -> Row:
    row = _certificate(call)
    revoked = None if row["revoked"] is None else iso(row["revoked"])
    key = {} if row["private_key"] is None else {"private_key": row["private_key"]}
    return {**view(row, ONE), "status": _status(row, call.now), "revoked_at": revoked, **key}


def _certificate_pem(call: Call) -> Reply:
    return Reply(_certificate(call)["certificate"], content_type=PEM)


def _revoke(call: Call) -> Row:
    row, body = _certificate(call), call.read(_Revoke)
    if row["revoked"] is None:
        row.update(revoked=call.now, reason=body.reason)
        told = {"certificate_id": row["id"], **view(row, "serial_number reason")}
        call.vault.emit(call.tenant, "certificate.revoked", **told)
    revoked_at = iso(row["revoked"])
    return {**view(row, "id reason"), "status": "revoked", "revoked_at": revoked_at}


_list_cas = listing("cas", "cas", CA, "ca_type")
_show_ca = showing("cas", "ca_not_found", CA + " parent_ca_id")
_CAS, _CERTIFICATES = "/v1/pki/ca", "/v1/pki/certificates"
ROUTES = (
    Route("GET", _CAS, _list_cas, "pki:admin", "list", "pki_admin"),
    Route("POST", _CAS, _create_ca, "pki:admin", "pki_ca_create", "pki_admin"),
    Route("GET", _CAS + "/{id}", _show_ca, "pki:admin", "read", "pki_admin"),
    Route("GET", _CAS + "/{id}/certificate", _ca_certificate, "pki:issue", "read", "pki_admin"),
    Route("GET", _CAS + "/{id}/crl", _crl, "pki:issue", "read", "pki_admin"),
    Route("POST", _CAS + "/{id}/crl", _new_crl, "pki:admin", "write", "pki_admin"),
    Route("POST", "/v1/pki/roles", _create_role, "pki:admin", "write", "pki_admin"),
    Route("POST", "/v1/pki/issue/{role}", _issue, "pki:issue", "pki_issue", "pki_issue"),
    Route("POST", "/v1/pki/sign/{role}", _sign, "pki:issue", "pki_sign", "pki_issue"),
    Route("GET", _CERTIFICATES, _list_certificates, "pki:issue", "list", "pki_admin"),
    Route("GET", _CERTIFICATES + "/{id}", _show_certificate, "pki:issue", "read", "pki_admin"),
    Route("GET", _CERTIFICATES + "/{id}/pem", _certificate_pem, "pki:issue", "read", "pki_admin"),
    Route("POST", _CERTIFICATES + "/{id}/revoke", _revoke, "pki:admin", "pki_revoke", "pki_admin"),
)
