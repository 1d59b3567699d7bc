"""What an ID token has to be to prove who signed in. Spec: mcp-configs 4.4 (`login`)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from scaimcp.auth.id_token import Expected, IdTokenRefused, read_keys, subject_of
from tests.fakes.idtokens import (
    CLIENT,
    ISSUER,
    NONCE,
    NOW,
    USER,
    AnyKey,
    claims,
    elliptic,
    key_set,
    rsa,
    signed,
)

EXPECTED = Expected(ISSUER, CLIENT, NONCE, "access")


def check(token: str, *keys: AnyKey, expected: Expected = EXPECTED, now: float = NOW) -> str:
    return subject_of(token, read_keys(key_set(*(keys or (rsa(),)))), expected, now)


def reason(token: str, *keys: AnyKey, **more: Any) -> str:
    with pytest.raises(IdTokenRefused) as caught:
        check(token, *keys, **more)
    return caught.value.reason


def half_hash(text: str) -> str:
    half = hashlib.sha256(text.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).rstrip(b"=").decode()


@pytest.mark.parametrize("key", [rsa(), elliptic()], ids=["RS256", "ES256"])
def test_a_token_signed_with_either_algorithm_names_its_user(key: AnyKey) -> None:
    assert check(signed(claims(), key), key) == USER


def test_the_key_is_found_by_its_id_or_among_all() -> None:
    keys = (elliptic(), rsa("r2"), rsa())
    assert check(signed(claims()), *keys) == USER
    assert check(signed(claims(), kid=None), *keys) == USER
    assert reason(signed(claims(), kid="r2"), *keys) == "signature"
    assert reason(signed(claims(), kid="r9"), *keys) == "signature"


def test_a_token_of_another_key_proves_nothing() -> None:
    assert reason(signed(claims(), rsa("r2"), kid="r1")) == "signature"
    assert reason(signed(claims()), elliptic()) == "signature"
    head, _, signature = signed(claims()).split(".")
    said = base64.urlsafe_b64encode(msgspec.json.encode(claims(sub="usr_eve"))).rstrip(b"=")
    assert reason(f"{head}.{said.decode()}.{signature}") == "signature"
    assert reason(f"{head}.{said.decode()}.") == "signature"


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RS512", "PS256", "EdDSA", ["RS256"], 7])
def test_no_other_algorithm_is_taken(algorithm: Any) -> None:
    parts = [{"alg": algorithm, "kid": "r1"}, claims()]
    encoded = [base64.urlsafe_b64encode(msgspec.json.encode(one)).rstrip(b"=") for one in parts]
    token = ".".join(one.decode() for one in encoded)
    assert reason(f"{token}.c2ln") in ("algorithm", "format")


def test_a_shared_secret_is_no_key() -> None:
    shared = OctKey.import_key(b"s" * 32, parameters={"kid": "r1"})
    token = signed(claims(), shared)
    assert reason(token) == "algorithm"
    assert read_keys(key_set(shared)) == ()


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "x" * 20_000])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert reason(token) == "format"


def test_a_payload_that_is_no_object_is_refused() -> None:
    token = jws.serialize_compact({"alg": "RS256", "kid": "r1"}, b"[1]", rsa())
    assert reason(token) == "signature"


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://id.example/"},
        {"iss": None},
        {"iss": 1},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": None},
        {"aud": [CLIENT, 1]},
        {"aud": [CLIENT, "another"]},
        {"azp": "another"},
        {"exp": int(NOW) - 60},
        {"exp": None},
        {"exp": "tomorrow"},
        {"iat": int(NOW) + 61},
        {"iat": None},
        {"nbf": int(NOW) + 61},
        {"nonce": "other"},
        {"nonce": None},
        {"nonce": [NONCE]},
        {"sub": None},
        {"at_hash": half_hash("another")},
        {"at_hash": 5},
        {"auth_time": "now"},
        {"amr": "pwd"},
    ],
    ids=str,
)
def test_a_token_that_says_something_else_is_refused(changed: dict[str, Any]) -> None:
    assert reason(signed(claims(**changed))) == "claims"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "another"], "azp": CLIENT},
        {"azp": CLIENT},
        {"exp": int(NOW) - 59},
        {"iat": int(NOW) + 59},
        {"at_hash": half_hash("access")},
        {"amr": ["pwd"]},
    ],
    ids=str,
)
def test_a_token_that_says_the_same_otherwise_is_taken(changed: dict[str, Any]) -> None:
    assert check(signed(claims(**changed))) == USER


def test_the_user_may_stand_in_another_claim() -> None:
    expected = msgspec.structs.replace(EXPECTED, subject_claim="scaigrid_user")
    assert check(signed(claims(scaigrid_user="usr_x")), expected=expected) == "usr_x"
    for value in (None, "", 7, ["usr_x"], "u" * 256):
        assert reason(signed(claims(scaigrid_user=value)), expected=expected) == "subject"


def test_keys_that_cannot_sign_are_passed_over() -> None:
    usable: dict[str, Any] = dict(rsa().as_dict(private=False))
    listed: list[Any] = [
        "no key",
        {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
        {"kty": ["RSA"]},
        {"kty": "RSA", "n": "AA"},
        {"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"},
        {"kty": "RSA", "n": 5, "e": []},
        {**usable, "use": "enc"},
        {**usable, "n": "A" * 43 + usable["n"][:171]},
        usable,
    ]
    (kept,) = read_keys(msgspec.json.encode({"keys": listed}))
    assert kept.kid == "r1"


def test_a_curve_of_another_size_signs_nothing() -> None:
    key = ECKey.generate_key("P-384", parameters={"kid": "e1"})
    assert reason(signed(claims(), elliptic()), key) == "signature"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b"\xff"])
def test_what_is_no_key_set_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_keys(body)
