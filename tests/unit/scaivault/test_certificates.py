"""Certificates judged: chain, times, revocation, host name. Spec: scaivault 1 (PK8)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from scaimcp.scaivault.certificates import (
    Link,
    issued_by,
    judge,
    names_host,
    read_certificate,
    read_crl,
)
from tests.unit.scaivault.certificates import NOW, YEAR, Made, make, revocation_list

ROOT = make("Root")
MIDDLE = make("Middle", ROOT)
LEAF = make("leaf", MIDDLE, is_ca=False, names=("www.example.com", "*.svc.example.com"))
EMPTY = [Link(MIDDLE.certificate, revocation_list(MIDDLE)),
         Link(ROOT.certificate, revocation_list(ROOT))]  # fmt: skip


def links(*pairs: tuple[Made, tuple[Made, ...] | None]) -> list[Link]:
    return [
        Link(made.certificate, None if gone is None else revocation_list(made, *gone))
        for made, gone in pairs
    ]


def test_a_whole_chain_is_valid() -> None:
    result = judge(LEAF.certificate, EMPTY, "www.example.com", NOW)
    assert result == {
        "valid": True,
        "reasons": [],
        "subject": "CN=leaf",
        "issuer": "CN=Middle",
        "serial_number": f"{LEAF.certificate.serial_number:x}",
        "not_before": "2025-04-24T03:06:40Z",
        "not_after": "2027-04-24T03:06:40Z",
        "chain_ok": True,
        "revoked": False,
    }


@pytest.mark.parametrize(
    ("way", "reasons", "revoked"),
    [
        ([], ["issuer_unknown", "revocation_unknown"], None),
        (links((MIDDLE, ())), ["issuer_unknown"], False),
        (links((MIDDLE, None), (ROOT, ())), ["revocation_unknown"], None),
        (links((MIDDLE, (LEAF,)), (ROOT, ())), ["revoked"], True),
        (links((MIDDLE, ()), (ROOT, (MIDDLE,))), ["issuer_revoked"], False),
        (links((ROOT, ())), ["signature_invalid"], False),
    ],
)
def test_a_broken_way_up_is_named(
    way: list[Link], reasons: list[str], revoked: bool | None
) -> None:
    result = judge(LEAF.certificate, way, None, NOW)
    assert (result["valid"], result["reasons"], result["revoked"]) == (False, reasons, revoked)


def test_a_list_of_somebody_else_does_not_count() -> None:
    way = [Link(MIDDLE.certificate, revocation_list(ROOT)), *EMPTY[1:]]
    assert judge(LEAF.certificate, way, None, NOW)["reasons"] == ["revocation_unknown"]


def test_a_list_that_has_run_out_still_shows_what_was_revoked() -> None:
    old = timedelta(days=-1)
    for gone, revoked in (((), None), ((LEAF,), True)):
        way = [Link(MIDDLE.certificate, revocation_list(MIDDLE, *gone, until=old)), *EMPTY[1:]]
        assert judge(LEAF.certificate, way, None, NOW)["revoked"] is revoked


@pytest.mark.parametrize(
    ("at", "reasons"),
    [
        (NOW - YEAR, []),
        (NOW - YEAR - timedelta(seconds=1),
         ["not_yet_valid", "issuer_not_yet_valid", "issuer_not_yet_valid"]),
        (NOW + YEAR, []),
        (NOW + YEAR + timedelta(seconds=1),
         ["expired", "issuer_expired", "issuer_expired", "revocation_unknown"]),
    ],
)  # fmt: skip
def test_every_certificate_must_be_valid_at_the_moment(at: object, reasons: list[str]) -> None:
    assert judge(LEAF.certificate, EMPTY, None, at)["reasons"] == reasons  # type: ignore[arg-type]


@pytest.mark.parametrize("is_ca", [False, None])
def test_an_issuer_must_be_an_authority(is_ca: bool | None) -> None:
    issuer = make("Sly", is_ca=is_ca)
    leaf = make("leaf", issuer, is_ca=False)
    result = judge(leaf.certificate, links((issuer, ())), None, NOW)
    assert result["reasons"] == ["issuer_not_an_authority"]


@pytest.mark.parametrize(
    ("hostname", "is_named"),
    [
        ("www.example.com", True), ("WWW.Example.com", True), ("example.com", False),
        ("a.svc.example.com", True), ("a.b.svc.example.com", False), ("svc.example.com", False),
        ("*.svc.example.com", True), ("leaf", False), (".svc.example.com", False),
        ("*.www.example.com", False),
    ],
)  # fmt: skip
def test_a_host_is_named_by_its_alternative_names_only(hostname: str, is_named: bool) -> None:
    assert names_host(LEAF.certificate, hostname) == is_named


def test_without_alternative_names_no_host_is_named() -> None:
    result = judge(ROOT.certificate, links((ROOT, ())), "Root", NOW)
    assert result["reasons"] == ["hostname_mismatch"]


def test_certificates_are_read_or_not() -> None:
    assert read_certificate(LEAF.pem) == LEAF.certificate
    broken = LEAF.pem[:28] + "AAAA" + LEAF.pem[32:]
    for text in ("", "x", broken, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"):
        assert read_certificate(text) is None
    assert issued_by(LEAF.certificate, MIDDLE.certificate)
    assert not issued_by(LEAF.certificate, make("Middle", ROOT).certificate)


def test_revocation_lists_come_in_three_forms() -> None:
    crl = revocation_list(ROOT, MIDDLE)
    pem = crl.public_bytes(Encoding.PEM)
    for body in (
        pem,
        crl.public_bytes(Encoding.DER),
        msgspec.json.encode({"crl_pem": pem.decode()}),
        msgspec.json.encode({"crl": pem.decode()}),
    ):
        assert read_crl(body) == crl
    for body in (b"", b"x", b"{}", b'{"crl":7}', pem[:80], b"\xff\xfe"):
        assert read_crl(body) is None
