"""``subscriptions/listen``: one long stream that tells of changed lists.

Spec: MCP 2026-07-28, Subscriptions; register, Second step (every rise of the tenant's version).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from scaimcp.errors import RequestRefused
from scaimcp.server.envelope import SUBSCRIPTION_ID, encode, result_message
from scaimcp.server.exchange import Exchange
from scaimcp.server.rendering import Renderer
from scaimcp.server.revisions import Revision
from scaimcp.types import Caller

# What a client may ask for: the surface it needs, and the notification. Only what can change.
_KINDS = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
}
ALL_ANNOUNCED = frozenset(surface for surface, _ in _KINDS.values())
ANNOUNCED = frozenset({"tools"})


class Limits(msgspec.Struct, frozen=True):
    """How many streams one process keeps open, and how long one may be quiet."""

    streams: int = 1_024
    streams_per_user: int = 32
    keepalive_seconds: float = 15.0


LIMITS = Limits()


class _Stream:
    __slots__ = ("is_changed", "is_ended", "tenant_id", "user_id", "wake")

    def __init__(self, tenant_id: str, user_id: str) -> None:
        self.tenant_id = tenant_id
        self.user_id = user_id
        self.wake = asyncio.Event()
        self.is_changed = False
        self.is_ended = False


class Subscriptions:
    """The open streams of this process."""

    def __init__(
        self, surfaces: frozenset[str], renderer: Renderer, limits: Limits = LIMITS
    ) -> None:
        self._limits = limits
        self._surfaces = surfaces
        # Resources and prompts change only where a source has some.
        self.announced = ANNOUNCED
        self._renderer = renderer
        self._streams: set[_Stream] = set()
        self._is_closed = False

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def changed(self, tenant_id: str) -> None:
        """Tell the tenant's streams that lists may have changed; bursts become one message."""
        for stream in self._streams:
            if stream.tenant_id == tenant_id:
                stream.is_changed = True
                stream.wake.set()

    def changed_all(self) -> None:
        """Tell every stream: a change may have been missed."""
        for stream in self._streams:
            stream.is_changed = True
            stream.wake.set()

    def close(self) -> None:
        """End every stream gracefully; later ones end at once."""
        self._is_closed = True
        for stream in self._streams:
            stream.is_ended = True
            stream.wake.set()

    @contextmanager
    def _opened(self, caller: Caller) -> Iterator[_Stream]:
        user = caller.user_id
        own = sum(1 for stream in self._streams if stream.user_id == user)
        if len(self._streams) >= self._limits.streams or own >= self._limits.streams_per_user:
            raise RequestRefused(
                "GATEWAY_BUSY", "Too many streams are open.", http_status=503, retry_after=5
            )
        stream = _Stream(caller.tenant_id or f"user:{user}", user)
        stream.is_ended = self._is_closed
        self._streams.add(stream)
        try:
            yield stream
        finally:
            self._streams.discard(stream)

    async def listen(
        self,
        exchange: Exchange,
        message_id: bytes,
        caller: Caller,
        wanted: Mapping[str, Any],
        revision: Revision,
    ) -> None:
        """Serve one stream until the client leaves or the process drains.

        It gives up its place among the running requests: streams have limits of their own.

        Raises:
            RequestRefused: 503 when too many streams are open.
        """
        subscription = SUBSCRIPTION_ID.encode()
        meta = b'"_meta":{"' + subscription + b'":' + message_id + b"}"
        honoured = {
            kind: True
            for kind, (surface, _) in _KINDS.items()
            if wanted.get(kind) is True and surface in self._surfaces & self.announced
        }
        with self._opened(caller) as stream:
            exchange.stand()
            await exchange.event(
                _notification(
                    "notifications/subscriptions/acknowledged",
                    b'"notifications":' + encode(honoured) + b"," + meta,
                )
            )
            while not stream.is_ended:
                await self._wait(stream, exchange)
                if stream.is_changed:
                    stream.is_changed = False
                    for kind in honoured:
                        await exchange.event(_notification(_KINDS[kind][1], meta))
        result = b"".join(self._renderer.result(b"", exchange.request_id, revision))
        # The subscription's id joins the other members of _meta.
        opening = b'"_meta":{'
        result = result.replace(opening, opening + b'"' + subscription + b'":' + message_id + b",")
        await exchange.send(200, result_message(message_id, (result,)))

    async def _wait(self, stream: _Stream, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(self._limits.keepalive_seconds):
                await stream.wake.wait()
        except TimeoutError:
            await exchange.keepalive()
        stream.wake.clear()


def _notification(method: str, params: bytes) -> bytes:
    return b'{"jsonrpc":"2.0","method":"%b","params":{%b}}' % (method.encode(), params)
