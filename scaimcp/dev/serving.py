"""Serve a stand-in with uvicorn in the running loop."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BACKLOG = 2048
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.002


@asynccontextmanager
async def serve_standin(
    app: Callable[..., Awaitable[Any]],
    host: str,
    port: int,
    *,
    protocol: type[HttpToolsProtocol] = HttpToolsProtocol,
    lifespan: Literal["on", "off"] = "off",
) -> AsyncIterator[tuple[str, int]]:
    """Serve an ASGI application for the length of the context.

    Args:
        app: the application.
        host: address to bind.
        port: 0 picks a free one.
        protocol: uvicorn's, or one with more in its scope.
        lifespan: whether the application is told of start and end.

    Returns:
        The base URL without a trailing slash, and the port.
    """
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan=lifespan,
            access_log=False,
            # Dropped connections are ordered, and uvicorn would report each as an error.
            log_level="critical",
            log_config=None,
            server_header=False,
            date_header=False,
            timeout_keep_alive=75,
        )
    )
    # Started piece by piece: `serve` would take over the signals of the process and need a task.
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[listener])
    bound = int(listener.getsockname()[1])
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{bound}", bound
    finally:
        await _stop(server)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only where it is; without that every
    # answer on a kept connection waits 40 ms for the peer's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


async def _stop(server: uvicorn.Server) -> None:
    """Close every connection once its request is answered, or after the grace time."""
    # uvicorn's own shutdown always sleeps a tenth of a second, which every test would pay for.
    state = server.server_state
    for listening in server.servers:
        listening.close()
    for connection in list(state.connections):
        connection.shutdown()
    deadline = time.monotonic() + GRACE_SECONDS
    while (state.connections or state.tasks) and time.monotonic() < deadline:  # noqa: ASYNC110 - uvicorn has no event for this
        await asyncio.sleep(POLL_SECONDS)
    for task in list(state.tasks):
        task.cancel()
    await server.lifespan.shutdown()
