"""JSON-RPC: forms of ids, malformed bodies, batches, faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.types import Allowance, Caller
from tests.integration.edge import Edge, Setup, start_edge
from tests.world import CAPABILITIES, MODERN, VERSION, Reply

BATCHING = "2025-03-26"
OTHERS = ["2024-11-05", "2025-06-18", "2025-11-25", MODERN]


@pytest_asyncio.fixture(scope="module")
async def edge() -> AsyncIterator[Edge]:
    async with start_edge() as running:
        yield running


def ping(message_id: Any = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": message_id, "method": "ping"}


def call(name: str, message_id: Any = 1) -> dict[str, Any]:
    params = {"name": name, "arguments": {}}
    return {"jsonrpc": "2.0", "id": message_id, "method": "tools/call", "params": params}


NOTIFICATION = {"jsonrpc": "2.0", "method": "notifications/initialized"}
RESPONSE = {"jsonrpc": "2.0", "id": 77, "result": {}}


async def send(edge: Edge, body: Any, revision: str | None = "2025-11-25") -> Reply:
    return await edge.as_("alice", revision).send(body)


# -- ids -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw", ["1", "0", "-7", "12345678901234567890123", '"a"', '""', '"é \\u00e9 \\ud83d\\ude00"']
)
async def test_an_id_comes_back_byte_for_byte(edge: Edge, raw: str) -> None:
    reply = await send(edge, f'{{"jsonrpc":"2.0","id":{raw},"method":"ping"}}'.encode())
    assert reply.content == f'{{"jsonrpc":"2.0","id":{raw},"result":{{}}}}'.encode()


@pytest.mark.parametrize("raw", ["null", "1.0", "1e2", "true", "{}", "[1]"])
@pytest.mark.parametrize("revision", ["2025-11-25", MODERN])
async def test_another_id_is_an_invalid_request(edge: Edge, raw: str, revision: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":{raw},"method":"ping"}}'.encode()
    reply = await send(edge, body, revision)
    assert (reply.status, reply.error["code"], reply.json["id"]) == (400, -32600, None)


# -- bodies that cannot be read ------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"jsonrpc":"2.0","id":1,"method":"ping"',
        b'{"jsonrpc":"2.0","id":1,"method":"pi\xffng"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"\xc3\x28"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping"}\x00',
        b'\x00{"jsonrpc":"2.0","id":1,"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"a\x00b"}}',
        b"\xff\xfe\x00\x00",
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"jsonrpc":"2.0","id":1,"method":"ping","params":'
        + b'{"a":' * 10_000
        + b"1"
        + b"}" * 10_000
        + b"}",
    ],
    ids=["empty", "open", "cut", "utf-8", "utf-8 inside", "nul behind", "nul before", "nul inside",
         "utf-16", "open arrays", "deep arrays", "deep objects"],
)  # fmt: skip
@pytest.mark.parametrize("revision", [BATCHING, "2025-11-25", MODERN])
async def test_what_is_no_json_is_a_parse_error(edge: Edge, body: bytes, revision: str) -> None:
    reply = await send(edge, body, revision)
    assert (reply.status, reply.error["code"], reply.json["id"]) == (400, -32700, None)


async def test_depth_is_bounded_at_sixty_four(edge: Edge) -> None:
    for levels, status in ((62, 200), (63, 200), (64, 400)):
        deep: Any = {}
        for _ in range(levels - 1):
            deep = {"a": deep}
        reply = await send(edge, {**ping(), "params": deep})
        assert reply.status == status, levels


@pytest.mark.parametrize(
    "body",
    [1, None, "text", {}, {"jsonrpc": "2.0"}, {"id": 1, "method": "ping"},
     {"jsonrpc": "1.0", "id": 1, "method": "ping"}, {"jsonrpc": "2.0", "id": 1, "method": 5},
     {"jsonrpc": "2.0", "id": 1}],
)  # fmt: skip
async def test_what_is_no_json_rpc_is_an_invalid_request(edge: Edge, body: Any) -> None:
    reply = await send(edge, json.dumps(body).encode())
    assert (reply.status, reply.error["code"], reply.json["id"]) == (400, -32600, None)


async def test_unknown_members_are_ignored(edge: Edge) -> None:
    assert (await send(edge, {**ping(), "extra": [1], "params": {"x": {}}})).status == 200


async def test_handshake_errors_ride_on_200(edge: Edge) -> None:
    client = edge.as_("alice", "2025-06-18")
    for method, params, number in (
        ("nothing", {}, -32601),
        ("tools/call", {}, -32602),
        ("tools/call", {"name": 5}, -32602),
        ("tools/list", {"cursor": "x"}, -32602),
    ):
        reply = await client.rpc(method, params, message_id="i")
        assert (reply.status, reply.error["code"], reply.json["id"]) == (200, number, "i")


# -- faults of our own ---------------------------------------------------------------------------


class FaultyLimits:
    """Limits that cannot be counted for a reason that nobody foresaw."""

    is_on = True

    async def take(self, caller: Caller) -> Allowance | None:
        raise LookupError("secret-of-the-house at /srv/gateway/internal.py")


LEAKS = (b"secret", b"LookupError", b"internal.py", b"Traceback")


async def test_a_fault_is_an_internal_error_that_says_nothing() -> None:
    async with start_edge(Setup(limiter=FaultyLimits())) as faulty:
        for revision in (*OTHERS, BATCHING):
            reply = await faulty.as_("alice", revision).rpc("tools/list")
            assert (reply.status, reply.error["code"]) == (200, -32603)
            assert (reply.word, reply.json["id"]) == ("INTERNAL_ERROR", 1)
            assert not [leaked for leaked in LEAKS if leaked in reply.content]
        body = {"jsonrpc": "2.0", "id": 4, "method": "tools/list"}
        (answer,) = (await send(faulty, [body], BATCHING)).json
        assert (answer["id"], answer["error"]["code"]) == (4, -32603)


@pytest.mark.parametrize("revision", [*OTHERS, BATCHING])
async def test_a_fault_during_a_call_is_a_failed_call(edge: Edge, revision: str) -> None:
    called = await edge.as_("alice", revision).call("test_fault")
    assert (called.reply.status, called.code) == (200, "INTERNAL_ERROR")
    assert called.error["request_id"] == called.reply.headers["x-request-id"]
    assert not [leaked for leaked in LEAKS if leaked in called.reply.content]


async def test_a_fault_after_the_first_event_is_the_streams_last_event(edge: Edge) -> None:
    called = await edge.as_().call("test_fault", params={"_meta": {"progressToken": "p"}})
    assert called.reply.is_stream
    assert called.reply.events[0]["params"]["message"] == "about to fail"
    assert called.code == "INTERNAL_ERROR"
    assert b"secret" not in called.reply.content


async def test_a_protocol_error_of_a_source_keeps_its_number(edge: Edge) -> None:
    for revision, status in ((MODERN, 400), ("2025-11-25", 200)):
        client = edge.as_("alice", revision)
        reply = await client.rpc("tools/call", {"name": "test_missing_capability"})
        assert (reply.status, reply.error["code"]) == (status, -32021)
        assert reply.error["data"] == {"requiredCapabilities": {"sampling": {}}}


# -- batches -------------------------------------------------------------------------------------


async def test_a_batch_is_answered_with_an_array_of_all_answers(edge: Edge) -> None:
    body = [ping(1), NOTIFICATION, call("test_simple_text", "two"), RESPONSE, ping(3)]
    reply = await send(edge, body, BATCHING)
    assert reply.status == 200
    assert [answer["id"] for answer in reply.json] == [1, "two", 3]
    assert reply.json[0]["result"] == {}
    assert reply.json[1]["result"]["isError"] is False


async def test_batches_are_taken_from_clients_that_name_no_revision(edge: Edge) -> None:
    reply = await send(edge, [ping()], None)
    assert [answer["id"] for answer in reply.json] == [1]


async def test_a_batch_without_requests_is_accepted(edge: Edge) -> None:
    reply = await send(edge, [NOTIFICATION, RESPONSE], BATCHING)
    assert (reply.status, reply.content) == (202, b"")


@pytest.mark.parametrize("revision", OTHERS)
async def test_other_revisions_have_no_batches(edge: Edge, revision: str) -> None:
    reply = await send(edge, [ping()], revision)
    assert (reply.status, reply.error["code"], reply.json["id"]) == (400, -32600, None)


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (50, 200), (51, 400)])
async def test_a_batch_holds_one_to_fifty_messages(edge: Edge, count: int, status: int) -> None:
    reply = await send(edge, [ping(number) for number in range(count)], BATCHING)
    assert reply.status == status
    if status == 400:
        assert reply.error["code"] == -32600


@pytest.mark.parametrize("ids", [(1, 1), ("a", "b", "a")])
async def test_two_requests_with_one_id_are_refused_together(edge: Edge, ids: Any) -> None:
    reply = await send(edge, [ping(each) for each in ids], BATCHING)
    assert (reply.status, reply.error["code"]) == (400, -32600)


async def test_a_number_and_a_string_are_two_ids(edge: Edge) -> None:
    reply = await send(edge, [ping(1), ping("1")], BATCHING)
    assert [answer["id"] for answer in reply.json] == [1, "1"]


async def test_a_faulty_message_costs_the_others_nothing(edge: Edge) -> None:
    initialize = {"protocolVersion": BATCHING, "capabilities": {}, "clientInfo": {}}
    body = [
        ping(1),
        5,
        {"jsonrpc": "2.0", "id": None, "method": "ping"},
        {"jsonrpc": "2.0", "id": 2, "method": "nothing"},
        {"jsonrpc": "2.0", "id": 3, "method": "initialize", "params": initialize},
        {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": []},
        call("test_fault", 4),
        call("test_error_handling", 6),
        call("nothing_here", 7),
    ]
    reply = await send(edge, body, BATCHING)
    assert reply.status == 200
    answers = [
        (answer["id"], answer["error"]["code"] if "error" in answer else answer["result"])
        for answer in reply.json
    ]
    assert answers[:6] == [
        (1, {}),
        (None, -32600),
        (None, -32600),
        (2, -32601),
        (3, -32600),
        (5, -32602),
    ]
    assert [(answer[0], answer[1]["isError"]) for answer in answers[6:]] == [
        (4, True),
        (6, True),
        (7, True),
    ]
    assert b"secret" not in reply.content
    assert "mcp-session-id" not in reply.headers


async def test_an_envelope_of_2026_in_a_batch_is_a_mismatch_of_its_message(edge: Edge) -> None:
    meta = {VERSION: MODERN, CAPABILITIES: {}}
    body = [ping(1), {**ping(2), "params": {"_meta": meta}}]
    reply = await send(edge, body, BATCHING)
    assert [answer.get("error", {}).get("code") for answer in reply.json] == [None, -32020]


async def test_a_batch_that_is_no_json_is_a_parse_error(edge: Edge) -> None:
    reply = await send(edge, b'[{"jsonrpc":"2.0"},]', BATCHING)
    assert (reply.status, reply.error["code"]) == (400, -32700)


async def test_a_batch_speaks_the_sessions_revision() -> None:
    async with start_edge() as edge:
        client = edge.as_()
        for revision, status in ((BATCHING, 200), ("2025-06-18", 400)):
            session = (await client.initialize(revision)).headers["mcp-session-id"]
            silent = client.using(revision=None, headers={"mcp-session-id": session})
            assert (await silent.send([ping()])).status == status


# -- surfaces ------------------------------------------------------------------------------------


async def test_surfaces_that_are_switched_off_do_not_exist() -> None:
    async with start_edge(Setup(surfaces=frozenset({"tools"}))) as edge:
        modern = await edge.as_("alice", MODERN).rpc("server/discover")
        assert modern.result["capabilities"] == {"tools": {"listChanged": True}}
        handshake = await edge.as_().initialize()
        assert handshake.result["capabilities"] == {"tools": {}}
        for method in ("resources/list", "resources/templates/list", "resources/read",
                       "prompts/list", "prompts/get", "completion/complete"):  # fmt: skip
            assert (await edge.as_().rpc(method)).error["code"] == -32601
