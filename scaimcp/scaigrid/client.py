"""The platform's REST client: one request method, deadlines, one careful retry, back-off.

Spec: scaigrid 1, 5, 7, 8.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

import aiohttp
import msgspec
from yarl import URL

from scaimcp.deadline import Deadline
from scaimcp.errors import PlatformFailure, ToolError
from scaimcp.scaigrid.envelope import (
    AuthenticationLost,
    Envelope,
    bad_response,
    failure,
    is_error,
    read_envelope,
    unavailable,
)
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import platform_outcome
from scaimcp.types import Secret

RESPONSE_BYTES = 32 * 1024 * 1024
_BACKOFF_SECONDS = 60
_BACKOFF_ENTRIES = 10_000
_JSON = "application/json"
_SMALL_BODY = 256 * 1024
_LARGE_BODY = 1024 * 1024
_log = get_logger("scaimcp.scaigrid")


class FilePart(msgspec.Struct, frozen=True):
    """One part of a multipart body; ``filename`` None for a plain field."""

    name: str
    content: bytes
    filename: str | None = None
    content_type: str | None = None


class PlatformRequest(msgspec.Struct, frozen=True):
    """One REST request, ready to send.

    Args:
        method: HTTP method.
        path: absolute path, already percent-encoded; it is sent as it is.
        query: encoded query without ``?``.
        body: JSON body, None for none.
        parts: multipart parts; then `body` is None.
        content_type: media type of `body`.
        timeout_seconds: time for the whole answer, the one repetition of a GET included.
        is_raw: the answer is bytes without envelope (exports, speech).
    """

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    parts: tuple[FilePart, ...] = ()
    content_type: str = "application/json"
    timeout_seconds: float = 30.0
    is_raw: bool = False


class Trace(msgspec.Struct, frozen=True):
    """What travels beside a request: its id, trace context, client address."""

    request_id: str
    traceparent: str | None = None
    client_ip: str | None = None


class PlatformAnswer(msgspec.Struct, frozen=True):
    """A successful answer. ``envelope`` is None for raw and empty bodies."""

    status: int
    content_type: str
    body: bytes
    envelope: Envelope | None = None

    @property
    def data(self) -> bytes:
        """The payload as JSON; b"" when there is none."""
        return bytes(self.envelope.data) if self.envelope is not None else b""


class PlatformClient:
    """Sends requests to the platform with the caller's own bearer, byte for byte."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: str,
        *,
        forward_client_ip: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._forward_client_ip = forward_client_ip
        self._monotonic = monotonic
        # By SHA-256 of the bearer: the bearer itself is kept nowhere.
        self._backoff: OrderedDict[bytes, float] = OrderedDict()

    async def request(
        self, request: PlatformRequest, bearer: Secret | None, trace: Trace
    ) -> PlatformAnswer:
        """Send `request` and return the successful answer.

        Nothing but GET is ever repeated, and GET once. `bearer` None sends no credential.

        Raises:
            AuthenticationLost: 401.
            PlatformFailure: the platform's own error, or ``PLATFORM_*``, ``NOT_SUPPORTED``.
            ToolError: ``RATE_LIMITED`` while a back-off lasts, ``RESULT_TOO_LARGE``.
        """
        if bearer is not None and self._backoff:
            self._refuse_during_backoff(bearer)
        started = time.perf_counter()
        outcome = "cancelled"
        headers = self._headers(request, bearer, trace)
        try:
            with Deadline(request.timeout_seconds):
                try:
                    answer = await self._once(request, headers)
                except PlatformFailure as error:
                    if request.method != "GET" or not error.retryable:
                        raise
                    await asyncio.sleep(random.uniform(0.1, 0.3))  # noqa: S311 - only jitter
                    answer = await self._once(request, headers)
            outcome = "ok"
            return answer
        except TimeoutError:
            outcome = "unavailable"
            raise _deadline(request.method) from None
        except ToolError as error:
            outcome = _outcome(error)
            if error.code == "RATE_LIMITED" and bearer is not None:
                self._start_backoff(bearer, error.retry_after or 5)
            if outcome == "unavailable":
                _log.warning(
                    "platform request failed", code=error.code, request_id=trace.request_id
                )
            raise
        finally:
            count, duration = platform_outcome(outcome)
            count.inc()
            duration.observe(time.perf_counter() - started)

    def _headers(
        self, request: PlatformRequest, bearer: Secret | None, trace: Trace
    ) -> dict[str, str]:
        headers = {"Accept": "*/*" if request.is_raw else "application/json"}
        headers["X-Request-Id"] = trace.request_id
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer.reveal()}"
        if trace.traceparent is not None:
            headers["traceparent"] = trace.traceparent
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if self._forward_client_ip and trace.client_ip is not None:
            headers["X-Forwarded-For"] = trace.client_ip
        return headers

    async def _once(self, request: PlatformRequest, headers: Mapping[str, str]) -> PlatformAnswer:
        url = URL(
            f"{self._base}{request.path}{'?' + request.query if request.query else ''}",
            encoded=True,
        )
        data = _multipart(request.parts) if request.parts else _streamed(request.body)
        try:
            response = await self._http.request(
                request.method, url, data=data, headers=headers, allow_redirects=False
            )
            try:
                body = await _read(response)
            finally:
                # Gives the connection back after a whole body, and closes it after half a one.
                response.close() if not response.content.at_eof() else response.release()
            return _answer(request, response, body)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
            raise unavailable("The platform cannot be reached.") from None
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL):
            raise bad_response(0) from None
        except (aiohttp.ClientError, OSError):
            failed = unavailable("The connection to the platform failed.")
            failed.retryable = True
            raise failed from None

    def _refuse_during_backoff(self, bearer: Secret) -> None:
        key = _key(bearer)
        until = self._backoff.get(key)
        if until is None:
            return
        left = until - self._monotonic()
        if left <= 0:
            del self._backoff[key]
            return
        raise ToolError(
            "RATE_LIMITED",
            "The platform asked this caller to wait.",
            retry_after=math.ceil(left),
        )

    def _start_backoff(self, bearer: Secret, seconds: int) -> None:
        key = _key(bearer)
        until = self._monotonic() + min(seconds, _BACKOFF_SECONDS)
        self._backoff[key] = max(until, self._backoff.get(key, 0.0))
        self._backoff.move_to_end(key)
        while len(self._backoff) > _BACKOFF_ENTRIES:
            self._backoff.popitem(last=False)


def _key(bearer: Secret) -> bytes:
    return hashlib.sha256(bearer.reveal().encode()).digest()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    length = response.content_length
    if (
        length is not None
        and length <= _SMALL_BODY
        and not response.headers.get("Content-Encoding")
    ):
        return await response.read()
    if length is not None and length > RESPONSE_BYTES:
        raise _too_large()
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > RESPONSE_BYTES:
            raise _too_large()
        chunks.append(chunk)
    return b"".join(chunks)


def _answer(
    request: PlatformRequest, response: aiohttp.ClientResponse, body: bytes
) -> PlatformAnswer:
    status = response.status
    if 300 <= status < 400:
        raise bad_response(status)
    if status < 400 and (not body or (request.is_raw and not _is_json(response))):
        return PlatformAnswer(status, response.content_type, body)
    envelope = read_envelope(body)
    if status >= 400 or (envelope is not None and is_error(status, envelope)):
        raise failure(status, envelope, response.headers)
    if request.is_raw:
        return PlatformAnswer(status, response.content_type, body)
    if envelope is None or not envelope.data:
        raise bad_response(status)
    return PlatformAnswer(status, _JSON, body, envelope)


def _is_json(response: aiohttp.ClientResponse) -> bool:
    return response.content_type == _JSON


def _streamed(body: bytes | None) -> bytes | io.BytesIO | None:
    """Return what aiohttp sends without a warning; it wants large bodies as files."""
    return body if body is None or len(body) <= _LARGE_BODY else io.BytesIO(body)


def _multipart(parts: tuple[FilePart, ...]) -> aiohttp.FormData:
    form = aiohttp.FormData()
    for part in parts:
        form.add_field(
            part.name,
            _streamed(part.content) if part.filename is not None else part.content.decode(),
            filename=part.filename,
            content_type=part.content_type,
        )
    return form


def _deadline(method: str) -> PlatformFailure:
    effect = "" if method == "GET" else " The call may have taken effect."
    return PlatformFailure(
        "PLATFORM_TIMEOUT", f"The platform did not answer in time.{effect}", http_status=504
    )


def _too_large() -> ToolError:
    return ToolError(
        "RESULT_TOO_LARGE", "The platform's answer is larger than 32 MiB; ask for less at a time."
    )


def _outcome(error: ToolError) -> str:
    if error.code in ("PLATFORM_UNAVAILABLE", "PLATFORM_TIMEOUT", "PLATFORM_BAD_RESPONSE"):
        return "unavailable"
    if isinstance(error, AuthenticationLost):
        return "unauthorized"
    return "rate_limited" if error.code == "RATE_LIMITED" else "error"
