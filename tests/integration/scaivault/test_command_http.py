"""``scaivault-mcp`` over streamable HTTP and HTTP+SSE: who may call, and what is refused."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.faults import Fault
from scaimcp.dev.vault.server import Served, serve_vault
from tests.integration.scaivault.child import (
    AUTH_TOKEN,
    INITIALIZE,
    META,
    PING,
    READ,
    VALUE,
    Web,
    has_arrived,
    opened,
    web,
)
from tests.waiting import DEADLINE, until

pytestmark = pytest.mark.slow

MODERN = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list"}
ORIGIN = "https://app.example"


@pytest_asyncio.fixture(scope="module")
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as served:
        yield served


@pytest_asyncio.fixture(scope="module")
async def plain(vault: Served) -> AsyncIterator[Web]:
    async with web("streamable-http", vault.url, MCP_ALLOWED_ORIGINS=ORIGIN) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def guarded(vault: Served) -> AsyncIterator[Web]:
    async with web("streamable-http", vault.url, MCP_AUTH_TOKEN=AUTH_TOKEN) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def events(vault: Served) -> AsyncIterator[Web]:
    async with web("sse", vault.url) as running:
        yield running


async def test_a_request_needs_no_handshake_before(plain: Web) -> None:
    status, _, body = await plain.post(READ)
    assert status == 200
    assert VALUE in body.decode()


async def test_a_session_remembers_the_revision(plain: Web) -> None:
    status, headers, body = await plain.post(INITIALIZE)
    assert (status, msgspec.json.decode(body)["id"]) == (200, 0)
    session = headers["mcp-session-id"]
    listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    _, _, body = await plain.post(listed, **{"mcp-session-id": session})
    assert len(msgspec.json.decode(body)["result"]["tools"]) == 67
    status, _, _ = await plain.post(PING, **{"mcp-session-id": "strange"})
    assert status == 404


async def test_the_modern_headers_must_agree_with_the_body(plain: Web) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
    status, _, answer = await plain.post(body, **MODERN)
    assert status == 200
    assert msgspec.json.decode(answer)["result"]["ttlMs"] == 300_000
    status, _, answer = await plain.post(body, **{**MODERN, "mcp-method": "tools/call"})
    assert (status, msgspec.json.decode(answer)["error"]["code"]) == (400, -32020)


@pytest.mark.parametrize("verb", ["GET", "DELETE", "PUT"])
async def test_only_post_is_served(plain: Web, verb: str) -> None:
    async with plain.http.request(verb, plain.url + "/mcp") as answer:
        assert answer.status == 405
        assert answer.headers["allow"] == "POST"


async def test_health_is_told_and_nothing_else(plain: Web, guarded: Web) -> None:
    for running in (plain, guarded):
        assert await running.get("/healthz") == (200, b'{"status":"ok"}')
        assert (await running.get("/sse"))[0] == (404)
        assert (await running.get("/"))[0] == 404


async def test_a_strange_host_is_refused_without_a_bearer(plain: Web, guarded: Web) -> None:
    port = plain.url.rpartition(":")[2]
    for host in ("vault.example", f"vault.example:{port}", "127.0.0.1", "localhost:1"):
        assert (await plain.post(PING, host=host))[0] == 421
    assert (await plain.post(PING, host=f"localhost:{port}"))[0] == 200
    bearer = {"authorization": f"Bearer {AUTH_TOKEN}"}
    assert (await guarded.post(PING, host="vault.example", **bearer))[0] == 200


async def test_a_foreign_origin_is_refused(plain: Web) -> None:
    assert (await plain.post(PING, origin="https://evil.example"))[0] == 403
    assert (await plain.post(PING, origin=plain.url))[0] == 403
    status, headers, _ = await plain.post(PING, origin=ORIGIN)
    assert (status, headers["access-control-allow-origin"]) == (200, ORIGIN)
    async with plain.http.options(plain.url + "/mcp", headers={"origin": ORIGIN}) as answer:
        assert answer.status == 204
    async with plain.http.options(plain.url + "/mcp") as answer:
        assert answer.status == 405


@pytest.mark.parametrize("sent", [None, "Bearer wrong", f"Basic {AUTH_TOKEN}", "Bearer "])
async def test_a_wrong_bearer_is_refused(guarded: Web, sent: str | None) -> None:
    headers = {} if sent is None else {"authorization": sent}
    status, told, body = await guarded.post(READ, **headers)
    assert (status, told["www-authenticate"]) == (401, "Bearer")
    assert AUTH_TOKEN not in body.decode()


async def test_the_inbound_bearer_never_reaches_the_vault(vault: Served, guarded: Web) -> None:
    vault.vault.calls.clear()
    status, _, body = await guarded.post(READ, authorization=f"Bearer {AUTH_TOKEN}")
    assert status == 200
    assert VALUE in body.decode()
    assert len(vault.vault.calls) == 1
    assert AUTH_TOKEN not in str(vault.vault.calls)


BAD_BODIES = {
    "too large": (b'{"a":"' + b"x" * 2 * 1024 * 1024 + b'"}', {}, 413),
    "no json": (b"nonsense", {}, 400),
    "another type": (b"{}", {"content-type": "text/plain"}, 415),
    "no method": (b'{"jsonrpc":"2.0","id":1}', {}, 400),
}


@pytest.mark.parametrize(("body", "headers", "status"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_bad_body_is_refused(
    plain: Web, body: bytes, headers: dict[str, str], status: int
) -> None:
    assert (await plain.post(body, **headers))[0] == status
    assert (await plain.post(PING))[0] == 200


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 65_536


async def test_a_body_of_unknown_length_is_cut_off(plain: Web) -> None:
    headers = {"content-type": "application/json"}
    async with plain.http.post(plain.url + "/mcp", data=chunks(20), headers=headers) as answer:
        assert answer.status == 413


async def test_what_finds_no_place_is_refused_after_a_while(vault: Served) -> None:
    async with web("streamable-http", vault.url) as running, asyncio.TaskGroup() as group:
        vault.vault.faults.add(Fault(path="/v1/secrets/.*", count=8, delay_ms=7_000))
        held = [group.create_task(running.post(READ)) for _ in range(16)]
        await until(lambda: has_arrived(vault))
        status, headers, _ = await running.post(READ)
        assert (status, headers["retry-after"]) == (503, "1")
        assert (await running.post(PING))[0] == 200
        assert {(await task)[0] for task in held} == {200}


async def test_running_calls_are_let_end_after_a_signal(vault: Served) -> None:
    async with web("streamable-http", vault.url) as running, asyncio.TaskGroup() as group:
        vault.vault.faults.add(Fault(path="/v1/secrets/.*", delay_ms=1_000))
        held = group.create_task(running.post(READ))
        await until(lambda: has_arrived(vault))
        running.child.signal(signal.SIGTERM)
        assert (await held)[0] == 200
        assert await running.child.ended() == 0


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
async def test_a_second_signal_ends_the_process_at_once(vault: Served, transport: str) -> None:
    async with web(transport, vault.url) as running:
        vault.vault.faults.add(Fault(path="/v1/secrets/.*", delay_ms=2_000))
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            if transport == "sse":
                stream = await stack.enter_async_context(opened(running))
                await stream.send(INITIALIZE)
                await stream.send(READ)
            else:
                group.create_task(broken(running.post(READ)))
            await until(lambda: has_arrived(vault))
            running.child.signal(signal.SIGTERM)
            running.child.signal(signal.SIGINT)
            assert await running.child.ended() in (128 + signal.SIGINT, 128 + signal.SIGTERM)


async def broken(request: Any) -> None:
    with pytest.raises(aiohttp.ClientError):
        await request


# -- HTTP+SSE ------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_the_first_event_tells_where_messages_go(events: Web, revision: str) -> None:
    async with opened(events) as stream:
        hello = {**INITIALIZE, "params": {**INITIALIZE["params"], "protocolVersion": revision}}
        result = (await stream.ask(hello))["result"]
        assert result["protocolVersion"] == revision
        assert VALUE in str(await stream.ask(READ))


async def test_clients_do_not_hear_of_each_other(events: Web) -> None:
    async with opened(events) as one, opened(events) as other:
        assert one.target != other.target
        assert (await one.ask(INITIALIZE))["id"] == 0
        assert (await other.ask(READ))["error"]["code"] == -32600
        assert VALUE in str(await one.ask(READ))


async def test_2026_07_28_is_refused_over_sse(events: Web) -> None:
    async with opened(events) as stream:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": META}}
        error = (await stream.ask(body))["error"]
        assert error["code"] == -32022
        assert "2026-07-28" not in error["data"]["supported"]
        assert len(error["data"]["supported"]) == 4


async def test_bad_messages_are_answered_on_the_stream(events: Web) -> None:
    async with opened(events) as stream:
        assert (await stream.ask(b"nonsense"))["error"]["code"] == -32700
        assert "result" in await stream.ask(PING)
        assert await stream.send(b"x" * 2 * 1024 * 1024) == 413


@pytest.mark.parametrize("query", ["?session_id=none", "", "?session_id="])
async def test_an_unknown_connection_is_refused(events: Web, query: str) -> None:
    assert (await events.post(PING, f"/messages{query}"))[0] == 404


async def test_messages_to_a_closed_connection_are_refused(events: Web) -> None:
    async with opened(events) as stream:
        target = stream.target
        stream.answer.close()
    async with asyncio.timeout(DEADLINE):
        while (await events.post(PING, target))[0] != 404:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.01)


async def test_wrong_verbs_and_paths_are_refused(events: Web) -> None:
    assert (await events.post(PING, "/sse"))[0] == 405
    assert (await events.get("/messages"))[0] == 405
    assert (await events.post(PING, "/mcp"))[0] == 404


async def test_a_call_is_taken_back_over_sse(vault: Served, events: Web) -> None:
    vault.vault.faults.add(Fault(path="/v1/secrets/.*", delay_ms=1_000))
    async with opened(events) as stream:
        await stream.ask(INITIALIZE)
        assert await stream.send(READ) == 202
        await until(lambda: has_arrived(vault))
        note = {"method": "notifications/cancelled", "params": {"requestId": 2}}
        assert await stream.send({"jsonrpc": "2.0", **note}) == 202
        assert (await stream.ask(PING))["id"] == 1


async def test_the_bearer_guards_streams_as_well(vault: Served) -> None:
    async with web("sse", vault.url, MCP_AUTH_TOKEN=AUTH_TOKEN) as running:
        assert (await running.get("/sse"))[0] == 401
        bearer = f"Bearer {AUTH_TOKEN}"
        async with opened(running, authorization=bearer) as stream:
            assert await stream.send(PING) == 401
            status, _, _ = await running.post(PING, stream.target, authorization=bearer)
            assert status == 202


async def test_a_thirty_third_connection_is_refused(vault: Served) -> None:
    async with web("sse", vault.url) as running, AsyncExitStack() as stack:
        connector = aiohttp.TCPConnector(limit=0)
        running.http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        for _ in range(32):
            await stack.enter_async_context(opened(running))
        assert (await running.get("/sse"))[0] == 503


async def test_streams_end_with_the_process_and_after_their_calls(vault: Served) -> None:
    async with web("sse", vault.url) as running, opened(running) as stream:
        await stream.ask(INITIALIZE)
        vault.vault.faults.add(Fault(path="/v1/secrets/.*", delay_ms=1_000))
        assert await stream.send(READ) == 202
        await until(lambda: has_arrived(vault))
        running.child.signal(signal.SIGTERM)
        name, data = await stream.event()
        assert (name, msgspec.json.decode(data)["id"]) == ("message", 2)
        assert await stream.event() == ("", "")
        assert await running.child.ended() == 0
