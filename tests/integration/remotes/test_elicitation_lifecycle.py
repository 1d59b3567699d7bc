"""What becomes of questions when a gateway, a server or a tier is not what it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio

from scaimcp.app import create_app
from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.models import ServerRow
from scaimcp.settings import load
from scaimcp.upstream.errors import ConnectError
from tests.integration.rawserver import Writer, reply, serve_raw
from tests.integration.remotes.elicit import (
    ACCEPTED,
    FORM,
    Asking,
    code,
    say,
    start_asking,
    streamed,
    text,
)
from tests.integration.remotes.servers import KEK, Upstream, allowed
from tests.integration.remotes.sidebyside import dotted, start_fleet
from tests.waiting import until
from tests.world import (
    CAPABILITIES,
    MODERN,
    Client,
    Reply,
    gateway_environment,
    listener,
    serve_app,
)

SERVERS = "/v1/modules/scailink/remote-servers"
FORMS: Any = {"_meta": {CAPABILITIES: FORM}}


@pytest_asyncio.fixture(scope="module")
async def asking(database_url: str, redis_url: str) -> AsyncIterator[Asking]:
    async with start_asking(database_url, redis_url) as started:
        yield started


@pytest_asyncio.fixture(autouse=True)
async def quiet(asking: Asking) -> AsyncIterator[None]:
    for log in asking.logs.values():
        log.started.clear()
        log.cancelled.clear()
        log.go_on.clear()
    yield
    for held in tuple(asking.holds._asked.values()):
        asking.holds._expire(held)
    assert asking.holds.waiting == 0


def back(asked: Reply, answer: Any = ACCEPTED) -> dict[str, Any]:
    """What a client brings back with an answer to everything that was asked."""
    result = asked.result
    assert result["resultType"] == "input_required", result
    answers = dict.fromkeys(result["inputRequests"], answer)
    return {"inputResponses": answers, "requestState": result["requestState"]}


# -- other processes, shutdown -------------------------------------------------------------------


@asynccontextmanager
async def another_gateway(asking: Asking, role: str = "tenant_admin") -> AsyncIterator[Client]:
    """A second process of the same deployment, as far as a process is its memory."""
    world, settings = asking.fleet.world, asking.fleet.registry.settings
    assert settings.database_url
    assert settings.redis_url
    opened = listener()
    port = opened.getsockname()[1]
    env = gateway_environment(
        port,
        world.platform.url,
        settings.database_url.reveal(),
        settings.redis_url.reveal(),
        ENCRYPTION_LOCAL_KEK=KEK,
        REMOTE_ALLOWED_PLAINTEXT_HOSTS="127.0.0.1,localhost",
        REMOTE_ALLOWED_PRIVATE=allowed(*asking.urls.values()),
    )
    app = create_app(load(env))
    async with serve_app(app, opened):
        yield Client(world.http, f"http://127.0.0.1:{port}", world.tokens[role], MODERN)


async def test_another_process_knows_that_the_call_is_not_with_it(asking: Asking) -> None:
    asked = await asking.call("legacy", "ask")
    name = asking.name("legacy", "ask")
    async with another_gateway(asking) as other:
        elsewhere = (await other.call(name, {}, params={**FORMS, **back(asked)})).reply
    assert code(elsewhere) == "ElicitationLostError"
    assert "may have been carried out" in text(elsewhere)
    assert asking.logs["legacy"].started == ["ask"]
    assert text(await asking.again("legacy", "ask", asked)) == "accept name='Ada'"


async def test_a_round_of_a_modern_server_goes_on_in_another_process(asking: Asking) -> None:
    asked = await asking.call("modern", "ask")
    name = asking.name("modern", "ask")
    async with another_gateway(asking) as other:
        elsewhere = (await other.call(name, {}, params={**FORMS, **back(asked)})).reply
    assert text(elsewhere) == "who=accept theirs"


async def test_a_gateway_that_ends_gives_its_calls_up(asking: Asking) -> None:
    name = asking.name("legacy", "ask")
    async with another_gateway(asking) as other:
        asked = (await other.call(name, {}, params=FORMS)).reply
        assert asked.result["resultType"] == "input_required"
    await until(lambda: asking.logs["legacy"].cancelled == ["ask"])
    reply = await asking.again("legacy", "ask", asked)
    assert code(reply) == "ElicitationLostError"


async def test_a_draining_gateway_ends_what_waits_for_users_at_once(
    database_url: str, redis_url: str
) -> None:
    async with start_asking(database_url, redis_url, "-draining") as draining:
        log = draining.logs["legacy"]
        asked = await draining.call("legacy", "ask")
        slow = await draining.call("legacy", "slowly")
        going_on = asyncio.get_running_loop().create_task(draining.again("legacy", "slowly", slow))
        await until(lambda: "slowly" in log.started)
        client = await draining.session()
        params: dict[str, Any] = {"name": draining.name("legacy", "ask"), "arguments": {}}
        async with streamed(client, "tools/call", params) as stream:
            await stream.question()
            draining.fleet.world.app.drain()
            ended = await stream.answer()
        assert "ElicitationLostError" in ended["result"]["content"][0]["text"]
        await until(lambda: log.cancelled == ["ask", "ask"])
        assert code(await draining.again("legacy", "ask", asked)) == "ElicitationLostError"
        assert code(await draining.call("legacy", "ask")) == "ElicitationLostError"
        assert code((await client.call(params["name"], {})).reply) == "ElicitationLostError"
        log.go_on.set()
        assert text(await going_on) == "accept"


# -- servers that die or are slow ----------------------------------------------------------------


class Wire:
    """Carries bytes to a server until it is cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self.cut()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [writer, back]
        with suppress(OSError):
            await asyncio.gather(_pumped(reader, back), _pumped(there, writer))
        for one in (writer, back):
            one.close()

    def cut(self) -> None:
        """End every connection, and take no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()


async def _pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("era", ["legacy", "sse"])
async def test_a_server_that_dies_while_its_call_is_held_is_noticed(
    asking: Asking, database_url: str, redis_url: str, era: str
) -> None:
    wire = Wire(urlsplit(asking.urls[era]).port or 0)
    async with wire as origin, start_fleet(database_url, redis_url, origin) as fleet:
        url = origin + urlsplit(asking.urls[era]).path
        transport = "sse" if era == "sse" else "streamable_http"
        row = await fleet.register(url, f"mortal-{era}", transport=transport)
        dying = Asking(fleet, {}, {era: row}, {era: url})
        asked = await dying.call(era, "ask")
        client = await dying.session()
        params = {"name": dying.name(era, "ask"), "arguments": {}}
        async with streamed(client, "tools/call", params) as stream:
            await stream.question()
            wire.cut()
            ended = await stream.answer()
        assert ended["result"]["isError"] is True
        reply = await dying.again(era, "ask", asked)
        assert code(reply) in ("ConnectError", "ProtocolError")
        assert "may have been carried out" in text(reply)
        assert dying.holds.waiting == 0
        assert not dying.services.questions._open


async def test_the_time_of_the_user_does_not_count_as_the_servers(asking: Asking) -> None:
    row = await asking.fleet.register(asking.urls["legacy"], "hasty", timeout_seconds=1)
    name = dotted(row, "ask")
    client = asking.fleet.client()
    asked = (await client.call(name, {}, params=FORMS)).reply
    session = await asking.session()
    params = {"name": name, "arguments": {}}
    async with streamed(session, "tools/call", params) as stream:
        question = await stream.question()
        await asyncio.sleep(1.3)
        await say(session, question, ACCEPTED)
        ended = await stream.answer()
    assert ended["result"]["content"][0]["text"] == "accept name='Ada'"
    held = (await client.call(name, {}, params={**FORMS, **back(asked)})).reply
    assert text(held) == "accept name='Ada'"


async def test_after_the_answer_the_servers_time_goes_on(asking: Asking) -> None:
    row = await asking.fleet.register(asking.urls["legacy"], "late", timeout_seconds=1)
    client = asking.fleet.client()
    name = dotted(row, "slowly")
    asked = (await client.call(name, {}, params=FORMS)).reply
    late = (await client.call(name, {}, params={**FORMS, **back(asked)})).reply
    assert code(late) == "TimeoutError"
    await until(lambda: "slowly" in asking.logs["legacy"].cancelled)


async def test_a_server_that_only_wants_time_gets_no_more_than_one_call(asking: Asking) -> None:
    row = await asking.fleet.register(asking.urls["modern"], "forever", timeout_seconds=1)
    client = await asking.session()
    assert code((await client.call(dotted(row, "forever"), {})).reply) == "TimeoutError"


async def test_a_question_shows_that_the_server_is_there(asking: Asking) -> None:
    assert asking.services.remotes is not None
    breaker, row = asking.services.remotes.parts.breaker, asking.rows["legacy"]
    for _ in range(5):
        breaker.learn(row.id, ConnectError("away"), is_trial=False)
    assert (
        code(await asking.call("legacy", "add", arguments={"a": 1, "b": 2})) == "CircuitOpenError"
    )
    breaker._circuits[row.id].open_until = 0.0
    asked = await asking.call("legacy", "ask")
    added = await asking.call("legacy", "add", arguments={"a": 1, "b": 2})
    assert text(added) == "3"
    assert text(await asking.again("legacy", "ask", asked)) == "accept name='Ada'"


# -- consent, running by hand --------------------------------------------------------------------


async def test_consent_is_asked_for_once_and_then_the_server_asks(asking: Asking) -> None:
    row = await asking.fleet.register(asking.urls["legacy"], "careful", consent_tier="confirm")
    client, name = asking.fleet.client(), dotted(row, "twice")
    consent = (await client.call(name, {}, params=FORMS)).reply
    assert list(consent.result["inputRequests"]) == ["consent"]
    assert not asking.holds.waiting
    yes = back(consent, {"action": "accept", "content": {"approve": True}})
    first = (await client.call(name, {}, params={**FORMS, **yes})).reply
    assert "consent" not in first.result["inputRequests"]
    second = (await client.call(name, {}, params={**FORMS, **back(first)})).reply
    replayed = (await client.call(name, {}, params={**FORMS, **back(first)})).reply
    assert replayed.error["code"] == -32602
    done = (await client.call(name, {}, params={**FORMS, **back(second)})).reply
    assert text(done) == "accept accept"


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_tool_that_is_run_by_hand_asks_as_well(asking: Asking, era: str) -> None:
    row = await asking.fleet.register(asking.urls[era], f"by-hand-{era}", consent_tier="locked")
    found = await asking.fleet.registry.rows(row)
    definition = next(one for one in found if one.kind is Kind.TOOL and one.name == "ask")
    login = {"login": "admin@acme.example"}
    token = await _signed_in(asking, login)
    person = asking.fleet.world.with_token(token)
    body = {"arguments": {}, "definition_hash": definition.definition_hash.hex()}
    path = f"{SERVERS}/{row.id}/tools/ask/invoke"
    asked = (await person.send(body, path=path)).json["data"]
    assert asked["result_type"] == "input_required"
    more = {
        "input_responses": dict.fromkeys(asked["input_requests"], ACCEPTED),
        "request_state": asked["request_state"],
    }
    done = (await person.send({**body, **more}, path=path)).json["data"]
    assert done["result_type"] == "complete"
    assert "accept" in done["result"]["content"][0]["text"]


async def _signed_in(asking: Asking, wanted: dict[str, Any]) -> str:
    from_seed = await asking.fleet.world.control("GET", "/rows/users")
    users = {row["id"]: row["email"] for row in from_seed["rows"]}
    wanted["login"] = users[asking.fleet.user_id]
    return str((await asking.fleet.world.control("POST", "/tokens", wanted))["token"])


# -- what passes of a modern server's question ---------------------------------------------------


@asynccontextmanager
async def raw_server(
    database_url: str, redis_url: str
) -> AsyncIterator[tuple[Asking, Upstream, ServerRow]]:
    async with serve_raw() as raw:
        upstream = Upstream(raw)
        async with start_fleet(database_url, redis_url, raw.url) as fleet:
            row = await fleet.register(upstream.url, "Raw")
            yield Asking(fleet, {}, {"raw": row}, {"raw": upstream.url}), upstream, row


async def test_only_the_meta_of_a_question_is_taken_off_and_its_size_is_limited(
    database_url: str, redis_url: str
) -> None:
    async with raw_server(database_url, redis_url) as (asking, upstream, _):
        params: dict[str, Any] = {"message": "?", "vendor": {"x": 1}, "_meta": {"secret": 1}}

        async def play(writer: Writer) -> None:
            message = msgspec.json.decode(upstream.raw.seen[-1].body)
            asked = {"q": {"method": "elicitation/create", "params": params}}
            result = {"resultType": "input_required", "inputRequests": asked}
            await reply(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})(writer)

        upstream.plays["tools/call"] = play
        (request,) = (await asking.call("raw", "search")).result["inputRequests"].values()
        assert request["params"] == {"message": "?", "vendor": {"x": 1}}
        client = await asking.session()
        called: dict[str, Any] = {"name": asking.name("raw", "search"), "arguments": {}}
        async with streamed(client, "tools/call", called) as stream:
            question = await stream.question()
            assert question["params"] == {"message": "?", "vendor": {"x": 1}}
        params["message"] = "?" * 70_000
        assert code(await asking.call("raw", "search")) == "ResponseTooLargeError"
        called_again = (await client.call(called["name"], {})).reply
        assert code(called_again) == "ResponseTooLargeError"
