"""Certificate authorities and certificates, checked as a client would."""

from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import VerificationError

from scaimcp.dev.vault.fixture import AGENT_B
from tests.vault.certificates import authority, issue, load, moment, role, verify
from tests.vault.conftest import START, World

HOUR, DAY = 3600, 86400
CERTIFICATES = "/v1/pki/certificates"


def request(*names: str, common_name: str | None = "a.svc.example", ip: str | None = None) -> str:
    """Return a signed request for a certificate."""
    attributes = (
        [] if common_name is None else [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    others = [x509.DNSName(name) for name in names]
    extra = [] if ip is None else [x509.IPAddress(ip_address(ip))]
    if others or extra:
        builder = builder.add_extension(x509.SubjectAlternativeName([*others, *extra]), False)
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


async def ca_certificate(world: World, ca: Any) -> x509.Certificate:
    answer = await world.agent.get(f"/v1/pki/ca/{ca['id']}/certificate")
    return load(answer.data["certificate_pem"])


async def crl(world: World, ca_id: str) -> x509.CertificateRevocationList:
    answer = await world.agent.get(f"/v1/pki/ca/{ca_id}/crl")
    assert answer.headers["Content-Type"] == "application/x-pem-file"
    return x509.load_pem_x509_crl(answer.content)


async def test_a_root_signs_itself_with_the_asked_key(world: World) -> None:
    ca = await authority(world, key_size=384, validity_days=10)
    made = await ca_certificate(world, ca)
    made.verify_directly_issued_by(made)
    key = made.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert (key.curve.name, ca["key_size"]) == ("secp384r1", 384)
    assert made.not_valid_before_utc == moment(START)
    assert made.not_valid_after_utc == moment(START + 10 * DAY)
    assert (ca["ca_type"], ca["is_active"], ca["certificates_issued"]) == ("root", True, 0)


async def test_a_root_is_of_rsa_for_ten_years_by_default(world: World) -> None:
    body = {"name": "r", "common_name": "R", "ca_type": "root"}
    ca = (await world.agent.post("/v1/pki/ca", body)).data
    made = await ca_certificate(world, ca)
    key = made.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert (key.key_size, ca["key_type"], ca["key_size"]) == (2048, "rsa", 2048)
    assert made.not_valid_after_utc == moment(START + 3650 * DAY)


async def test_authorities_are_shown_and_listed_without_keys(world: World) -> None:
    root = await authority(world)
    below = await authority(world, "below", ca_type="intermediate", parent_ca_id=root["id"])
    shown = (await world.agent.get(f"/v1/pki/ca/{below['id']}")).data
    assert shown == {**below, "parent_ca_id": root["id"]}
    listed = (await world.agent.get("/v1/pki/ca?ca_type=root")).data["cas"]
    assert listed == [root]
    assert "PRIVATE" not in str(listed)


async def test_the_certificate_of_an_authority_comes_as_text_to_who_asks_for_pem(
    world: World,
) -> None:
    ca = await authority(world)
    url = f"/v1/pki/ca/{ca['id']}/certificate"
    answer = await world.agent.get(url, headers={"Accept": "application/x-pem-file"})
    assert answer.headers["Content-Type"] == "application/x-pem-file"
    assert load(answer.content.decode()) == await ca_certificate(world, ca)


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"key_size": 2048}, (422, "validation_error")),
        ({"ca_type": "intermediate"}, (422, "validation_error")),
        ({"parent_ca_id": "ca_x"}, (422, "validation_error")),
        ({"ca_type": "intermediate", "parent_ca_id": "ca_x"}, (404, "ca_not_found")),
        ({"validity_days": 7301}, (422, "validation_error")),
        ({"name": "root"}, (409, "conflict")),
    ],
)
async def test_an_authority_that_cannot_be_is_refused(
    world: World, body: dict[str, Any], refusal: tuple[int, str]
) -> None:
    await authority(world)
    known = {"name": "x", "common_name": "X", "ca_type": "root", "key_type": "ec"}
    assert (await world.agent.post("/v1/pki/ca", {**known, **body})).refusal == refusal


async def test_an_issued_certificate_verifies_up_to_the_root(world: World) -> None:
    root = await authority(world)
    below = await authority(
        world, "below", ca_type="intermediate", parent_ca_id=root["id"], key_type="rsa"
    )
    await role(world, below)
    made = (await issue(world, alt_names=["b.svc.example"], ttl="24h")).data
    for name in ("a.svc.example", "b.svc.example"):
        assert len(verify(made["certificate"], made["ca_chain"], name)) == 3
    for name, at in (("c.svc.example", START), ("a.svc.example", START + DAY + 1)):
        with pytest.raises(VerificationError):
            verify(made["certificate"], made["ca_chain"], name, at)
    leaf = load(made["certificate"])
    key = serialization.load_pem_private_key(made["private_key"].encode(), None)
    assert key.public_key() == leaf.public_key()
    assert f"{leaf.serial_number:x}" == made["serial_number"]
    assert leaf.not_valid_after_utc == moment(START + DAY)
    shown = (await world.agent.get(f"/v1/pki/ca/{below['id']}")).data
    assert shown["certificates_issued"] == 1


async def test_a_certificate_never_outlives_its_authority(world: World) -> None:
    ca = await authority(world, validity_days=1)
    below = await authority(world, "below", ca_type="intermediate", parent_ca_id=ca["id"])
    assert below["valid_until"] == ca["valid_until"]
    await role(world, below)
    made = (await issue(world)).data
    assert load(made["certificate"]).not_valid_after_utc == moment(START + DAY)


async def test_the_key_is_given_once(world: World) -> None:
    await role(world, await authority(world))
    made = (await issue(world)).data
    shown = (await world.agent.get(f"{CERTIFICATES}/{made['id']}")).data
    assert shown["certificate"] == made["certificate"]
    assert shown["ca_chain"] == made["ca_chain"]
    assert "private_key" not in shown


async def test_a_role_may_keep_keys_and_says_what_kind_they_are(world: World) -> None:
    body = {"store_private_keys": True, "key_type": "rsa", "key_bits": 2048}
    await role(world, await authority(world), **body)
    made = (await issue(world)).data
    shown = (await world.agent.get(f"{CERTIFICATES}/{made['id']}")).data
    assert shown["private_key"] == made["private_key"]
    key = load(made["certificate"]).public_key()
    assert isinstance(key, rsa.RSAPublicKey)


async def test_an_unknown_role_is_invalid(world: World) -> None:
    assert (await issue(world)).refusal == (400, "invalid_role")


@pytest.mark.parametrize(
    ("name", "is_allowed"),
    [
        ("a.svc.example", True),
        ("*.svc.example", True),
        ("b.a.svc.example", False),
        ("svc.example", False),
        ("asvc.example", False),
        ("a.svc.example.evil", False),
        ("a b.svc.example", False),
        ("é.svc.example", False),
        ("Alice", False),
    ],
)
async def test_a_role_covers_one_label_below_its_pattern(
    world: World, name: str, is_allowed: bool
) -> None:
    await role(world, await authority(world))
    assert ((await issue(world, name)).status == 200) is is_allowed


async def test_a_role_with_subdomains_covers_any_depth(world: World) -> None:
    body = {"allowed_domains": ["other.example", "svc.example"], "allow_subdomains": True}
    await role(world, await authority(world), **body)
    for name in ("svc.example", "a.svc.example", "b.a.svc.example"):
        assert (await issue(world, name)).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"alt_names": ["a.evil.example"]}, "alt_names"),
        ({"ip_sans": ["10.0.0.1"]}, "ip_sans"),
        ({"ttl": "73h"}, "ttl"),
    ],
)
async def test_what_a_role_does_not_allow_is_refused(
    world: World, body: dict[str, Any], field: str
) -> None:
    await role(world, await authority(world))
    answer = await issue(world, **body)
    assert answer.refusal == (422, "validation_error")
    assert answer.json["error"]["details"]["fields"][0]["field"] == field


async def test_a_role_may_allow_addresses(world: World) -> None:
    await role(world, await authority(world), allow_ip_sans=True)
    made = (await issue(world, ip_sans=["10.0.0.1", "::1"])).data
    kind = x509.SubjectAlternativeName
    names = load(made["certificate"]).extensions.get_extension_for_class(kind).value
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
    assert (await issue(world, ip_sans=["x"])).refusal == (422, "validation_error")


async def test_a_role_needs_an_authority_and_a_fitting_key(world: World) -> None:
    ca = await authority(world)
    body = {"name": "r", "ca_id": "ca_none", "allowed_domains": []}
    unknown = await world.agent.post("/v1/pki/roles", body)
    assert unknown.refusal == (404, "ca_not_found")
    size = await world.agent.post("/v1/pki/roles", {**body, "ca_id": ca["id"], "key_bits": 2048})
    assert size.refusal == (422, "validation_error")


async def test_a_request_is_signed_for_its_own_key(world: World) -> None:
    await role(world, await authority(world), store_private_keys=True, allow_ip_sans=True)
    text = request("b.svc.example", ip="10.0.0.9")
    made = (await world.agent.post("/v1/pki/sign/svc", {"csr_pem": text, "ttl": "1h"})).data
    assert "private_key" not in made
    leaf = load(made["certificate"])
    assert leaf.public_key() == x509.load_pem_x509_csr(text.encode()).public_key()
    verify(made["certificate"], made["ca_chain"], "b.svc.example")
    shown = (await world.agent.get(f"{CERTIFICATES}/{made['id']}")).data
    assert shown["alt_names"] == ["a.svc.example", "b.svc.example", "10.0.0.9"]
    assert "private_key" not in shown


@pytest.mark.parametrize(
    "text",
    ["", "garbage", request(common_name=None), request(common_name="a.evil.example")],
    ids=["empty", "garbage", "nameless", "outside"],
)
async def test_a_request_that_cannot_be_signed_is_refused(world: World, text: str) -> None:
    await role(world, await authority(world))
    answer = await world.agent.post("/v1/pki/sign/svc", {"csr_pem": text})
    assert answer.refusal == (422, "validation_error")


async def test_a_request_without_alternative_names_is_signed_for_its_common_name(
    world: World,
) -> None:
    await role(world, await authority(world))
    made = (await world.agent.post("/v1/pki/sign/svc", {"csr_pem": request()})).data
    verify(made["certificate"], made["ca_chain"], "a.svc.example")


async def test_a_revoked_certificate_is_on_the_signed_list(world: World) -> None:
    ca = await authority(world)
    await role(world, ca)
    kept, gone, plain = [(await issue(world)).data for _ in range(3)]
    assert len(await crl(world, ca["id"])) == 0
    await world.advance(HOUR)
    url = f"{CERTIFICATES}/{gone['id']}/revoke"
    answer = (await world.agent.post(url, {"reason": "key_compromise"})).data
    assert (answer["status"], answer["reason"]) == ("revoked", "key_compromise")
    await world.agent.post(f"{CERTIFICATES}/{plain['id']}/revoke")
    made = await crl(world, ca["id"])
    public = (await ca_certificate(world, ca)).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert made.is_signature_valid(public)
    serial = int(gone["serial_number"], 16)
    line = made.get_revoked_certificate_by_serial_number(serial)
    assert line is not None
    assert line.revocation_date_utc == moment(START + HOUR)
    reason = line.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    other = made.get_revoked_certificate_by_serial_number(int(plain["serial_number"], 16))
    assert other is not None
    assert not list(other.extensions)
    fine = int(kept["serial_number"], 16)
    assert made.get_revoked_certificate_by_serial_number(fine) is None


async def test_revoking_twice_changes_nothing(world: World) -> None:
    await role(world, await authority(world))
    made = (await issue(world)).data
    url = f"{CERTIFICATES}/{made['id']}/revoke"
    first = (await world.agent.post(url, {"reason": "superseded"})).data
    await world.advance(HOUR)
    assert (await world.agent.post(url, {"reason": "key_compromise"})).data == first
    shown = (await world.agent.get(f"{CERTIFICATES}/{made['id']}")).data
    assert (shown["status"], shown["revoked_at"]) == ("revoked", first["revoked_at"])


async def test_a_list_can_be_made_anew(world: World) -> None:
    ca = await authority(world)
    made = (await world.agent.post(f"/v1/pki/ca/{ca['id']}/crl")).data
    text = x509.load_pem_x509_crl(made["crl_pem"].encode())
    assert text.next_update_utc == moment(START + DAY)


async def test_certificates_are_listed_by_authority_expiry_and_status(world: World) -> None:
    ca, other = await authority(world), await authority(world, "other")
    await role(world, ca)
    short, long, gone = [(await issue(world, ttl=ttl)).data for ttl in ("1h", "72h", "72h")]
    await world.agent.post(f"{CERTIFICATES}/{gone['id']}/revoke")

    async def ids(query: str = "") -> list[str]:
        rows = (await world.agent.get(CERTIFICATES + query)).data["certificates"]
        return [row["id"] for row in rows]

    assert await ids() == [short["id"], long["id"]]
    assert await ids("?include_revoked=true") == [short["id"], long["id"], gone["id"]]
    assert await ids("?expiring_within=2h") == [short["id"]]
    assert await ids(f"?ca_id={other['id']}") == []
    await world.advance(2 * HOUR)
    assert await ids("?expiring_within=2h") == []
    shown = (await world.agent.get(f"{CERTIFICATES}/{short['id']}")).data
    assert (shown["status"], shown["role"]) == ("expired", "svc")


async def test_the_pem_of_a_certificate_is_the_text_alone(world: World) -> None:
    await role(world, await authority(world))
    made = (await issue(world)).data
    answer = await world.agent.get(f"{CERTIFICATES}/{made['id']}/pem")
    assert answer.content.decode() == made["certificate"]


async def test_another_tenant_sees_none_of_it(world: World) -> None:
    ca = await authority(world)
    await role(world, ca)
    made = (await issue(world)).data
    other = world.as_(AGENT_B)
    assert (await other.get("/v1/pki/ca")).data["cas"] == []
    assert (await other.get(f"/v1/pki/ca/{ca['id']}/crl")).refusal == (404, "ca_not_found")
    shown = await other.get(f"{CERTIFICATES}/{made['id']}")
    assert shown.refusal == (404, "certificate_not_found")
    body = {"common_name": "a.svc.example"}
    assert (await other.post("/v1/pki/issue/svc", body)).refusal == (400, "invalid_role")


@pytest.mark.parametrize("path", ["cert_x", "cert_x/pem", "cert_x/revoke"])
async def test_an_unknown_certificate_is_not_found(world: World, path: str) -> None:
    method = "POST" if path.endswith("revoke") else "GET"
    answer = await world.agent(method, f"{CERTIFICATES}/{path}")
    assert answer.refusal == (404, "certificate_not_found")
