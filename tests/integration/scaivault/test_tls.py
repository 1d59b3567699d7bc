"""An extra trust root, and certificates that do not count without it. Spec: scaivault 2.1, 8."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scaimcp.outbound import open_http
from scaimcp.scaivault.answers import UpstreamFailure
from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.requests import VaultRequest
from scaimcp.types import Secret
from tests.integration.rawserver import reply, serve_raw

GET = VaultRequest("GET", "/v1/health")


def own_certificate(folder: Path) -> tuple[str, ssl.SSLContext]:
    """Return a certificate's file and the context of a server that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    file, key_file = folder / "ca.pem", folder / "key.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return str(file), context


async def test_an_extra_root_is_trusted_where_it_is_named(tmp_path: Path) -> None:
    file, context = own_certificate(tmp_path)
    async with serve_raw(context) as server:
        server.default = reply(200, {"status": "healthy"})
        async with open_http("scaimcp/9.9", ca_bundle=file, connect_seconds=2.0) as http:
            client = VaultClient(http, server.url)
            until = client.timing.monotonic() + 10
            answer = await client.request(GET, Secret("skt_x"), {}, until)
            assert answer.decoded() == {"status": "healthy"}
        async with open_http("scaimcp/9.9") as http:
            client = VaultClient(http, server.url)
            with pytest.raises(UpstreamFailure) as caught:
                await client.request(GET, Secret("skt_x"), {}, until)
            assert caught.value.code == "UPSTREAM_UNREACHABLE"
            assert len(server.seen) == 1


async def test_a_file_that_holds_no_root_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("")
    for name in (str(file), str(tmp_path / "missing.pem")):
        with pytest.raises(OSError, match=r"cert|file"):
            async with open_http("scaimcp/9.9", ca_bundle=name):
                pass
