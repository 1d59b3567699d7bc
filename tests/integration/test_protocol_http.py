"""The bare HTTP request: hosts, origins, verbs, media types, bearers, bodies."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.server.attendant import Pace
from tests.integration.edge import ORIGIN, Allowance, Edge, Setup, start_edge
from tests.streams import opened
from tests.waiting import until
from tests.world import MODERN, Client, World, start_world

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


@pytest_asyncio.fixture(scope="module")
async def edge() -> AsyncIterator[Edge]:
    async with start_edge() as running:
        yield running


async def raw(edge: Edge | World, *parts: bytes) -> bytes:
    """Write to a socket of its own and return all that comes back."""
    host, _, port = edge.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


def head(edge: Edge | World, *lines: str, token: str = "alice") -> bytes:
    """Return a request head that asks the server to close afterwards."""
    host = edge.url.removeprefix("http://")
    fixed = (
        "POST /mcp HTTP/1.1",
        f"Host: {host}",
        "Connection: close",
        "Content-Type: application/json",
        f"Authorization: Bearer {token}",
    )
    return ("\r\n".join((*fixed, *lines)) + "\r\n\r\n").encode("latin-1")


# -- host ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.0.0.1:9"])
async def test_a_named_host_is_served_on_any_port(edge: Edge, host: str) -> None:
    assert (await edge.as_().send(PING, headers={"host": host})).status == 200


@pytest.mark.parametrize("host", ["evil.example.com", "localhost.evil.com", "127.0.0.2", "[::1]"])
async def test_another_host_is_421(edge: Edge, host: str) -> None:
    reply = await edge.as_().send(PING, headers={"host": host})
    assert (reply.status, reply.word) == (421, "MISDIRECTED_REQUEST")
    assert reply.json["id"] is None


# -- origin --------------------------------------------------------------------------------------


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", f"{ORIGIN}.evil.com", ""])
async def test_a_foreign_origin_is_403(edge: Edge, origin: str) -> None:
    for method in ("POST", "OPTIONS"):
        reply = await edge.as_().send(PING, method=method, headers={"origin": origin})
        assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")
        assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize("origin", [ORIGIN, ORIGIN.upper()])
async def test_an_allowed_origin_may_read_the_answer(edge: Edge, origin: str) -> None:
    for token in ("alice", "nobody"):
        reply = await edge.as_(token).send(PING, headers={"origin": origin})
        assert reply.headers["access-control-allow-origin"] == origin
        assert reply.headers["vary"] == "Origin"
        exposed = reply.headers["access-control-expose-headers"].split(", ")
        assert {"mcp-session-id", "www-authenticate", "x-request-id"} <= set(exposed)


async def test_the_gateways_own_origin_is_not_foreign(edge: Edge) -> None:
    reply = await edge.as_().send(PING, headers={"origin": edge.url})
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == edge.url


async def test_without_an_origin_there_are_no_cors_headers(edge: Edge) -> None:
    reply = await edge.as_().send(PING)
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_a_stream_may_be_read_from_an_allowed_origin(edge: Edge) -> None:
    params = {"name": "test_tool_with_progress", "_meta": {"progressToken": 1}}
    client = edge.as_()
    async with opened(client, "tools/call", params, headers={"origin": ORIGIN}) as stream:
        assert stream.response.headers["access-control-allow-origin"] == ORIGIN
        assert len(await stream.rest()) == 4


async def test_a_preflight_is_answered_without_a_bearer(edge: Edge) -> None:
    reply = await edge.as_(None).send(None, method="OPTIONS", headers={"origin": ORIGIN})
    assert (reply.status, reply.content) == (204, b"")
    assert reply.headers["access-control-allow-methods"] == "POST"
    allowed = reply.headers["access-control-allow-headers"].split(", ")
    needed = {"authorization", "content-type", "mcp-protocol-version", "mcp-method", "mcp-name"}
    assert needed <= set(allowed)
    assert reply.headers["access-control-allow-origin"] == ORIGIN


# -- verbs and media types -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_other_verbs_are_405_and_told_what_is_allowed(edge: Edge, method: str) -> None:
    reply = await edge.as_().send(None, method=method, headers={"accept": "text/event-stream"})
    assert (reply.status, reply.word) == (405, "METHOD_NOT_ALLOWED")
    assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "application/json ;x=y"]
)
async def test_json_is_taken_with_any_parameters(edge: Edge, media_type: str) -> None:
    assert (await edge.as_().send(PING, headers={"content-type": media_type})).status == 200


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/jsonp", "multipart/x", ""])
async def test_another_media_type_is_415(edge: Edge, media_type: str | None) -> None:
    reply = await edge.as_().send(PING, headers={"content-type": media_type})
    assert (reply.status, reply.word) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html"])
async def test_a_json_answer_does_not_depend_on_accept(edge: Edge, accept: str | None) -> None:
    reply = await edge.as_().send(LIST, headers={"accept": accept})
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"


# -- bearers -------------------------------------------------------------------------------------


def metadata(edge: Edge | World) -> str:
    return f'resource_metadata="{edge.url}/.well-known/oauth-protected-resource/mcp"'


@pytest.mark.parametrize("authorization", [None, "Basic abc", "Bearer", "Bearer ", ""])
async def test_without_a_bearer_the_challenge_names_no_error(
    edge: Edge, authorization: str | None
) -> None:
    reply = await edge.as_(None).send(PING, headers={"authorization": authorization})
    assert (reply.status, reply.word) == (401, "AUTH_TOKEN_MISSING")
    assert reply.headers["www-authenticate"] == f"Bearer {metadata(edge)}"
    assert reply.json["id"] is None


@pytest.mark.parametrize("token", ["nobody", "two words", "sgk_unknown"])
async def test_a_bad_bearer_is_401_with_the_error(edge: Edge, token: str) -> None:
    reply = await edge.as_(token).send(PING)
    assert (reply.status, reply.word) == (401, "AUTH_TOKEN_INVALID")
    challenge = reply.headers["www-authenticate"]
    assert 'error="invalid_token"' in challenge
    assert metadata(edge) in challenge
    assert token.encode() not in reply.content


async def test_the_scheme_may_be_written_in_any_case(edge: Edge) -> None:
    reply = await edge.as_(None).send(PING, headers={"authorization": "bEARER alice"})
    assert reply.status == 200


async def test_a_suspended_caller_is_403(edge: Edge) -> None:
    reply = await edge.as_("suspended").send(PING)
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")


async def test_a_fault_while_checking_the_bearer_is_not_explained(edge: Edge) -> None:
    reply = await edge.as_("broken").send(PING)
    assert (reply.status, reply.error["code"], reply.word) == (200, -32603, "INTERNAL_ERROR")
    assert b"secret" not in reply.content


async def test_a_token_in_the_query_does_not_count(edge: Edge) -> None:
    reply = await edge.as_(None).send(PING, path="/mcp?access_token=alice&token=alice")
    assert reply.status == 401


async def test_real_bearers_are_checked_at_the_platform(world: World) -> None:
    assert (await world.as_("no_roles").send(PING)).status == 200
    unknown = await world.with_token("sgk_" + "0" * 40).send(PING)
    assert (unknown.status, unknown.word) == (401, "AUTH_TOKEN_INVALID")
    assert metadata(world) in unknown.headers["www-authenticate"]


async def test_a_bearer_that_the_platform_drops_during_a_call_is_401(world: World) -> None:
    client = world.as_("other_tenant_user")
    assert (await client.call("models_list")).value["items"]
    await world.fault(
        {"path": "/v1/models", "http_status": 401, "code": "SESSION_EXPIRED", "count": 1}
    )
    try:
        reply = await client.rpc("tools/call", {"name": "models_list"}, message_id=5)
    finally:
        await world.fault()
    assert (reply.status, reply.word, reply.json["id"]) == (401, "SESSION_EXPIRED", 5)
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]


async def test_the_platform_is_told_the_clients_address_behind_trusted_proxies(
    database_url: str, redis_url: str
) -> None:
    async with start_world(
        database_url,
        redis_url,
        PLATFORM_FORWARD_CLIENT_IP="true",
        SERVER_TRUSTED_PROXIES="127.0.0.0/8",
    ) as near:
        headers = {"x-forwarded-for": "203.0.113.9, 127.0.0.1"}
        reply = await near.as_("tenant_user").rpc(
            "tools/call", {"name": "models_list"}, headers=headers
        )
        assert reply.status == 200
        (call,) = await near.calls("/v1/models")
        assert call["headers"]["x-forwarded-for"] == "203.0.113.9"


@pytest.mark.parametrize("asked", [b"POST /mcp", b"GET /v1/modules/scaimcp/explain"])
async def test_the_first_of_several_address_lines_is_the_clients_own_and_proves_nothing(
    asked: bytes, database_url: str, redis_url: str
) -> None:
    async with start_world(
        database_url,
        redis_url,
        PLATFORM_FORWARD_CLIENT_IP="true",
        SERVER_TRUSTED_PROXIES="127.0.0.0/8",
    ) as near:
        hops = ("198.51.100.66", "203.0.113.9", "127.0.0.9")
        body = msgspec.json.encode(PING)
        lines = (*(f"X-Forwarded-For: {hop}" for hop in hops), f"Content-Length: {len(body)}")
        sent = head(near, *lines, token=near.tokens["tenant_user"])
        answer = await raw(near, sent.replace(b"POST /mcp", asked), body)
        assert answer.startswith(b"HTTP/1.1 200")
        (call,) = await near.calls("/v1/me")
        assert call["headers"]["x-forwarded-for"] == "203.0.113.9"


# -- request ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abc", "A-1_2.3", "x" * 128])
async def test_a_well_formed_request_id_is_kept(edge: Edge, given: str) -> None:
    reply = await edge.as_().send(LIST, headers={"x-request-id": given})
    assert reply.headers["x-request-id"] == given
    assert reply.result["_meta"]["ai.scailabs.scaimcp/request_id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 129, "with blank", "a/b"])
async def test_otherwise_a_new_one_is_made(edge: Edge, given: str | None) -> None:
    reply = await edge.as_().send(PING, headers={"x-request-id": given})
    made = reply.headers["x-request-id"]
    assert made.startswith("req_")
    assert len(made) == 30


async def test_a_refusal_names_its_request_too(edge: Edge) -> None:
    reply = await edge.as_(None).send(PING)
    assert reply.headers["x-request-id"] == reply.error["data"]["error"]["request_id"]


# -- bodies --------------------------------------------------------------------------------------


def padded(size: int) -> bytes:
    """Return a ping of exactly `size` bytes."""
    bare = len(msgspec.json.encode({**PING, "params": {"x": ""}}))
    return msgspec.json.encode({**PING, "params": {"x": "y" * (size - bare)}})


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


async def send_body(client: Client, content: Any) -> tuple[int, Any]:
    """Send a file with its length, or an iterator in chunks."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {client.token}"}
    async with client.http.post(f"{client.url}/mcp", data=content, headers=headers) as response:
        return response.status, msgspec.json.decode(await response.read())


async def test_a_body_of_the_largest_size_is_read(edge: Edge) -> None:
    assert (await edge.as_().send(padded(1_000_000))).status == 200
    assert (await send_body(edge.as_(), chunks(padded(1_000_000))))[0] == 200


async def test_a_larger_body_is_413(edge: Edge) -> None:
    reply = await edge.as_().send(padded(1_000_001))
    assert (reply.status, reply.word) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_larger_body_in_chunks_is_413(edge: Edge) -> None:
    status, body = await send_body(edge.as_(), chunks(padded(1_000_001)))
    assert (status, body["error"]["data"]["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_declared_length_is_refused_before_the_body_comes(edge: Edge) -> None:
    answer = await raw(edge, head(edge, "Content-Length: 999999999"))
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_of_ten_megabytes_is_served_within_the_real_limit(world: World) -> None:
    content = padded(10_000_000)
    client = world.as_("no_roles")
    assert (await send_body(client, io.BytesIO(content)))[0] == 200
    assert (await send_body(client, chunks(content)))[0] == 200


async def test_a_body_that_comes_in_small_pieces_is_joined(edge: Edge) -> None:
    content = msgspec.json.encode(PING)
    pieces = [content[at : at + 1] for at in range(len(content))]
    answer = await raw(edge, head(edge, f"Content-Length: {len(content)}"), *pieces)
    assert b'"result":{}' in answer


async def test_a_body_that_does_not_come_is_408() -> None:
    async with start_edge(Setup(policy=(("body_seconds", 0.05),))) as edge:
        nothing = await raw(edge, head(edge, "Content-Length: 10"))
        assert nothing.startswith(b"HTTP/1.1 408")
        half = await raw(edge, head(edge, "Content-Length: 10"), b"{")
        assert half.startswith(b"HTTP/1.1 408")
        assert b"REQUEST_TIMEOUT" in half


async def test_a_client_that_leaves_while_sending_costs_nothing(edge: Edge) -> None:
    host, _, port = edge.url.removeprefix("http://").partition(":")
    for sent in (b"", b'{"jsonrpc"'):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(edge, "Content-Length: 100") + sent)
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert (await edge.as_().send(PING)).status == 200


# -- room and limits -----------------------------------------------------------------------------


async def test_too_many_requests_in_the_process_are_503() -> None:
    async with start_edge(Setup(policy=(("inflight", 2),))) as edge:
        client = edge.as_()
        params = {"name": "test_waiting"}
        async with asyncio.TaskGroup() as group:
            held = [group.create_task(client.rpc("tools/call", params)) for _ in range(2)]
            await until(lambda: edge.source.running == 2)
            refused = await client.send(PING)
            edge.source.release.set()
        assert (refused.status, refused.word) == (503, "GATEWAY_BUSY")
        assert refused.headers["retry-after"] == "1"
        assert [task.result().status for task in held] == [200, 200]
        assert (await client.send(PING)).status == 200


async def test_too_many_calls_of_one_caller_fail_alone() -> None:
    async with start_edge(Setup(per_caller=1)) as edge:
        params = {"name": "test_waiting"}
        async with asyncio.TaskGroup() as group:
            held = group.create_task(edge.as_().rpc("tools/call", params))
            await until(lambda: edge.source.running == 1)
            mine = await edge.as_().call("test_waiting")
            theirs = await edge.as_("bob").call("test_simple_text")
            edge.source.release.set()
        assert (mine.code, mine.error["retry_after"]) == ("GATEWAY_BUSY", 1)
        assert not theirs.is_error
        assert held.result().status == 200


@pytest.mark.parametrize("revision", [MODERN, "2025-11-25"])
async def test_a_list_beyond_the_rate_limit_is_429(revision: str) -> None:
    async with start_edge(Setup(limiter=Allowance(2))) as edge:
        client = edge.as_("alice", revision)
        assert (await client.rpc("tools/list")).status == 200
        assert not (await client.call("test_simple_text")).is_error
        reply = await client.rpc("tools/list")
        assert (reply.status, reply.error["code"], reply.word) == (429, -31000, "RATE_LIMITED")
        assert reply.headers["retry-after"] == "9"
        called = await client.call("test_simple_text")
        assert (called.code, called.error["retry_after"]) == ("RATE_LIMITED", 9)


@pytest.mark.parametrize("revision", [MODERN, "2025-11-25"])
async def test_answers_to_counted_requests_say_what_the_own_limits_leave(revision: str) -> None:
    async with start_edge(Setup(limiter=Allowance(2))) as edge:
        client = edge.as_("alice", revision)
        listed = await client.rpc("tools/list", headers={"origin": ORIGIN})
        called = (await client.call("test_simple_text")).reply
        refused = (await client.call("test_simple_text")).reply
        too_much = await client.rpc("tools/list")
        replies = (listed, called, refused, too_much)
        assert [reply.headers.getall("ratelimit") for reply in replies] == [
            ['"token";r=1;t=1'], ['"token";r=0;t=1'], ['"user";r=0;t=9'], ['"user";r=0;t=9'],
        ]  # fmt: skip
        for reply in replies:
            assert reply.headers.getall("ratelimit-policy") == [
                '"token";q=60;w=60, "user";q=90;w=60'
            ]
        exposed = listed.headers["access-control-expose-headers"].split(", ")
        assert {"ratelimit", "ratelimit-policy"} <= set(exposed)


async def test_a_batch_is_told_what_is_left_once() -> None:
    async with start_edge(Setup(limiter=Allowance(5))) as edge:
        client = edge.as_("alice", "2025-03-26")
        reply = await client.send([client.request("tools/list", message_id=n) for n in range(3)])
        assert reply.headers.getall("ratelimit") == ['"token";r=2;t=1']
        assert len(reply.headers.getall("ratelimit-policy")) == 1


async def test_a_stream_says_what_is_left_when_it_opens() -> None:
    pace = Pace(grace=0.01, first=0.02, interval=0.02)
    async with start_edge(Setup(limiter=Allowance(3), pace=pace)) as edge:
        async with asyncio.TaskGroup() as group:
            params = {"name": "test_waiting"}
            asked = group.create_task(edge.as_().rpc("tools/call", params))
            await until(lambda: edge.source.running == 1)
            await asyncio.sleep(0.1)  # longer than the first heartbeat
            edge.source.release.set()
        assert asked.result().is_stream
        assert asked.result().headers["ratelimit"] == '"token";r=2;t=1'


async def test_what_is_not_counted_says_nothing_of_limits(edge: Edge) -> None:
    async with start_edge(Setup(limiter=Allowance(5))) as limited:
        uncounted = await limited.as_().rpc("ping")
    unlimited = await edge.as_().rpc("tools/list")
    for reply in (uncounted, unlimited):
        assert not [name for name in reply.headers if name.lower().startswith("ratelimit")]


# -- options of the address ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["disclosure=all", "dialect=openai", "names=long", "dialect=", "names=safe&names=x"]
)
async def test_an_unknown_value_of_an_option_is_400(edge: Edge, query: str) -> None:
    reply = await edge.as_().send(PING, path=f"/mcp?{query}")
    assert (reply.status, reply.error["code"]) == (400, -32600)


async def test_an_unknown_option_is_ignored(edge: Edge) -> None:
    assert (await edge.as_().send(PING, path="/mcp?utm_source=x&toolsets=")).status == 200
