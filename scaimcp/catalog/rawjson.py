"""JSON handled as bytes: compact, reordered and spliced without decoding values. Pure.

Numbers keep every digit the platform sent. Spec: core-tools 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

NULL = b"null"
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
encode = msgspec.json.Encoder().encode
_decode_any = msgspec.json.Decoder().decode
# A run of \uXXXX, so that both halves of a pair are seen together, or any other escape: stepping
# over that one keeps an escaped backslash from being taken for the start of \uXXXX.
_ESCAPES = re.compile(rb"(?:\\u[0-9a-fA-F]{4})+|\\[^u]")


def compact(raw: bytes) -> bytes:
    """Return `raw` without white space and with characters unescaped.

    Raises:
        msgspec.DecodeError: `raw` is no JSON.
        UnicodeDecodeError: `raw` is no UTF-8.
    """
    text = msgspec.json.format(raw, indent=-1)
    if not text.isascii():
        text.decode()
    return _ESCAPES.sub(_unescape, text) if b"\\u" in text else text


def _unescape(found: re.Match[bytes]) -> bytes:
    escapes = found[0]
    if not escapes.startswith(b"\\u"):
        return escapes
    return encode(_decode_any(b'"' + escapes + b'"'))[1:-1]


def members(raw: bytes) -> dict[str, bytes]:
    """Split a JSON object into its members, values still encoded; nulls are dropped.

    Raises:
        msgspec.DecodeError: `raw` is no JSON object.
    """
    return {
        key: value for key, item in _decode_object(raw).items() if (value := bytes(item)) != NULL
    }


def elements(raw: bytes) -> list[bytes]:
    """Split a JSON array into its encoded elements.

    Raises:
        msgspec.DecodeError: `raw` is no JSON array.
    """
    return [bytes(item) for item in _decode_array(raw)]


def value(raw: bytes | None) -> Any:
    """Decode one small value; None for an absent one."""
    return None if raw is None else _decode_any(raw)


def to_object(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """Join encoded members to an object."""
    return b"{" + b",".join([encode(key) + b":" + item for key, item in pairs]) + b"}"


def ordered(fields: dict[str, bytes], names: Iterable[str]) -> list[tuple[str, bytes]]:
    """Return the members in the order of `names`, then the others as they came."""
    first = [(name, fields[name]) for name in names if name in fields]
    known = {name for name, _ in first}
    return first + [(name, item) for name, item in fields.items() if name not in known]


def to_array(items: Iterable[bytes]) -> bytes:
    """Join encoded elements to an array."""
    return b"[" + b",".join(items) + b"]"
