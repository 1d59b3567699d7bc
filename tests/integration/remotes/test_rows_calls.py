"""What goes wrong while tools are listed and called: rows 38 to 58 of docs/faults-remote.md."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.watching.probing import Probed
from tests.integration.rawserver import Play, RawServer, Writer, raw, reply, reset, serve_raw
from tests.integration.remotes import registry as rows
from tests.integration.remotes.servers import Upstream, named
from tests.integration.remotes.sidebyside import (
    REMOTE_SERVERS,
    Fleet,
    dotted,
    plain,
    safe,
    start_fleet,
)
from tests.world import MODERN, Called, bound

MIB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: %b\r\n\r\n"
JSON, EVENTS = b"application/json", b"text/event-stream"
DONE = {"resultType": "complete", "content": [{"type": "text", "text": "done"}], "isError": False}
TOOLS = [named("search"), named("late"), named("odd name/x"), named("検索")]


class Setup:
    """A gateway, a server that works, one that says nothing, and an address without any."""

    def __init__(
        self, fleet: Fleet, upstream: Upstream, silent: RawServer, row: ServerRow, closed: str
    ) -> None:
        self.fleet = fleet
        self.upstream = upstream
        self.silent = silent
        self.row = row
        self.closed = closed

    @property
    def sent(self) -> int:
        return self.upstream.asked("tools/call")

    async def call(self, name: str = "search", arguments: Any = None, **more: Any) -> Called:
        return await self.fleet.client().call(dotted(self.row, name), arguments, **more)

    async def row_at(self, url: str, name: str, *tools: str, **state: Any) -> ServerRow:
        """An active server with these tools that nobody has asked."""
        row = await self.fleet.registry.put(
            url, name, is_tenant_shared=True, scope_key="tenant", owner_user_id=self.fleet.user_id
        )
        database = self.fleet.registry.database
        await rows.activate(database, row)
        if state:
            await rows.change_state(database, row, **state)
        await rows.serve(database, row, *(rows.tool(tool) for tool in tools))
        return row

    def calm(self) -> None:
        """Forget what failures have done to this process's view of the server."""
        services = self.fleet.world.app.services
        assert services is not None
        assert services.remotes is not None
        services.remotes.parts.breaker.forget(self.row.id)


@pytest_asyncio.fixture(scope="module")
async def setup(database_url: str, redis_url: str) -> AsyncIterator[Setup]:
    place = bound()
    closed = f"http://127.0.0.1:{place.getsockname()[1]}"
    async with serve_raw() as server, serve_raw() as silent:
        silent.default = hang
        upstream = Upstream(server)
        upstream.lists["tools/list"] = TOOLS
        urls = (server.url, silent.url, closed)
        async with start_fleet(database_url, redis_url, *urls) as fleet:
            row = await fleet.register(upstream.url, "Raw")
            yield Setup(fleet, upstream, silent, row, f"{closed}/mcp")
    place.close()


@pytest_asyncio.fixture(autouse=True)
async def quiet(setup: Setup) -> AsyncIterator[None]:
    setup.upstream.plays.clear()
    setup.upstream.plays["tools/call"] = setup.upstream.answering(DONE)
    yield
    setup.calm()


async def short(setup: Setup, seconds: int | None) -> None:
    """Give the server a deadline of its own; None for the usual one."""
    await setup.fleet.registry.set_server(setup.row, f"timeout_seconds = {seconds or 'NULL'}")
    await setup.fleet.bump()


# --- answers that do not end, or are too large ------------------------------------------------


async def hang(writer: Writer) -> None:
    writer.write(HEAD % JSON)
    await asyncio.Event().wait()


async def drip(writer: Writer) -> None:
    writer.write(HEAD % JSON)
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


@pytest.mark.row(38)
async def test_an_answer_that_does_not_end_is_late(setup: Setup) -> None:
    await short(setup, 1)
    plays: list[Play] = [hang, drip]

    async def play(writer: Writer) -> None:
        await plays.pop()(writer)

    setup.upstream.plays["tools/call"] = play
    before = setup.sent
    for called in await asyncio.gather(setup.call(), setup.call()):
        assert called.code == "TimeoutError"
        assert called.error["message"].endswith("The call may have been carried out.")
    assert setup.sent == before + 2
    await short(setup, None)


def stream(kind: bytes, chunk: bytes) -> Play:
    async def play(writer: Writer) -> None:
        writer.write(HEAD % kind)
        for _ in range(1024 * MIB // len(chunk)):
            writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            await writer.drain()

    return play


@pytest.mark.row(40)
@pytest.mark.parametrize(
    "play",
    [stream(JSON, b" " * MIB), stream(EVENTS, b"data: " + b"x" * 10 * MIB)],
    ids=["a gigabyte", "an event of 10 MiB"],
)
async def test_a_result_that_is_too_large_is_no_result(setup: Setup, play: Play) -> None:
    setup.upstream.plays["tools/call"] = play
    before = setup.sent
    called = await setup.call()
    assert called.code == "ResponseTooLargeError"
    assert called.error["message"].endswith("The call may have been carried out.")
    assert setup.sent == before + 1


# --- names ------------------------------------------------------------------------------------


@pytest.mark.row(43)
@pytest.mark.parametrize("name", ["odd name/x", "検索"])
async def test_a_name_of_other_letters_is_listed_and_called_by_its_alias(
    setup: Setup, name: str
) -> None:
    for query in ("", "?names=dotted", "?names=safe"):
        names = await setup.fleet.client().names(query)
        assert safe(setup.row, name) in names
        assert dotted(setup.row, name) not in names
    called = await setup.fleet.client().call(safe(setup.row, name))
    assert called.reply.result["content"] == DONE["content"]
    sent = msgspec.json.decode(setup.upstream.raw.seen[-1].body)
    assert sent["params"]["name"] == name


# --- dead servers -----------------------------------------------------------------------------


@pytest.mark.row(54)
@pytest.mark.invariant("I3")
async def test_of_fifty_servers_a_dead_one_costs_its_own_tools_only(setup: Setup) -> None:
    silent = setup.silent
    dead = await setup.row_at(
        f"{silent.url}/mcp", "dead", "lost",
        status=Status.ERROR, last_health_status="TimeoutError",
    )  # fmt: skip
    alive = [await setup.row_at(setup.closed, f"many{n}", f"t{n}") for n in range(48)]
    await setup.fleet.bump()
    before = setup.upstream.raw.connections
    client = setup.fleet.client()
    result = (await client.rpc("tools/list")).result
    names = {tool["name"] for tool in result["tools"]}
    assert {dotted(row, f"t{n}") for n, row in enumerate(alive)} <= names
    assert dotted(setup.row, "search") in names
    assert dotted(dead, "lost") not in names
    assert result["_meta"][REMOTE_SERVERS] == [
        {
            "slug": dead.slug, "status": "error", "last_health_status": "TimeoutError",
            "hidden": 1,
        }
    ]  # fmt: skip
    # Nobody was asked for it, so nobody was waited for: neither the dead one nor the others.
    assert silent.connections == 0
    assert setup.upstream.raw.connections == before
    refused = await client.call(dotted(dead, "lost"))
    assert (refused.code, refused.error["reason"]) == (
        "REMOTE_SERVER_UNAVAILABLE", "TimeoutError",
    )  # fmt: skip
    assert silent.connections == 0
    await setup.fleet.registry.execute("DELETE FROM remote_servers WHERE id <> $1", setup.row.id)
    await setup.fleet.bump()


@pytest.mark.row(55)
async def test_two_hundred_calls_that_cannot_connect_open_the_circuit_and_ask_for_one_check(
    setup: Setup,
) -> None:
    row = await setup.row_at(setup.closed, "gone", "search")
    await setup.fleet.bump()
    client, registry = setup.fleet.client(), setup.fleet.registry
    called = await asyncio.gather(*(client.call(dotted(row, "search")) for _ in range(200)))
    codes = Counter(one.code for one in called)
    assert set(codes) == {"ConnectError", "CircuitOpenError"}
    assert codes.total() == 200
    assert codes["ConnectError"] >= 5
    again = await client.call(dotted(row, "search"))
    assert again.code == "CircuitOpenError"

    async def is_noted() -> bool:
        return (await registry.seen(row)).state.last_call_failure_at is not None

    await rows.until(is_noted)
    state = (await registry.seen(row)).state
    # Live calls are a hint: only checks count, and one is due now.
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 0)
    assert state.next_check_at is not None
    assert state.next_check_at <= state.read_at
    assert await registry.has_job(f"probe-now:{row.id}")
    await client.call(dotted(row, "search"))
    assert (await registry.seen(row)).state.state_seq == state.state_seq


@pytest.mark.row(55)
async def test_a_tool_that_is_always_late_leaves_its_server_in_service(setup: Setup) -> None:
    await short(setup, 1)

    async def play(writer: Writer) -> None:
        message = msgspec.json.decode(setup.upstream.raw.seen[-1].body)
        is_late = message["params"]["name"] == "late"
        await (hang if is_late else setup.upstream.answering(DONE))(writer)

    setup.upstream.plays["tools/call"] = play
    late = await asyncio.gather(*(setup.call("late") for _ in range(8)))
    assert {called.code for called in late} == {"TimeoutError"}
    assert plain((await setup.call()).reply.result) == plain(DONE)
    registry = setup.fleet.registry
    await registry.set_state(setup.row, "next_check_at = now(), last_call_ok_at = NULL")
    assert await registry.parts.prober.probe(setup.row.tenant_id, setup.row.id) == Probed("ok")
    assert await registry.status(setup.row) == (Status.ACTIVE, "ok")
    await short(setup, None)


# --- calls that may have been carried out -----------------------------------------------------

HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
BROKEN: dict[str, Play] = {"no word": reset(), "half an answer": raw(HALF)}


@pytest.mark.row(56)
@pytest.mark.parametrize("name", BROKEN)
async def test_a_call_whose_connection_breaks_is_not_sent_again(setup: Setup, name: str) -> None:
    # A connection that was used before is no excuse either.
    assert not (await setup.call()).is_error
    setup.upstream.plays["tools/call"] = BROKEN[name]
    before = setup.sent
    called = await setup.call()
    assert called.code == "ConnectError"
    assert called.error["message"].endswith("The call may have been carried out.")
    assert setup.sent == before + 1


class Forgetful:
    """A server of the handshake era that knows the sessions of `known` only."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.opened = 0
        self.known: set[str] = set()
        self.keeps = True
        upstream.plays.update(
            {
                "server/discover": reply(404),
                "initialize": self.initialize,
                "notifications/initialized": reply(202),
                "ping": self.asked({}),
                "tools/list": self.asked({"tools": TOOLS}),
                "tools/call": self.asked({"content": DONE["content"]}),
            }
        )

    async def initialize(self, writer: Writer) -> None:
        self.opened += 1
        if self.keeps:
            self.known.add(f"s{self.opened}")
        result = {
            "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"},
        }  # fmt: skip
        line = f"Mcp-Session-Id: s{self.opened}"
        await self.upstream.answering(result, line)(writer)

    def asked(self, result: Any) -> Play:
        async def play(writer: Writer) -> None:
            session = self.upstream.raw.seen[-1].headers.get("mcp-session-id")
            is_known = session in self.known
            await (self.upstream.answering(result) if is_known else reply(404))(writer)

        return play


@pytest.mark.row(57)
async def test_an_expired_session_is_replaced_once_and_nobody_notices(setup: Setup) -> None:
    old = Forgetful(setup.upstream)
    row = await setup.fleet.register(setup.upstream.url, "Old")
    client, name = setup.fleet.client(), dotted(row, "search")
    assert not (await client.call(name)).reply.result.get("isError")
    opened, before = old.opened, setup.sent
    old.known.clear()
    called = await client.call(name)
    assert called.reply.result["content"] == DONE["content"]
    # Sent twice, on two sessions: the first was refused before anything was done.
    assert (old.opened, setup.sent) == (opened + 1, before + 2)
    old.known.clear()
    old.keeps = False
    before = setup.sent
    assert (await client.call(name)).code == "ProtocolError"
    assert setup.sent == before + 2


# --- what the caller sends --------------------------------------------------------------------


@pytest.mark.row(58)
@pytest.mark.parametrize("forwards", [False, True])
async def test_a_token_in_an_argument_is_data_and_an_inbound_user_is_ignored(
    setup: Setup, forwards: bool
) -> None:
    await setup.fleet.registry.set_server(setup.row, f"forward_user_id = {forwards}")
    await setup.fleet.bump()
    client = setup.fleet.client(MODERN)
    given = {"note": f"my token is {client.token}"}
    called = await setup.call(arguments=given, headers={"x-scaigrid-user": "usr_somebody"})
    assert not called.is_error
    seen = setup.upstream.raw.seen[-1]
    assert msgspec.json.decode(seen.body)["params"]["arguments"] == given
    assert str(client.token) not in str(seen.lines)
    assert "authorization" not in seen.headers
    own = setup.fleet.user_id if forwards else None
    assert seen.headers.get("x-scaigrid-user") == own
    await setup.fleet.registry.set_server(setup.row, "forward_user_id = false")
    await setup.fleet.bump()


@pytest.mark.row(59)
@pytest.mark.parametrize("query", ["names=short", "names=", "names=SAFE"])
async def test_an_unknown_style_of_names_is_refused_with_the_two_there_are(
    setup: Setup, query: str
) -> None:
    for method in ("tools/list", "tools/call"):
        params = {"name": dotted(setup.row, "search")} if method == "tools/call" else {}
        before = setup.sent
        refused = await setup.fleet.client().rpc(method, params, path=f"/mcp?{query}")
        assert refused.status == 400
        assert "safe" in refused.error["message"]
        assert "dotted" in refused.error["message"]
        assert setup.sent == before
