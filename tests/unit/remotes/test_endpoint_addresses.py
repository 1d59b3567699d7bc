"""Addresses that a host may resolve to, and headers that may be sent. Spec: remote-servers 5."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.errors import EndpointForbidden, HeaderRefused
from scaimcp.remotes.rules.addresses import is_global_unicast
from scaimcp.remotes.rules.endpoint_policy import (
    EndpointPolicy,
    check_header_name,
    check_header_value,
    forwarded_user,
    strip_bearer,
)

POLICY = EndpointPolicy()
WIDE_OPEN = EndpointPolicy(allowed_private=("0.0.0.0/0", "::/0", "named.example.com"))
NARROW = EndpointPolicy(
    allowed_private=("10.0.0.0/8", "172.16.0.0/12:8443", "crm.example.com", "*.lab.example.com"),
    denied_cidrs=("10.66.0.0/16", "8.8.4.4"),
)
PUBLIC = [
    "93.184.215.14",
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "2a00:1450::1",
    "223.0.0.1",
]


def reason(policy: EndpointPolicy, host: str, port: int, *addresses: str) -> str:
    with pytest.raises(EndpointForbidden) as caught:
        policy.check(host, port, addresses)
    assert caught.value.code == "SCAILINK_ENDPOINT_FORBIDDEN"
    return caught.value.reason


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes(address: str) -> None:
    POLICY.check("mcp.example.com", 443, [address])
    assert is_global_unicast(ip_address(address))


SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.5",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::8.8.8.8",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::808:808",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fec0::1",
    "ff02::1",
    "2606:4700::1%eth0",
    "not-an-address",
    "",
    "0x7f.1",
    "127.1",
    "010.0.0.1",
]


@pytest.mark.parametrize("address", SPECIAL)
def test_an_address_that_is_no_global_unicast_is_refused(address: str) -> None:
    assert reason(POLICY, "mcp.example.com", 443, address) == "address"


NEVER = [
    "169.254.169.254",
    "169.254.0.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::169.254.169.254",
    "::ffff:169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:5601:5601",
]


@pytest.mark.row(18)
@pytest.mark.parametrize("policy", [POLICY, WIDE_OPEN])
@pytest.mark.parametrize("host", ["mcp.example.com", "named.example.com"])
@pytest.mark.parametrize("address", NEVER)
def test_no_setting_opens_a_metadata_or_link_local_address(
    policy: EndpointPolicy, host: str, address: str
) -> None:
    assert reason(policy, host, 443, address) == "never_allowed"


@pytest.mark.row(16)
@pytest.mark.parametrize("answers", [("8.8.8.8", "10.0.0.5"), ("10.0.0.5", "8.8.8.8")])
def test_one_private_answer_among_public_ones_is_enough(answers: tuple[str, str]) -> None:
    assert reason(POLICY, "mcp.example.com", 443, *answers) == "address"


def test_without_any_address_nothing_was_checked() -> None:
    assert reason(POLICY, "mcp.example.com", 443) == "address"


def test_a_network_is_opened_for_its_port_only() -> None:
    NARROW.check("a.example.com", 443, ["10.0.0.5", "8.8.8.8"])
    NARROW.check("a.example.com", 8443, ["172.16.0.5"])
    assert reason(NARROW, "a.example.com", 8443, "10.0.0.5") == "address"
    assert reason(NARROW, "a.example.com", 443, "172.16.0.5") == "address"
    assert reason(NARROW, "a.example.com", 443, "::ffff:10.0.0.5") == "address"


def test_a_host_is_opened_for_any_address_at_its_port_only() -> None:
    NARROW.check("crm.example.com", 443, ["192.168.0.1", "fd12::1", "127.0.0.1"])
    NARROW.check("one.lab.example.com", 443, ["192.168.0.1"])
    for host, port in (
        ("crm.example.com", 8443),
        ("x.crm.example.com", 443),
        ("two.one.lab.example.com", 443),
        ("lab.example.com", 443),
    ):
        assert reason(NARROW, host, port, "192.168.0.1") == "address"


def test_a_denied_network_is_closed_even_where_it_is_public_or_opened() -> None:
    assert reason(NARROW, "a.example.com", 443, "8.8.4.4") == "never_allowed"
    assert reason(NARROW, "crm.example.com", 443, "10.66.1.1") == "never_allowed"
    assert reason(NARROW, "crm.example.com", 443, "::ffff:10.66.1.1") == "never_allowed"


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_let_through(address: object) -> None:
    text = str(address)
    parsed = ip_address(text)
    if parsed.is_private or parsed.is_multicast or parsed.is_reserved or parsed.is_loopback:
        # Python counts a few anycast addresses of 192.0.0.0/24 and 2001::/23 as global; none here.
        assert not is_global_unicast(parsed)


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "X-Api-Key",
        "x-custom",
        "x_y",
        "apikey",
        "x-real",
        "hosts",
        "acceptor",
        "a" * 64,
    ],
)
def test_a_credential_header_is_sent_lower_case(name: str) -> None:
    assert check_header_name(name) == name.lower()


@pytest.mark.parametrize(
    "name", ["", "a" * 65, "a b", "a:b", "a\r\nb", "é", "a\n", "a/b", "(a)", "\u212aey"]
)
def test_a_malformed_header_name_is_refused(name: str) -> None:
    with pytest.raises(HeaderRefused) as caught:
        check_header_name(name)
    assert (caught.value.code, caught.value.reason) == ("VALIDATION_ERROR", "syntax")


RESERVED = """host content-type content-length Content-Encoding transfer-encoding connection
keep-alive te trailer upgrade expect date accept accept-encoding user-agent cookie cookie2
set-cookie origin referer forwarded via x-forwarded-for x-real-ip proxy-authorization
sec-fetch-mode mcp-session-id mcp-protocol-version last-event-id traceparent tracestate
baggage x-scaigrid-user x-scaimcp-hops HOST Mcp-Param-Region"""


@pytest.mark.row(23)
@pytest.mark.parametrize("name", RESERVED.split())
def test_a_header_of_the_gateway_or_of_http_cannot_be_set(name: str) -> None:
    with pytest.raises(HeaderRefused) as caught:
        check_header_name(name)
    assert caught.value.reason == "reserved"


@pytest.mark.parametrize("value", ["x", "a b\tc", "~!@#$%^&*()", "x" * 8_192])
def test_a_visible_value_is_sent_as_it_is(value: str) -> None:
    assert check_header_value(value) == value


@pytest.mark.row(23)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "empty"),
        ("x" * 8_193, "too_long"),
        ("hunter2\r\nx: y", "characters"),
        ("hunter2\n", "characters"),
        ("hunter2\x00", "characters"),
        ("hunter2é", "characters"),
        ("hunter2\x7f", "characters"),
        (" hunter2", "space"),
        ("hunter2 ", "space"),
        ("hunter2\t", "space"),
        (" ", "space"),
    ],
)
def test_a_value_that_would_break_a_header_is_refused_without_being_repeated(
    value: str, expected: str
) -> None:
    with pytest.raises(HeaderRefused) as caught:
        check_header_value(value)
    assert caught.value.reason == expected
    assert "hunter2" not in str(caught.value)


@pytest.mark.row(24)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bearer ntn_x", "ntn_x"),
        ("bearer ntn_x", "ntn_x"),
        ("Bearer Bearer x", "Bearer x"),
        ("ntn_Bearer x", "ntn_Bearer x"),
        ("Bearerx", "Bearerx"),
        ("Bearer", "Bearer"),
    ],
)
def test_one_leading_bearer_is_removed(value: str, expected: str) -> None:
    assert strip_bearer(value) == expected


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        ("usr_42", "usr_42"),
        ("alice@acme.example", "alice@acme.example"),
        ("a b", "a%20b"),
        ("josé", "jos%C3%A9"),
        ("a\r\nx: y", "a%0D%0Ax:%20y"),
        ("50%", "50%"),
        ("a%20b", "a%2520b"),
        ("\ud800", "%ED%A0%80"),
    ],
)
def test_a_user_id_is_forwarded_as_visible_ascii(user_id: str, expected: str) -> None:
    assert forwarded_user(user_id) == expected


@given(st.text(alphabet="a2%0 é\n"), st.text(alphabet="a2%0 é\n"))
def test_two_users_are_never_forwarded_as_one(one: str, other: str) -> None:
    assert (forwarded_user(one) == forwarded_user(other)) == (one == other)
    assert all("!" <= letter <= "~" for letter in forwarded_user(one))
