"""Between eras and gateways: results, resources, prompts, completion, questions, changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from scaimcp.remotes.models import ServerRow
from tests.integration.rawserver import Writer, reply, serve_raw
from tests.integration.remotes.registry import until
from tests.integration.remotes.servers import Upstream, named
from tests.integration.remotes.sidebyside import (
    PREFIX,
    Fleet,
    direct,
    dotted,
    plain,
    safe,
    start_fleet,
)
from tests.integration.upstream import support
from tests.world import CAPABILITIES, LATEST, MODERN, VERSION

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", LATEST, MODERN)
INFO = "io.modelcontextprotocol/serverInfo"


class Setup:
    def __init__(self, fleet: Fleet, upstream: Upstream, row: ServerRow) -> None:
        self.fleet = fleet
        self.upstream = upstream
        self.row = row
        self.sdks: dict[str, tuple[support.Fleet, ServerRow]] = {}

    @property
    def prefix(self) -> str:
        return f"scailink://remote/tenant/{self.row.slug}/"

    def answers(self, method: str, *, status: int = 200, **body: Any) -> None:
        async def play(writer: Writer) -> None:
            message = msgspec.json.decode(self.upstream.raw.seen[-1].body)
            await reply(status, {"jsonrpc": "2.0", "id": message["id"], **body})(writer)

        self.upstream.plays[method] = play

    def sent(self) -> Any:
        return msgspec.json.decode(self.upstream.raw.seen[-1].body)["params"]

    async def call(self, revision: str = MODERN, **more: Any) -> Any:
        client = self.fleet.client(revision)
        return (await client.call(dotted(self.row, "search"), {}, **more)).reply


@pytest_asyncio.fixture(scope="module")
async def setup(database_url: str, redis_url: str) -> AsyncIterator[Setup]:
    async with serve_raw() as raw, support.sdk("both") as modern, support.sdk("legacy") as legacy:
        upstream = Upstream(raw)
        upstream.capabilities = {"tools": {}, "resources": {}, "prompts": {}, "completions": {}}
        mirrored = {
            "type": "object",
            "properties": {
                "region": {"type": "string", "x-mcp-header": "Region"},
                "at": {"type": "object", "properties": {
                    "n": {"type": "integer", "x-mcp-header": "N"},
                    "b": {"type": "boolean", "x-mcp-header": "B"},
                }},
            },
        }  # fmt: skip
        upstream.lists = {
            "tools/list": [named("search"), named("mirror", inputSchema=mirrored)],
            "prompts/list": [{"name": "greet"}],
            "resources/list": [{"uri": "note://one", "name": "one"}],
        }
        urls = (raw.url, modern.url, legacy.url)
        async with start_fleet(database_url, redis_url, *urls) as fleet:
            row = await fleet.register(upstream.url, "Raw")
            started = Setup(fleet, upstream, row)
            for era, served in (("modern", modern), ("legacy", legacy)):
                started.sdks[era] = (served, await fleet.register(served.url, era))
            yield started


@pytest_asyncio.fixture(autouse=True)
async def quiet(setup: Setup) -> AsyncIterator[None]:
    yield
    setup.upstream.plays.clear()


@pytest.mark.parametrize("revision", REVISIONS)
async def test_unusual_results_pass_byte_for_byte(setup: Setup, revision: str) -> None:
    raw = (
        b'{"resultType":"complete","content":[{"type":"text","text":"\\u00e9 \xc3\xa9 \\/"}],'
        b'"structuredContent":{"n":1.0e3,"big":12345678901234567890,"z":0,"a":null},'
        b'"isError":false,"vendor":{"x" : [1, 2]},"_meta":{"vendor/y":{"k" :1},'
        b'"io.modelcontextprotocol/serverInfo":{"name":"theirs","version":"9"},'
        b'"ai.scailabs.scaimcp/request_id":"forged"}}'
    )

    async def play(writer: Writer) -> None:
        message = msgspec.json.decode(setup.upstream.raw.seen[-1].body)
        body = b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (message["id"], raw)
        await reply(200, body)(writer)

    setup.upstream.plays["tools/call"] = play
    answer = await setup.call(revision)
    for piece in (
        b'"content":[{"type":"text","text":"\\u00e9 \xc3\xa9 \\/"}]',
        b'"structuredContent":{"n":1.0e3,"big":12345678901234567890,"z":0,"a":null}',
        b'"isError":false',
        b'"vendor":{"x" : [1, 2]}',
        b'"vendor/y":{"k" :1}',
    ):
        assert piece in answer.content
    assert b"theirs" not in answer.content
    assert b"forged" not in answer.content
    assert (b"resultType" in answer.content) is (revision == MODERN)


@pytest.mark.parametrize(
    ("structured", "text"), [("[1,2]", "[1,2]"), ('"word"', '"word"'), ("7", "7"), ("null", "null")]
)
async def test_structure_that_is_no_object_becomes_text_for_older_clients(
    setup: Setup, structured: str, text: str
) -> None:
    value = msgspec.json.decode(structured)
    for content in ({}, {"content": []}):
        setup.answers("tools/call", result={"structuredContent": value, **content})
        assert (await setup.call()).result["structuredContent"] == value
        older = (await setup.call(LATEST)).result
        assert "structuredContent" not in older
        assert older["content"] == [{"type": "text", "text": text}]
    kept = [{"type": "text", "text": "kept"}]
    setup.answers(
        "tools/call",
        result={
            "structuredContent": value, "content": kept, "ttlMs": 5, "cacheScope": "public"
        },
    )  # fmt: skip
    older = (await setup.call(LATEST)).result
    assert plain(older) == {"content": kept}
    assert "ttlMs" not in older


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        ([{"type": "resource_link", "uri": "note://one", "name": "one"}], True),
        ([{"type": "resource", "resource": {"uri": "note://one", "text": "x"}}], True),
        ([{"type": "text", "text": '{"type":"resource"}'}], False),
        ([{"type": "text", "text": "x", "annotations": {"a": "resource"}}], False),
        ("resource", False),
        ('"resource', False),
        ([7, "resource"], False),
    ],
)
async def test_results_that_name_resources_say_how_to_read_them(
    setup: Setup, content: Any, holds: bool
) -> None:
    setup.answers("tools/call", result={"content": content, "_meta": "odd"})
    result = (await setup.call()).result
    assert result["content"] == content
    assert result["_meta"].get(PREFIX) == (setup.prefix if holds else None)


async def test_mirrored_arguments_become_headers_of_the_server(setup: Setup) -> None:
    setup.answers("tools/call", result={"content": []})
    name = dotted(setup.row, "mirror")
    arguments = {"region": "eu west", "at": {"n": 7, "b": True}}
    headers = {"mcp-param-region": "eu west", "mcp-param-n": "7", "mcp-param-b": "true"}
    called = await setup.fleet.client().call(name, arguments, headers=headers)
    assert called.reply.status == 200
    sent = setup.upstream.raw.seen[-1].headers
    assert {key: sent[key] for key in headers} == headers
    assert sent["mcp-name"] == "mirror"
    wrong = await setup.fleet.client().call(
        name, arguments, headers={**headers, "mcp-param-n": "8"}
    )
    assert (wrong.reply.status, wrong.reply.error["code"]) == (400, -32020)
    await setup.fleet.client(LATEST).call(name, {"region": None, "at": {"b": False, "n": [1]}})
    sent = setup.upstream.raw.seen[-1].headers
    assert sent["mcp-param-b"] == "false"
    assert "mcp-param-region" not in sent
    assert "mcp-param-n" not in sent


async def test_of_the_clients_meta_only_the_progress_token_counts(setup: Setup) -> None:
    setup.answers("tools/call", result={"content": []})
    meta = {"progressToken": "t", "vendor/x": 1, "traceparent": "00-" + "1" * 32 + "-" + "2" * 16}
    await setup.call(params={"_meta": meta})
    sent = setup.sent()["_meta"]
    assert isinstance(sent.pop("progressToken"), int)
    assert set(sent) == {VERSION, CAPABILITIES, "io.modelcontextprotocol/clientInfo"}
    assert sent[CAPABILITIES] == {}
    assert sent["io.modelcontextprotocol/clientInfo"]["name"] == "ScaiMCP"


# -- resources and prompts -----------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["2025-06-18", MODERN])
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_resources_and_prompts_read_as_from_the_server_itself(
    setup: Setup, era: str, revision: str
) -> None:
    served, row = setup.sdks[era]
    straight = await direct(setup.fleet.world, served.url, era)
    client = setup.fleet.client(revision)
    expected = (await straight.rpc("resources/read", {"uri": "note://one"})).result
    prefix = f"scailink://remote/tenant/{row.slug}/"
    read = (await client.rpc("resources/read", {"uri": f"{prefix}note://one"})).result
    assert plain(read) == plain(expected)
    assert read["_meta"][PREFIX] == prefix
    asked = {"name": "greet", "arguments": {"name": "Ada"}}
    expected = (await straight.rpc("prompts/get", asked)).result
    for name in (dotted(row, "greet"), safe(row, "greet")):
        got = (await client.rpc("prompts/get", {**asked, "name": name})).result
        assert plain(got) == plain(expected)


@pytest.mark.parametrize(
    ("told", "ttl"), [(None, 0), (500, 500), (900_000, 300_000), (-1, 0), ("x", 0), (True, 0)]
)
async def test_what_was_read_may_be_kept_for_a_while_by_its_reader(
    setup: Setup, told: Any, ttl: int
) -> None:
    hint = {} if told is None else {"ttlMs": told, "cacheScope": "public"}
    setup.answers("resources/read", result={"contents": [], **hint})
    uri = {"uri": f"{setup.prefix}note://one"}
    read = (await setup.fleet.client().rpc("resources/read", uri)).result
    assert (read["ttlMs"], read["cacheScope"]) == (ttl, "private")
    older = (await setup.fleet.client(LATEST).rpc("resources/read", uri)).result
    assert set(older) == {"contents", "_meta"}


async def test_a_uri_goes_out_byte_for_byte(setup: Setup) -> None:
    setup.answers("resources/read", result={"contents": []})
    for uri in ("note://a%2Fb?x=1#y", "NOTE://Grüße/x", "scailink://remote/a/b/c", "x:"):
        client = setup.fleet.client()
        reply_ = await client.rpc("resources/read", {"uri": setup.prefix + uri})
        assert reply_.status == 200
        assert setup.sent()["uri"] == uri


@pytest.mark.parametrize(
    ("code", "modern", "legacy"),
    [
        (-32602, -32602, -32002),
        (-32002, -32602, -32002),
        (-32603, -32603, -32603),
        (7, -32603, -32603),
    ],
)
async def test_errors_of_a_read_have_the_numbers_of_the_clients_era(
    setup: Setup, code: int, modern: int, legacy: int
) -> None:
    setup.answers("resources/read", error={"code": code, "message": "no"})
    uri = {"uri": f"{setup.prefix}note://none"}
    for revision, number in ((MODERN, modern), (LATEST, legacy)):
        refused = await setup.fleet.client(revision).rpc("resources/read", uri)
        assert refused.error["code"] == number
        assert refused.error["data"]["error"]["code"] == "McpError"
        assert refused.error["data"]["error"]["jsonrpc_code"] == code
    setup.answers("prompts/get", error={"code": code, "message": "no"})
    asked = {"name": dotted(setup.row, "greet")}
    number = -32602 if modern == -32602 else -32603
    for revision in (MODERN, LATEST):
        refused = await setup.fleet.client(revision).rpc("prompts/get", asked)
        assert refused.error["code"] == number


async def test_a_read_that_fails_on_its_way_names_the_class(setup: Setup) -> None:
    setup.upstream.plays["resources/read"] = reply(500, b"")
    refused = await setup.fleet.client().rpc("resources/read", {"uri": f"{setup.prefix}note://one"})
    assert (refused.error["code"], refused.word) == (-32603, "RemoteServerError")


@pytest.mark.parametrize(
    "uri",
    ["note://one", "scailink://remote/", "scailink://remote/tenant/raw-000000/x", "file:///etc"],
)
async def test_uris_of_nobody_are_not_found(setup: Setup, uri: str) -> None:
    modern = await setup.fleet.client().rpc("resources/read", {"uri": uri})
    assert (modern.status, modern.error["code"]) == (400, -32602)
    legacy = await setup.fleet.client(LATEST).rpc("resources/read", {"uri": uri})
    assert (legacy.status, legacy.error["code"]) == (200, -32002)


async def test_what_must_not_be_read_is_refused_in_the_gateways_words(setup: Setup) -> None:
    uri, name = f"{setup.prefix}note://one", dotted(setup.row, "greet")
    asked = (("resources/read", {"uri": uri}), ("prompts/get", {"name": name}))
    nobody = setup.fleet.client(role="tenant_user")
    for method, params in asked:
        refused = await nobody.rpc(method, params)
        assert (refused.error["code"], refused.word) == (-31000, "PERMISSION_DENIED")
    for assignments, code in (
        ("status = 'disabled'", "REMOTE_SERVER_UNAVAILABLE"),
        ("status = 'active'", None),
    ):
        await setup.fleet.registry.set_state(setup.row, assignments)
        await setup.fleet.bump()
        if code is not None:
            for method, params in asked:
                refused = await setup.fleet.client().rpc(method, params)
                assert (refused.error["code"], refused.word) == (-31000, code)
                assert refused.error["data"]["error"]["reason"] == "disabled"
    await setup.fleet.registry.set_server(setup.row, "consent_tier = 'locked'")
    await setup.fleet.bump()
    for method, params in asked:
        refused = await setup.fleet.client().rpc(method, params)
        assert (refused.error["code"], refused.word) == (-31000, "TOOL_LOCKED")
    await setup.fleet.registry.set_server(setup.row, "consent_tier = 'auto'")
    await setup.fleet.bump()
    missing = await setup.fleet.client().rpc("prompts/get", {"name": dotted(setup.row, "x")})
    assert missing.error["code"] == -32602


async def test_prompt_arguments_are_an_object(setup: Setup) -> None:
    asked = {"name": dotted(setup.row, "greet"), "arguments": [1]}
    assert (await setup.fleet.client().rpc("prompts/get", asked)).error["code"] == -32602
    setup.answers("prompts/get", result={"messages": []})
    for arguments in ({}, {"arguments": None}, {"arguments": {"who": "x"}}):
        got = await setup.fleet.client().rpc(
            "prompts/get", {"name": dotted(setup.row, "greet"), **arguments}
        )
        assert plain(got.result) == {"messages": []}


async def test_questions_in_a_read_cannot_be_asked(setup: Setup) -> None:
    setup.answers("prompts/get", result={"resultType": "input_required", "requestState": "x"})
    refused = await setup.fleet.client().rpc("prompts/get", {"name": dotted(setup.row, "greet")})
    assert refused.word == "InputRequiredError"


async def test_arguments_are_completed_by_the_server(setup: Setup) -> None:
    found = {"values": ["ada", "alan"], "total": 2, "hasMore": False}
    setup.answers("completion/complete", result={"completion": found})
    argument = {"name": "who", "value": "a"}
    references = [
        ({"type": "ref/prompt", "name": dotted(setup.row, "greet")}, "name", "greet"),
        ({"type": "ref/prompt", "name": safe(setup.row, "greet")}, "name", "greet"),
        ({"type": "ref/resource", "uri": f"{setup.prefix}note://{{id}}"}, "uri", "note://{id}"),
    ]
    for reference, key, name in references:
        params = {"ref": reference, "argument": argument, "context": {"arguments": {"x": "1"}}}
        for revision in ("2025-06-18", MODERN):
            completed = await setup.fleet.client(revision).rpc("completion/complete", params)
            assert completed.result["completion"] == found
            sent = setup.sent()
            assert sent["ref"][key] == name
            assert (sent["argument"], sent["context"]) == (argument, params["context"])


async def test_what_nobody_completes_has_no_suggestions(setup: Setup) -> None:
    argument = {"name": "who", "value": "a"}
    served, row = setup.sdks["legacy"]
    assert served.url
    references = [
        {"type": "ref/prompt", "name": "nobody"},
        {"type": "ref/prompt", "name": dotted(setup.row, "nobody")},
        {"type": "ref/prompt", "name": dotted(row, "greet")},
        {"type": "ref/resource", "uri": "note://one"},
    ]
    for reference in references:
        params = {"ref": reference, "argument": argument}
        completed = await setup.fleet.client().rpc("completion/complete", params)
        assert completed.result["completion"] == {"values": []}
    params = {"ref": {"type": "ref/prompt", "name": dotted(setup.row, "greet")},
              "argument": argument}  # fmt: skip
    setup.answers("completion/complete", error={"code": -32601, "message": "no"})
    completed = await setup.fleet.client().rpc("completion/complete", params)
    assert completed.result["completion"] == {"values": []}
    setup.answers("completion/complete", error={"code": -32000, "message": "no"})
    refused = await setup.fleet.client().rpc("completion/complete", params)
    assert refused.error["code"] == -32603


# -- questions, eras, changes --------------------------------------------------------------------


async def test_a_servers_question_reaches_the_user_and_the_answer_comes_back(setup: Setup) -> None:
    question = {"q": {"method": "elicitation/create", "params": {"mode": "form", "message": "?"}}}
    setup.answers(
        "tools/call",
        result={
            "resultType": "input_required", "inputRequests": question, "requestState": "their-state"
        },
    )  # fmt: skip
    able = {"_meta": {CAPABILITIES: {"elicitation": {"form": {}}}}}
    first = (await setup.call(params=able)).result
    assert first["resultType"] == "input_required"
    assert first["inputRequests"] == question
    assert "their-state" not in first["requestState"]
    assert setup.sent()["_meta"][CAPABILITIES] == {"elicitation": {"form": {}}}
    answers = {"q": {"action": "accept", "content": {"a": 1}}}
    setup.answers("tools/call", result={"content": []})
    again = {**able, "inputResponses": answers, "requestState": first["requestState"]}
    assert plain((await setup.call(params=again)).result) == {"content": []}
    assert setup.sent()["inputResponses"] == answers
    assert setup.sent()["requestState"] == "their-state"


@pytest.mark.row(50)
async def test_a_server_that_changes_its_era_fails_once(setup: Setup) -> None:
    served, row = setup.sdks["legacy"]
    before = len(served.started)
    await setup.fleet.registry.set_state(row, "protocol_era = 'modern'")
    await setup.fleet.bump()
    name, arguments = dotted(row, "add"), {"a": 1, "b": 2}
    first = await setup.fleet.client().call(name, arguments)
    assert first.code in ("McpError", "RemoteClientError")
    second = await setup.fleet.client().call(name, arguments)
    assert second.reply.result["content"][0]["text"] == "3"
    assert len(served.started) == before + 1


async def test_changes_of_the_catalogue_are_told(setup: Setup) -> None:
    client = setup.fleet.client()
    wanted = {"toolsListChanged": True, "promptsListChanged": True, "resourcesListChanged": True}
    params = {"notifications": {**wanted, "resourceSubscriptions": True}}
    body = client.request("subscriptions/listen", params)
    headers = {
        "authorization": f"Bearer {client.token}", "mcp-protocol-version": MODERN,
        "mcp-method": "subscriptions/listen", "accept": "application/json, text/event-stream",
    }  # fmt: skip
    url = f"{setup.fleet.world.url}/mcp"
    async with setup.fleet.world.http.post(url, json=body, headers=headers) as stream:
        first = await _event(stream)
        assert first["params"]["notifications"] == wanted
        await setup.fleet.bump()
        told = {(await _event(stream))["method"] for _ in range(3)}
    assert told == {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
    }


async def _event(stream: aiohttp.ClientResponse) -> Any:
    async with asyncio.timeout(5):
        while True:
            line = await stream.content.readline()
            if line.startswith(b"data: "):
                return msgspec.json.decode(line[6:])


async def test_a_server_that_announces_new_lists_is_discovered_again(setup: Setup) -> None:
    async def play(writer: Writer) -> None:
        message = msgspec.json.decode(setup.upstream.raw.seen[-1].body)
        note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        done = {"jsonrpc": "2.0", "id": message["id"], "result": {"content": []}}
        body = b"".join(b"data: " + msgspec.json.encode(one) + b"\n\n" for one in (note, done))
        await reply(200, body, content_type="text/event-stream")(writer)

    setup.upstream.plays["tools/call"] = play
    assert plain((await setup.call()).result) == {"content": []}
    services = setup.fleet.world.app.services
    assert services is not None
    key = f"arq:job:discover-now:{setup.row.id}"

    async def is_asked_for() -> bool:
        return bool(await services.redis.raw.exists(key))

    await until(is_asked_for)


async def test_progress_that_is_no_progress_is_left_out(setup: Setup) -> None:
    async def play(writer: Writer) -> None:
        message = msgspec.json.decode(setup.upstream.raw.seen[-1].body)
        token = message["params"]["_meta"].get("progressToken")
        notes: list[Any] = [
            {"method": "notifications/progress", "params": {"progressToken": token}},
            {"method": "notifications/progress",
             "params": {"progressToken": token, "progress": 1, "total": 2, "message": "m"}},
            {"method": "notifications/message", "params": {"level": "info", "data": "x"}},
        ]  # fmt: skip
        done = {"id": message["id"], "result": {"content": []}}
        frames = [{"jsonrpc": "2.0", **one} for one in (*notes, done)]
        body = b"".join(b"data: " + msgspec.json.encode(one) + b"\n\n" for one in frames)
        await reply(200, body, content_type="text/event-stream")(writer)

    setup.upstream.plays["tools/call"] = play
    answer = await setup.call(params={"_meta": {"progressToken": 5}})
    told = [event["params"] for event in answer.events[:-1]]
    assert told == [{"progressToken": 5, "progress": 1.0, "total": 2.0, "message": "m"}]
    assert plain((await setup.call()).result) == {"content": []}
