"""The client against a server that misbehaves byte by byte. Spec: scaivault 8, 9 (size)."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from scaimcp.outbound import open_http
from scaimcp.scaivault.answers import Answer, UpstreamFailure
from scaimcp.scaivault.client import MOST_BYTES, VaultClient
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.requests import VaultRequest
from scaimcp.scaivault.timing import Timing
from scaimcp.types import Secret
from tests.integration.rawserver import (
    Play,
    RawServer,
    eventually,
    raw,
    reply,
    reset,
    serve_raw,
    waiting,
)

TOKEN = "skt_abcdefgh0123456789"
GET = VaultRequest("GET", "/v1/policies", (("name", "a b"),))
PUT = VaultRequest("PUT", "/v1/secrets/app/db", body=b'{"data":{}}')
POST = VaultRequest("POST", "/v1/secrets/app/db/rotate")


class Clock:
    """Time goes by only where somebody waits."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RawServer]:
    async with serve_raw() as running:
        running.default = reply(200, {"ok": True})
        yield running


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_http("scaimcp/9.9") as session:
        yield session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(http: aiohttp.ClientSession, server: RawServer, clock: Clock) -> VaultClient:
    timing = Timing(clock, sleep=clock.sleep, jitter=lambda most: most)
    return VaultClient(http, server.url + "/", timing=timing)


async def send(client: VaultClient, request: VaultRequest, until: float = 1_060.0) -> Answer:
    return await client.request(request, Secret(TOKEN), {"X-Request-ID": "req_1"}, until)


async def failure(
    client: VaultClient, request: VaultRequest, until: float = 1_060.0
) -> UpstreamFailure:
    with pytest.raises(UpstreamFailure) as caught:
        await send(client, request, until)
    shown = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in shown
    assert "127.0.0.1" not in caught.value.message
    return caught.value


def error(status: int, code: str, *lines: str, **more: Any) -> Play:
    return reply(status, {"error": {"code": code, "message": "Because.", **more}}, *lines)


async def test_a_request_goes_out_as_it_was_made(client: VaultClient, server: RawServer) -> None:
    answer = await send(client, PUT)
    assert answer.decoded() == {"ok": True}
    seen = server.seen[0]
    assert (seen.method, seen.target, seen.body) == (PUT.method, PUT.path, PUT.body)
    assert seen.headers["authorization"] == f"Bearer {TOKEN}"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-request-id"] == "req_1"


async def test_a_query_is_encoded(client: VaultClient, server: RawServer) -> None:
    await send(client, GET)
    assert server.seen[0].target == "/v1/policies?name=a%20b"


async def test_a_write_without_a_body_names_no_type(client: VaultClient, server: RawServer) -> None:
    await send(client, POST)
    assert "content-type" not in server.seen[0].headers


async def test_a_large_body_goes_out_whole(client: VaultClient, server: RawServer) -> None:
    body = b'{"data":"' + b"x" * (1024 * 1024) + b'"}'
    await send(client, VaultRequest("PUT", "/v1/secrets/app/db", body=body))
    assert server.seen[0].body == body


# -- second tries ------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, PUT, POST], ids=lambda request: request.method)
async def test_429_is_waited_for_whatever_the_method(
    client: VaultClient, server: RawServer, clock: Clock, request_: VaultRequest
) -> None:
    server.plays = [error(429, "rate_limited", "Retry-After: 7")] * 2
    assert (await send(client, request_)).status == 200
    assert (clock.slept, len(server.seen)) == ([7.0, 7.0], 3)


async def test_a_third_429_is_passed_on(client: VaultClient, server: RawServer) -> None:
    server.default = error(429, "rate_limited", "Retry-After: 2", request_id="req_up")
    refused = await failure(client, PUT)
    assert (refused.code, refused.retry_after, len(server.seen)) == ("rate_limited", 2, 3)
    assert refused.request_id == "req_up"


@pytest.mark.parametrize("wait", ["11", "Thu, 01 Jan 2099 00:00:00 GMT", "soon", ""])
async def test_a_long_or_unknown_wait_is_the_callers(
    client: VaultClient, server: RawServer, clock: Clock, wait: str
) -> None:
    server.default = error(429, "rate_limited", f"Retry-After: {wait}")
    assert (await failure(client, GET)).code == "rate_limited"
    assert (clock.slept, len(server.seen)) == ([], 1)


async def test_no_wait_goes_beyond_the_deadline(
    client: VaultClient, server: RawServer, clock: Clock
) -> None:
    server.default = error(429, "rate_limited", "Retry-After: 5")
    assert (await failure(client, GET, 1_004.0)).code == "rate_limited"
    assert (clock.slept, len(server.seen)) == ([], 1)


async def test_a_get_is_tried_twice_more_after_503(
    client: VaultClient, server: RawServer, clock: Clock
) -> None:
    server.default = error(503, "service_unavailable")
    assert (await failure(client, GET)).code == "service_unavailable"
    assert (clock.slept, len(server.seen)) == ([0.25, 0.5], 3)


@pytest.mark.parametrize(
    ("status", "sent"), [(500, 2), (501, 1), (502, 2), (503, 3), (504, 2), (507, 1)]
)
async def test_only_a_get_is_tried_again_after_5xx(
    client: VaultClient, server: RawServer, status: int, sent: int
) -> None:
    server.default = reply(status, b"oops", content_type="text/plain")
    for request, expected in ((GET, sent), (PUT, 1), (POST, 1)):
        server.seen.clear()
        refused = await failure(client, request)
        assert (refused.code, refused.status) == ("UPSTREAM_ERROR", status)
        assert str(status) in refused.message
        assert len(server.seen) == expected


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 418, 422])
async def test_a_refusal_is_passed_on_at_once(
    client: VaultClient, server: RawServer, status: int
) -> None:
    server.default = error(status, "Some_Code")
    refused = await failure(client, GET)
    assert (refused.code, refused.message, refused.status) == ("some_code", "Because.", status)
    assert (refused.is_coded, len(server.seen)) == (True, 1)


# -- answers that are none ---------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(client: VaultClient, server: RawServer, status: int) -> None:
    async with serve_raw() as elsewhere:
        server.default = reply(status, b"", f"Location: {elsewhere.url}/v1/secrets/app/db")
        refused = await failure(client, GET)
        assert (refused.code, refused.status) == ("UPSTREAM_ERROR", status)
        assert (len(server.seen), elsewhere.seen) == (1, [])


@pytest.mark.parametrize("body", [b"<html></html>", b"", b'{"a":', b'{"a":1}x', b"[" * 5_000])
async def test_a_success_that_is_no_json_is_a_mismatch(
    client: VaultClient, server: RawServer, body: bytes
) -> None:
    server.default = reply(200, body)
    answer = await send(client, GET)
    with pytest.raises(UpstreamFailure, match="cannot be used") as caught:
        answer.decoded()
    assert caught.value.code == "UPSTREAM_SHAPE_MISMATCH"
    assert len(server.seen) == 1


async def test_no_content_is_nothing(client: VaultClient, server: RawServer) -> None:
    server.default = raw(b"HTTP/1.1 204 No Content\r\n\r\n", then_close=False)
    assert (await send(client, GET)).decoded() is None


@pytest.mark.parametrize("request_", [GET, PUT], ids=lambda request: request.method)
async def test_a_body_that_is_cut_short_is_a_mismatch(
    client: VaultClient, server: RawServer, request_: VaultRequest
) -> None:
    server.default = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
    assert (await failure(client, request_)).code == "UPSTREAM_SHAPE_MISMATCH"
    assert len(server.seen) == 1


async def test_a_refusal_that_is_cut_short_has_only_its_status(
    client: VaultClient, server: RawServer
) -> None:
    server.default = raw(b'HTTP/1.1 403 No\r\nContent-Length: 100\r\n\r\n{"error"')
    refused = await failure(client, PUT)
    assert (refused.code, refused.status) == ("UPSTREAM_ERROR", 403)


async def test_an_answer_that_is_no_http_is_a_mismatch(
    client: VaultClient, server: RawServer
) -> None:
    server.default = raw(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    assert (await failure(client, PUT)).code == "UPSTREAM_SHAPE_MISMATCH"


@pytest.mark.parametrize("is_told", [True, False])
async def test_no_more_than_eight_mebibytes_are_read(
    client: VaultClient, server: RawServer, is_told: bool
) -> None:
    length = b"Content-Length: %d\r\n" % (MOST_BYTES + 1) if is_told else b""
    head = b"HTTP/1.1 200 OK\r\n" + length + b"Connection: close\r\n\r\n"
    server.default = raw(head + b" " * (MOST_BYTES + 1))
    with pytest.raises(VaultError) as caught:
        await send(client, GET)
    assert caught.value.code == "RESULT_TOO_LARGE"
    assert len(server.seen) == 1


async def test_eight_mebibytes_are_read(client: VaultClient, server: RawServer) -> None:
    server.default = reply(200, b'"' + b"x" * (MOST_BYTES - 2) + b'"')
    assert len((await send(client, GET)).body) == MOST_BYTES


# -- no answer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("request_", [GET, PUT], ids=lambda request: request.method)
async def test_nobody_there_is_tried_once_more(
    http: aiohttp.ClientSession, clock: Clock, request_: VaultRequest
) -> None:
    async with serve_raw() as gone:
        url = gone.url
    timing = Timing(clock, sleep=clock.sleep, jitter=lambda most: most)
    refused = await failure(VaultClient(http, url, timing=timing), request_)
    assert (refused.code, clock.slept) == ("UPSTREAM_UNREACHABLE", [0.25])
    assert "applied" not in refused.message


@pytest.mark.parametrize(("request_", "sent"), [(GET, 2), (PUT, 1), (POST, 1)])
async def test_a_broken_connection_is_tried_again_for_get_only(
    client: VaultClient, server: RawServer, request_: VaultRequest, sent: int
) -> None:
    server.default = reset()
    refused = await failure(client, request_)
    assert (refused.code, len(server.seen)) == ("UPSTREAM_UNREACHABLE", sent)
    assert ("may or may not have been applied" in refused.message) == (request_ is not GET)


@pytest.mark.parametrize(("request_", "sent"), [(GET, 2), (PUT, 1)])
async def test_a_silent_server_times_out(
    http: aiohttp.ClientSession, server: RawServer, clock: Clock, request_: VaultRequest, sent: int
) -> None:
    timing = Timing(clock, sleep=clock.sleep, jitter=lambda most: most)
    client = VaultClient(http, server.url, timeout_seconds=0.5, timing=timing)
    server.default = waiting(asyncio.Event(), reply())
    refused = await failure(client, request_)
    assert (refused.code, len(server.seen)) == ("UPSTREAM_TIMEOUT", sent)
    assert ("may or may not have been applied" in refused.message) == (request_ is not GET)


async def test_a_connection_that_was_closed_is_not_used_again(
    client: VaultClient, server: RawServer
) -> None:
    server.plays = [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")]
    await send(client, GET)
    await send(client, GET)
    assert server.connections == 2


@pytest.mark.parametrize("request_", [GET, PUT], ids=lambda request: request.method)
async def test_a_cancelled_call_ends_its_request(
    client: VaultClient, server: RawServer, request_: VaultRequest, told: Any
) -> None:
    server.default = waiting(asyncio.Event(), reply())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(send(client, request_))
        await eventually(lambda: len(server.seen) == 1)
        running.cancel()
    await eventually(lambda: server.lost == 1)
    lines = told()
    assert ("outcome unknown" in lines) == (request_ is PUT)
    assert TOKEN not in lines


async def test_no_more_requests_at_once_than_wished(
    http: aiohttp.ClientSession, server: RawServer
) -> None:
    client = VaultClient(http, server.url, at_once=2)
    release = asyncio.Event()
    server.default = waiting(release, reply(200, {}))
    until = client.timing.monotonic() + 60
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(send(client, GET, until)) for _ in range(5)]
        await eventually(lambda: len(server.seen) == 2)
        # Time for a third request, if there were one.
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(server.seen) == 2
        release.set()
    assert [task.result().status for task in running] == [200] * 5
