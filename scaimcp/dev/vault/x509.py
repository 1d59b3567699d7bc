"""Certificates and revocation lists; every time is given. Spec: scaivault 7 (PKI)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
CURVES: dict[int, ec.EllipticCurve] = {256: ec.SECP256R1(), 384: ec.SECP384R1()}
SIZES = {"rsa": (2048, 4096), "ec": (256, 384)}
CRL_LIFE = timedelta(days=1)
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class Authority(NamedTuple):
    """What signs: its certificate, its key, and the certificates above it, nearest first."""

    certificate: x509.Certificate
    key: PrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """Its own certificate and those above it."""
        return (self.certificate, *self.above)


class Subject(NamedTuple):
    """Whom a certificate is for and how long: names, addresses, Unix seconds."""

    common_name: str
    names: Sequence[str]
    addresses: Sequence[IPv4Address | IPv6Address]
    not_before: float
    not_after: float


class Revoked(NamedTuple):
    """One line of a revocation list; the time in Unix seconds."""

    serial_number: int
    at: float
    reason: str


def new_key(kind: str, size: int) -> PrivateKey:
    """Return a new key: `rsa` with bits, or `ec` with the bits of its curve."""
    if kind == "ec":
        return ec.generate_private_key(CURVES[size])
    return rsa.generate_private_key(65537, size)


def private_pem(key: PrivateKey) -> str:
    """Return an unencrypted PKCS #8 text."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def public_pem(key: PrivateKey) -> str:
    """Return the public half."""
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def pem(certificate: x509.Certificate) -> str:
    """Return the text of a certificate."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def new_authority(
    common_name: str, key: PrivateKey, life: tuple[float, float], parent: Authority | None
) -> Authority:
    """Return an authority that signs itself, or that `parent` signs.

    Args:
        common_name: of the subject.
        key: its new key.
        life: first and last moment, in Unix seconds; never longer than the parent's.
        parent: None for a root.
    """
    not_before, not_after = life
    if parent is not None:
        not_after = min(not_after, parent.certificate.not_valid_after_utc.timestamp())
    subject = Subject(common_name, (), (), not_before, not_after)
    builder = _builder(subject, key.public_key(), parent, key)
    constraints = x509.BasicConstraints(ca=True, path_length=None if parent is None else 0)
    builder = builder.add_extension(constraints, critical=True)
    builder = builder.add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    signer = key if parent is None else parent.key
    above = () if parent is None else parent.chain
    return Authority(builder.sign(signer, hashes.SHA256()), key, above)


def sign_leaf(authority: Authority, subject: Subject, public: PublicKey) -> x509.Certificate:
    """Return a certificate for servers and clients; it ends with its authority at the latest."""
    last = authority.certificate.not_valid_after_utc.timestamp()
    subject = subject._replace(not_after=min(subject.not_after, last))
    names = [x509.DNSName(name) for name in subject.names]
    others = [*names, *(x509.IPAddress(address) for address in subject.addresses)]
    uses = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
    builder = _builder(subject, public, authority, authority.key)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    builder = builder.add_extension(_usage("digital_signature"), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def revocation_list(
    authority: Authority, revoked: Iterable[Revoked], now: float
) -> x509.CertificateRevocationList:
    """Return the signed list of one authority, valid for a day."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(_moment(now))
        .next_update(_moment(now) + CRL_LIFE)
        .add_extension(x509.CRLNumber(int(now)), critical=False)
        .add_extension(_issuer_key(authority.key), critical=False)
    )
    for line in revoked:
        entry = x509.RevokedCertificateBuilder(line.serial_number, _moment(line.at))
        # RFC 5280 5.3.1: an unspecified reason is left out.
        if line.reason != "unspecified":
            reason = x509.CRLReason(x509.ReasonFlags[line.reason])
            entry = entry.add_extension(reason, critical=False)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(authority.key, hashes.SHA256())


def _builder(
    subject: Subject, public: PublicKey, issuer: Authority | None, signer: PrivateKey
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject.common_name)])
    key_id = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(subject.not_before))
        .not_valid_after(_moment(subject.not_after))
        .add_extension(key_id, critical=False)
        .add_extension(_issuer_key(signer if issuer is None else issuer.key), critical=False)
    )


def _issuer_key(key: PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _usage(*granted: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in granted for name in _USAGES})


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
