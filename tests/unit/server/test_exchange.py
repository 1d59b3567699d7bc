"""One answer: JSON, or a stream once something has to be said first."""

from __future__ import annotations

import asyncio

import pytest

from scaimcp.errors import GatewayError, ProtocolError, RequestRefused, ToolError
from scaimcp.server.exchange import Exchange, word
from scaimcp.types import Allowance
from tests.unit.server.channel import Channel, Message


def opened() -> tuple[Channel, Exchange]:
    channel = Channel()
    return channel, Exchange(channel.send, "req_1")


async def test_an_answer_is_json_with_its_length_and_request_id() -> None:
    channel, exchange = opened()
    exchange.extra = ((b"vary", b"Origin"),)
    await exchange.json(200, b'{"a":1}')
    assert (channel.status, channel.body) == (200, b'{"a":1}')
    assert channel.headers == {
        b"content-type": b"application/json",
        b"content-length": b"7",
        b"vary": b"Origin",
        b"x-request-id": b"req_1",
    }
    assert exchange.is_done
    assert not exchange.is_streaming


async def test_an_empty_answer_has_no_body() -> None:
    channel, exchange = opened()
    await exchange.empty(202, ((b"allow", b"POST"),))
    assert (channel.status, channel.body) == (202, b"")
    assert channel.headers[b"content-length"] == b"0"
    assert channel.headers[b"allow"] == b"POST"


async def test_the_first_event_makes_the_answer_a_stream_and_json_ends_it() -> None:
    channel, exchange = opened()
    await exchange.keepalive()
    await exchange.notify("notifications/progress", {"progress": 1})
    await exchange.json(400, b'{"id":1}')
    assert channel.status == 200
    assert channel.headers[b"content-type"] == b"text/event-stream"
    assert channel.headers[b"cache-control"] == b"no-cache, no-transform"
    assert channel.headers[b"x-accel-buffering"] == b"no"
    assert channel.body.startswith(b": keep-alive\n\n")
    assert channel.events == [
        {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}},
        {"id": 1},
    ]
    assert channel.is_ended


async def test_a_stream_can_end_without_a_last_word() -> None:
    channel, exchange = opened()
    await exchange.event(b"{}")
    endings = [channel.is_ended]
    await exchange.empty(202)
    endings.append(channel.is_ended)
    assert endings == [False, True]
    assert channel.events == [{}]


async def test_a_refusal_carries_challenge_and_wait() -> None:
    channel, exchange = opened()
    refusal = RequestRefused("RATE_LIMITED", "Wait", http_status=429, retry_after=7)
    refusal.challenge = "Bearer"
    await exchange.refuse(refusal, b"5")
    assert channel.status == 429
    assert channel.headers[b"www-authenticate"] == b"Bearer"
    assert channel.headers[b"retry-after"] == b"7"
    assert channel.json["id"] == 5
    assert channel.json["error"]["data"]["error"]["request_id"] == "req_1"


async def test_a_refusal_without_an_id_says_null() -> None:
    channel, exchange = opened()
    await exchange.refuse(ToolError("X", "y"))
    assert channel.json["id"] is None
    assert b"retry-after" not in channel.headers


async def test_a_refusal_after_the_first_event_is_the_last_event() -> None:
    channel, exchange = opened()
    await exchange.keepalive()
    await exchange.refuse(RequestRefused("AUTH_TOKEN_INVALID", "No", http_status=401), b"1")
    assert channel.status == 200
    assert channel.events[-1]["error"]["data"]["error"]["code"] == "AUTH_TOKEN_INVALID"


async def test_nothing_follows_a_complete_answer() -> None:
    channel, exchange = opened()
    await exchange.json(200, b"{}")
    await exchange.refuse(ToolError("X", "y"))
    assert channel.body == b"{}"
    assert len(channel.sent) == 2


async def test_two_who_speak_at_once_open_the_stream_once() -> None:
    channel, exchange = opened()
    await asyncio.gather(exchange.keepalive(), exchange.event(b"{}"), exchange.keepalive())
    starts = [message["type"] for message in channel.sent].count("http.response.start")
    assert starts == 1
    assert channel.sent[0]["type"] == "http.response.start"


async def test_a_stream_whose_opening_was_cancelled_can_still_answer_as_json() -> None:
    gate = asyncio.Event()
    sent: list[Message] = []

    async def blocked(message: Message) -> None:
        if not gate.is_set():
            await gate.wait()
        sent.append(message)

    exchange = Exchange(blocked, "req_1")
    async with asyncio.TaskGroup() as group:
        speaking = group.create_task(exchange.keepalive())
        await asyncio.sleep(0)
        speaking.cancel()
    gate.set()
    await exchange.json(200, b"{}")
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_a_large_piece_goes_out_as_it_is() -> None:
    channel, exchange = opened()
    large = b'"' + b"x" * 70_000 + b'"'
    await exchange.send(200, (b"[", b"1,", large))
    assert channel.headers[b"content-length"] == str(len(large) + 3).encode()
    sent = [message["body"] for message in channel.sent if "body" in message]
    assert sent == [b"[1,", large]
    assert sent[1] is large
    assert channel.is_ended


async def test_small_pieces_and_streams_are_joined() -> None:
    channel, exchange = opened()
    await exchange.send(200, (b"{", b"}"))
    assert [message["body"] for message in channel.sent if "body" in message] == [b"{}"]
    channel, exchange = opened()
    await exchange.keepalive()
    await exchange.send(200, (b"[", b"1" * 70_000, b"]"))
    assert channel.body.endswith(b"data: [" + b"1" * 70_000 + b"]\n\n")


async def test_what_the_limits_leave_is_told_once_beside_other_headers() -> None:
    channel, exchange = opened()
    exchange.extra = ((b"vary", b"Origin"),)
    exchange.limited(Allowance((("token", 60),), "token", 5, 1))
    exchange.limited(Allowance((("token", 60),), "token", 4, 1))
    await exchange.json(200, b"{}")
    names = [name for name, _ in channel.sent[0]["headers"]]
    assert names.count(b"ratelimit") == names.count(b"ratelimit-policy") == 1
    assert channel.headers[b"ratelimit"] == b'"token";r=4;t=1'
    assert channel.headers[b"vary"] == b"Origin"


async def test_a_refusal_keeps_what_the_limits_leave() -> None:
    channel, exchange = opened()
    exchange.limited(Allowance((("user", 6),), "user", 0, 10, is_refused=True))
    refusal = RequestRefused("RATE_LIMITED", "Wait.", http_status=429, retry_after=10)
    await exchange.refuse(refusal)
    assert channel.status == 429
    assert channel.headers[b"ratelimit"] == b'"user";r=0;t=10'
    assert channel.headers[b"retry-after"] == b"10"
    assert exchange.error == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ToolError("TOOL_NOT_FOUND", "x"), "TOOL_NOT_FOUND"),
        (ProtocolError(-32602, "x"), "-32602"),
        (ProtocolError(-32602, "x", code="TOOL_NOT_FOUND"), "TOOL_NOT_FOUND"),
        (GatewayError("", "x"), ""),
    ],
)
def test_a_failure_has_a_stable_code(error: GatewayError, expected: str) -> None:
    assert word(error) == expected
