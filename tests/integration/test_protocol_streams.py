"""Answers that take their time: progress, heartbeats, cancellation. On both HTTP servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.dev.platform import serve_platform
from scaimcp.server.attendant import Pace
from tests.fakes.wiretap import Wiretap, tapped
from tests.integration.edge import Edge, Setup, start_edge
from tests.streams import opened
from tests.waiting import until
from tests.world import LATEST, MODERN, Client, World, start_world

QUICK = Pace(grace=0.005, first=0.02, interval=0.02)
REVISIONS = ["2024-11-05", "2025-03-26", "2025-06-18", LATEST, MODERN]
WAITING = {"name": "test_waiting"}
CHAT: dict[str, Any] = {
    "name": "inference_chat",
    "arguments": {
        "model": "scailabs/echo-1",
        "messages": [{"role": "user", "content": "hello"}],
    },
}


@pytest_asyncio.fixture(scope="module", params=["uvicorn", "hypercorn"])
async def edge(request: pytest.FixtureRequest) -> AsyncIterator[Edge]:
    async with start_edge(Setup(pace=QUICK, engine=request.param)) as running:
        yield running


def with_token(name: str, token: Any = "p") -> dict[str, Any]:
    return {"name": name, "_meta": {"progressToken": token}}


@asynccontextmanager
async def waiting(edge: Edge, client: Client, **more: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Start a call that waits; release it at the end."""
    before = edge.source.running
    edge.source.release.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.rpc("tools/call", WAITING, **more))
        await until(lambda: edge.source.running == before + 1)
        yield task
        edge.source.release.set()


# -- progress ------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("token", ["p", 7])
async def test_progress_comes_before_the_result(edge: Edge, revision: str, token: Any) -> None:
    client = edge.as_("alice", revision)
    reply = await client.rpc("tools/call", with_token("test_tool_with_progress", token))
    assert reply.is_stream
    *progress, answer = reply.events
    assert [event["params"]["progress"] for event in progress] == [0, 50, 100]
    assert {event["params"]["progressToken"] for event in progress} == {token}
    assert {event["params"]["total"] for event in progress} == {100}
    assert answer["result"]["content"][0]["text"] == "Done."
    assert reply.headers["cache-control"] == "no-cache, no-transform"
    assert reply.headers["x-accel-buffering"] == "no"


async def test_without_a_token_there_is_no_progress(edge: Edge) -> None:
    reply = await edge.as_().rpc("tools/call", {"name": "test_tool_with_progress"})
    assert [event["id"] for event in reply.events] == [1] if reply.is_stream else True
    assert reply.result["content"][0]["text"] == "Done."


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
async def test_a_client_that_reads_no_streams_gets_json(edge: Edge, accept: str | None) -> None:
    params = with_token("test_tool_with_progress")
    reply = await edge.as_().rpc("tools/call", params, headers={"accept": accept})
    assert reply.headers["content-type"] == "application/json"
    assert reply.result["content"][0]["text"] == "Done."


async def test_a_list_with_a_token_is_answered_as_json(edge: Edge) -> None:
    reply = await edge.as_().rpc("tools/list", {"_meta": {"progressToken": 1}})
    assert not reply.is_stream


# -- heartbeats ----------------------------------------------------------------------------------


async def test_a_silent_call_rises_in_small_steps(edge: Edge) -> None:
    edge.source.release.clear()
    async with opened(edge.as_(), "tools/call", with_token("test_waiting")) as stream:
        beats = [await stream.event() for _ in range(3)]
        edge.source.release.set()
        rest = await stream.rest()
    assert [beat["params"]["progress"] for beat in beats] == [0.001, 0.002, 0.003]
    assert rest[-1]["result"]["content"][0]["text"] == "Released."


async def test_a_silent_call_without_a_token_is_kept_alive_by_comments(edge: Edge) -> None:
    edge.source.release.clear()
    async with opened(edge.as_(), "tools/call", WAITING) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        await stream.comment()
        await stream.comment()
        edge.source.release.set()
        assert (await stream.event())["result"]["isError"] is False
        assert await stream.event() is None


@pytest.mark.parametrize("accept", ["application/json", "*/*", None])
async def test_a_client_that_names_no_stream_waits_for_json(edge: Edge, accept: str | None) -> None:
    client = edge.as_()
    async with waiting(edge, client, headers={"accept": accept}) as task:
        await asyncio.wait([task], timeout=0.06)
        assert not task.done()
    reply = task.result()
    assert reply.headers["content-type"] == "application/json"
    assert reply.result["content"][0]["text"] == "Released."


async def test_a_quick_call_is_answered_as_json(edge: Edge) -> None:
    reply = await edge.as_().rpc("tools/call", with_token("test_simple_text"))
    assert not reply.is_stream


# -- a client that leaves ------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [LATEST, MODERN])
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "application/json"])
async def test_a_closed_connection_ends_the_call(edge: Edge, revision: str, accept: str) -> None:
    cancelled = edge.source.cancelled
    edge.source.release.clear()
    client = edge.as_("alice", revision)
    task = asyncio.get_running_loop().create_task(
        client.rpc("tools/call", WAITING, headers={"accept": accept})
    )
    await until(lambda: edge.source.running == 1)
    task.cancel()
    await until(lambda: edge.source.cancelled == cancelled + 1)
    assert edge.source.running == 0


async def test_a_stream_closed_after_its_first_event_ends_the_call(edge: Edge) -> None:
    cancelled = edge.source.cancelled
    edge.source.release.clear()
    async with opened(
        edge.as_("alice", MODERN), "tools/call", with_token("test_waiting")
    ) as stream:
        assert (await stream.event())["method"] == "notifications/progress"
    await until(lambda: edge.source.cancelled == cancelled + 1)


async def test_a_closed_connection_ends_every_call_of_a_batch(edge: Edge) -> None:
    cancelled = edge.source.cancelled
    edge.source.release.clear()
    body = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": WAITING}
        for number in range(3)
    ]
    task = asyncio.get_running_loop().create_task(edge.as_("alice", "2025-03-26").send(body))
    await until(lambda: edge.source.running == 3)
    task.cancel()
    await until(lambda: edge.source.cancelled == cancelled + 3)


# -- a client that cancels -----------------------------------------------------------------------


async def cancel(client: Client, session: str | None, target: Any) -> None:
    body = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": target, "reason": "changed my mind"},
    }
    reply = await client.send(body, headers={"mcp-session-id": session})
    assert (reply.status, reply.content) == (202, b"")


async def session_of(client: Client) -> str:
    return str((await client.initialize()).headers["mcp-session-id"])


@pytest.mark.parametrize("target", [5, "five"])
async def test_a_cancelled_request_ends_and_is_not_answered(edge: Edge, target: Any) -> None:
    client = edge.as_()
    session = await session_of(client)
    cancelled = edge.source.cancelled
    headers = {"mcp-session-id": session, "accept": "application/json"}
    async with waiting(edge, client, message_id=target, headers=headers) as task:
        await cancel(client, session, target)
        await until(lambda: edge.source.cancelled == cancelled + 1)
        reply = await task
    assert (reply.status, reply.content) == (202, b"")


async def test_a_cancelled_stream_ends_without_a_result(edge: Edge) -> None:
    client = edge.as_()
    session = await session_of(client)
    edge.source.release.clear()
    async with opened(
        client, "tools/call", with_token("test_waiting"), headers={"mcp-session-id": session}
    ) as stream:
        assert (await stream.event())["method"] == "notifications/progress"
        await cancel(client, session, 1)
        assert all(event["method"] == "notifications/progress" for event in await stream.rest())


async def test_what_does_not_name_the_request_cancels_nothing(edge: Edge) -> None:
    client, other = edge.as_(), edge.as_("bob")
    session, second = await session_of(client), await session_of(client)
    theirs = await session_of(other)
    headers = {"mcp-session-id": session}
    async with waiting(edge, client, message_id=5, headers=headers) as task:
        await cancel(client, session, "5")
        await cancel(client, session, 6)
        await cancel(client, session, None)
        await cancel(client, second, 5)
        await cancel(client, None, 5)
        await cancel(other, theirs, 5)
        body = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": []}
        assert (await client.send(body, headers=headers)).status == 202
        assert not task.done()
    assert task.result().result["content"][0]["text"] == "Released."
    await cancel(client, session, 5)


async def test_a_cancellation_in_a_batch_counts(edge: Edge) -> None:
    client = edge.as_("alice", "2025-03-26")
    session = str((await client.initialize("2025-03-26")).headers["mcp-session-id"])
    headers = {"mcp-session-id": session, "accept": "application/json"}
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    async with waiting(edge, client, message_id=5, headers=headers) as task:
        reply = await client.send([notice], headers={"mcp-session-id": session})
        assert reply.status == 202
        assert (await task).status == 202


# -- as far as the platform ----------------------------------------------------------------------


@pytest_asyncio.fixture(scope="module")
async def tap() -> AsyncIterator[Wiretap]:
    async with serve_platform() as served, tapped("127.0.0.1", served.port) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def far(database_url: str, redis_url: str, tap: Wiretap) -> AsyncIterator[World]:
    """A gateway whose platform is behind the wiretap."""
    async with start_world(database_url, redis_url, PLATFORM_URL=tap.url) as running:
        yield running


@pytest.mark.parametrize("revision", [LATEST, MODERN])
async def test_a_closed_connection_aborts_the_platform_call(
    far: World, tap: Wiretap, revision: str
) -> None:
    client = far.as_("tenant_user", revision)
    assert (await client.call("me_get")).value
    tap.hold(b"POST /v1/inference/chat")
    task = asyncio.get_running_loop().create_task(client.rpc("tools/call", CHAT))
    async with asyncio.timeout(30):
        await tap.caught.wait()
        assert not tap.released.is_set()
        task.cancel()
        await tap.released.wait()


async def test_a_cancelled_request_aborts_the_platform_call(far: World, tap: Wiretap) -> None:
    client = far.as_("tenant_user")
    session = await session_of(client)
    tap.hold(b"POST /v1/inference/chat")
    headers = {"mcp-session-id": session}
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(client.rpc("tools/call", CHAT, message_id=3, headers=headers))
        await tap.caught.wait()
        await cancel(client, session, 3)
        await tap.released.wait()
        reply = await task
    assert (reply.status, reply.content) == (202, b"")


async def test_an_undisturbed_call_passes_the_wiretap(far: World, tap: Wiretap) -> None:
    tap.hold(b"POST /v1/inference/nothing")
    called = await far.as_("tenant_user").call(CHAT["name"], CHAT["arguments"])
    assert called.value["content"] == "echo: hello"
    assert not tap.caught.is_set()
