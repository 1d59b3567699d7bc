"""Certificates as a client checks them."""

from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from tests.vault.conftest import START, World


def load(text: str) -> x509.Certificate:
    """Return a certificate in PEM."""
    return x509.load_pem_x509_certificate(text.encode())


def moment(seconds: float) -> datetime:
    """Return Unix seconds as a time."""
    return datetime.fromtimestamp(seconds, UTC)


def verify(leaf: str, chain: list[str], name: str, at: float = START) -> list[x509.Certificate]:
    """Verify a server's certificate against the last of its chain; return the way up."""
    loaded = [load(text) for text in chain]
    builder = PolicyBuilder().store(Store([loaded[-1]])).time(moment(at))
    return builder.build_server_verifier(x509.DNSName(name)).verify(load(leaf), loaded[:-1])


async def authority(world: World, name: str = "root", **body: Any) -> Any:
    """Create an authority, a root unless told otherwise."""
    body = {"common_name": f"Test {name}", "ca_type": "root", "key_type": "ec", **body}
    return (await world.agent.post("/v1/pki/ca", {"name": name, **body})).data


async def role(world: World, ca: Any, **body: Any) -> Any:
    """Create the role `svc` for names one label below svc.example."""
    known = {"name": "svc", "ca_id": ca["id"], "allowed_domains": ["*.svc.example"]}
    return (await world.agent.post("/v1/pki/roles", {**known, "max_ttl": "72h", **body})).data


async def issue(world: World, name: str = "a.svc.example", **body: Any) -> Any:
    """Issue a certificate with the role `svc`."""
    return await world.agent.post("/v1/pki/issue/svc", {"common_name": name, **body})
