"""Which remote endpoints may be named and connected to, and which headers may be sent. Pure.

A URL is read by one strict grammar, then rebuilt, so the host that was judged is the host that is
looked up. Spec: remote-servers 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec

from scaimcp.errors import EndpointForbidden, EndpointInvalid, HeaderRefused
from scaimcp.remotes.rules.addresses import NEVER, Address, Network, embedded, is_global_unicast
from scaimcp.remotes.rules.endpoint_urls import (
    DEFAULT_PORTS,
    check_tail,
    forbidden,
    invalid,
    percent,
    read_host,
    read_port,
    split,
)

DEFAULT_ALLOWED_PORTS = ("443", "1024-65535")
_MAX_VALUE_BYTES = 8_192

_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0[xX][0-9A-Fa-f]*)\Z")
_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")

_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}\Z")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]+\Z")
_RESERVED_HEADERS = re.compile(
    r"(?:host|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|date|accept"
    r"|user-agent|cookie2?|set-cookie|origin|referer|forwarded|via|x-real-ip|last-event-id"
    r"|traceparent|tracestate|baggage"
    r"|(?:content|accept|x-forwarded|proxy|sec|mcp|x-scaigrid|x-scaimcp)-.*)\Z"
)
_BEARER = re.compile(r"bearer ", re.IGNORECASE)
# A percent sign is encoded where it could be taken for an encoded byte, or two user ids could be
# forwarded as one.
_FORWARD_ENCODED = re.compile(rb"[^\x21-\x7e]|%(?=[0-9A-Fa-f]{2})")


class Endpoint(msgspec.Struct, frozen=True):
    """A URL that passed the static rules.

    ``url`` is rebuilt from its parts: scheme and host lower-case and IDNA-encoded, no default
    port, never an empty path. ``origin`` always names the port, as sealed credentials are bound
    to it. ``is_plain`` is true for http.
    """

    url: str
    origin: str
    host: str
    port: int
    is_plain: bool


class _Opening(msgspec.Struct, frozen=True):
    """One entry of the allow-list: a network, or a host name or pattern; port 0 is any port."""

    port: int
    network: Any = None
    host: str = ""

    def opens_host(self, host: str, port: int) -> bool:
        if not self.host or not self._opens_port(port):
            return False
        if self.host.startswith("*."):
            return host.partition(".")[2] == self.host[2:]
        return host == self.host

    def opens_address(self, address: Address, port: int) -> bool:
        is_inside = self.network is not None and address in self.network
        return is_inside and self._opens_port(port)

    def _opens_port(self, port: int) -> bool:
        return self.port in (0, port)


class EndpointPolicy:
    """The operator's rules for remote endpoints.

    Args:
        allowed_private: entries ``CIDR[:port]``, ``host[:port]`` or ``*.host[:port]``; the port
            is 443 where none is named, ``*`` is any port, an IPv6 network with a port stands in
            brackets.
        denied_cidrs: networks that no entry of `allowed_private` opens.
        allowed_plaintext_hosts: hosts that may be reached by http.
        allowed_ports: single ports and ranges such as ``1024-65535``.
        own_origins: URLs of the gateway itself; their hosts and ports are refused.

    Raises:
        ValueError: an entry cannot be read; the text repeats the entry, which is no secret.
    """

    def __init__(
        self,
        *,
        allowed_private: Iterable[str] = (),
        denied_cidrs: Iterable[str] = (),
        allowed_plaintext_hosts: Iterable[str] = (),
        allowed_ports: Iterable[str] = DEFAULT_ALLOWED_PORTS,
        own_origins: Iterable[str] = (),
    ) -> None:
        self._openings = tuple(_opening(entry) for entry in allowed_private)
        self._never = (*NEVER, *(_network(entry) for entry in denied_cidrs))
        self._plaintext = frozenset(_setting_host(entry) for entry in allowed_plaintext_hosts)
        self._ports = tuple(_port_range(entry) for entry in allowed_ports)
        self._own = frozenset(_own_origin(entry) for entry in own_origins)

    def check_url(self, url: str) -> Endpoint:
        """Judge a URL without looking anything up.

        Raises:
            EndpointInvalid: form, scheme, user info, fragment or query.
            EndpointForbidden: host, port, or the gateway's own origin.
        """
        parts = split(url)
        scheme = parts["scheme"].lower()
        if scheme not in DEFAULT_PORTS:
            invalid("scheme")
        host, literal = read_host(parts["host"])
        if scheme == "http" and host not in self._plaintext:
            invalid("plaintext")
        port = read_port(parts["port"], DEFAULT_PORTS[scheme])
        path, query = check_tail(parts["path"] or "/", parts["query"])
        self._check_host(host, port, literal)
        shown = f"[{host}]" if ":" in host else host
        authority = shown if port == DEFAULT_PORTS[scheme] else f"{shown}:{port}"
        return Endpoint(
            url=f"{scheme}://{authority}{path}{query}",
            origin=f"{scheme}://{shown}:{port}",
            host=host,
            port=port,
            is_plain=scheme == "http",
        )

    def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Judge what a host resolved to; every single address must pass.

        Args:
            host: as in `Endpoint.host`.
            port: the port to connect to.
            addresses: every A and AAAA answer. None at all is refused: nothing was checked.

        Raises:
            EndpointForbidden: one of them is off limits.
        """
        if not addresses:
            forbidden("address")
        is_open = any(opening.opens_host(host, port) for opening in self._openings)
        for text in addresses:
            try:
                address = ip_address(text)
            except ValueError:
                forbidden("address", text)
            self._check_address(address, port, is_open)

    def _check_address(self, address: Address, port: int, is_open: bool) -> None:
        for candidate in (address, *embedded(address)):
            if any(candidate in network for network in self._never):
                forbidden("never_allowed", str(address))
        if is_open or is_global_unicast(address):
            return
        if not any(opening.opens_address(address, port) for opening in self._openings):
            forbidden("address", str(address))

    def _check_host(self, host: str, port: int, literal: Address | None) -> None:
        if (host, port) in self._own:
            forbidden("own_origin")
        if not any(low <= port <= high for low, high in self._ports):
            forbidden("port")
        if any(opening.opens_host(host, port) for opening in self._openings):
            return
        if literal is not None:
            if not any(opening.opens_address(literal, port) for opening in self._openings):
                forbidden("ip_literal")
            self._check_address(literal, port, is_open=False)
        elif _NUMERIC_LABEL.match(host.rpartition(".")[2]):
            forbidden("ip_literal")
        elif f".{host}".endswith(_LOCAL_SUFFIXES):
            forbidden("local_name")
        elif "." not in host:
            forbidden("single_label")


def check_header_name(name: str) -> str:
    """Return the lower-case name of a credential header.

    Raises:
        HeaderRefused: ``syntax``, or ``reserved`` for headers that the gateway or HTTP itself owns.
    """
    # Lower case of the Kelvin sign is an ASCII letter.
    lowered = name.lower() if name.isascii() else ""
    if not _HEADER_NAME.match(lowered):
        raise HeaderRefused("syntax", "The field is not a valid header name of 1-64 characters.")
    if _RESERVED_HEADERS.match(lowered):
        raise HeaderRefused("reserved", "This header cannot be set by a credential.")
    return lowered


def check_header_value(value: str) -> str:
    """Return a credential's value if it can be sent as it is.

    Raises:
        HeaderRefused: ``empty``, ``too_long``, ``characters`` or ``space``.
    """
    if not value:
        raise HeaderRefused("empty", "The value is empty.")
    # Characters are counted first: what is not ASCII is refused by the next rule anyway.
    if len(value) > _MAX_VALUE_BYTES:
        raise HeaderRefused("too_long", "The value is longer than 8,192 bytes.")
    if not _HEADER_VALUE.match(value):
        raise HeaderRefused("characters", "The value may hold visible ASCII, blanks and tabs only.")
    if value != value.strip(" \t"):
        raise HeaderRefused("space", "The value must not begin or end with white space.")
    return value


def strip_bearer(value: str) -> str:
    """Return a bearer credential without one leading ``Bearer``, however it is written."""
    return value[7:] if _BEARER.match(value) else value


def forwarded_user(user_id: str) -> str:
    """Return the value of ``X-ScaiGrid-User``.

    Bytes outside visible ASCII are percent-encoded; so is a percent sign that two hexadecimal
    digits follow, since otherwise two user ids could give one value.
    """
    return _FORWARD_ENCODED.sub(percent, user_id.encode("utf-8", "surrogatepass")).decode("ascii")


def _opening(entry: str) -> _Opening:
    """Read one entry of the allow-list."""
    try:
        return _Opening(443, network=_network(entry.removeprefix("[").removesuffix("]")))
    except ValueError:
        place, _, port_text = entry.rpartition(":")
    if not place:
        return _Opening(443, host=_pattern(entry))
    port = 0 if port_text == "*" else _port(entry, port_text)
    try:
        return _Opening(port, network=_network(place.strip("[]")))
    except ValueError:
        return _Opening(port, host=_pattern(place))


def _port(entry: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= 65_535:
        raise ValueError(f"{entry!r} has no valid port")
    return int(text)


def _network(entry: str) -> Network:
    try:
        return ip_network(entry)
    except ValueError:
        raise ValueError(f"{entry!r} is no network such as 10.0.0.0/8") from None


def _pattern(entry: str) -> str:
    if entry.startswith("*."):
        return f"*.{_setting_host(entry[2:])}"
    return _setting_host(entry)


def _setting_host(entry: str) -> str:
    try:
        return read_host(entry)[0]
    except (EndpointInvalid, EndpointForbidden):
        raise ValueError(f"{entry!r} is no host name") from None


def _port_range(entry: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", entry)
    low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= low <= high <= 65_535:
        raise ValueError(f"{entry!r} is no port and no range of ports")
    return low, high


def _own_origin(entry: str) -> tuple[str, int]:
    try:
        parts = split(entry)
        default = DEFAULT_PORTS[parts["scheme"].lower()]
        return read_host(parts["host"])[0], read_port(parts["port"], default)
    except (EndpointInvalid, EndpointForbidden, KeyError):
        raise ValueError(f"{entry!r} is no URL of a gateway") from None
