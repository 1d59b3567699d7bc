"""Parts of ``scaivault-mcp`` in the test's own process: what would take minutes outside."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.fixture import AGENT
from scaimcp.dev.vault.server import serve_vault
from scaimcp.errors import ProtocolError, SettingsError
from scaimcp.server.asgi import AsgiApp
from scaimcp.server.exchange import KEEPALIVE, Exchange
from scaimcp.types import Secret
from scaimcp.vaultserver.edge import Edge
from scaimcp.vaultserver.environment import Config, read_config
from scaimcp.vaultserver.identity import TokenHolder, read_file
from scaimcp.vaultserver.lines import MessageExchange
from scaimcp.vaultserver.pipes import LineReader, LineWriter
from scaimcp.vaultserver.serving import transport_of
from scaimcp.vaultserver.source import VaultSource
from scaimcp.vaultserver.sse import HttpWithSse
from scaimcp.vaultserver.wiring import Parts, context_of, open_parts
from tests.integration.scaivault.child import ROOT, environment
from tests.waiting import DEADLINE, until

CLOSED = "http://127.0.0.1:9"
HOST = (b"host", b"127.0.0.1:8765")
JSON = (b"content-type", b"application/json")
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25"},
}


def config(**more: str) -> Config:
    return read_config({"SCAIVAULT_TOKEN": AGENT, **more}, read_file)


class Request:
    """One request to an ASGI application, and what came back."""

    def __init__(self, verb: str, path: str, body: bytes = b"", *more: tuple[bytes, bytes]) -> None:
        path, _, query = path.partition("?")
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": verb,
            "path": path,
            "query_string": query.encode(),
            "headers": [HOST, JSON, *more],
        }
        self.sent: list[Any] = []
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        if body is not None:
            self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    async def run(self, app: AsgiApp) -> Request:
        async with asyncio.timeout(DEADLINE):
            await app(self.scope, self._incoming.get, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"]) if self.sent else 0

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def target(self) -> str:
        return self.body.decode().split("data: ")[1].split("\n")[0]


def streams(parts: Parts, **more: Any) -> tuple[HttpWithSse, Edge]:
    transport = HttpWithSse(parts, **more)
    return transport, Edge(config(), transport.routes())


@contextmanager
def silence() -> Iterator[Config]:
    """Return the configuration of a vault that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield config(SCAIVAULT_URL=f"http://127.0.0.1:{listener.getsockname()[1]}")


async def test_a_silent_connection_is_closed_after_signs_of_life() -> None:
    async with open_parts(config()) as parts:
        _, app = streams(parts, idle_seconds=0.1, keepalive_seconds=0.02)
        answer = await Request("GET", "/sse").run(app)
    assert answer.status == 200
    assert b": keep-alive" in answer.body
    assert answer.sent[-1].get("more_body", False) is False


async def test_a_connection_is_not_idle_while_a_call_runs() -> None:
    with silence() as settings:
        async with open_parts(settings) as parts, asyncio.TaskGroup() as group:
            _, app = streams(parts, idle_seconds=0.2, keepalive_seconds=0.02)
            stream = Request("GET", "/sse")
            running = group.create_task(stream.run(app))
            await until(lambda: stream.sent)
            hello = msgspec.json.encode(INITIALIZE)
            assert (await Request("POST", stream.target, hello).run(app)).status == 202
            call = b'{"jsonrpc":"2.0","id":1,"method":"resources/list"}'
            assert (await Request("POST", stream.target, call).run(app)).status == 202
            beats = len(stream.sent)
            await until(lambda: len(stream.sent) > beats + 20)
            assert not running.done()
            stream.leave()
            await running


async def test_what_finds_no_place_is_refused_over_sse() -> None:
    with silence() as settings:
        async with open_parts(settings) as parts, asyncio.TaskGroup() as group:
            transport, app = streams(parts)
            stream = Request("GET", "/sse")
            running = group.create_task(stream.run(app))
            await until(lambda: stream.sent)
            await Request("POST", stream.target, msgspec.json.encode(INITIALIZE)).run(app)
            for number in range(16):
                call = b'{"jsonrpc":"2.0","id":%d,"method":"resources/list"}' % number
                assert (await Request("POST", stream.target, call).run(app)).status == 202
            last = b'{"jsonrpc":"2.0","id":99,"method":"resources/list"}'
            assert (await Request("POST", stream.target, last).run(app)).status == 503
            waiting = group.create_task(Request("POST", stream.target, last).run(app))
            await asyncio.sleep(0)
            stream.leave()
            await running
            # Its place became free with the connection, which it no longer finds.
            assert (await waiting).status == 404
            transport.drain()
            assert (await Request("GET", "/sse").run(app)).status == 503


class StuckRequest(Request):
    """A client that reads so many messages of its answer and nothing after them."""

    def __init__(self, verb: str, path: str, reads: int = 2) -> None:
        super().__init__(verb, path)
        self._reads = reads
        self._left = asyncio.Event()

    def leave(self) -> None:
        super().leave()
        self._left.set()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if len(self.sent) > self._reads:
            await self._left.wait()


# The head of the answer, the endpoint and, with a third one, the answer to initialize.
@pytest.mark.parametrize("reads", [2, 3])
async def test_a_client_that_reads_nothing_is_left_and_its_places_are_free(reads: int) -> None:
    hello = msgspec.json.encode(INITIALIZE)
    call = b'{"jsonrpc":"2.0","id":%d,"method":"resources/list"}'
    async with open_parts(config(SCAIVAULT_URL=CLOSED)) as parts, asyncio.TaskGroup() as group:
        _, app = streams(parts, stuck_seconds=0.1)
        stream = StuckRequest("GET", "/sse", reads)
        running = group.create_task(stream.run(app))
        await until(lambda: len(stream.sent) > 1)
        greeting = group.create_task(Request("POST", stream.target, hello).run(app))
        await until(lambda: len(stream.sent) > 2)
        bodies = [*(call % number for number in range(1, 17)), b"{nonsense"]
        posts = [Request("POST", stream.target, body) for body in bodies]
        await asyncio.gather(*(post.run(app) for post in posts))
        # It ends without a last word, for which it would wait as well.
        await running
        assert stream.sent[-1]["more_body"]
        assert (await greeting).status in (202, 404)
        assert {post.status for post in posts} <= {202, 404}
        assert (await Request("POST", stream.target, hello).run(app)).status == 404
        other = Request("GET", "/sse")
        reading = group.create_task(other.run(app))
        await until(lambda: len(other.sent) > 1)
        await Request("POST", other.target, hello).run(app)
        assert (await Request("POST", other.target, call % 1).run(app)).status == 202
        await until(lambda: b"UPSTREAM_UNREACHABLE" in other.body)
        other.leave()
        await reading


async def test_signs_of_life_do_not_wait_for_a_client_that_reads_nothing() -> None:
    async with open_parts(config()) as parts:
        _, app = streams(parts, keepalive_seconds=0.01, stuck_seconds=0.01)
        stream = await StuckRequest("GET", "/sse").run(app)
    assert stream.sent[-1] == {"type": "http.response.body", "body": KEEPALIVE, "more_body": True}


async def test_a_connection_has_only_so_many_open_requests() -> None:
    with silence() as settings:
        async with open_parts(settings) as parts, asyncio.TaskGroup() as group:
            _, app = streams(parts)
            stream = StuckRequest("GET", "/sse")
            running = group.create_task(stream.run(app))
            await until(lambda: len(stream.sent) > 1)
            hello = Request("POST", stream.target, msgspec.json.encode(INITIALIZE))
            greeting = group.create_task(hello.run(app))
            ping = b'{"jsonrpc":"2.0","id":%d,"method":"ping"}'
            for number in range(128):
                asked = await Request("POST", stream.target, ping % number).run(app)
                assert asked.status == 202
            last = await Request("POST", stream.target, ping % 999).run(app)
            assert (last.status, b"SERVER_BUSY" in last.body) == (503, True)
            stream.leave()
            await running
            await greeting


async def test_calls_are_refused_while_the_process_ends() -> None:
    async with open_parts(config()) as parts:
        transport = transport_of(config(MCP_TRANSPORT="streamable-http"), parts)
        app = Edge(config(), transport.routes())
        call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x"}}'
        assert (await Request("POST", "/mcp", call).run(app)).status == 200
        transport.drain()
        assert (await Request("POST", "/mcp", call).run(app)).status == 503
        ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
        assert (await Request("POST", "/mcp", ping).run(app)).status == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_gets_nothing() -> None:
    async with open_parts(config()) as parts:
        app = Edge(config(), transport_of(config(), parts).routes())
        request = Request("POST", "/mcp")
        request._incoming.get_nowait()
        request.leave()
        assert (await request.run(app)).sent == []


async def test_a_fault_of_its_own_is_not_explained() -> None:
    async def fail(exchange: Exchange, scope: Any, receive: Any) -> None:
        raise RuntimeError("hunter2")

    answer = await Request("POST", "/x").run(Edge(config(), {"/x": {"POST": fail}}))
    assert answer.status == 200
    assert b"INTERNAL_ERROR" in answer.body
    assert b"hunter2" not in answer.body


async def test_the_plain_port_of_http_may_be_left_out() -> None:
    app = Edge(config(PORT="80"), {})
    request = Request("GET", "/healthz")
    request.scope["headers"] = [(b"host", b"localhost")]
    assert (await request.run(app)).body == b'{"status":"ok"}'


async def test_an_exchange_of_messages_says_nothing_after_its_answer() -> None:
    written: list[bytes] = []

    async def write(message: bytes) -> None:
        written.append(message)

    exchange = MessageExchange(write, "req_x")
    await exchange.event(b"1")
    await exchange.keepalive()
    await exchange.send(200, (b"2", b"3"))
    await exchange.event(b"4")
    await exchange.refuse(ProtocolError(-32600, "too late"))
    assert written == [b"1", b"23"]
    nothing = MessageExchange(write, "req_y")
    await nothing.empty(202)
    assert (nothing.is_done, len(written)) == (True, 2)


async def test_the_source_never_changes_and_supports_everything() -> None:
    async with open_parts(config(SCAIVAULT_TOOL_GROUPS="audit")) as parts:
        source = VaultSource(parts.vault)
        context = context_of(Exchange(_discard, "req_x"))
        snapshot = await source.snapshot(context, 0.0)
        assert snapshot is source.known(context, 60.0)
        assert len(snapshot.tools) == 4
        assert not source.unsupported(snapshot.tools[0])
        source.mark_stale(context)
        assert (await source.listing(context, "resources")).items == ()
        with pytest.raises(Exception, match="arguments"):
            await source.call(snapshot.tools[0], b"{nonsense", context)


async def _discard(message: Any) -> None:
    """Take what nobody reads."""


async def test_a_completion_that_cannot_be_asked_for_is_refused() -> None:
    async with open_parts(config(SCAIVAULT_MASK_VALUES="1", SCAIVAULT_URL=CLOSED)) as parts:
        source = VaultSource(parts.vault)
        context = context_of(Exchange(_discard, "req_x"))
        argument = msgspec.Raw(b'{"name":"path","value":"a"}')
        reference = {"type": "ref/prompt", "name": "rotate-credential"}
        with pytest.raises(ProtocolError) as refused:
            await source.complete(context, reference, {"argument": argument})
        assert (refused.value.number, refused.value.code) == (-32602, "UPSTREAM_UNREACHABLE")


async def test_a_file_without_certificates_is_a_bad_configuration(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    with pytest.raises(SettingsError, match="SCAIVAULT_CA_FILE"):
        async with open_parts(config(SCAIVAULT_CA_FILE=str(file))):
            pass


async def test_a_token_in_the_environment_is_never_renewed() -> None:
    holder = TokenHolder(Secret(AGENT))
    assert holder.identity("req_x").renewed is None
    assert not holder.is_open_to_others()


async def test_a_token_file_that_went_away_is_not_open_to_others(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(AGENT)
    file.chmod(0o640)
    holder = TokenHolder(Secret(AGENT), str(file))
    assert holder.is_open_to_others()
    file.unlink()
    assert not holder.is_open_to_others()


async def test_a_descriptor_that_cannot_be_read_counts_as_ended() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    reader = LineReader(reading, asyncio.get_running_loop())
    async with asyncio.timeout(DEADLINE):
        assert await reader.next() is None
    assert reader.is_ended


async def test_a_pipe_that_nobody_reads_is_broken_once_and_for_all() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LineWriter(writing, asyncio.get_running_loop())
    async with asyncio.timeout(DEADLINE):
        await writer.write(b"lost")
        await writer.broken.wait()
        await writer.write(b"lost as well")
    os.close(writing)


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["true", "false"])
async def test_what_nobody_expected_is_one_line_unless_debugging(debug: str) -> None:
    async with serve_vault(VaultConfig()) as vault:
        process = await asyncio.create_subprocess_shell(
            # A disk that is full.
            f"exec {sys.executable} -m scaimcp.scaivault --check >/dev/full",
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=environment(vault.url, SCAIVAULT_DEBUG=debug),
            cwd=ROOT,
        )
        _, stderr = await process.communicate()
    said = stderr.decode()
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("scaivault-mcp: unexpected failure: ")
    assert ("Traceback" in said) == (debug == "true")
    assert AGENT not in said


async def test_a_server_in_this_process_answers_from_the_vault() -> None:
    async with serve_vault(VaultConfig()) as vault:
        settings = config(SCAIVAULT_URL=vault.url)
        async with open_parts(settings) as parts:
            app = Edge(settings, transport_of(settings, parts).routes())
            call = b'{"jsonrpc":"2.0","id":1,"method":"resources/list"}'
            answer = await Request("POST", "/mcp", call).run(app)
    assert b"integrations/stripe/api-key" in answer.body
