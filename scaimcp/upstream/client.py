"""A thin client for streamable HTTP: one request of 2026-07-28, and sessions of the era before.

Spec: MCP 2026-07-28 and 2025-11-25, Transports; remote-servers 6 (era), 8 (bridging).
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import aiohttp
import msgspec

from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError
from scaimcp.upstream.answering import ELICITATION, Answering, Post
from scaimcp.upstream.errors import (
    ProtocolError,
    UnsupportedProtocolVersionError,
    timed_out,
)
from scaimcp.upstream.exchange import read_result, refusal, sent
from scaimcp.upstream.request import (
    PROBE_SECONDS,
    Ask,
    Handshake,
    Listener,
    Opener,
    Target,
    base_headers,
    legacy_headers,
    modern_headers,
)
from scaimcp.upstream.wire import (
    LEGACY,
    MODERN,
    Message,
    answer_bytes,
    initialize_params,
    legacy_meta,
    modern_meta,
    notification_bytes,
    request_bytes,
)

CLOSE_SECONDS = 2.0
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,4096}")
_numbers = itertools.count(1)


class Told(msgspec.Struct):
    """What ``initialize`` and ``server/discover`` answer; wrong types are refused."""

    version: str = msgspec.field(default="", name="protocolVersion")
    versions: list[str] = msgspec.field(default_factory=list, name="supportedVersions")
    capabilities: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    server: msgspec.Raw = msgspec.field(default=msgspec.Raw(b""), name="serverInfo")
    meta: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict, name="_meta")
    instructions: str | None = None


_told = msgspec.json.Decoder(Told).decode


def read_told(result: msgspec.Raw) -> Told:
    """Decode what a server tells about itself.

    Raises:
        ProtocolError: members of the wrong type.
    """
    try:
        return _told(result)
    except msgspec.DecodeError:
        raise ProtocolError("The server describes itself in a form that is not MCP.") from None


class ModernSession:
    """Requests of 2026-07-28: no session at the server, so one object serves every caller."""

    is_usable = True

    def __init__(self, http: aiohttp.ClientSession, handshake: Handshake | None = None) -> None:
        self.handshake = handshake or Handshake("modern", MODERN)
        self._http = http

    async def request(self, target: Target, ask: Ask) -> msgspec.Raw:
        """Send `ask` and return the result as it came; a cancelled request ends its stream.

        Raises:
            UpstreamError: any failure.
        """
        number = next(_numbers)
        meta = modern_meta(ask.elicitation, number if ask.is_progress_wanted else None)
        body = request_bytes(number, ask.method, ask.params, meta)
        headers = modern_headers(target, ask)
        try:
            with Deadline(ask.seconds):
                async with sent(
                    self._http, target, headers, body, redirects=ask.redirects
                ) as response:
                    if response.status >= 400:
                        raise await refusal(response, target, is_modern=True, session_id=None)
                    return await read_result(response, target, ask, number, _unanswered)
        except TimeoutError:
            raise timed_out(ask.seconds) from None


async def _unanswered(message: Message) -> None:
    """Leave a server's request alone: this era has none, so there is no way to answer."""


class _Questions(Answering):
    """Breaks off the reading of the server's stream when there will be no answer."""

    __slots__ = ("_cancelling", "_error", "_reader")

    def __init__(self, listener: Listener, deadline: Deadline, post: Post) -> None:
        super().__init__(listener, deadline, post, self._break_off)
        self._reader = asyncio.current_task()
        self._cancelling = self._reader.cancelling() if self._reader is not None else 0
        self._error: GatewayError | None = None

    def _break_off(self, error: GatewayError) -> None:
        self._error = error
        if self._reader is not None:
            self._reader.cancel()

    def failure(self) -> GatewayError | None:
        """Return why the reading was broken off; None where somebody else has cancelled it."""
        if self._error is None or self._reader is None:
            return None
        return self._error if self._reader.uncancel() <= self._cancelling else None


class LegacySession:
    """A session of the handshake era over streamable HTTP; used by several calls at once."""

    def __init__(self, http: aiohttp.ClientSession, opener: Opener, handshake: Handshake) -> None:
        self.handshake = handshake
        self.is_usable = True
        self._http = http
        self._opener = opener
        self._tasks: set[asyncio.Task[None]] = set()

    async def request(self, target: Target, ask: Ask) -> msgspec.Raw:
        """Send `ask` and return the result as it came.

        A cancelled or late request is announced with ``notifications/cancelled``.

        Raises:
            SessionUnknown: the server has forgotten the session; nothing was carried out.
            UpstreamError: any other failure.
        """
        number = next(_numbers)
        meta = legacy_meta(number if ask.is_progress_wanted else None)
        body = request_bytes(number, ask.method, ask.params, meta)
        try:
            with Deadline(ask.seconds) as deadline:
                return await self._exchange(target, ask, number, body, deadline)
        except TimeoutError:
            self._announce_cancelled(number, "deadline")
            raise timed_out(ask.seconds) from None
        except asyncio.CancelledError:
            self._announce_cancelled(number, "cancelled")
            raise

    async def _exchange(
        self, target: Target, ask: Ask, number: int, body: bytes, deadline: Deadline
    ) -> msgspec.Raw:
        headers = self._headers(target)
        session_id = self.handshake.session_id
        questions: _Questions | None = None

        async def answer(message: Message) -> None:
            nonlocal questions
            if message.method == ELICITATION and ask.listener is not None:
                if questions is None:
                    questions = _Questions(ask.listener, deadline, partial(self._post, target))
                questions.take(message)
                return
            result = await answer_to(message, None)
            await self._post(target, answer_bytes(bytes(message.id), result))

        try:
            async with sent(self._http, target, headers, body, redirects=ask.redirects) as response:
                if response.status >= 400:
                    raise await refusal(response, target, is_modern=False, session_id=session_id)
                return await read_result(response, target, ask, number, answer)
        except asyncio.CancelledError:
            failure = questions.failure() if questions is not None else None
            if failure is None:
                raise
            self._announce_cancelled(number, "unanswered")
            raise failure from None
        finally:
            if questions is not None:
                await questions.end()

    async def notify(self, method: str, params: bytes = b"{}") -> None:
        """Send a notification.

        Raises:
            UpstreamError: it was not accepted.
        """
        target = await self._opener()
        body = notification_bytes(method, params)
        async with sent(self._http, target, self._headers(target), body, redirects=1) as response:
            if response.status >= 400:
                raise await refusal(response, target, is_modern=False, session_id=None)

    async def close(self) -> None:
        """End the session at the server with DELETE, within two seconds; failures are ignored."""
        self.is_usable = False
        with suppress(GatewayError, TimeoutError), Deadline(CLOSE_SECONDS):
            if self._tasks:
                await asyncio.wait(tuple(self._tasks))
            if self.handshake.session_id is not None:
                target = await self._opener()
                headers = self._headers(target)
                async with sent(self._http, target, headers, None, verb="DELETE"):
                    pass
        for task in tuple(self._tasks):
            task.cancel()

    def _headers(self, target: Target) -> dict[str, str]:
        return legacy_headers(target, self.handshake.version, self.handshake.session_id)

    async def _post(self, target: Target, body: bytes) -> None:
        """Send an answer; the server's opinion of it shows in what it does next."""
        async with sent(self._http, target, self._headers(target), body, redirects=1):
            pass

    def _announce_cancelled(self, number: int, reason: str) -> None:
        if not self.is_usable:
            return
        params = b'{"requestId":%d,"reason":"%b"}' % (number, reason.encode())
        self._later(self.notify("notifications/cancelled", params))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` beside the request that asks for it; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(_bounded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _bounded(work: Coroutine[Any, Any, None]) -> None:
    with suppress(GatewayError, TimeoutError), Deadline(CLOSE_SECONDS):
        await work


async def answer_to(message: Message, listener: Listener | None) -> bytes | None:
    """Return the result for a server's request, None to refuse it.

    ``ping`` is answered, ``elicitation/create`` goes to the listener; sampling, roots and what
    is unknown are refused.
    """
    if message.method == "ping":
        return b"{}"
    if message.method == ELICITATION and listener is not None:
        return await listener.asked(ELICITATION, bytes(message.params))
    return None


async def discover(http: aiohttp.ClientSession, target: Target, seconds: float) -> Handshake:
    """Ask a server of 2026-07-28 about itself.

    Raises:
        UnsupportedProtocolVersionError: it does not offer 2026-07-28.
        UpstreamError: any other failure.
    """
    ask = Ask("server/discover", seconds=seconds, redirects=3)
    told = read_told(await ModernSession(http).request(target, ask))
    if MODERN not in told.versions:
        raise UnsupportedProtocolVersionError(
            "The server does not offer 2026-07-28.", offered=tuple(told.versions)
        )
    info = told.meta.get("io.modelcontextprotocol/serverInfo", told.server)
    return Handshake("modern", MODERN, told.capabilities, bytes(info), told.instructions or "")


@asynccontextmanager
async def open_legacy(
    http: aiohttp.ClientSession,
    opener: Opener,
    *,
    elicitation: tuple[str, ...] = (),
    seconds: float = PROBE_SECONDS,
) -> AsyncIterator[LegacySession]:
    """Open a session with ``initialize`` and end it with DELETE, in one task.

    Args:
        http: the guarded client.
        opener: where to go; asked once per outbound request.
        elicitation: modes declared to the server.
        seconds: deadline of the handshake.

    Raises:
        UnsupportedProtocolVersionError: no common revision.
        UpstreamError: any other failure.
    """
    try:
        with Deadline(seconds):
            handshake = await _initialize(http, await opener(), elicitation)
            session = LegacySession(http, opener, handshake)
            await session.notify("notifications/initialized")
    except TimeoutError:
        raise timed_out(seconds) from None
    try:
        yield session
    finally:
        await session.close()


async def _initialize(
    http: aiohttp.ClientSession, target: Target, elicitation: tuple[str, ...]
) -> Handshake:
    number = next(_numbers)
    ask = Ask("initialize", initialize_params(elicitation))
    body = request_bytes(number, ask.method, ask.params)
    async with sent(http, target, base_headers(target), body, redirects=3) as response:
        if response.status >= 400:
            raise await refusal(response, target, is_modern=False, session_id=None)
        told = read_told(await read_result(response, target, ask, number, _unanswered))
        session_id = response.headers.get("Mcp-Session-Id")
    return shaken(told, session_id)


def shaken(told: Told, session_id: str | None) -> Handshake:
    """Return the handshake that an answer to ``initialize`` makes.

    Raises:
        UnsupportedProtocolVersionError: the server chose a revision that is not spoken here.
        ProtocolError: an unusable session id.
    """
    if told.version not in LEGACY:
        raise UnsupportedProtocolVersionError(
            "The server and the gateway have no protocol revision in common.",
            offered=(told.version,),
        )
    if session_id is not None and not _SESSION_ID.fullmatch(session_id):
        raise ProtocolError("The server's session id is malformed.")
    return Handshake(
        "legacy",
        told.version,
        told.capabilities,
        bytes(told.server),
        told.instructions or "",
        session_id,
    )
