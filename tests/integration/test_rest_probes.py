"""Probes, metrics, and what surrounds every REST request."""

import time

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from scaimcp.app import create_app
from scaimcp.settings import load
from scaimcp.telemetry import stored
from tests.integration.relay import Relay
from tests.world import MODERN, Reply, World, gateway_environment, start_world

METRICS = {
    "requests_total", "request_duration_seconds", "inflight_requests", "tool_calls_total",
    "platform_requests_total", "platform_request_duration_seconds", "identity_checks_total",
    "rate_limited_total", "jobs_total", "job_duration_seconds", "audit_dropped_total",
    "remote_unseal_failures_total", "remote_consents_total", "remote_discoveries_total",
    "remote_discovery_duration_seconds", "remote_health_checks_total",
    "remote_status_changes_total", "remote_tool_changes_total", "remote_findings_total",
    "remote_endpoint_refused_total",
    "remote_calls_total", "remote_call_duration_seconds", "remote_gateway_overhead_seconds",
    "remote_queue_wait_seconds", "remote_session_restarts_total", "remote_inflight_calls",
    "remote_held_calls", "remote_pool_sessions", "remote_breaker_servers",
    "remote_catalog_lag_seconds",
}  # fmt: skip
# Shown by workers, which other tests may have opened in this process.
WORKERS = {metric._name for metric in stored.ALL}


async def test_a_sound_gateway_is_alive_and_ready(world: World) -> None:
    for path in ("/livez", "/readyz"):
        reply = await world.as_(None).get(path)
        assert (reply.status, reply.json["status"]) == (200, "ok")
        assert reply.headers["x-request-id"]
    assert (await world.as_(None).get("/readyz")).json["parts"] == {
        "postgres": "ok", "redis": "ok", "platform": "ok",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_are_asked_by_address_and_never_written_to(world: World, path: str) -> None:
    reply = await world.as_(None).get(path, headers={"host": "10.1.2.3:8080"})
    assert reply.status == 200
    for method in ("POST", "OPTIONS"):
        reply = await world.as_(None).send(None, path=path, method=method)
        assert (reply.status, reply.word) == (405, "METHOD_NOT_ALLOWED")


async def test_a_failing_platform_degrades_but_does_not_end_readiness(world: World) -> None:
    await world.fault({"path": "/health", "http_status": 503, "code": "SERVICE_UNAVAILABLE"})
    try:
        reply = await world.as_(None).get("/readyz")
    finally:
        await world.fault()
    assert (reply.status, reply.json["status"]) == (200, "degraded")
    assert reply.json["parts"] == {"postgres": "ok", "redis": "ok", "platform": "degraded"}


async def test_a_platform_that_hangs_does_not_hold_the_probe(world: World) -> None:
    await world.fault({"path": "/health", "latency_ms": 3_000, "count": 1})
    try:
        reply = await world.as_(None).get("/readyz")
    finally:
        await world.fault()
    assert reply.json["parts"]["platform"] == "degraded"


async def test_without_database_and_redis_platform_tools_go_on(
    database_url: str, redis_url: str
) -> None:
    """Both stores are behind relays that are shut while the gateway runs."""
    async with (
        Relay(database_url) as database,
        Relay(redis_url) as redis,
        start_world(database.relayed, redis.relayed) as world,
    ):
        assert (await world.as_(None).get("/readyz")).json["status"] == "ok"
        await database.shut()
        await redis.shut()
        reply = await until_degraded(world)
        assert reply.status == 200
        assert reply.json["parts"] == {
            "postgres": "degraded", "redis": "degraded", "platform": "ok",
        }  # fmt: skip
        client = world.as_("tenant_user")
        assert "models_list" in await client.names()
        assert (await client.call("models_list")).value["items"]


async def test_before_the_start_the_gateway_is_alive_but_not_ready() -> None:
    app = create_app(load(gateway_environment(1, "http://127.0.0.1:2", "postgresql://x/y",
                                              "redis://127.0.0.1:1/0")))  # fmt: skip
    assert (await asked(app, "/livez"))[0] == 200
    assert await asked(app, "/readyz") == (503, b'{"status":"starting","parts":{}}')
    status, body = await asked(app, "/mcp", "POST")
    assert status == 503
    assert b"GATEWAY_BUSY" in body


async def test_a_draining_gateway_is_not_ready_but_still_answers(
    database_url: str, redis_url: str
) -> None:
    async with start_world(database_url, redis_url) as world:
        world.app.drain()
        reply = await world.as_(None).get("/readyz")
        assert (reply.status, reply.json["status"]) == (503, "draining")
        assert (await world.as_(None).get("/livez")).status == 200
        assert await world.as_("tenant_user").names()


async def test_metrics_are_those_of_the_register(world: World) -> None:
    client = world.as_("tenant_user", MODERN)
    await client.names()
    await client.call("models_list")
    await client.call("models_create")
    await client.get("/v1/modules/scaimcp/explain")
    reply = await world.as_(None).get("/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain")
    text = reply.content.decode()
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    families = {name for name in families if not name.endswith("_created")}
    assert families - WORKERS == {f"scaimcp_{name}" for name in METRICS}
    for sample in (
        'scaimcp_requests_total{endpoint="mcp",method="tools/list",outcome="ok"}',
        'scaimcp_requests_total{endpoint="rest",method="explainTool",outcome="ok"}',
        'scaimcp_tool_calls_total{outcome="ok",source="platform"}',
        'scaimcp_tool_calls_total{outcome="refused",source="none"}',
        'scaimcp_platform_requests_total{outcome="ok"}',
        'scaimcp_identity_checks_total{outcome="ok"}',
    ):
        assert sample in text
    for secret in ("acme", "usr_", "tnt_", "models_list", "sgk_"):
        assert secret not in text


async def test_rest_failures_are_counted_with_their_status(world: World) -> None:
    await world.as_("tenant_user").get("/v1/modules/scaimcp/tools")
    await world.as_(None).get("/nothing/here")
    text = (await world.as_(None).get("/metrics")).content.decode()
    for sample in (
        'requests_total{endpoint="rest",method="listCatalogue",outcome="403"}',
        'requests_total{endpoint="rest",method="none",outcome="404"}',
    ):
        assert sample in text
    assert "nothing" not in text


# -- every REST request ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nothing", "/v1/modules/scaimcp/tools/", "/mcp/x/y/z"])
async def test_unknown_paths_are_404_in_the_envelope(world: World, path: str) -> None:
    reply = await world.as_("tenant_admin").get(path)
    assert (reply.status, reply.word) == (404, "NOT_FOUND")
    body = reply.json
    assert body["status"] == "error"
    assert set(body["error"]) == {"code", "message"}
    assert body["meta"] == {"request_id": reply.headers["x-request-id"]}


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/v1/modules/scaimcp/tools", "/openapi.json",
     "/.well-known/oauth-protected-resource"],
)  # fmt: skip
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_foreign_host_is_421_on_every_path(world: World, path: str, host: str) -> None:
    reply = await world.as_("tenant_admin").get(path, headers={"host": host})
    assert (reply.status, reply.word) == (421, "MISDIRECTED_REQUEST")
    assert reply.headers["x-request-id"]


@pytest.mark.parametrize(
    "path", ["/livez", "/openapi.json", "/v1/modules/scaimcp/explain", "/nothing"]
)
async def test_the_clients_request_id_is_kept_if_it_is_well_formed(world: World, path: str) -> None:
    client = world.as_("tenant_user")
    reply = await client.get(path, headers={"x-request-id": "my-own.id_1"})
    assert reply.headers["x-request-id"] == "my-own.id_1"
    for bad in ("two words", "x" * 129, "ä"):
        reply = await client.get(path, headers={"x-request-id": bad})
        made = reply.headers["x-request-id"]
        assert made.startswith("req_")
        assert len(made) == 30


async def test_the_request_id_reaches_the_platform_and_the_envelope(world: World) -> None:
    world.forget()
    reply = await world.as_("tenant_admin").get(
        "/v1/modules/scaimcp/tools", headers={"x-request-id": "seen-everywhere"}
    )
    assert reply.json["meta"]["request_id"] == "seen-everywhere"
    ids = {call["headers"]["x-request-id"] for call in (await world.calls("/v1/me"))[-1:]}
    assert ids == {"seen-everywhere"}


async def test_a_fault_of_the_gateway_is_500_without_its_cause(world: World) -> None:
    async def broken(request: Request) -> Response:
        raise RuntimeError("sgk_the_cause_of_it_all")

    routes = world.app._routes.router.routes
    routes.append(Route("/broken", broken))
    try:
        reply = await world.as_(None).get("/broken")
    finally:
        routes.pop()
    assert (reply.status, reply.word) == (500, "INTERNAL_ERROR")
    assert "cause_of" not in reply.content.decode()
    assert "RuntimeError" not in reply.content.decode()


async def test_a_port_of_its_own_serves_probes_and_metrics_only(
    database_url: str, redis_url: str
) -> None:
    async with start_world(database_url, redis_url, METRICS_BIND="127.0.0.1:0") as world:
        side = world.app.serve_metrics
        await world.as_("tenant_user").names()
        assert (await world.as_(None).get("/metrics")).status == 404
        assert (await world.as_(None).get("/readyz")).status == 200
        status, body = await asked(side, "/metrics")
        assert status == 200
        assert b"scaimcp_requests_total" in body
        status, body = await asked(side, "/readyz")
        assert (status, b'"postgres":"ok"' in body) == (200, True)
        assert (await asked(side, "/livez"))[0] == 200
        assert (await asked(side, "/v1/modules/scaimcp/tools"))[0] == 404
        assert (await asked(side, "/mcp", "POST"))[0] == 404


async def asked(app: ASGIApp, path: str, method: str = "GET") -> tuple[int, bytes]:
    """Ask an application that no server runs."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": [(b"host", b"127.0.0.1")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"]), bytes(sent[1]["body"])


async def until_degraded(world: World) -> Reply:
    """Ask for readiness until both stores are seen to be away."""
    deadline = time.monotonic() + 10
    while True:
        reply = await world.as_(None).get("/readyz")
        states = [reply.json["parts"][part] for part in ("postgres", "redis")]
        if states == ["degraded", "degraded"] or time.monotonic() > deadline:
            return reply
