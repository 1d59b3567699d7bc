"""JSON-RPC with remote servers, on bytes: results are passed on as they came. Pure.

Spec: MCP 2024-11-05 to 2025-11-25, 2026-07-28; remote-servers 5 (sizes), 8 (bridging).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from scaimcp import __version__
from scaimcp.jsontext import depth_exceeds
from scaimcp.upstream.errors import ProtocolError, too_large

MODERN = "2026-07-28"
LEGACY_OFFERED = "2025-11-25"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
UNSUPPORTED_VERSION = -32022

RESULT_BYTES = 8 * 1024 * 1024
PAGE_BYTES = 4 * 1024 * 1024
RESULT_DEPTH = 64
# One definition nested too deep is dropped by itself and must not take its page with it.
PAGE_DEPTH = 512

_META = "io.modelcontextprotocol/"
_EMPTY = b"{}"
_ABSENT = Raw(b"")
_CLIENT_INFO = {"name": "ScaiMCP", "version": __version__}
_ESCAPES = re.compile(rb"(?:\\u[0-9a-fA-F]{4})+|\\[^u]")
_PLAIN_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class RpcError(msgspec.Struct):
    """The ``error`` member; wrong types are read as absent values."""

    code: Any = 0
    message: Any = ""
    data: Raw = _ABSENT


class Message(msgspec.Struct):
    """One JSON-RPC message; ``id`` is b"" when absent."""

    method: str | None = None
    id: Raw = _ABSENT
    params: Raw = _ABSENT
    result: Raw = _ABSENT
    error: RpcError | None = None


encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode
_decode_batch = msgspec.json.Decoder(list[Message]).decode


def read_messages(body: bytes, depth: int = RESULT_DEPTH) -> list[Message]:
    """Decode one message, or the batch that 2025-03-26 allows.

    Raises:
        ProtocolError: no JSON in UTF-8, or no JSON-RPC.
        ResponseTooLargeError: nested deeper than `depth`.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            raise _not_json() from None
    if depth_exceeds(body, depth):
        raise too_large(f"JSON nested deeper than {depth} levels")
    try:
        return _decode(body)
    except msgspec.ValidationError:
        raise ProtocolError("The server's answer is no JSON-RPC message.", was_sent=True) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    except RecursionError:
        raise too_large("JSON nested too deep") from None
    return _decode_repaired(body, depth)


def _decode(body: bytes) -> list[Message]:
    if body.lstrip()[:1] == b"[":
        return _decode_batch(body)
    return [_decode_message(body)]


def _decode_repaired(body: bytes, depth: int) -> list[Message]:
    """Decode what only half of a surrogate pair kept from being read.

    In a list NUL takes its place, so that the checks drop that one definition; in a result the
    replacement character does.
    """
    blank = rb"\u0000" if depth == PAGE_DEPTH else rb"\ufffd"
    try:
        return _decode(_ESCAPES.sub(lambda found: _paired(found[0], blank), body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_json() from None


def _paired(escapes: bytes, blank: bytes) -> bytes:
    if not escapes.startswith(rb"\u"):
        return escapes
    units = [escapes[at : at + 6] for at in range(0, len(escapes), 6)]
    values = [int(unit[2:], 16) for unit in units]
    kept: list[bytes] = []
    at = 0
    while at < len(units):
        following = values[at + 1] if at + 1 < len(units) else 0
        if 0xD800 <= values[at] < 0xDC00 and 0xDC00 <= following < 0xE000:
            kept += units[at : at + 2]
            at += 2
            continue
        kept.append(blank if 0xD800 <= values[at] < 0xE000 else units[at])
        at += 1
    return b"".join(kept)


def _not_json() -> ProtocolError:
    return ProtocolError("The server's answer is no JSON.", was_sent=True)


def request_bytes(number: int, method: str, params: bytes, meta: bytes = b"") -> bytes:
    """Join a request.

    Args:
        number: id, and progress token where one is asked for.
        method: MCP method.
        params: a JSON object without ``_meta``.
        meta: the ``_meta`` object, b"" for none.
    """
    if meta:
        rest = params[1:].lstrip()
        comma = b"" if rest[:1] == b"}" else b","
        params = b'{"_meta":%b%b%b' % (meta, comma, rest)
    return b'{"jsonrpc":"2.0","id":%d,"method":%b,"params":%b}' % (number, _text(method), params)


def notification_bytes(method: str, params: bytes = _EMPTY) -> bytes:
    """Join a notification."""
    return b'{"jsonrpc":"2.0","method":%b,"params":%b}' % (_text(method), params)


def answer_bytes(message_id: bytes, result: bytes | None) -> bytes:
    """Join the answer to a server's request; None refuses it with -32601."""
    if result is None:
        refusal = b'{"code":-32601,"message":"Method not found"}'
        return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (message_id, refusal)
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (message_id, result)


def error_bytes(message_id: bytes, error: bytes) -> bytes:
    """Join the answer that refuses a server's request with an encoded error."""
    return b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (message_id, error)


@lru_cache(256)
def _text(value: str) -> bytes:
    return encode(value)


@lru_cache(16)
def capabilities(elicitation: tuple[str, ...]) -> bytes:
    """Return what the gateway declares: elicitation in these modes and nothing else."""
    return encode({"elicitation": {mode: {} for mode in elicitation}} if elicitation else {})


@lru_cache(16)
def _envelope(elicitation: tuple[str, ...]) -> bytes:
    head = {f"{_META}protocolVersion": MODERN, f"{_META}clientInfo": _CLIENT_INFO}
    key = encode(f"{_META}clientCapabilities")
    return b"%b,%b:%b}" % (encode(head)[:-1], key, capabilities(elicitation))


def modern_meta(elicitation: tuple[str, ...], progress_token: int | None) -> bytes:
    """Return ``_meta`` of a request of 2026-07-28."""
    envelope = _envelope(elicitation)
    if progress_token is None:
        return envelope
    return b'{"progressToken":%d,%b' % (progress_token, envelope[1:])


def legacy_meta(progress_token: int | None) -> bytes:
    """Return ``_meta`` of a request of the handshake era; b"" for none."""
    return b"" if progress_token is None else b'{"progressToken":%d}' % progress_token


def initialize_params(elicitation: tuple[str, ...]) -> bytes:
    """Return the parameters of ``initialize``, offering 2025-11-25."""
    return b'{"protocolVersion":%b,"capabilities":%b,"clientInfo":%b}' % (
        _text(LEGACY_OFFERED),
        capabilities(elicitation),
        encode(_CLIENT_INFO),
    )


def header_value(value: str) -> str:
    """Return `value` as an ``Mcp-*`` header carries it: base64 in a sentinel where needed."""
    if _PLAIN_VALUE.fullmatch(value) and not value.startswith("=?base64?"):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def joined(fields: Mapping[str, bytes]) -> bytes:
    """Return an object of encoded values."""
    return b"{%b}" % b",".join([b"%b:%b" % (_text(key), item) for key, item in fields.items()])
