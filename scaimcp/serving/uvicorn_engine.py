"""uvicorn under the application: plain HTTP/1.1, parsed in C."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from scaimcp.server.asgi import AsgiApp
from scaimcp.serving.stage import (
    BACKLOG,
    CUT_SECONDS,
    HEAD_BYTES,
    HEAD_SECONDS,
    KEEP_ALIVE_SECONDS,
    NOTICE_SECONDS,
    CutShort,
    Stage,
)

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n"


class _State(ServerState):
    """What all connections share; ``is_draining`` ends keep-alive."""

    def __init__(self) -> None:
        super().__init__()
        self.is_draining = False
        self.lost = asyncio.Event()

    async def quiet(self) -> None:
        """Wait until no connection is open and no request runs."""
        while self.connections:
            self.lost.clear()
            await self.lost.wait()
        while self.tasks:
            await asyncio.wait(self.tasks)


class _Protocol(HttpToolsProtocol):
    """A connection whose request heads are bounded in size and time, from the first byte on."""

    def __init__(self, server_state: _State, **more: Any) -> None:
        super().__init__(server_state=server_state, **more)
        self._state = server_state
        self._has_open_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; a client that says nothing is as idle as one between two requests."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, which would keep the connection in memory."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._close_head()
        self._state.lost.set()

    def data_received(self, data: bytes) -> None:
        """Parse; close when a head does not end."""
        super().data_received(data)
        if not self._has_open_head:
            return
        self._head_bytes += len(data)
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._has_open_head = True

    def on_headers_complete(self) -> None:
        """A head ends; its answer is the last on this connection while the process ends."""
        self._close_head()
        super().on_headers_complete()
        if self._state.is_draining:
            self.cycle.keep_alive = False

    def _close_head(self) -> None:
        self._has_open_head = False
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Server(uvicorn.Server):
    """uvicorn without signal handling of its own and with one deadline for the whole end."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self.server_state: _State = _State()
        self.cut_at = 0.0
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        self._started()

    def capture_signals(self) -> Any:
        """Leave the handlers alone: one place decides when to stop."""
        return contextlib.nullcontext()

    def announce(self) -> None:
        """Let every answer from now on be the last of its connection."""
        self.server_state.is_draining = True
        for connection in list(self.server_state.connections):
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                connection.shutdown()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listeners and idle connections, wait for the others, cut what is left."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self.cut_at):
                await state.quiet()
        running = list(state.tasks)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CUT_SECONDS)


async def serve(app: AsgiApp, listeners: list[socket.socket], stage: Stage) -> None:
    """Serve on open sockets until `stage` ends, then drain."""
    # Nothing there that our own log does not have, but what clients do wrong.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    context = stage.tls
    config = uvicorn.Config(
        CutShort(app, stage.stop),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_context_factory=(lambda *_: context) if context is not None else None,
        backlog=BACKLOG,
    )
    server = _Server(config, stage.started)

    async def watch() -> None:
        server.cut_at = await stage.ending()
        server.announce()
        await asyncio.sleep(NOTICE_SECONDS)
        server.should_exit = True

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        await server.serve(sockets=listeners)
