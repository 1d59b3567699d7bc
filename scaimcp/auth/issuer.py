"""Which authorization server signs the platform's users in. Spec: scaigrid 2 (issuer and keys)."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import msgspec

from scaimcp.errors import ToolError
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.telemetry.logs import get_logger

_DISCOVER = PlatformRequest("GET", "/v1/scailink/auth/discover", timeout_seconds=5.0, is_raw=True)
_KEEP_SECONDS = 600.0
_RETRY_SECONDS = 10.0
_ISSUER = re.compile(r"https?://[^\s?#]+\Z")
_log = get_logger("scaimcp.issuer")


class _Discovered(msgspec.Struct):
    issuer: str = ""


class _Enveloped(msgspec.Struct):
    data: _Discovered | None = None
    issuer: str = ""


class Issuer:
    """The issuer that the operator has set, else the one that the platform names.

    Args:
        platform: asked where nothing is set; its answer is kept for ten minutes.
        configured: the operator's setting, None for none.
        monotonic: clock for the age of an answer, in seconds.
    """

    def __init__(
        self,
        platform: PlatformClient,
        configured: str | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._configured = configured
        self._monotonic = monotonic
        self._discovered: str | None = None
        self._again_at = 0.0
        self._lock = asyncio.Lock()

    async def get(self, request_id: str) -> str | None:
        """Return the issuer, None while nobody names one."""
        return self._configured or await self._discover(request_id)

    async def _discover(self, request_id: str) -> str | None:
        async with self._lock:
            if self._monotonic() < self._again_at:
                return self._discovered
            try:
                answer = await self._platform.request(_DISCOVER, None, Trace(request_id))
                found, reason = _issuer(answer.body), "no issuer in the platform's answer"
            except ToolError as error:
                found, reason = None, error.code
            if found is None:
                _log.warning(
                    "authorization server not discovered", reason=reason, known=self._discovered
                )
            self._discovered = found or self._discovered
            seconds = _KEEP_SECONDS if found else _RETRY_SECONDS
            self._again_at = self._monotonic() + seconds
            return self._discovered


def _issuer(body: bytes) -> str | None:
    """Return the issuer that a discovery document names, enveloped or bare."""
    try:
        document = msgspec.json.decode(body, type=_Enveloped)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    issuer = document.data.issuer if document.data else document.issuer
    return issuer if _ISSUER.match(issuer) else None
