"""The figures of remote servers: what the gateway counts, and what the worker measures."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from os import environ
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from scaimcp.jobs.figures import Measurer, measuring
from scaimcp.remotes.enumerations import AuthType
from scaimcp.telemetry import metrics, stored
from scaimcp.telemetry.exposition import served_metrics
from scaimcp.upstream.breaker import Breaker
from scaimcp.upstream.errors import ConnectError, UpstreamError
from scaimcp.upstream.slots import Slots
from tests.integration.rawserver import Clock
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.registry import until
from tests.integration.remotes.servers import KEK, Registry, Upstream
from tests.integration.remotes.sidebyside import Fleet, dotted, start_fleet
from tests.integration.test_worker import ended, environment, running_worker
from tests.integration.upstream import support

SUM = {"a": 1, "b": 2}
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Watched:
    """A gateway with a server of each era, and its figures."""

    def __init__(self, fleet: Fleet, upstreams: dict[str, support.Fleet]) -> None:
        self.fleet = fleet
        self.upstreams = upstreams
        self.rows: dict[str, Any] = {}

    async def value(self, name: str, **labels: str) -> float:
        """One figure as it is on the wire now; 0 where it is not there yet."""
        reply = await self.fleet.world.with_token(None).get("/metrics")
        assert reply.status == 200
        wanted = (f"scaimcp_remote_{name}", tuple(sorted(labels.items())))
        return samples(reply.content.decode()).get(wanted, 0.0)

    async def call(self, era: str, tool: str = "add", arguments: Any = None) -> Any:
        name = dotted(self.rows[era], tool)
        return (await self.fleet.client().call(name, arguments or SUM)).reply.result


@pytest_asyncio.fixture(scope="module")
async def watched(database_url: str, redis_url: str) -> AsyncIterator[Watched]:
    async with (
        support.sdk("both") as modern,
        support.sdk("legacy") as legacy,
        start_fleet(database_url, redis_url, modern.url, legacy.url) as fleet,
    ):
        started = Watched(fleet, {"modern": modern, "legacy": legacy})
        for era, upstream in started.upstreams.items():
            started.rows[era] = await fleet.register(upstream.url, era)
        yield started


# --- counted by the gateway -------------------------------------------------------------------


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize(("tool", "outcome"), [("add", "ok"), ("fail", "tool_error")])
async def test_a_tool_call_is_counted(watched: Watched, era: str, tool: str, outcome: str) -> None:
    labels = {"kind": "tool", "outcome": outcome}
    before = await watched.value("calls_total", era=era, **labels)
    timed = await watched.value("call_duration_seconds_count", **labels)
    own = await watched.value("gateway_overhead_seconds_count", kind="tool")
    waited = await watched.value("queue_wait_seconds_count")
    await watched.call(era, tool)
    assert await watched.value("calls_total", era=era, **labels) == before + 1
    assert await watched.value("call_duration_seconds_count", **labels) == timed + 1
    assert await watched.value("gateway_overhead_seconds_count", kind="tool") == own + 1
    assert await watched.value("queue_wait_seconds_count") == waited + 1


async def test_resources_and_prompts_are_counted(watched: Watched) -> None:
    row, client = watched.rows["modern"], watched.fleet.client()
    uris = [one["uri"] for one in (await client.rpc("resources/list")).result["resources"]]
    uri = next(uri for uri in uris if row.slug in uri)
    prompt = {"name": dotted(row, "greet"), "arguments": {"name": "Ann"}}
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("resource", "resources/read", {"uri": uri}),
        ("prompt", "prompts/get", prompt),
    ]
    for kind, method, params in asked:
        labels = {"kind": kind, "outcome": "ok", "era": "modern"}
        before = await watched.value("calls_total", **labels)
        assert (await client.rpc(method, params)).status == 200
        assert await watched.value("calls_total", **labels) == before + 1


async def test_running_calls_and_sessions_are_shown_while_they_run(watched: Watched) -> None:
    await watched.call("legacy")
    assert await watched.value("pool_sessions", state="busy") == 0
    assert await watched.value("pool_sessions", state="idle") == 1
    started = len(watched.upstreams["legacy"].started)
    name = dotted(watched.rows["legacy"], "linger")
    calling = asyncio.get_running_loop().create_task(watched.fleet.client().call(name))

    async def is_running() -> bool:
        return len(watched.upstreams["legacy"].started) > started

    await until(is_running)
    assert await watched.value("inflight_calls") == 1
    assert await watched.value("pool_sessions", state="busy") == 1
    assert await watched.value("pool_sessions", state="idle") == 0
    calling.cancel()

    async def is_over() -> bool:
        return await watched.value("inflight_calls") == 0

    await until(is_over)


async def test_a_session_that_the_server_forgot_is_counted(watched: Watched) -> None:
    upstream = watched.upstreams["legacy"]
    await watched.call("legacy")
    session = next(
        headers["mcp-session-id"]
        for _, headers in reversed(upstream.requests)
        if "mcp-session-id" in headers
    )
    before = await watched.value("session_restarts_total", outcome="ok")
    lines = {"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
    async with watched.fleet.world.http.delete(upstream.url, headers=lines) as ended:
        assert ended.status == 200
    assert not (await watched.call("legacy"))["isError"]
    assert await watched.value("session_restarts_total", outcome="ok") == before + 1


async def test_an_open_breaker_is_shown_until_it_is_closed(watched: Watched) -> None:
    services = watched.fleet.world.app.services
    assert services is not None
    assert services.remotes is not None
    breaker = services.remotes.parts.breaker
    for _ in range(5):
        with pytest.raises(ConnectError), breaker.guard("rs_gone"):
            raise ConnectError("Gone.")
    assert await watched.value("breaker_servers", state="open") == 1
    assert await watched.value("breaker_servers", state="half_open") == 0
    breaker.forget("rs_gone")
    assert await watched.value("breaker_servers", state="open") == 0


async def test_the_age_of_what_is_served_is_shown(watched: Watched) -> None:
    await watched.value("catalog_lag_seconds")
    await watched.call("modern")
    assert 0 < await watched.value("catalog_lag_seconds") < 300
    assert await watched.value("catalog_lag_seconds") == 0


async def test_held_calls_are_shown(watched: Watched) -> None:
    assert await watched.value("held_calls") == 0
    metrics.held_calls.add(1)
    assert await watched.value("held_calls") == 1
    metrics.held_calls.add(-1)


async def test_no_label_names_a_person_a_server_or_a_tool(watched: Watched) -> None:
    await watched.call("modern")
    said = (await watched.fleet.world.with_token(None).get("/metrics")).content.decode()
    row = watched.rows["modern"]
    for name in (row.id, row.slug, row.tenant_id, watched.fleet.user_id, '"add"'):
        assert name not in said


async def test_the_gateway_does_not_show_what_only_workers_measure() -> None:
    code = "from scaimcp.telemetry import metrics; import scaimcp.app; print(metrics.render())"
    command = [sys.executable, "-c", code]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert done.returncode == 0
    assert "scaimcp_remote_calls" in done.stdout
    assert "scaimcp_remote_servers" not in done.stdout


# --- parts ------------------------------------------------------------------------------------


def test_a_breaker_that_may_be_tried_is_told_from_an_open_one() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(5):
        with pytest.raises(UpstreamError), breaker.guard("rs_1"):
            raise ConnectError("Gone.")
    assert (breaker.open_servers(), breaker.trying_servers()) == (1, 0)
    clock.now += 10.0
    assert (breaker.open_servers(), breaker.trying_servers()) == (1, 1)
    with breaker.guard("rs_1"):
        pass
    assert (breaker.open_servers(), breaker.trying_servers()) == (0, 0)


async def test_waiting_for_a_place_is_timed_however_it_ends() -> None:
    def seen() -> tuple[float, float]:
        metrics.flush()
        child: Any = metrics.REMOTE_QUEUE_WAIT
        return sum(bucket.get() for bucket in child._buckets), child._sum.get()

    slots = Slots(1, 1, 0.05)
    before = seen()
    async with slots.hold("rs_1", "ann"):
        assert seen() == (before[0] + 1, before[1])
        with pytest.raises(UpstreamError):
            await slots.take("rs_1", "bob")
    after = seen()
    assert after[0] == before[0] + 2
    assert after[1] - before[1] >= 0.04


# --- measured by the worker -------------------------------------------------------------------


def shown(gauge: Any, *labels: str) -> float:
    child = gauge.labels(*labels) if labels else gauge
    return float(child._value.get())


async def test_the_worker_measures_what_is_stored(registry: Registry, upstream: Upstream) -> None:
    await registry.execute("DELETE FROM remote_servers")
    measurer = Measurer(registry.database)
    await measurer.measure()
    assert shown(stored.CREDENTIAL_OLDEST) == shown(stored.DISCOVERY_OVERDUE) == 0
    row = await registry.put(upstream.url, "one", auth_type=AuthType.BEARER)
    await registry.credential(row, "authorization", "v")
    await registry.put(upstream.url, "two")
    await registry.discover(row)
    await registry.execute(
        "UPDATE remote_credentials SET rotated_at = now() - interval '3 days' WHERE tenant_id = $1",
        row.tenant_id,
    )
    await registry.set_state(row, "next_discovery_at = now() - interval '90 s'")
    await measurer.measure()
    assert [shown(stored.SERVERS, status) for status in ("active", "error", "disabled")] == [
        1,
        1,
        0,
    ]
    assert shown(stored.CAPABILITIES, "tool", "advertised") == 1
    assert shown(stored.CAPABILITIES, "prompt", "held") == 0
    assert shown(stored.CREDENTIALS, "test") == 1
    assert 259_000 < shown(stored.CREDENTIAL_OLDEST) < 260_000
    assert 89 < shown(stored.DISCOVERY_OVERDUE) < 200
    await registry.execute("DELETE FROM remote_servers")
    await measurer.measure()
    assert shown(stored.SERVERS, "active") == shown(stored.CREDENTIALS, "test") == 0
    assert shown(stored.CREDENTIAL_OLDEST) == shown(stored.DISCOVERY_OVERDUE) == 0


async def test_measuring_begins_at_once_and_survives_a_database_that_is_away(
    registry_for: Opened,
) -> None:
    stored.SERVERS.labels("disabled").set(99)
    async with registry_for() as registry, measuring(registry.database):

        async def is_measured() -> bool:
            return shown(stored.SERVERS, "disabled") != 99

        await until(is_measured)
        closed = registry.database
    # Its pool is closed now.
    task = asyncio.get_running_loop().create_task(Measurer(closed).run(0.001))
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def fetched(port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def test_a_process_without_a_web_server_shows_its_metrics() -> None:
    with served_metrics("127.0.0.1:0") as port:
        status, said = await asyncio.to_thread(fetched, port, "/metrics")
        assert status == 200
        assert "scaimcp_remote_servers" in said
        assert (await asyncio.to_thread(fetched, port, "/other"))[0] == 404


async def test_a_client_that_breaks_off_is_no_event(capfd: pytest.CaptureFixture[str]) -> None:
    with served_metrics("127.0.0.1:0") as port:
        for said in (b"", b"GET /met", b"\x00\xff\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as line:
                line.sendall(said)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert (await asyncio.to_thread(fetched, port, "/metrics"))[0] == 200
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
async def test_a_worker_shows_what_it_measures(migrated_url: str, redis_url: str) -> None:
    more = {"METRICS_BIND": "127.0.0.1:0", "ENCRYPTION_LOCAL_KEK": KEK}
    with running_worker(environment(migrated_url, redis_url, **more)) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        line = await asyncio.to_thread(lambda: next(one for one in lines if "metrics se" in one))
        port = int(json.loads(line)["port"])

        async def is_measured() -> bool:
            _, said = await asyncio.to_thread(fetched, port, "/metrics")
            return 'scaimcp_remote_servers{status="active"}' in said

        await until(is_measured)
        said = await asyncio.to_thread(ended, process)
    assert process.returncode == 0
    assert "Traceback" not in said


async def test_metrics_are_served_over_ipv6_too() -> None:
    with served_metrics("[::1]:0") as port:
        if not port:
            pytest.skip("no IPv6 here")
        assert (await asyncio.to_thread(fetched, port, "/metrics", "[::1]"))[0] == 200


async def test_a_port_that_is_taken_leaves_the_process_without_metrics() -> None:
    with served_metrics("127.0.0.1:0") as port, served_metrics(f"127.0.0.1:{port}") as second:
        assert second == 0
    for bind in (None, "unix:/run/metrics"):
        with served_metrics(bind) as port:
            assert port == 0


# --- several processes ------------------------------------------------------------------------


_WORKER = """
import sys
from scaimcp.telemetry import metrics
for _ in range(int(sys.argv[1])):
    metrics.remote_call_outcome("tool", "ok", "modern")[0].inc()
metrics.remote_in_flight.add(2)
metrics.catalog_lag.see(float(sys.argv[1]))
with metrics.busy_sessions.shown(lambda: 3):
    print(metrics.render(sys.argv[2]).decode() if len(sys.argv) > 3 else metrics.flush())
"""


def run(folder: Path, *words: str) -> str:
    env = {**environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", _WORKER, *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_calls_of_several_processes_are_added_up(tmp_path: Path) -> None:
    run(tmp_path, "5", str(tmp_path))
    said = run(tmp_path, "2", str(tmp_path), "shown")
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(said)
        for sample in family.samples
        if sample.labels
        in ({}, {"state": "busy"}, {"kind": "tool", "outcome": "ok", "era": "modern"})
    }
    assert samples["scaimcp_remote_calls_total"] == 7
    assert samples["scaimcp_remote_inflight_calls"] == 4
    assert samples["scaimcp_remote_pool_sessions"] == 6
    assert samples["scaimcp_remote_catalog_lag_seconds"] == 5
    assert "scaimcp_remote_servers" not in said
