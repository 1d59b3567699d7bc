"""Inference handed to an OpenAI-compatible service, and webhooks really posted."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from scaimcp.dev.platform import forward
from tests.platform.conftest import Starter, World

VECTORS = {"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]}


@dataclass
class Upstream:
    """A local HTTP service that keeps what it got and answers what it is told."""

    url: str = ""
    status: int = 200
    answer: Any = None
    seen: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, dict(request.headers), await request.read()))
        self.news.set()
        return web.json_response(self.answer, status=self.status)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    service = Upstream()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield service
    await runner.cleanup()


@pytest.fixture
async def world(start: Starter, upstream: Upstream) -> World:
    return await start(
        inference_url=f"{upstream.url}/v1",
        inference_key="up-key",
        inference_models=("llama-3", "vec-1=embedding"),
        webhook_posts=True,
    )


async def chat(world: World, model: str = "llama-3") -> Any:
    messages = [{"role": "user", "content": "hi"}]
    body = {"model": model, "messages": messages, "temperature": 0.5, "metadata": {"a": 1}}
    return await world.as_("tenant_user").post("/v1/inference/chat", body)


async def test_chat_is_forwarded_with_its_options(world: World, upstream: Upstream) -> None:
    message = {"role": "assistant", "content": "hello", "refusal": None}
    upstream.answer = {
        "id": "x",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2},
    }
    data = (await chat(world)).data
    assert data["choices"][0]["message"]["content"] == "hello"
    assert data["usage"]["total_tokens"] == 6
    path, headers, body = upstream.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer up-key"
    assert b"metadata" not in body
    assert b'"temperature":0.5' in body
    assert world.rows("usage")[0]["tokens_in"] == 4


async def test_the_stand_ins_own_models_are_never_forwarded(
    world: World, upstream: Upstream
) -> None:
    assert (await chat(world, "scailabs/echo-1")).status == 200
    assert upstream.seen == []


async def test_embeddings_are_forwarded_and_ordered(world: World, upstream: Upstream) -> None:
    upstream.answer = VECTORS
    body = {"model": "vec-1", "input": ["a", "b"], "dimensions": 8}
    data = (await world.as_("tenant_user").post("/v1/inference/embed", body)).data
    assert [row["embedding"] for row in data["data"]] == [[1.0], [2.0]]
    assert b'"dimensions":8' in upstream.seen[0][2]
    short = await world.as_("tenant_user").post(
        "/v1/inference/embed", {"model": "vec-1", "input": "a"}
    )
    assert short.code == "UPSTREAM_SHAPE_MISMATCH"


@pytest.mark.parametrize(
    ("status", "answer", "code", "http"),
    [
        (500, {}, "BACKEND_ERROR", 502),
        (429, {}, "BACKEND_RATE_LIMITED", 429),
        (200, {"what": 1}, "UPSTREAM_SHAPE_MISMATCH", 502),
        (200, {"choices": []}, "UPSTREAM_SHAPE_MISMATCH", 502),
        (302, {}, "BACKEND_ERROR", 502),
    ],
)
async def test_a_failing_backend_is_named(
    world: World, upstream: Upstream, status: int, answer: Any, code: str, http: int
) -> None:
    upstream.status, upstream.answer = status, answer
    refused = await chat(world)
    assert (refused.status, refused.code) == (http, code)
    assert world.rows("usage") == []


async def test_an_unreachable_backend_is_an_error(start: Starter) -> None:
    world = await start(inference_url="http://127.0.0.1:1/v1", inference_models=("llama-3",))
    assert (await chat(world)).code == "BACKEND_ERROR"


async def test_a_backend_that_never_answers_times_out(
    start: Starter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    monkeypatch.setattr(forward, "TIMEOUT", aiohttp.ClientTimeout(total=0.05))
    world = await start(inference_url=f"http://127.0.0.1:{port}", inference_models=("llama-3",))
    answer = await chat(world)
    assert (answer.status, answer.code) == (504, "BACKEND_TIMEOUT")
    silent.close()


def hook(world: World, url: str, **changes: Any) -> dict[str, Any]:
    row = {
        "tenant_id": world.tenant_id("acme"),
        "url": url,
        "events": ["*"],
        "status": "active",
        "secret": "s" * 16,
        "max_retries": 1,
        "consecutive_failures": 0,
        **changes,
    }
    return world.served.platform.store["webhooks"].insert(row)


async def until_sent(delivery: dict[str, Any]) -> None:
    async with asyncio.timeout(30):
        while delivery["status"] == "pending":  # noqa: ASYNC110 - a row has no event
            await asyncio.sleep(0.005)


async def test_an_event_is_posted_signed(world: World, upstream: Upstream) -> None:
    row = hook(world, upstream.url + "/hook", consecutive_failures=3)
    outbox = world.served.platform.outbox
    delivery = outbox.emit(world.tenant_id("acme"), "x.happened", {"a": 1})[0]
    await until_sent(delivery)
    assert (delivery["status"], delivery["status_code"], delivery["attempts"]) == (
        "success",
        200,
        1,
    )
    assert row["consecutive_failures"] == 0
    path, headers, body = upstream.seen[0]
    assert path == "/hook"
    expected = hmac.new(b"s" * 16, body, hashlib.sha256).hexdigest()
    assert headers["X-Scaigrid-Signature"] == f"sha256={expected}"


async def test_a_failed_post_is_repeated_and_counted(world: World, upstream: Upstream) -> None:
    upstream.status = 500
    row = hook(world, upstream.url, secret=None)
    delivery = world.served.platform.outbox.emit(world.tenant_id("acme"), "x", {})[0]
    await until_sent(delivery)
    assert (delivery["status"], delivery["attempts"], delivery["error"]) == (
        "failed",
        2,
        "HTTP 500",
    )
    assert row["consecutive_failures"] == 1
    assert "X-Scaigrid-Signature" not in upstream.seen[0][1]


async def test_an_unreachable_hook_fails(world: World) -> None:
    hook(world, "http://127.0.0.1:1/", max_retries=0)
    delivery = world.served.platform.outbox.emit(world.tenant_id("acme"), "x", {})[0]
    await until_sent(delivery)
    assert (delivery["status"], delivery["status_code"]) == ("failed", None)


async def test_what_waits_for_a_deleted_hook_is_dropped(world: World, upstream: Upstream) -> None:
    platform = world.served.platform
    gone = hook(world, upstream.url)
    platform.outbox.emit(world.tenant_id("acme"), "x", {})
    platform.store["webhooks"].delete(gone["id"])
    hook(world, upstream.url)
    await until_sent(platform.outbox.emit(world.tenant_id("acme"), "y", {})[0])
    assert len(upstream.seen) == 1
    platform.outbox.emit(world.tenant_id("acme"), "z", {})
    platform.outbox.clear()
