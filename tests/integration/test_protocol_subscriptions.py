"""``subscriptions/listen`` of 2026-07-28, on both HTTP servers and through a whole gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.server.subscriptions import Limits
from scaimcp.versions.notices import CHANNEL
from tests.integration.edge import Edge, Setup, start_edge
from tests.streams import listening
from tests.waiting import until
from tests.world import LATEST, MODERN, start_world

TAG = "io.modelcontextprotocol/subscriptionId"
TOOLS = "toolsListChanged"
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
CHANGED = "notifications/tools/list_changed"


@pytest_asyncio.fixture(scope="module", params=["uvicorn", "hypercorn"])
async def edge(request: pytest.FixtureRequest) -> AsyncIterator[Edge]:
    async with start_edge(Setup(engine=request.param)) as running:
        yield running


def modern(edge: Edge, name: str = "alice") -> Any:
    return edge.as_(name, MODERN)


@pytest.mark.parametrize("message_id", [7, "seven"])
async def test_the_first_frame_is_the_acknowledgement(edge: Edge, message_id: Any) -> None:
    async with listening(modern(edge), TOOLS, message_id=message_id) as stream:
        assert stream.response.status == 200
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.response.headers["x-accel-buffering"] == "no"
        first = await stream.event()
    assert first["method"] == ACKNOWLEDGED
    assert first["params"] == {"notifications": {TOOLS: True}, "_meta": {TAG: message_id}}
    assert "id" not in first


async def test_a_change_reaches_the_streams_of_the_tenant_alone(edge: Edge) -> None:
    async with (
        listening(modern(edge), TOOLS, message_id="a") as mine,
        listening(modern(edge, "bob"), TOOLS, message_id="b") as same,
        listening(modern(edge, "eve"), TOOLS, message_id="c") as other,
        listening(modern(edge, "root"), TOOLS, message_id="d") as without,
    ):
        for stream in (mine, same, other, without):
            assert (await stream.event())["method"] == ACKNOWLEDGED
        assert not (await modern(edge).call("test_trigger_tool_change")).is_error
        for stream, tag in ((mine, "a"), (same, "b")):
            event = await stream.event()
            assert (event["method"], event["params"]) == (CHANGED, {"_meta": {TAG: tag}})
        edge.subscriptions.changed("tnt_2")
        assert (await other.event())["params"] == {"_meta": {TAG: "c"}}
        edge.subscriptions.changed("user:usr_root")
        assert (await without.event())["params"] == {"_meta": {TAG: "d"}}


async def test_only_what_was_asked_for_is_told(edge: Edge) -> None:
    async with (
        listening(modern(edge), "promptsListChanged") as prompts,
        listening(modern(edge), TOOLS) as tools,
    ):
        assert (await prompts.event())["params"]["notifications"] == {}
        assert (await tools.event())["params"]["notifications"] == {TOOLS: True}
        edge.subscriptions.changed("tnt_1")
        assert (await tools.event())["method"] == CHANGED
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await prompts.event()


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
async def test_listening_without_reading_streams_is_406(edge: Edge, accept: str) -> None:
    reply = await modern(edge).rpc(
        "subscriptions/listen", {"notifications": {}}, headers={"accept": accept}
    )
    assert (reply.status, reply.error["code"], reply.word) == (406, -31000, "NOT_ACCEPTABLE")


@pytest.mark.parametrize("params", [{}, {"notifications": []}, {"notifications": None}])
async def test_listening_to_nothing_named_is_invalid(edge: Edge, params: Any) -> None:
    reply = await modern(edge).rpc("subscriptions/listen", params)
    assert (reply.status, reply.error["code"]) == (400, -32602)


async def test_a_handshake_client_cannot_listen(edge: Edge) -> None:
    reply = await edge.as_("alice", LATEST).rpc("subscriptions/listen", {"notifications": {}})
    assert reply.error["code"] == -32601


async def test_a_listener_that_leaves_gives_its_place_back() -> None:
    async with start_edge(Setup(limits=Limits(streams=1))) as edge:
        for _ in range(2):
            async with listening(modern(edge), TOOLS) as stream:
                assert (await stream.event())["method"] == ACKNOWLEDGED
                full = await modern(edge, "bob").rpc(
                    "subscriptions/listen", {"notifications": {TOOLS: True}}
                )
                assert (full.status, full.word) == (503, "GATEWAY_BUSY")
                assert full.headers["retry-after"] == "5"
            await until(lambda: not edge.subscriptions.count)


async def test_a_quiet_stream_is_kept_alive_by_comments() -> None:
    async with (
        start_edge(Setup(limits=Limits(keepalive_seconds=0.01))) as edge,
        listening(modern(edge), TOOLS) as stream,
    ):
        assert (await stream.event())["method"] == ACKNOWLEDGED
        await stream.comment()
        await stream.comment()
        edge.subscriptions.changed("tnt_1")
        assert (await stream.event())["method"] == CHANGED


async def test_a_drain_ends_the_stream_with_a_result() -> None:
    async with start_edge() as edge:
        async with listening(modern(edge), TOOLS, message_id=9) as stream:
            assert (await stream.event())["method"] == ACKNOWLEDGED
            edge.subscriptions.close()
            answer = await stream.event()
            assert answer["id"] == 9
            assert answer["result"]["resultType"] == "complete"
            assert answer["result"]["_meta"][TAG] == 9
            assert await stream.event() is None
        async with listening(modern(edge), TOOLS) as late:
            assert [event.get("method") for event in await late.rest()] == [ACKNOWLEDGED, None]


# -- a whole gateway -----------------------------------------------------------------------------


async def test_switching_a_module_is_told_to_the_tenant(database_url: str, redis_url: str) -> None:
    async with start_world(database_url, redis_url) as world:
        user, admin = world.as_("tenant_user", MODERN), world.as_("tenant_admin", MODERN)
        globex = world.as_("other_tenant_user", MODERN)
        # Notices are followed from a moment after the start on, which every stream is told of.
        services = world.app.services
        assert services is not None
        while not dict(await services.redis.raw.pubsub_numsub(CHANNEL))[CHANNEL.encode()]:
            await admin.names()
        await admin.names()
        async with listening(user, TOOLS) as mine, listening(globex, TOOLS) as theirs:
            assert (await mine.event())["method"] == ACKNOWLEDGED
            assert (await theirs.event())["method"] == ACKNOWLEDGED
            before = await admin.names()
            assert (await admin.call("modules_disable", {"module_id": "scaiqueue"})).value
            assert (await mine.event())["method"] == CHANGED
            after = await admin.names()
            assert {name for name in before if name.startswith("queue_")} == set(before) - set(
                after
            )
            assert (await admin.call("modules_enable", {"module_id": "scaiqueue"})).value
            assert (await mine.event())["method"] == CHANGED
            assert await admin.names() == before
            world.app.drain()
            assert [event.get("method") for event in await theirs.rest()] == [None]


async def test_a_quiet_stream_takes_no_place_from_running_requests() -> None:
    async with start_edge(Setup(policy=(("inflight", 1),))) as edge:
        async with listening(modern(edge), TOOLS) as stream:
            await stream.event()
            assert (await edge.as_("bob").rpc("tools/list")).status == 200
        assert (await edge.as_("bob").rpc("tools/list")).status == 200
