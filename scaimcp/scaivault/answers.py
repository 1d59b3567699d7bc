"""What ScaiVault answers: payloads, errors and which of them are worth a second try. Pure.

Spec: scaivault 2.6, 8.
"""

from __future__ import annotations

import email.utils
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from scaimcp.scaivault.errors import VaultError
from scaimcp.telemetry.redaction import clean_message

Cause = Literal["answer", "limited", "unsent", "broken", "timeout"]
BACKOFF_SECONDS = 0.25
LONGEST_WAIT_SECONDS = 10
_LONGEST_RETRY_AFTER = 86_400
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)
_UNCERTAIN = " It may or may not have been applied."
_CONFLICT = " Read again, then decide."
_MOST_MESSAGE = 500
_MOST_DETAILS_BYTES = 4_096


class UpstreamFailure(VaultError):
    """ScaiVault refused a request, or gave no usable answer.

    ``status`` is its HTTP status, 0 without one; ``is_coded`` says that the code is ScaiVault's
    own; ``cause`` decides about a second try.
    """

    status = 0
    is_coded = False
    cause: Cause = "answer"


class Answer(msgspec.Struct, frozen=True):
    """A successful answer.

    Args:
        status: from 200 to 299.
        body: as it came.
    """

    status: int
    body: bytes

    def decoded(self) -> Any:
        """Return the JSON in the body; None for an answer without content.

        Raises:
            UpstreamFailure: UPSTREAM_SHAPE_MISMATCH.
        """
        if self.status == 204 and not self.body:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise shape_mismatch(self.status) from None


def failed_answer(
    status: int, body: bytes, headers: Mapping[str, str], now: float
) -> UpstreamFailure:
    """Return the error in an answer that is no success.

    Args:
        status: not from 200 to 299.
        body: as it came; its text is quoted only where it is ScaiVault's envelope.
        headers: names in any case, if the mapping takes them so.
        now: Unix seconds, for a ``Retry-After`` that is a date.
    """
    error = _envelope(body)
    code = error.get("code")
    code = code.lower() if isinstance(code, str) else ""
    if not 400 <= status < 600 or not _CODE.fullmatch(code):
        failure = UpstreamFailure("UPSTREAM_ERROR", f"ScaiVault answered with status {status}.")
    else:
        failure = _coded(status, code, error)
    failure.status = status
    failure.cause = "limited" if status == 429 else "answer"
    if status in (429, 503):
        failure.retry_after = retry_after(headers.get("Retry-After", ""), now)
    failure.request_id = _request_id(error.get("request_id"), headers)
    return failure


def _envelope(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, dict) else {}


def _coded(status: int, code: str, error: Mapping[str, Any]) -> UpstreamFailure:
    stated = error.get("message")
    message = clean_message(stated, _MOST_MESSAGE) if isinstance(stated, str) else ""
    message = message or f"ScaiVault answered {code}."
    if code == "version_conflict":
        message = message[: _MOST_MESSAGE - len(_CONFLICT)] + _CONFLICT
    details = error.get("details")
    fields = _fields(details) if status == 422 else ()
    members = {}
    if isinstance(details, dict) and details and not fields:
        is_short = len(msgspec.json.encode(details)) <= _MOST_DETAILS_BYTES
        members = {"details": details} if is_short else {}
    failure = UpstreamFailure(code, message, members=members, details=fields)
    failure.is_coded = True
    return failure


def _fields(details: Any) -> tuple[dict[str, Any], ...]:
    """Return which fields were wrong, in the words of our own INVALID_ARGUMENTS."""
    listed = details.get("fields") if isinstance(details, dict) else None
    if isinstance(listed, dict):
        listed = [{"field": field, "message": message} for field, message in listed.items()]
    if not isinstance(listed, list):
        return ()
    pairs = [
        {name: clean_message(entry[name]) for name in ("field", "message") if _is_text(entry, name)}
        for entry in listed
        if isinstance(entry, dict)
    ]
    return tuple(pair for pair in pairs if pair)


def _is_text(entry: Mapping[str, Any], name: str) -> bool:
    return isinstance(entry.get(name), str)


def _request_id(stated: Any, headers: Mapping[str, str]) -> str:
    for text in (stated, headers.get("X-Request-ID")):
        if isinstance(text, str) and _REQUEST_ID.fullmatch(text):
            return text
    return ""


def retry_after(value: str, now: float) -> int | None:
    """Return the whole seconds of a ``Retry-After``, a number or a date; None for none."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]), _LONGEST_RETRY_AFTER)
    try:
        left = email.utils.parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0, math.ceil(left)), _LONGEST_RETRY_AFTER)


# -- failures without an answer ------------------------------------------------------------------


def shape_mismatch(status: int = 0) -> UpstreamFailure:
    """A success whose content is not what was asked for; none of it is quoted."""
    failure = UpstreamFailure("UPSTREAM_SHAPE_MISMATCH", "ScaiVault's answer cannot be used.")
    failure.status = status
    return failure


def unreachable(method: str, *, is_sent: bool) -> UpstreamFailure:
    """No connection, or one that broke before the answer; no host is named."""
    uncertain = _UNCERTAIN if is_sent and method != "GET" else ""
    words = "The connection to ScaiVault failed." if is_sent else "ScaiVault cannot be reached."
    failure = UpstreamFailure("UPSTREAM_UNREACHABLE", words + uncertain)
    failure.cause = "broken" if is_sent else "unsent"
    return failure


def timed_out(method: str) -> UpstreamFailure:
    """No whole answer in time."""
    uncertain = _UNCERTAIN if method != "GET" else ""
    failure = UpstreamFailure(
        "UPSTREAM_TIMEOUT", f"ScaiVault did not answer in time.{uncertain}", http_status=504
    )
    failure.cause = "timeout"
    return failure


def too_long(megabytes: int) -> VaultError:
    """The answer was larger than is read."""
    return VaultError(
        "RESULT_TOO_LARGE", f"ScaiVault's answer is larger than {megabytes} MiB; ask for less."
    )


# -- second tries --------------------------------------------------------------------------------


def tries_left(method: str, failure: UpstreamFailure, done: int) -> bool:
    """Tell whether a request may be sent once more.

    A write is never sent twice, except after 429 or when no byte has left this machine.

    Args:
        method: HTTP method.
        failure: what has become of the last try.
        done: second tries so far.
    """
    if failure.cause == "limited":
        wait = failure.retry_after
        return done < 2 and wait is not None and wait <= LONGEST_WAIT_SECONDS
    if failure.cause == "unsent":
        return done < 1
    if method != "GET":
        return False
    if failure.cause in ("timeout", "broken"):
        return done < 1
    return done < _GET_TRIES.get(failure.status, 0)


_GET_TRIES: Mapping[int, int] = {500: 1, 502: 1, 503: 2, 504: 1}


def longest_pause(failure: UpstreamFailure, done: int) -> float:
    """Return the seconds that the pause before a second try has at most, before jitter."""
    return float(BACKOFF_SECONDS * 2**done)
