"""Listening: hear outside any request that a server has changed its lists.

Streamable HTTP of the handshake era has the stream of a GET within a session, HTTP+SSE its one
stream, 2026-07-28 the answer to ``subscriptions/listen``. Nothing else that is said there has an
effect; requests are refused, a ping is answered. Spec: MCP 2025-11-25, Transports; MCP 2026-07-28,
Subscriptions; remote-servers 5 (sizes, age of connections).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, suppress
from typing import Any, Protocol

import aiohttp
import msgspec

from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError
from scaimcp.upstream.client import answer_to, open_legacy, read_told, shaken
from scaimcp.upstream.errors import McpError, ProtocolError, UpstreamError, timed_out, translated
from scaimcp.upstream.events import Event, EventReader
from scaimcp.upstream.exchange import is_answer, outcome, read_result, refusal, sent
from scaimcp.upstream.request import (
    PROBE_SECONDS,
    Ask,
    Handshake,
    Opener,
    base_headers,
    legacy_headers,
    modern_headers,
)
from scaimcp.upstream.sse import named_endpoint, open_stream
from scaimcp.upstream.wire import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Message,
    answer_bytes,
    encode,
    initialize_params,
    modern_meta,
    notification_bytes,
    read_messages,
    request_bytes,
)

LISTS = ("tools", "resources", "prompts")
LIFE_SECONDS = 600.0
# Far below the limit of a result: what is of interest here is small, and many streams are open.
EVENT_BYTES = 1024 * 1024
_REDIRECTS = 3
_EVENTS = "text/event-stream"
_LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LIST_CHANGED = frozenset([f"notifications/{name}/list_changed" for name in LISTS])
# What servers without such a stream say; 405 is the one that the specification names.
_NO_STREAM = (400, 404, 405, 406, 501)
_NOT_SERVED = (METHOD_NOT_FOUND, INVALID_PARAMS)
_numbers = itertools.count(1)


class NoStreamError(UpstreamError):
    """The server has no stream to listen to, whatever it declares."""

    name = "NoStreamError"

    def __init__(self) -> None:
        super().__init__("The server has no stream to listen to.")


class Hearing(Protocol):
    """Takes what a listening stream tells; never waits, never raises."""

    def opened(self) -> None:
        """Take in that the stream is in force: from now on changes are heard."""
        ...

    def changed(self) -> None:
        """Take in that the server has changed one of its lists."""
        ...


class Announcer(msgspec.Struct, frozen=True):
    """A server that announces changes.

    Args:
        opener: where to go and as whom; asked once per outbound request.
        transport: ``streamable_http`` or ``sse``.
        era: ``modern`` or ``legacy``; HTTP+SSE has the latter only.
        lists: those whose changes the server declares to announce, of `LISTS`.
    """

    opener: Opener
    transport: str
    era: str
    lists: frozenset[str]


async def listen(
    http: aiohttp.ClientSession,
    server: Announcer,
    hearing: Hearing,
    seconds: float = LIFE_SECONDS,
) -> bool:
    """Listen to a server until its stream ends; a cancelled task ends it in good order.

    Args:
        http: the guarded client.
        server: whom.
        hearing: is told what is heard.
        seconds: how long the connection may live.

    Returns:
        True once it has lived that long; False where the server has ended the stream.

    Raises:
        NoStreamError: it has none, and asking again soon would not help.
        CredentialFailure: a credential does not open.
        UpstreamError: any other failure.
    """
    way = _over_sse
    if server.transport != "sse":
        way = _subscribed if server.era == "modern" else _in_session
    life = asyncio.timeout(seconds)
    with suppress(TimeoutError):
        async with life:
            await way(http, server, hearing)
    return life.expired()


async def _subscribed(http: aiohttp.ClientSession, server: Announcer, hearing: Hearing) -> None:
    """Subscribe as 2026-07-28 has it; closing the stream is how the subscription is cancelled."""
    wanted = {f"{name}ListChanged": True for name in LISTS if name in server.lists}
    ask = Ask(_LISTEN, encode({"notifications": wanted}), most_bytes=EVENT_BYTES)
    target, number = await server.opener(), next(_numbers)
    body = request_bytes(number, ask.method, ask.params, modern_meta((), None))
    headers = modern_headers(target, ask)
    async with sent(http, target, headers, body, redirects=_REDIRECTS) as response:
        if response.status >= 400:
            error = await refusal(response, target, is_modern=True, session_id=None)
            raise _judged(error, response.status in (404, 405, 501))
        if response.content_type != _EVENTS:
            try:
                await read_result(response, target, ask, number, _unanswered)
            except McpError as error:
                raise _judged(error) from None
            return
        async with aclosing(_messages(response, EventReader(EVENT_BYTES))) as messages:
            async for message in messages:
                if message.method is None:
                    if is_answer(message, number):
                        _end(message)
                        return
                elif message.method == _ACKNOWLEDGED:
                    if not _honoured(message) & wanted.keys():
                        raise NoStreamError
                    hearing.opened()
                elif message.method in _LIST_CHANGED and not message.id:
                    hearing.changed()


async def _unanswered(message: Message) -> None:
    """Leave a server's request alone: 2026-07-28 has none."""


def _end(message: Message) -> None:
    """Take the answer that ends a subscription.

    Raises:
        UpstreamError: it is an error.
    """
    if message.error is not None:
        code = message.error.code
        error = McpError("The server ended the subscription.", jsonrpc_code=_number(code))
        raise _judged(error)


def _number(code: Any) -> int:
    return code if isinstance(code, int) else 0


def _judged(error: UpstreamError, is_missing: bool = False) -> UpstreamError:
    """Return what a refusal of a subscription stands for."""
    is_not_served = isinstance(error, McpError) and error.jsonrpc_code in _NOT_SERVED
    return NoStreamError() if is_missing or is_not_served else error


class _Honoured(msgspec.Struct):
    notifications: dict[str, Any] = msgspec.field(default_factory=dict)


_read_honoured = msgspec.json.Decoder(_Honoured).decode


def _honoured(message: Message) -> set[str]:
    """Return what the server will announce; nothing where the acknowledgement is malformed."""
    try:
        told = _read_honoured(message.params)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return set()
    return {name for name, is_honoured in told.notifications.items() if is_honoured is True}


async def _in_session(http: aiohttp.ClientSession, server: Announcer, hearing: Hearing) -> None:
    """Open a session with a stream of its own; both end together.

    The head of the answer has no deadline of its own: some servers send it with the first event.
    """
    async with open_legacy(http, server.opener, elicitation=()) as session:
        target, shake = await server.opener(), session.handshake
        headers = legacy_headers(target, shake.version, shake.session_id) | {"Accept": _EVENTS}
        async with sent(http, target, headers, None, verb="GET", redirects=_REDIRECTS) as response:
            if response.status in _NO_STREAM:
                raise NoStreamError
            if response.status >= 400:
                raise await refusal(response, target, is_modern=False, session_id=None)
            if response.content_type != _EVENTS:
                raise NoStreamError
            hearing.opened()
            back = _Back(http, server.opener, target.url, shake)
            reader = EventReader(EVENT_BYTES)
            async with aclosing(_messages(response, reader)) as messages:
                async for message in messages:
                    await back.take(message, hearing)


async def _over_sse(http: aiohttp.ClientSession, server: Announcer, hearing: Hearing) -> None:
    """Open a stream of HTTP+SSE and do the handshake over it."""
    target = await server.opener()
    headers = base_headers(target) | {"Accept": _EVENTS}
    async with open_stream(http, target, headers, PROBE_SECONDS) as response:
        reader = EventReader(EVENT_BYTES)
        try:
            with Deadline(PROBE_SECONDS):
                endpoint, rest = await named_endpoint(response, target, reader)
        except TimeoutError:
            raise timed_out(PROBE_SECONDS) from None
        back = _Back(http, server.opener, endpoint, Handshake("legacy", "2024-11-05"))
        async with aclosing(_messages(response, reader, rest)) as messages:
            try:
                with Deadline(PROBE_SECONDS):
                    await back.shake(messages, hearing)
            except TimeoutError:
                raise timed_out(PROBE_SECONDS) from None
            hearing.opened()
            async for message in messages:
                await back.take(message, hearing)


class _Back:
    """The way back to a server of the handshake era: for answers, and the handshake of HTTP+SSE."""

    def __init__(
        self, http: aiohttp.ClientSession, opener: Opener, url: str, handshake: Handshake
    ) -> None:
        self._http = http
        self._opener = opener
        self._url = url
        self._handshake = handshake

    async def shake(self, messages: AsyncIterator[Message], hearing: Hearing) -> None:
        """Do the handshake, its answer being among `messages`.

        Raises:
            UpstreamError: any failure.
        """
        number = next(_numbers)
        await self._post(request_bytes(number, "initialize", initialize_params(())))
        async for message in messages:
            if message.method is None and is_answer(message, number):
                told = read_told(outcome(message, await self._opener()))
                self._handshake = shaken(told, None)
                await self._post(notification_bytes("notifications/initialized"))
                return
            await self.take(message, hearing)
        raise ProtocolError("The server ended the stream without an answer.")

    async def take(self, message: Message, hearing: Hearing) -> None:
        """Pass on the one kind of news; answer a request, one after the other."""
        if message.method is None:
            return
        if not message.id:
            if message.method in _LIST_CHANGED:
                hearing.changed()
            return
        answer = answer_bytes(bytes(message.id), await answer_to(message, None))
        with suppress(GatewayError, TimeoutError), Deadline(PROBE_SECONDS):
            await self._post(answer)

    async def _post(self, body: bytes) -> None:
        """Send a message.

        Raises:
            UpstreamError: it was not accepted.
        """
        target = msgspec.structs.replace(await self._opener(), url=self._url)
        shake = self._handshake
        headers = legacy_headers(target, shake.version, shake.session_id)
        async with sent(self._http, target, headers, body, redirects=1) as response:
            if response.status >= 400:
                raise await refusal(response, target, is_modern=False, session_id=None)


async def _messages(
    response: aiohttp.ClientResponse, reader: EventReader, events: Iterable[Event] = ()
) -> AsyncGenerator[Message, None]:
    """Yield what a stream says, from `events` on; what cannot be read is passed over.

    Raises:
        ResponseTooLargeError: an event or the stream is over its limit.
        UpstreamError: the connection broke.
    """
    for message in _read(events):
        yield message
    try:
        async for chunk in response.content.iter_any():
            for message in _read(reader.feed(chunk)):
                yield message
    except (aiohttp.ClientError, OSError) as error:
        raise translated(error) from None


def _read(events: Iterable[Event]) -> Iterable[Message]:
    for event in events:
        if event.kind == "message":
            with suppress(UpstreamError):
                yield from read_messages(event.data)
