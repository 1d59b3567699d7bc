"""SIGTERM with work in hand: nothing that was accepted is lost, and the process goes in time."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.serving.certificate import make_certificate, trusting
from tests.serving.process import Gateway, Launcher, client, until
from tests.serving.raw import CALL, TOKEN, Line, Lost, call, get
from tests.world import JSON_AND_SSE, MODERN

pytestmark = pytest.mark.slow
both = pytest.mark.parametrize("engine", ["uvicorn", "hypercorn"])
SLOW = {"path": "/v1/models", "latency_ms": 700}
CUT = "request cut, the drain is over"


class Caller:
    """Calls a tool again and again on one connection until the server is gone."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.answered = 0
        self.failed = 0
        self.lost = 0

    async def run(self) -> None:
        while True:
            try:
                line = await Line.open(self._port)
            except ConnectionError:
                return
            try:
                await self._use(line)
            finally:
                await line.close()

    async def _use(self, line: Line) -> None:
        is_first = True
        while True:
            try:
                answer = await line.ask(call("models_list"))
            except Lost:
                # Of a new connection nobody has said that it was accepted.
                self.lost += not is_first
                return
            is_first = False
            self.answered += 1
            self.failed += answer.status != 200 or answer.json["result"]["isError"]
            if answer.is_last:
                return


@both
async def test_no_accepted_request_is_lost(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine, SERVER_DRAIN_SECONDS="10")
    await gateway.fault({"path": "/v1/models", "latency_ms": 60, "jitter_ms": 60})
    callers = [Caller(gateway.port) for _ in range(12)]
    async with asyncio.TaskGroup() as group:
        for caller in callers:
            group.create_task(caller.run())
        await until(lambda: min(caller.answered for caller in callers) >= 5)
        assert await gateway.stop() == 0
    assert [caller.lost for caller in callers] == [0] * 12
    assert [caller.failed for caller in callers] == [0] * 12
    assert gateway.logged(CUT) == []
    await gateway.fault()


@both
async def test_slow_calls_finish_and_idle_connections_are_closed(
    launch: Launcher, engine: str
) -> None:
    gateway = await launch(SERVER_ENGINE=engine, SERVER_DRAIN_SECONDS="10")
    await gateway.fault(SLOW)
    idle = await launch.line(gateway.port)
    assert (await idle.ask(get("/livez"))).status == 200
    lines = [await launch.line(gateway.port) for _ in range(5)]
    for line in lines:
        await line.send(call("models_list"))
    await _until_taken(launch, gateway)
    gateway.send()
    answers = [await line.answer() for line in lines]
    assert [answer.status for answer in answers] == [200] * 5
    assert [answer.is_last for answer in answers] == [True] * 5, answers
    assert await idle.is_closed()
    assert await gateway.ended() == 0
    await gateway.fault()


async def _until_taken(launch: Launcher, gateway: Gateway) -> None:
    """Wait until what was sent before is being worked on: a later request has been answered."""
    later = await launch.line(gateway.port)
    assert (await later.ask(call("me_get"))).status == 200
    await later.close()


@both
async def test_readiness_ends_and_new_requests_are_still_answered(
    launch: Launcher, engine: str
) -> None:
    gateway = await launch(
        SERVER_ENGINE=engine, SERVER_DRAIN_SECONDS="10", METRICS_BIND="127.0.0.1:0"
    )
    await gateway.fault(SLOW)
    slow, other = await launch.line(gateway.port), await launch.line(gateway.port)
    assert (await other.ask(get("/readyz"))).status == 200
    await slow.send(call("models_list"))
    await _until_taken(launch, gateway)
    gateway.send()
    metrics = int(gateway.metrics_url.rpartition(":")[2])
    answer = await _first_refusal(metrics)
    assert (answer.status, answer.json["status"]) == (503, "draining")
    answer = await other.ask(get("/readyz"))
    assert (answer.status, answer.json["status"]) == (503, "draining")
    assert answer.is_last
    assert (await slow.answer()).status == 200
    assert await gateway.ended() == 0
    await gateway.fault()


async def _first_refusal(port: int) -> Any:
    while True:
        line = await Line.open(port)
        answer = await line.ask(get("/readyz"))
        await line.close()
        if answer.status != 200:
            return answer


@both
async def test_open_streams_end_with_their_result(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    async with client(gateway) as http:
        modern = http.using(revision=MODERN)
        body = modern.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        headers = {
            "authorization": f"Bearer {TOKEN}",
            "accept": JSON_AND_SSE,
            "mcp-protocol-version": MODERN,
            "mcp-method": "subscriptions/listen",
        }
        async with http.http.post(f"{gateway.url}/mcp", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            assert b"acknowledged" in await response.content.readuntil(b"\n\n")
            assert await gateway.stop() == 0
            rest = await response.content.read()
    assert b'"result":' in rest
    assert gateway.logged(CUT) == []


@both
async def test_what_takes_longer_than_the_drain_is_cut_with_503(
    launch: Launcher, engine: str
) -> None:
    gateway = await launch(SERVER_ENGINE=engine, SERVER_DRAIN_SECONDS="1")
    await gateway.fault({"path": "/v1/models", "latency_ms": 20_000})
    line = await launch.line(gateway.port)
    await line.send(call("models_list"))
    await _until_taken(launch, gateway)
    begun = time.monotonic()
    assert await gateway.stop() == 0
    assert time.monotonic() - begun >= 1
    answer = await line.answer()
    assert answer.status == 503, (answer, gateway.said)
    assert answer.headers["retry-after"] == "1"
    assert answer.json["error"]["data"]["error"]["code"] == "GATEWAY_BUSY"
    assert len(gateway.logged(CUT)) == 1
    await gateway.fault()


@both
async def test_a_drain_of_zero_seconds_ends_well(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine, SERVER_DRAIN_SECONDS="0")
    line = await launch.line(gateway.port)
    assert (await line.ask(get("/livez"))).status == 200
    assert await gateway.stop() == 0


@both
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_further_signals_change_nothing(launch: Launcher, engine: str, number: int) -> None:
    gateway = await launch(SERVER_ENGINE=engine, SERVER_DRAIN_SECONDS="10")
    await gateway.fault(SLOW)
    line = await launch.line(gateway.port)
    await line.send(call("models_list"))
    await _until_taken(launch, gateway)
    while gateway.process.poll() is None:
        gateway.send(number)
        await asyncio.sleep(0.005)
    assert gateway.process.returncode == 0, gateway.said
    assert (await line.answer()).status == 200
    await gateway.fault()


async def test_http2_requests_finish(launch: Launcher, place: Path) -> None:
    gateway = await launch(
        SERVER_HTTP2="true", SERVER_DRAIN_SECONDS="10", **make_certificate(place)
    )
    await gateway.fault(SLOW)
    headers = {
        "authorization": f"Bearer {TOKEN}",
        "accept": JSON_AND_SSE,
        "mcp-protocol-version": "2025-11-25",
    }
    limits = httpx2.Limits(max_connections=1)
    context = trusting(place)
    async with httpx2.AsyncClient(http2=True, verify=context, limits=limits) as http:

        async def ask(tool: str) -> int:
            body = {**CALL, "params": {"name": tool, "arguments": {}}}
            url = f"{gateway.url}/mcp"
            return (await http.post(url, json=body, headers=headers, timeout=20)).status_code

        assert await ask("me_get") == 200
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(ask("models_list")) for _ in range(8)]
            assert await ask("me_get") == 200
            gateway.send()
            # While others run, this connection goes on taking requests.
            late = [await ask("me_get") for _ in range(5)]
        assert late == [200] * 5
        assert [task.result() for task in running] == [200] * 8
        assert await gateway.ended() == 0
    await gateway.fault()


async def test_a_signal_before_it_serves_ends_it_quietly(launch: Launcher) -> None:
    gateway = launch.start()
    await gateway.wait_listening()
    gateway.send()
    assert await gateway.ended() in (0, -signal.SIGTERM)
    assert "Traceback" not in gateway.said
