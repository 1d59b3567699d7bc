"""The ASGI application: routes, error answers, lifespan. Nothing runs at import."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from scaimcp import __version__
from scaimcp.auth.admittance import Proxies
from scaimcp.bootstrap import Services, open_services
from scaimcp.errors import GatewayError, RequestRefused
from scaimcp.gateway.sources import ToolSource
from scaimcp.ids import new_id
from scaimcp.rest import approval_page
from scaimcp.rest.access import Access, id_of
from scaimcp.rest.approvals import ApprovalResource
from scaimcp.rest.catalogue import CatalogueResource
from scaimcp.rest.edge import RestEdge
from scaimcp.rest.invoke import InvokeResource
from scaimcp.rest.login import SignIn
from scaimcp.rest.metadata import MetadataResource
from scaimcp.rest.openapi import openapi_route
from scaimcp.rest.paging import Cursors
from scaimcp.rest.probes import Check, Lifecycle, ProbeResource
from scaimcp.rest.registry import RegistryAccess
from scaimcp.rest.remote_definitions import RemoteDefinitionResource
from scaimcp.rest.remote_servers import RemoteServerResource
from scaimcp.rest.responses import failure
from scaimcp.rest.routes import RestRoute
from scaimcp.rest.scaivault_guards import GuardResource
from scaimcp.scaigrid.client import PlatformRequest, Trace
from scaimcp.scaivault.profiles import GuardProfiles
from scaimcp.sealing import Sealer
from scaimcp.server.asgi import Receive, Scope, Send
from scaimcp.settings import Settings
from scaimcp.telemetry.logs import get_logger

MCP_PATH = "/mcp"
_HEALTH = PlatformRequest("GET", "/health", timeout_seconds=1.0, is_raw=True)
_log = get_logger("scaimcp.app")


class GatewayApp:
    """``/mcp`` goes straight to the endpoint; everything else through Starlette."""

    def __init__(
        self,
        settings: Settings,
        more_sources: Iterable[ToolSource] = (),
        multiprocess_dir: str | None = None,
    ) -> None:
        self.settings = settings
        self.lifecycle = Lifecycle()
        self.services: Services | None = None
        self._more_sources = tuple(more_sources)
        self._multiprocess_dir = multiprocess_dir
        self._side: Starlette | None = None
        self._routes = Starlette(
            routes=self._probe_routes(settings.metrics_bind is None),
            lifespan=self._lifespan,
            exception_handlers=_HANDLERS,
        )
        self._routes.router.redirect_slashes = False
        self._rest = RestEdge(self._routes, settings.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http" or scope["path"] != MCP_PATH:
            await self._rest(scope, receive, send)
        elif self.services is not None:
            await self.services.endpoint(scope, receive, send)
        else:
            refusal = failure(_closed(), id_of(Request(scope)))
            await refusal(scope, receive, send)

    async def serve_metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve probes and metrics only, for a port of their own."""
        if self._side is None:
            self._side = Starlette(
                routes=self._probe_routes(with_metrics=True), exception_handlers=_HANDLERS
            )
        await self._side(scope, receive, send)

    def drain(self) -> None:
        """Stop being ready and end what waits for a client; running requests go on."""
        self.lifecycle.is_draining = True
        if self.services is not None:
            self.services.drain()

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with open_services(self.settings, self._more_sources) as services:
            self.services = services
            app.router.routes[:] = _served(self.rest_routes(services))
            self.lifecycle.is_started = True
            _log.info("gateway started", version=__version__)
            try:
                yield
            finally:
                self.drain()
                self.services = None

    def rest_routes(self, services: Services) -> tuple[RestRoute, ...]:
        """Return every REST route, the OpenAPI document last."""
        settings = self.settings
        proxies = Proxies(settings.server_trusted_proxies)
        access = Access(
            services.verifier,
            settings.public_url,
            proxies,
        )
        catalogue = CatalogueResource(access, services.gateway, services.explainer)
        metadata = MetadataResource(services.platform, settings.public_url, settings.auth_issuer)
        routes = (
            *catalogue.routes(),
            *metadata.routes(),
            *GuardResource(access, _profiles(services)).routes(),
            *_remote_routes(services, access),
            *self._probes().routes(with_metrics=settings.metrics_bind is None),
        )
        return (*routes, openapi_route(routes, __version__))

    def _probe_routes(self, with_metrics: bool) -> list[Route]:
        """Return what answers from the first moment on, before the services are open."""
        return _served(self._probes().routes(with_metrics=with_metrics))

    def _probes(self) -> ProbeResource:
        return ProbeResource(self.lifecycle, self._parts, self._multiprocess_dir)

    def _parts(self) -> dict[str, Check]:
        """Return the checks of what the gateway leans on; none while nothing is open."""
        services = self.services
        if services is None:
            return {}

        async def platform() -> None:
            await services.platform.request(_HEALTH, None, Trace(new_id("req_")))

        return {
            "postgres": services.database.ping,
            "redis": services.redis.ping,
            "platform": platform,
        }


def create_app(
    settings: Settings,
    more_sources: Iterable[ToolSource] = (),
    multiprocess_dir: str | None = None,
) -> GatewayApp:
    """Return the application; services open with its lifespan."""
    return GatewayApp(settings, more_sources, multiprocess_dir)


def _profiles(services: Services) -> GuardProfiles | None:
    return services.vault.profiles if services.vault is not None else None


def _remote_routes(services: Services, access: Access) -> tuple[RestRoute, ...]:
    """Return the routes about remote servers; without a registry each answers 503."""
    keys, remotes = services.settings.state_keys, services.remotes
    if keys is None:
        raise AssertionError("services are open without state keys")
    cursors = Cursors(Sealer(keys, "cursor"))
    admission = RegistryAccess(access, remotes.registry if remotes is not None else None)
    approvals = remotes.approvals if remotes is not None else None
    sign_in = SignIn(services.login, services.settings.public_url, keys)
    sealer = Sealer(keys, approval_page.LABEL)
    page = approval_page.ApprovalPage(access, approvals, sealer, sign_in)
    return (
        *RemoteServerResource(admission, cursors).routes(),
        *RemoteDefinitionResource(admission, cursors).routes(),
        *InvokeResource(access, remotes.invoker if remotes is not None else None).routes(),
        *ApprovalResource(access, approvals, cursors).routes(),
        *page.routes(),
        *sign_in.routes(),
    )


def _served(routes: Iterable[RestRoute]) -> list[Route]:
    """Return one route a path, so that a 405 names every method of it in ``Allow``."""
    paths: dict[str, dict[str, RestRoute]] = {}
    for route in routes:
        operations = paths.setdefault(route.path, {})
        operations[route.method] = route
        if route.has_preflight:
            operations["OPTIONS"] = route
    return [_route(path, operations) for path, operations in paths.items()]


def _route(path: str, operations: dict[str, RestRoute]) -> Route:
    async def serve(request: Request) -> Response:
        route = operations["GET" if request.method == "HEAD" else request.method]
        request.state.operation = route.name
        return await route.handler(request)

    return Route(path, serve, methods=list(operations))


def _closed() -> RequestRefused:
    return RequestRefused(
        "GATEWAY_BUSY", "The gateway is starting or stopping.", http_status=503, retry_after=1
    )


async def _on_refusal(request: Request, error: Exception) -> Response:
    return failure(cast(GatewayError, error), id_of(request))


# The router raises no others.
_HTTP_ERRORS = {
    404: ("NOT_FOUND", "There is no such path."),
    405: ("METHOD_NOT_ALLOWED", "This path does not take this method."),
}


async def _on_http_error(request: Request, error: Exception) -> Response:
    found = cast(HTTPException, error)
    code, message = _HTTP_ERRORS[found.status_code]
    refusal = RequestRefused(code, message, http_status=found.status_code)
    response = failure(refusal, id_of(request))
    response.headers.update(found.headers or {})
    return response


async def _on_fault(request: Request, error: Exception) -> Response:
    _log.error("request failed", request_id=id_of(request), exc_info=error)
    message = "The gateway failed; the cause is in its log."
    return failure(RequestRefused("INTERNAL_ERROR", message, http_status=500), id_of(request))


_HANDLERS = {GatewayError: _on_refusal, HTTPException: _on_http_error, Exception: _on_fault}
