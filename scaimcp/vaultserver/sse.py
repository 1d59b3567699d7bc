"""HTTP+SSE, the transport of 2024-11-05: a stream for answers, a path for messages.

Spec: scaivault 4; MCP 2024-11-05, Transports.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError, RequestRefused
from scaimcp.ids import random_id
from scaimcp.server.asgi import Receive, Scope
from scaimcp.server.attendant import ClientGone
from scaimcp.server.exchange import Exchange
from scaimcp.telemetry.logs import get_logger
from scaimcp.vaultserver.conversation import Conversation, read_incoming
from scaimcp.vaultserver.edge import Routes, body_of, busy, left
from scaimcp.vaultserver.places import Places, is_call
from scaimcp.vaultserver.wiring import Parts

CONNECTIONS = 32
IDLE_SECONDS = 30 * 60.0
KEEPALIVE_SECONDS = 15.0
STUCK_SECONDS = 20.0
# Requests of one connection that are not answered yet.
_MOST_OPEN = 128
STREAM_PATH, MESSAGES_PATH = "/sse", "/messages"
_ID = "session_id"
_log = get_logger("scaimcp.vaultserver")


class _Connection:
    """One open stream. ``stuck`` is set when its client has read nothing for too long.

    Its answers would hold the places of all other clients' calls meanwhile.
    """

    def __init__(
        self, converse: Callable[..., Conversation], exchange: Exchange, stuck_seconds: float
    ) -> None:
        self.talk = converse(write=self.write)
        self.heard_at = asyncio.get_running_loop().time()
        self.stuck = asyncio.Event()
        self._stuck_seconds = stuck_seconds
        self._exchange = exchange
        self._turn = asyncio.Lock()

    async def write(self, body: bytes) -> None:
        """Write a message.

        Raises:
            ClientGone: the client does not read.
        """
        await self._in_time(partial(self._exchange.event, body))

    async def beat(self) -> None:
        """Show a sign of life.

        Raises:
            ClientGone: the client does not read.
        """
        await self._in_time(self._exchange.keepalive)

    async def end(self) -> None:
        """End the answer.

        Raises:
            ClientGone: the client does not read.
        """
        await self._in_time(partial(self._exchange.empty, 200))

    async def _in_time(self, send: Callable[[], Awaitable[None]]) -> None:
        # One at a time, so that a slow reader has the time for each of them.
        async with self._turn:
            if self.stuck.is_set():
                raise ClientGone
            try:
                with Deadline(self._stuck_seconds):
                    await send()
            except TimeoutError:
                self.stuck.set()
                raise ClientGone from None


class HttpWithSse:
    """Keeps the connections of this process.

    Args:
        parts: what answers.
        most: connections at once.
        idle_seconds: how long a connection may say nothing.
        keepalive_seconds: pause between two signs of life.
        stuck_seconds: how long a client may read nothing of what it is sent.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        most: int = CONNECTIONS,
        idle_seconds: float = IDLE_SECONDS,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        stuck_seconds: float = STUCK_SECONDS,
    ) -> None:
        self._parts = parts
        self._most = most
        self._idle_seconds = idle_seconds
        self._keepalive_seconds = keepalive_seconds
        self._stuck_seconds = stuck_seconds
        self._places = Places()
        self._connections: dict[str, _Connection] = {}
        self._ending = asyncio.Event()

    def routes(self) -> Routes:
        """Return what is served where."""
        return {STREAM_PATH: {"GET": self._connect}, MESSAGES_PATH: {"POST": self._message}}

    def drain(self) -> None:
        """Take no new calls; connections end when their last answer is written."""
        self._ending.set()

    async def _connect(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        if len(self._connections) >= self._most or self._ending.is_set():
            raise busy()
        # Nobody may guess it: it is all that joins a message to its connection.
        name = random_id("")
        async with asyncio.TaskGroup() as group:
            talk = partial(Conversation, self._parts, group, is_modern_served=False)
            connection = _Connection(talk, exchange, self._stuck_seconds)
            self._connections[name] = connection
            try:
                await exchange.event(f"{MESSAGES_PATH}?{_ID}={name}".encode(), b"endpoint")
                leaving = group.create_task(left(receive))
                ending = group.create_task(self._ending.wait())
                sticking = group.create_task(connection.stuck.wait())
                beating = group.create_task(self._beat(connection))
                watched = (leaving, ending, sticking, beating)
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            finally:
                del self._connections[name]
            if ending.done():
                await self._finish(connection.talk, leaving, sticking)
            for task in (*watched, *connection.talk.running):
                task.cancel()
        if connection.stuck.is_set():
            _log.warning("a client does not read its stream, which is closed")
        await connection.end()

    async def _finish(self, talk: Conversation, *gone: asyncio.Task[Any]) -> None:
        """Wait for running calls, unless the client is gone; the server's drain sets the limit."""
        while (running := talk.running) and not any(task.done() for task in gone):
            await asyncio.wait({*running, *gone}, return_when=asyncio.FIRST_COMPLETED)

    async def _beat(self, connection: _Connection) -> None:
        """Show signs of life until the client has said nothing for too long."""
        loop = asyncio.get_running_loop()
        while True:
            rest = connection.heard_at + self._idle_seconds - loop.time()
            if rest <= 0 and not connection.talk.running:
                return
            pause = self._keepalive_seconds
            await asyncio.sleep(min(rest, pause) if rest > 0 else pause)
            with contextlib.suppress(ClientGone):
                await connection.beat()

    async def _message(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        name = (query.get(_ID) or [""])[0]
        connection = self._connections.get(name)
        if connection is None:
            raise _unknown()
        if len(connection.talk.running) >= _MOST_OPEN:
            raise busy()
        body = await body_of(scope, receive)
        connection.heard_at = asyncio.get_running_loop().time()
        done = None
        if _is_counted(body):
            if self._ending.is_set() or not await self._places.take():
                raise busy()
            done = self._places.give_back
        if name not in self._connections:
            # It was closed while the body, or a place, was waited for.
            if done is not None:
                done()
            raise _unknown()
        try:
            await connection.talk.take(body, done)
        except ClientGone:
            raise _unknown() from None
        await exchange.empty(202)


def _unknown() -> RequestRefused:
    return RequestRefused("NOT_FOUND", "There is no such connection.", http_status=404)


def _is_counted(body: bytes) -> bool:
    try:
        return is_call(read_incoming(body).method)
    except GatewayError:
        return False
