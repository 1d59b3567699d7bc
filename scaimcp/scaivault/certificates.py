"""Judge an X.509 certificate: chain, times, revocation, host name. Pure.

Spec: scaivault 1 (PK8).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

_PEM_CRL = b"-----BEGIN X509 CRL-----"
_Crl = x509.CertificateRevocationList


class Link(msgspec.Struct, frozen=True):
    """One step up from a certificate.

    Args:
        issuer: the authority's certificate.
        crl: its revocation list, None where there is none.
    """

    issuer: x509.Certificate
    crl: _Crl | None = None


def read_certificate(pem: str) -> x509.Certificate | None:
    """Return a certificate in PEM, None for anything else."""
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None


def read_crl(body: bytes) -> _Crl | None:
    """Return a revocation list in PEM, DER or JSON with PEM in it, None for anything else."""
    text = body
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = None
    if isinstance(decoded, dict):
        stated = decoded.get("crl_pem") or decoded.get("crl")
        text = stated.encode() if isinstance(stated, str) else b""
    try:
        if _PEM_CRL in text:
            return x509.load_pem_x509_crl(text)
        return x509.load_der_x509_crl(text)
    except (ValueError, UnsupportedAlgorithm):
        return None


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether an authority has signed a certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def is_self_issued(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is the end of a chain."""
    return issued_by(certificate, certificate)


def judge(
    certificate: x509.Certificate, links: Sequence[Link], hostname: str | None, at: datetime
) -> dict[str, Any]:
    """Return what is to be said of a certificate.

    Args:
        certificate: the one in question.
        links: its way up; complete where the last authority is self-issued.
        hostname: name that it must be valid for, None for any.
        at: moment that it must be valid at.
    """
    chain = list(_chain_reasons(certificate, links, at))
    revoked, listed = _revoked(certificate, links, at)
    reasons = [*_time_reasons(certificate, at, ""), *chain, *listed]
    if hostname is not None and not names_host(certificate, hostname):
        reasons.append("hostname_mismatch")
    return {
        "valid": not reasons,
        "reasons": reasons,
        "subject": certificate.subject.rfc4514_string(),
        "issuer": certificate.issuer.rfc4514_string(),
        "serial_number": f"{certificate.serial_number:x}",
        "not_before": _written(certificate.not_valid_before_utc),
        "not_after": _written(certificate.not_valid_after_utc),
        "chain_ok": not chain,
        "revoked": revoked,
    }


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time_reasons(certificate: x509.Certificate, at: datetime, whose: str) -> Iterator[str]:
    if at < certificate.not_valid_before_utc:
        yield f"{whose}not_yet_valid"
    if at > certificate.not_valid_after_utc:
        yield f"{whose}expired"


def _chain_reasons(
    certificate: x509.Certificate, links: Sequence[Link], at: datetime
) -> Iterator[str]:
    below = certificate
    for link in links:
        if not issued_by(below, link.issuer):
            yield "signature_invalid"
        if not _is_authority(link.issuer):
            yield "issuer_not_an_authority"
        yield from _time_reasons(link.issuer, at, "issuer_")
        below = link.issuer
    if not links or not is_self_issued(below):
        yield "issuer_unknown"


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return found.value.ca


def _revoked(
    certificate: x509.Certificate, links: Sequence[Link], at: datetime
) -> tuple[bool | None, list[str]]:
    """Return whether the certificate is revoked, None for unknown, and the reasons."""
    states = []
    below = certificate
    for link in links:
        states.append(_listed(below, link, at))
        below = link.issuer
        if is_self_issued(below):
            break
    if any(state is True for state in states[1:]):
        return states[0], ["issuer_revoked"]
    if not states or states[0] is None:
        return None, ["revocation_unknown"]
    return states[0], ["revoked"] if states[0] else []


def _listed(certificate: x509.Certificate, link: Link, at: datetime) -> bool | None:
    """Tell whether a certificate stands on its authority's list; None without a list that counts.

    A list that has run out still shows what was revoked, but not that nothing was since.
    """
    crl = link.crl
    if crl is None or not _is_signed(crl, link.issuer):
        return None
    found = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if found is not None:
        return True
    ends = crl.next_update_utc
    return None if ends is not None and ends < at else False


def _is_signed(crl: _Crl, issuer: x509.Certificate) -> bool:
    try:
        # Every kind of key that signs lists is known here; others raise.
        return crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    except (TypeError, ValueError, InvalidSignature, UnsupportedAlgorithm):
        return False


def names_host(certificate: x509.Certificate, hostname: str) -> bool:
    """Tell whether a certificate names a host among its alternative names."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = found.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return any(_matches(name.lower(), hostname.lower()) for name in names)


def _matches(pattern: str, hostname: str) -> bool:
    if pattern == hostname:
        return True
    # A wildcard stands for one whole label, the leftmost.
    label, _, rest = hostname.partition(".")
    return bool(label) and pattern == f"*.{rest}" and "*" not in label
