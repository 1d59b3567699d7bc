"""Listening streams of each era: what is heard, what is refused, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from scaimcp.outbound import GuardedHttp
from scaimcp.upstream.errors import (
    AuthenticationError,
    EndpointForbiddenError,
    McpError,
    ProtocolError,
    RateLimitedError,
    RemoteServerError,
    ResponseTooLargeError,
    UpstreamError,
    UpstreamTimeout,
)
from scaimcp.upstream.listening import Announcer, NoStreamError, listen
from tests.integration.announcing import CHANGED, HEAD, Player, announcing, event
from tests.integration.rawserver import Play, RawServer, Writer, eventually, raw, reply, serve_raw
from tests.integration.upstream.support import guarded, opener

TOOLS = frozenset({"tools"})


class Heard:
    def __init__(self) -> None:
        self.openings = 0
        self.changes = 0

    def opened(self) -> None:
        self.openings += 1

    def changed(self) -> None:
        self.changes += 1


def announcer(url: str, era: str, **credentials: str) -> Announcer:
    transport = "sse" if era == "sse" else "streamable_http"
    spoken = "modern" if era == "modern" else "legacy"
    return Announcer(opener(url, **credentials), transport, spoken, TOOLS)


@asynccontextmanager
async def listening(
    url: str, era: str, seconds: float = 60.0, **credentials: str
) -> AsyncIterator[tuple[Heard, asyncio.Task[bool]]]:
    """Listen beside the block, which ends it."""
    heard = Heard()
    server = announcer(url, era, **credentials)
    async with guarded() as http:
        task = asyncio.create_task(listen(http.session, server, heard, seconds))
        try:
            yield heard, task
        finally:
            task.cancel()
            await asyncio.wait((task,))


async def listened(http: GuardedHttp, url: str, era: str, seconds: float = 60.0) -> Heard:
    """Listen to the end."""
    heard = Heard()
    await listen(http.session, announcer(url, era), heard, seconds)
    return heard


async def refused(url: str, era: str) -> UpstreamError:
    """Listen to a server that lets nobody."""
    async with guarded() as http:
        with pytest.raises(UpstreamError) as caught:
            await listened(http, url, era)
    return caught.value


# --- the official SDK -------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["modern", "legacy", "sse"])
async def test_a_change_at_a_server_of_the_sdk_is_heard(era: str) -> None:
    async with announcing(era) as server, listening(server.url, era) as (heard, task):
        await eventually(lambda: heard.openings == 1)
        assert heard.changes == 0
        for number in (1, 2):
            await server.announce(0 if era == "modern" else 1)
            await eventually(lambda n=number: heard.changes == n)  # type: ignore[misc]
        assert not task.done()


async def test_the_session_behind_a_stream_is_ended() -> None:
    async with announcing("legacy") as server:
        async with listening(server.url, "legacy") as (heard, _):
            await eventually(lambda: heard.openings == 1)
        assert [method for method, _ in server.fleet.requests] == ["POST", "POST", "GET", "DELETE"]
        sessions = {lines.get("mcp-session-id") for _, lines in server.fleet.requests[1:]}
        assert len(sessions) == 1
        assert None not in sessions


@pytest.mark.parametrize("era", ["modern", "legacy", "sse"])
async def test_only_headers_of_the_registration_go_out(era: str) -> None:
    async with announcing(era) as server:
        async with listening(server.url, era, authorization="Bearer abc") as (heard, _):
            await eventually(lambda: heard.openings == 1)
        for _, lines in server.fleet.requests:
            assert lines["authorization"] == "Bearer abc"
            assert lines["x-scaimcp-hops"] == "1"
            assert "x-scaigrid-user" not in lines


# --- what streams of the handshake era say ----------------------------------------------------


@pytest.fixture(params=["legacy", "sse"])
async def player(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Player, str]]:
    async with serve_raw() as server:
        yield Player(server, is_sse=request.param == "sse"), request.param


@pytest.mark.parametrize("name", ["tools", "resources", "prompts"])
async def test_each_list_counts(player: tuple[Player, str], name: str) -> None:
    server, era = player
    async with listening(server.url, era) as (heard, _):
        await eventually(lambda: heard.openings == 1)
        note = {"jsonrpc": "2.0", "method": f"notifications/{name}/list_changed", "params": {}}
        await server.say(event(note))
        await eventually(lambda: heard.changes == 1)


@pytest.mark.parametrize(
    "said",
    [
        event({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x"}}),
        event({"jsonrpc": "2.0", "method": "notifications/progress", "params": {}}),
        event({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}),
        event({"jsonrpc": "2.0", "id": 7, "result": {"tools": []}}),
        event({"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "x"}}),
        event(b"no JSON at all"),
        event(b"[" * 5_000),
        event(b'{"jsonrpc":"2.0","method":5}'),
        event(CHANGED, "endpoint"),
        event(CHANGED, "ping"),
        b": a comment\n\n",
    ],
)
async def test_nothing_else_has_an_effect(player: tuple[Player, str], said: bytes) -> None:
    server, era = player
    async with listening(server.url, era) as (heard, _):
        await eventually(lambda: heard.openings == 1)
        posts = len(server.posts)
        await server.say(said)
        await server.say(event(CHANGED))
        await eventually(lambda: heard.changes == 1)
        assert len(server.posts) == posts
        assert heard.changes == 1


async def test_requests_are_refused_and_a_ping_is_answered(player: tuple[Player, str]) -> None:
    server, era = player
    asked: list[dict[str, Any]] = [
        {"id": 1, "method": "ping"},
        {"id": "two", "method": "sampling/createMessage", "params": {}},
        {"id": 3, "method": "elicitation/create", "params": {"message": "Really?"}},
        {"id": 4, "method": "roots/list"},
        {"id": 5, "method": "notifications/tools/list_changed"},
    ]
    async with listening(server.url, era) as (heard, _):
        await eventually(lambda: heard.openings == 1)
        for one in asked:
            await server.say(event({"jsonrpc": "2.0", **one}))
        await eventually(lambda: len(server.posts) == 2 + len(asked))
        answers = server.posts[2:]
        assert [answer["id"] for answer in answers] == [1, "two", 3, 4, 5]
        assert answers[0]["result"] == {}
        assert [answer["error"]["code"] for answer in answers[1:]] == [-32601] * 4
        assert heard.changes == 0


async def test_an_answer_that_is_not_taken_ends_nothing(player: tuple[Player, str]) -> None:
    server, era = player
    async with listening(server.url, era) as (heard, _):
        await eventually(lambda: heard.openings == 1)
        server.raw.plays = [reply(500)]
        await server.say(event({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
        await eventually(lambda: not server.raw.plays)
        await server.say(event(CHANGED))
        await eventually(lambda: heard.changes == 1)


async def test_a_batch_is_read(player: tuple[Player, str]) -> None:
    server, era = player
    async with listening(server.url, era) as (heard, _):
        await eventually(lambda: heard.openings == 1)
        await server.say(event(b"[" + CHANGED + b"," + CHANGED + b"]"))
        await eventually(lambda: heard.changes == 2)


# --- how streams end --------------------------------------------------------------------------


async def test_a_connection_lives_for_its_time(player: tuple[Player, str]) -> None:
    server, era = player
    async with listening(server.url, era, 0.3) as (heard, task):
        assert await task is True
        assert heard.openings == 1
        await eventually(lambda: not server.streams)
    assert server.deleted == (era == "legacy")


async def test_a_server_that_ends_its_stream_is_told_apart(player: tuple[Player, str]) -> None:
    server, era = player
    async with listening(server.url, era) as (heard, task):
        await eventually(lambda: heard.openings == 1)
        server.streams[0].close()
        assert await task is False
    assert server.deleted == (era == "legacy")


async def test_a_connection_that_breaks_is_an_error(player: tuple[Player, str]) -> None:
    server, era = player
    chunked = HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    first = event(b"/messages?session=1", "endpoint")

    async def stream(writer: Writer) -> None:
        writer.write(chunked + (b"%x\r\n%b\r\n" % (len(first), first)))
        await writer.drain()
        if era == "sse":
            await eventually(lambda: bool(server.posts))
        writer.transport.abort()

    server.get = stream
    async with listening(server.url, era) as (_, task):
        with pytest.raises(ProtocolError):
            await task


async def test_an_event_over_the_limit_ends_the_stream(player: tuple[Player, str]) -> None:
    server, era = player
    async with listening(server.url, era) as (heard, task):
        await eventually(lambda: heard.openings == 1)
        writing = asyncio.create_task(server.say(b"data: " + b"x" * 1_100_000))
        with pytest.raises(ResponseTooLargeError):
            await task
        await asyncio.wait((writing,))
        assert heard.changes == 0


async def test_a_stream_over_the_limit_ends(player: tuple[Player, str]) -> None:
    server, era = player
    async with listening(server.url, era) as (heard, task):
        await eventually(lambda: heard.openings == 1)
        writing = asyncio.create_task(server.say(b"\n" * 250_000))
        with pytest.raises(ResponseTooLargeError):
            await task
        await asyncio.wait((writing,))


# --- servers without a stream, and other refusals ---------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
async def test_a_session_without_a_stream_is_known_as_such(status: int) -> None:
    async with serve_raw() as server:
        player = Player(server)
        player.get = reply(status)
        assert isinstance(await refused(player.url, "legacy"), NoStreamError)
        assert player.deleted == 1


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        (reply(401), AuthenticationError),
        (reply(403), AuthenticationError),
        (reply(429, b"", "Retry-After: 7"), RateLimitedError),
        (reply(502), RemoteServerError),
        (reply(200, {"jsonrpc": "2.0"}), NoStreamError),
    ],
)
async def test_other_refusals_of_the_stream_keep_their_class(
    play: Play, kind: type[UpstreamError]
) -> None:
    async with serve_raw() as server:
        player = Player(server)
        player.get = play
        assert type(await refused(player.url, "legacy")) is kind


@pytest.mark.parametrize("era", ["modern", "legacy", "sse"])
@pytest.mark.parametrize(
    ("play", "kind"), [(reply(401), AuthenticationError), (reply(503), RemoteServerError)]
)
async def test_a_server_that_refuses_everything(
    era: str, play: Play, kind: type[UpstreamError]
) -> None:
    async with serve_raw() as server:
        server.default = play
        assert type(await refused(f"{server.url}/mcp", era)) is kind


async def test_the_head_may_come_with_the_first_event() -> None:
    release = asyncio.Event()
    async with serve_raw() as server:
        player = Player(server)

        async def late(writer: Writer) -> None:
            await release.wait()
            player.head = HEAD + event(CHANGED)
            await player.stream(writer)

        player.get = late
        async with listening(player.url, "legacy") as (heard, _):
            await eventually(lambda: player.gets == 1)
            assert heard.openings == 0
            release.set()
            await eventually(lambda: heard.changes == 1)
            assert heard.openings == 1


# --- HTTP+SSE ---------------------------------------------------------------------------------


@pytest.fixture
async def sse() -> AsyncIterator[Player]:
    async with serve_raw() as server:
        yield Player(server, is_sse=True)


async def test_an_endpoint_of_another_origin_is_refused(sse: Player) -> None:
    sse.get = raw(HEAD + event(b"https://elsewhere.example/messages", "endpoint"))
    assert isinstance(await refused(sse.url, "sse"), EndpointForbiddenError)
    assert sse.posts == []


async def test_a_stream_that_ends_before_the_handshake_is_no_stream(sse: Player) -> None:
    sse.get = raw(HEAD + event(b"/messages", "endpoint"))
    sse.raw.plays = []
    assert isinstance(await refused(sse.url, "sse"), ProtocolError)


async def test_news_during_the_handshake_counts(sse: Player) -> None:
    sse.head = HEAD
    told = event(b"/messages?session=1", "endpoint") + event(CHANGED)

    async def stream(writer: Writer) -> None:
        writer.write(HEAD + told)
        sse.streams.append(writer)
        await writer.drain()
        await asyncio.Event().wait()

    sse.get = stream
    async with listening(sse.url, "sse") as (heard, _):
        await eventually(lambda: heard.openings == 1 and heard.changes == 1)


@pytest.mark.slow
async def test_a_server_that_names_no_endpoint_in_time_is_given_up(sse: Player) -> None:
    async def stream(writer: Writer) -> None:
        writer.write(HEAD)
        await writer.drain()
        await asyncio.Event().wait()

    sse.get = stream
    assert isinstance(await refused(sse.url, "sse"), UpstreamTimeout)


@pytest.mark.slow
async def test_a_server_that_does_not_answer_the_handshake_is_given_up(sse: Player) -> None:
    async def stream(writer: Writer) -> None:
        writer.write(HEAD + event(b"/messages", "endpoint"))
        await writer.drain()
        await asyncio.Event().wait()

    sse.get = stream
    assert isinstance(await refused(sse.url, "sse"), UpstreamTimeout)


# --- 2026-07-28 -------------------------------------------------------------------------------


class Modern:
    """A raw server of 2026-07-28; `frames` follow the head of the answer."""

    def __init__(self, server: RawServer) -> None:
        self.raw = server
        self.url = f"{server.url}/mcp"
        self.frames: list[Any] = []
        self.is_open = True
        server.default = self.play

    async def play(self, writer: Writer) -> None:
        number = self.asked["id"]
        writer.write(HEAD)
        for frame in self.frames:
            told = {"jsonrpc": "2.0", **frame}
            writer.write(event({**told, "id": number} if told.get("id") is True else told))
        await writer.drain()
        if self.is_open:
            await asyncio.Event().wait()
        writer.close()

    @property
    def asked(self) -> Any:
        return msgspec.json.decode(self.raw.seen[-1].body)


@pytest.fixture
async def modern() -> AsyncIterator[Modern]:
    async with serve_raw() as server:
        yield Modern(server)


def acknowledged(*names: str) -> dict[str, Any]:
    return {
        "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": {f"{name}ListChanged": True for name in names}},
    }


def changed(name: str = "tools") -> dict[str, Any]:
    return {"method": f"notifications/{name}/list_changed", "params": {"_meta": {}}}


async def test_a_subscription_names_what_the_server_declares(modern: Modern) -> None:
    modern.frames = [acknowledged("tools", "prompts"), changed(), changed("prompts")]
    heard = Heard()
    lists = frozenset({"tools", "prompts"})
    async with guarded() as http:
        server = msgspec.structs.replace(announcer(modern.url, "modern"), lists=lists)
        task = asyncio.create_task(listen(http.session, server, heard))
        try:
            await eventually(lambda: heard.changes == 2)
        finally:
            task.cancel()
            await asyncio.wait((task,))
    assert heard.openings == 1
    seen = modern.raw.seen[0]
    assert seen.headers["mcp-protocol-version"] == "2026-07-28"
    assert seen.headers["mcp-method"] == "subscriptions/listen"
    assert "mcp-name" not in seen.headers
    params = modern.asked["params"]
    assert params["notifications"] == {"toolsListChanged": True, "promptsListChanged": True}
    assert params["_meta"]["io.modelcontextprotocol/clientCapabilities"] == {}
    await eventually(lambda: modern.raw.lost == 1)


async def test_other_frames_and_requests_of_a_subscription_have_no_effect(modern: Modern) -> None:
    modern.frames = [
        acknowledged("tools"),
        {"method": "ping", "id": 9},
        {"method": "notifications/tools/list_changed", "id": 9},
        {"method": "notifications/message", "params": {}},
        {"result": {}, "id": 99},
        changed(),
    ]
    async with listening(modern.url, "modern") as (heard, _):
        await eventually(lambda: heard.changes == 1)
        assert len(modern.raw.seen) == 1


async def test_a_result_ends_a_subscription_in_good_order(modern: Modern) -> None:
    modern.frames = [acknowledged("tools"), {"id": True, "result": {"resultType": "complete"}}]
    async with listening(modern.url, "modern") as (heard, task):
        assert await task is False
        assert heard.openings == 1


async def test_a_subscription_that_just_stops_has_ended(modern: Modern) -> None:
    modern.frames = [acknowledged("tools")]
    modern.is_open = False
    async with listening(modern.url, "modern") as (_, task):
        assert await task is False


async def test_a_subscription_lives_for_its_time(modern: Modern) -> None:
    modern.frames = [acknowledged("tools")]
    async with listening(modern.url, "modern", 0.3) as (_, task):
        assert await task is True
        await eventually(lambda: modern.raw.lost == 1)


@pytest.mark.parametrize(
    "acknowledgement",
    [
        acknowledged(),
        acknowledged("prompts"),
        {"method": "notifications/subscriptions/acknowledged"},
        {"method": "notifications/subscriptions/acknowledged", "params": {"notifications": 5}},
        {
            "method": "notifications/subscriptions/acknowledged",
            "params": {"notifications": {"toolsListChanged": "true"}},
        },
    ],
)
async def test_a_server_that_honours_nothing_has_no_stream(
    modern: Modern, acknowledgement: dict[str, Any]
) -> None:
    modern.frames = [acknowledgement]
    assert isinstance(await refused(modern.url, "modern"), NoStreamError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(-32601, NoStreamError), (-32602, NoStreamError), (-32603, McpError), ("x", McpError)],
)
async def test_an_error_that_ends_a_subscription(
    modern: Modern, code: Any, kind: type[UpstreamError]
) -> None:
    modern.frames = [{"id": True, "error": {"code": code, "message": "No."}}]
    assert type(await refused(modern.url, "modern")) is kind


def error(status: int, code: int) -> Play:
    return reply(status, {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": "No."}})


@pytest.mark.parametrize(
    ("play", "kind"),
    [
        (error(404, -32601), NoStreamError),
        (error(400, -32602), NoStreamError),
        (error(200, -32601), NoStreamError),
        (error(200, -32603), McpError),
        (error(400, -32020), McpError),
        (reply(404), NoStreamError),
        (reply(405), NoStreamError),
        (reply(501), NoStreamError),
        (reply(200, b"<html>", content_type="text/html"), ProtocolError),
    ],
)
async def test_a_subscription_that_is_refused(
    modern: Modern, play: Play, kind: type[UpstreamError]
) -> None:
    modern.raw.default = play
    assert type(await refused(modern.url, "modern")) is kind


async def test_a_subscription_that_is_answered_at_once_has_ended(modern: Modern) -> None:
    async def play(writer: Writer) -> None:
        await reply(200, {"jsonrpc": "2.0", "id": modern.asked["id"], "result": {}})(writer)

    modern.raw.default = play
    async with guarded() as http:
        assert (await listened(http, modern.url, "modern")).openings == 0


async def test_a_request_beside_an_answer_in_json_is_left_alone(modern: Modern) -> None:
    async def play(writer: Writer) -> None:
        number = modern.asked["id"]
        asked = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        await reply(200, [asked, {"jsonrpc": "2.0", "id": number, "result": {}}])(writer)

    modern.raw.default = play
    async with guarded() as http:
        assert (await listened(http, modern.url, "modern")).openings == 0
    assert len(modern.raw.seen) == 1
