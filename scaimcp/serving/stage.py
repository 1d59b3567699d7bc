"""What an HTTP server under the application is told: when to start ending, and how long it may."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from scaimcp.errors import RequestRefused, SettingsError
from scaimcp.ids import new_id
from scaimcp.server.asgi import AsgiApp, Receive, Scope, Send
from scaimcp.server.exchange import Exchange
from scaimcp.settings import Settings
from scaimcp.telemetry.logs import get_logger

KEEP_ALIVE_SECONDS = 75
HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 30.0
# Requests already on the wire are accepted before the listeners close.
NOTICE_SECONDS = 0.2
# What is cut at the end of the drain may still write its refusal.
CUT_SECONDS = 1.0
POLL_SECONDS = 0.02
BACKLOG = 2_048
_log = get_logger("scaimcp.serving")


@dataclass(frozen=True, slots=True)
class Stage:
    """One server's part in the life of the process.

    Attributes:
        stop: set when the process shall end.
        drain: called once then: readiness ends, long streams end.
        drain_seconds: from then on, the longest wait for running requests.
        started: called when connections are accepted.
        tls: None serves plain text.
        has_http2: whether HTTP/2 is served beside HTTP/1.1.
    """

    stop: asyncio.Event
    drain: Callable[[], None]
    drain_seconds: float
    started: Callable[[], None]
    tls: ssl.SSLContext | None = None
    has_http2: bool = False

    async def ending(self) -> float:
        """Wait for the end; return the loop's time at which running requests are cut."""
        await self.stop.wait()
        self.drain()
        return asyncio.get_running_loop().time() + self.drain_seconds


class CutShort:
    """Answers 503 to requests that are cancelled at the end of the drain."""

    def __init__(self, app: AsgiApp, stop: asyncio.Event) -> None:
        self._app = app
        self._stop = stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stop.is_set() or scope["type"] != "http":
                raise
            _log.warning("request cut, the drain is over", path=scope["path"])
            await _refuse(send)


async def _refuse(send: Send) -> None:
    message = "The gateway is shutting down; the request may have taken effect."
    refusal = RequestRefused("GATEWAY_BUSY", message, http_status=503, retry_after=1)
    try:
        await Exchange(send, new_id("req_")).refuse(refusal)
    except Exception as error:  # noqa: BLE001 - the servers' own errors: the answer had begun
        _log.debug("the answer had begun", reason=type(error).__name__)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context of the listeners, or None without a certificate.

    Raises:
        SettingsError: certificate or key cannot be used.
    """
    if settings.server_tls_cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The suites of RFC 9113, Appendix A, that are left are no trouble for HTTP/1.1 either.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.set_alpn_protocols(["h2", "http/1.1"] if settings.server_http2 else ["http/1.1"])
    try:
        context.load_cert_chain(settings.server_tls_cert_file, settings.server_tls_key_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
        raise SettingsError(
            "SCAIMCP_SERVER_TLS_CERT_FILE and _KEY_FILE cannot be used: "
            f"{reason or 'not a certificate and its key'}"
        ) from None
    return context
