"""hypercorn under the application: TLS, HTTP/2, Unix sockets.

Its connections and protocols are used, its server loop is not: that one cuts running requests of
HTTP/2 when it ends, and one broken connection ends its wait for all others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any

import h2.events
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol.events import Response
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H2ProtocolAssumedError, H11Protocol
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from scaimcp.server.asgi import AsgiApp, AsgiMessage, Receive, Scope, Send
from scaimcp.serving.stage import (
    BACKLOG,
    CUT_SECONDS,
    HEAD_BYTES,
    KEEP_ALIVE_SECONDS,
    NOTICE_SECONDS,
    POLL_SECONDS,
    CutShort,
    Stage,
)
from scaimcp.telemetry.logs import get_logger

_STREAMS = 250
_REST_OF_BODY_SECONDS = 5.0
_HANDSHAKE_SECONDS = 15
_PREFACE = b"PRI * HTTP/2.0\r\n\r\n"
_CLOSE = (b"connection", b"close")
_log = get_logger("scaimcp.serving")


class _Context(WorkerContext):
    """One connection's view of the server."""

    def __init__(self, has_http2: bool) -> None:
        super().__init__(None)
        self.has_http2 = has_http2
        self.is_draining = False


class _Http1(H11Protocol):
    """HTTP/1.1 that is never upgraded: what passed a proxy as HTTP/1.1 stays that."""

    context: _Context

    async def stream_send(self, event: Any) -> None:
        """Send; the answer is the last on this connection while the process ends."""
        if isinstance(event, Response) and self.context.is_draining:
            event.headers.append(_CLOSE)
        await super().stream_send(event)

    async def _check_protocol(self, event: Any) -> None:
        # Only a client that knows beforehand speaks HTTP/2 without TLS.
        is_preface = event.method == b"PRI" and event.http_version == b"2.0"
        if is_preface and self.context.has_http2 and not self.ssl:
            raise H2ProtocolAssumedError(_PREFACE + self.connection.trailing_data[0])


class _Http2(H2Protocol):
    """HTTP/2 that survives data for a stream that has been answered already."""

    async def _handle_events(self, events: list[Any]) -> None:
        for event in events:
            is_data = isinstance(event, h2.events.DataReceived)
            if is_data and event.stream_id not in self.streams:
                size = event.flow_controlled_length
                self.connection.acknowledge_received_data(size, event.stream_id)
                await self._flush()
                continue
            await super()._handle_events([event])

    async def finish(self) -> None:
        """Tell the client that no further request will be read."""
        self.connection.close_connection()
        await self._flush()


class _Switch:
    """The protocol of one connection; the name and methods that hypercorn's connection expects."""

    def __init__(self, arguments: tuple[Any, ...], is_http2: bool) -> None:
        self._arguments = arguments
        self.current = (_Http2 if is_http2 else _Http1)(*arguments)

    async def initiate(self) -> None:
        """Begin."""
        await self.current.initiate()

    async def handle(self, event: Any) -> None:
        """Hand over what arrived."""
        try:
            await self.current.handle(event)
        except H2ProtocolAssumedError as error:
            self.current = _Http2(*self._arguments)
            await self.current.initiate()
            await self.current.handle(type(event)(data=error.data))


class _Connection(TCPServer):
    """One connection, which can be asked to end."""

    context: _Context
    # A stand-in with the same two methods.
    protocol: Any

    async def run(self) -> None:
        """Serve until one side closes."""
        opened = self.writer.get_extra_info("socket")
        tls = self.writer.get_extra_info("ssl_object")
        try:
            client = parse_socket_addr(opened.family, opened.getpeername())
            server = parse_socket_addr(opened.family, opened.getsockname())
            async with TaskGroup(self.loop) as group:
                self._task_group = group
                arguments = (
                    *(self.app, self.config, self.context, group, self.state),
                    *(tls is not None, client, server, self.protocol_send),
                )
                is_http2 = tls is not None and tls.selected_alpn_protocol() == "h2"
                self.protocol = _Switch(arguments, is_http2)
                await self.protocol.initiate()
                await self.idle_task.restart(group, self._idle_timeout)
                await self._read_data()
        except* OSError:
            pass
        finally:
            await self._close()

    async def drain(self) -> None:
        """End once nothing is running; HTTP/1.1 does so after the present answer."""
        current = self.protocol.current
        if self.context.terminated.is_set():
            return
        if isinstance(current, _Http2):
            if not current.idle:
                return
            await current.finish()
        await self.context.terminated.set()


class _WholeBody:
    """Reads a request's body to its end before the answer begins.

    hypercorn queues a few pieces of a body for the application and waits when the queue is full.
    An application that answers without reading would leave the connection waiting forever.
    """

    def __init__(self, app: AsgiApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_read = False
        rest: asyncio.Task[None] | None = None

        async def tracked() -> AsgiMessage:
            nonlocal is_read
            message = await receive()
            is_read = is_read or not message.get("more_body", False)
            return message

        async def discard() -> None:
            while not is_read:
                await tracked()

        async def late(message: AsgiMessage) -> None:
            nonlocal rest
            if not is_read and message["type"] == "http.response.start":
                rest = asyncio.get_running_loop().create_task(discard(), name="rest of a body")
                await asyncio.wait([rest], timeout=_REST_OF_BODY_SECONDS)
            await send(message)

        try:
            await self._app(scope, tracked, late)
        finally:
            if rest is not None:
                rest.cancel()


async def serve(app: AsgiApp, listeners: list[socket.socket], stage: Stage) -> None:
    """Serve on open sockets until `stage` ends, then drain."""
    connections: dict[_Connection, asyncio.Task[Any]] = {}
    servers = [
        await asyncio.start_server(
            _acceptor(CutShort(_WholeBody(app), stage.stop), stage, connections),
            sock=listener,
            ssl=stage.tls,
            ssl_handshake_timeout=_HANDSHAKE_SECONDS if stage.tls is not None else None,
            backlog=BACKLOG,
        )
        for listener in listeners
    ]
    stage.started()
    cut_at = await stage.ending()
    for connection in connections:
        connection.context.is_draining = True
    await asyncio.sleep(NOTICE_SECONDS)
    for server in servers:
        server.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(cut_at):
            while connections:
                for connection in list(connections):
                    await connection.drain()
                await asyncio.sleep(POLL_SECONDS)
    running = list(connections.values())
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=CUT_SECONDS)


def _acceptor(
    app: AsgiApp, stage: Stage, connections: dict[_Connection, asyncio.Task[Any]]
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    framework: Any = app
    wrapped, config, loop = ASGIWrapper(framework), _config(), asyncio.get_running_loop()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = _Context(stage.has_http2)
        context.is_draining = stage.stop.is_set()
        state = ConnectionState({})
        connection = _Connection(wrapped, loop, config, context, state, reader, writer)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection outside a task")
        connections[connection] = task
        try:
            await connection
        except asyncio.CancelledError:
            # asyncio's own callback takes a cancelled task for a fault.
            if not stage.stop.is_set():
                raise
        except Exception as error:  # noqa: BLE001 - one broken connection is no other's business
            _log.error("connection failed", exc_info=error)
        finally:
            del connections[connection]

    return accept


def _config() -> Config:
    log = logging.getLogger("hypercorn.error")
    # Nothing there that our own log does not have, but what clients do wrong.
    log.setLevel(logging.CRITICAL)
    config = Config()
    config.accesslog = None
    config.errorlog = log
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.keep_alive_max_requests = 10**9
    config.h11_max_incomplete_size = HEAD_BYTES
    config.h2_max_header_list_size = HEAD_BYTES
    config.h2_max_concurrent_streams = _STREAMS
    return config
