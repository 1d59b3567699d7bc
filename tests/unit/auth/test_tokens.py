"""The local look at a bearer: it only ever refuses. Spec: scaigrid 2."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.auth.tokens import Claims, inspect

NOW = 1_800_000_000.0


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(claims: Any = None, header: Any = None, signature: str = "c2ln", **more: Any) -> str:
    body = {"exp": NOW + 60, **more} if claims is None else claims
    return f"{part(header or {'alg': 'RS256'})}.{part(body)}.{signature}"


@pytest.mark.parametrize("length", [36, 37, 100, 512])
def test_an_api_key_within_its_lengths_is_plausible(length: int) -> None:
    key = "sgk_" + "aZ0_-"[length % 5] * (length - 4)
    assert inspect(key, NOW) == Claims()


@pytest.mark.parametrize(
    "token",
    [
        "sgk_" + "a" * 31,
        "sgk_" + "a" * 509,
        "sgk_" + "a" * 31 + ".",
        "sgk_" + "a" * 40 + "\n",
        "SGK_" + "a" * 40,
        "sgk-" + "a" * 40,
        "sgk_" + "ä" * 40,
        "",
        "opaque-token-of-another-kind-0123456789",
        "Bearer sgk_" + "a" * 40,
    ],
)
def test_anything_else_is_not_accepted(token: str) -> None:
    assert inspect(token, NOW) is None


def test_a_jwt_gives_the_claims_that_are_read() -> None:
    token = jwt(role="tenant_user", aud=["a", "b"], scope="x", sub="u")
    assert inspect(token, NOW) == Claims(NOW + 60, "tenant_user", ["a", "b"])


@pytest.mark.parametrize("role", [7, None, ["tenant_user"], {"name": "tenant_user"}])
def test_a_role_in_another_form_is_none_and_refuses_nothing(role: Any) -> None:
    assert inspect(jwt(role=role), NOW) == Claims(NOW + 60)


@pytest.mark.parametrize(
    ("exp", "is_plausible"),
    [(NOW + 3600, True), (NOW, True), (NOW - 60, True), (NOW - 61, False), (0, False), (-1, False)],
)
def test_a_jwt_may_be_sixty_seconds_past_its_end(exp: float, is_plausible: bool) -> None:
    assert (inspect(jwt(exp=exp), NOW) is not None) is is_plausible


@pytest.mark.parametrize(
    "token",
    [
        jwt({}),
        jwt({"exp": None}),
        jwt({"exp": "soon"}),
        jwt([]),
        jwt(b"{"),
        jwt(b'{"exp":'),
        jwt(b"\xff\xfe"),
        jwt(b"[" * 3000),
        jwt(header=b"no json"),
        jwt(header=b"[]"),
        jwt(signature="x"),
        jwt(signature=""),
        jwt().replace(".", ":"),
        jwt() + ".more",
        jwt() + "=",
        jwt() + "\n",
        jwt(pad="x" * 6100),
    ],
)
def test_a_malformed_jwt_is_not_plausible(token: str) -> None:
    assert inspect(token, NOW) is None


def test_a_jwt_of_eight_kibibytes_is_the_longest() -> None:
    shorter = jwt()
    room = 8 * 1024 - len(shorter) - 1
    assert inspect(jwt(signature="c2ln" + "c2ln" * (room // 4)), NOW) is not None
    assert inspect(jwt(signature="c2ln" * (room // 4 + 3)), NOW) is None


@pytest.mark.parametrize(
    ("aud", "is_plausible"),
    [("a", True), (["x", "b"], True), ("x", False), ([], False), (None, False), ([7, {}], False)],
)
def test_audiences_are_compared_when_they_are_set(aud: Any, is_plausible: bool) -> None:
    token = jwt(aud=aud)
    assert inspect(token, NOW) is not None
    assert (inspect(token, NOW, ("a", "b")) is not None) is is_plausible


def test_an_api_key_has_no_audience_to_compare() -> None:
    assert inspect("sgk_" + "a" * 40, NOW, ("a",)) == Claims()


@given(st.text(max_size=200))
def test_any_text_is_answered(token: str) -> None:
    claims = inspect(token, NOW)
    assert claims is None or token.startswith("sgk_")


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_in_the_parts_are_answered(header: bytes, body: bytes) -> None:
    inspect(f"{part(header)}.{part(body)}.c2ln", NOW)
