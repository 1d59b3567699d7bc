"""HTTP+SSE, the transport of 2024-11-05: a stream for answers, a path for messages.

Spec: scaivault 4; MCP 2024-11-05, Transports.
"""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from scaimcp.errors import GatewayError, RequestRefused
from scaimcp.ids import random_id
from scaimcp.server.asgi import Receive, Scope
from scaimcp.server.exchange import Exchange
from scaimcp.vaultserver.conversation import Conversation, read_incoming
from scaimcp.vaultserver.edge import Routes, body_of, busy, left
from scaimcp.vaultserver.places import Places, is_call
from scaimcp.vaultserver.wiring import Parts

CONNECTIONS = 32
IDLE_SECONDS = 30 * 60.0
KEEPALIVE_SECONDS = 15.0
STREAM_PATH, MESSAGES_PATH = "/sse", "/messages"
_ID = "session_id"


class _Connection:
    def __init__(self, talk: Conversation, now: float) -> None:
        self.talk = talk
        self.heard_at = now


class HttpWithSse:
    """Keeps the connections of this process.

    Args:
        parts: what answers.
        most: connections at once.
        idle_seconds: how long a connection may say nothing.
        keepalive_seconds: pause between two signs of life.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        most: int = CONNECTIONS,
        idle_seconds: float = IDLE_SECONDS,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self._parts = parts
        self._most = most
        self._idle_seconds = idle_seconds
        self._keepalive_seconds = keepalive_seconds
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
            talk = Conversation(self._parts, group, exchange.event, is_modern_served=False)
            connection = _Connection(talk, asyncio.get_running_loop().time())
            self._connections[name] = connection
            try:
                await exchange.event(f"{MESSAGES_PATH}?{_ID}={name}".encode(), b"endpoint")
                leaving = group.create_task(left(receive))
                ending = group.create_task(self._ending.wait())
                beating = group.create_task(self._beat(connection, exchange))
                watched = (leaving, ending, beating)
                await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            finally:
                del self._connections[name]
            if ending.done():
                await self._finish(talk, leaving)
            for task in (*watched, *talk.running):
                task.cancel()
        await exchange.empty(200)

    async def _finish(self, talk: Conversation, leaving: asyncio.Task[None]) -> None:
        """Wait for running calls, unless the client leaves; the server's drain sets the limit."""
        while (running := talk.running) and not leaving.done():
            await asyncio.wait({*running, leaving}, return_when=asyncio.FIRST_COMPLETED)

    async def _beat(self, connection: _Connection, exchange: Exchange) -> None:
        """Show signs of life until the client has said nothing for too long."""
        loop = asyncio.get_running_loop()
        while True:
            rest = connection.heard_at + self._idle_seconds - loop.time()
            if rest <= 0 and not connection.talk.running:
                return
            pause = self._keepalive_seconds
            await asyncio.sleep(min(rest, pause) if rest > 0 else pause)
            await exchange.keepalive()

    async def _message(self, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        name = (query.get(_ID) or [""])[0]
        connection = self._connections.get(name)
        if connection is None:
            raise _unknown()
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
        await connection.talk.take(body, done)
        await exchange.empty(202)


def _unknown() -> RequestRefused:
    return RequestRefused("NOT_FOUND", "There is no such connection.", http_status=404)


def _is_counted(body: bytes) -> bool:
    try:
        return is_call(read_incoming(body).method)
    except GatewayError:
        return False
