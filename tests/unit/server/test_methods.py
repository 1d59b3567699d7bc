"""The methods without a socket: what is remembered between requests."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from scaimcp.errors import ProtocolError
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.limits import InFlight, NoLimits
from scaimcp.gateway.view import DEFAULT_VIEW, View
from scaimcp.server.envelope import Params
from scaimcp.server.methods import METHOD_NAMES, Call, Methods
from scaimcp.server.rendering import Renderer
from scaimcp.server.revisions import V2025_11_25, V2026_07_28, Revision
from scaimcp.server.session import Sessions
from scaimcp.types import (
    ModuleView,
    RequestContext,
    Secret,
    Snapshot,
    Tool,
    ToolResult,
)
from tests.unit.server.test_session import caller, sealer

HEADER_SCHEMA = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}


class ManyTools:
    """A source that makes a tool, with a schema of its own, for every name it is asked for."""

    name = "many"

    def __init__(self, count: int) -> None:
        tools = tuple(_tool(f"tool_{number}") for number in range(count))
        by_name = {tool.name: tool for tool in tools}
        self._snapshot = Snapshot("many", tools, by_name, ModuleView(frozenset(), "many"))

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        return self._snapshot

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        return self._snapshot

    def mark_stale(self, context: RequestContext) -> None:
        """Nothing changes."""

    def unsupported(self, tool: Tool) -> bool:
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        return ToolResult(b"{}")


def _tool(name: str) -> Tool:
    schema = json.loads(json.dumps(HEADER_SCHEMA))
    return Tool(name, "Title", "Does something.", schema, None, {}, {}, domain="many")


def methods(count: int = 3, page_size: int = 2) -> Methods:
    return Methods(
        Gateway((ManyTools(count),), NoLimits(), InFlight(8)),
        Renderer("scaimcp", "1"),
        Sessions(sealer()),
        sealer(label="cursor"),
        surfaces=frozenset({"tools"}),
        page_size=page_size,
    )


def call(
    revision: Revision = V2025_11_25, view: View = DEFAULT_VIEW, user: str = "usr_1", **params: Any
) -> Call:
    context = RequestContext("req_1", caller(user), Secret("t"))
    given = msgspec.convert(params, Params)
    return Call(context, revision, given, view, "/mcp", {b"mcp-param-region": b"eu"})


async def answered(served: Methods, method: str, wanted: Call) -> bytes:
    # The pieces close their message as well.
    return b"".join(await served.answer(method, wanted))[:-1]


async def test_users_with_equal_grants_page_with_cursors_of_their_own() -> None:
    served = methods()
    for user in ("usr_1", "usr_2"):
        first = json.loads(await answered(served, "tools/list", call(user=user)))
        following = call(user=user, cursor=first["nextCursor"])
        second = json.loads(await answered(served, "tools/list", following))
        names = [tool["name"] for tool in first["tools"] + second["tools"]]
        assert names == ["tool_0", "tool_1", "tool_2"]


async def test_a_view_is_encoded_once_for_a_revision() -> None:
    served = methods(page_size=100)
    views = [View(toolsets=frozenset({"many", f"x{number}"})) for number in range(40)]
    lists = {await answered(served, "tools/list", call(view=view)) for view in [*views, *views]}
    assert len(lists) == 1


async def test_thousands_of_tools_with_parameter_headers_are_called() -> None:
    served = methods(count=4_200)
    for number in range(4_200):
        arguments = msgspec.Raw(b'{"region":"eu"}')
        wanted = call(V2026_07_28, name=f"tool_{number}")
        wanted.params.arguments = arguments
        assert b'"isError":false' in await answered(served, "tools/call", wanted)


async def test_a_header_without_its_argument_is_refused_every_time() -> None:
    served = methods()
    for _ in range(2):
        with pytest.raises(ProtocolError) as caught:
            await answered(served, "tools/call", call(V2026_07_28, name="tool_0"))
        assert caught.value.number == -32020


def test_metrics_know_the_methods_by_name() -> None:
    assert {"initialize", "tools/list", "tools/call", "subscriptions/listen"} <= METHOD_NAMES
