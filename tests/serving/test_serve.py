"""`scaimcp serve` on both servers: addresses, TLS, HTTP/2, probes."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import aiohttp
import h2.connection
import h2.events
import httpx2
import pytest

from scaimcp.serving.engines import choose
from scaimcp.settings import load
from tests.serving.certificate import make_certificate, trusting
from tests.serving.process import Gateway, Launcher, client, me
from tests.serving.raw import CALL, TOKEN, Line, call, get, post
from tests.world import JSON_AND_SSE

pytestmark = pytest.mark.slow
ENGINES = ("uvicorn", "hypercorn")
both = pytest.mark.parametrize("engine", ENGINES)
USER = "user@acme.test"


async def _get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        return response.status, await response.text()


@both
async def test_it_serves_and_ends_with_zero(launch: Launcher, engine: str) -> None:
    begun = time.monotonic()
    gateway = await launch(SERVER_ENGINE=engine)
    status, body = await _get(f"{gateway.url}/readyz")
    print(f"cold start on {engine}: {time.monotonic() - begun:.2f} s")
    assert (status, '"ok"' in body) == (200, True)
    assert gateway.listening["engine"] == engine
    assert (await _get(f"{gateway.url}/livez"))[0] == 200
    assert "scaimcp_requests_total" in (await _get(f"{gateway.url}/metrics"))[1]
    async with client(gateway) as http:
        assert await me(http) == USER
        assert (await http.using(token=None).call("me_get")).reply.status == 401
    assert await gateway.stop() == 0


@both
async def test_no_header_names_the_server(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    line = await launch.line(gateway.port)
    for request in (get("/livez"), call("me_get")):
        answer = await line.ask(request)
        assert answer.status == 200
        assert "date" in answer.headers
        assert "server" not in answer.headers
        assert not answer.is_last


@both
async def test_tls_is_served(launch: Launcher, place: Path, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine, **make_certificate(place))
    assert gateway.url.startswith("https://127.0.0.1:")
    async with client(gateway, ssl=trusting(place)) as http:
        assert await me(http) == USER
    # What is not TLS is turned away without a word in the log.
    plain = await launch.line(gateway.port)
    await plain.send(get("/livez"))
    assert await plain.is_closed()
    assert await gateway.stop() == 0
    assert len(gateway.log) == 2


async def test_http2_is_served_over_tls(launch: Launcher, place: Path) -> None:
    gateway = await launch(SERVER_HTTP2="true", **make_certificate(place))
    assert gateway.listening["engine"] == "hypercorn"
    async with httpx2.AsyncClient(http2=True, verify=trusting(place)) as http:
        answers = await asyncio.gather(*(_call_me(http, gateway) for _ in range(20)))
        assert {(answer.http_version, answer.status_code) for answer in answers} == {
            ("HTTP/2", 200)
        }
    # HTTP/1.1 stays.
    async with client(gateway, ssl=trusting(place)) as http1:
        assert await me(http1) == USER


async def _call_me(
    http: httpx2.AsyncClient, gateway: Gateway, token: str = TOKEN, size: int = 0
) -> httpx2.Response:
    headers = {
        "authorization": f"Bearer {token}",
        "accept": JSON_AND_SSE,
        "mcp-protocol-version": "2025-11-25",
    }
    body = {**CALL, "params": {"name": "me_get", "arguments": {}, "padding": "x" * size}}
    return await http.post(f"{gateway.url}/mcp", json=body, headers=headers, timeout=20)


async def test_http2_outlives_a_body_that_nobody_read(launch: Launcher, place: Path) -> None:
    gateway = await launch(SERVER_HTTP2="true", **make_certificate(place))
    await gateway.fault({"path": "/v1/me", "latency_ms": 300})
    async with httpx2.AsyncClient(http2=True, verify=trusting(place)) as http:
        refused = [_call_me(http, gateway, "sgk_wrong", 3_000_000) for _ in range(3)]
        served = [_call_me(http, gateway) for _ in range(5)]
        answers = await asyncio.gather(*refused, *served)
    assert [answer.status_code for answer in answers] == [401] * 3 + [200] * 5
    await gateway.fault()


async def test_http2_outlives_data_for_a_stream_that_was_answered(launch: Launcher) -> None:
    gateway = await launch(SERVER_HTTP2="true")
    line = await launch.line(gateway.port)
    wire = h2.connection.H2Connection()
    wire.initiate_connection()
    start = [(":authority", "localhost"), (":scheme", "http")]
    post_ = [(":method", "POST"), (":path", "/mcp"), ("content-type", "application/json")]
    wire.send_headers(1, [*start, *post_])
    await line.send(wire.data_to_send())
    # The gateway waits some seconds for the body, then answers without it.
    assert await _status(line, wire, 1) == b"401"
    wire.send_data(1, b"too late", end_stream=True)
    wire.send_headers(3, [*start, (":method", "GET"), (":path", "/livez")], end_stream=True)
    await line.send(wire.data_to_send())
    assert await _status(line, wire, 3) == b"200"


async def _status(line: Line, wire: h2.connection.H2Connection, stream: int) -> bytes:
    """Read until a stream has been answered; return its status."""
    status = b""
    while True:
        data = await line.reader.read(65_536)
        assert data, "the connection has been closed"
        for event in wire.receive_data(data):
            if getattr(event, "stream_id", None) != stream:
                continue
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[b":status"]
            if isinstance(event, h2.events.StreamEnded):
                return status


async def test_http2_is_off_unless_it_is_set(launch: Launcher, place: Path) -> None:
    gateway = await launch(**make_certificate(place))
    assert gateway.listening["engine"] == "hypercorn"
    async with httpx2.AsyncClient(http2=True, verify=trusting(place)) as http:
        assert (await _call_me(http, gateway)).http_version == "HTTP/1.1"


async def test_http2_without_tls_needs_a_client_that_knows(launch: Launcher) -> None:
    gateway = await launch(SERVER_HTTP2="true")
    async with httpx2.AsyncClient(http1=False, http2=True) as http:
        assert (await _call_me(http, gateway)).http_version == "HTTP/2"


@both
async def test_nothing_is_upgraded(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    line = await launch.line(gateway.port)
    to_http2 = (
        b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    )
    answer = await line.ask(get("/livez")[:-2] + to_http2 + b"\r\n")
    assert (answer.status, answer.json) == (200, {"status": "ok"})
    line = await launch.line(gateway.port)
    to_websocket = (
        b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    assert (await line.ask(get("/mcp")[:-2] + to_websocket + b"\r\n")).status in (403, 405)
    assert await gateway.stop() == 0
    assert len(gateway.log) == 2


@both
async def test_a_head_without_end_is_refused(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    line = await launch.line(gateway.port)
    await line.send(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n")
    # More than the kernel's buffers take on both sides of a slow machine.
    sent, most = 0, 64_000_000
    try:
        while sent < most:
            await line.send(b"x-more: " + b"x" * 8_000 + b"\r\n")
            sent += 8_000
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    assert sent < most
    assert await gateway.stop() == 0


@both
async def test_a_long_bearer_is_no_trouble(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    line = await launch.line(gateway.port)
    answer = await line.ask(post(CALL, token="x" * 20_000))
    assert answer.status == 401


@both
async def test_what_is_no_http_is_400(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    line = await launch.line(gateway.port)
    assert (await line.ask(b"\x16\x03\x01 what\r\n\r\n")).status == 400
    assert await line.is_closed()
    assert await gateway.stop() == 0
    assert len(gateway.log) == 2


@both
async def test_a_large_body_that_is_refused_early_gets_its_answer(
    launch: Launcher, engine: str
) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    await gateway.fault({"path": "/v1/me", "latency_ms": 300})
    large = post(b"x" * 3_000_000, token="sgk_wrong_too")
    line = await launch.line(gateway.port)
    assert [(await line.ask(large)).status for _ in range(2)] == [401, 401]
    assert (await line.ask(call("me_get"))).status == 200
    too_large = await line.ask(post(b"x" * 17_000_000))
    assert (too_large.status, too_large.json["error"]["data"]["error"]["code"]) == (
        413,
        "PAYLOAD_TOO_LARGE",
    )
    assert await gateway.stop() == 0


@both
async def test_a_body_in_pieces_is_put_together(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine)
    line = await launch.line(gateway.port)
    whole = call("me_get")
    for at in range(0, len(whole), 40):
        await line.send(whole[at : at + 40])
        await asyncio.sleep(0)
    assert (await line.answer()).json["result"]["isError"] is False
    # Two requests at once are answered one after the other.
    await line.send(get("/livez") + get("/livez"))
    assert [(await line.answer()).status for _ in range(2)] == [200, 200]


@both
async def test_unix_sockets_are_served(launch: Launcher, place: Path, engine: str) -> None:
    path = place / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    gateway = await launch(SERVER_ENGINE=engine, SERVER_BIND=f"unix:{path}")
    assert gateway.listening["addresses"] == [f"unix:{path}"]
    async with client(gateway, path=str(path)) as http:
        assert await me(http) == USER
    code, said = await launch.refused(SERVER_BIND=f"unix:{path}")
    assert (code, said) == (5, f"scaimcp: cannot listen on unix:{path}: Address already in use\n")
    assert await gateway.stop() == 0
    assert not path.exists()


async def test_a_unix_socket_of_a_successor_is_left_alone(launch: Launcher, place: Path) -> None:
    path = place / "gateway.sock"
    gateway = await launch(SERVER_BIND=f"unix:{path}")
    assert gateway.listening["engine"] == "hypercorn"
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(str(path))
        assert await gateway.stop() == 0
        assert path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(launch: Launcher, place: Path) -> None:
    path = place / "notes"
    path.write_text("mine")
    code, said = await launch.refused(SERVER_BIND=f"unix:{path}")
    assert (code, said) == (5, f"scaimcp: cannot listen on unix:{path}: Address already in use\n")
    assert path.read_text() == "mine"


@both
async def test_several_addresses_are_served(launch: Launcher, place: Path, engine: str) -> None:
    path = place / "gateway.sock"
    binds = f"127.0.0.1:0,localhost:0,unix:{path}"
    gateway = await launch(SERVER_ENGINE=engine, SERVER_BIND=binds)
    addresses = gateway.listening["addresses"]
    assert len(addresses) == 3
    for address in addresses[:2]:
        assert (await _get(f"{address}/livez"))[0] == 200
    async with client(gateway, path=str(path)) as http:
        assert await me(http) == USER
    assert await gateway.stop() == 0


@both
async def test_metrics_move_to_an_address_of_their_own(launch: Launcher, engine: str) -> None:
    gateway = await launch(SERVER_ENGINE=engine, METRICS_BIND="127.0.0.1:0")
    async with client(gateway) as http:
        assert await me(http) == USER
    for path in ("/livez", "/readyz"):
        assert (await _get(f"{gateway.url}{path}"))[0] == 200
        assert (await _get(f"{gateway.metrics_url}{path}"))[0] == 200
    assert (await _get(f"{gateway.url}/metrics"))[0] == 404
    status, body = await _get(f"{gateway.metrics_url}/metrics")
    assert status == 200
    assert 'scaimcp_tool_calls_total{outcome="ok",source="platform"} 1.0' in body
    assert (await _get(f"{gateway.metrics_url}/mcp"))[0] == 404
    assert await gateway.stop() == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "uvicorn"),
        ({"SERVER_BIND": "127.0.0.1:1,unix:/run/x"}, "hypercorn"),
        ({"SERVER_HTTP2": "true"}, "hypercorn"),
        ({"SERVER_TLS_CERT_FILE": "/c", "SERVER_TLS_KEY_FILE": "/k"}, "hypercorn"),
        ({"SERVER_ENGINE": "uvicorn", "SERVER_BIND": "unix:/run/x"}, "uvicorn"),
        ({"SERVER_ENGINE": "hypercorn"}, "hypercorn"),
    ],
)
def test_the_server_is_chosen_by_what_is_served(settings: dict[str, str], expected: str) -> None:
    given = {f"SCAIMCP_{name}": value for name, value in settings.items()}
    assert choose(load(given)) == expected
