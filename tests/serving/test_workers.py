"""Several processes behind one address."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from pathlib import Path

import aiohttp
import pytest

from tests.dev.helpers import is_gone
from tests.serving.process import SECONDS, Gateway, Launcher, client, me, until
from tests.serving.raw import Line, Lost, call, get

pytestmark = pytest.mark.slow
USER = "user@acme.test"


async def _two(launch: Launcher, **settings: str) -> Gateway:
    gateway = await launch(SERVER_WORKERS="2", SERVER_DRAIN_SECONDS="5", **settings)
    assert gateway.listening["workers"] == 2
    assert len(gateway.workers()) == 2
    return gateway


async def _calls(gateway: Gateway, address: str | None = None) -> float:
    """How many tool calls the metrics tell."""
    url = f"{address or gateway.url}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        text = await response.text()
    found = re.search(r'scaimcp_tool_calls_total\{outcome="ok",source="platform"\} (\S+)', text)
    return float(found[1]) if found else 0.0


async def _until_told(gateway: Gateway, count: float) -> None:
    """Wait until the metrics tell at least `count` calls; workers tell theirs every second."""
    deadline = time.monotonic() + SECONDS
    while await _calls(gateway) < count:
        assert time.monotonic() < deadline, f"{await _calls(gateway)} of {count} calls are told"
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("engine", ["uvicorn", "hypercorn"])
async def test_each_worker_serves(launch: Launcher, engine: str) -> None:
    gateway = await _two(launch, SERVER_ENGINE=engine)
    for stopped in gateway.workers():
        # A stopped process accepts nothing: whoever answers is the other one.
        os.kill(stopped, signal.SIGSTOP)
        try:
            async with client(gateway) as http:
                assert await me(http) == USER
        finally:
            os.kill(stopped, signal.SIGCONT)
    assert await gateway.stop() == 0
    assert gateway.workers() == []


async def test_metrics_are_sums_whoever_is_asked(launch: Launcher) -> None:
    gateway = await _two(launch, METRICS_BIND="127.0.0.1:0")
    expected = 0
    for stopped in gateway.workers():
        os.kill(stopped, signal.SIGSTOP)
        try:
            async with client(gateway) as http:
                for _ in range(3):
                    await me(http)
                    expected += 1
            assert await _calls(gateway, gateway.metrics_url) == expected
        finally:
            os.kill(stopped, signal.SIGCONT)
    assert [await _calls(gateway, gateway.metrics_url) for _ in range(6)] == [6.0] * 6
    async with aiohttp.ClientSession() as http, http.get(f"{gateway.url}/metrics") as response:
        assert response.status == 404


class Steady:
    """Uses one connection as long as it lasts."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.answered = 0
        self.is_lost = False
        self.is_done = False

    async def run(self) -> None:
        while not self.is_done:
            try:
                answer = await self.line.ask(call("me_get"))
            except Lost:
                self.is_lost = True
                return
            assert answer.status == 200
            self.answered += 1


async def test_a_killed_worker_is_replaced_and_the_others_lose_nothing(launch: Launcher) -> None:
    gateway = await _two(launch)
    first, second = gateway.workers()
    of_second = await _connections_to(launch, gateway, stopped=first)
    of_first = await _connections_to(launch, gateway, stopped=second)
    async with asyncio.TaskGroup() as group:
        for steady in (*of_first, *of_second):
            group.create_task(steady.run())
        await until(lambda: min(each.answered for each in (*of_first, *of_second)) > 3)
        await _until_told(gateway, 20)
        told = await _calls(gateway)
        told_of_second = sum(each.answered for each in of_second)
        os.kill(first, signal.SIGKILL)
        await until(lambda: len(set(gateway.workers()) - {first}) == 2)
        await gateway.wait_started(3)
        before = [each.answered for each in of_second]
        await until(lambda: all(e.answered > b for e, b in zip(of_second, before, strict=True)))
        for each in of_second:
            each.is_done = True
    assert [each.is_lost for each in of_first] == [True] * 3
    assert [each.is_lost for each in of_second] == [False] * 3
    ended = gateway.logged("worker ended")
    assert [(line["pid"], line["exit_code"]) for line in ended] == [(first, -9)]
    # What the dead one told still counts, and the replacement serves.
    since = sum(each.answered for each in of_second) - told_of_second
    await _until_told(gateway, told + since)
    counted = sum(each.answered for each in (*of_first, *of_second))
    assert await _calls(gateway) <= counted + len(of_first)
    os.kill(second, signal.SIGSTOP)
    try:
        async with client(gateway) as http:
            assert await me(http) == USER
    finally:
        os.kill(second, signal.SIGCONT)


async def _connections_to(launch: Launcher, gateway: Gateway, stopped: int) -> list[Steady]:
    """Open connections that the worker which is not stopped has accepted."""
    os.kill(stopped, signal.SIGSTOP)
    try:
        lines = [await launch.line(gateway.port) for _ in range(3)]
        for line in lines:
            assert (await line.ask(get("/livez"))).status == 200
    finally:
        os.kill(stopped, signal.SIGCONT)
    return [Steady(line) for line in lines]


async def test_workers_go_when_their_parent_is_killed(launch: Launcher) -> None:
    gateway = await _two(launch)
    workers = gateway.workers()
    gateway.process.kill()
    gateway.process.wait()
    await until(lambda: all(is_gone(pid) for pid in workers))


async def test_a_worker_that_hangs_does_not_stop_the_end(launch: Launcher) -> None:
    gateway = await launch(SERVER_WORKERS="2", SERVER_DRAIN_SECONDS="0")
    workers = gateway.workers()
    os.kill(workers[0], signal.SIGSTOP)
    assert await gateway.stop() == 0
    assert all(is_gone(pid) for pid in workers)


async def test_running_calls_of_all_workers_finish(launch: Launcher) -> None:
    gateway = await _two(launch)
    first, second = gateway.workers()
    lines = [
        steady.line
        for stopped in (first, second)
        for steady in await _connections_to(launch, gateway, stopped)
    ]
    await gateway.fault({"path": "/v1/models", "latency_ms": 700})
    for line in lines:
        await line.send(call("models_list"))
    for _ in range(3):
        later = await launch.line(gateway.port)
        assert (await later.ask(call("me_get"))).status == 200
    gateway.send()
    for number in (signal.SIGTERM, signal.SIGINT):
        gateway.send(number)
    assert [(await line.answer()).status for line in lines] == [200] * 6
    assert await gateway.ended() == 0
    with pytest.raises(ConnectionRefusedError):
        await Line.open(gateway.port)
    await gateway.fault()


async def test_a_start_that_fails_ends_with_the_workers_exit_code(
    launch: Launcher, place: Path
) -> None:
    keys = place / "keys"
    keys.write_text("b3duIGtleXMgYXJlIDMyIGJ5dGVzIGxvbmcsIG9rYXk=")
    keys.chmod(0o600)
    gateway = launch.start(
        SERVER_WORKERS="2", STATE_KEYS=None, STATE_KEYS_FILE=str(keys), SERVER_BIND="127.0.0.1:0"
    )
    # The parent has read them; the workers, which read them again, cannot.
    await gateway.wait_listening()
    keys.unlink()
    assert await gateway.ended() == 5
    assert "Traceback" not in gateway.said
    assert gateway.workers() == []


async def test_a_replacement_that_fails_is_tried_again(launch: Launcher, place: Path) -> None:
    keys = place / "keys"
    keys.write_text("b3duIGtleXMgYXJlIDMyIGJ5dGVzIGxvbmcsIG9rYXk=")
    keys.chmod(0o600)
    gateway = await _two_with_keys(launch, keys)
    content = keys.read_text()
    keys.unlink()
    line = await launch.line(gateway.port)
    assert (await line.ask(get("/livez"))).status == 200
    os.kill(gateway.workers()[0], signal.SIGKILL)
    await until(lambda: "STATE_KEYS_FILE cannot be read" in gateway.said)
    assert gateway.process.poll() is None
    line = await launch.line(gateway.port)
    assert (await line.ask(get("/livez"))).status == 200
    keys.write_text(content)
    keys.chmod(0o600)
    await until(lambda: gateway.said.count('"gateway started"') == 3)


async def test_a_worker_that_dies_early_does_not_end_a_server_that_serves(
    launch: Launcher,
) -> None:
    gateway = launch.start(SERVER_WORKERS="2")
    await gateway.wait_listening()
    await until(lambda: len(gateway.workers()) == 2)
    early = gateway.workers()[0]
    os.kill(early, signal.SIGSTOP)
    # The parent meets both at one look: the one that died, and the one that serves by now.
    gateway.send(signal.SIGSTOP)
    try:
        line = await launch.line(gateway.port)
        assert (await line.ask(get("/livez"))).status == 200
        os.kill(early, signal.SIGKILL)
        await until(lambda: is_gone(early))
    finally:
        gateway.send(signal.SIGCONT)
    await gateway.wait_started(2)
    assert [line["pid"] for line in gateway.logged("worker ended")] == [early]
    assert await gateway.stop() == 0


async def test_a_worker_whose_parent_died_before_it_served_ends_in_order(
    launch: Launcher,
) -> None:
    gateway = launch.start(SERVER_WORKERS="2")
    await gateway.wait_listening()
    await until(lambda: len(gateway.workers()) == 2)
    workers = gateway.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    gateway.send(signal.SIGKILL)
    await gateway.ended()
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    await until(lambda: all(is_gone(pid) for pid in workers))
    assert "Traceback" not in gateway.said


async def _two_with_keys(launch: Launcher, keys: Path) -> Gateway:
    return await launch(
        SERVER_WORKERS="2",
        SERVER_DRAIN_SECONDS="5",
        STATE_KEYS=None,
        STATE_KEYS_FILE=str(keys),
    )
