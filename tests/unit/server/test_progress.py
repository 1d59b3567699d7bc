"""Progress on the answer's own stream."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.server.exchange import Exchange
from scaimcp.server.progress import Progress
from tests.unit.server.channel import Channel


def opened(token: int | str = "t") -> tuple[Channel, Progress]:
    channel = Channel()
    return channel, Progress(Exchange(channel.send, "req_1"), token)


def params(channel: Channel) -> list[Any]:
    assert all(event["method"] == "notifications/progress" for event in channel.events)
    return [event["params"] for event in channel.events]


@pytest.mark.parametrize("token", ["t", 7])
async def test_what_a_tool_says_is_passed_on_under_the_clients_token(token: int | str) -> None:
    channel, progress = opened(token)
    await progress.send(0, 100, None)
    await progress.send(50.5, None, "half")
    assert params(channel) == [
        {"progressToken": token, "progress": 0, "total": 100},
        {"progressToken": token, "progress": 50.5, "message": "half"},
    ]


async def test_a_value_that_does_not_rise_is_left_out() -> None:
    channel, progress = opened()
    for value in (1, 1, 0.5, 2):
        await progress.send(value, None, None)
    assert [each["progress"] for each in params(channel)] == [1, 2]


async def test_heartbeats_of_a_silent_tool_rise_in_small_steps() -> None:
    channel, progress = opened()
    for _ in range(3):
        await progress.beat()
    assert [each["progress"] for each in params(channel)] == [0.001, 0.002, 0.003]
    assert all(each["message"] for each in params(channel))


async def test_a_tool_that_speaks_late_goes_on_above_the_heartbeats() -> None:
    channel, progress = opened()
    await progress.beat()
    await progress.send(0, 100, None)
    await progress.send(1, 100, None)
    assert [each["progress"] for each in params(channel)] == [0.001, 1]


async def test_after_own_values_a_heartbeat_is_a_comment() -> None:
    channel, progress = opened()
    await progress.send(0, None, None)
    await progress.beat()
    assert len(params(channel)) == 1
    assert channel.body.endswith(b": keep-alive\n\n")
