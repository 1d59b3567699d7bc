"""Probes and metrics. Public inside the cluster; an ingress routes none of them.

Spec: register, Routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.errors import GatewayError
from scaimcp.rest.responses import plain
from scaimcp.rest.routes import RestRoute
from scaimcp.telemetry import metrics

PUBLIC_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
_PART_SECONDS = 1.5
Check = Callable[[], Awaitable[None]]


class Liveness(msgspec.Struct, frozen=True):
    """The process serves."""

    status: str


class Readiness(msgspec.Struct, frozen=True):
    """``status`` is ok, degraded (still serving), starting or draining (503).

    Each part is ok or degraded.
    """

    status: str
    parts: dict[str, str] = {}


class Lifecycle:
    """Where the process is between start and end."""

    def __init__(self) -> None:
        self.is_started = False
        self.is_draining = False


class ProbeResource:
    """Answers probes; parts that fail degrade the answer but do not end readiness.

    Args:
        parts: gives, by name, the checks of the moment; a check raises when its part fails.
        multiprocess_dir: shared folder of the metrics of several workers, or None.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        parts: Callable[[], Mapping[str, Check]],
        multiprocess_dir: str | None,
    ) -> None:
        self._lifecycle = lifecycle
        self._parts = parts
        self._multiprocess_dir = multiprocess_dir

    def routes(self, *, with_metrics: bool) -> tuple[RestRoute, ...]:
        """Return the probes, and the metrics unless they have a port of their own."""
        routes = [
            _probe("/livez", "live", "The process serves.", self.live, Liveness),
            _probe(
                "/readyz", "ready", "The process takes requests.", self.ready, Readiness, (503,)
            ),
        ]
        if with_metrics:
            routes.append(
                RestRoute(
                    "GET",
                    "/metrics",
                    "metrics",
                    "Metrics in Prometheus text form.",
                    self.metrics,
                    str,
                    is_enveloped=False,
                    needs_bearer=False,
                    media_type="text/plain",
                )
            )
        return tuple(routes)

    async def live(self, request: Request) -> Response:
        """Return 200 while the event loop turns."""
        return plain(Liveness("ok"))

    async def ready(self, request: Request) -> Response:
        """Return 503 before the first complete start and while draining."""
        if self._lifecycle.is_draining:
            return plain(Readiness("draining"), 503)
        if not self._lifecycle.is_started:
            return plain(Readiness("starting"), 503)
        checks = self._parts()
        states = await asyncio.gather(*(self._state(check) for check in checks.values()))
        parts = dict(zip(checks, states, strict=True))
        status = "ok" if all(state == "ok" for state in states) else "degraded"
        return plain(Readiness(status, parts))

    async def _state(self, check: Check) -> str:
        try:
            async with asyncio.timeout(_PART_SECONDS):
                await check()
        except (GatewayError, TimeoutError):
            return "degraded"
        return "ok"

    async def metrics(self, request: Request) -> Response:
        """Return the metrics of all workers of this server."""
        body = metrics.render(self._multiprocess_dir)
        return Response(body, media_type=metrics.CONTENT_TYPE)


def _probe(
    path: str,
    name: str,
    summary: str,
    handler: Callable[[Request], Awaitable[Response]],
    data: type,
    errors: tuple[int, ...] = (),
) -> RestRoute:
    return RestRoute(
        "GET",
        path,
        name,
        summary,
        handler,
        data,
        is_enveloped=False,
        needs_bearer=False,
        errors=errors,
    )
