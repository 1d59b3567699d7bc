"""Protected-resource metadata of RFC 9728, at both well-known forms. Public.

Spec: scaigrid 2 (issuer), register (Routes).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.auth.issuer import Issuer
from scaimcp.rest.access import id_of
from scaimcp.rest.responses import plain
from scaimcp.rest.routes import RestRoute
from scaimcp.scaigrid.client import PlatformClient

WELL_KNOWN = "/.well-known/oauth-protected-resource"
_CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-methods": "GET, OPTIONS",
    "access-control-allow-headers": "*",
}


class ProtectedResource(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9728 document; ``authorization_servers`` is absent while none is known."""

    resource: str
    bearer_methods_supported: list[str]
    resource_name: str
    authorization_servers: list[str] = []


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
        self._public_url = public_url
        self._issuer = Issuer(platform, issuer, monotonic=monotonic)

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
        issuer = await self._issuer.get(id_of(request))
        document = ProtectedResource(
            resource=f"{self._public_url}/mcp",
            bearer_methods_supported=["header"],
            resource_name="ScaiMCP",
            authorization_servers=[issuer] if issuer else [],
        )
        # Without a server it is unfinished: nobody should keep it for long.
        life = 300 if issuer else 10
        return plain(document, headers={**_CORS, "cache-control": f"public, max-age={life}"})
