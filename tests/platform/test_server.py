"""The served platform: ports, files, and the command."""

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path

import pytest

from scaimcp.dev.platform import PlatformConfig, create_platform, serve_platform
from scaimcp.dev.platform.__main__ import parse
from scaimcp.dev.platform.errors import PlatformError
from tests.platform.conftest import Starter


async def test_an_application_made_before_can_be_served() -> None:
    app = create_platform()
    async with serve_platform(app) as served:
        assert served.platform is app.platform
        assert served.url == f"http://127.0.0.1:{served.port}"


async def test_the_platform_is_served_on_ipv6() -> None:
    async with serve_platform(host="::1") as served:
        assert served.url == f"http://[::1]:{served.port}"


async def test_a_taken_port_is_an_error() -> None:
    async with serve_platform() as served:
        app = create_platform()
        with pytest.raises(OSError, match="in use"):
            async with serve_platform(app, port=served.port):
                pass
        app.platform.store.close()


async def test_outgoing_requests_need_a_running_platform() -> None:
    platform = create_platform().platform
    with pytest.raises(PlatformError) as caught:
        assert platform.http
    assert caught.value.code == "SERVICE_UNAVAILABLE"
    await platform.stop()


async def test_a_file_keeps_keys_tokens_and_rows(start: Starter, tmp_path: Path) -> None:
    path = str(tmp_path / "platform.sqlite")
    async with serve_platform(PlatformConfig(database=path)) as served:
        rows = served.platform.store["users"].all()
        jwks = served.platform.keys.jwks
        pem = served.platform.keys.pem()
    world = await start(database=path)
    assert world.rows("users") == rows
    assert world.served.platform.keys.jwks == jwks
    assert world.served.platform.keys.pem() == pem
    assert (await world.as_("tenant_user").get("/v1/me")).status == 200


async def test_an_answer_under_way_is_finished_before_the_end() -> None:
    context = serve_platform()
    served = await context.__aenter__()
    served.platform.faults.replace([{"latency_ms": 100, "count": 1}])
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    rule = served.platform.faults._active[0][0]
    async with asyncio.timeout(30):
        while rule.count:  # noqa: ASYNC110 - a rule has no event
            await asyncio.sleep(0.001)
        await context.__aexit__(None, None, None)
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200")
    writer.close()


def test_the_command_line_has_defaults() -> None:
    options = parse([])
    assert (options.host, options.port, options.db, options.rate_limits) == (
        "127.0.0.1",
        8900,
        None,
        False,
    )


async def command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scaimcp.dev.platform",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = await command(
        "--port", "0", "--ready-file", str(ready), "--db", str(tmp_path / "p.db")
    )
    try:
        async with asyncio.timeout(20):
            while not ready.exists() or not ready.read_bytes():
                assert process.returncode is None
                await asyncio.sleep(0.02)
        port = json.loads(ready.read_bytes())["port"]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        writer.close()
    finally:
        process.send_signal(signal.SIGTERM)
        output, errors = await process.communicate()
    assert process.returncode == 0, errors
    assert b"NOT ScaiGrid" in output
    assert b"sgk_" in output
    assert errors == b""


async def test_the_command_says_when_it_cannot_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await command("--port", str(taken.getsockname()[1]))
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.startswith(b"cannot listen on 127.0.0.1:")
