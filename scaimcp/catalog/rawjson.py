"""JSON handled as bytes: compact, reordered and spliced without decoding values. Pure.

Numbers keep every digit the platform sent. Spec: core-tools 6.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

NULL = b"null"
_RAW_NULL = msgspec.Raw(NULL)
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


def arranged(raw: bytes, names: tuple[str, ...], absent: Mapping[str, bytes]) -> bytes:
    """Return a compact object with `names` first, in their order, and without nulls.

    Does in one pass what `members`, `ordered` and `to_object` do one by one.

    Args:
        raw: a compact JSON object.
        names: published names.
        absent: members that count where `raw` has none or null, encoded.
    """
    fields: dict[str, Any] = _decode_object(raw)
    if NULL in raw:
        fields = {key: item for key, item in fields.items() if item != _RAW_NULL}
    for name, item in absent.items():
        fields.setdefault(name, item)
    form, order = _form(names, tuple(fields))
    return form % tuple([fields[name] for name in order])


@lru_cache(1_024)
def _form(names: tuple[str, ...], present: tuple[str, ...]) -> tuple[bytes, tuple[str, ...]]:
    """Return an object with a place for each value, and the order of the values."""
    order = [name for name in dict.fromkeys(names) if name in present]
    order += [name for name in present if name not in order]
    keys = [encode(name).replace(b"%", b"%%") for name in order]
    return b"{%b}" % b",".join([key + b":%b" for key in keys]), tuple(order)


def elements(raw: bytes) -> list[bytes]:
    """Split a JSON array into its encoded elements.

    Raises:
        msgspec.DecodeError: `raw` is no JSON array.
    """
    return [bytes(item) for item in _decode_array(raw)]


def value(raw: bytes | None) -> Any:
    """Decode one small value; None for an absent one."""
    return None if raw is None else _decode_any(raw)


@lru_cache(4_096)
def _key(name: str) -> bytes:
    """Return a member's name as it stands between two members."""
    return b",%b:" % encode(name)


def to_object(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """Join encoded members to an object."""
    return b"{%b}" % b"".join([_key(key) + item for key, item in pairs])[1:]


def ordered(fields: dict[str, bytes], names: Iterable[str]) -> list[tuple[str, bytes]]:
    """Return the members in the order of `names`, then the others as they came."""
    left = dict(fields)
    first = [(name, item) for name in names if (item := left.pop(name, None)) is not None]
    first += left.items()
    return first


def to_array(items: Iterable[bytes]) -> bytes:
    """Join encoded elements to an array."""
    return b"[" + b",".join(items) + b"]"
