"""HTTP+SSE of 2024-11-05: answers come on one long stream, requests go to the endpoint it names.

Spec: MCP 2024-11-05, Transports; remote-servers 6 (era).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import aiohttp
import msgspec

from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError
from scaimcp.jsontext import depth_exceeds
from scaimcp.upstream.answering import ELICITATION, Answering
from scaimcp.upstream.client import CLOSE_SECONDS, answer_to, read_told, shaken
from scaimcp.upstream.errors import (
    ConnectError,
    EndpointForbiddenError,
    ProtocolError,
    SessionUnknown,
    UpstreamError,
    timed_out,
    too_large,
    translated,
)
from scaimcp.upstream.events import Event, EventReader
from scaimcp.upstream.exchange import outcome, refusal, sent
from scaimcp.upstream.request import (
    PROBE_SECONDS,
    Ask,
    Handshake,
    Opener,
    Target,
    base_headers,
    legacy_headers,
    parsed,
    same_origin,
)
from scaimcp.upstream.wire import (
    PAGE_DEPTH,
    Message,
    answer_bytes,
    initialize_params,
    legacy_meta,
    notification_bytes,
    read_messages,
    request_bytes,
)

_EVENTS = "text/event-stream"
_HINT_SECONDS = 1.0


class _Waiting:
    """A request whose answer is still to come."""

    __slots__ = ("answer", "ask", "deadline", "questions", "target")

    def __init__(self, target: Target, ask: Ask) -> None:
        self.target = target
        self.ask = ask
        self.answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self.deadline = Deadline(ask.seconds)
        self.questions: Answering | None = None

    def fail(self, error: GatewayError) -> None:
        """End the wait with an error, unless it is over."""
        if not self.answer.done():
            self.answer.set_exception(error)
            # Read, so that a failure that nobody waits for any more is not reported.
            self.answer.exception()


class SseSession:
    """A session over HTTP+SSE. Its stream is read by one task until it breaks or is closed."""

    def __init__(self, http: aiohttp.ClientSession, opener: Opener, endpoint: str) -> None:
        self.handshake = Handshake("legacy", "2024-11-05")
        self.is_usable = True
        self._http = http
        self._opener = opener
        self._endpoint = endpoint
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def request(self, target: Target, ask: Ask) -> msgspec.Raw:
        """Send `ask` and return the result as it came.

        Raises:
            SessionUnknown: the session has ended before the request was sent.
            UpstreamError: any other failure.
        """
        if not self.is_usable:
            raise SessionUnknown("The server has ended the session.")
        number = next(self._numbers)
        meta = legacy_meta(number if ask.is_progress_wanted else None)
        body = request_bytes(number, ask.method, ask.params, meta)
        waiting = self._waiting[number] = _Waiting(target, ask)
        try:
            with waiting.deadline:
                message = await self._answered(waiting, body)
            return outcome(message, target)
        except TimeoutError:
            self._announce_cancelled(number)
            raise timed_out(ask.seconds) from None
        except asyncio.CancelledError:
            self._announce_cancelled(number)
            raise
        finally:
            del self._waiting[number]

    async def _answered(self, waiting: _Waiting, body: bytes) -> Message:
        try:
            await self._post(waiting.target, body, redirects=waiting.ask.redirects)
            return await waiting.answer
        finally:
            if waiting.questions is not None:
                await waiting.questions.end()

    async def shake(self, elicitation: tuple[str, ...]) -> None:
        """Do the handshake.

        Raises:
            UpstreamError: any failure.
        """
        ask = Ask("initialize", initialize_params(elicitation))
        told = read_told(await self.request(await self._opener(), ask))
        # The endpoint itself stands for the session: it must not be shared between users.
        self.handshake = shaken(told, self._endpoint)
        await self._send(notification_bytes("notifications/initialized"))

    async def _post(self, target: Target, body: bytes, redirects: int = 1) -> None:
        headers = legacy_headers(target, self.handshake.version, None)
        there = msgspec.structs.replace(target, url=self._endpoint)
        async with sent(self._http, there, headers, body, redirects=redirects) as response:
            if response.status >= 400:
                raise await refusal(response, target, is_modern=False, session_id=self._endpoint)

    async def read(self, response: aiohttp.ClientResponse, reader: EventReader) -> None:
        """Read the stream until it ends; then every waiting request fails."""
        error: UpstreamError = ConnectError("The server ended its stream.", was_sent=True)
        try:
            async for chunk in response.content.iter_any():
                if not self._waiting:
                    reader.restart()
                for event in reader.feed(chunk):
                    await self._take(event)
        except UpstreamError as refused:
            error = refused
        except (aiohttp.ClientError, OSError) as failure:
            error = translated(failure)
        finally:
            self.is_usable = False
            self._fail(error)

    async def _take(self, event: Event) -> None:
        if event.kind != "message":
            return
        for message in read_messages(event.data, PAGE_DEPTH):
            if message.method is None:
                self._settle(message, event.data)
            elif message.id:
                self._asked(message)
            else:
                await self._tell(message)

    def _settle(self, message: Message, data: bytes) -> None:
        found = bytes(message.id).strip().strip(b'"')
        waiting = self._waiting.get(int(found)) if found.isdigit() and len(found) < 20 else None
        if waiting is None or waiting.answer.done():
            return
        ask = waiting.ask
        if len(data) > ask.most_bytes:
            waiting.fail(too_large(f"more than {ask.most_bytes} bytes"))
        elif depth_exceeds(data, ask.depth):
            waiting.fail(too_large(f"JSON nested deeper than {ask.depth} levels"))
        else:
            waiting.answer.set_result(message)

    async def _tell(self, message: Message) -> None:
        """Hand a notification to the request it belongs to; progress names it by its token."""
        params = bytes(message.params)
        for number, waiting in tuple(self._waiting.items()):
            is_mine = len(self._waiting) == 1 or _token(params) == number
            if is_mine and waiting.ask.listener is not None:
                await waiting.ask.listener.notified(message.method or "", params)

    def _asked(self, message: Message) -> None:
        """Answer a request of the server; with several calls running nobody can be asked."""
        if message.method == ELICITATION and len(self._waiting) == 1:
            ((number, only),) = self._waiting.items()
            listener = only.ask.listener
            if listener is not None:
                if only.questions is None:
                    give_up = partial(self._give_up, number)
                    only.questions = Answering(listener, only.deadline, self._send, give_up)
                only.questions.take(message)
                return
        self._later(self._answer(message))

    async def _answer(self, message: Message) -> None:
        result = await answer_to(message, None)
        await self._send(answer_bytes(bytes(message.id), result))

    async def _send(self, body: bytes) -> None:
        await self._post(await self._opener(), body)

    def _give_up(self, number: int, error: GatewayError) -> None:
        self._announce_cancelled(number)
        self._waiting[number].fail(error)

    def _announce_cancelled(self, number: int) -> None:
        if self.is_usable:
            body = notification_bytes("notifications/cancelled", b'{"requestId":%d}' % number)
            self._later(self._send(body))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(_quiet(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _fail(self, error: UpstreamError) -> None:
        for waiting in self._waiting.values():
            waiting.fail(error)

    async def close(self) -> None:
        """End what still runs, within two seconds."""
        self.is_usable = False
        tasks = tuple(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_SECONDS)
        for task in tasks:
            task.cancel()
        self._fail(ConnectError("The session was closed.", was_sent=True))


async def _quiet(work: Coroutine[Any, Any, None]) -> None:
    with suppress(GatewayError, TimeoutError):
        await work


def _token(params: bytes) -> Any:
    try:
        return _read_token(params).token
    except msgspec.DecodeError:
        return None


class _Progress(msgspec.Struct):
    token: Any = msgspec.field(default=None, name="progressToken")


_read_token = msgspec.json.Decoder(_Progress).decode


@asynccontextmanager
async def open_sse(
    http: aiohttp.ClientSession,
    opener: Opener,
    *,
    elicitation: tuple[str, ...] = (),
    seconds: float = PROBE_SECONDS,
) -> AsyncIterator[SseSession]:
    """Open the stream, do the handshake, and close both in the same task.

    Raises:
        EndpointForbiddenError: the server names an endpoint of another origin.
        UpstreamError: any other failure.
    """
    target = await opener()
    headers = base_headers(target) | {"Accept": _EVENTS}
    reading: asyncio.Task[None] | None = None
    session: SseSession | None = None
    deadline = asyncio.get_running_loop().time() + seconds
    async with open_stream(http, target, headers, seconds) as response:
        try:
            try:
                with Deadline(deadline - asyncio.get_running_loop().time()):
                    reader = EventReader()
                    endpoint, rest = await named_endpoint(response, target, reader)
                    session = SseSession(http, opener, endpoint)
                    for event in rest:
                        await session._take(event)
                    reading = asyncio.get_running_loop().create_task(
                        session.read(response, reader), name="sse"
                    )
                    await session.shake(elicitation)
            except TimeoutError:
                raise timed_out(seconds) from None
            yield session
        finally:
            if session is not None:
                await session.close()
            if reading is not None:
                reading.cancel()
                await asyncio.wait((reading,))


@asynccontextmanager
async def open_stream(
    http: aiohttp.ClientSession, target: Target, headers: dict[str, str], seconds: float
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Open the stream; the deadline covers the head of the answer only.

    Failures that the block meets while it reads are not translated.

    Raises:
        UpstreamError: no answer, a refusal, or no stream of events.
    """
    context = sent(http, target, headers, None, verb="GET", redirects=3)
    try:
        with Deadline(seconds):
            response = await context.__aenter__()
    except TimeoutError:
        raise timed_out(seconds) from None
    try:
        if response.status >= 400:
            raise await refusal(response, target, is_modern=False, session_id=None)
        if response.content_type != _EVENTS:
            raise ProtocolError("The server's answer is no stream of events.")
        yield response
    finally:
        await context.__aexit__(None, None, None)


async def named_endpoint(
    response: aiohttp.ClientResponse, target: Target, reader: EventReader
) -> tuple[str, list[Event]]:
    """Return the endpoint that the first event names, and the events behind it.

    Raises:
        EndpointForbiddenError: it is of another origin.
        UpstreamError: the stream names none.
    """
    try:
        async for chunk in response.content.iter_any():
            events = reader.feed(chunk)
            if events:
                return _judged(events[0], target), events[1:]
    except (aiohttp.ClientError, OSError) as error:
        raise translated(error) from None
    raise ProtocolError("The server ended the stream without naming its endpoint.")


def _judged(event: Event, target: Target) -> str:
    if event.kind != "endpoint":
        raise ProtocolError("The server's first event does not name its endpoint.")
    origin = parsed(target.url)
    try:
        url = origin.join(parsed(event.data.decode()))
        is_same = same_origin(url, origin)
    except ValueError:
        is_same = False
    if not is_same:
        raise EndpointForbiddenError(
            "The server's endpoint event names another origin.", reason="other_origin"
        )
    return str(url)


async def looks_like_sse(http: aiohttp.ClientSession, target: Target) -> bool:
    """Tell whether a GET shows an ``endpoint`` event; False on any failure."""
    headers = base_headers(target) | {"Accept": _EVENTS}
    with suppress(UpstreamError, TimeoutError), Deadline(_HINT_SECONDS):
        async with sent(http, target, headers, None, verb="GET") as response:
            if response.status == 200 and response.content_type == _EVENTS:
                await named_endpoint(response, target, EventReader())
                return True
    return False
