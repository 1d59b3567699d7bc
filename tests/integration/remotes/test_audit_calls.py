"""Audit rows: one for every call of a remote server, and one for every other named action."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.audit.buffer import CallRow, open_buffer
from scaimcp.postgres import open_database
from scaimcp.remotes.rules.canonical import arguments_digest
from tests.integration.remotes.consenting import (
    FORM,
    SUM,
    YES,
    Consenting,
    start_consenting,
)
from tests.integration.remotes.registry import until
from tests.integration.remotes.sidebyside import dotted, start_fleet
from tests.integration.upstream import support
from tests.world import CAPABILITIES, MODERN, Reply

PREFIX = "scailink://remote/"
REVISIONS = ("2025-11-25", MODERN)


@pytest_asyncio.fixture(scope="module")
async def it(database_url: str, redis_url: str) -> AsyncIterator[Consenting]:
    async with start_consenting(database_url, redis_url) as started:
        yield started


async def rows(it: Consenting, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """The rows of calls within one request, once all are there."""
    found: list[Any] = []

    async def are_there() -> bool:
        nonlocal found
        async with it.fleet.registry.database.transaction() as connection:
            found = await connection.fetch(
                "SELECT *, now() - at AS age FROM audit_events WHERE request_id = $1"
                " AND action LIKE 'remote_call.%' ORDER BY id",
                request_id,
            )
        return len(found) >= count

    await until(are_there)
    return [{**row, "data": msgspec.json.decode(row["data"])} for row in found]


async def row_of(it: Consenting, reply: Reply) -> dict[str, Any]:
    (row,) = await rows(it, reply.headers["x-request-id"])
    return row


# --- calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_tool_call_is_written_down(it: Consenting, revision: str) -> None:
    row = it.rows["auto"]
    client = it.fleet.client(revision)
    called = await client.call(dotted(row, "add"), SUM, headers={"user-agent": "tests/1 (x)"})
    written = await row_of(it, called.reply)
    assert written["action"] == "remote_call.tool"
    assert (written["resource_type"], written["resource_id"]) == ("remote_server", row.id)
    assert (written["tenant_id"], written["actor_id"]) == (row.tenant_id, it.fleet.user_id)
    assert written["actor_type"] == "user"
    assert written["status"] == "SUCCESS"
    assert (written["ip_address"], written["user_agent"]) == ("127.0.0.1", "tests/1 (x)")
    data = written["data"]
    assert data.pop("duration_ms") >= 0
    assert data == {
        "name": "add",
        "outcome": "ok",
        "digest": arguments_digest(SUM).hex(),
        "tier": "auto",
    }
    assert -1 < written["age"].total_seconds() < 60


@pytest.mark.parametrize(
    ("tool", "arguments", "outcome"),
    [("fail", {}, "tool_error"), ("add", {"a": "no number"}, "tool_error")],
)
async def test_a_tool_that_fails_is_a_failure(
    it: Consenting, tool: str, arguments: Any, outcome: str
) -> None:
    called = await it.fleet.client().call(dotted(it.rows["auto"], tool), arguments)
    assert called.is_error
    written = await row_of(it, called.reply)
    assert (written["status"], written["data"]["outcome"]) == ("FAILURE", outcome)


async def test_a_server_that_is_late_is_a_failure_by_its_class(it: Consenting) -> None:
    row = await it.fleet.register(it.upstream.url, "slow", timeout_seconds=1)
    called = await it.fleet.client().call(dotted(row, "linger"))
    assert called.code == "TimeoutError"
    written = await row_of(it, called.reply)
    assert (written["status"], written["data"]["outcome"]) == ("FAILURE", "TimeoutError")
    assert written["data"]["duration_ms"] >= 1_000


async def test_a_call_whose_client_leaves_is_written_down(it: Consenting) -> None:
    started = len(it.upstream.started)
    client = it.fleet.client()
    calling = asyncio.get_running_loop().create_task(
        client.call(dotted(it.rows["auto"], "linger"), headers={"x-request-id": "req-gone"})
    )
    async with asyncio.timeout(10):
        while len(it.upstream.started) == started:  # noqa: ASYNC110 - the server has no event
            await asyncio.sleep(0.01)
    calling.cancel()
    (written,) = await rows(it, "req-gone")
    assert (written["status"], written["data"]["outcome"]) == ("FAILURE", "cancelled")


async def test_resources_and_prompts_are_written_down(it: Consenting) -> None:
    row, client = it.rows["auto"], it.fleet.client()
    uris = [one["uri"] for one in (await client.rpc("resources/list")).result["resources"]]
    uri = next(uri for uri in uris if row.slug in uri)
    assert uri.startswith(PREFIX)
    written = await row_of(it, await client.rpc("resources/read", {"uri": uri}))
    assert written["action"] == "remote_call.resource"
    assert written["data"]["name"] == "note://one"
    assert len(written["data"]["digest"]) == 64
    given = {"name": dotted(row, "greet"), "arguments": {"name": "Ann"}}
    written = await row_of(it, await client.rpc("prompts/get", given))
    assert written["action"] == "remote_call.prompt"
    assert written["data"]["name"] == "greet"
    assert written["data"]["digest"] == arguments_digest({"name": "Ann"}).hex()


async def test_a_resource_that_is_not_there_is_a_failure(it: Consenting) -> None:
    uri = f"{PREFIX}{it.rows['auto'].scope_key}/{it.rows['auto'].slug}/note://none?key=s3cret"
    reply = await it.fleet.client().rpc("resources/read", {"uri": uri})
    assert reply.status == 400
    written = await row_of(it, reply)
    assert (written["status"], written["data"]["outcome"]) == ("FAILURE", "McpError")
    assert "s3cret" not in str(written)


async def test_a_confirmed_call_has_the_digest_of_its_consent(it: Consenting) -> None:
    asked = await it.formed({"a": 2, "b": 5})
    state = asked.result["requestState"]
    answered = await it.formed({"a": 2, "b": 5}, requestState=state, inputResponses=YES)
    assert answered.result["content"][0]["text"] == "7"
    written = await row_of(it, answered)
    action, _, consent = (await it.audited())[-1]
    assert action == "consent.consume"
    assert written["data"]["digest"] == consent["digest"]
    assert written["data"]["tier"] == "confirm"
    assert await nothing(it, asked)


async def nothing(it: Consenting, reply: Reply) -> bool:
    """Whether a request has left no row of a call, though later ones have."""
    later = await it.fleet.client().call(dotted(it.rows["auto"], "add"), SUM)
    await row_of(it, later.reply)
    return await rows(it, reply.headers["x-request-id"], 0) == []


async def test_a_call_that_is_refused_before_it_goes_out_leaves_no_row(it: Consenting) -> None:
    client = it.fleet.client()
    locked = await client.call(dotted(it.rows["locked"], "add"), SUM)
    assert locked.code == "TOOL_LOCKED"
    unknown = await client.call(dotted(it.rows["auto"], "none"), SUM)
    assert unknown.reply.word == "TOOL_NOT_FOUND"
    for called in (locked, unknown):
        assert await nothing(it, called.reply)


async def test_each_round_of_a_call_with_questions_is_written_down(it: Consenting) -> None:
    meta = {"_meta": {CAPABILITIES: FORM}}
    client, name = it.program(), dotted(it.rows["auto"], "wonder")
    asked = (await client.call(name, {}, params=meta)).reply
    assert asked.result["resultType"] == "input_required"
    written = await row_of(it, asked)
    assert (written["status"], written["data"]["outcome"]) == ("SUCCESS", "input_required")
    responses = {"really": {"action": "decline"}}
    again = {**meta, "requestState": asked.result["requestState"], "inputResponses": responses}
    answered = (await client.call(name, {}, params=again)).reply
    assert (await row_of(it, answered))["data"]["outcome"] == "ok"


async def test_a_tool_run_by_hand_is_written_down(it: Consenting) -> None:
    reply = await it.invoke(it.person())
    assert reply.status == 200
    written = await row_of(it, reply)
    assert (written["action"], written["data"]["tier"]) == ("remote_call.tool", "locked")
    assert written["ip_address"] == "127.0.0.1"
    assert written["user_agent"].startswith("Python/")


async def test_neither_arguments_nor_results_nor_tokens_are_written_down(it: Consenting) -> None:
    row = it.rows["auto"]
    called = await it.fleet.client().call(dotted(row, "add"), {"a": 4711, "b": 1, "c": "s3cret"})
    said = str(await row_of(it, called.reply))
    for secret in ("4711", "4712", "s3cret", it.fleet.world.tokens["tenant_admin"]):
        assert secret not in said


async def test_many_calls_at_once_leave_a_row_each(it: Consenting) -> None:
    name, client = dotted(it.rows["auto"], "add"), it.fleet.client()

    async def call(number: int) -> str:
        called = await client.call(name, {"a": number, "b": 0})
        return str(called.reply.headers["x-request-id"])

    ids = await asyncio.gather(*(call(number) for number in range(24)))
    digests = {(await rows(it, one))[0]["data"]["digest"] for one in ids}
    assert digests == {arguments_digest({"a": n, "b": 0}).hex() for n in range(24)}


async def test_the_database_takes_odd_letters_and_large_batches(it: Consenting) -> None:
    registry = it.fleet.registry
    kept = CallRow(
        time.monotonic() - 30.0,
        *("ten_odd", "usr_1", "user", "remote_call.tool", "remote_server", "rs_1", "FAILURE"),
        *("req_odd", None, "agent \0 \ud800 ü"),
        lambda: {"name": "\0 \ud800 ü", "outcome": "ok", "digest": None},
    )
    async with open_buffer(registry.database) as buffer:
        for _ in range(1_200):
            buffer.add(kept)
    found = await rows(it, "req_odd", 1_200)
    assert len(found) == 1_200
    for row in found:
        assert 29 < row["age"].total_seconds() < 90
        assert (row["ip_address"], row["user_agent"]) == (None, "agent \ufffd ? ü")
        assert row["data"] == {"name": "\ufffd ? ü", "outcome": "ok", "digest": None}


async def test_rows_outlast_a_database_that_breaks_off(it: Consenting) -> None:
    registry = it.fleet.registry
    row = it.rows["auto"]
    called = await it.fleet.client().call(dotted(row, "add"), SUM)
    # The gateway's own connections, as an outage ends them; each is opened anew when needed.
    await registry.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    assert (await row_of(it, called.reply))["data"]["outcome"] == "ok"


async def test_an_orderly_stop_loses_nothing(database_url: str, redis_url: str) -> None:
    async with (
        support.sdk() as upstream,
        start_fleet(database_url, redis_url, upstream.url) as fleet,
    ):
        row = await fleet.register(upstream.url, "stopping")
        called = await fleet.client().call(dotted(row, "add"), SUM)
        request_id = called.reply.headers["x-request-id"]
        url = fleet.registry.settings.database_url
    assert url is not None
    async with open_database(url, 1) as database, database.transaction() as connection:
        found = await connection.fetchval(
            "SELECT count(*) FROM audit_events WHERE request_id = $1"
            " AND action = 'remote_call.tool'",
            request_id,
        )
    assert found == 1
