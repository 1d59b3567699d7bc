"""Canonical JSON (RFC 8785) and the digests that pins, changes and approvals are bound to. Pure.

Spec: remote-servers 6 (definition hash) and 9 (arguments digest).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

# What a definition's hash covers: `_meta` and icons are outside, some upstreams stamp them.
HASHED: Mapping[str, tuple[str, ...]] = {
    "tool": (
        "name",
        "title",
        "description",
        "inputSchema",
        "outputSchema",
        "annotations",
        "execution",
    ),
    "prompt": ("name", "title", "description", "arguments"),
    "resource": ("uri", "name", "title", "description", "mimeType"),
    "resource_template": ("uriTemplate", "name", "title", "description", "mimeType"),
}
# From here on a JSON integer may not be a double.
_EXACT = 2**53


class CanonicalError(ValueError):
    """A value that canonical JSON cannot express: a lone surrogate, NaN, an infinite number."""


def rfc8785(value: Any) -> bytes:
    """Return canonical JSON of a value as msgspec decodes it.

    Numbers are written as ECMAScript writes doubles, integers beyond 2**53 too.

    Raises:
        CanonicalError: no JSON, nested too deeply, or not valid Unicode.
    """
    return _encode(value, is_exact=False)


def definition_hash(kind: str, definition: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 of what a definition says; absent and null members are left out.

    Args:
        kind: ``tool``, ``prompt``, ``resource`` or ``resource_template``.
        definition: as the upstream lists it.

    Raises:
        CanonicalError: as `rfc8785`.
    """
    return hashlib.sha256(rfc8785(hashed_part(kind, definition))).digest()


def hashed_part(kind: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a definition that its hash covers."""
    members = ((name, definition.get(name)) for name in HASHED[kind])
    return {name: value for name, value in members if value is not None}


def arguments_digest(arguments: Mapping[str, Any]) -> bytes:
    """Return the SHA-256 that an approval is bound to.

    Integers beyond 2**53 keep every digit here, other than in RFC 8785: two ids that round to one
    double are two calls, and the approval of one must not serve for the other.

    Raises:
        CanonicalError: as `rfc8785`.
    """
    return hashlib.sha256(_encode(arguments, is_exact=True)).digest()


def _encode(value: Any, *, is_exact: bool) -> bytes:
    pieces: list[str] = []
    try:
        _write(value, pieces, is_exact)
        return "".join(pieces).encode()
    except UnicodeEncodeError:
        raise CanonicalError("a text holds a lone surrogate") from None
    except RecursionError:
        raise CanonicalError("the value is nested too deeply") from None


def _write(value: Any, pieces: list[str], is_exact: bool) -> None:
    if isinstance(value, str):
        pieces.append(_text(value))
    elif isinstance(value, Mapping):
        _write_object(value, pieces, is_exact)
    elif isinstance(value, list | tuple):
        pieces.append("[")
        for position, item in enumerate(value):
            if position:
                pieces.append(",")
            _write(item, pieces, is_exact)
        pieces.append("]")
    else:
        pieces.append(_scalar(value, is_exact))


def _write_object(value: Mapping[Any, Any], pieces: list[str], is_exact: bool) -> None:
    if not all(isinstance(key, str) for key in value):
        raise CanonicalError("a key is no text")
    separator = "{"
    for key in sorted(value, key=_code_units):
        pieces += separator, _text(key), ":"
        _write(value[key], pieces, is_exact)
        separator = ","
    pieces.append("}" if value else "{}")


def _code_units(key: str) -> bytes:
    return key.encode("utf-16-be")


def _text(value: str) -> str:
    # json escapes exactly what RFC 8785 wants escaped, in the same spelling.
    return json.dumps(value, ensure_ascii=False)


def _scalar(value: Any, is_exact: bool) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer(value, is_exact)
    if isinstance(value, float):
        return _number(value)
    raise CanonicalError(f"a {type(value).__name__} is no JSON value")


def _integer(value: int, is_exact: bool) -> str:
    try:
        return str(value) if is_exact or abs(value) <= _EXACT else _number(float(value))
    except (OverflowError, ValueError):
        raise CanonicalError("a number is out of range") from None


def _number(value: float) -> str:
    """Write a double as ECMAScript's Number::toString does."""
    if not math.isfinite(value):
        raise CanonicalError("a number is not finite")
    if value == 0:
        return "0"
    # repr gives the same shortest digits; only their layout differs.
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    point = len(text) + int(exponent)
    minus = "-" if sign else ""
    if len(text) <= point <= 21:
        return minus + text + "0" * (point - len(text))
    if 0 < point <= 21:
        return f"{minus}{text[:point]}.{text[point:]}"
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{text}"
    fraction = f".{text[1:]}" if len(text) > 1 else ""
    return f"{minus}{text[0]}{fraction}e{point - 1:+d}"
