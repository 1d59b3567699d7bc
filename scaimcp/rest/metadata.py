"""Protected-resource metadata of RFC 9728, at both well-known forms. Public.

Spec: scaigrid 2 (issuer), register (Routes).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.errors import ToolError
from scaimcp.rest.access import id_of
from scaimcp.rest.responses import plain
from scaimcp.rest.routes import RestRoute
from scaimcp.scaigrid.client import PlatformClient, PlatformRequest, Trace
from scaimcp.telemetry.logs import get_logger

WELL_KNOWN = "/.well-known/oauth-protected-resource"
_DISCOVER = PlatformRequest("GET", "/v1/scailink/auth/discover", timeout_seconds=5.0, is_raw=True)
_KEEP_SECONDS = 600.0
_RETRY_SECONDS = 10.0
_ISSUER = re.compile(r"https?://[^\s?#]+\Z")
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, OPTIONS",
    "access-control-allow-headers": "*",
}
_log = get_logger("scaimcp.metadata")


class ProtectedResource(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9728 document; ``authorization_servers`` is absent while none is known."""

    resource: str
    bearer_methods_supported: list[str]
    resource_name: str
    authorization_servers: list[str] = []


class _Discovered(msgspec.Struct):
    issuer: str = ""


class _Enveloped(msgspec.Struct):
    data: _Discovered | None = None
    issuer: str = ""


class MetadataResource:
    """Names the authorization server: the operator's setting, else what the platform says."""

    def __init__(
        self,
        platform: PlatformClient,
        public_url: str,
        issuer: str | None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._platform = platform
        self._public_url = public_url
        self._issuer = issuer
        self._monotonic = monotonic
        self._discovered: str | None = None
        self._again_at = 0.0
        self._lock = asyncio.Lock()

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the routes of both well-known forms."""
        return tuple(
            RestRoute(
                "GET",
                path,
                name,
                "Protected-resource metadata of the MCP endpoint (RFC 9728).",
                self.document,
                ProtectedResource,
                is_enveloped=False,
                needs_bearer=False,
                has_preflight=True,
            )
            for path, name in (
                (WELL_KNOWN, "resourceMetadata"),
                (f"{WELL_KNOWN}/mcp", "resourceMetadataOfMcp"),
            )
        )

    async def document(self, request: Request) -> Response:
        """Return the document; browsers anywhere may read it."""
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_CORS)
        issuer = self._issuer or await self._discover(id_of(request))
        document = ProtectedResource(
            resource=f"{self._public_url}/mcp",
            bearer_methods_supported=["header"],
            resource_name="ScaiMCP",
            authorization_servers=[issuer] if issuer else [],
        )
        # Without a server it is unfinished: nobody should keep it for long.
        life = 300 if issuer else 10
        return plain(document, headers={**_CORS, "cache-control": f"public, max-age={life}"})

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
