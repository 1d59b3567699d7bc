"""Header rules of 2026-07-28: what the headers say must be what the body says. Pure.

Spec: MCP 2026-07-28, Transports (`Mcp-Method`, `Mcp-Name`, `Mcp-Param-*`, base64 sentinel).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import UNSET

from scaimcp.errors import ProtocolError
from scaimcp.server.envelope import (
    CLIENT_CAPABILITIES,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    PROTOCOL_VERSION,
    Meta,
    Params,
)
from scaimcp.server.revisions import Revision

ROUTING = frozenset({b"mcp-protocol-version", b"mcp-method", b"mcp-name"})
NAMED_METHODS = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_SENTINEL = re.compile(r"=\?base64\?(.*)\?=\Z", re.DOTALL)
_DECIMAL = re.compile(r"(-?[0-9]+)(?:\.0+)?\Z")
_PREFIX = b"mcp-param-"

ParamHeaders = tuple[tuple[tuple[str, ...], bytes, str], ...]


def fold(lines: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], bytes | None]:
    """Return headers by lower-case name, and the first routing header that came twice.

    Blanks around ``Mcp-*`` values are stripped: one of the HTTP parsers keeps trailing ones.
    """
    headers: dict[bytes, bytes] = {}
    repeated: bytes | None = None
    for name, value in lines:
        if name[:4] == b"mcp-":
            if name in headers and (name in ROUTING or name.startswith(_PREFIX)):
                repeated = repeated or name
            headers[name] = value.strip(b" \t")
        else:
            headers[name] = value
    return headers, repeated


def decode_value(raw: bytes | None) -> str | None:
    """Return a header's value with the base64 sentinel resolved; None if absent or malformed.

    Bytes outside ASCII are malformed: what they mean is not defined, so they could be read as two
    different values. The sentinel is there for them.
    """
    if raw is None or not raw.isascii():
        return None
    value = raw.decode()
    sentinel = _SENTINEL.match(value)
    if sentinel is None:
        return value
    try:
        decoded = base64.b64decode(sentinel[1], validate=True)
        if base64.b64encode(decoded).decode() != sentinel[1]:
            return None
        return decoded.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def check_routing(headers: Mapping[bytes, bytes], method: str, name: str | None) -> None:
    """Compare ``Mcp-Method`` and ``Mcp-Name`` with the body.

    Raises:
        ProtocolError: -32020.
    """
    if headers.get(b"mcp-method", b"").decode("latin-1") != method:
        raise mismatch("Mcp-Method does not match the body's method")
    is_named = method in NAMED_METHODS and name is not None
    if is_named and decode_value(headers.get(b"mcp-name")) != name:
        raise mismatch(f"Mcp-Name does not match params.{NAMED_METHODS[method]}")


def check_envelope(
    headers: Mapping[bytes, bytes] | None,
    repeated: bytes | None,
    method: str,
    params: Params,
    revision: Revision,
) -> None:
    """Hold the body's own envelope against the headers; None where the transport has none.

    Raises:
        ProtocolError: -32020 for a disagreement, -32602 for a missing envelope.
    """
    meta = params.meta
    if not revision.is_modern:
        if isinstance(meta, Meta) and meta.version is not UNSET:
            raise mismatch("MCP-Protocol-Version does not match params._meta")
        return
    if repeated is not None:
        raise mismatch(f"{repeated.decode()} appears more than once")
    if not isinstance(meta, Meta) or meta.version is UNSET or meta.capabilities is UNSET:
        raise ProtocolError(
            INVALID_PARAMS, f"params._meta must carry {PROTOCOL_VERSION} and {CLIENT_CAPABILITIES}"
        )
    if meta.version != revision.name:
        raise mismatch("MCP-Protocol-Version does not match params._meta")
    if not isinstance(meta.capabilities, dict):
        raise ProtocolError(INVALID_PARAMS, f"{CLIENT_CAPABILITIES} must be an object")
    if headers is None:
        return
    named = params.uri if method == "resources/read" else params.name
    check_routing(headers, method, named if isinstance(named, str) else None)


def declared(schema: Mapping[str, Any]) -> ParamHeaders:
    """Return (path, header, type) of the properties that carry ``x-mcp-header``."""
    found: list[tuple[tuple[str, ...], bytes, str]] = []

    def walk(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
        properties = node.get("properties")
        if not isinstance(properties, Mapping):
            return
        for name, sub in properties.items():
            if not isinstance(sub, Mapping):
                continue
            token = sub.get("x-mcp-header")
            if isinstance(token, str):
                found.append(
                    ((*path, name), _PREFIX + token.lower().encode(), str(sub.get("type")))
                )
            walk(sub, (*path, name))

    walk(schema, ())
    return tuple(found)


def check_params(
    wanted: ParamHeaders, arguments: Mapping[str, Any], headers: Mapping[bytes, bytes]
) -> None:
    """Compare ``Mcp-Param-*`` headers with the arguments they mirror.

    Raises:
        ProtocolError: -32020 for a missing, superfluous, malformed or different header.
    """
    for path, header, kind in wanted:
        value = _at(arguments, path)
        raw = headers.get(header)
        shown = header.decode()
        text = _scalar(value)
        if raw is None:
            if text is not None:
                raise mismatch(f"{shown} is missing")
            continue
        if value is None:
            raise mismatch(f"{shown} has no argument beside it")
        given = decode_value(raw)
        if given is None:
            raise mismatch(f"{shown} is malformed")
        if given != text and not (kind == "integer" and _same_number(given, value)):
            raise mismatch(f"{shown} does not match its argument")


def mismatch(message: str) -> ProtocolError:
    """A header and the body disagree: HTTP 400, -32020."""
    return ProtocolError(HEADER_MISMATCH, message)


def _at(arguments: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    node: Any = arguments
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _scalar(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _same_number(text: str, value: Any) -> bool:
    decimal = _DECIMAL.match(text)
    if decimal is None or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return len(decimal[1]) <= 4_000 and int(decimal[1]) == value
