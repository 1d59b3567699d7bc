"""Certificates with their PEM, and those that expire soon. Spec: scaivault 1 (PK2, PK5, PK9)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import msgspec

from scaimcp.scaivault.answers import shape_mismatch
from scaimcp.scaivault.job import Job, Result
from scaimcp.scaivault.lists import Row
from scaimcp.scaivault.paths import SafeId, read_id
from scaimcp.scaivault.requests import PEM, VaultRequest, id_of, place
from scaimcp.scaivault.spans import read_moment

CA = "/v1/pki/ca/{ca_id}"
CERTIFICATE = "/v1/pki/certificates/{certificate_id}"
_BLOCK = re.compile(
    r"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----", re.ASCII
)
_DAY = 86_400


async def get_ca(job: Job) -> Result:
    """Return an authority, with its certificate where it is asked for."""
    result = await job.fetch()
    if not job.arguments["include_pem"]:
        return result
    blocks = await ca_certificate(job, id_of(job.arguments, "ca_id"))
    return {**result, "certificate_pem": blocks[0]}


async def get_certificate(job: Job) -> Result:
    """Return a certificate, with its PEM and chain where they are asked for."""
    result = await job.fetch()
    if not job.arguments["include_pem"]:
        hidden = ("certificate", "ca_chain")
        return {name: value for name, value in result.items() if name not in hidden}
    return {**result, **await certificate_pem(job, id_of(job.arguments, "certificate_id"))}


async def certificate_pem(job: Job, certificate_id: SafeId) -> Result:
    """Return ``certificate``, and ``ca_chain`` where the answer holds one."""
    path = place(CERTIFICATE, certificate_id=certificate_id)
    blocks = pem_blocks(await job.text(VaultRequest("GET", f"{path}/pem", accept=PEM)))
    return {"certificate": blocks[0], **({"ca_chain": blocks[1:]} if blocks[1:] else {})}


async def ca_certificate(job: Job, ca_id: SafeId) -> list[str]:
    """Return the certificate of an authority, first of what is sent with it."""
    path = place(CA, ca_id=ca_id)
    return pem_blocks(await job.text(VaultRequest("GET", f"{path}/certificate", accept=PEM)))


def stated_id(value: Any) -> SafeId:
    """Return an id that may stand in a URL.

    Raises:
        UpstreamFailure: UPSTREAM_SHAPE_MISMATCH; ScaiVault has stated something else.
    """
    found = read_id(value) if isinstance(value, str) else None
    if found is None:
        raise shape_mismatch()
    return found


def pem_blocks(body: bytes) -> list[str]:
    """Return the certificates in an answer that is PEM, or JSON with PEM in it; never a key.

    Raises:
        UpstreamFailure: UPSTREAM_SHAPE_MISMATCH; there is none.
    """
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = body.decode("ascii", "replace")
    if isinstance(decoded, dict):
        chain = decoded.get("ca_chain") or decoded.get("chain") or []
        first = decoded.get("certificate_pem") or decoded.get("certificate") or decoded.get("pem")
        parts = [first, *(chain if isinstance(chain, list) else [chain])]
        decoded = "\n".join(part for part in parts if isinstance(part, str))
    blocks = _BLOCK.findall(decoded) if isinstance(decoded, str) else []
    if not blocks:
        raise shape_mismatch()
    return [f"{block}\n" for block in blocks]


async def check_expiring_certs(job: Job) -> Result:
    """Return a page of certificates that expire soon, with the days left."""
    result = await job.page(expiring_within=job.arguments["within"])
    now = job.timing.now()
    return {**result, "items": [with_days(row, now) for row in result["items"]]}


def with_days(row: Row, now: datetime) -> Row:
    """Return a certificate's row with the whole days left, null where its end is not stated."""
    ends = read_moment(row.get("not_after"))
    left = None if ends is None else int((ends - now).total_seconds()) // _DAY
    return {**row, "days_remaining": left}
