"""JSON bodies of REST requests, read strictly. Spec: remote-servers 1 (Body)."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import ClientDisconnect, Request

from scaimcp.auth.admittance import check_media_type
from scaimcp.errors import RequestRefused
from scaimcp.jsontext import depth_exceeds

MOST_BYTES = 256 * 1024
MOST_DEPTH = 16


async def read_object(request: Request, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """Return the body, which must be one JSON object.

    Raises:
        RequestRefused: 415, 413, or 400 ``INVALID_JSON``: no JSON, no UTF-8, no object, nested
            too deep, or a member that stands twice.
    """
    media_type = request.headers.get("content-type")
    check_media_type(media_type.encode("latin-1") if media_type is not None else None)
    return parse_object(await read_bytes(request, most_bytes))


async def read_bytes(request: Request, most_bytes: int = MOST_BYTES) -> bytes:
    """Return a body of at most `most_bytes`.

    Raises:
        RequestRefused: 413.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise _too_large()
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                raise _too_large()
    except ClientDisconnect:
        raise invalid_json("The body has no end.") from None
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """Decode one JSON object.

    Raises:
        RequestRefused: 400 ``INVALID_JSON``.
    """
    if depth_exceeds(body, MOST_DEPTH):
        raise invalid_json(f"The body is nested deeper than {MOST_DEPTH} levels.")
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError):
        raise invalid_json("The body is not JSON in UTF-8.") from None
    if b"\\u" in body and not _is_text(value):
        raise invalid_json("A text of the body holds half a character.")
    if not isinstance(value, dict):
        raise invalid_json("The body must be a JSON object.")
    return value


def invalid_json(message: str) -> RequestRefused:
    """Return 400 ``INVALID_JSON``."""
    return RequestRefused("INVALID_JSON", message, http_status=400)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise invalid_json("An object of the body names a member twice.")
    return value


def _is_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(constant: str) -> None:
    raise ValueError(constant)


def _too_large() -> RequestRefused:
    return RequestRefused("PAYLOAD_TOO_LARGE", "The body is too large.", http_status=413)
