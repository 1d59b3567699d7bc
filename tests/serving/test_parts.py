"""The parts around the servers, without a process of their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scaimcp.server.asgi import AsgiMessage, Receive, Scope, Send
from scaimcp.serving.lifespan import lifespan
from scaimcp.serving.stage import CutShort


async def test_the_application_starts_and_ends() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for name in ("startup", "shutdown"):
            seen.append((await receive())["type"])
            await send({"type": f"lifespan.{name}.complete"})

    async with lifespan(app):
        assert seen == ["lifespan.startup"]
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("moment", ["startup", "shutdown"])
async def test_a_failing_application_tells_its_own_reason(moment: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for name in ("startup", "shutdown"):
            await receive()
            if name == moment:
                raise LookupError(name)
            await send({"type": f"lifespan.{name}.complete"})

    with pytest.raises(LookupError, match=moment):
        async with lifespan(app):
            assert moment == "shutdown"


async def test_an_application_that_ends_at_once_is_a_fault() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()

    with pytest.raises(RuntimeError, match="ended while starting"):
        async with lifespan(app):
            pass


async def _cut(stop: asyncio.Event, kind: str, send: Send, first: AsgiMessage | None = None) -> Any:
    reached = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if first is not None:
            await send(first)
        reached.set()
        await asyncio.Event().wait()

    async def receive() -> AsgiMessage:
        return {"type": "http.request"}

    served = CutShort(app, stop)({"type": kind, "path": "/mcp"}, receive, send)
    task = asyncio.ensure_future(served)
    await reached.wait()
    task.cancel()
    return await task


async def test_only_the_end_of_the_drain_answers_503() -> None:
    sent: list[AsgiMessage] = []

    async def send(message: AsgiMessage) -> None:
        sent.append(message)

    stop = asyncio.Event()
    for kind in ("http", "websocket"):
        with pytest.raises(asyncio.CancelledError):
            await _cut(stop, kind, send)
        stop.set()
    assert sent == []
    await _cut(stop, "http", send)
    assert sent[0]["status"] == 503
    assert b"GATEWAY_BUSY" in sent[1]["body"]


async def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    sent: list[AsgiMessage] = []

    async def send(message: AsgiMessage) -> None:
        if sent and message["type"] == "http.response.start":
            raise RuntimeError("the answer has begun")
        sent.append(message)

    stop = asyncio.Event()
    stop.set()
    await _cut(stop, "http", send, {"type": "http.response.start", "status": 200})
    assert [message["type"] for message in sent] == ["http.response.start"]
