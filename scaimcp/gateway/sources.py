"""The seam to where tools come from. Sources are plugged in by `scaimcp.bootstrap`."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Raw

from scaimcp.types import ContentKind, Listing, RequestContext, Snapshot, Tool, ToolResult

# How old known module states may be. Spec: scaigrid 4.
CALL_SECONDS = 60.0
LIST_SECONDS = 5.0


class ToolSource(Protocol):
    """One origin of tools: the platform, remote servers, a guarded module."""

    @property
    def name(self) -> str:
        """Label of the source in metrics."""
        ...

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        """Return the snapshot if nobody has to be asked for it, else None."""
        ...

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return what the caller's tenant is offered, known for at most `max_age` seconds.

        Never waits for an upstream longer than a few seconds and never raises for its sake.
        """
        ...

    def mark_stale(self, context: RequestContext) -> None:
        """Read anew at the next list: a client has just connected."""
        ...

    def unsupported(self, tool: Tool) -> bool:
        """Tell whether the upstream said lately that it does not have this tool."""
        ...

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        """Call an admitted tool with JSON arguments, b"" for none.

        Raises:
            ToolError: the call failed.
        """
        ...


class ContentSource(Protocol):
    """One origin of resources and prompts, beside or without tools."""

    async def listing(self, context: RequestContext, kind: ContentKind) -> Listing:
        """Return what the caller may list of a kind; never raises for an upstream's sake."""
        ...

    async def read(self, context: RequestContext, uri: str) -> ToolResult | None:
        """Read a resource; None where the URI is none of this source's.

        Raises:
            GatewayError: refused, or the upstream failed.
        """
        ...

    async def prompt(
        self, context: RequestContext, name: str, arguments: bytes
    ) -> ToolResult | None:
        """Get a prompt with JSON arguments, b"" for none; None where it is none of this source's.

        Raises:
            GatewayError: refused, or the upstream failed.
        """
        ...

    async def complete(
        self, context: RequestContext, reference: dict[str, Any], params: dict[str, Raw]
    ) -> Raw | None:
        """Return encoded suggestions for an argument; None where this source has none.

        Args:
            context: who asks.
            reference: ``ref``, of one of the two types and with its name or URI.
            params: ``argument`` and ``context``, encoded.

        Raises:
            GatewayError: refused, or the upstream failed.
        """
        ...
