"""The platform's client with a span for each request. Spec: register, Settings (tracing)."""

from __future__ import annotations

import aiohttp
import msgspec
from yarl import URL

from scaimcp.errors import PlatformFailure, ToolError
from scaimcp.scaigrid.client import PlatformAnswer, PlatformClient, PlatformRequest, Trace
from scaimcp.telemetry.tracing import Tracing
from scaimcp.types import Secret


class TracedPlatformClient(PlatformClient):
    """The client when tracing is on: the platform gets the span's context as ``traceparent``.

    A span names the verb and the platform, never path, query or body: ids and arguments are there.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        base_url: str,
        tracing: Tracing,
        *,
        forward_client_ip: bool = False,
    ) -> None:
        super().__init__(http, base_url, forward_client_ip=forward_client_ip)
        self._tracing = tracing
        url = URL(base_url)
        self._peer: dict[str, str | int] = {"server.address": url.host or ""}
        if url.port is not None:
            self._peer["server.port"] = url.port

    async def request(
        self, request: PlatformRequest, bearer: Secret | None, trace: Trace
    ) -> PlatformAnswer:
        """Send `request` as `PlatformClient.request` does, under a span of its own."""
        if bearer is not None and self._backoff:
            # Nothing is sent then, so there is nothing to trace.
            self._refuse_during_backoff(bearer)
        about = {
            **self._peer,
            "http.request.method": request.method,
            "scaimcp.request_id": trace.request_id,
        }
        span = self._tracing.start(request.method, "CLIENT", trace.traceparent, about)
        status, error = 0, "cancelled"
        try:
            answer = await super().request(
                request, bearer, msgspec.structs.replace(trace, traceparent=span.traceparent)
            )
            status, error = answer.status, ""
            return answer
        except ToolError as failed:
            status = failed.status if isinstance(failed, PlatformFailure) else 0
            error = failed.code
            raise
        finally:
            span.end({"http.response.status_code": status} if status else {}, error=error)


def platform_client(
    http: aiohttp.ClientSession,
    base_url: str,
    tracing: Tracing | None,
    *,
    forward_client_ip: bool,
) -> PlatformClient:
    """Return the client of the platform; without tracing the bare one."""
    if tracing is None:
        return PlatformClient(http, base_url, forward_client_ip=forward_client_ip)
    return TracedPlatformClient(http, base_url, tracing, forward_client_ip=forward_client_ip)
