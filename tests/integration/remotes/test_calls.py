"""Calls of remote tools: what comes through the gateway is what comes from the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.remotes.models import ServerRow
from tests.integration.remotes.sidebyside import Fleet, direct, dotted, plain, safe, start_fleet
from tests.integration.upstream import support
from tests.waiting import until
from tests.world import MODERN

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", MODERN)
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("add", {"a": 1, "b": 2}),
    ("fail", {}),
    ("add", {"a": "no number"}),
    ("steps", {}),
]


class Servers:
    """One server of each kind, registered."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.upstreams: dict[str, support.Fleet] = {}
        self.rows: dict[str, ServerRow] = {}


@pytest_asyncio.fixture(scope="module")
async def servers(database_url: str, redis_url: str) -> AsyncIterator[Servers]:
    async with (
        support.sdk("both") as modern,
        support.sdk("legacy") as legacy,
        support.sdk("sse") as sse,
        start_fleet(database_url, redis_url, modern.url, legacy.url, sse.url) as fleet,
    ):
        started = Servers(fleet)
        started.upstreams = {"modern": modern, "legacy": legacy, "sse": sse}
        for era, upstream in started.upstreams.items():
            transport = "sse" if era == "sse" else "streamable_http"
            started.rows[era] = await fleet.register(
                upstream.url, era, transport=transport, forward_user_id=era == "modern"
            )
        yield started


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_call_through_the_gateway_says_what_a_direct_one_says(
    servers: Servers, era: str, revision: str
) -> None:
    row = servers.rows[era]
    straight = await direct(servers.fleet.world, servers.upstreams[era].url, era)
    for name, arguments in CALLS:
        expected = plain((await straight.call(name, arguments)).reply.result)
        client = servers.fleet.client(revision)
        reply = (await client.call(dotted(row, name), arguments)).reply
        assert reply.status == 200
        assert plain(reply.result) == expected
        assert ("resultType" in reply.result) is (revision == MODERN)
        meta = reply.result["_meta"]
        assert meta["ai.scailabs.scaimcp/request_id"] == reply.headers["x-request-id"]
        if revision == MODERN:
            assert meta["io.modelcontextprotocol/serverInfo"]["name"] == "scaimcp"


async def test_a_server_of_the_first_transport_is_called(servers: Servers) -> None:
    called = await servers.fleet.client().call(dotted(servers.rows["sse"], "add"), {"a": 2, "b": 3})
    assert called.reply.result["content"][0]["text"] == "5"


async def test_both_names_of_a_tool_are_called_in_every_style(servers: Servers) -> None:
    row = servers.rows["modern"]
    for query in ("", "?names=safe", "?names=dotted"):
        for name in (dotted(row, "add"), safe(row, "add")):
            client = servers.fleet.client()
            called = await client.call(name, {"a": 1, "b": 1}, path=f"/mcp{query}")
            assert called.reply.result["content"][0]["text"] == "2"


async def test_a_tool_is_called_through_tools_call(servers: Servers) -> None:
    arguments = {"name": dotted(servers.rows["legacy"], "add"), "arguments": {"a": 4, "b": 4}}
    called = await servers.fleet.client().call("tools_call", arguments)
    assert called.reply.result["content"][0]["text"] == "8"


async def test_the_servers_own_error_is_told_with_its_number(servers: Servers) -> None:
    called = await servers.fleet.client().call(dotted(servers.rows["legacy"], "add"), {"a": {}})
    assert called.reply.result["isError"] is True


@pytest.mark.row(58)
@pytest.mark.invariant("I1")
async def test_the_callers_bearer_never_leaves_towards_a_server(servers: Servers) -> None:
    fleet = servers.fleet
    token = fleet.world.tokens["tenant_admin"]
    for era in servers.rows:
        called = await fleet.client().call(
            dotted(servers.rows[era], "add"),
            {"a": 1, "b": 2},
            headers={"x-scaigrid-user": "somebody", "traceparent": "00-" + "1" * 32 + "-2-01"},
        )
        assert not called.reply.result["isError"]
        through = [h for _, h in servers.upstreams[era].requests if "x-scaimcp-hops" in h]
        assert through
        for headers in through:
            assert token not in str(headers)
            assert "authorization" not in headers
            assert headers["x-scaimcp-hops"] == "1"
            assert headers.get("x-scaigrid-user") in (
                (None, fleet.user_id) if era == "modern" else (None,)
            )
    assert servers.upstreams["modern"].requests[-1][1]["x-scaigrid-user"] == fleet.user_id


@pytest.mark.row(20)
async def test_hops_are_counted_and_the_third_gateway_refuses(servers: Servers) -> None:
    client, name = servers.fleet.client(), dotted(servers.rows["modern"], "add")
    arguments = {"a": 1, "b": 2}
    called = await client.call(name, arguments, headers={"x-scaimcp-hops": "2"})
    assert not called.reply.result["isError"]
    assert servers.upstreams["modern"].requests[-1][1]["x-scaimcp-hops"] == "3"
    for value in ("3", "12", "-1", "many", "1,1", ""):
        refused = await client.call(name, arguments, headers={"x-scaimcp-hops": value})
        assert refused.reply.status == 508, value
        assert refused.reply.word == "LOOP_DETECTED"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_progress_comes_through_with_the_clients_own_token(
    servers: Servers, era: str
) -> None:
    params = {"_meta": {"progressToken": "mine"}}
    name = dotted(servers.rows[era], "steps")
    reply = (await servers.fleet.client().call(name, {}, params=params)).reply
    steps = [event for event in reply.events if event.get("method") == "notifications/progress"]
    assert steps
    assert {step["params"]["progressToken"] for step in steps} == {"mine"}
    values = [step["params"]["progress"] for step in steps]
    assert values == sorted(set(values))
    assert plain(reply.result)["content"][0]["text"] == "done"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_client_that_leaves_ends_the_call_at_the_server(servers: Servers, era: str) -> None:
    upstream, name = servers.upstreams[era], dotted(servers.rows[era], "linger")
    upstream.started.clear()
    upstream.cancelled.clear()
    running = asyncio.get_running_loop().create_task(servers.fleet.client().call(name))
    await until(lambda: "linger" in upstream.started)
    running.cancel()
    await asyncio.wait([running])
    await until(lambda: upstream.cancelled == ["linger"])


async def test_a_handshake_client_cancels_by_the_requests_id(servers: Servers) -> None:
    upstream, name = servers.upstreams["legacy"], dotted(servers.rows["legacy"], "linger")
    upstream.started.clear()
    upstream.cancelled.clear()
    client = await servers.fleet.legacy()
    running = asyncio.get_running_loop().create_task(client.call(name, message_id=77))
    await until(lambda: "linger" in upstream.started)
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 77}}
    assert (await client.send(note)).status == 202
    await until(lambda: upstream.cancelled == ["linger"])
    assert (await running).reply.status == 202
