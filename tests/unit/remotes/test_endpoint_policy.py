"""Which endpoints may be named, and tricks that make two parsers read two hosts.

Spec: remote-servers 5 and 11 (rows 14-18, 20, 21).
"""

from __future__ import annotations

import contextlib
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.errors import EndpointForbidden, EndpointInvalid, GatewayError
from scaimcp.remotes.rules.endpoint_policy import Endpoint, EndpointPolicy

OWN = ("https://mcp.gateway.example.com", "http://127.0.0.1:8080")
POLICY = EndpointPolicy(own_origins=OWN)
OPENED = EndpointPolicy(
    allowed_private=(
        "crm.internal.example.com",
        "db:5432",
        "tool.internal:8443",
        "*.lab.example.com:8443",
        "localhost:9000",
        "10.0.0.0/8",
        "192.168.7.7:8443",
        "10.9.0.0/16:8443",
        "[fd12::/16]:8443",
        "fd34::/16:8443",
        "[fd56::/16]",
        "*.münchen.example",
    ),
    denied_cidrs=("10.66.0.0/16", "2606:4700::/32", "8.8.4.4"),
    allowed_plaintext_hosts=("127.0.0.1", "Plain.Example.com", "[::1]"),
    allowed_ports=("443", "80", "1024-65535"),
    own_origins=OWN,
)
LONG_HOST = ".".join(["a" * 61] * 4) + ".example"


def refusal(policy: EndpointPolicy, url: str) -> tuple[str, str]:
    with pytest.raises(GatewayError) as caught:
        policy.check_url(url)
    error = caught.value
    assert isinstance(error, (EndpointInvalid, EndpointForbidden))
    assert error.http_status == 422
    return error.code.removeprefix("SCAILINK_ENDPOINT_"), error.reason


@pytest.mark.parametrize(
    ("url", "expected", "host", "port"),
    [
        ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp", "mcp.example.com", 443),
        ("HTTPS://MCP.Example.COM", "https://mcp.example.com/", "mcp.example.com", 443),
        ("https://mcp.example.com:443/", "https://mcp.example.com/", "mcp.example.com", 443),
        ("https://mcp.example.com:8443", "https://mcp.example.com:8443/", "mcp.example.com", 8443),
        ("https://mcp.example.com:08443", "https://mcp.example.com:8443/", "mcp.example.com", 8443),
        ("https://mcp.example.com./a", "https://mcp.example.com/a", "mcp.example.com", 443),
        ("https://bücher.example/ä", "https://xn--bcher-kva.example/%C3%A4", None, 443),
        ("https://BÜCHER。example", "https://xn--bcher-kva.example/", None, 443),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/", None, 443),
        ("https://ｍｃｐ.example/", "https://mcp.example/", "mcp.example", 443),
        ("https://r3---sn-x.example/", "https://r3---sn-x.example/", "r3---sn-x.example", 443),
        ("https://a.example?x=1&y=%20", "https://a.example/?x=1&y=%20", "a.example", 443),
        ('https://a.example/"<{|}>', "https://a.example/%22%3C%7B%7C%7D%3E", "a.example", 443),
        ("https://a.example/x@y:z", "https://a.example/x@y:z", "a.example", 443),
        ("https://127.0.0.1.example.com/", "https://127.0.0.1.example.com/", None, 443),
        ("https://a.example/" + "a" * 1023, "https://a.example/" + "a" * 1023, None, 443),
        ("https://a.example/?" + "a" * 512, "https://a.example/?" + "a" * 512, None, 443),
    ],
)
def test_a_url_is_rebuilt_in_one_spelling(
    url: str, expected: str, host: str | None, port: int
) -> None:
    endpoint = POLICY.check_url(url)
    assert endpoint.url == expected
    assert endpoint.host == host or host is None
    assert endpoint.port == port
    assert endpoint.origin == f"https://{endpoint.host}:{port}"
    assert not endpoint.is_plain


@pytest.mark.row(14)
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "syntax"),
        ("mcp.example.com/mcp", "syntax"),
        ("//mcp.example.com/mcp", "syntax"),
        ("/mcp", "syntax"),
        ("https:mcp.example.com", "syntax"),
        ("https:/mcp.example.com", "syntax"),
        ("https:///mcp.example.com", "syntax"),
        ("https://", "syntax"),
        ("https://[::1", "syntax"),
        ("https://::1/", "syntax"),
        ("https://a.example:/", "syntax"),
        ("https://a.example:x/", "syntax"),
        ("https://a.example:８４４３/", "syntax"),
        ("https://a.example:443:80/", "syntax"),
        ("https://a.example:000443/", "syntax"),
        ("https://a.example/%zz", "syntax"),
        ("https://a.example/?a=%2", "syntax"),
        ("https://a.example:0/", "port_syntax"),
        ("https://a.example:65536/", "port_syntax"),
        ("http://a.example/", "plaintext"),
        ("http://127.0.0.1/", "plaintext"),
        ("ftp://a.example/", "scheme"),
        ("file://a.example/etc/passwd", "scheme"),
        ("javascript://a.example/", "scheme"),
        ("wss://a.example/", "scheme"),
        ("https://user@a.example/", "user_info"),
        ("https://user:pw@a.example/", "user_info"),
        ("https://a.example@evil.example/", "user_info"),
        ("https://@a.example/", "user_info"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example#", "fragment"),
        ("https://a.example#@evil.example/", "fragment"),
        ("https://a.example\\@evil.example/", "characters"),
        ("https:\\\\a.example/", "characters"),
        ("https://a.exa\tmple/", "characters"),
        ("https://a.exa\nmple/", "characters"),
        (" https://a.example/", "characters"),
        ("https://a.example/ ", "characters"),
        ("https://a.example/a b", "characters"),
        ("https://a.example/\u00a0", "characters"),
        ("https://a.example/\u3000", "characters"),
        ("https://a.example/\u202e", "characters"),
        ("https://a.exa\u200bmple/", "characters"),
        ("https://a.example/\x00", "characters"),
        ("https://a.example/\x7f", "characters"),
        ("https://a.example/\x85", "characters"),
        ("https://a.example/\ud800", "characters"),
        ("https://a_b.example/", "host"),
        ("https://%31%32%37.0.0.1/", "host"),
        ("https://a%2eexample/", "host"),
        ("https://a..example/", "host"),
        ("https://a.example../", "host"),
        ("https://.example/", "host"),
        ("https://./", "host"),
        ("https://-a.example/", "host"),
        ("https://a-.example/", "host"),
        ("https://" + "a" * 64 + ".example/", "host"),
        (f"https://{LONG_HOST}/", "host"),
        (f"https://{LONG_HOST}.example.example.example/", "host"),
        ("https://xn--a.example/", "host"),
        ("https://xn--.example/", "host"),
        ("https://☃.example/", "host"),
        ("https://a\u0338.example\u2488/", "host"),
        ("https://" + "ü" * 62 + "." + ("ü" * 50 + ".") * 3 + "example/", "host"),
        ("https://[zz]/", "host"),
        ("https://[127.0.0.1]/", "host"),
        ("https://[]/", "host"),
        ("https://a,b.example/", "host"),
        ("https://a.example/" + "a" * 1024, "path_too_long"),
        ("https://a.example/" + "ä" * 171, "path_too_long"),
        ("https://a.example/?" + "a" * 513, "query_too_long"),
        ("https://a.example/" + "a" * 2048, "too_long"),
        ("https://a.example/?api_key=x", "secret_in_query"),
        ("https://a.example/?x=1&Access-Token=x", "secret_in_query"),
        ("https://a.example/?x=1;client_SECRET=x", "secret_in_query"),
        ("https://a.example/?passwd", "secret_in_query"),
        ("https://a.example/?Signature=x", "secret_in_query"),
        ("https://a.example/?oauth=x", "secret_in_query"),
        ("https://a.example/?%6bey=x", "secret_in_query"),
        ("https://a.example/?%256bey=x", "secret_in_query"),
    ],
)
def test_a_malformed_url_is_invalid(url: str, reason: str) -> None:
    assert refusal(POLICY, url) == ("INVALID", reason)


@pytest.mark.row(15)
@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1", "ip_literal"),
        ("127.0.0.1.", "ip_literal"),
        ("8.8.8.8", "ip_literal"),
        ("127.1", "ip_literal"),
        ("127.0.0.1.5", "ip_literal"),
        ("0x7f.1", "ip_literal"),
        ("0X7F.0X1", "ip_literal"),
        ("0x7f000001", "ip_literal"),
        ("0x", "ip_literal"),
        ("2130706433", "ip_literal"),
        ("017700000001", "ip_literal"),
        ("0177.0.0.1", "ip_literal"),
        ("example.0x10", "ip_literal"),
        ("example.1", "ip_literal"),
        ("127。0。0。1", "ip_literal"),
        ("１２７.0.0.1", "ip_literal"),
        ("①②⑦.0.0.1", "ip_literal"),
        ("[::1]", "ip_literal"),
        ("[::]", "ip_literal"),
        ("[::ffff:127.0.0.1]", "ip_literal"),
        ("[::FFFF:7F00:1]", "ip_literal"),
        ("[2606:4700::1111]", "ip_literal"),
        ("[fe80::1%25eth0]", "ip_literal"),
        ("[fe80::1%eth0]", "ip_literal"),
        ("localhost", "local_name"),
        ("LOCALHOST.", "local_name"),
        ("ⓛocalhost", "local_name"),
        ("loc\u00adalhost", "local_name"),
        ("db", "single_label"),
        ("a.localhost", "local_name"),
        ("printer.local", "local_name"),
        ("x.internal", "local_name"),
        ("x.INTERNAL.", "local_name"),
        ("metadata.google.internal", "local_name"),
        ("internal", "local_name"),
        ("a.example:80", "port"),
        ("a.example:1023", "port"),
        ("a.example:22", "port"),
        ("mcp.gateway.example.com", "own_origin"),
        ("MCP.gateway.example.com.:443", "own_origin"),
        ("127.0.0.1:8080", "own_origin"),
    ],
)
def test_a_host_that_is_no_public_name_is_forbidden(host: str, reason: str) -> None:
    assert refusal(POLICY, f"https://{host}/mcp") == ("FORBIDDEN", reason)


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.internal.example.com/mcp",
        "https://db:5432/",
        "https://tool.internal:8443/",
        "https://a.lab.example.com:8443/",
        "https://localhost:9000/",
        "https://10.1.2.3/",
        "https://192.168.7.7:8443/",
        "https://[fd12::1]:8443/",
        "https://[fd34::1]:8443/",
        "https://[fd56::1]/",
        "https://a.xn--mnchen-3ya.example/",
    ],
)
def test_an_entry_of_the_operator_opens_exactly_its_host_and_port(url: str) -> None:
    assert OPENED.check_url(url).url == url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://db/", "single_label"),
        ("https://tool.internal/", "local_name"),
        ("https://other.internal:8443/", "local_name"),
        ("https://localhost/", "local_name"),
        ("https://10.1.2.3:8443/", "ip_literal"),
        ("https://192.168.7.7/", "ip_literal"),
        ("https://192.168.7.8:8443/", "ip_literal"),
        ("https://[fd12::1]/", "ip_literal"),
        ("https://10.66.0.1/", "never_allowed"),
        ("https://0xa.1/", "ip_literal"),
        ("https://[::ffff:10.1.2.3]/", "ip_literal"),
    ],
)
def test_the_next_host_or_port_stays_closed(url: str, reason: str) -> None:
    assert refusal(OPENED, url) == ("FORBIDDEN", reason)


def test_plain_http_is_open_to_listed_hosts_only() -> None:
    endpoint = OPENED.check_url("http://plain.example.com/mcp")
    assert endpoint == Endpoint(
        "http://plain.example.com/mcp",
        "http://plain.example.com:80",
        "plain.example.com",
        80,
        is_plain=True,
    )
    assert refusal(OPENED, "http://other.example.com/") == ("INVALID", "plaintext")
    policy = EndpointPolicy(
        allowed_private=("127.0.0.1:9000", "[::1]:9000"),
        allowed_plaintext_hosts=("127.0.0.1", "[::1]"),
    )
    assert policy.check_url("http://127.0.0.1:9000").url == "http://127.0.0.1:9000/"
    assert policy.check_url("http://[0::1]:9000").url == "http://[::1]:9000/"
    assert policy.check_url("http://[0::1]:9000").origin == "http://[::1]:9000"


def test_an_error_repeats_neither_the_query_nor_the_address() -> None:
    for url in ("https://a.example/?token=hunter2", "https://10.20.30.40/hunter2"):
        with pytest.raises(GatewayError) as caught:
            POLICY.check_url(url)
        assert "hunter2" not in f"{caught.value} {caught.value.message}"
        assert "10.20.30.40" not in caught.value.message
    with pytest.raises(EndpointForbidden) as forbidden:
        POLICY.check("a.example", 443, ["10.20.30.40"])
    assert "10.20" not in forbidden.value.message
    assert forbidden.value.address == "10.20.30.40"


@given(st.text())
def test_any_text_is_judged_and_never_breaks_the_judge(text: str) -> None:
    for url in (text, f"https://{text}", f"https://{text}.example/{text}?{text}"):
        with contextlib.suppress(EndpointInvalid, EndpointForbidden):
            POLICY.check_url(url)


HOSTILE = st.text(alphabet="aA1.:/\\@#?[]%0x-_。１ß\t", max_size=24)


@given(HOSTILE)
def test_an_accepted_url_reads_the_same_to_another_parser(text: str) -> None:
    try:
        endpoint = POLICY.check_url(f"https://{text}")
    except (EndpointInvalid, EndpointForbidden):
        return
    parsed = urlsplit(endpoint.url)
    assert (parsed.scheme, parsed.hostname, parsed.port or 443) == (
        "https",
        endpoint.host,
        endpoint.port,
    )
    assert endpoint.url.isascii()
    assert parsed.username is None
    assert "." in endpoint.host
    assert POLICY.check_url(endpoint.url) == endpoint


@pytest.mark.parametrize(
    ("field", "entry"),
    [
        ("allowed_private", "10.0.0.5/8"),
        ("allowed_private", "host:"),
        ("allowed_private", "host:0"),
        ("allowed_private", "host:70000"),
        ("allowed_private", "ho st:443"),
        ("allowed_private", "*.*.example"),
        ("allowed_private", ""),
        ("denied_cidrs", "example.com"),
        ("denied_cidrs", "10.0.0.0/33"),
        ("allowed_plaintext_hosts", "http://a"),
        ("allowed_plaintext_hosts", "[fe80::1%eth0]"),
        ("allowed_ports", "0"),
        ("allowed_ports", "2-1"),
        ("allowed_ports", "1-70000"),
        ("allowed_ports", "https"),
        ("own_origins", "gateway.example.com"),
        ("own_origins", "ftp://gateway.example.com"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(field: str, entry: str) -> None:
    with pytest.raises(ValueError, match=r"is no |has no ") as caught:
        EndpointPolicy(**{field: (entry,)})
    assert str(caught.value)[1:].startswith(entry[2:] if entry.startswith("*.") else entry[:5])


def test_a_star_opens_every_port_of_its_place_alone() -> None:
    policy = EndpointPolicy(
        allowed_private=("127.0.0.0/8:*", "[::1/128]:*", "crm.internal:*"),
        allowed_plaintext_hosts=("127.0.0.1",),
    )
    for port in (1024, 8080, 65_535):
        policy.check("127.0.0.1", port, ["127.0.0.1"])
        policy.check("crm.internal", port, ["10.0.0.5"])
        assert policy.check_url(f"http://127.0.0.1:{port}/mcp").port == port
        with pytest.raises(EndpointForbidden):
            policy.check("127.0.0.1", port, ["10.0.0.5"])
