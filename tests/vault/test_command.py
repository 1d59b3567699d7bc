"""The command and the server."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from scaimcp.dev.vault import create_vault, serve_vault
from scaimcp.dev.vault.__main__ import parse

COMMAND = (sys.executable, "-m", "scaimcp.dev.vault", "--port", "0", "--rate-limits")


async def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "--ready-file", str(ready), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(6)]
    assert "NOT ScaiVault" in lines[0]
    assert lines[2].split() == ["sa:agent", "skt_agent_a"]
    url = lines[1].removeprefix("Listening on ").strip()
    # The command that is suggested finds the vault.
    assert f"SCAIVAULT_URL={url} SCAIVAULT_TOKEN=skt_agent_a scaivault-mcp --check" in lines[5]
    async with aiohttp.ClientSession() as http, http.get(url + "/v1/health") as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert msgspec.json.decode(ready.read_bytes()) == {
        "url": url,
        "port": int(url.rpartition(":")[2]),
    }


async def test_a_taken_port_ends_the_command_with_a_reason() -> None:
    async with serve_vault() as served:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--port", str(served.port), stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().startswith(f"cannot listen on port {served.port}:")


def test_options_have_defaults() -> None:
    options = parse([])
    assert (options.port, options.jwks_url, options.rate_limits) == (8910, None, False)


async def test_an_application_made_before_can_be_served() -> None:
    app = create_vault()
    async with serve_vault(app) as served:
        assert served.vault is app.vault
        assert served.url.startswith("http://127.0.0.1:")


async def test_a_server_with_a_lifespan_is_answered() -> None:
    wanted = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    said: list[str] = []

    async def receive() -> Any:
        return next(wanted)

    async def send(message: Any) -> None:
        said.append(message["type"])

    await create_vault()({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
