"""The platform's envelopes, read without decoding the payload. Spec: scaigrid 5, 7, 8."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from scaimcp.errors import PlatformFailure
from scaimcp.telemetry.redaction import clean_message

AUTHENTICATION_CODES = frozenset(
    {
        "AUTH_TOKEN_MISSING",
        "AUTH_TOKEN_INVALID",
        "AUTH_FLOW_INVALID",
        "SESSION_EXPIRED",
        "SERVICE_TOKEN_INVALID",
    }
)
UNAVAILABLE_SECONDS = 5
_WAIT_SECONDS = (1, 300)


class Envelope(msgspec.Struct):
    """Success or error body; ``data`` stays raw, b"" when absent."""

    data: msgspec.Raw = msgspec.Raw(b"")
    status: Any = None
    error: Any = None
    meta: Any = None
    pagination: Any = None
    has_more: Any = None
    next_cursor: Any = None


class AuthenticationLost(PlatformFailure):
    """The platform answered 401: the bearer no longer counts. Becomes HTTP 401 at ``/mcp``."""

    http_status = 401


_decode = msgspec.json.Decoder(Envelope).decode


def read_envelope(body: bytes) -> Envelope | None:
    """Return the envelope in `body`, or None when it is not a JSON object."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_error(status: int, envelope: Envelope) -> bool:
    """Tell whether an answer is an error; the body counts before the status. Spec: scaigrid 5."""
    return status >= 400 or envelope.status == "error" or isinstance(envelope.error, Mapping)


def failure(status: int, envelope: Envelope | None, headers: Mapping[str, str]) -> PlatformFailure:
    """Turn an error answer into the exception that carries the platform's own code.

    Args:
        status: HTTP status.
        envelope: the decoded body, None when it is not an envelope.
        headers: response headers, for the waiting time.
    """
    error = envelope.error if envelope is not None else None
    code = error.get("code") if isinstance(error, Mapping) else None
    if not isinstance(error, Mapping) or not isinstance(code, str) or not code:
        return _without_body(status, headers)
    message = error.get("message")
    kind = AuthenticationLost if status == 401 or code in AUTHENTICATION_CODES else PlatformFailure
    return kind(
        clean_message(code)[:64],
        clean_message(message) if isinstance(message, str) and message else code,
        status=status,
        retry_after=waiting_time(error.get("retry_after"), headers, required=status == 429),
        details=_details(error.get("details")),
    )


def _without_body(status: int, headers: Mapping[str, str]) -> PlatformFailure:
    if status == 401:
        return AuthenticationLost(
            "AUTH_TOKEN_INVALID", "The platform refused the token.", status=401
        )
    if status in (404, 405):
        return PlatformFailure(
            "NOT_SUPPORTED", "This deployment of the platform has no such endpoint.", status=status
        )
    if status == 429:
        return PlatformFailure(
            "RATE_LIMITED",
            "The platform asks to slow down.",
            status=429,
            retry_after=waiting_time(None, headers, required=True),
        )
    if status >= 500:
        return unavailable("The platform cannot answer now.", status)
    return bad_response(status)


def bad_response(status: int) -> PlatformFailure:
    """The answer is no platform envelope; its text is never quoted."""
    return PlatformFailure(
        "PLATFORM_BAD_RESPONSE", "The platform's answer cannot be read.", status=status
    )


def unavailable(message: str, status: int = 0) -> PlatformFailure:
    """No connection, or a 5xx without a platform body."""
    return PlatformFailure(
        "PLATFORM_UNAVAILABLE", message, status=status, retry_after=UNAVAILABLE_SECONDS
    )


def waiting_time(stated: Any, headers: Mapping[str, str], *, required: bool) -> int | None:
    """Return whole seconds to wait, 1–300: body, ``Retry-After``, reset time, else 5.

    None when nothing states a time and `required` is false. Spec: scaigrid 8.
    """
    seconds: float | None = None
    if isinstance(stated, int | float) and not isinstance(stated, bool):
        seconds = float(stated)
    elif header := headers.get("Retry-After"):
        seconds = _header_seconds(header)
    elif (reset := headers.get("X-Scaigrid-Ratelimit-Reset")) and required:
        seconds = float(reset) - time.time() if reset.isdigit() else None
    if seconds is None or not math.isfinite(seconds):
        return 5 if required else None
    low, high = _WAIT_SECONDS
    return max(low, min(high, math.ceil(seconds)))


def _header_seconds(value: str) -> float | None:
    if value.strip().isdigit():
        return float(value)
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError):
        return None


def _details(details: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(details, list):
        return ()
    cleaned = []
    for entry in details[:20]:
        if isinstance(entry, Mapping):
            pair = {key: entry.get(key) for key in ("field", "message")}
            cleaned.append({k: clean_message(v) for k, v in pair.items() if isinstance(v, str)})
    return tuple(entry for entry in cleaned if entry)
