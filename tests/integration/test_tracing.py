"""Spans at a real OTLP/HTTP collector, and what tracing must not cost or tell."""

from __future__ import annotations

import asyncio
import contextlib
import io
import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import create_pool

from scaimcp import __version__, queue
from scaimcp.scaigrid.client import PlatformClient
from scaimcp.server.endpoint import McpEndpoint
from scaimcp.settings import load
from scaimcp.telemetry.logs import configure_logs
from scaimcp.telemetry.tracing import open_tracing
from scaimcp.types import Secret
from scaimcp.worker import create_worker
from tests.integration.collector import CLIENT, INTERNAL, Collector, start_collector
from tests.waiting import until
from tests.world import MODERN, World, gateway_environment, start_world

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
DELAY = "OTEL_BSP_SCHEDULE_DELAY"


@contextlib.contextmanager
def environment(**names: str) -> Iterator[dict[str, str]]:
    """Set names that the OpenTelemetry library reads by itself."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        yield names


@pytest_asyncio.fixture(scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with start_collector() as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def traced(collector: Collector, database_url: str, redis_url: str) -> AsyncIterator[World]:
    names = {ENDPOINT: collector.url, DELAY: "20", "OTEL_RESOURCE_ATTRIBUTES": "stage=test"}
    with environment(**names) as env:
        async with start_world(database_url, redis_url, environment=env) as running:
            yield running


def headers(**more: str) -> dict[str, str]:
    return {"x-request-id": f"req_{secrets.token_hex(8)}", **more}


# --- spans --------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", [MODERN, "2025-11-25"])
async def test_a_list_has_a_span_below_the_clients_own(
    traced: World, collector: Collector, revision: str
) -> None:
    traced.forget()
    await traced.control("DELETE", "/calls")
    lines = headers(traceparent=TRACEPARENT)
    assert (
        await traced.as_("tenant_admin", revision).rpc("tools/list", headers=lines)
    ).status == 200
    server, asked = await collector.request(lines["x-request-id"])
    assert (server.name, server.trace, server.parent) == ("mcp tools/list", TRACE, CALLER)
    assert server.attributes == {
        "scaimcp.request_id": lines["x-request-id"],
        "mcp.method.name": "tools/list",
        "mcp.protocol.version": revision,
        "http.response.status_code": 200,
    }
    assert not server.has_failed
    assert server.resource["service.name"] == "scaimcp"
    assert server.resource["service.version"] == __version__
    assert server.resource["stage"] == "test"
    assert asked
    assert {(span.trace, span.parent) for span in asked} == {(TRACE, server.id)}
    sent = {call["headers"]["traceparent"][:53] for call in await traced.calls("/v1/")}
    assert sent == {f"00-{TRACE}-{span.id}-" for span in asked}


async def test_a_call_names_its_tool_and_the_platforms_answer(
    traced: World, collector: Collector
) -> None:
    lines = headers()
    called = await traced.as_("tenant_admin").call("models_list", {"limit": 3}, headers=lines)
    assert not called.is_error
    server, asked = await collector.request(lines["x-request-id"])
    assert (server.name, server.parent) == ("mcp tools/call", "")
    assert server.attributes["gen_ai.tool.name"] == "models_list"
    assert "error.type" not in server.attributes
    span = asked[-1]
    host, port = traced.platform.url.removeprefix("http://").split(":")
    assert span.name == "GET"
    assert span.attributes == {
        "http.request.method": "GET",
        "server.address": host,
        "server.port": int(port),
        "http.response.status_code": 200,
        "scaimcp.request_id": lines["x-request-id"],
    }


async def test_a_failed_call_names_its_stable_code(traced: World, collector: Collector) -> None:
    lines = headers()
    arguments = {"model": "mdl_nobody_has"}
    called = await traced.as_("tenant_admin").call("models_get", arguments, headers=lines)
    server, asked = await collector.request(lines["x-request-id"])
    assert server.attributes["error.type"] == called.code
    assert server.attributes["http.response.status_code"] == 200
    assert server.has_failed
    assert asked[-1].attributes["http.response.status_code"] == 404
    assert asked[-1].attributes["error.type"] == called.code
    assert asked[-1].has_failed


@pytest.mark.parametrize(
    ("method", "params", "name", "code"),
    [
        ("tools/call", {"name": "nonsense"}, "tools/call", "TOOL_NOT_FOUND"),
        ("tools/call", {}, "tools/call", "-32602"),
        ("tools/cull", {}, "other", "-32601"),
    ],
)
async def test_a_refused_message_names_its_code_or_number(
    traced: World, collector: Collector, method: str, params: Any, name: str, code: str
) -> None:
    lines = headers()
    await traced.as_("tenant_admin").rpc(method, params, headers=lines)
    server, _ = await collector.request(lines["x-request-id"])
    assert (server.name, server.attributes["error.type"]) == (f"mcp {name}", code)


async def test_a_request_without_a_token_has_a_span_as_well(
    traced: World, collector: Collector
) -> None:
    lines = headers()
    assert (await traced.as_(None).rpc("tools/list", headers=lines)).status == 401
    server, asked = await collector.request(lines["x-request-id"])
    assert server.attributes["error.type"] == "AUTH_TOKEN_MISSING"
    assert server.attributes["http.response.status_code"] == 401
    assert server.name == "mcp none"
    assert asked == []


async def test_a_name_that_no_tool_has_is_not_told(traced: World, collector: Collector) -> None:
    lines = headers()
    await traced.as_("tenant_admin").call("hunter2", headers=lines)
    server, _ = await collector.request(lines["x-request-id"])
    assert server.attributes["error.type"] == "TOOL_NOT_FOUND"
    assert "gen_ai.tool.name" not in server.attributes


async def test_a_batch_is_one_request_and_every_call_hangs_below_it(
    traced: World, collector: Collector
) -> None:
    lines, client = headers(), traced.as_("tenant_admin", "2025-03-26")
    await client.rpc("tools/list")
    params = {"name": "models_list", "arguments": {}}
    calls = [client.request("tools/call", params, number) for number in range(3)]
    reply = await client.send([*calls, client.request("tools/cull", None, 9)], headers=lines)
    assert len(reply.json) == 4
    server, asked = await collector.request(lines["x-request-id"])
    assert (server.name, server.attributes["error.type"]) == ("mcp batch", "-32601")
    assert "gen_ai.tool.name" not in server.attributes
    assert [span.parent for span in asked] == [server.id] * 3
    assert len({span.id for span in asked}) == 3


async def test_a_client_that_leaves_ends_the_span_without_a_status(
    traced: World, collector: Collector
) -> None:
    await traced.fault({"path": "/v1/models", "latency_ms": 1500})
    lines = headers()
    params = {"name": "models_list", "arguments": {}}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await traced.as_("tenant_admin").rpc("tools/call", params, headers=lines)
    server, _ = await collector.request(lines["x-request-id"])
    await traced.fault()
    assert server.attributes["error.type"] == "cancelled"
    assert "http.response.status_code" not in server.attributes
    await until(lambda: [s for s in collector.of(lines["x-request-id"]) if s.kind == CLIENT])
    client = [s for s in collector.of(lines["x-request-id"]) if s.kind == CLIENT][-1]
    assert client.attributes["error.type"] == "cancelled"


async def test_what_is_not_sent_during_a_back_off_has_no_span(
    traced: World, collector: Collector
) -> None:
    await traced.as_("tenant_admin").call("models_list")
    await traced.fault({"path": "/v1/models", "rate_limited": True, "count": 1})
    try:
        first, second = headers(), headers()
        for lines in (first, second):
            called = await traced.as_("tenant_admin").call("models_list", headers=lines)
            assert called.code == "RATE_LIMITED"
    finally:
        await traced.fault()
        traced.forget()
    _, asked = await collector.request(first["x-request-id"])
    assert asked[-1].attributes["error.type"] == "RATE_LIMITED"
    _, asked = await collector.request(second["x-request-id"])
    assert asked == []


async def test_a_trace_that_the_client_does_not_sample_is_passed_on_unrecorded(
    traced: World, collector: Collector
) -> None:
    await traced.as_("tenant_admin").rpc("tools/list")
    await traced.control("DELETE", "/calls")
    lines = headers(traceparent=f"00-{TRACE}-{CALLER}-00")
    await traced.as_("tenant_admin").call("models_list", headers=lines)
    after = headers()
    await traced.as_("tenant_admin").rpc("tools/list", headers=after)
    await collector.request(after["x-request-id"])
    assert collector.of(lines["x-request-id"]) == []
    (call,) = await traced.calls("/v1/models")
    assert call["headers"]["traceparent"].startswith(f"00-{TRACE}-")
    assert call["headers"]["traceparent"].endswith("-00")


async def test_spans_hold_no_token_no_argument_and_no_address_of_a_resource(
    traced: World, collector: Collector
) -> None:
    lines, words = headers(), ("mdl_very_private", "q_very_private", "tool_" + "x" * 500)
    client = traced.as_("tenant_admin")
    await client.call("models_get", {"model": words[0]}, headers=lines)
    await client.call("tools_search", {"query": words[1]}, headers=headers())
    await client.call(words[2], headers=headers())
    last = headers()
    await client.rpc("tools/list", headers=last)
    await collector.request(last["x-request-id"])
    exported = b"".join(collector.bodies)
    assert b"models_get" in exported
    for secret in (*words, "/v1/models", "limit", str(client.token)):
        assert secret.encode() not in exported, secret


# --- off ----------------------------------------------------------------------------------------


async def test_without_otel_names_the_inbound_context_is_passed_on_as_it_is(world: World) -> None:
    services = world.app.services
    assert services is not None
    assert type(services.endpoint) is McpEndpoint
    assert type(services.platform) is PlatformClient
    await world.as_("tenant_admin").rpc("tools/list")
    await world.control("DELETE", "/calls")
    await world.as_("tenant_admin").call("models_list", headers={"traceparent": TRACEPARENT})
    await world.as_("tenant_admin").call("models_list")
    sent = [call["headers"].get("traceparent") for call in await world.calls("/v1/models")]
    assert sent == [TRACEPARENT, None]


# --- collectors that fail -----------------------------------------------------------------------


async def test_what_is_left_is_exported_at_the_end(collector: Collector) -> None:
    names = {ENDPOINT: collector.url, DELAY: "60000", "OTEL_SERVICE_NAME": "named"}
    with environment(**names):
        async with open_tracing(True, "scaimcp", "1") as tracing:
            assert tracing is not None
            tracing.start("last words", "INTERNAL", None, {}).end({})
    (span,) = [span for span in collector.spans if span.name == "last words"]
    assert span.resource["service.name"] == "named"


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Everything that a server would log during the test."""
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        configure_logs("warning", "json")
    yield written
    configure_logs("error", "json")


async def test_a_collector_that_is_away_costs_one_warning_and_no_request(
    database_url: str, redis_url: str, logged: io.StringIO
) -> None:
    names = {ENDPOINT: "http://127.0.0.1:1", DELAY: "20", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with environment(**names) as env:
        async with start_world(database_url, redis_url, environment=env) as away:
            client = away.as_("tenant_admin")
            assert not (await client.call("models_list")).is_error
            await until(lambda: "spans cannot be exported" in logged.getvalue(), 30)
            # Exported, in vain again, at the end at the latest.
            assert not (await client.call("models_list")).is_error
    warnings = logged.getvalue()
    assert warnings.count("spans cannot be exported") == 1
    assert "opentelemetry" not in warnings
    assert "Traceback" not in warnings


async def test_a_collector_that_hangs_does_not_hold_up_the_end() -> None:
    is_asked, release = asyncio.Event(), asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_asked.set()
        await release.wait()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        with environment(**{ENDPOINT: f"http://127.0.0.1:{port}", DELAY: "20"}):
            async with open_tracing(True, "scaimcp", "1") as tracing:
                assert tracing is not None
                tracing.start("never heard", "INTERNAL", None, {}).end({})
                async with asyncio.timeout(30):
                    await is_asked.wait()
            # Here at all: the collector still hangs.
            assert not release.is_set()
        release.set()


async def test_more_spans_than_fit_are_dropped_and_nobody_waits(collector: Collector) -> None:
    names = {
        ENDPOINT: collector.url,
        DELAY: "60000",
        "OTEL_BSP_MAX_QUEUE_SIZE": "8",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
    }
    with environment(**names):
        async with open_tracing(True, "scaimcp", "1") as tracing:
            assert tracing is not None
            for _ in range(5000):
                tracing.start("flood", "INTERNAL", None, {}).end({})
    assert 0 < len([span for span in collector.spans if span.name == "flood"]) <= 5000


# --- the worker ---------------------------------------------------------------------------------


# arq closes its client by a name that the Redis library has given up.
@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
async def test_a_job_has_a_span_of_the_worker(
    traced: World, collector: Collector, database_url: str, redis_url: str
) -> None:
    names = {ENDPOINT: collector.url, DELAY: "20"}
    pool = await create_pool(
        queue.connection(Secret(redis_url)),
        job_serializer=queue.serialize,
        job_deserializer=queue.deserialize,
        default_queue_name=queue.QUEUE,
    )
    with environment(**names):
        env = gateway_environment(1, traced.platform.url, database_url, redis_url)
        worker = create_worker(load({**env, **names}))
        worker.burst = True
        try:
            await pool.enqueue_job("audit_prune")
            await worker.async_run()
        finally:
            await worker.close()
            await pool.aclose()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().remove_signal_handler(number)
    (span,) = [span for span in collector.spans if span.name == "job audit_prune"]
    assert (span.kind, span.parent, span.has_failed) == (INTERNAL, "", False)
    assert span.resource["service.name"] == "scaimcp-worker"
