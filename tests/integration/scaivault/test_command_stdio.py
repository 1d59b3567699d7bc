"""``scaivault-mcp`` over stdio: lines in, lines out, and nothing else on stdout."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.faults import Fault
from scaimcp.dev.vault.fixture import AGENT, NO_SCOPES, READER
from scaimcp.dev.vault.server import Served, serve_vault
from scaimcp.server.revisions import HANDSHAKE
from tests.integration.scaivault.child import (
    META,
    SECRET,
    VALUE,
    Child,
    environment,
    has_arrived,
    run,
    started,
)
from tests.waiting import until

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def vault() -> AsyncIterator[Served]:
    async with serve_vault(VaultConfig()) as served:
        yield served


@pytest_asyncio.fixture
async def child(vault: Served) -> AsyncIterator[Child]:
    async with started(environment(vault.url)) as running:
        yield running


def error_of(answer: Any) -> tuple[int, str | None]:
    error = answer["error"]
    return error["code"], error.get("data", {}).get("error", {}).get("code")


def hold(vault: Served, method: str = "GET", path: str = f"/v1/secrets/{SECRET}") -> None:
    """Let the vault answer the next such request after two seconds."""
    vault.vault.faults.add(Fault(path=path, method=method, delay_ms=2_000))


def calls(vault: Served) -> list[str]:
    return [f"{row['method']} {row['path']}" for row in vault.vault.calls]


@pytest.mark.parametrize("revision", sorted(HANDSHAKE))
async def test_every_handshake_revision_is_served(child: Child, revision: str) -> None:
    settled = await child.initialize(revision)
    assert settled["protocolVersion"] == revision
    assert settled["serverInfo"]["name"] == "scaivault-mcp"
    assert settled["capabilities"].keys() >= {"tools", "resources", "prompts"}
    tools = (await child.ask("tools/list"))["result"]["tools"]
    assert len(tools) == 67
    result = await child.call("read_secret", path=SECRET)
    assert VALUE in result["content"][0]["text"]


async def test_nothing_tells_of_changes(child: Child) -> None:
    capabilities = (await child.initialize())["capabilities"]
    assert capabilities == {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}


async def test_2026_07_28_is_served_without_a_handshake(child: Child) -> None:
    found = (await child.ask_modern("server/discover"))["result"]
    assert found["capabilities"]["tools"] == {}
    listed = (await child.ask_modern("tools/list"))["result"]
    assert (listed["ttlMs"], listed["cacheScope"]) == (300_000, "private")
    arguments = {"path": SECRET}
    params = {"name": "scaivault_read_secret", "arguments": arguments}
    result = (await child.ask_modern("tools/call", **params))["result"]
    assert result["structuredContent"]["data"] == {"key": VALUE}


@pytest.mark.parametrize(
    ("method", "ttl"),
    [("resources/templates/list", 300_000), ("prompts/list", 300_000), ("resources/list", 0)],
)
async def test_what_comes_from_the_vault_may_not_be_kept(
    child: Child, method: str, ttl: int
) -> None:
    result = (await child.ask_modern(method))["result"]
    assert (result["ttlMs"], result["cacheScope"]) == (ttl, "private")


async def test_a_resource_read_may_not_be_kept(child: Child) -> None:
    result = (await child.ask_modern("resources/read", uri="scaivault://guards"))["result"]
    assert (result["ttlMs"], result["cacheScope"]) == (0, "private")
    text = msgspec.json.decode(result["contents"][0]["text"])
    assert text["tenant"] == "tnt_a"


async def test_resources_prompts_and_completion_are_served(child: Child) -> None:
    await child.initialize()
    listed = (await child.ask("resources/list"))["result"]["resources"]
    assert [entry["uri"] for entry in listed[:1]] == ["scaivault://guards"]
    assert f"scaivault://secrets/tnt_a/{SECRET}" in [entry["uri"] for entry in listed]
    uri = f"scaivault://secrets/tnt_a/{SECRET}"
    read = (await child.ask("resources/read", {"uri": uri}))["result"]
    assert VALUE in read["contents"][0]["text"]
    asked = {"name": "rotate-credential", "arguments": {"path": SECRET}}
    made = (await child.ask("prompts/get", asked))["result"]
    assert SECRET in made["messages"][0]["content"]["text"]
    reference = {"type": "ref/prompt", "name": "rotate-credential"}
    argument = {"name": "path", "value": "integrations/s"}
    params = {"ref": reference, "argument": argument}
    found = (await child.ask("completion/complete", params))["result"]["completion"]
    assert SECRET in found["values"]


async def test_resources_come_in_pages_of_a_hundred(vault: Served, child: Child) -> None:
    await child.initialize()
    for number in range(105):
        result = await child.call("write_secret", path=f"many/s{number:03}", data={"a": 1})
        assert not result["isError"]
    first = (await child.ask("resources/list"))["result"]
    assert len(first["resources"]) == 100
    rest = (await child.ask("resources/list", {"cursor": first["nextCursor"]}))["result"]
    uris = [entry["uri"] for entry in [*first["resources"], *rest["resources"]]]
    assert len(uris) == len(set(uris)) > 105
    wrong = await child.ask("resources/list", {"cursor": first["nextCursor"][:-2] + "AA"})
    assert error_of(wrong) == (-32602, "INVALID_ARGUMENTS")


@pytest.mark.parametrize(
    "uri",
    ["https://vault.example/x", "scaivault://secrets/tnt_a", "scaivault://keys/1", "scaivault://"],
)
async def test_a_uri_of_something_else_is_refused(child: Child, uri: str) -> None:
    await child.initialize()
    answer = await child.ask("resources/read", {"uri": uri})
    assert error_of(answer)[0] == -32602


@pytest.mark.parametrize("names", ["DB_PASS=hunter2", "A\nhunter2", "'hunter2'"])
async def test_values_among_names_are_refused_and_not_repeated(child: Child, names: str) -> None:
    await child.initialize()
    arguments = {"prefix": "app/db", "names": names}
    answer = await child.ask("prompts/get", {"name": "migrate-from-env", "arguments": arguments})
    assert error_of(answer) == (-32602, "INVALID_ARGUMENTS")
    assert "names only, without values" in answer["error"]["message"]
    assert "hunter2" not in msgspec.json.encode(answer).decode()


async def test_a_prompt_that_is_not_there_is_refused(child: Child) -> None:
    await child.initialize()
    assert error_of(await child.ask("prompts/get", {"name": "none"}))[0] == -32602


async def test_an_unknown_tool_has_the_form_of_its_revision(child: Child) -> None:
    params = {"name": "scaivault_Read_Secret", "arguments": {}}
    modern = await child.ask_modern("tools/call", **params)
    assert error_of(modern) == (-32602, "TOOL_NOT_FOUND")
    await child.initialize()
    result = (await child.ask("tools/call", params))["result"]
    assert result["isError"]
    assert msgspec.json.decode(result["content"][0]["text"])["error"]["code"] == "TOOL_NOT_FOUND"


@pytest.mark.parametrize("method", ["tools/call", "tools/list", "resources/list", "prompts/get"])
async def test_what_comes_before_initialize_is_refused(child: Child, method: str) -> None:
    assert error_of(await child.ask(method, {"name": "x"})) == (-32600, None)


async def test_a_batch_before_initialize_is_refused(child: Child) -> None:
    await child.send([{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
    assert (await child.receive())["error"]["code"] == -32600


async def test_batches_are_served_where_the_revision_has_them(child: Child) -> None:
    await child.initialize("2025-03-26")
    read = {"name": "scaivault_read_secret", "arguments": {"path": SECRET}}
    await child.send(
        [
            {"jsonrpc": "2.0", "id": "a", "method": "ping"},
            {"jsonrpc": "2.0", "method": "notifications/unknown"},
            {"jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": read},
        ]
    )
    answers = await child.receive()
    assert [answer["id"] for answer in answers] == ["a", "b"]
    await child.initialize("2025-06-18")
    await child.send([{"jsonrpc": "2.0", "id": 1, "method": "ping"}])
    assert (await child.receive())["error"]["code"] == -32600


BAD_LINES = {
    "no json": (b"{nonsense", -32700),
    "not a number": (b'{"jsonrpc":"2.0","id":NaN,"method":"ping"}', -32700),
    "no utf-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700),
    "no json-rpc": (b'{"id":1,"method":"ping"}', -32600),
    "a null id": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
    "params of a wrong type": (
        b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":7}}',
        -32602,
    ),
    "a method that is not there": (b'{"jsonrpc":"2.0","id":1,"method":"tools/none"}', -32601),
}


@pytest.mark.parametrize(("line", "number"), BAD_LINES.values(), ids=BAD_LINES)
async def test_a_bad_line_is_answered_and_the_next_one_is_served(
    child: Child, line: bytes, number: int
) -> None:
    await child.send(line)
    assert (await child.receive())["error"]["code"] == number
    assert "result" in await child.ask("ping")


@pytest.mark.parametrize(
    "arguments",
    [
        b'{"path":"app/a","path":"app/b"}',
        b'{"path":"\\ud800"}',
        b'["app/a"]',
        b'{"path":"app/a","version":true}',
    ],
)
async def test_bad_arguments_never_reach_the_vault(
    vault: Served, child: Child, arguments: bytes
) -> None:
    await child.initialize()
    await child.send(
        b'{"jsonrpc":"2.0","id":"x","method":"tools/call","params":'
        b'{"name":"scaivault_read_secret","arguments":' + arguments + b"}}"
    )
    answer = await child.receive()
    assert answer["id"] in ("x", None)
    assert "error" in answer or answer["result"]["isError"]
    assert calls(vault) == []


async def test_a_line_of_two_mebibytes_is_refused_and_skipped(child: Child) -> None:
    await child.initialize()
    await child.send(b'{"jsonrpc":"2.0","id":9,"method":"' + b"x" * 2 * 1024 * 1024 + b'"}')
    answer = await child.receive()
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)
    assert "result" in await child.ask("ping")


async def test_unknown_notifications_and_strange_responses_are_ignored(child: Child) -> None:
    await child.send({"jsonrpc": "2.0", "method": "notifications/none"})
    await child.send({"jsonrpc": "2.0", "id": 4, "result": {}})
    await child.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": []})
    cancelled = {"requestId": 77}
    await child.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
    assert "result" in await child.ask("ping")


async def test_a_revision_that_is_not_served_is_refused(child: Child) -> None:
    meta = {**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}
    answer = await child.ask("tools/list", {"_meta": meta})
    assert answer["error"]["code"] == -32022
    assert len(answer["error"]["data"]["supported"]) == 5


async def test_an_envelope_without_capabilities_is_refused(child: Child) -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    assert (await child.ask("tools/list", {"_meta": meta}))["error"]["code"] == -32602


async def test_a_stream_of_news_is_confirmed_and_ends_with_the_process(child: Child) -> None:
    wanted = {"notifications": {"toolsListChanged": True}, "_meta": META}
    message = {"jsonrpc": "2.0", "id": 5, "method": "subscriptions/listen", "params": wanted}
    await child.send(message)
    told = await child.receive()
    assert told["method"] == "notifications/subscriptions/acknowledged"
    assert told["params"]["notifications"] == {}
    child.close_stdin()
    assert (await child.receive())["id"] == 5
    assert await child.ended() == 0


async def test_a_call_that_is_taken_back_is_not_answered(vault: Served, child: Child) -> None:
    await child.initialize()
    hold(vault)
    params = {"name": "scaivault_read_secret", "arguments": {"path": SECRET}}
    await child.send({"jsonrpc": "2.0", "id": "slow", "method": "tools/call", "params": params})
    await until(lambda: has_arrived(vault))
    cancelled = {"requestId": "slow"}
    await child.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
    await child.said('"cancelled"')
    assert "result" in await child.ask("ping")


async def test_a_write_that_is_taken_back_has_an_unknown_outcome(
    vault: Served, child: Child
) -> None:
    await child.initialize()
    hold(vault, "PUT", "/v1/secrets/app/new")
    arguments = {"path": "app/new", "data": {"a": "hunter2"}}
    params = {"name": "scaivault_write_secret", "arguments": arguments}
    await child.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    await until(lambda: has_arrived(vault))
    cancelled = {"requestId": 1}
    await child.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": cancelled})
    said = await child.said("outcome unknown")
    assert "hunter2" not in said


async def test_many_calls_at_once_are_all_answered(vault: Served, child: Child) -> None:
    await child.initialize()
    params = {"name": "scaivault_read_secret", "arguments": {"path": SECRET}}
    for number in range(100, 160):
        await child.send({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
    answers = [await child.receive() for _ in range(60)]
    assert {answer["id"] for answer in answers} == set(range(100, 160))
    assert not any(answer["result"]["isError"] for answer in answers)


async def test_the_end_of_the_input_is_the_end_of_the_process(child: Child) -> None:
    await child.initialize()
    child.close_stdin()
    assert await child.ended() == 0


async def test_requests_before_the_end_of_the_input_are_answered(vault: Served) -> None:
    lines = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "x"}},
        {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "scaivault_read_secret", "arguments": {"path": SECRET}},
        },
    ]
    stdin = b"\n".join([msgspec.json.encode(line) for line in lines])
    ended = await run(stdin=stdin, env=environment(vault.url))
    assert ended.code == 0
    answers = [msgspec.json.decode(line) for line in ended.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert VALUE in ended.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_well(child: Child, number: signal.Signals) -> None:
    await child.initialize()
    child.signal(number)
    assert await child.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_the_process_at_once(
    vault: Served, child: Child, number: signal.Signals
) -> None:
    await child.initialize()
    hold(vault)
    params = {"name": "scaivault_read_secret", "arguments": {"path": SECRET}}
    await child.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    await until(lambda: has_arrived(vault))
    child.signal(number)
    await child.said('"ending"')
    child.signal(number)
    assert await child.ended() == 128 + number


async def test_a_running_call_is_let_end_after_a_signal(vault: Served, child: Child) -> None:
    await child.initialize()
    vault.vault.faults.add(Fault(path=f"/v1/secrets/{SECRET}", delay_ms=1_000))
    params = {"name": "scaivault_read_secret", "arguments": {"path": SECRET}}
    await child.send({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    await until(lambda: has_arrived(vault))
    child.signal(signal.SIGTERM)
    assert (await child.receive())["id"] == 1
    assert await child.ended() == 0


async def test_a_client_that_reads_no_more_ends_the_process(vault: Served) -> None:
    process = await asyncio.create_subprocess_shell(
        "exec 3>&1; ($PY -m scaimcp.scaivault; echo $? >&3) | true",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**environment(vault.url), "PY": sys.executable},
    )
    assert process.stdin is not None
    line = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'
    process.stdin.write(line)
    await process.stdin.drain()
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert (await process.stdout.readline()).strip() == b"0"
    process.stdin.close()
    await process.wait()


async def test_stray_prints_do_not_reach_the_protocol(vault: Served) -> None:
    code = (
        "import asyncio, os, sys\n"
        "from scaimcp.vaultserver.stdio import protocol_only\n"
        "own = protocol_only()\n"
        "print('stray', flush=True)\n"
        "os.system('echo child')\n"
        "os.write(own, b'protocol')\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    stdout, stderr = await process.communicate()
    assert stdout == b"protocol"
    assert stderr.split() == [b"stray", b"child"]


async def test_no_secret_is_written_to_the_log(vault: Served) -> None:
    env = environment(vault.url, SCAIVAULT_DEBUG="true", LOG_LEVEL="debug")
    async with started(env) as child:
        await child.initialize()
        result = await child.call("read_secret", path=SECRET)
        assert VALUE in result["content"][0]["text"]
        await child.call("write_secret", path="app/new", data={"password": "hunter2"})
        await child.call("read_secret", path="App/Hunter2")
        await child.call("list_secrets", prefix="app/hunter2", cursor="hunter2")
        said = await child.said("scaivault_list_secrets")
    for secret in (VALUE, "hunter2", "Hunter2", AGENT):
        assert secret not in said
    lines = [msgspec.json.decode(line) for line in said.splitlines()]
    called = [line for line in lines if line["event"] == "call"]
    assert [line.get("path") for line in called] == [SECRET, "app/new", None, None]
    assert called[0].keys() >= {"time", "level", "tool", "class", "code", "ms", "request_id"}
    assert [line["code"] for line in called][:3] == ["ok", "ok", "INVALID_PATH"]


async def test_guards_hold_and_the_model_is_told(vault: Served) -> None:
    env = environment(
        vault.url,
        SCAIVAULT_READ_ONLY="yes",
        SCAIVAULT_MASK_VALUES="1",
        SCAIVAULT_ALLOWED_PATHS="integrations/",
        SCAIVAULT_DENIED_PATHS="integrations/salesforce",
        SCAIVAULT_TOOL_GROUPS="secrets, policies",
    )
    async with started(env) as child:
        told = (await child.initialize())["instructions"]
        assert "read-only" in told
        assert "masked" in told
        assert "integrations" in told
        assert "salesforce" not in told
        tools = [tool["name"] for tool in (await child.ask("tools/list"))["result"]["tools"]]
        assert len(tools) == 11
        assert "scaivault_write_secret" in tools
        masked = await child.call("read_secret", path=SECRET)
        assert VALUE not in masked["content"][0]["text"]
        denied = await child.call("read_secret", path="integrations/salesforce/oauth")
        assert "PATH_DENIED" in denied["content"][0]["text"]
        refused = await child.call("write_secret", path=SECRET, data={"a": 1})
        assert "READ_ONLY" in refused["content"][0]["text"]
        uri = "scaivault://secrets/tnt_a/integrations/salesforce/oauth"
        answer = await child.ask("resources/read", {"uri": uri})
        assert error_of(answer) == (-32602, "PATH_DENIED")
        prompts = (await child.ask("prompts/list"))["result"]["prompts"]
        assert [prompt["name"] for prompt in prompts] == ["rotate-credential", "migrate-from-env"]


async def test_a_changed_token_file_is_read_again(vault: Served, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{AGENT}\nsecond line\n")
    file.chmod(0o644)
    env = environment(vault.url, SCAIVAULT_TOKEN=None, SCAIVAULT_TOKEN_FILE=str(file))
    async with started(env) as child:
        assert "can be read by others" in await child.said("can be read by others")
        await child.initialize()
        assert not (await child.call("read_secret", path=SECRET))["isError"]
        file.write_text(f"{NO_SCOPES}\n")
        assert (await child.call("read_secret", path=SECRET))["isError"]
        file.unlink()
        assert (await child.call("read_secret", path=SECRET))["isError"]
        assert (await child.call("read_secret", path=SECRET))["isError"]
        file.write_text(READER)
        assert not (await child.call("read_secret", path=SECRET))["isError"]
        assert child.stderr.count(b"the last token stays in use") == 1


async def test_a_refused_token_is_replaced_by_the_one_in_the_file(
    vault: Served, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("skt_not_known_here")
    file.chmod(0o600)
    env = environment(vault.url, SCAIVAULT_TOKEN=None, SCAIVAULT_TOKEN_FILE=str(file))
    async with started(env) as child:
        await child.initialize()
        refused = await child.call("read_secret", path=SECRET)
        assert "token_invalid" in refused["content"][0]["text"]
        file.write_text(AGENT)
        assert not (await child.call("read_secret", path=SECRET))["isError"]


async def test_everything_fixed_is_served_while_the_vault_is_down() -> None:
    async with started(environment()) as child:
        await child.initialize()
        assert len((await child.ask("tools/list"))["result"]["tools"]) == 67
        assert len((await child.ask("prompts/list"))["result"]["prompts"]) == 3
        failed = await child.call("read_secret", path=SECRET)
        assert "UPSTREAM_UNREACHABLE" in failed["content"][0]["text"]
        answer = await child.ask("resources/list")
        assert error_of(answer) == (-32602, "UPSTREAM_UNREACHABLE")
