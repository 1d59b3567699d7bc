"""The platform's envelopes, read without decoding the payload. Spec: scaigrid 5, 7, 8."""

from __future__ import annotations

import email.utils
import math
import re
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
_REPEATABLE = frozenset({502, 503, 504})
# Used up for the period: an invented waiting time would promise too much.
_SPENT = frozenset({"QUOTA_EXCEEDED", "BUDGET_EXCEEDED"})
_LIMITED = frozenset({"RATE_LIMITED", "BACKEND_RATE_LIMITED"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


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
    error = error if isinstance(error, Mapping) else {}
    stated = error.get("code")
    code = clean_message(stated)[:64] if isinstance(stated, str) else ""
    if not code:
        return _without_body(status, headers)
    message = error.get("message")
    is_limited = code in _LIMITED or (status == 429 and code not in _SPENT)
    kind = AuthenticationLost if code in AUTHENTICATION_CODES else PlatformFailure
    refusal = kind(
        code,
        (clean_message(message) if isinstance(message, str) else "") or code,
        status=status,
        retry_after=waiting_time(error.get("retry_after"), headers, required=is_limited),
        details=_details(error.get("details")),
    )
    refusal.retryable = status in _REPEATABLE and refusal.retry_after is None
    refusal.request_id = _request_id(envelope, headers)
    return refusal


def _request_id(envelope: Envelope | None, headers: Mapping[str, str]) -> str:
    meta = envelope.meta if envelope is not None else None
    stated = meta.get("request_id") if isinstance(meta, Mapping) else None
    for text in (stated, headers.get("X-Request-Id")):
        if isinstance(text, str) and _REQUEST_ID.fullmatch(text):
            return text
    return ""


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
        refusal = unavailable("The platform cannot answer now.", status)
        refusal.retryable = status in _REPEATABLE and "Retry-After" not in headers
        return refusal
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
    seconds = _stated_seconds(stated)
    if seconds is None and (header := headers.get("Retry-After")):
        seconds = _header_seconds(header.strip())
    if seconds is None and required and (reset := headers.get("X-Scaigrid-Ratelimit-Reset")):
        until = _digits(reset.strip())
        seconds = until - time.time() if until is not None else None
    if seconds is None:
        return 5 if required else None
    low, high = _WAIT_SECONDS
    return max(low, math.ceil(min(high, seconds)))


def _stated_seconds(stated: Any) -> float | None:
    if not isinstance(stated, int | float) or isinstance(stated, bool):
        return None
    if isinstance(stated, float) and not math.isfinite(stated):
        return None
    # A whole number may be too large for a float; the cap comes first.
    return float(max(0, min(stated, _WAIT_SECONDS[1])))


def _header_seconds(value: str) -> float | None:
    seconds = _digits(value)
    if seconds is not None:
        return seconds
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _digits(value: str) -> float | None:
    return float(value) if value.isascii() and value.isdigit() and len(value) < 16 else None


def _details(details: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(details, list):
        return ()
    cleaned = []
    for entry in details[:20]:
        if isinstance(entry, Mapping):
            pair = {key: entry.get(key) for key in ("field", "message")}
            cleaned.append({k: clean_message(v) for k, v in pair.items() if isinstance(v, str)})
    return tuple(entry for entry in cleaned if entry)
