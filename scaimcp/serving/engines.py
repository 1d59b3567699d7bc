"""One gateway process: the application between an HTTP server and the operating system.

Two servers serve the same application on sockets that are already open, uvicorn and hypercorn.
Both end in the same way on SIGTERM: readiness ends, long streams end, running requests finish,
then the process goes.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Any

import uvloop

from scaimcp.serving.lifespan import lifespan
from scaimcp.serving.stage import Stage, tls_context
from scaimcp.settings import Settings

_ENDING = (signal.SIGTERM, signal.SIGINT)
_UVICORN = "scaimcp.serving.uvicorn_engine"
_HYPERCORN = "scaimcp.serving.hypercorn_engine"
# Imported late: the parent of several workers must not count among them.
_METRICS = "scaimcp.telemetry.metrics"
_SHARE_SECONDS = 1.0
# Objects before a collection of the youngest, collections before one of the next generation.
_COLLECTOR = (10_000, 20, 20)
_MODULES = {"uvicorn": _UVICORN, "hypercorn": _HYPERCORN}


@dataclass(frozen=True, slots=True)
class Listeners:
    """Open sockets: for requests, and for probes and metrics alone (may be empty)."""

    main: list[socket.socket]
    metrics: list[socket.socket]


def choose(settings: Settings) -> str:
    """Return ``uvicorn`` or ``hypercorn``: hypercorn for TLS, HTTP/2 and Unix sockets."""
    if settings.server_engine != "auto":
        return settings.server_engine
    has_tls = settings.server_tls_cert_file is not None
    has_unix = any(bind.startswith("unix:") for bind in settings.server_bind)
    return "hypercorn" if has_tls or settings.server_http2 or has_unix else "uvicorn"


def run(
    settings: Settings,
    listeners: Listeners,
    *,
    metrics_folder: str | None = None,
    parent: socket.socket | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain.

    Args:
        settings: complete settings.
        listeners: open sockets; they are closed at the end.
        metrics_folder: folder of the metrics of all workers; None with one process.
        parent: told when this worker serves, and ends it when closed; None with one process.

    Raises:
        SettingsError: the settings cannot be used.
    """
    # Only here, and by name: the parent of several workers needs neither application nor server.
    app = import_module("scaimcp.app").create_app(settings, multiprocess_dir=metrics_folder)
    try:
        uvloop.run(_serve(app, settings, listeners, parent))
    finally:
        ignore_further_signals()


def on_ending(end: Callable[[], None]) -> None:
    """Call `end`, which may not raise, for SIGTERM and Ctrl-C."""

    def handle(number: int, frame: FrameType | None) -> None:
        end()

    # Not the loop's handlers: it takes them back when it closes, and a late signal would kill.
    for number in _ENDING:
        signal.signal(number, handle)


def ignore_further_signals() -> None:
    """Let a second SIGTERM or Ctrl-C not kill a process that is about to end well."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


async def _serve(
    app: Any, settings: Settings, listeners: Listeners, parent: socket.socket | None
) -> None:
    stop = _stop_event(parent)
    engine = import_module(_MODULES[choose(settings)])
    stage = Stage(
        stop,
        app.drain,
        settings.server_drain_seconds,
        partial(_tell, parent),
        tls_context(settings),
        settings.server_http2,
    )
    async with lifespan(app), asyncio.TaskGroup() as group:
        _settle_collector()
        # Probes and metrics answer until the last request has been served.
        is_served = asyncio.Event()
        if parent is not None:
            group.create_task(_share_metrics(is_served))
        if listeners.metrics:
            side = Stage(is_served, _nothing, 1.0, _nothing)
            plain = import_module(_UVICORN)
            group.create_task(plain.serve(app.serve_metrics, listeners.metrics, side))
        try:
            await engine.serve(app, listeners.main, stage)
        finally:
            is_served.set()


def _settle_collector() -> None:
    """Keep the garbage collector off what lives as long as the process.

    A call leaves no cycles behind, yet with the usual thresholds one in a few is interrupted to
    walk through the whole catalogue; worth 4–8 % of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)


async def _share_metrics(is_served: asyncio.Event) -> None:
    """Let other workers, who may be asked for the sum, see what this one counts."""
    while not is_served.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_SHARE_SECONDS):
                await is_served.wait()
        import_module(_METRICS).flush()


def _stop_event(parent: socket.socket | None) -> asyncio.Event:
    """Return what a signal, or the end of the parent process, sets."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def end() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(stop.set)

    on_ending(end)
    if parent is not None:
        # The parent never writes: the socket is readable once it is closed.
        loop.add_reader(parent, _orphaned, loop, parent, stop.set)
    return stop


def _orphaned(
    loop: asyncio.AbstractEventLoop, parent: socket.socket, end: Callable[[], None]
) -> None:
    loop.remove_reader(parent)
    end()


def _tell(parent: socket.socket | None) -> None:
    if parent is not None:
        # A parent that has died meanwhile is noticed by the reader; the worker ends in order.
        with suppress(OSError):
            parent.send(b"1")


def _nothing() -> None:
    return None
