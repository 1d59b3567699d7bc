"""One client on a connection that stays: messages in, messages out, what was declared in between.

Used by stdio and by HTTP+SSE, which have neither headers nor session ids. A handshake client is
known by its ``initialize``; a client of 2026-07-28 says in every request who it is.
Spec: scaivault 4, 10 (B13-B15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import UNSET

from scaimcp.errors import GatewayError, ProtocolError
from scaimcp.gateway.view import DEFAULT_VIEW
from scaimcp.server.asgi import AsgiMessage
from scaimcp.server.attendant import ClientGone
from scaimcp.server.dispatch import Inbound
from scaimcp.server.envelope import (
    INVALID_REQUEST,
    UNSUPPORTED_VERSION,
    Message,
    Meta,
    is_batch,
    read_message,
    read_params,
    request_id,
)
from scaimcp.server.methods import METHOD_NAMES
from scaimcp.server.revisions import HANDSHAKE, MODERN, SUPPORTED
from scaimcp.server.session import Session
from scaimcp.telemetry.logs import working_for
from scaimcp.vaultserver.lines import MessageExchange, Write
from scaimcp.vaultserver.places import BATCH, Places, is_call
from scaimcp.vaultserver.wiring import CALLER, Parts, context_of, new_request_id

# What may come before ``initialize``.
_EARLY = frozenset({"initialize", "ping"})
_STREAMS = {b"accept": b"application/json, text/event-stream"}
_PATH = "/"


class Incoming(msgspec.Struct, frozen=True):
    """What was read of one message.

    Args:
        method: its method; `BATCH` for several messages, "" for a response.
        message_id: encoded id of a request, None without one.
        version: the revision that the request names itself, None without.
        cancelled: encoded id of the request that a notification takes back, None without.
    """

    method: str
    message_id: bytes | None = None
    version: str | None = None
    cancelled: bytes | None = None


def read_incoming(body: bytes) -> Incoming:
    """Read what decides about a message's way.

    Raises:
        ProtocolError: -32700, -32600 or -32602.
    """
    if is_batch(body):
        return Incoming(BATCH)
    message = read_message(body)
    if message.method is UNSET:
        return Incoming("")
    if not message.id:
        return Incoming(message.method, cancelled=_cancelled(message))
    message_id = request_id(message)
    try:
        meta = read_params(message).meta
    except ProtocolError:
        # The dispatcher says so again, with the id.
        return Incoming(message.method, message_id)
    version = meta.version if isinstance(meta, Meta) else UNSET
    if version is UNSET:
        return Incoming(message.method, message_id)
    return Incoming(message.method, message_id, version if isinstance(version, str) else "")


def _cancelled(message: Message) -> bytes | None:
    if message.method != "notifications/cancelled":
        return None
    try:
        return bytes(read_params(message).request_id).strip() or None
    except ProtocolError:
        return None


class Conversation:
    """Answers one client's messages.

    Args:
        parts: what answers.
        group: owns the running requests.
        write: takes every message to the client.
        places: for running calls; None where whoever takes messages in has taken the place.
        is_modern_served: whether requests of 2026-07-28 are answered.
    """

    def __init__(
        self,
        parts: Parts,
        group: asyncio.TaskGroup,
        write: Write,
        places: Places | None = None,
        *,
        is_modern_served: bool = True,
    ) -> None:
        self._parts = parts
        self._group = group
        self._write = write
        self._places = places
        self._served = SUPPORTED if is_modern_served else tuple(sorted(HANDSHAKE, reverse=True))
        self._session: Session | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_id: dict[bytes, asyncio.Task[None]] = {}

    @property
    def running(self) -> frozenset[asyncio.Task[None]]:
        """The requests that are being answered."""
        return frozenset(self._tasks)

    async def take(self, body: bytes, done: Callable[[], None] | None = None) -> None:
        """Take one message in; what takes time is answered later, in the group.

        Args:
            body: one JSON text.
            done: called once when the message has been dealt with, however that ended.

        Raises:
            ClientGone: the answer of a refused message cannot be written.
        """
        is_running = False
        try:
            is_running = await self._take(body, done)
        finally:
            if done is not None and not is_running:
                done()

    async def _take(self, body: bytes, done: Callable[[], None] | None) -> bool:
        """Return whether the message has a task that calls `done`."""
        try:
            incoming = read_incoming(body)
            if incoming.message_id is not None:
                self._check(incoming)
            elif incoming.method == BATCH and self._session is None:
                raise _too_early()
        except ProtocolError as error:
            await self._refuse(error, _id_of(body))
            return False
        if incoming.method == "initialize" and incoming.message_id is not None:
            # What comes next may rely on it.
            await self._answer(body, incoming)
        elif incoming.message_id is not None or incoming.method == BATCH:
            self._start(body, incoming, done)
            return True
        elif incoming.cancelled is not None:
            self._cancel(incoming.cancelled)
        return False

    async def refuse_long(self) -> None:
        """Answer a message that was too long to be read."""
        await self._refuse(ProtocolError(INVALID_REQUEST, "The message is too long"), None)

    def _check(self, incoming: Incoming) -> None:
        """Refuse requests of another revision, and those that come before ``initialize``.

        Raises:
            ProtocolError: -32022 or -32600.
        """
        version, method = incoming.version, incoming.method
        if version is not None:
            if version not in MODERN or version not in self._served:
                raise ProtocolError(
                    UNSUPPORTED_VERSION,
                    "Unsupported protocol version",
                    data={"supported": list(self._served), "requested": version[:64]},
                )
        elif self._session is None and method not in _EARLY and method in METHOD_NAMES:
            raise _too_early()

    def _start(self, body: bytes, incoming: Incoming, done: Callable[[], None] | None) -> None:
        task = self._group.create_task(self._answer_in_place(body, incoming))
        self._tasks.add(task)
        key = incoming.message_id
        if key is not None:
            self._by_id[key] = task

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if key is not None and self._by_id.get(key) is task:
                del self._by_id[key]
            if done is not None:
                done()

        task.add_done_callback(ended)

    def _cancel(self, message_id: bytes) -> None:
        task = self._by_id.get(message_id)
        if task is not None:
            task.cancel()

    async def _answer_in_place(self, body: bytes, incoming: Incoming) -> None:
        if self._places is None or not is_call(incoming.method):
            await self._answer(body, incoming)
            return
        await self._places.wait()
        try:
            await self._answer(body, incoming)
        finally:
            self._places.give_back()

    async def _answer(self, body: bytes, incoming: Incoming) -> None:
        exchange = MessageExchange(self._write, new_request_id())
        working_for("request_id", exchange.request_id)
        headers = dict(_STREAMS)
        if incoming.version is not None:
            headers[b"mcp-protocol-version"] = incoming.version.encode()
        request = Inbound(
            exchange,
            _for_ever,
            headers,
            None,
            _PATH,
            DEFAULT_VIEW,
            context_of(exchange),
            self._session if incoming.version is None else None,
            is_headless=True,
        )
        try:
            try:
                await self._parts.dispatcher.handle(request, body)
            except GatewayError as error:
                await exchange.refuse(error, incoming.message_id)
        except ClientGone:
            return
        self._settle(exchange)

    def _settle(self, exchange: MessageExchange) -> None:
        """Keep what ``initialize`` has declared."""
        for name, value in exchange.extra:
            if name == b"mcp-session-id":
                self._session = self._parts.sessions.read(value.decode(), CALLER, _PATH)

    async def _refuse(self, error: ProtocolError, message_id: bytes | None) -> None:
        await MessageExchange(self._write, new_request_id()).refuse(error, message_id)


def _too_early() -> ProtocolError:
    return ProtocolError(INVALID_REQUEST, "The client has not sent initialize")


def _id_of(body: bytes) -> bytes | None:
    """Return the encoded id of a refused message, None where it has no usable one."""
    try:
        return None if is_batch(body) else request_id(read_message(body))
    except ProtocolError:
        return None


async def _for_ever() -> AsgiMessage:
    """Wait: the end of the connection ends the requests, not the other way round."""
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}
