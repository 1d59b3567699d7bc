"""Test controls and rate limits. Spec: scaivault 7 (test controls, rate limit)."""

import hashlib
from typing import Any

import aiohttp
import pytest

from scaimcp.dev.vault import VaultConfig
from scaimcp.dev.vault.fixture import AGENT
from scaimcp.dev.vault.limits import PER_MINUTE
from tests.vault.conftest import Starter, World

STRIPE = "/v1/secrets/integrations/stripe/api-key"
LIST = "/v1/secrets/"


async def test_a_queued_failure_meets_one_request(world: World) -> None:
    await world.queue(
        path=STRIPE,
        status=503,
        code="service_unavailable",
        message="later",
        details={"part": "database"},
        retry_after="7",
    )
    failed = await world.agent.get(STRIPE, headers={"X-Request-ID": "r-1"})
    assert failed.refusal == (503, "service_unavailable")
    assert failed.json["error"] == {
        "code": "service_unavailable",
        "message": "later",
        "details": {"part": "database"},
        "request_id": "r-1",
    }
    assert (failed.headers["Retry-After"], failed.headers["X-Request-ID"]) == ("7", "r-1")
    assert (await world.agent.get(STRIPE)).status == 200


async def test_failures_choose_by_method_path_and_turn(world: World) -> None:
    await world.queue(path="/v1/secrets/.*", method="PUT", skip=1, count=2, status=500)
    statuses = [(await world.agent.store("app/db")).status for _ in range(4)]
    assert statuses == [201, 500, 500, 200]
    await world.queue(path="/v1/policies", status=500)
    assert (await world.agent.get("/v1/policies/pol_reports")).status == 200


async def test_a_failed_write_changes_nothing(world: World) -> None:
    await world.queue(path=".*", status=500, code="internal_error")
    assert (await world.agent.store("app/db")).code == "internal_error"
    assert (await world.agent.get("/v1/secrets/app/db")).status == 404


async def test_a_failure_without_a_code_is_plain_text(world: World) -> None:
    await world.queue(path=STRIPE, status=502)
    answer = await world.agent.get(STRIPE)
    assert (answer.status, answer.content) == (502, b"failure")


async def test_a_redirect_leads_elsewhere(world: World) -> None:
    await world.queue(path=STRIPE, redirect="https://other.example/v1")
    answer = await world.agent.get(STRIPE)
    assert (answer.status, answer.headers["Location"]) == (302, "https://other.example/v1")
    await world.queue(path=STRIPE, redirect="https://other.example/v1", status=307)
    assert (await world.agent.get(STRIPE)).status == 307


@pytest.mark.parametrize(
    ("body", "start"), [("html", b"<!doctype html>"), ("empty", b""), ("cut", b'{"path":')]
)
async def test_a_body_can_be_spoilt(world: World, body: str, start: bytes) -> None:
    whole = (await world.agent.get(STRIPE)).content
    await world.queue(path=STRIPE, body=body)
    answer = await world.agent.get(STRIPE)
    assert answer.status == 200
    assert answer.content.startswith(start)
    assert len(answer.content) < len(whole)


async def test_a_connection_can_end_in_the_middle_of_a_body(world: World) -> None:
    await world.queue(path=STRIPE, body="drop")
    with pytest.raises(aiohttp.ClientPayloadError):
        await world.agent.get(STRIPE)
    assert (await world.agent.get(STRIPE)).status == 200


async def test_fields_are_added_and_a_path_is_made_wrong(world: World) -> None:
    await world.queue(path=STRIPE, extra={"plaintext": "leak", "path": "app/b"})
    answer = (await world.agent.get(STRIPE)).data
    assert (answer["plaintext"], answer["path"]) == ("leak", "app/b")


async def test_rows_of_a_list_get_fields(world: World) -> None:
    await world.queue(path=LIST, extra_rows={"data": {"p": "leak"}})
    rows = (await world.agent.get(LIST)).data["secrets"]
    assert all(row["data"] == {"p": "leak"} for row in rows)


async def test_rows_of_a_bare_array_get_fields(start: Starter) -> None:
    world = await start(VaultConfig(containers={"secrets": ""}))
    await world.queue(path=LIST, extra_rows={"x": 1})
    assert all(row["x"] == 1 for row in (await world.agent.get(LIST)).data)


@pytest.mark.parametrize("answer", [[1, 2], "text", None, {"secrets": [{"path": "infra/x"}, 3]}])
async def test_a_whole_answer_can_be_given(world: World, answer: Any) -> None:
    await world.queue(path=LIST, answer=answer)
    assert (await world.agent.get(LIST)).data == answer


async def test_a_delay_alone_lets_the_request_run(world: World) -> None:
    await world.queue(path=STRIPE, delay_ms=1)
    assert (await world.agent.get(STRIPE)).status == 200


async def test_queued_failures_can_be_taken_back(world: World) -> None:
    await world.queue(path=".*", status=500, count=9)
    assert (await world.control.delete("/faults")).status == 204
    assert (await world.agent.get(STRIPE)).status == 200


async def test_the_call_log_holds_what_was_sent(world: World) -> None:
    headers = {"X-Tenant-ID": "tnt_a"}
    await world.agent.put("/v1/secrets/app/db?x=1", {"data": {"p": "v"}}, headers=headers)
    await world.agent.get("/v1/nothing")
    first, second = (await world.control.get("/calls")).data["calls"]
    assert (first["method"], first["path"]) == ("PUT", "/v1/secrets/app/db?x=1")
    assert (first["body"], first["status"]) == ('{"data": {"p": "v"}}', 201)
    assert first["headers"]["x-tenant-id"] == "tnt_a"
    digest = hashlib.sha256(AGENT.encode()).hexdigest()
    assert first["headers"]["authorization"] == f"sha256:{digest}"
    assert (second["path"], second["status"]) == ("/v1/nothing", 404)
    assert (await world.control.delete("/calls")).status == 204
    assert (await world.control.get("/calls")).data == {"calls": []}


async def test_a_call_that_met_a_failure_is_logged_with_it(world: World) -> None:
    await world.queue(path=STRIPE, status=503, code="service_unavailable")
    await world.agent.get(STRIPE)
    (row,) = world.served.vault.calls
    assert row["status"] == 503


async def test_a_reset_takes_everything_back(world: World) -> None:
    first = (await world.agent.get("/v1/audit/logs")).data
    await world.agent.store("app/db")
    await world.queue(path=".*", status=500)
    await world.advance(1000)
    assert (await world.control.post("/reset")).status == 204
    assert (await world.control.get("/calls")).data == {"calls": []}
    assert (await world.agent.get("/v1/secrets/app/db")).status == 404
    again = (await world.agent.get("/v1/audit/logs?success=false&action=read")).data["logs"]
    assert again[1:] == first["logs"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/faults", [{"paht": "x"}], 422),
        ("POST", "/faults", [{"path": "x", "body": "odd"}], 422),
        ("POST", "/clock", {}, 422),
        ("PUT", "/nothing", {}, 404),
        ("GET", "/clock", None, 404),
    ],
)
async def test_an_odd_control_request_is_refused(
    world: World, method: str, path: str, body: Any, status: int
) -> None:
    assert (await world.control(method, path, body)).status == status


async def test_limits_count_by_identity_and_category(start: Starter) -> None:
    world = await start(VaultConfig(frozen_at=0.0, rate_scale=0.02))
    statuses = [(await world.agent.get(LIST)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    limited = await world.agent.get(LIST)
    assert limited.refusal == (429, "rate_limited")
    assert limited.headers["Retry-After"] == "30"
    assert limited.json["error"]["details"] == {"category": "list", "limit": 2.0}
    assert (await world.agent.get(STRIPE)).status == 200
    assert (await world.as_("skt_agent_b").get(LIST)).status == 200
    await world.advance(30)
    assert (await world.agent.get(LIST)).status == 200
    assert (await world.agent.get(LIST)).status == 429


async def test_limits_are_counted_when_asked_for(world: World) -> None:
    assert PER_MINUTE["secret_read"] == 1000
    answer = await world.control.put("/rate-limits", {"scale": 0.01})
    assert answer.status == 204
    assert [(await world.agent.get(LIST)).status for _ in range(2)] == [200, 429]
    await world.control.put("/rate-limits", {"scale": None})
    assert (await world.agent.get(LIST)).status == 200
