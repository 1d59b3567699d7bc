"""Certificates and revocation lists for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 4, 24, 3, 6, 40, tzinfo=UTC)
YEAR = timedelta(days=365)


class Made(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def _name(text: str) -> x509.Name:
    if not text:
        return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Nameless")])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make(
    name: str,
    issuer: Made | None = None,
    *,
    is_ca: bool | None = True,
    names: tuple[str, ...] = (),
    life: tuple[timedelta, timedelta] = (-YEAR, YEAR),
) -> Made:
    """Return a certificate, self-signed without an issuer.

    `is_ca` None leaves that unsaid; an empty `name` is no common name.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    above = issuer.certificate.subject if issuer else _name(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(above)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + life[0])
        .not_valid_after(NOW + life[1])
    )
    if is_ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    if names:
        hosts = x509.SubjectAlternativeName([x509.DNSName(host) for host in names])
        builder = builder.add_extension(hosts, critical=False)
    return Made(builder.sign(issuer.key if issuer else key, SHA256()), key)


def revocation_list(
    issuer: Made, *revoked: Made, until: timedelta = YEAR
) -> x509.CertificateRevocationList:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(NOW - YEAR)
        .next_update(NOW + until)
    )
    for made in revoked:
        row = (
            x509.RevokedCertificateBuilder()
            .serial_number(made.certificate.serial_number)
            .revocation_date(NOW - timedelta(days=1))
            .build()
        )
        builder = builder.add_revoked_certificate(row)
    return builder.sign(issuer.key, SHA256())
