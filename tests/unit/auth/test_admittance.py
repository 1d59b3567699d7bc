"""Checks on the bare request."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.auth import admittance
from scaimcp.errors import RequestRefused

HOSTS = frozenset({"mcp.example", "::1", "127.0.0.1"})
ORIGINS = frozenset({"https://app.example"})


def refused(check: Callable[[], object]) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        check()
    return caught.value


@pytest.mark.parametrize(
    "raw",
    [b"mcp.example", b"MCP.example:8443", b" mcp.example ", b"[::1]:80", b"[::1]", b"127.0.0.1:1"],
)  # fmt: skip
def test_a_served_host_passes_whatever_its_port(raw: bytes) -> None:
    admittance.check_host(raw, HOSTS)


@pytest.mark.parametrize(
    "raw",
    [None, b"", b"evil.example", b"mcp.example.evil", b"mcp.example:80:90", b"mcp.example.", b"[",
     b"\xff"],
)  # fmt: skip
def test_any_other_host_is_misdirected(raw: bytes | None) -> None:
    refusal = refused(lambda: admittance.check_host(raw, HOSTS))
    assert (refusal.http_status, refusal.code) == (421, "MISDIRECTED_REQUEST")


def test_without_an_origin_there_are_no_cors_headers() -> None:
    assert admittance.check_origin(None, ORIGINS) == ()


@pytest.mark.parametrize("raw", [b"https://app.example", b"https://APP.example"])
def test_an_allowed_origin_gets_cors_headers(raw: bytes) -> None:
    headers = dict(admittance.check_origin(raw, ORIGINS))
    assert headers[b"access-control-allow-origin"] == raw
    assert headers[b"vary"] == b"Origin"
    assert b"www-authenticate" in headers[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "raw", [b"https://evil.example", b"null", b"", b"http://app.example", b"https://app.example:444"]
)  # fmt: skip
def test_a_foreign_origin_is_refused(raw: bytes) -> None:
    refusal = refused(lambda: admittance.check_origin(raw, ORIGINS))
    assert (refusal.http_status, refusal.code) == (403, "AUTHZ_PERMISSION_DENIED")


def test_a_preflight_names_verb_and_headers() -> None:
    headers = dict(admittance.preflight())
    assert headers[b"access-control-allow-methods"] == b"POST"
    assert b"authorization" in headers[b"access-control-allow-headers"]


@pytest.mark.parametrize("raw", [b"application/json", b"Application/JSON ; charset=utf-8"])
def test_json_is_accepted(raw: bytes) -> None:
    admittance.check_media_type(raw)


@pytest.mark.parametrize(
    "raw", [None, b"", b"text/plain", b"application/json-rpc", b"application/"]
)
def test_other_media_types_are_refused(raw: bytes | None) -> None:
    refusal = refused(lambda: admittance.check_media_type(raw))
    assert (refusal.http_status, refusal.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, False), (b"", False), (b"application/json", False), (b"*/*", True),
        (b"application/json, Text/Event-Stream;q=0.5", True),
    ],
)  # fmt: skip
def test_whether_a_stream_is_accepted(raw: bytes | None, expected: bool) -> None:
    assert admittance.accepts_stream(raw) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        (b"", None),
        (b"Basic dTpw", None),
        (b"Bearer", None),
        (b"Bearer   ", None),
        (b"Bearer sgk_x", "sgk_x"),
        (b"bearer  sgk_x ", "sgk_x"),
        (b"Bearer a b", ""),
        (b"Bearer a\tb", ""),
        (b"Bearer \xe4", ""),
        (b"Bearer a\x00", ""),
        (b"Bearer a\r\nX: y", ""),
    ],
)
def test_the_bearer_of_a_header(raw: bytes | None, expected: str | None) -> None:
    assert admittance.bearer(raw) == expected


@given(st.binary(max_size=40))
def test_a_bearer_can_always_be_sent_on_in_a_header(raw: bytes) -> None:
    token = admittance.bearer(b"Bearer " + raw)
    assert token is None or all("!" <= character <= "~" for character in token)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None), (b"", None), (b"req-1_A.z", "req-1_A.z"), (b"a" * 128, "a" * 128),
        (b"a" * 129, None), (b"a b", None), (b"a\n", None), (b"\xff", None),
    ],
)  # fmt: skip
def test_a_wellformed_request_id_is_kept(raw: bytes | None, expected: str | None) -> None:
    assert admittance.given_request_id(raw) == expected


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None), (TRACE.encode(), TRACE), (b" %b " % TRACE.encode(), TRACE),
        (TRACE.upper().encode(), None), (TRACE.encode() + b"-x", None), (b"00", None),
    ],
)  # fmt: skip
def test_a_wellformed_traceparent_is_kept(raw: bytes | None, expected: str | None) -> None:
    assert admittance.given_traceparent(raw) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", b"198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", b"198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", b"1.1.1.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", b"", "10.0.0.1"),
        ("10.0.0.1", b"10.0.0.3,10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", b"evil, 10.0.0.2", None),
        ("10.0.0.1", b"198.51.100.1:4711", None),
        ("10.0.0.1", b"fe80::1%x\r\ny", None),
        ("fd00::1", b"2001:db8::1", "2001:db8::1"),
        (None, b"198.51.100.1", "198.51.100.1"),
        (None, b"", None),
        (None, b"10.0.0.9", "10.0.0.9"),
        ("unix", b"", None),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_trusted_proxy(
    peer: str | None, forwarded: bytes, expected: str | None
) -> None:
    proxies = admittance.Proxies(("10.0.0.0/8", "fd00::/8"))
    assert proxies.client_ip(peer, {b"x-forwarded-for": forwarded}) == expected


def test_without_trusted_proxies_only_the_peer_counts() -> None:
    headers = {b"x-forwarded-for": b"198.51.100.1"}
    assert admittance.Proxies(()).client_ip("203.0.113.9", headers) == "203.0.113.9"
    assert admittance.Proxies(()).client_ip("203.0.113.9", {}) == "203.0.113.9"
