"""The HTTP servers under the application: uvicorn and hypercorn behind one call.

Both serve the same app on sockets that are already open and drain on SIGTERM: readiness ends,
long streams end, running requests finish, then the process goes.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
import uvloop
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config as HypercornConfig
from hypercorn.config import Sockets

from scaimcp.app import GatewayApp
from scaimcp.settings import Settings

_KEEP_ALIVE_SECONDS = 75
_NOTICE_SECONDS = 0.2


def choose(settings: Settings) -> str:
    """Return ``uvicorn`` or ``hypercorn``: hypercorn for TLS, HTTP/2 and Unix sockets."""
    if settings.server_engine != "auto":
        return settings.server_engine
    has_tls = settings.server_tls_cert_file is not None
    has_unix = any(bind.startswith("unix:") for bind in settings.server_bind)
    return "hypercorn" if has_tls or settings.server_http2 or has_unix else "uvicorn"


def run(app: GatewayApp, listeners: list[socket.socket], metrics: list[socket.socket]) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        app: the application.
        listeners: sockets for requests.
        metrics: sockets that serve probes and metrics only; empty without a port of their own.
    """
    uvloop.run(_serve(app, listeners, metrics))


async def _serve(
    app: GatewayApp, listeners: list[socket.socket], metrics: list[socket.socket]
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engine = _hypercorn if choose(app.settings) == "hypercorn" else _uvicorn
    async with asyncio.TaskGroup() as group:
        if metrics:
            group.create_task(_uvicorn(MetricsApp(app), app.settings, metrics, stop, drain=None))
        group.create_task(engine(app, app.settings, listeners, stop, drain=app.drain))


class MetricsApp:
    """Probes and metrics on a port of their own; the lifespan belongs to the main server."""

    def __init__(self, app: GatewayApp) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one scope."""
        await self._app.serve_metrics(scope, receive, send)


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handling of its own: one place decides when to stop."""

    def install_signal_handlers(self) -> None:
        """Leave the handlers alone."""

    def capture_signals(self) -> Any:
        """Leave the handlers alone."""
        return _Nothing()


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


async def _uvicorn(
    app: Any,
    settings: Settings,
    listeners: list[socket.socket],
    stop: asyncio.Event,
    drain: Callable[[], None] | None,
) -> None:
    config = uvicorn.Config(
        app,
        http="httptools",
        lifespan="on" if drain is not None else "off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.server_drain_seconds,
        ssl_certfile=settings.server_tls_cert_file if drain is not None else None,
        ssl_keyfile=settings.server_tls_key_file if drain is not None else None,
        backlog=2_048,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = _Uvicorn(config)

    async def watch() -> None:
        await stop.wait()
        if drain is not None:
            drain()
            # Requests already on the wire are accepted before the listener closes.
            await asyncio.sleep(_NOTICE_SECONDS)
        server.should_exit = True

    watcher = asyncio.get_running_loop().create_task(watch(), name="stop watcher")
    try:
        await server.serve(sockets=listeners)
        if not server.started:
            raise RuntimeError("the application did not start")
    finally:
        stop.set()
        watcher.cancel()


class _OpenSockets(HypercornConfig):
    """hypercorn's settings with sockets that are already open."""

    def __init__(self, listeners: list[socket.socket], is_secure: bool) -> None:
        super().__init__()
        self._listeners = listeners
        self._is_secure = is_secure

    def create_sockets(self) -> Sockets:
        """Return the open sockets."""
        secure, insecure = (self._listeners, []) if self._is_secure else ([], self._listeners)
        return Sockets(secure, insecure, [])


async def _hypercorn(
    app: Any,
    settings: Settings,
    listeners: list[socket.socket],
    stop: asyncio.Event,
    drain: Callable[[], None] | None,
) -> None:
    has_tls = settings.server_tls_cert_file is not None
    config = _OpenSockets(listeners, has_tls)
    config.certfile = settings.server_tls_cert_file
    config.keyfile = settings.server_tls_key_file
    config.alpn_protocols = ["h2", "http/1.1"] if settings.server_http2 else ["http/1.1"]
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.loglevel = "WARNING"
    config.include_server_header = False
    config.keep_alive_timeout = _KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 10**9
    config.graceful_timeout = settings.server_drain_seconds
    config.shutdown_timeout = settings.server_drain_seconds
    config.h2_max_concurrent_streams = 250

    async def trigger() -> None:
        await stop.wait()
        if drain is not None:
            drain()
            await asyncio.sleep(_NOTICE_SECONDS)

    serve: Callable[..., Awaitable[None]] = hypercorn_serve
    try:
        await serve(app, config, shutdown_trigger=trigger)
    finally:
        stop.set()
