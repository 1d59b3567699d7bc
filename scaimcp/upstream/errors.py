"""What can go wrong with a remote server, each under the class name clients and health see.

``code`` of every error is that name; it is the ``last_health_status`` of a server and the
``code`` of a failed call. Spec: remote-servers 7 (classes), 8 (calls).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, LineTooLong, TransferEncodingError

from scaimcp.errors import EndpointForbidden, ToolError

# Header mismatch, missing capability, unsupported version of 2026-07-28.
MODERN_CODES = frozenset({-32020, -32021, -32022})
TEXT_BYTES = 8_192
REDACTED = "[redacted]"
_MAY_HAVE_RUN = "The call may have been carried out."
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_BLANKS = re.compile(r"[\t\r\n]+")
_SCHEME = re.compile(r"(?i)(?:basic|bearer|token)[ ]+(.+)")
_LONGEST_WAIT = 86_400


class UpstreamError(ToolError):
    """A remote server could not be used, or refused.

    Args:
        message: for people; free of credentials, see `clean_text`.
        was_sent: the request may have reached the server and may have been carried out.
        contradicts_era: the answer suggests that the server speaks the other era by now.

    ``is_transport`` counts for the circuit breaker; ``health_name`` is what a check records.
    """

    name = "UpstreamError"
    is_transport = False

    def __init__(
        self,
        message: str,
        *,
        was_sent: bool = False,
        contradicts_era: bool = False,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(self.name, message, retry_after=retry_after)
        self.was_sent = was_sent
        self.contradicts_era = contradicts_era

    @property
    def health_name(self) -> str:
        """The class name that a health check records."""
        return self.name

    def for_caller(self) -> str:
        """Return the message, with a warning where the call may have been carried out."""
        return f"{self.message} {_MAY_HAVE_RUN}" if self.was_sent else self.message


class UpstreamTimeout(UpstreamError):
    """No answer within the deadline."""

    name = "TimeoutError"


class ConnectError(UpstreamError):
    """No connection, or one that broke."""

    name = "ConnectError"
    is_transport = True


class DNSError(UpstreamError):
    """The host has no address."""

    name = "DNSError"
    is_transport = True


class TLSError(UpstreamError):
    """No TLS session, or a certificate that cannot be trusted."""

    name = "TLSError"
    is_transport = True


class RemoteClientError(UpstreamError):
    """A 4xx without a class of its own."""

    name = "RemoteClientError"


class RemoteServerError(UpstreamError):
    """A 5xx. `status` is the HTTP status; 502, 503 and 504 speak for the whole server."""

    name = "RemoteServerError"

    def __init__(self, message: str, *, status: int, was_sent: bool = True) -> None:
        super().__init__(message, was_sent=was_sent)
        self.status = status
        self.is_transport = status in (502, 503, 504)


class AuthenticationError(UpstreamError):
    """A 401 or 403. `challenge` is the cleaned ``WWW-Authenticate``, None without one."""

    name = "AuthenticationError"

    def __init__(self, message: str, *, status: int, challenge: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.challenge = challenge

    @property
    def asks_for_bearer(self) -> bool:
        """Tell whether it is a 401 with a Bearer challenge: alive, but nobody has signed in."""
        return self.status == 401 and (self.challenge or "").lower().startswith("bearer")


class RedirectError(UpstreamError):
    """A redirect that must not be followed."""

    name = "RedirectError"


class ProtocolError(UpstreamError):
    """The answer is not MCP."""

    name = "ProtocolError"


class SessionUnknown(ProtocolError):
    """The server no longer knows the MCP session; nothing was carried out."""


class UnsupportedProtocolVersionError(UpstreamError):
    """No common protocol revision. `offered` is what the server named."""

    name = "UnsupportedProtocolVersionError"

    def __init__(self, message: str, *, offered: tuple[str, ...] = ()) -> None:
        super().__init__(message, contradicts_era=True)
        self.offered = offered


class ResponseTooLargeError(UpstreamError):
    """The answer is over a limit of size or depth."""

    name = "ResponseTooLargeError"


class PaginationLoopError(UpstreamError):
    """A list gave the same cursor twice."""

    name = "PaginationLoopError"


class EndpointForbiddenError(UpstreamError):
    """The address rules refused the connection; nothing was sent there."""

    name = "EndpointForbiddenError"

    def __init__(self, message: str, *, reason: str = "forbidden", address: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.address = address


class RateLimitedError(UpstreamError):
    """HTTP 429. `retry_after` is in seconds, None when the server did not say."""

    name = "RateLimitedError"


class RemoteBusyError(UpstreamError):
    """No free place among the calls to this server within two seconds."""

    name = "RemoteBusyError"


class CircuitOpenError(UpstreamError):
    """The breaker keeps calls from a server that cannot be reached."""

    name = "CircuitOpenError"


class PoolExhaustedError(UpstreamError):
    """No session could be had within two seconds."""

    name = "PoolExhaustedError"


class ElicitationLostError(UpstreamError):
    """What the server has asked in a call is not answered any more, so the call was given up."""

    name = "ElicitationLostError"

    def __init__(self, message: str) -> None:
        super().__init__(message, was_sent=True)


class McpError(UpstreamError):
    """The server's own JSON-RPC error.

    Args:
        jsonrpc_code: ``error.code``.
        data: ``error.data`` as JSON, b"" without; for decisions only, never for clients.
    """

    name = "McpError"

    def __init__(
        self,
        message: str,
        *,
        jsonrpc_code: int,
        data: bytes = b"",
        contradicts_era: bool = False,
    ) -> None:
        super().__init__(message, contradicts_era=contradicts_era)
        self.jsonrpc_code = jsonrpc_code
        self.data = data

    @property
    def is_modern(self) -> bool:
        """Tell whether only servers of 2026-07-28 send this code."""
        return self.jsonrpc_code in MODERN_CODES

    @property
    def health_name(self) -> str:
        """A JSON-RPC error on a probe counts as ``RemoteClientError``."""
        return RemoteClientError.name


def clean_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text of a remote server fit for a caller: one line, redacted, at most 8 KiB.

    Args:
        text: as the server sent it.
        secrets: values of the credential headers that went to this server.
    """
    text = _CONTROL.sub("", text)
    for secret in sorted(_forms(secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    text = _BLANKS.sub(" ", text).strip()
    if len(text) * 4 > TEXT_BYTES:
        text = text.encode()[:TEXT_BYTES].decode(errors="ignore")
    return text


def _forms(secrets: Iterable[str]) -> set[str]:
    """Return each value, and what follows the scheme of an ``Authorization`` header."""
    forms = {secret for secret in secrets if secret}
    return forms | {found[1] for secret in forms if (found := _SCHEME.fullmatch(secret))}


def retry_after_seconds(value: str | None, now: datetime | None = None) -> int | None:
    """Read ``Retry-After``: seconds or an HTTP date; None when absent or unreadable."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(int(value[:6]), _LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return min(max(0, round(seconds)), _LONGEST_WAIT)


def timed_out(seconds: float) -> UpstreamTimeout:
    """Return the error of a deadline that has passed."""
    return UpstreamTimeout(f"The server did not answer within {seconds:g} s.", was_sent=True)


def too_large(what: str, *, was_sent: bool = True) -> ResponseTooLargeError:
    """Return the error of an answer over a limit."""
    return ResponseTooLargeError(f"The server's answer is too large: {what}.", was_sent=was_sent)


def forbidden(error: EndpointForbidden) -> EndpointForbiddenError:
    """Translate a refusal of the address rules."""
    return EndpointForbiddenError(error.message, reason=error.reason, address=error.address)


# The first class that matches; what comes later is more general.
_UNSENT: tuple[tuple[type[BaseException], type[UpstreamError], str], ...] = (
    (aiohttp.ClientConnectorDNSError, DNSError, "The server's host name has no address."),
    (
        aiohttp.ClientConnectorCertificateError,
        TLSError,
        "The server's certificate cannot be trusted.",
    ),
    (aiohttp.ClientSSLError, TLSError, "TLS with the server failed."),
    (aiohttp.ConnectionTimeoutError, ConnectError, "The server accepts no connection in time."),
    (aiohttp.ClientConnectorError, ConnectError, "The server accepts no connection."),
    (aiohttp.InvalidURL, EndpointForbiddenError, "The server's URL cannot be used."),
)


def _is_too_long(error: BaseException | None) -> bool:
    """Tell whether headers over a limit are at the root of an error."""
    while error is not None and not isinstance(error, LineTooLong):
        if "Too many headers" in str(getattr(error, "message", "")):
            return True
        error = error.__cause__
    return error is not None


def translated(error: aiohttp.ClientError | OSError | EndpointForbidden) -> UpstreamError:
    """Translate a failure of the HTTP client, once and here."""
    if isinstance(error, EndpointForbidden):
        return forbidden(error)
    for kind, ours, message in _UNSENT:
        if isinstance(error, kind):
            return ours(message)
    cause = error.__cause__
    if isinstance(error, aiohttp.ClientResponseError):
        if _is_too_long(error):
            return too_large("headers")
        return ProtocolError("The server's answer is no HTTP.", was_sent=True)
    if isinstance(cause, ContentEncodingError | TransferEncodingError):
        return ProtocolError("The server's answer cannot be decoded.", was_sent=True)
    return ConnectError("The connection to the server broke.", was_sent=True)
