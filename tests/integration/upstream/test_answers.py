"""What a server may answer, byte by byte, and what becomes of it."""

from __future__ import annotations

import asyncio
import gzip
import resource
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.outbound import GuardedHttp
from scaimcp.upstream.client import LegacySession, ModernSession
from scaimcp.upstream.errors import (
    AuthenticationError,
    McpError,
    RateLimitedError,
    SessionUnknown,
    UpstreamError,
)
from scaimcp.upstream.request import Ask, Handshake, call_tool
from tests.integration.rawserver import (
    Play,
    RawServer,
    Writer,
    eventually,
    raw,
    reply,
    reset,
    serve_raw,
)
from tests.integration.upstream.support import Heard, guarded, opener, target

CALL = msgspec.structs.replace(call_tool("add", b"{}"), seconds=10.0)
EVENTS = "text/event-stream"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024


@pytest_asyncio.fixture(scope="module")
async def http() -> AsyncIterator[GuardedHttp]:
    async with guarded() as http:
        yield http


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RawServer]:
    async with serve_raw() as server:
        yield server


def number_of(server: RawServer) -> int:
    return int(msgspec.json.decode(server.seen[-1].body)["id"])


def answering(server: RawServer, member: bytes, *lines: str, status: int = 200) -> Play:
    """Answer the request that just came with a JSON-RPC message."""

    async def play(writer: Writer) -> None:
        body = b'{"jsonrpc":"2.0","id":%d,%b}' % (number_of(server), member)
        await reply(status, body, *lines)(writer)

    return play


def events(server: RawServer, *datas: bytes) -> Play:
    """Answer with events; ``%d`` in a message stands for the request's id."""

    async def play(writer: Writer) -> None:
        body = b"".join(
            b"data: %b\n\n" % data.replace(b"%d", b"%d" % number_of(server)) for data in datas
        )
        await reply(200, body, content_type=EVENTS)(writer)

    return play


async def modern(http: GuardedHttp, server: RawServer, ask: Ask = CALL) -> Any:
    there = target(f"{server.url}/mcp", authorization="Bearer ntn_example")
    return msgspec.json.decode(await ModernSession(http.session).request(there, ask))


async def refused(http: GuardedHttp, server: RawServer, ask: Ask = CALL) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await modern(http, server, ask)
    return caught.value


def legacy(http: GuardedHttp, server: RawServer, session_id: str | None = "s1") -> LegacySession:
    handshake = Handshake("legacy", "2025-11-25", session_id=session_id)
    return LegacySession(http.session, opener(f"{server.url}/mcp"), handshake)


async def test_a_result_comes_back_byte_for_byte(http: GuardedHttp, server: RawServer) -> None:
    result = b'{"content": [],  "n":1.10,"structuredContent":null,"x":{"y":"\\u00e9"}}'
    server.plays = [answering(server, b'"result":' + result)]
    session = ModernSession(http.session)
    raw_result = await session.request(target(f"{server.url}/mcp"), CALL)
    assert bytes(raw_result) == result


async def test_a_gzipped_answer_is_read(http: GuardedHttp, server: RawServer) -> None:
    async def play(writer: Writer) -> None:
        body = gzip.compress(b'{"id":"%d","result":{"a":1}}' % number_of(server))
        await reply(200, body, "Content-Encoding: gzip")(writer)

    server.plays = [play]
    assert await modern(http, server) == {"a": 1}


async def test_arguments_of_several_megabytes_are_sent(
    http: GuardedHttp, server: RawServer
) -> None:
    server.plays = [answering(server, b'"result":{}')]
    await modern(http, server, call_tool("add", b'{"a":"' + b"x" * (2 * MIB) + b'"}'))
    assert len(server.seen[-1].body) > 2 * MIB


async def test_everything_on_the_stream_before_the_answer_is_passed_on(
    http: GuardedHttp, server: RawServer
) -> None:
    heard = Heard()
    server.plays = [
        events(
            server,
            b'{"method":"notifications/progress","params":{"progress":1}}',
            b'{"method":"notifications/message"}',
            b'{"id":1000000,"result":{"not":"mine"}}',
            b'{"id":"q","method":"sampling/createMessage","params":{}}',
            b'{"id":%d,"result":{"a":1}}',
            b'{"method":"notifications/late"}',
        )
    ]
    ask = msgspec.structs.replace(CALL, listener=heard)
    assert await modern(http, server, ask) == {"a": 1}
    assert heard.notes == [
        ("notifications/progress", {"progress": 1}),
        ("notifications/message", None),
    ]
    # There is no way to answer a server's request in this era.
    assert len(server.seen) == 1


@pytest.mark.row(65)
async def test_the_servers_requests_are_answered_in_the_handshake_era(
    http: GuardedHttp, server: RawServer
) -> None:
    heard = Heard(b'{"action":"decline"}')
    go_on = asyncio.Event()

    async def play(writer: Writer) -> None:
        number = number_of(server)
        asked = b"".join(
            b'data: {"id":"%b","method":"%b","params":{}}\n\n' % (name, method)
            for name, method in (
                (b"p", b"ping"),
                (b"s", b"sampling/createMessage"),
                (b"r", b"roots/list"),
                (b"e", b"elicitation/create"),
            )
        )
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + asked)
        await go_on.wait()
        writer.write(b'data: {"id":%d,"result":{}}\n\n' % number)
        await writer.drain()

    server.plays = [play]
    server.default = reply(202)
    ask = msgspec.structs.replace(CALL, listener=heard)
    session = legacy(http, server)
    running = asyncio.get_running_loop().create_task(
        session.request(target(f"{server.url}/mcp"), ask)
    )
    await eventually(lambda: len(server.seen) == 5)
    go_on.set()
    await running
    answers = [msgspec.json.decode(request.body) for request in server.seen[1:]]
    assert {row["id"]: row.get("result", row.get("error", {}).get("code")) for row in answers} == {
        "p": {},
        "s": -32601,
        "r": -32601,
        "e": {"action": "decline"},
    }
    assert all(request.headers["mcp-session-id"] == "s1" for request in server.seen)
    assert len(heard.questions) == 1


BROKEN: dict[str, tuple[Play, str]] = {
    "HTML": (reply(200, b"<html>", content_type="text/html"), "ProtocolError"),
    "empty": (reply(200, b""), "ProtocolError"),
    "broken JSON": (reply(200, b'{"jsonrpc":"2.0","id":'), "ProtocolError"),
    "another id": (reply(200, {"id": 0, "result": {}}), "ProtocolError"),
    "accepted": (reply(202), "ProtocolError"),
    "no result": (reply(200, {"id": None, "error": None}), "ProtocolError"),
    "truncated events": (
        reply(200, b'data: {"id":1', content_type=EVENTS),
        "ProtocolError",
    ),
    "no HTTP": (raw(b"SSH-2.0-x\r\n\r\n"), "ProtocolError"),
    "no gzip": (reply(200, b"plain", "Content-Encoding: gzip"), "ProtocolError"),
    "reset": (reset(), "ConnectError"),
    "half a body": (
        raw(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"),
        "ConnectError",
    ),
    "announced too large": (
        raw(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n"
        ),
        "ResponseTooLargeError",
    ),
    "one long header": (reply(200, b"{}", f"X-A: {'x' * 70_000}"), "ResponseTooLargeError"),
    "large headers": (
        reply(200, b"{}", *[f"X-{n}: {'x' * 8_000}" for n in range(9)]),
        "ResponseTooLargeError",
    ),
    "many headers": (
        reply(200, b"{}", *[f"X-{n}: x" for n in range(200)]),
        "ResponseTooLargeError",
    ),
    "too deep": (
        reply(200, b'{"id":1,"result":' + b"[" * 70 + b"]" * 70 + b"}"),
        "ResponseTooLargeError",
    ),
    "500": (reply(500, b"oops"), "RemoteServerError"),
    "503": (reply(503, {"error": {"code": 1, "message": "later"}}), "RemoteServerError"),
}


@pytest.mark.row(37, 40, 56)
@pytest.mark.invariant("I6")
@pytest.mark.parametrize("name", list(BROKEN))
async def test_a_broken_answer_may_have_been_carried_out(
    http: GuardedHttp, server: RawServer, name: str
) -> None:
    server.default, code = BROKEN[name]
    error = await refused(http, server)
    assert (error.code, error.was_sent) == (code, True)
    assert len(server.seen) == 1


REFUSALS: dict[str, tuple[Play, str]] = {
    "400": (reply(400, b"bad"), "RemoteClientError"),
    "404": (reply(404, b"", content_type=EVENTS), "RemoteClientError"),
    "401": (reply(401), "AuthenticationError"),
    "403": (reply(403, {"error": {"message": "no"}}), "AuthenticationError"),
    "429": (reply(429), "RateLimitedError"),
    "301": (reply(301, b"", "Location: /new"), "RedirectError"),
    "303": (reply(303, b"", "Location: /new"), "RedirectError"),
    "304": (reply(304), "RedirectError"),
    "307 without Location": (reply(307), "RedirectError"),
    "307 elsewhere": (reply(307, b"", "Location: http://127.0.0.1:1/mcp"), "RedirectError"),
    "308 to another scheme": (reply(308, b"", "Location: https://127.0.0.1/x"), "RedirectError"),
    "307 to nonsense": (reply(307, b"", "Location: http://[x/"), "RedirectError"),
    "307 for ever": (reply(307, b"", "Location: /mcp"), "RedirectError"),
}


@pytest.mark.row(39)
@pytest.mark.parametrize("name", list(REFUSALS))
async def test_a_refusal_was_not_carried_out(
    http: GuardedHttp, server: RawServer, name: str
) -> None:
    server.default, code = REFUSALS[name]
    error = await refused(http, server)
    assert (error.code, error.was_sent) == (code, False)
    assert len(server.seen) == (2 if name == "307 for ever" else 1)


async def test_a_redirect_within_the_origin_is_followed_once_for_a_call(
    http: GuardedHttp, server: RawServer
) -> None:
    server.plays = [reply(308, b"", "Location: /v2?x=1"), answering(server, b'"result":{}')]
    assert await modern(http, server) == {}
    first, second = server.seen
    assert (second.target, second.body) == ("/v2?x=1", first.body)
    assert second.headers["authorization"] == "Bearer ntn_example"


async def test_probes_may_be_redirected_three_times(http: GuardedHttp, server: RawServer) -> None:
    again = reply(307, b"", "Location: /again")
    server.plays = [again, again, again, answering(server, b'"result":{}')]
    assert await modern(http, server, msgspec.structs.replace(CALL, redirects=3)) == {}


async def test_a_credential_does_not_come_back_in_an_error(
    http: GuardedHttp, server: RawServer
) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "key ntn_example?\n"}}
    server.default = reply(400, body)
    error = await refused(http, server)
    assert isinstance(error, McpError)
    assert (error.message, error.jsonrpc_code) == ("key [redacted]?", -32602)


@pytest.mark.parametrize("message", ["", None, 5])
async def test_an_error_without_a_text_has_one_of_ours(
    http: GuardedHttp, server: RawServer, message: Any
) -> None:
    server.default = reply(200, {"error": {"code": "x", "message": message}})
    error = await refused(http, server)
    assert isinstance(error, McpError)
    assert (error.message, error.jsonrpc_code) == ("The server gave no reason.", 0)


async def test_a_challenge_is_kept(http: GuardedHttp, server: RawServer) -> None:
    server.default = reply(401, b"", 'WWW-Authenticate: Bearer scope="x"')
    error = await refused(http, server)
    assert isinstance(error, AuthenticationError)
    assert error.asks_for_bearer
    assert error.challenge == 'Bearer scope="x"'


async def test_retry_after_is_kept(http: GuardedHttp, server: RawServer) -> None:
    server.default = reply(429, b"", "Retry-After: 86400")
    error = await refused(http, server)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 86_400


CONTRADICTIONS = [
    (400, {"error": {"code": -32000, "message": "No session"}}, True),
    (400, {"error": {"code": -32022, "message": "2025-11-25 only"}}, True),
    (404, b"", True),
    (405, b"", True),
    (400, {"error": {"code": -32020, "message": "x"}}, False),
    (404, {"error": {"code": -32601, "message": "x"}}, False),
    (400, {"error": {"code": -32602, "message": "x"}}, False),
    (418, b"", False),
]


@pytest.mark.parametrize(("status", "body", "contradicts"), CONTRADICTIONS)
async def test_an_answer_of_the_other_era_is_noticed(
    http: GuardedHttp, server: RawServer, status: int, body: Any, contradicts: bool
) -> None:
    server.default = reply(status, body)
    assert (await refused(http, server)).contradicts_era is contradicts


@pytest.mark.row(57)
@pytest.mark.parametrize(
    ("status", "body", "is_unknown", "contradicts"),
    [
        (404, b"", True, False),
        (404, {"error": {"code": -32001, "message": "Session not found"}}, True, False),
        (400, {"error": {"code": -32000, "message": "Bad Session ID"}}, True, False),
        (400, {"error": {"code": -32000, "message": "other"}}, False, False),
        (404, {"error": {"code": -32601, "message": "no session tool"}}, False, False),
        (400, {"error": {"code": -32022, "message": "session"}}, False, True),
        (400, {"error": {"code": -32602, "message": "_meta"}}, False, True),
    ],
)
async def test_a_forgotten_session_is_told_from_other_refusals(
    http: GuardedHttp,
    server: RawServer,
    status: int,
    body: Any,
    is_unknown: bool,
    contradicts: bool,
) -> None:
    server.default = reply(status, body)
    with pytest.raises(UpstreamError) as caught:
        await legacy(http, server).request(target(f"{server.url}/mcp"), CALL)
    assert isinstance(caught.value, SessionUnknown) is is_unknown
    assert caught.value.contradicts_era is contradicts
    assert not caught.value.was_sent


async def test_without_a_session_id_a_404_is_a_404(http: GuardedHttp, server: RawServer) -> None:
    server.default = reply(404)
    with pytest.raises(UpstreamError) as caught:
        await legacy(http, server, None).request(target(f"{server.url}/mcp"), CALL)
    assert caught.value.code == "RemoteClientError"


async def hang(writer: Writer) -> None:
    writer.write(HEAD % b"application/json")
    await asyncio.Event().wait()


async def drip(writer: Writer) -> None:
    writer.write(HEAD % b"application/json")
    while True:
        writer.write(b"1\r\n{\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.row(38)
@pytest.mark.parametrize("play", [hang, drip])
async def test_a_server_that_hangs_or_drips_is_left_at_the_deadline(
    http: GuardedHttp, server: RawServer, play: Play
) -> None:
    server.default = play
    error = await refused(http, server, msgspec.structs.replace(CALL, seconds=0.3))
    assert (error.code, error.was_sent) == ("TimeoutError", True)
    await eventually(lambda: server.lost == 1)


async def test_a_session_tells_the_server_that_a_late_call_is_off(
    http: GuardedHttp, server: RawServer
) -> None:
    server.plays = [hang]
    server.default = reply(202)
    session = legacy(http, server)
    with pytest.raises(UpstreamError):
        await session.request(
            target(f"{server.url}/mcp"), msgspec.structs.replace(CALL, seconds=0.1)
        )
    await session.close()
    number = msgspec.json.decode(server.seen[0].body)["id"]
    assert [request.method for request in server.seen] == ["POST", "POST", "DELETE"]
    note = msgspec.json.decode(server.seen[1].body)
    assert note["method"] == "notifications/cancelled"
    assert note["params"] == {"requestId": number, "reason": "deadline"}


async def test_a_server_that_refuses_notifications_or_delete_disturbs_nobody(
    http: GuardedHttp, server: RawServer
) -> None:
    server.default = reply(500)
    session = legacy(http, server)
    with pytest.raises(UpstreamError):
        await session.notify("notifications/x")
    session._announce_cancelled(1, "deadline")
    await session.close()
    session._announce_cancelled(2, "deadline")
    assert server.seen[-1].method == "DELETE"


async def test_a_delete_that_hangs_is_left_after_two_seconds(
    http: GuardedHttp, server: RawServer
) -> None:
    server.default = hang
    session = legacy(http, server)
    session._announce_cancelled(1, "deadline")
    async with asyncio.timeout(5):
        await session.close()


def flood(kind: bytes, chunk: bytes) -> Play:
    """Send `chunk` again and again, a gigabyte at most."""

    async def play(writer: Writer) -> None:
        writer.write(HEAD % kind)
        for _ in range(1024 * MIB // len(chunk)):
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()

    return play


FLOODS = {
    "JSON": flood(b"application/json", b" " * MIB),
    "one event": flood(EVENTS.encode(), b"data: " + b"x" * MIB),
    "many lines": flood(EVENTS.encode(), b"data: x\n" * 1_000),
    "many events": flood(EVENTS.encode(), b"data: {}\n\n" * 10_000),
    "comments": flood(EVENTS.encode(), b": x\n\n" * 10_000),
}


@pytest.mark.row(40)
@pytest.mark.parametrize("name", list(FLOODS))
async def test_an_endless_answer_is_cut_off(
    http: GuardedHttp, server: RawServer, name: str
) -> None:
    server.default = FLOODS[name]
    error = await refused(http, server)
    assert error.code == "ResponseTooLargeError"
    server.default = reply(404)
    assert (await refused(http, server)).code == "RemoteClientError"
    assert server.connections == 2


@pytest.mark.row(40)
async def test_a_gzip_bomb_does_not_fill_the_memory(http: GuardedHttp, server: RawServer) -> None:
    body = gzip.compress(b"[" + b" " * (256 * MIB), 1)
    server.default = reply(200, body, "Content-Encoding: gzip")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = await refused(http, server)
    assert error.code == "ResponseTooLargeError"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024, f"{grown} KiB"


async def test_a_smaller_limit_can_be_asked_for(http: GuardedHttp, server: RawServer) -> None:
    server.default = reply(200, b" " * 2_000)
    error = await refused(http, server, msgspec.structs.replace(CALL, most_bytes=1_000))
    assert error.code == "ResponseTooLargeError"
