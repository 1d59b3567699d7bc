"""Resources and prompts of all sources, without transport. Spec: remote-servers 8."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Raw

from scaimcp.errors import ProtocolError
from scaimcp.gateway.limits import InFlight
from scaimcp.gateway.sources import LIST_SECONDS, ContentSource
from scaimcp.types import ContentKind, Listing, RequestContext, Snapshot, ToolResult

_OWN_REFUSAL = -31000


class Contents:
    """Lists, reads and completes what the sources have beside tools.

    Args:
        snapshots: the tool sources' snapshots for a caller, known for at most so many seconds;
            they tell whether the tenant has switched MCP off.
        inflight: counts running calls per caller.
    """

    def __init__(
        self,
        snapshots: Callable[[RequestContext, float], Awaitable[list[Snapshot]]],
        inflight: InFlight,
    ) -> None:
        self._snapshots = snapshots
        self._inflight = inflight
        self._sources: tuple[ContentSource, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether no source is plugged in, so that nothing here can ever change."""
        return not self._sources

    def add(self, source: ContentSource) -> None:
        """Plug in a source behind the others."""
        self._sources = (*self._sources, source)

    async def listing(self, context: RequestContext, kind: ContentKind) -> Listing:
        """Return what the caller may list of a kind, in published order."""
        if not self._sources or await self._is_off(context):
            return Listing("")
        found = [await source.listing(context, kind) for source in self._sources]
        if len(found) == 1:
            return found[0]
        return Listing(
            tuple([listing.identity for listing in found]),
            tuple([item for listing in found for item in listing.items]),
            b",".join([listing.note for listing in found if listing.note]),
            any(listing.is_failing for listing in found),
        )

    async def read(self, context: RequestContext, uri: str) -> ToolResult | None:
        """Read a resource; None where there is none of this URI.

        Raises:
            GatewayError: refused, or the upstream failed.
        """
        return await self._first(context, lambda source: source.read(context, uri))

    async def prompt(
        self, context: RequestContext, name: str, arguments: bytes
    ) -> ToolResult | None:
        """Get a prompt; None where there is none of this name.

        Raises:
            GatewayError: refused, or the upstream failed.
        """
        return await self._first(context, lambda source: source.prompt(context, name, arguments))

    async def complete(
        self, context: RequestContext, reference: dict[str, Any], params: dict[str, Raw]
    ) -> Raw | None:
        """Return encoded suggestions; None where nobody has any.

        Raises:
            GatewayError: refused, or the upstream failed.
        """
        for source in self._sources:
            with self._inflight.call(context.caller):
                found = await source.complete(context, reference, params)
            if found is not None:
                return found
        return None

    async def _first(
        self,
        context: RequestContext,
        ask: Callable[[ContentSource], Awaitable[ToolResult | None]],
    ) -> ToolResult | None:
        """Return what the first source gives that knows what is asked for."""
        if not self._sources:
            return None
        if await self._is_off(context):
            raise ProtocolError(
                _OWN_REFUSAL,
                "MCP is switched off for this tenant.",
                code="MODULE_NOT_ENABLED",
                http_status=200,
            )
        with self._inflight.call(context.caller):
            for source in self._sources:
                found = await ask(source)
                if found is not None:
                    return found
        return None

    async def _is_off(self, context: RequestContext) -> bool:
        snapshots = await self._snapshots(context, LIST_SECONDS)
        return any(snapshot.modules.mcp_is_off for snapshot in snapshots)
