"""ScaiVault's REST client: one request method, deadlines, careful second tries.

The bearer goes to the one configured origin only, and no redirect is followed.
Spec: scaivault 2.1, 8, 9 (size).
"""

from __future__ import annotations

import asyncio
import contextlib
import io

import aiohttp
import msgspec
from yarl import URL

from scaimcp.deadline import Deadline
from scaimcp.scaivault.answers import (
    Answer,
    UpstreamFailure,
    failed_answer,
    longest_pause,
    shape_mismatch,
    timed_out,
    too_long,
    tries_left,
    unreachable,
)
from scaimcp.scaivault.requests import VaultRequest
from scaimcp.scaivault.timing import Timing
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import Secret

MOST_BYTES = 8 * 1024 * 1024
_MEBIBYTE = 1024 * 1024
_BEARER = "Bearer "
_log = get_logger("scaimcp.scaivault")


class VaultClient:
    """Sends requests to ScaiVault.

    Args:
        http: client of `scaimcp.outbound.open_http`.
        base_url: ScaiVault's origin.
        timeout_seconds: time for one answer; a second try has as much again.
        at_once: requests at once, more wait; None for no limit.
        timing: clocks, waiting and chance.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: str,
        *,
        timeout_seconds: float = 30.0,
        at_once: int | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._http = http
        self._base = base_url.rstrip("/")
        self._timeout = timeout_seconds
        self._places = contextlib.nullcontext() if at_once is None else asyncio.Semaphore(at_once)
        self.timing = timing or Timing()

    async def request(
        self, request: VaultRequest, bearer: Secret, headers: dict[str, str], until: float
    ) -> Answer:
        """Send a request and return the successful answer.

        Args:
            request: what to send.
            bearer: the only credential.
            headers: further ones, such as ``X-Tenant-ID``.
            until: moment on the monotonic clock after which nothing is tried again.

        Raises:
            UpstreamFailure: ScaiVault's own error, or ``UPSTREAM_*``.
            VaultError: RESULT_TOO_LARGE.
        """
        done = 0
        while True:
            try:
                return await self._try(request, bearer, headers, until)
            except UpstreamFailure as failure:
                pause = self._pause(request.method, failure, done, until)
                if pause is None:
                    _log.info(
                        "request failed",
                        code=failure.code,
                        status=failure.status,
                        request_id=failure.request_id,
                    )
                    raise
            done += 1
            await self.timing.sleep(pause)

    def _pause(
        self, method: str, failure: UpstreamFailure, done: int, until: float
    ) -> float | None:
        """Return how long to wait before the next try; None for no further one."""
        if not tries_left(method, failure, done):
            return None
        pause = (
            float(failure.retry_after or 0)
            if failure.cause == "limited"
            else self.timing.jitter(longest_pause(failure, done))
        )
        return pause if self.timing.monotonic() + pause < until else None

    async def _try(
        self, request: VaultRequest, bearer: Secret, headers: dict[str, str], until: float
    ) -> Answer:
        own = {"Authorization": _BEARER + bearer.reveal(), "Accept": request.accept}
        if request.body is not None:
            own["Content-Type"] = "application/json"
        async with self._places:
            left = min(self._timeout, until - self.timing.monotonic())
            try:
                with Deadline(max(left, 0.0)):
                    return await self._once(request, {**headers, **own})
            except TimeoutError:
                raise timed_out(request.method) from None
            except asyncio.CancelledError:
                if request.method != "GET":
                    _log.warning("outcome unknown", method=request.method)
                raise

    async def _once(self, request: VaultRequest, headers: dict[str, str]) -> Answer:
        method = request.method
        try:
            response = await self._http.request(
                method,
                URL(self._base + request.target, encoded=True),
                data=_streamed(request.body),
                headers=headers,
                # A write without a body has no type either.
                skip_auto_headers=("Content-Type",),
                allow_redirects=False,
            )
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError):
            raise unreachable(method, is_sent=False) from None
        except (aiohttp.ClientResponseError, aiohttp.InvalidURL):
            raise shape_mismatch() from None
        except (aiohttp.ClientError, OSError):
            raise unreachable(method, is_sent=True) from None
        try:
            body = await _read(response)
        finally:
            # Gives the connection back after a whole body, and closes it after half a one.
            response.release() if response.content.at_eof() else response.close()
        if 200 <= response.status < 300:
            if body is None:
                raise shape_mismatch(response.status)
            return Answer(response.status, body)
        now = self.timing.now().timestamp()
        told = _without_bearer(body or b"", headers["Authorization"])
        raise failed_answer(response.status, told, response.headers, now)


def _without_bearer(body: bytes, authorization: str) -> bytes:
    """Return a refusal that does not repeat the bearer, of whose looks nothing is known."""
    token = msgspec.json.encode(authorization.removeprefix(_BEARER))[1:-1]
    return body.replace(token, b"[redacted]")


async def _read(response: aiohttp.ClientResponse) -> bytes | None:
    """Return a whole body, None for one that was cut short."""
    length = response.content_length
    if length is not None and length > MOST_BYTES:
        raise too_long(MOST_BYTES // _MEBIBYTE)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > MOST_BYTES:
                raise too_long(MOST_BYTES // _MEBIBYTE)
            chunks.append(chunk)
    except (aiohttp.ClientError, OSError):
        return None
    return b"".join(chunks)


def _streamed(body: bytes | None) -> bytes | io.BytesIO | None:
    """Return what aiohttp sends without a warning; it wants large bodies as files."""
    return body if body is None or len(body) <= _MEBIBYTE else io.BytesIO(body)
