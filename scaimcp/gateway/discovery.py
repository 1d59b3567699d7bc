"""The gateway's own tools: explain, search, describe and call. Spec: core-tools 8."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import msgspec

from scaimcp.errors import ToolError
from scaimcp.gateway.explain import Explainer
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.search import rank
from scaimcp.gateway.view import CALL_TOOL, DEFAULT_VIEW, GATEWAY_TOOLS, View
from scaimcp.types import ModuleView, RequestContext, Snapshot, Tool, ToolResult

Read = Callable[[Tool, bytes], dict[str, Any]]
_OPEN = ModuleView(frozenset(), "gateway")


class Presenter(Protocol):
    """Shows tools as lists show them, under the options of a view."""

    def name(self, tool: Tool, view: View) -> str:
        """Return the name under which a tool is listed."""
        ...

    def definition(self, tool: Tool, view: View) -> dict[str, Any]:
        """Return a tool's definition as lists carry it."""
        ...


class DiscoverySource:
    """Four tools that help to find the others; they make no platform call of their own.

    Args:
        tools: the four tools in published order.
        read: checks arguments and returns them; raises ``INVALID_ARGUMENTS``.
        presenter: shows tools as the caller's lists do.
        result_chars: cap of a result's JSON text.
    """

    name = "gateway"

    def __init__(
        self,
        gateway: Gateway,
        tools: tuple[Tool, ...],
        read: Read,
        presenter: Presenter,
        result_chars: int,
    ) -> None:
        self._gateway = gateway
        self._explainer = Explainer(gateway)
        self._read = read
        self._presenter = presenter
        self._chars = result_chars
        self._snapshot = Snapshot("gateway", tools, {tool.name: tool for tool in tools}, _OPEN)

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        """Return the four tools; nobody has to be asked."""
        return self._snapshot

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return the four tools; everyone may call them."""
        return self._snapshot

    def mark_stale(self, context: RequestContext) -> None:
        """Nothing here can be stale."""

    def unsupported(self, tool: Tool) -> bool:
        """The gateway always has its own tools."""
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        """Answer from memory, or call the target of ``tools_call`` under its own name."""
        given = self._read(tool, arguments)
        if tool.name == CALL_TOOL:
            return await self._call(given, context)
        if tool.name == "tools_search":
            value: Any = await self._search(given, context)
        elif tool.name == "tools_describe":
            value = await self._described(given, context)
        else:
            view = context.view or DEFAULT_VIEW
            value = await self._explainer.explain(context, given["tool"], view)
        text = msgspec.json.encode(value)
        if len(text.decode()) > self._chars:
            raise ToolError(
                "RESULT_TOO_LARGE", "The result is too long; ask for fewer tools at a time."
            )
        return ToolResult(text)

    async def _search(self, given: dict[str, Any], context: RequestContext) -> dict[str, Any]:
        visible = await self._gateway.callable_tools(context)
        named = partial(self._presenter.name, view=context.view or DEFAULT_VIEW)
        items, total = rank(given["query"], visible.index(), given["top_k"], named)
        return {"items": items, "total_count": total}

    async def _described(self, given: dict[str, Any], context: RequestContext) -> dict[str, Any]:
        visible = await self._gateway.callable_tools(context)
        by_name = {tool.alias: tool for tool in visible.tools if tool.alias}
        by_name |= {tool.name: tool for tool in visible.tools}
        names, view = dict.fromkeys(given["names"]), context.view or DEFAULT_VIEW
        # Once each, even where both names of one are given.
        found = {by_name[name].name: by_name[name] for name in names if name in by_name}
        return {
            "items": [self._presenter.definition(tool, view) for tool in found.values()],
            "not_found": [name for name in names if name not in by_name],
        }

    async def _call(self, given: dict[str, Any], context: RequestContext) -> ToolResult:
        name = given["name"]
        if name in GATEWAY_TOOLS:
            raise ToolError(
                "INVALID_ARGUMENTS",
                "The gateway's own tools are called directly.",
                details=({"field": "name", "message": "names a tool of the gateway"},),
            )
        resolved = await self._gateway.resolve(context, name)
        arguments = msgspec.json.encode(given.get("arguments", {}))
        return await resolved.source.call(resolved.tool, arguments, context)
