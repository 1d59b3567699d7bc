"""Against the official SDK's server, in each era it speaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.outbound import GuardedHttp
from scaimcp.upstream.errors import McpError, UpstreamTimeout
from scaimcp.upstream.lists import KINDS, read_list
from scaimcp.upstream.opening import open_session
from scaimcp.upstream.request import (
    Ask,
    Handshake,
    Session,
    call_tool,
    get_prompt,
    ping,
    read_resource,
)
from tests.integration.rawserver import eventually
from tests.integration.upstream.support import (
    Fleet,
    Heard,
    guarded,
    opener,
    opening,
    sdk,
    target,
)

ERAS = {
    "modern": ("both", {}),
    "legacy": ("legacy", {}),
    "legacy json": ("legacy", {"json_response": True}),
    "legacy stateless": ("legacy", {"stateless_http": True}),
    "sse": ("sse", {}),
}
NOTHING = b"{}"


class World:
    """One server in one era, with a session on it."""

    def __init__(self, name: str, fleet: Fleet, session: Session) -> None:
        self.name = name
        self.fleet = fleet
        self.session = session

    async def ask(self, ask: Ask, **more: Any) -> Any:
        if more:
            ask = msgspec.structs.replace(ask, **more)
        there = target(self.fleet.url, authorization="Bearer ntn_example")
        return msgspec.json.decode(await self.session.request(there, ask))


@pytest_asyncio.fixture
async def http() -> AsyncIterator[GuardedHttp]:
    async with guarded() as http:
        yield http


@pytest_asyncio.fixture(params=list(ERAS))
async def world(request: pytest.FixtureRequest, http: GuardedHttp) -> AsyncIterator[World]:
    era, more = ERAS[request.param]
    async with sdk(era, **more) as fleet:
        transport = "sse" if era == "sse" else "streamable_http"
        async with open_session(http.session, opening(fleet.url, transport=transport)) as session:
            yield World(request.param, fleet, session)


async def test_the_era_is_found_and_the_server_describes_itself(world: World) -> None:
    handshake = world.session.handshake
    assert handshake.era == ("modern" if world.name == "modern" else "legacy")
    assert handshake.version == ("2026-07-28" if world.name == "modern" else "2025-11-25")
    assert handshake.capabilities is not None
    assert set(handshake.capabilities) == {"tools", "resources", "prompts"}
    assert msgspec.json.decode(handshake.server_info)["version"] == "3.2.0"
    assert handshake.instructions == "Be kind."
    assert bool(handshake.session_id) is (world.name in ("legacy", "legacy json", "sse"))


async def test_all_lists_are_read(world: World) -> None:
    found = {
        kind: (await read_list(world.session, opener(world.fleet.url), kind)).items
        for kind in KINDS
    }
    names = [msgspec.json.decode(tool)["name"] for tool in found["tool"]]
    assert names == ["add", "fail", "steps", "ask", "linger"]
    assert [len(found[kind]) for kind in ("resource", "resource_template", "prompt")] == [1, 0, 1]


async def test_tools_resources_and_prompts_answer(world: World) -> None:
    result = await world.ask(call_tool("add", b'{"a":1,"b":2}'))
    assert result["structuredContent"] == {"result": 3}
    assert ("resultType" in result) is (world.name == "modern")
    failed = await world.ask(call_tool("fail", NOTHING))
    assert failed["isError"] is True
    note = await world.ask(read_resource("note://one"))
    assert note["contents"][0]["text"] == "a note"
    prompt = await world.ask(get_prompt("greet", b'{"name":"Ann"}'))
    assert prompt["messages"][0]["content"]["text"] == "Hello Ann"


async def test_an_unknown_method_is_the_servers_own_error(world: World) -> None:
    with pytest.raises(McpError) as caught:
        await world.ask(Ask("no/such"))
    assert caught.value.jsonrpc_code == -32601
    assert not caught.value.contradicts_era
    if world.name != "modern":
        assert await world.ask(ping()) == {}


async def test_progress_comes_while_the_tool_works(world: World) -> None:
    heard = Heard()
    await world.ask(call_tool("steps", NOTHING), is_progress_wanted=True, listener=heard)
    wanted = [] if world.name in ("legacy json",) else [1.0, 2.0, 3.0]
    assert heard.progress() == wanted
    unheard = Heard()
    await world.ask(call_tool("steps", NOTHING), listener=unheard)
    assert unheard.progress() == []


def has_way_back(world: World) -> bool:
    """Tell whether the server can ask something while it works on a call."""
    return world.name in ("legacy", "sse")


async def test_an_elicitation_is_handed_to_the_listener(world: World) -> None:
    heard = Heard(b'{"action":"accept","content":{"approve":true}}')
    ask = msgspec.structs.replace(call_tool("ask", NOTHING), listener=heard)
    if not has_way_back(world):
        with pytest.raises(McpError):
            await world.ask(ask)
        return
    result = await world.ask(ask)
    (question,) = heard.questions
    assert question["message"] == "Really?"
    assert result["content"][0]["text"] == "accept approve=True"


@pytest.mark.parametrize("listener", [None, Heard(None)])
async def test_an_elicitation_that_nobody_takes_is_refused(
    world: World, listener: Heard | None
) -> None:
    with pytest.raises(McpError) as caught:
        await world.ask(call_tool("ask", NOTHING), listener=listener)
    if has_way_back(world):
        assert caught.value.jsonrpc_code == -32601


async def test_a_late_call_times_out_and_the_server_stops_working(world: World) -> None:
    with pytest.raises(UpstreamTimeout) as caught:
        await world.ask(call_tool("linger", NOTHING), seconds=0.3)
    assert caught.value.was_sent
    if world.name != "legacy stateless":
        await eventually(lambda: world.fleet.cancelled == ["linger"])


async def test_a_cancelled_call_is_cancelled_at_the_server(world: World) -> None:
    call = world.ask(call_tool("linger", NOTHING))
    running = asyncio.get_running_loop().create_task(call)
    await eventually(lambda: world.fleet.started == ["linger"])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    if world.name != "legacy stateless":
        await eventually(lambda: world.fleet.cancelled == ["linger"])


async def test_calls_side_by_side_get_their_own_answers(world: World) -> None:
    calls = [world.ask(call_tool("add", b'{"a":%d,"b":0}' % at)) for at in range(20)]
    results = await asyncio.gather(*calls)
    assert [row["structuredContent"]["result"] for row in results] == list(range(20))


async def test_a_session_is_ended_with_delete(http: GuardedHttp) -> None:
    async with sdk("legacy") as fleet:
        async with open_session(http.session, opening(fleet.url, era="legacy")) as session:
            session_id = session.handshake.session_id
        assert not session.is_usable
        method, headers = fleet.requests[-1]
        assert (method, headers["mcp-session-id"]) == ("DELETE", session_id)
        assert "2026-07-28" not in [h.get("mcp-protocol-version") for _, h in fleet.requests]


async def test_only_these_headers_go_out(http: GuardedHttp) -> None:
    async with sdk() as fleet:
        there = msgspec.structs.replace(target(fleet.url, x_api_key="k1"), user_id="usr_42")
        told: list[Handshake] = []
        one = opening(fleet.url, told=told.append)
        async with open_session(http.session, one) as session:
            await session.request(there, call_tool("add", b'{"a":1,"b":2}'))
        assert [handshake.era for handshake in told] == ["modern"]
        _, headers = fleet.requests[-1]
        assert headers.pop("host")
        assert headers.pop("content-length")
        assert headers == {
            "user-agent": "ScaiMCP/test",
            "accept-encoding": "gzip",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "add",
            "x-scaimcp-hops": "1",
            "x-api-key": "k1",
            "x-scaigrid-user": "usr_42",
        }
