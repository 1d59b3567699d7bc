"""HTTP+SSE of 2024-11-05 with servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.outbound import GuardedHttp
from scaimcp.upstream.errors import SessionUnknown, UpstreamError
from scaimcp.upstream.opening import open_session
from scaimcp.upstream.request import Ask, Session, call_tool
from tests.integration.rawserver import Play, RawServer, Writer, eventually, raw, reply, serve_raw
from tests.integration.upstream.support import Heard, guarded, opening, target

CALL = msgspec.structs.replace(call_tool("add", b"{}"), seconds=5.0)
EVENTS = "text/event-stream"


class Stream:
    """A server whose stream the test writes to."""

    def __init__(self, server: RawServer) -> None:
        self.raw = server
        self.url = f"{server.url}/sse"
        self.endpoint = "/messages?s=1"
        self.writer: Writer | None = None
        self.post: Play = reply(202)
        self.shakes = True
        self._played = 0
        self.ended = asyncio.Event()
        server.default = self.play

    async def play(self, writer: Writer) -> None:
        # Plays start in the order in which their requests came.
        request = self.raw.seen[self._played]
        self._played += 1
        if request.method == "GET":
            self.writer = writer
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
            writer.write(b"event: endpoint\ndata: " + self.endpoint.encode() + b"\n\n")
            await writer.drain()
            await self.ended.wait()
            writer.close()
            return
        message = msgspec.json.decode(request.body)
        if self.shakes and message.get("method") == "initialize":
            await self.say({"id": message["id"], "result": {"protocolVersion": "2024-11-05"}})
            await reply(202)(writer)
            return
        if message.get("method", "").startswith("notifications/"):
            await reply(202)(writer)
            return
        await self.post(writer)

    async def say(self, message: Any) -> None:
        data = message if isinstance(message, bytes) else msgspec.json.encode(message)
        assert self.writer is not None
        self.writer.write(b"data: " + data + b"\n\n")
        await self.writer.drain()

    def asked(self, method: str = "tools/call") -> list[Any]:
        """The requests of one method that have come."""
        bodies = [msgspec.json.decode(r.body) for r in self.raw.seen if r.method == "POST"]
        return [body for body in bodies if body.get("method") == method]

    def answered(self) -> list[Any]:
        """What the client answered to requests of ours."""
        bodies = [msgspec.json.decode(r.body) for r in self.raw.seen if r.method == "POST"]
        return [body for body in bodies if "method" not in body]


@pytest_asyncio.fixture
async def stream() -> AsyncIterator[Stream]:
    async with serve_raw() as server:
        yield Stream(server)


@pytest_asyncio.fixture(scope="module")
async def http() -> AsyncIterator[GuardedHttp]:
    async with guarded() as http:
        yield http


@pytest_asyncio.fixture
async def session(http: GuardedHttp, stream: Stream) -> AsyncIterator[Session]:
    async with open_session(http.session, opening(stream.url, transport="sse")) as session:
        yield session


def call(session: Session, stream: Stream, **more: Any) -> asyncio.Task[Any]:
    ask = msgspec.structs.replace(CALL, **more)
    return asyncio.get_running_loop().create_task(session.request(target(stream.url), ask))


async def refused(call: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await call
    return caught.value


async def refused_opening(http: GuardedHttp, stream: Stream, **more: Any) -> str:
    async def opened() -> None:
        async with open_session(http.session, opening(stream.url, transport="sse", **more)):
            pass

    return (await refused(opened())).code


@pytest.mark.row(51)
@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:1/messages", "https://127.0.0.1/m", "//evil.example/m", "http://[x/"],
)
async def test_an_endpoint_of_another_origin_is_forbidden(
    http: GuardedHttp, stream: Stream, endpoint: str
) -> None:
    stream.endpoint = endpoint
    assert await refused_opening(http, stream) == "EndpointForbiddenError"
    assert len(stream.raw.seen) == 1


async def test_an_absolute_endpoint_of_the_same_origin_is_used(
    http: GuardedHttp, stream: Stream
) -> None:
    stream.endpoint = f"{stream.raw.url}/m?s=2"
    async with open_session(http.session, opening(stream.url, transport="sse")) as session:
        assert session.handshake.session_id == stream.endpoint
    assert {request.target for request in stream.raw.seen} == {"/sse", "/m?s=2"}


@pytest.mark.parametrize(
    ("play", "code"),
    [
        (reply(404), "RemoteClientError"),
        (reply(401), "AuthenticationError"),
        (reply(200, b"{}"), "ProtocolError"),
        (reply(200, b"", content_type=EVENTS), "ProtocolError"),
        (reply(200, b"data: {}\n\n", content_type=EVENTS), "ProtocolError"),
        (
            raw(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n:"
            ),
            "ConnectError",
        ),
    ],
)
async def test_a_stream_that_names_no_endpoint_is_refused(
    http: GuardedHttp, stream: Stream, play: Play, code: str
) -> None:
    stream.raw.default = play
    assert await refused_opening(http, stream) == code


async def test_the_handshake_has_a_deadline(http: GuardedHttp, stream: Stream) -> None:
    stream.shakes = False
    assert await refused_opening(http, stream, seconds=0.1) == "TimeoutError"

    async def hang(writer: Writer) -> None:
        await asyncio.Event().wait()

    stream.raw.default = hang
    assert await refused_opening(http, stream, seconds=0.1) == "TimeoutError"


async def test_answers_find_their_calls_in_any_order(session: Session, stream: Stream) -> None:
    first, second = call(session, stream), call(session, stream)
    await eventually(lambda: len(stream.asked()) == 2)
    one, other = stream.asked()
    await stream.say({"id": 999, "result": {}})
    await stream.say({"id": "x", "result": {}})
    await stream.say([{"id": str(other["id"]), "result": {"n": 2}}])
    await stream.say({"id": one["id"], "result": {"n": 1}})
    assert bytes(await first) != bytes(await second)


async def test_progress_goes_to_the_call_it_names(session: Session, stream: Stream) -> None:
    heard = [Heard(), Heard()]
    calls = [call(session, stream, is_progress_wanted=True, listener=one) for one in heard]
    await eventually(lambda: len(stream.asked()) == 2)
    by_id = sorted(stream.asked(), key=lambda body: body["id"])
    for body in by_id:
        params = {"progressToken": body["id"], "progress": body["id"]}
        await stream.say({"method": "notifications/progress", "params": params})
    await stream.say({"method": "notifications/x", "params": []})
    await stream.say({"method": "notifications/y"})
    for body in by_id:
        await stream.say({"id": body["id"], "result": {}})
    await asyncio.gather(*calls)
    assert [len(one.notes) for one in heard] == [1, 1]
    assert heard[0].progress() != heard[1].progress()


async def test_a_question_goes_to_the_only_call_and_to_none_of_several(
    session: Session, stream: Stream
) -> None:
    heard = Heard(b'{"action":"decline"}')
    running = [call(session, stream, listener=heard)]
    await eventually(lambda: len(stream.asked()) == 1)
    await stream.say({"id": "q1", "method": "elicitation/create", "params": {}})
    await eventually(lambda: len(stream.answered()) == 1)
    assert stream.answered()[0]["result"] == {"action": "decline"}
    running.append(call(session, stream, listener=heard))
    await eventually(lambda: len(stream.asked()) == 2)
    await stream.say({"id": "q2", "method": "elicitation/create", "params": {}})
    await stream.say({"id": "q3", "method": "ping"})
    await eventually(lambda: len(stream.answered()) == 3)
    codes = {row["id"]: row.get("error", {}).get("code") for row in stream.answered()[1:]}
    assert codes == {"q2": -32601, "q3": None}
    for body in stream.asked():
        await stream.say({"id": body["id"], "result": {}})
    await asyncio.gather(*running)
    assert len(heard.questions) == 1


async def test_a_stream_that_ends_fails_what_waits_and_the_session(
    session: Session, stream: Stream
) -> None:
    running = call(session, stream)
    await eventually(lambda: len(stream.asked()) == 1)
    stream.ended.set()
    error = await refused(running)
    assert (error.code, error.was_sent) == ("ConnectError", True)
    assert not session.is_usable
    assert isinstance(await refused(call(session, stream)), SessionUnknown)
    assert len(stream.asked()) == 1


@pytest.mark.parametrize("data", [b"{broken", b'{"id":1,"method":5}'])
async def test_what_is_no_json_rpc_ends_the_session(
    session: Session, stream: Stream, data: bytes
) -> None:
    running = call(session, stream)
    await eventually(lambda: len(stream.asked()) == 1)
    await stream.say(data)
    assert (await refused(running)).code == "ProtocolError"
    assert not session.is_usable


async def test_a_stream_cut_within_a_chunk_is_a_broken_connection(
    session: Session, stream: Stream
) -> None:
    running = call(session, stream)
    await eventually(lambda: len(stream.asked()) == 1)
    assert stream.writer is not None
    stream.writer.transport.abort()
    assert (await refused(running)).code == "ConnectError"


@pytest.mark.parametrize(
    ("result", "limits"),
    [
        (b'{"a":"' + b"x" * 2_000 + b'"}', {"most_bytes": 1_000}),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", {}),
    ],
)
async def test_a_result_over_the_calls_own_limits_fails_that_call_only(
    session: Session, stream: Stream, result: bytes, limits: dict[str, int]
) -> None:
    running = call(session, stream, **limits)
    await eventually(lambda: len(stream.asked()) == 1)
    await stream.say(b'{"id":%d,"result":%b}' % (stream.asked()[0]["id"], result))
    assert (await refused(running)).code == "ResponseTooLargeError"
    assert session.is_usable


@pytest.mark.parametrize(
    ("post", "code", "is_unknown"),
    [
        (reply(404), "ProtocolError", True),
        (reply(429), "RateLimitedError", False),
        (reply(500), "RemoteServerError", False),
        (reply(302), "RedirectError", False),
    ],
)
async def test_a_refused_message_fails_its_call(
    session: Session, stream: Stream, post: Play, code: str, is_unknown: bool
) -> None:
    stream.post = post
    error = await refused(call(session, stream))
    assert error.code == code
    assert isinstance(error, SessionUnknown) is is_unknown


async def test_late_and_cancelled_calls_are_called_off(session: Session, stream: Stream) -> None:
    error = await refused(call(session, stream, seconds=0.1))
    assert (error.code, error.was_sent) == ("TimeoutError", True)
    running = call(session, stream)
    await eventually(lambda: len(stream.asked()) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(lambda: len(stream.asked("notifications/cancelled")) == 2)
    ids = [body["params"]["requestId"] for body in stream.asked("notifications/cancelled")]
    assert ids == [body["id"] for body in stream.asked()]
    for number in ids:
        await stream.say({"id": number, "result": {}})


async def test_closing_fails_what_still_waits(http: GuardedHttp, stream: Stream) -> None:
    async with open_session(http.session, opening(stream.url, transport="sse")) as session:
        running = call(session, stream)
        await eventually(lambda: len(stream.asked()) == 1)
    assert (await refused(running)).was_sent
    await eventually(lambda: stream.raw.lost == 1)


async def test_a_long_stream_of_small_talk_does_not_end_the_session(
    session: Session, stream: Stream
) -> None:
    assert stream.writer is not None
    for _ in range(40):
        stream.writer.write(b": " + b"x" * 1_000_000 + b"\n\n")
        await stream.writer.drain()
    running = call(session, stream)
    await eventually(lambda: len(stream.asked()) == 1)
    await stream.say({"id": stream.asked()[0]["id"], "result": {"a": 1}})
    assert msgspec.json.decode(await running) == {"a": 1}
    assert await refused(session.request(target(stream.url), Ask("x", seconds=0.05)))
