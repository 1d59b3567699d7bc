"""The one grammar by which endpoint URLs are read. Pure.

It is narrower than any parser's: what two of them could read differently is refused here.
Spec: remote-servers 5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import NoReturn
from urllib.parse import unquote_plus

import idna

from scaimcp.errors import EndpointForbidden, EndpointInvalid
from scaimcp.remotes.rules.addresses import Address

DEFAULT_PORTS: Mapping[str, int] = {"https": 443, "http": 80}
_MAX_URL, _MAX_PATH, _MAX_QUERY, _MAX_HOST = 2_048, 1_024, 512, 253

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?P<fragment>#.*)?\Z"
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]+)(?P<port>:[0-9]{1,5})?\Z")
# White space of any script, C0 and C1 controls, format characters that hide, and the backslash.
_BAD_CHARACTERS = re.compile(
    r"[\s\x00-\x20\x7f-\x9f\\\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"
)
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What RFC 3986 allows in a path or query; the rest is percent-encoded.
_UNSAFE = re.compile(rb"[^A-Za-z0-9._~!$&'()*+,;=:@/?%-]")
_SECRET_NAME = re.compile(r"key|token|secret|passw|sig|auth", re.IGNORECASE)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")

_MESSAGES: Mapping[str, str] = {
    "too_long": "The URL is longer than 2,048 characters.",
    "characters": "The URL holds white space, a control character or a backslash.",
    "syntax": "The URL is not absolute, or it cannot be read.",
    "scheme": "The scheme must be https.",
    "plaintext": "The scheme must be https; http is open only to hosts the operator has listed.",
    "user_info": "The URL must not hold a user name or password; use credentials.",
    "fragment": "The URL must not have a fragment.",
    "host": "The host is not a valid DNS name.",
    "port_syntax": "The port is not a number from 1 to 65535.",
    "path_too_long": "The path is longer than 1,024 characters.",
    "query_too_long": "The query is longer than 512 characters.",
    "secret_in_query": "A query parameter is named like a secret; use credentials instead.",
    "ip_literal": "An IP address in place of a host name is not allowed.",
    "single_label": "A host name without a dot is not allowed.",
    "local_name": "A host name of a local network is not allowed.",
    "port": "The port is not allowed.",
    "own_origin": "The endpoint is this gateway itself.",
    "address": "The host resolves to an address that is not allowed.",
    "never_allowed": "The host resolves to an address that no setting opens.",
}


def invalid(reason: str) -> NoReturn:
    """Refuse the form of a URL."""
    raise EndpointInvalid(reason, _MESSAGES[reason])


def forbidden(reason: str, address: str = "") -> NoReturn:
    """Refuse a host, a port or an address."""
    raise EndpointForbidden(reason, _MESSAGES[reason], address=address)


def split(url: str) -> dict[str, str]:
    """Split a URL; absent parts are "". ``query`` has its question mark."""
    if len(url) > _MAX_URL:
        invalid("too_long")
    if _BAD_CHARACTERS.search(url) or _SURROGATE.search(url):
        invalid("characters")
    found = _URL.match(url)
    if found is None:
        invalid("syntax")
    if found["fragment"] is not None:
        invalid("fragment")
    if "@" in found["authority"]:
        invalid("user_info")
    authority = _AUTHORITY.match(found["authority"])
    if authority is None:
        invalid("syntax")
    return {
        name: value or "" for name, value in {**found.groupdict(), **authority.groupdict()}.items()
    }


def read_host(text: str) -> tuple[str, Address | None]:
    """Return a host in the one spelling used from here on, and its address if it is a literal.

    A literal in a notation of its own, such as ``0x7f.1``, is left as a name; its last label
    gives it away later.
    """
    if text.startswith("["):
        try:
            address: Address = IPv6Address(text[1:-1])
        except ValueError:
            invalid("host")
        if "%" in text:
            forbidden("ip_literal")
        return str(address), address
    host = _ascii_host(text)
    try:
        return host, IPv4Address(host)
    except ValueError:
        return host, None


def _ascii_host(text: str) -> str:
    """Return a DNS name lower-case, IDNA-encoded and without its trailing dot."""
    if len(text) > _MAX_HOST + 1:
        invalid("host")
    try:
        name = text.lower() if text.isascii() else idna.uts46_remap(text, True, False)
        labels = [_ascii_label(label) for label in name.removesuffix(".").split(".")]
    except UnicodeError:
        invalid("host")
    host = ".".join(labels)
    if len(host) > _MAX_HOST or not all(map(_LABEL.match, labels)):
        invalid("host")
    return host


def _ascii_label(label: str) -> str:
    """Encode a label; ASCII ones stay, punycode ones are decoded to see that they can be."""
    if label.isascii() and not label.startswith("xn--"):
        return label
    return idna.alabel(label).decode("ascii")


def read_port(text: str, default: int) -> int:
    """Return the port that ``:8443`` names, or the default for ""."""
    port = int(text[1:]) if text else default
    if not 1 <= port <= 65_535:
        invalid("port_syntax")
    return port


def check_tail(path: str, query: str) -> tuple[str, str]:
    """Check path and query and return them percent-encoded."""
    if _BAD_PERCENT.search(path) or _BAD_PERCENT.search(query):
        invalid("syntax")
    path, query = _quoted(path), _quoted(query)
    if len(path) > _MAX_PATH:
        invalid("path_too_long")
    if len(query) > _MAX_QUERY + 1:
        invalid("query_too_long")
    for pair in re.split("[&;]", query[1:]):
        # Some servers decode names twice.
        if _SECRET_NAME.search(unquote_plus(unquote_plus(pair.partition("=")[0]))):
            invalid("secret_in_query")
    return path, query


def _quoted(text: str) -> str:
    return _UNSAFE.sub(percent, text.encode()).decode("ascii")


def percent(found: re.Match[bytes]) -> bytes:
    """Return a matched byte percent-encoded."""
    return b"%%%02X" % found[0][0]
