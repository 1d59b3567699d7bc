"""The stream that tells of changed lists."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from scaimcp.errors import RequestRefused
from scaimcp.server.exchange import Exchange
from scaimcp.server.rendering import Renderer
from scaimcp.server.revisions import V2026_07_28
from scaimcp.server.subscriptions import ANNOUNCED, Limits, Subscriptions
from tests.fakes.callers import caller
from tests.unit.server.channel import Channel
from tests.waiting import until

TAG = "io.modelcontextprotocol/subscriptionId"
SURFACES = frozenset({"tools", "resources", "prompts"})
WANTS_TOOLS = {"toolsListChanged": True}


def subscriptions(**limits: Any) -> Subscriptions:
    return Subscriptions(SURFACES, Renderer("scaimcp", "1"), Limits(**limits))


@asynccontextmanager
async def listening(
    streams: Subscriptions,
    wanted: dict[str, Any] | None = None,
    tenant: str = "tnt_1",
    message_id: bytes = b"7",
) -> AsyncIterator[Channel]:
    """Open a stream, wait for its acknowledgement, cancel it at the end if it still runs."""
    channel = Channel()
    exchange = Exchange(channel.send, "req_1")
    task = asyncio.get_running_loop().create_task(
        streams.listen(
            exchange,
            message_id,
            caller(tenant_id=tenant),
            WANTS_TOOLS if wanted is None else wanted,
            V2026_07_28,
        )
    )
    try:
        await until(lambda: task.done() or len(channel.sent) > 1)
        yield channel
    finally:
        task.cancel()
        await asyncio.wait([task])


def methods(channel: Channel) -> list[str]:
    return [event.get("method", "result") for event in channel.events]


async def test_the_first_frame_acknowledges_what_will_be_told() -> None:
    wanted = {"toolsListChanged": True, "promptsListChanged": True, "other": True}
    async with listening(subscriptions(), wanted) as channel:
        assert channel.events == [
            {
                "jsonrpc": "2.0",
                "method": "notifications/subscriptions/acknowledged",
                "params": {"notifications": {"toolsListChanged": True}, "_meta": {TAG: 7}},
            }
        ]


async def test_a_change_is_told_with_the_subscriptions_id() -> None:
    streams = subscriptions()
    async with listening(streams, message_id=b'"abc"') as channel:
        streams.changed("tnt_1")
        await until(lambda: len(channel.events) == 2)
        assert channel.events[1] == {
            "jsonrpc": "2.0",
            "method": "notifications/tools/list_changed",
            "params": {"_meta": {TAG: "abc"}},
        }


async def test_a_burst_of_changes_is_one_message() -> None:
    streams = subscriptions()
    async with listening(streams) as channel:
        for _ in range(10):
            streams.changed("tnt_1")
        await until(lambda: len(channel.events) == 2)
        streams.close()
        await until(lambda: channel.is_ended)
        assert methods(channel)[1:] == ["notifications/tools/list_changed", "result"]


async def test_another_tenants_change_is_not_told() -> None:
    streams = subscriptions()
    async with listening(streams) as mine, listening(streams, tenant="tnt_2") as theirs:
        streams.changed("tnt_2")
        await until(lambda: len(theirs.events) == 2)
        assert len(mine.events) == 1


@pytest.mark.parametrize(
    "wanted", [{}, {"promptsListChanged": True}, {"toolsListChanged": "yes"}, {"tools": True}]
)
async def test_what_was_not_asked_for_is_not_told(wanted: dict[str, Any]) -> None:
    streams = subscriptions()
    async with listening(streams, wanted) as channel:
        streams.changed("tnt_1")
        streams.close()
        await until(lambda: channel.is_ended)
        assert methods(channel) == ["notifications/subscriptions/acknowledged", "result"]


async def test_a_surface_that_is_not_served_is_not_promised() -> None:
    streams = Subscriptions(frozenset({"prompts"}), Renderer("scaimcp", "1"))
    async with listening(streams) as channel:
        assert channel.events[0]["params"]["notifications"] == {}
    assert {"tools"} == ANNOUNCED


async def test_closing_ends_every_stream_with_a_tagged_result() -> None:
    streams = subscriptions()
    async with listening(streams, message_id=b"1") as first, listening(streams) as second:
        streams.close()
        await until(lambda: first.is_ended and second.is_ended)
        answer = first.events[-1]
        assert answer["id"] == 1
        assert answer["result"]["resultType"] == "complete"
        assert answer["result"]["_meta"][TAG] == 1
        assert "io.modelcontextprotocol/serverInfo" in answer["result"]["_meta"]


async def test_a_stream_that_comes_while_draining_ends_at_once() -> None:
    streams = subscriptions()
    streams.close()
    async with listening(streams) as channel:
        await until(lambda: channel.is_ended)
        assert methods(channel) == ["notifications/subscriptions/acknowledged", "result"]


async def test_a_quiet_stream_is_kept_alive() -> None:
    async with listening(subscriptions(keepalive_seconds=0.005)) as channel:
        await until(lambda: channel.body.count(b": keep-alive\n\n") >= 2)
        assert len(channel.events) == 1


@pytest.mark.parametrize("limit", ["streams", "streams_per_user"])
async def test_one_stream_too_many_is_refused_until_another_ends(limit: str) -> None:
    streams = subscriptions(**{limit: 1})
    async with listening(streams):
        exchange = Exchange(Channel().send, "req_2")
        with pytest.raises(RequestRefused) as caught:
            await streams.listen(exchange, b"1", caller(), WANTS_TOOLS, V2026_07_28)
        assert (caught.value.code, caught.value.http_status) == ("GATEWAY_BUSY", 503)
        assert caught.value.retry_after is not None
        assert exchange.status == 0
    async with listening(streams) as channel:
        assert len(channel.events) == 1


async def test_a_user_with_many_streams_leaves_room_for_others() -> None:
    streams = subscriptions(streams_per_user=1)
    async with listening(streams):
        channel = Channel()
        other = caller(user_id="usr_2")
        task = asyncio.get_running_loop().create_task(
            streams.listen(Exchange(channel.send, "req_2"), b"1", other, WANTS_TOOLS, V2026_07_28)
        )
        await until(lambda: task.done() or len(channel.sent) > 1)
        assert len(channel.events) == 1
        task.cancel()
        await asyncio.wait([task])
