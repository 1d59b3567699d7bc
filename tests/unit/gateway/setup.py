"""A gateway over the platform catalogue and its own tools, without a network."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from scaimcp.catalog.builtin import GATEWAY
from scaimcp.catalog.own import own_tools, read_own
from scaimcp.errors import ToolError
from scaimcp.gateway.discovery import DiscoverySource
from scaimcp.gateway.explain import Explainer
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.limits import InFlight, NoLimits, RateLimiter
from scaimcp.gateway.view import DEFAULT_VIEW, View
from scaimcp.types import ModuleView, RequestContext, Snapshot, Tool, ToolResult
from tests.fakes.callers import context
from tests.unit.catalog import setup as catalog


def tool(name: str, *, permission: str = "", **more: Any) -> Tool:
    """Return a tool of another source."""
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    return Tool(name, "A tool", "What it does.", schema, None, {}, {}, permission, **more)


class ListSource:
    """A source with given tools that remembers what it was called with."""

    name = "remote"

    def __init__(self, *tools: Tool, modules: ModuleView | None = None) -> None:
        view = modules or ModuleView(frozenset(), "remote")
        self.offered = Snapshot("list", tools, {item.name: item for item in tools}, view)
        self.marked = 0
        self.calls: list[tuple[str, bytes]] = []

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        return None

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        return self.offered

    def mark_stale(self, context: RequestContext) -> None:
        self.marked += 1

    def unsupported(self, tool: Tool) -> bool:
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        self.calls.append((tool.name, arguments))
        return ToolResult(b'{"called":true}')


class Plainly:
    """Shows of tools what these tests look at."""

    def name(self, tool: Tool, view: View) -> str:
        return tool.alias if tool.alias and view.names == "safe" else tool.name

    def definition(self, tool: Tool, view: View) -> dict[str, Any]:
        return {"name": self.name(tool, view), "title": tool.title, "dialect": view.dialect}


class Setup(catalog.Setup):
    """Everything between the MCP edge and the network."""

    def __init__(
        self,
        *args: Any,
        limiter: RateLimiter | None = None,
        per_caller: int = 256,
        own_chars: int = 48_000,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.inflight = InFlight(per_caller)
        self.gateway = Gateway((self.source,), limiter or NoLimits(), self.inflight)
        self.discovery = DiscoverySource(
            self.gateway,
            own_tools(GATEWAY, own_chars),
            read_own,
            Plainly(),
            own_chars,
        )
        self.gateway.add(self.discovery)
        self.explainer = Explainer(self.gateway, monotonic=self.clock)

    async def names(
        self, who: RequestContext | None = None, view: View = DEFAULT_VIEW
    ) -> list[str]:
        """Return the names that a list shows."""
        tools = await self.gateway.listed_tools(who or context(), view)
        return [item.name for item in tools]

    async def run(
        self, called: str, /, *, who: RequestContext | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """Call a tool through the gateway and return its decoded result."""
        raw = msgspec.json.encode(arguments) if arguments else b""
        result = await self.gateway.call_tool(who or context(), called, raw)
        decoded: dict[str, Any] = json.loads(result.text or b"")
        return decoded

    async def refused(self, called: str, /, **more: Any) -> ToolError:
        """Call a tool through the gateway and return its failure."""
        with pytest.raises(ToolError) as error:
            await self.run(called, **more)
        return error.value

    async def explain(
        self, name: str, who: RequestContext | None = None, view: View = DEFAULT_VIEW
    ) -> dict[str, Any]:
        return await self.explainer.explain(who or context(), name, view)
