"""Find out which era a server speaks and open a session of it.

Spec: remote-servers 5 (retry), 6 (era).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import aiohttp
import msgspec

from scaimcp.deadline import Deadline
from scaimcp.upstream.client import ModernSession, discover, open_legacy
from scaimcp.upstream.errors import (
    ConnectError,
    McpError,
    ProtocolError,
    RemoteClientError,
    RemoteServerError,
    UnsupportedProtocolVersionError,
    UpstreamError,
    UpstreamTimeout,
    timed_out,
)
from scaimcp.upstream.request import PROBE_SECONDS, Handshake, Opener, Session
from scaimcp.upstream.sse import looks_like_sse, open_sse
from scaimcp.upstream.wire import LEGACY, MODERN, UNSUPPORTED_VERSION

SILENCE_SECONDS = 2.0
_HINT = " This looks like HTTP+SSE; set transport to sse."
_PAUSE = (0.2, 0.5)
_UNTOLD = Handshake("modern", MODERN)
T = TypeVar("T")


class Opening(msgspec.Struct, frozen=True):
    """How sessions with one server are opened.

    Args:
        opener: where to go and as whom; asked once per outbound request.
        transport: ``streamable_http`` or ``sse``.
        era: what is remembered, ``modern`` or ``legacy``; None while unknown.
        elicitation: modes declared in the handshake era.
        seconds: deadline for all of it.
        told: hears the handshake of every session that opens, so that an era can be remembered.
    """

    opener: Opener
    transport: str = "streamable_http"
    era: str | None = None
    elicitation: tuple[str, ...] = ()
    seconds: float = PROBE_SECONDS
    told: Callable[[Handshake], None] | None = None


@asynccontextmanager
async def open_session(http: aiohttp.ClientSession, opening: Opening) -> AsyncIterator[Session]:
    """Open a session of the era the server speaks; close it in the same task.

    ``session.handshake`` tells the era; a change against `Opening.era` is no failure.

    Raises:
        UpstreamError: no era fits, or the server cannot be used.
    """
    async with AsyncExitStack() as stack:
        try:
            with Deadline(opening.seconds):
                session = await _opened(http, opening, stack)
        except TimeoutError:
            raise timed_out(opening.seconds) from None
        if opening.told is not None:
            opening.told(session.handshake)
        yield session


async def _opened(http: aiohttp.ClientSession, opening: Opening, stack: AsyncExitStack) -> Session:
    async def legacy() -> Session:
        context = open_legacy(
            http, opening.opener, elicitation=opening.elicitation, seconds=opening.seconds
        )
        return await stack.enter_async_context(context)

    if opening.transport == "sse":
        context = open_sse(
            http, opening.opener, elicitation=opening.elicitation, seconds=opening.seconds
        )
        return await stack.enter_async_context(context)
    is_remembered_legacy = opening.era == "legacy"
    if not is_remembered_legacy:
        handshake = await _modern(http, opening)
        if handshake is not None:
            return ModernSession(http, handshake)
    try:
        return await once_more(legacy)
    except (RemoteClientError, McpError, ProtocolError, UnsupportedProtocolVersionError) as error:
        if names_modern(error):
            handshake = await _modern(http, opening) if is_remembered_legacy else None
            return ModernSession(http, handshake or _UNTOLD)
        if is_remembered_legacy:
            handshake = await _modern(http, opening)
            if handshake is not None:
                return ModernSession(http, handshake)
        if await looks_like_sse(http, await opening.opener()):
            error.message += _HINT
        raise


async def _modern(http: aiohttp.ClientSession, opening: Opening) -> Handshake | None:
    """Ask as 2026-07-28; None means that the server speaks the handshake era, if any.

    Raises:
        UpstreamError: an answer that no other era would change.
    """
    seconds = min(SILENCE_SECONDS, opening.seconds)

    async def ask() -> Handshake:
        return await discover(http, await opening.opener(), seconds)

    try:
        return await once_more(ask)
    except McpError as error:
        return _era_of(error)
    except UnsupportedProtocolVersionError as error:
        if any(version in LEGACY for version in error.offered):
            return None
        raise
    except (UpstreamTimeout, RemoteClientError, ProtocolError):
        return None


def _era_of(error: McpError) -> Handshake | None:
    if error.jsonrpc_code == UNSUPPORTED_VERSION:
        offered = supported(error.data)
        if MODERN not in offered and not any(version in LEGACY for version in offered):
            raise UnsupportedProtocolVersionError(
                "The server and the gateway have no protocol revision in common.", offered=offered
            )
        return _UNTOLD if MODERN in offered else None
    return _UNTOLD if error.is_modern else None


def names_modern(error: UpstreamError) -> bool:
    """Tell whether a refusal of ``initialize`` names 2026-07-28 as what is spoken."""
    if isinstance(error, UnsupportedProtocolVersionError):
        return MODERN in error.offered
    if isinstance(error, McpError):
        return error.is_modern or MODERN in supported(error.data)
    return False


def supported(data: bytes) -> tuple[str, ...]:
    """Return ``data.supported`` of -32022; empty where it is malformed."""
    try:
        return _supported(data).supported
    except msgspec.DecodeError:
        return ()


class _Supported(msgspec.Struct):
    supported: tuple[str, ...] = ()


_supported = msgspec.json.Decoder(_Supported).decode


async def once_more(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work`, and once more after a short pause where the server could not be reached.

    Only for what changes nothing: lists, ``server/discover``, ``initialize``.
    """
    try:
        return await work()
    except (ConnectError, RemoteServerError) as error:
        if not error.is_transport:
            raise
    await asyncio.sleep(random.uniform(*_PAUSE))  # noqa: S311 - only jitter
    return await work()
