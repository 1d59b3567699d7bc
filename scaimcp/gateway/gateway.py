"""The product without transport: list tools, call a tool.

Identity, time and options are parameters; sources are plugged in. Spec: core-tools 3, 7, 8.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from scaimcp.errors import GatewayError, InputNeeded, ToolError
from scaimcp.gateway.admission import first_failure, refusal
from scaimcp.gateway.contents import Contents
from scaimcp.gateway.limits import InFlight, RateLimiter
from scaimcp.gateway.search import Indexed, index, similar
from scaimcp.gateway.sources import CALL_SECONDS, LIST_SECONDS, ToolSource
from scaimcp.gateway.view import GATEWAY_TOOLS, View
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import tool_call_outcome
from scaimcp.types import (
    Grants,
    RequestContext,
    Snapshot,
    Tool,
    ToolResult,
)

_CALLABLES = 256
_SUGGESTIONS = 3
_log = get_logger("scaimcp.gateway")


class Visible(msgspec.Struct, frozen=True):
    """Everything one caller may call now, in published order, whatever the view lists.

    Callers with the same grants in tenants with the same modules share one. ``listings`` holds
    encoded lists by the edge's own keys; ``found`` the search index, built when first needed.
    ``note`` and ``is_failing`` are what the snapshots say; ``has_aliases`` tells that some tools
    have two names.
    """

    tools: tuple[Tool, ...]
    listings: dict[Any, Any]
    found: list[tuple[Indexed, ...]]
    note: bytes = b""
    is_failing: bool = False
    has_aliases: bool = False

    def index(self) -> tuple[Indexed, ...]:
        """Return the search index."""
        if not self.found:
            self.found.append(index(self.tools))
        return self.found[0]


class Resolved(msgspec.Struct, frozen=True):
    """A tool that may be called, and the source that calls it."""

    tool: Tool
    source: ToolSource


class Gateway:
    """Lists and calls tools of all sources under one admission rule."""

    def __init__(
        self, sources: Sequence[ToolSource], limiter: RateLimiter, inflight: InFlight
    ) -> None:
        self._sources = tuple(sources)
        self._limiter = limiter
        self._inflight = inflight
        self._callables: OrderedDict[Any, Visible] = OrderedDict()
        self.contents = Contents(self.snapshots, inflight)

    @property
    def sources(self) -> tuple[ToolSource, ...]:
        """The sources in the order of their tools."""
        return self._sources

    @property
    def is_limited(self) -> bool:
        """Whether the gateway counts requests against limits of its own."""
        return self._limiter.is_on

    def add(self, source: ToolSource) -> None:
        """Plug in a source behind the others."""
        self._sources = (*self._sources, source)

    async def admit(self, context: RequestContext) -> int | None:
        """Count one request against the gateway's own limits; seconds to wait if refused.

        The request's answer is told what the limits leave.
        """
        allowance = await self._limiter.take(context.caller)
        if allowance is None:
            return None
        if context.answer is not None:
            context.answer.limited(allowance)
        return allowance.window_seconds if allowance.is_refused else None

    def connected(self, context: RequestContext) -> None:
        """A client has just connected: read what may have changed at the next list."""
        for source in self._sources:
            source.mark_stale(context)

    async def callable_tools(
        self, context: RequestContext, max_age: float = LIST_SECONDS
    ) -> Visible:
        """Return what the caller may call, filtered once per grants and snapshots."""
        snapshots = await self.snapshots(context, max_age)
        grants = context.caller.grants
        key = (grants, *(snapshot.key for snapshot in snapshots))
        known = self._callables.get(key)
        if known is None:
            known = self._callables[key] = _visible(snapshots, grants)
            while len(self._callables) > _CALLABLES:
                self._callables.popitem(last=False)
        else:
            self._callables.move_to_end(key)
        return known

    async def listed_tools(self, context: RequestContext, view: View) -> tuple[Tool, ...]:
        """Return the tools that a list shows under `view`, in published order."""
        callables = await self.callable_tools(context)
        return tuple(tool for tool in callables.tools if view.lists(tool))

    async def snapshots(self, context: RequestContext, max_age: float) -> list[Snapshot]:
        """Return every source's snapshot for the caller.

        A tenant that has switched MCP off has done so for all sources.
        """
        snapshots = [
            source.known(context, max_age) or await source.snapshot(context, max_age)
            for source in self._sources
        ]
        if any(snapshot.modules.mcp_is_off for snapshot in snapshots):
            return [_switched_off(snapshot) for snapshot in snapshots]
        return snapshots

    async def resolve(self, context: RequestContext, name: str) -> Resolved:
        """Return the tool called `name` if the caller may call it.

        Raises:
            ToolError: ``TOOL_NOT_FOUND``, ``MODULE_NOT_ENABLED`` or ``PERMISSION_DENIED``.
        """
        is_off = False
        for source in self._sources:
            snapshot = source.known(context, CALL_SECONDS)
            if snapshot is None:
                snapshot = await source.snapshot(context, CALL_SECONDS)
            tool = snapshot.by_name.get(name)
            if tool is None:
                is_off = is_off or snapshot.modules.mcp_is_off
                continue
            if is_off and tool.permission:
                await self._check_switch(context, tool, snapshot)
            failure = first_failure(tool, context.caller.grants, snapshot.modules)
            if failure == "module_enabled":
                # It may have been enabled elsewhere a moment ago.
                snapshot = await source.snapshot(context, 0.0)
                tool = snapshot.by_name.get(name, tool)
                failure = first_failure(tool, context.caller.grants, snapshot.modules)
            if failure is not None:
                raise refusal(tool, failure, snapshot.modules)
            return Resolved(tool, source)
        raise await self._not_found(context, name)

    async def _check_switch(self, context: RequestContext, tool: Tool, snapshot: Snapshot) -> None:
        """Refuse a tool where another source says that the tenant has switched MCP off."""
        # It may have been switched on elsewhere a moment ago.
        if any(known.modules.mcp_is_off for known in await self.snapshots(context, 0.0)):
            raise refusal(tool, "module_enabled", _switched_off(snapshot).modules)

    async def _not_found(self, context: RequestContext, name: str) -> ToolError:
        for snapshot in await self.snapshots(context, CALL_SECONDS):
            refused = snapshot.withheld(name) if snapshot.withheld is not None else None
            if isinstance(refused, ToolError):
                return refused
        callables = await self.callable_tools(context, CALL_SECONDS)
        names = [tool.name for tool in callables.tools]
        details = tuple(
            {"field": "name", "message": f"did you mean {near}?"}
            for near in similar(name, names, _SUGGESTIONS)
        )
        return ToolError("TOOL_NOT_FOUND", "There is no such tool.", details=details)

    async def call_tool(
        self,
        context: RequestContext,
        name: str,
        arguments: bytes,
        check: Callable[[Tool], None] | None = None,
    ) -> ToolResult:
        """Call a tool: name, module, permission, role, quota, arguments, platform.

        Args:
            context: who calls.
            name: the tool's name as listed.
            arguments: JSON of the arguments, b"" for none.
            check: the edge's own word on an admitted tool, before anything is sent.

        Raises:
            ToolError: the call failed; its code says why. A fault of our own or of a module is
                ``INTERNAL_ERROR`` in fixed words, its cause in the log.
            InputNeeded: the call waits for an answer of its user.
            ProtocolError: the arguments are no object, or what `check` raises.
            RequestRefused: the bearer does not count any more.
        """
        source, outcome = "none", "cancelled"
        try:
            resolved = await self.resolve(context, name)
            source = resolved.source.name
            if check is not None:
                check(resolved.tool)
            with self._inflight.call(context.caller):
                if self._limiter.is_on:
                    await self._count(context)
                result = await resolved.source.call(resolved.tool, arguments, context)
            outcome = "ok"
            return result
        except ToolError as error:
            outcome = _outcome(error.code)
            raise
        except InputNeeded:
            outcome = "input_required"
            raise
        except GatewayError:
            outcome = "refused"
            raise
        except Exception as error:
            outcome = "failed"
            _log.error("call failed", request_id=context.request_id, exc_info=error)
            raise ToolError(
                "INTERNAL_ERROR", "The gateway failed; the cause is in its log."
            ) from error
        finally:
            tool_call_outcome(source, outcome).inc()

    async def _count(self, context: RequestContext) -> None:
        wait = await self.admit(context)
        if wait is not None:
            raise ToolError("RATE_LIMITED", "The gateway's own limit is reached.", retry_after=wait)


def _visible(snapshots: Sequence[Snapshot], grants: Grants) -> Visible:
    """Filter and arrange the tools of all sources for everyone with these grants."""
    tools = [
        tool
        for snapshot in snapshots
        for tool in snapshot.tools
        if first_failure(tool, grants, snapshot.modules) is None
    ]
    return Visible(
        tuple(sorted(tools, key=_rank)),
        {},
        [],
        b",".join(snapshot.note for snapshot in snapshots if snapshot.note),
        any(snapshot.is_failing for snapshot in snapshots),
        any(tool.alias for tool in tools),
    )


def _switched_off(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot of a tenant that has switched MCP off, whichever source knows of it."""
    modules = msgspec.structs.replace(snapshot.modules, mcp_is_off=True)
    return msgspec.structs.replace(snapshot, modules=modules)


def _rank(tool: Tool) -> int:
    """Core tools first, then the gateway's own, then modules and remote servers."""
    if tool.name in GATEWAY_TOOLS:
        return 1
    return 0 if tool.module_id is None and tool.domain != "remote" else 2


_REFUSALS = frozenset(
    {
        "TOOL_NOT_FOUND",
        "MODULE_NOT_ENABLED",
        "PERMISSION_DENIED",
        "INVALID_ARGUMENTS",
        "RATE_LIMITED",
        "GATEWAY_BUSY",
    }
)


def _outcome(code: str) -> str:
    return "refused" if code in _REFUSALS else "failed"
