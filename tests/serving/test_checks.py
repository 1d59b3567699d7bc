"""`scaimcp smoke` and `scaimcp doctor` against servers that are well and servers that are not."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import aiohttp
import pytest
import structlog

from scaimcp.cli.main import main
from scaimcp.dev.platform import Served
from scaimcp.dev.vault.server import serve_vault
from scaimcp.doctor import Check, check_settings, examine
from scaimcp.errors import SettingsError
from scaimcp.settings import Settings, environment, load
from scaimcp.smoke import Step, Target, check, endpoint
from scaimcp.types import Secret
from tests.dev.helpers import ROOT
from tests.serving.process import Launcher
from tests.serving.raw import TOKEN
from tests.stack import Services, create_database, drop_database

pytestmark = pytest.mark.slow
NAMES = [
    "anonymous is refused",
    "handshake initialize",
    "handshake notifications/initialized",
    "handshake tools/list",
    "handshake me_get",
    "modern server/discover",
    "modern tools/list",
    "modern me_get",
]


@pytest.fixture(autouse=True)
def own_logs() -> Iterator[None]:
    """Commands set up the log for their process; give it back."""
    root, kept = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**kept)


async def _smoke(url: str, token: str | None = TOKEN, **more: Any) -> list[Step]:
    target = Target(endpoint(url), Secret(token) if token else None, **more)
    return await asyncio.to_thread(lambda: list(check(target)))


async def test_smoke_is_content_with_a_gateway(launch: Launcher) -> None:
    gateway = await launch()
    steps = await _smoke(gateway.url)
    assert [step.name for step in steps if step.is_ok] == NAMES
    assert all(step.milliseconds >= 0 for step in steps)
    assert [s.detail for s in steps if s.name.endswith("me_get")] == ["caller user@acme.test"] * 2
    # All pages are read.
    assert steps[3].detail == steps[6].detail
    assert int(steps[3].detail.split()[0]) > 10
    handshake = await _smoke(f"{gateway.url}/mcp", eras="handshake")
    assert [step.name for step in handshake] == NAMES[:5]
    modern = await _smoke(gateway.url, eras="modern")
    assert [step.name for step in modern] == [NAMES[0], *NAMES[5:]]
    anonymous = await _smoke(gateway.url, None)
    assert [(step.name, step.is_ok) for step in anonymous] == [(NAMES[0], True)]


async def test_smoke_reads_lists_of_many_pages(launch: Launcher) -> None:
    gateway = await launch(LIMITS_LIST_PAGE="7")
    whole = await launch()
    paged, plain = await _smoke(gateway.url), await _smoke(whole.url)
    assert [step.detail for step in paged] == [step.detail for step in plain]


async def test_smoke_tells_a_token_that_is_refused_and_does_not_show_it(launch: Launcher) -> None:
    gateway = await launch()
    steps = await _smoke(gateway.url, "sgk_nobody_has_this_one")
    assert [step.name for step in steps if step.is_ok] == NAMES[:1]
    assert all("AUTH_TOKEN_INVALID" in step.detail for step in steps if "tools" in step.name)
    assert not any("nobody_has" in step.detail for step in steps)


async def test_the_command_ends_with_one_when_a_step_fails(
    launch: Launcher, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = await launch()
    good = ["smoke", gateway.url, "--token", TOKEN, "--era", "modern"]
    assert await asyncio.to_thread(main, good) == 0
    assert capsys.readouterr().out.count("ok  ") == 4
    assert await asyncio.to_thread(main, ["smoke", gateway.url, "--token", "sgk_wrong_one"]) == 1
    assert "sgk_wrong_one" not in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["smoke", gateway.url]) == 0
    assert "no token: nothing else was checked" in capsys.readouterr().out
    nobody = ["smoke", "http://127.0.0.1:2", "--token", TOKEN, "--timeout", "2"]
    assert await asyncio.to_thread(main, nobody) == 1
    said = capsys.readouterr().out
    assert said.count("FAIL") == said.count("ConnectionRefusedError") == 8
    assert TOKEN not in said


Script = Mapping[str, tuple[int, Mapping[str, str], bytes]]


@contextmanager
def _stranger(script: Script) -> Iterator[str]:
    """A server that answers each method as `script` says; the key "" is for all others."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            has_token = "authorization" in self.headers
            method = body["method"] if has_token else "anonymous"
            status, headers, content = script.get(method, script[""])
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _result(**members: Any) -> tuple[int, dict[str, str], bytes]:
    body = {"jsonrpc": "2.0", "id": 1, "result": members}
    return 200, {"content-type": "application/json"}, json.dumps(body).encode()


def _stream(**members: Any) -> tuple[int, dict[str, str], bytes]:
    _, _, body = _result(**members)
    content = b": keep-alive\n\nevent: message\ndata: " + body + b"\n\n"
    return 200, {"content-type": "text/event-stream"}, content


REFUSAL = (401, {"www-authenticate": 'Bearer resource_metadata="http://h"'}, b"")
PAGE = (200, {"content-type": "text/html"}, b"<h1>It works</h1>")
ME = [{"name": "me_get"}]
ERROR = b'{"error": {"code": -32603, "message": "no"}}'
SPEAKS = ["2026-07-28"]


@pytest.mark.parametrize(
    ("script", "step", "detail"),
    [
        ({"": PAGE}, 0, "HTTP 200 instead of 401"),
        ({"": (401, {}, b"")}, 0, "401 without resource_metadata in WWW-Authenticate"),
        ({"": PAGE}, 1, "HTTP 200 without a JSON-RPC message"),
        ({"": (200, {}, b"[1]")}, 1, "HTTP 200 without a JSON-RPC message"),
        ({"": (200, {"content-type": "text/event-stream"}, b"")}, 1, "HTTP 200 without a JSON-RPC"),
        ({"": _result(protocolVersion="2024-11-05")}, 1, "speaks 2024-11-05 instead of 2025-11-25"),
        ({"": (200, {}, b'{"result": 1}')}, 1, "the answer has no result"),
        ({"": PAGE}, 2, "HTTP 200 instead of 202"),
        ({"": _result()}, 3, "the answer has no tools"),
        ({"": _result(tools=[])}, 3, "0 tools, me_get is missing"),
        ({"": _result(tools=[7, {}], nextCursor="again")}, 3, "200 tools, me_get is missing"),
        ({"": _result(content=[])}, 4, "the answer has no user"),
        ({"": _result(content=[{"text": 7}, {"text": "no"}])}, 4, "the answer has no user"),
        ({"": _result(isError=True, content=[])}, 4, "refused with no error object"),
        ({"": _stream(supportedVersions=["2025-11-25"])}, 5, "does not speak 2026-07-28"),
        (
            {"": (500, {}, b'{"error": {"code": -32603, "message": "no"}}')},
            6,
            "HTTP 500, -32603 no",
        ),
    ],
)
async def test_smoke_says_what_is_wrong(script: Script, step: int, detail: str) -> None:
    with _stranger(script) as url:
        steps = await _smoke(url)
    assert [each.name for each in steps] == NAMES
    assert not steps[step].is_ok
    assert steps[step].detail.startswith(detail)


async def test_smoke_reads_streams_and_servers_without_a_name() -> None:
    user = json.dumps({"user": {}})
    script: Script = {
        "anonymous": REFUSAL,
        "initialize": _stream(protocolVersion="2025-11-25"),
        "notifications/initialized": (202, {}, b""),
        "tools/list": _stream(tools=ME),
        "server/discover": _stream(supportedVersions=SPEAKS),
        "": _stream(content=[{"text": user}]),
    }
    with _stranger(script) as url:
        steps = await _smoke(url)
    assert [step.detail for step in steps if not step.is_ok] == []
    assert steps[1].detail == "2025-11-25, unnamed server"
    assert steps[4].detail == "caller without a name"


async def test_smoke_shows_no_token_that_a_stranger_repeats() -> None:
    error = {"code": -1, "message": f"I got {TOKEN} and sgk_of_somebody_else"}
    script: Script = {"": (200, {}, json.dumps({"error": error}).encode())}
    with _stranger(script) as url:
        steps = await _smoke(url)
    assert steps[1].detail == "HTTP 200, -1 I got *** and [redacted]"


async def test_smoke_waits_no_longer_than_it_is_told() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    steps = await _smoke(f"http://127.0.0.1:{port}", None, timeout_seconds=0.2)
    server.close()
    await server.wait_closed()
    assert [step.detail for step in steps] == ["TimeoutError: timed out"]


async def test_smoke_tells_a_certificate_it_does_not_trust_by_scheme() -> None:
    with _stranger({"": PAGE}) as url:
        steps = await _smoke(url.replace("http:", "https:"), None, timeout_seconds=2)
    assert steps[0].detail.startswith("SSLError")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h", "http://h/mcp"),
        ("https://h:8443/", "https://h:8443/mcp"),
        ("http://[::1]:80/mcp/", "http://[::1]:80/mcp"),
        ("https://h/gateway/mcp?names=safe#x", "https://h/gateway/mcp?names=safe"),
    ],
)
def test_the_endpoint_is_found(given: str, expected: str) -> None:
    assert endpoint(given) == expected


# -- doctor --------------------------------------------------------------------------------------


@asynccontextmanager
async def _answering(content: bytes | None) -> AsyncIterator[str]:
    """A server that gives every request one answer; None closes the connection instead."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if content is not None:
            size = str(len(content)).encode()
            head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: " + size
            writer.write(head + b"\r\n\r\n" + content)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def _examined(settings: Settings) -> dict[str, Check]:
    return {made.name: made async for made in examine(settings)}


def _settings(launch: Launcher, **settings: str | None) -> Settings:
    env = launch.environment(**settings)
    return load({k: v for k, v in env.items() if k.startswith("SCAI")})


async def test_doctor_finds_everything_well(launch: Launcher) -> None:
    checks = await _examined(_settings(launch))
    assert list(checks) == [
        "public URL", "database", "schema", "redis", "platform", "sign-in", "browser sign-in",
        "scaivault",
    ]  # fmt: skip
    assert [made.detail for made in checks.values() if not made.is_ok or made.remedy] == []
    assert checks["sign-in"].detail.endswith("from the platform")
    assert checks["browser sign-in"].detail == "off, SCAIMCP_LOGIN_CLIENT_ID is not set"
    assert checks["scaivault"].detail == "off, SCAIMCP_SCAIVAULT_URL is not set"
    set_by_hand = await _examined(
        _settings(
            launch, AUTH_ISSUER="https://id.example.com", PUBLIC_URL="https://mcp.example.com"
        )
    )
    assert set_by_hand["sign-in"].detail == (
        "issuer https://id.example.com, from SCAIMCP_AUTH_ISSUER"
    )
    assert set_by_hand["public URL"].detail == "clients connect to https://mcp.example.com/mcp"


async def test_doctor_tells_a_schema_that_is_behind(
    launch: Launcher, embedded_stack: Services
) -> None:
    url = create_database(embedded_stack, "doctor_empty")
    try:
        checks = await _examined(_settings(launch, DATABASE_URL=url))
    finally:
        drop_database(embedded_stack, "doctor_empty")
    assert checks["database"].is_ok
    assert checks["schema"].detail.startswith("at nothing, this version needs ")
    assert checks["schema"].remedy == "run scaimcp migrate"


async def test_doctor_tells_what_cannot_be_reached_and_no_secret(launch: Launcher) -> None:
    checks = await _examined(
        _settings(
            launch,
            DATABASE_URL="postgresql://user:hidden@/x?host=/nowhere",
            REDIS_URL="redis://:hidden@127.0.0.1:2/0",
            PLATFORM_URL="http://127.0.0.1:2",
        )
    )
    failed = [made for made in checks.values() if not made.is_ok]
    assert [made.name for made in failed] == ["database", "schema", "redis", "platform", "sign-in"]
    assert all(made.remedy for made in failed)
    assert not any("hidden" in made.detail for made in failed)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"<html>", "the platform's answer cannot be read"),
        (b"{}", "the platform names no issuer"),
        (b'{"data": {"issuer": ""}}', "the platform names no issuer"),
    ],
)
async def test_doctor_tells_a_platform_that_is_none(
    launch: Launcher, content: bytes, detail: str
) -> None:
    async with _answering(content) as url:
        checks = await _examined(_settings(launch, PLATFORM_URL=url))
    assert checks["platform"].is_ok
    assert (checks["sign-in"].is_ok, checks["sign-in"].detail) == (False, detail)


async def test_doctor_asks_where_browsers_sign_in(launch: Launcher) -> None:
    checks = await _examined(_settings(launch, LOGIN_CLIENT_ID="scaimcp"))
    made = checks["browser sign-in"]
    assert made.is_ok
    assert made.detail.startswith(f"at {launch.platform.url}/")
    assert made.detail.endswith(", back at http://127.0.0.1:80/login/callback")


@pytest.mark.parametrize(
    ("content", "cause"),
    [(b"<html>", "distrusted (metadata)"), (b"{}", "distrusted (metadata)"), (None, "(connect)")],
)
async def test_doctor_tells_an_identity_provider_that_is_none(
    launch: Launcher, content: bytes | None, cause: str
) -> None:
    async with _answering(content) as url:
        settings = _settings(launch, LOGIN_CLIENT_ID="scaimcp", LOGIN_ISSUER=url)
        made = (await _examined(settings))["browser sign-in"]
    assert not made.is_ok
    assert made.detail.endswith(cause)
    assert "SCAIMCP_LOGIN_ISSUER" in made.remedy


async def test_doctor_asks_scaivault_and_tells_the_guards_of_all_tenants(launch: Launcher) -> None:
    async with serve_vault() as vault:
        plain = await _examined(_settings(launch, SCAIVAULT_URL=vault.url))
        guarded = await _examined(
            _settings(
                launch,
                SCAIVAULT_URL=vault.url,
                SCAIVAULT_READ_ONLY="true",
                SCAIVAULT_MASK_VALUES="yes",
                SCAIVAULT_ALLOWED_PATHS="b/,a",
                SCAIVAULT_DENIED_PATHS="a/hidden",
                SCAIVAULT_TOOL_GROUPS="secrets,audit",
            )
        )
        nothing = await _examined(
            _settings(
                launch,
                SCAIVAULT_URL=vault.url,
                SCAIVAULT_ALLOWED_PATHS="a/b",
                SCAIVAULT_DENIED_PATHS="a",
            )
        )
    assert plain["scaivault"].is_ok
    assert plain["scaivault"].detail == f"{vault.url} answers; for every tenant: no guards"
    assert guarded["scaivault"].is_ok
    assert guarded["scaivault"].detail.endswith(
        ": read-only; masked; only a, b; 1 denied; groups audit, secrets"
    )
    assert not nothing["scaivault"].is_ok
    assert "no path is reachable" in nothing["scaivault"].detail
    assert "SCAIMCP_SCAIVAULT_ALLOWED_PATHS" in nothing["scaivault"].remedy


@pytest.mark.parametrize(
    ("content", "detail"), [(b"<html>", "HTTP 200 for /v1/auth/whoami"), (None, "no answer (conne")]
)
async def test_doctor_tells_a_scaivault_that_is_none(
    launch: Launcher, content: bytes | None, detail: str
) -> None:
    async with _answering(content) as url:
        made = (await _examined(_settings(launch, SCAIVAULT_URL=url)))["scaivault"]
    assert not made.is_ok
    assert detail in made.detail
    assert "SCAIMCP_SCAIVAULT_URL" in made.remedy


async def test_doctor_tells_certificates_that_cannot_be_read(launch: Launcher) -> None:
    settings = _settings(
        launch, SCAIVAULT_URL="http://127.0.0.1:2", SCAIVAULT_CA_FILE="/no/such/file"
    )
    made = (await _examined(settings))["scaivault"]
    assert not made.is_ok
    assert "SCAIMCP_SCAIVAULT_CA_FILE" in made.remedy


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"SCAIVAULT_ALLOWED_PATHS": "a,B"}, "SCAIMCP_SCAIVAULT_ALLOWED_PATHS entry 2"),
        ({"SCAIVAULT_TOOL_GROUPS": "keys"}, "SCAIMCP_SCAIVAULT_TOOL_GROUPS entry 1"),
        ({"REMOTE_ALLOWED_PORTS": "x"}, "SCAIMCP_REMOTE_ALLOWED_PORTS"),
    ],
)
async def test_doctor_tells_lists_that_serve_would_refuse(
    launch: Launcher, setting: dict[str, str | None], named: str
) -> None:
    with pytest.raises(SettingsError, match=named):
        check_settings(_settings(launch, **setting))


async def test_doctor_does_not_wait_forever(launch: Launcher) -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    url = f"postgresql://user:hidden@127.0.0.1:{port}/x"
    checks = await _examined(_settings(launch, DATABASE_URL=url))
    server.close()
    await server.wait_closed()
    assert [checks[name].is_ok for name in ("database", "schema", "redis")] == [False, False, True]


async def test_doctor_needs_its_settings() -> None:
    with pytest.raises(SettingsError):
        await _examined(load({}))


async def test_the_command_ends_with_one_when_something_is_wrong(
    launch: Launcher,
    platform: Served,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in environment():
        if name.startswith("SCAI"):
            monkeypatch.delenv(name)
    for name, value in launch.environment().items():
        if name.startswith("SCAI"):
            monkeypatch.setenv(name, value)
    assert await asyncio.to_thread(main, ["doctor"]) == 0
    assert capsys.readouterr().out.count("ok  ") == 9
    rule = {"path": "/v1/scailink/auth/discover", "http_status": 404}
    async with aiohttp.ClientSession() as http:
        place = f"{platform.url}/__standin/faults"
        async with http.put(place, json=[rule]) as response:
            assert response.status == 200
        assert await asyncio.to_thread(main, ["doctor"]) == 1
        async with http.delete(place) as response:
            assert response.status == 204
    said = capsys.readouterr().out
    assert "FAIL" in said
    assert "-> set SCAIMCP_AUTH_ISSUER" in said


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_a_reader_that_has_left_is_no_fault(form: str) -> None:
    left, output = os.pipe()
    os.close(left)
    command = [sys.executable, "-m", "scaimcp", "catalog", "--format", form]
    done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, check=False)
    os.close(output)
    assert (done.returncode, done.stderr) == (1, b"")


async def test_migrate_goes_forth_and_back_and_tells_a_failure(
    embedded_stack: Services,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = create_database(embedded_stack, "migrate_command")
    monkeypatch.setenv("SCAIMCP_DATABASE_URL", url)
    try:
        assert await asyncio.to_thread(main, ["migrate"]) == 0
        assert await asyncio.to_thread(main, ["migrate", "--down", "--to", "base"]) == 0
    finally:
        drop_database(embedded_stack, "migrate_command")
    assert capsys.readouterr().out == "schema is at head\nschema is at base\n"
    monkeypatch.setenv("SCAIMCP_DATABASE_URL", "postgresql://user:hidden@/x?host=/nowhere")
    assert await asyncio.to_thread(main, ["migrate"]) == 1
    said = capsys.readouterr().err
    assert said == "scaimcp: migration failed (FileNotFoundError)\n"
