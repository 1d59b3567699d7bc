"""Where ``scaivault-mcp`` listens, and many clients at once. Spec: scaivault 4."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.faults import Fault
from scaimcp.dev.vault.fixture import AGENT
from scaimcp.dev.vault.server import Served, serve_vault
from tests.integration.scaivault.child import (
    AUTH_TOKEN,
    INITIALIZE,
    META,
    PING,
    READ,
    ROOT,
    SECRET,
    VALUE,
    environment,
    free_port,
    opened,
    run,
    started,
    web,
)

pytestmark = pytest.mark.slow

BEARER = {"authorization": f"Bearer {AUTH_TOKEN}"}
OPEN_HOSTS = ("0.0.0.0", "::", "[::]", "192.0.2.7", "2001:db8::1", "vault.example", "127.1")
REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


@pytest_asyncio.fixture(scope="module")
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as served:
        yield served


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["::1", "[::1]", "127.0.0.2", "localhost"])
async def test_every_loopback_address_can_be_listened_on(vault: Served, host: str) -> None:
    async with web("streamable-http", vault.url, MCP_HOST=host) as running:
        assert VALUE in (await running.post(READ))[2].decode()
        port = running.url.rpartition(":")[2]
        for name in ("127.0.0.1", "localhost", "[::1]"):
            assert (await running.post(PING, host=f"{name}:{port}"))[0] == 200
        assert (await running.post(PING, host=f"vault.example:{port}"))[0] == 421


async def test_an_option_wins_over_its_variable(vault: Served) -> None:
    port = str(free_port("::1"))
    env = environment(vault.url, MCP_TRANSPORT="stdio", MCP_HOST="0.0.0.0", PORT="1")
    options = ("--transport", "sse", "--host", "::1", "--port", port)
    async with started(env, *options) as child:
        listening = await child.said('"listening"')
    line = next(line for line in listening.splitlines() if '"listening"' in line)
    told = msgspec.json.decode(line)
    assert (told["transport"], told["host"], told["port"]) == ("sse", "::1", int(port))


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
@pytest.mark.parametrize("host", OPEN_HOSTS)
async def test_no_address_beyond_this_machine_is_listened_on_without_a_bearer(
    transport: str, host: str
) -> None:
    ended = await run(env=environment(MCP_TRANSPORT=transport, MCP_HOST=host))
    assert (ended.code, ended.stdout) == (5, "")
    assert "MCP_AUTH_TOKEN is required" in ended.stderr


async def test_with_a_bearer_it_warns_of_plain_http_and_takes_any_host(vault: Served) -> None:
    # Not known as an address of this machine, which it is: nobody else reaches the test.
    async with web(
        "streamable-http", vault.url, MCP_HOST="127.1", MCP_AUTH_TOKEN=AUTH_TOKEN
    ) as running:
        running.url = running.url.replace("127.1", "127.0.0.1")
        said = await running.child.said('"listening"')
        warned = [line for line in said.splitlines() if "proxy with TLS" in line]
        assert [msgspec.json.decode(line)["level"] for line in warned] == ["warning"]
        assert (await running.post(PING, host="vault.example"))[0] == 401
        assert (await running.post(PING, host="vault.example", **BEARER))[0] == 200


async def test_a_warning_is_a_line_of_the_log_like_any_other(vault: Served) -> None:
    async with web("sse", vault.url, SCAIVAULT_COLOUR="blue") as running:
        said = await running.child.said('"listening"')
    lines = [msgspec.json.decode(line) for line in said.splitlines()]
    assert [line["level"] for line in lines][:2] == ["warning", "info"]
    assert "SCAIVAULT_COLOUR" in lines[0]["event"]


@pytest.mark.parametrize("word", ["Bearer wrong", None])
async def test_a_refusal_says_whether_the_bearer_is_missing(
    vault: Served, word: str | None
) -> None:
    async with web("sse", vault.url, MCP_AUTH_TOKEN=AUTH_TOKEN) as running:
        headers = {} if word is None else {"authorization": word}
        status, told, body = await running.post(PING, "/messages", **headers)
        code = msgspec.json.decode(body)["error"]["data"]["error"]["code"]
        expected = "AUTH_TOKEN_MISSING" if word is None else "AUTH_TOKEN_INVALID"
        assert (status, code, told["www-authenticate"]) == (401, expected, "Bearer")


# -- revisions, many clients, a vault that comes back --------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_handshake_revision_is_served_over_http(vault: Served, revision: str) -> None:
    async with web("streamable-http", vault.url) as running:
        hello = {**INITIALIZE, "params": {**INITIALIZE["params"], "protocolVersion": revision}}
        _, headers, body = await running.post(hello)
        assert msgspec.json.decode(body)["result"]["protocolVersion"] == revision
        named = {"mcp-protocol-version": revision}
        for more in ({"mcp-session-id": headers["mcp-session-id"]}, {}):
            assert VALUE in (await running.post(READ, **named, **more))[2].decode()
        status, _, body = await running.post([PING, {**READ, "id": 3}], **named)
        takes_batches = revision == "2025-03-26"
        assert status == (200 if takes_batches else 400)
        assert (VALUE in body.decode()) == takes_batches


async def test_2026_07_28_is_served_over_http_request_by_request(vault: Served) -> None:
    async with web("streamable-http", vault.url) as running:
        params = {**READ["params"], "_meta": META}
        headers = {
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "scaivault_read_secret",
        }
        status, told, body = await running.post({**READ, "params": params}, **headers)
        assert (status, VALUE in body.decode()) == (200, True)
        assert "mcp-session-id" not in told


async def test_many_clients_at_once_get_their_own_answers_over_http(vault: Served) -> None:
    async with web("streamable-http", vault.url) as running, asyncio.TaskGroup() as group:

        async def ask(number: int) -> tuple[int, Any]:
            status, _, body = await running.post({**READ, "id": number})
            return status, msgspec.json.decode(body)

        tasks = [group.create_task(ask(number)) for number in range(1, 101)]
        for number, task in enumerate(tasks, 1):
            status, answer = await task
            assert (status, answer["id"]) == (200, number)
            assert VALUE in str(answer)


async def test_many_clients_at_once_get_their_own_answers_over_sse(vault: Served) -> None:
    async with web("sse", vault.url) as running, AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(opened(running)) for _ in range(6)]

        async def talk(first: int, stream: Any) -> None:
            await stream.ask({**INITIALIZE, "id": first})
            numbers = range(first + 1, first + 11)
            sent = await asyncio.gather(*(stream.send({**READ, "id": one}) for one in numbers))
            assert set(sent) == {202}
            answers = [msgspec.json.decode((await stream.event())[1]) for _ in numbers]
            assert sorted(answer["id"] for answer in answers) == list(numbers)
            assert all(VALUE in str(answer) for answer in answers)

        async with asyncio.TaskGroup() as group:
            for number, stream in enumerate(streams):
                group.create_task(talk(number * 100, stream))


async def test_a_vault_that_comes_back_is_used_again() -> None:
    port = free_port()
    async with started(environment(f"http://127.0.0.1:{port}")) as child:
        await child.initialize()
        for _ in range(2):
            down = await child.call("read_secret", path=SECRET)
            assert "UPSTREAM_UNREACHABLE" in down["content"][0]["text"]
            async with serve_vault(VaultConfig(), port):
                assert not (await child.call("read_secret", path=SECRET))["isError"]
                assert "result" in await child.ask("resources/list")


async def test_a_vault_that_is_slow_is_given_up_in_time(vault: Served) -> None:
    vault.vault.faults.add(Fault(path="/v1/secrets/.*", count=2, delay_ms=10_000))
    async with started(environment(vault.url, SCAIVAULT_TIMEOUT="1")) as child:
        await child.initialize()
        late = await child.call("read_secret", path=SECRET)
        assert "UPSTREAM_TIMEOUT" in late["content"][0]["text"]
        assert not (await child.call("read_secret", path=SECRET))["isError"]


# -- the page ------------------------------------------------------------------------------------


def snippets(kind: str) -> list[str]:
    page = (ROOT / "docs" / "scaivault.md").read_text()
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


async def test_the_pages_snippet_for_desktops_starts_a_guarded_server(
    vault: Served, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(AGENT)
    token.chmod(0o600)
    server = msgspec.json.decode(snippets("json")[0])["mcpServers"]["scaivault"]
    assert (server["command"], server.get("args", [])) == ("scaivault-mcp", [])
    own = {"SCAIVAULT_URL": vault.url, "SCAIVAULT_TOKEN_FILE": str(token)}
    assert own.keys() <= server["env"].keys()
    env = environment(SCAIVAULT_TOKEN=None, **{**server["env"], **own})
    async with started(env) as child:
        await child.initialize()
        masked = (await child.call("read_secret", path=SECRET))["content"][0]["text"]
        assert "••••••" in masked
        assert VALUE not in masked
        refused = await child.call("rotate_secret", path=SECRET)
        assert "READ_ONLY" in refused["content"][0]["text"]
        denied = await child.call("read_secret", path="app/db")
        assert "PATH_DENIED" in denied["content"][0]["text"]


async def test_the_pages_snippet_for_http_reaches_the_server(vault: Served) -> None:
    server = msgspec.json.decode(snippets("json")[1])["mcpServers"]["scaivault"]
    default, path = "http://127.0.0.1:8765", "/mcp"
    assert server["url"] == default + path
    name, value = next(iter(server["headers"].items()))
    assert (name, value.partition(" ")[0]) == ("Authorization", "Bearer")
    async with web("streamable-http", vault.url, MCP_AUTH_TOKEN=AUTH_TOKEN) as running:
        assert (await running.post(PING, path, **BEARER))[0] == 200
