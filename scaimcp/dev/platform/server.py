"""Run the stand-in platform with uvicorn on a port of its own."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from scaimcp.dev.platform.answer import TRANSPORT
from scaimcp.dev.platform.app import PlatformApp, create_platform
from scaimcp.dev.platform.config import PlatformConfig
from scaimcp.dev.platform.state import Platform

BACKLOG = 2048
GRACE_SECONDS = 5.0
POLL_SECONDS = 0.002


class StandInProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the transport in reach of faults that drop connections."""

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required] # a key of our own


class Served(NamedTuple):
    """A running platform: its base URL without a trailing slash, its port, and its state."""

    url: str
    port: int
    platform: Platform


@asynccontextmanager
async def serve_platform(
    config: PlatformConfig | PlatformApp | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Served]:
    """Serve a stand-in platform for the length of the context, in the running loop.

    Args:
        config: how it is started, or an application made before; None takes every default.
        host: address to bind.
        port: 0 picks a free one.
    """
    app = config if isinstance(config, PlatformApp) else create_platform(config)
    listener = _listen(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            http=StandInProtocol,
            ws="none",
            lifespan="on",
            access_log=False,
            log_level="error",
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
        yield Served(f"http://{shown}:{bound}", bound, app.platform)
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
