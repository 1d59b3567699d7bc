"""Checks on the bare HTTP request: host, origin, media type, bearer, ids. Pure.

Spec: register, Errors (`/mcp` before dispatch); MCP, Transports (Origin and Host).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from scaimcp.errors import RequestRefused

HeaderLines = tuple[tuple[bytes, bytes], ...]
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}\Z")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_AGENT_CHARS = 256
_CLIENTS = 4_096
_FORWARDED_BYTES = 256
_EXPOSED = (
    b"mcp-session-id, www-authenticate, x-request-id, retry-after, ratelimit, ratelimit-policy"
)
_PREFLIGHT: HeaderLines = (
    (b"access-control-allow-methods", b"POST"),
    (
        b"access-control-allow-headers",
        b"authorization, content-type, accept, mcp-protocol-version, mcp-session-id, mcp-method, "
        b"mcp-name, x-request-id, traceparent",
    ),
    (b"access-control-max-age", b"600"),
)


@lru_cache(256)
def host_name(raw: bytes) -> str:
    """Return the host of a ``Host`` header, lower-case, without port and brackets."""
    host = raw.decode("latin-1").strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def check_host(raw: bytes | None, allowed: frozenset[str]) -> None:
    """Refuse a request for a host that this gateway is not.

    Raises:
        RequestRefused: 421.
    """
    if raw is None or host_name(raw) not in allowed:
        raise RequestRefused(
            "MISDIRECTED_REQUEST", "This host is not served here.", http_status=421
        )


def check_origin(raw: bytes | None, allowed: frozenset[str]) -> HeaderLines:
    """Return the CORS headers of an answer to an allowed origin; none without an origin.

    Raises:
        RequestRefused: 403 for a foreign origin.
    """
    if raw is None:
        return ()
    origin = raw.decode("latin-1").strip().lower().rstrip("/")
    if origin not in allowed:
        raise RequestRefused(
            "AUTHZ_PERMISSION_DENIED", "Requests from this origin are not allowed.", http_status=403
        )
    return (
        (b"access-control-allow-origin", raw),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    )


def preflight() -> HeaderLines:
    """Return the headers that answer a browser's OPTIONS request from an allowed origin."""
    return _PREFLIGHT


def check_media_type(raw: bytes | None) -> None:
    """Refuse a body that is not declared as JSON.

    Raises:
        RequestRefused: 415.
    """
    if raw == b"application/json":
        return
    if raw is None or raw.partition(b";")[0].strip().lower() != b"application/json":
        raise RequestRefused(
            "UNSUPPORTED_MEDIA_TYPE", "The body must be application/json.", http_status=415
        )


def accepts_stream(raw: bytes | None) -> bool:
    """Tell whether the client named ``text/event-stream`` (or everything) in ``Accept``."""
    return raw is not None and (b"text/event-stream" in raw.lower() or b"*/*" in raw)


def bearer(raw: bytes | None) -> str | None:
    """Return the bearer of an ``Authorization`` header, "" when it is malformed, None if absent."""
    if raw is None:
        return None
    scheme, _, token = raw.decode("latin-1").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip()
    if not token:
        return None
    return token if token.isascii() and token.isprintable() and " " not in token else ""


def given_request_id(raw: bytes | None) -> str | None:
    """Return a well-formed ``X-Request-Id`` of the client, else None."""
    return raw.decode() if raw is not None and _REQUEST_ID.match(raw) else None


def given_traceparent(raw: bytes | None) -> str | None:
    """Return a well-formed W3C ``traceparent``, else None."""
    if raw is None:
        return None
    value = raw.decode("latin-1").strip()
    return value if _TRACEPARENT.match(value) else None


def user_agent(value: bytes | None) -> str | None:
    """Return what a client calls itself, the first 256 characters; None where it does not say."""
    return value[:_AGENT_CHARS].decode("latin-1") if value else None


class Proxies:
    """Networks whose ``X-Forwarded-For`` counts."""

    def __init__(self, networks: tuple[str, ...]) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)
        # Reading addresses takes longer than the rest of admittance, and clients come again.
        self._known = lru_cache(_CLIENTS)(self._found)

    def client_ip(self, peer: str | None, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the client's address: the last hop that is not a trusted proxy."""
        forwarded = headers.get(b"x-forwarded-for", b"")
        if len(forwarded) > _FORWARDED_BYTES:
            return self._found(peer, forwarded)
        return self._known(peer, forwarded)

    def _found(self, peer: str | None, forwarded: bytes) -> str | None:
        text = forwarded.decode("latin-1")
        hops = [hop.strip() for hop in text.split(",") if hop.strip()]
        if peer is not None:
            hops.append(peer)
        for hop in reversed(hops):
            if not self._trusts(hop):
                return hop if _is_address(hop) else None
        return hops[0] if hops and _is_address(hops[0]) else None

    def _trusts(self, text: str) -> bool:
        if not _is_address(text):
            return False
        address = ipaddress.ip_address(text)
        return any(address in network for network in self._networks)


def _is_address(text: str) -> bool:
    # A zone (fe80::1%eth0) means nothing elsewhere, and ipaddress takes any text as one.
    if "%" in text:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
