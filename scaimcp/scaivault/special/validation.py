"""Certificates checked against their authorities in ScaiVault. Spec: scaivault 1 (PK8)."""

from __future__ import annotations

from typing import Any

import msgspec
from cryptography import x509

from scaimcp.scaivault.answers import UpstreamFailure, shape_mismatch
from scaimcp.scaivault.certificates import (
    Link,
    is_self_issued,
    issued_by,
    judge,
    read_certificate,
    read_crl,
)
from scaimcp.scaivault.errors import invalid_arguments
from scaimcp.scaivault.job import Job, Result
from scaimcp.scaivault.lists import Row, read_page
from scaimcp.scaivault.paths import SafeId
from scaimcp.scaivault.requests import PEM, VaultRequest, id_of, place
from scaimcp.scaivault.special.pki import (
    CA,
    CERTIFICATE,
    ca_certificate,
    certificate_pem,
    stated_id,
)
from scaimcp.scaivault.values import moment_of

_MOST_LINKS = 5
_MOST_CANDIDATES = 5
_MOST_PAGES = 5
_AUTHORITIES = VaultRequest("GET", "/v1/pki/ca", (("limit", "200"),))
_ROWS = ("cas",)


async def validate_certificate(job: Job) -> Result:
    """Return whether a certificate holds, and why not."""
    stated = job.arguments.get("at")
    at = moment_of(stated) if stated is not None else job.timing.now()
    hostname = job.arguments.get("hostname")
    if "certificate_id" not in job.arguments:
        certificate = read_certificate(job.arguments["certificate_pem"])
        if certificate is None:
            raise invalid_arguments([("certificate_pem", "must hold one certificate")])
        return judge(certificate, await _links(job, certificate, None), hostname, at)
    certificate_id = id_of(job.arguments, "certificate_id")
    row = await job.fetch(VaultRequest("GET", place(CERTIFICATE, certificate_id=certificate_id)))
    certificate = await _certificate(job, row, certificate_id)
    ca_id = row.get("ca_id")
    known = None if ca_id is None else stated_id(ca_id)
    return _with_status(
        judge(certificate, await _links(job, certificate, known), hostname, at), row
    )


async def _certificate(job: Job, row: Row, certificate_id: SafeId) -> x509.Certificate:
    pem = row.get("certificate")
    if not isinstance(pem, str):
        pem = (await certificate_pem(job, certificate_id))["certificate"]
    certificate = read_certificate(pem)
    if certificate is None:
        raise shape_mismatch()
    return certificate


def _with_status(result: Result, row: Row) -> Result:
    """Return a result with what ScaiVault itself says of revocation, if no list says anything."""
    if row.get("status") == "revoked" and result["revoked"] is not True:
        reasons = [reason for reason in result["reasons"] if reason != "revocation_unknown"]
        return {**result, "valid": False, "revoked": True, "reasons": [*reasons, "revoked"]}
    return result


async def _links(job: Job, certificate: x509.Certificate, ca_id: SafeId | None) -> list[Link]:
    """Return the way up from a certificate, as far as ScaiVault knows it."""
    links: list[Link] = []
    below = certificate
    here = ca_id or await _issuer(job, certificate)
    while here is not None and len(links) < _MOST_LINKS:
        issuer = await _authority(job, here)
        if issuer is None:
            break
        links.append(Link(issuer, await _crl(job, here)))
        if is_self_issued(issuer):
            break
        below = issuer
        here = await _parent(job, here) or await _issuer(job, below)
    return links


async def _parent(job: Job, ca_id: SafeId) -> SafeId | None:
    row = await job.fetch(VaultRequest("GET", place(CA, ca_id=ca_id)))
    parent = row.get("parent_ca_id")
    return None if parent is None else stated_id(parent)


async def _issuer(job: Job, certificate: x509.Certificate) -> SafeId | None:
    """Return the authority that has signed a certificate, None for one that is not known here."""
    names = certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    if not names:
        return None
    for ca_id in await _named(job, str(names[0].value)):
        issuer = await _authority(job, ca_id)
        if issuer is not None and issued_by(certificate, issuer):
            return ca_id
    return None


async def _named(job: Job, common_name: str) -> list[SafeId]:
    """Return the ids of the authorities with a name."""
    found: list[SafeId] = []
    request = _AUTHORITIES
    record = msgspec.structs.replace(job.record, container=_ROWS)
    for _ in range(_MOST_PAGES):
        page = read_page(record, await job.session.ask(job.record, request))
        found += [_id(row) for row in page.rows if row.get("common_name") == common_name]
        if not page.has_more or not page.cursor:
            break
        query = (*_AUTHORITIES.query, ("cursor", page.cursor))
        request = msgspec.structs.replace(_AUTHORITIES, query=query)
    return found[:_MOST_CANDIDATES]


def _id(row: Row) -> SafeId:
    value: Any = row.get("id")
    return stated_id(value)


async def _authority(job: Job, ca_id: SafeId) -> x509.Certificate | None:
    try:
        blocks = await ca_certificate(job, ca_id)
    except UpstreamFailure as failure:
        if failure.status != 404:
            raise
        return None
    return read_certificate(blocks[0])


async def _crl(job: Job, ca_id: SafeId) -> Any:
    path = place(CA, ca_id=ca_id)
    try:
        return read_crl(await job.text(VaultRequest("GET", f"{path}/crl", accept=PEM)))
    except UpstreamFailure as failure:
        if failure.status != 404:
            raise
        return None
