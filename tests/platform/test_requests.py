"""Envelopes, paths, bodies, request ids, pages, limits and the call log."""

import asyncio
import hashlib
from typing import Any

import pytest

from scaimcp.dev.platform import api_key
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint
from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, shape_b, shape_c, shape_d, view
from tests.platform.conftest import Starter, World

NOTES = "/v1/modules/demo-notes/notes"


async def test_core_answers_have_status_data_and_meta(world: World) -> None:
    answer = await world.as_("tenant_user").get("/v1/models")
    assert set(answer.json) == {"status", "data", "pagination", "meta"}
    assert answer.json["status"] == "ok"
    assert answer.headers["Content-Type"] == "application/json"


async def test_module_answers_have_no_status(world: World) -> None:
    answer = await world.as_("custom_role").get(NOTES)
    assert set(answer.json) == {"data", "pagination", "meta"}
    refused = await world.as_("tenant_user").get(NOTES)
    assert set(refused.json) == {"error", "meta"}
    assert refused.code == "AUTHZ_PERMISSION_DENIED"


async def test_an_unknown_path_is_404_and_a_wrong_method_405(world: World) -> None:
    answer = await world.anyone.get("/v1/nothing")
    assert (answer.status, answer.code, answer.json["status"]) == (404, "NOT_FOUND", "error")
    wrong = await world.anyone.patch("/v1/models", {})
    assert (wrong.status, wrong.code) == (405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["Allow"] == "GET, POST"


async def test_a_slug_is_escaped_in_the_path(world: World) -> None:
    caller = world.as_("tenant_user")
    escaped = await caller.get("/v1/models/scailabs%2Fecho-1")
    assert escaped.data["slug"] == "scailabs/echo-1"
    assert (await caller.get("/v1/models/scailabs/echo-1")).code == "NOT_FOUND"
    assert (await caller.get("/v1/models/scailabs%252Fecho-1")).code == "MODEL_NOT_FOUND"


async def test_a_well_formed_request_id_is_echoed(world: World) -> None:
    caller = world.as_("tenant_user")
    given = await caller.get("/v1/me", headers={"X-Request-Id": "req_" + "a" * 26})
    assert given.json["meta"]["request_id"] == given.headers["X-Request-Id"] == "req_" + "a" * 26
    made = await caller.get("/v1/me", headers={"X-Request-Id": "not well formed"})
    assert made.json["meta"]["request_id"] == made.headers["X-Request-Id"]
    assert made.headers["X-Request-Id"].startswith("req_")
    refused = await world.anyone.get("/v1/me", headers={"X-Request-Id": "abc"})
    assert refused.json["meta"]["request_id"] == refused.headers["X-Request-Id"] == "abc"


@pytest.mark.parametrize(
    ("path", "faults"),
    [
        ("/v1/models?limit=0", {"limit"}),
        ("/v1/models?limit=x&what=1&modality=no", {"limit", "what", "modality"}),
        ("/v1/models?cursor=!!", {"cursor"}),
        ("/v1/models?cursor=YWJj", {"cursor"}),
        ("/v1/models?cursor=YzEueA", {"cursor"}),
        ("/v1/models?limit=%ff", {"query"}),
        ("/v1/models/scailabs%2Fecho-1?limit=5", {"limit"}),
    ],
)
async def test_a_wrong_query_is_422(world: World, path: str, faults: set[str]) -> None:
    answer = await world.as_("tenant_user").get(path)
    assert answer.code == "VALIDATION_ERROR"
    assert answer.faults == faults


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"{", "application/json", "VALIDATION_ERROR"),
        (b"[]", "application/json", "VALIDATION_ERROR"),
        (b'"x"', "application/json; charset=utf-8", "VALIDATION_ERROR"),
        (b"[" * 100_000, "application/json", "VALIDATION_ERROR"),
        (b"{}", "application/json", "VALIDATION_ERROR"),
        (b"a=b", "application/x-www-form-urlencoded", "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    world: World, content: bytes, kind: str, code: str
) -> None:
    caller = world.as_("custom_role")
    answer = await caller("POST", NOTES, data=content, headers={"Content-Type": kind})
    assert answer.code == code


async def test_an_endpoint_without_a_body_takes_none(world: World) -> None:
    caller = world.as_("tenant_user")
    assert (await caller("GET", "/v1/me", {})).status == 200
    assert (await caller("GET", "/v1/me", {"a": 1})).faults == {"a"}


async def test_a_body_above_the_cap_is_413(start: Starter) -> None:
    world = await start(max_body_bytes=1000)
    answer = await world.as_("custom_role").post(NOTES, {"title": "x", "body": "y" * 1000})
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    control = await world.control.post("/reset", {"x": "y" * 1000})
    assert control.status == 413


async def test_pages_lead_through_a_list(world: World) -> None:
    caller = world.as_("tenant_user")
    slugs: list[str] = []
    path = "/v1/models?limit=3"
    while True:
        answer = await caller.get(path)
        slugs += [row["slug"] for row in answer.data["items"]]
        assert answer.json["pagination"]["has_more"] == bool(
            answer.json["pagination"]["next_cursor"]
        )
        if not answer.json["pagination"]["has_more"]:
            break
        path = f"/v1/models?limit=3&cursor={answer.json['pagination']['next_cursor']}"
    assert len(slugs) == len(set(slugs)) == 7


def call_with(world: World, **query: Any) -> Call:
    call = Call(world.served.platform, Endpoint("GET", "/x", "", shape_nothing), ())
    call.query = query
    return call


def shape_nothing(call: Call) -> None:
    """Do nothing."""


async def test_the_four_shapes_say_the_same(world: World) -> None:
    rows = [{"id": f"r{n}", "_seq": n} for n in (1, 2, 3)]
    show = view("id absent")
    first = [{"id": "r1", "absent": None}, {"id": "r2", "absent": None}]
    a = shape_a(call_with(world, limit=2), rows, show)
    cursor = a.siblings["pagination"]["next_cursor"]  # type: ignore[index]
    assert a.data == {"items": first}
    b = shape_b(call_with(world, limit=2), rows, show)
    assert (b.data, b.siblings) == (first, {"has_more": True, "next_cursor": cursor})
    c = shape_c(call_with(world, limit=2), rows, show)
    assert (c.data, c.meta) == (first, {"has_more": True, "next_cursor": cursor})
    d = shape_d(call_with(world, page_size=2), rows, show, "jobs")
    assert d.data == {"jobs": first, "next_page_token": cursor, "total_count": 3}
    last = shape_d(call_with(world, page_size=2, page_token=cursor), rows, show, "jobs")
    assert last.data == {
        "jobs": [{"id": "r3", "absent": None}],
        "next_page_token": "",
        "total_count": 3,
    }
    newest = shape_a(call_with(world, limit=1), rows, show, newest_first=True)
    assert newest.data == {"items": [{"id": "r3", "absent": None}]}
    cursor = newest.siblings["pagination"]["next_cursor"]  # type: ignore[index]
    older = shape_a(call_with(world, cursor=cursor), rows, show, newest_first=True)
    assert [row["id"] for row in older.data["items"]] == ["r2", "r1"]  # type: ignore[index]


async def test_a_public_endpoint_has_no_caller(world: World) -> None:
    call = call_with(world)
    assert not call.known
    with pytest.raises(PlatformError) as caught:
        assert call.principal
    assert caught.value.code == "AUTH_TOKEN_MISSING"


async def test_a_failing_handler_is_a_500_in_the_envelope(world: World) -> None:
    await world.control.patch("/rows/users/" + world.user_id("tenant_user"), {"roles": ["no such"]})
    answer = await world.as_("tenant_user").get("/v1/me")
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")


async def test_windows_count_with_headers_and_end_in_429(start: Starter) -> None:
    world = await start(rate_limits=True, frozen_at=1_700_000_000)
    caller = world.as_("tenant_user")
    first = await caller.get("/v1/me")
    assert first.headers["X-Scaigrid-Ratelimit-Limit"] == "60"
    assert first.headers["X-Scaigrid-Ratelimit-Remaining"] == "59"
    assert first.headers["X-Scaigrid-Ratelimit-Reset"] == "1700000060"
    await world.control.post("/clock", {"seconds": 10})
    for _ in range(59):
        last = await caller.get("/v1/me")
    assert last.headers["X-Scaigrid-Ratelimit-Remaining"] == "0"
    refused = await caller.get("/v1/me")
    assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    assert refused.json["error"]["retry_after"] == 50
    assert refused.headers["Retry-After"] == "50"
    assert refused.headers["X-Scaigrid-Ratelimit-Remaining"] == "0"
    await world.control.post("/clock", {"seconds": 50})
    assert (await caller.get("/v1/me")).status == 200
    assert (await caller.get("/v1/me")).status == 429


@pytest.mark.parametrize(
    ("name", "kind", "limit"), [("tenant_user", "user", 120), ("partner_admin", "partner", 5000)]
)
async def test_a_token_counts_for_its_user_tenant_and_partner(
    start: Starter, name: str, kind: str, limit: int
) -> None:
    world = await start(rate_limits=True)
    caller = world.with_bearer(await world.token(name))
    answer = await caller.get("/v1/me")
    assert answer.headers["X-Scaigrid-Ratelimit-Limit"] == "120"
    limiter = world.served.platform.limiter
    subject = next(key for key in limiter._seen if key[0] == kind)
    limiter._seen[subject].extend([world.served.platform.clock.now()] * (limit - 1))
    assert (await caller.get("/v1/me")).status == 429


async def test_the_tenant_window_is_shared(start: Starter) -> None:
    world = await start(rate_limits=True)
    await world.as_("tenant_user").get("/v1/me")
    limiter = world.served.platform.limiter
    subject = ("tenant", world.tenant_id("acme"))
    limiter._seen[subject].extend([world.served.platform.clock.now()] * 999)
    assert (await world.as_("tenant_admin").get("/v1/me")).status == 429
    assert (await world.as_("other_tenant_admin").get("/v1/me")).status == 200


async def test_the_switch_turns_windows_on_and_off(world: World) -> None:
    caller = world.as_("tenant_user")
    assert "X-Scaigrid-Ratelimit-Limit" not in (await caller.get("/v1/me")).headers
    assert (await world.control.put("/rate-limits", {"enabled": True})).json == {"enabled": True}
    assert "X-Scaigrid-Ratelimit-Limit" in (await caller.get("/v1/me")).headers


async def test_calls_are_logged_as_sent_with_the_bearer_hashed(world: World) -> None:
    await world.as_("tenant_user").get("/v1/models/scailabs%2Fecho-1?x=1")
    await world.anyone.get("/health")
    calls = (await world.control.get("/calls")).json["calls"]
    assert [(call["path"], call["status"]) for call in calls] == [
        ("/v1/models/scailabs%2Fecho-1?x=1", 422),
        ("/health", 200),
    ]
    hashed = hashlib.sha256(api_key("user@acme.test").encode()).hexdigest()
    assert calls[0]["headers"]["authorization"] == f"sha256:{hashed}"
    assert "sgk_" not in str(calls)
    only = (await world.control.get("/calls?path=/health&method=GET")).json["calls"]
    assert [call["path"] for call in only] == ["/health"]
    assert (await world.control.get("/calls?method=POST")).json["calls"] == []
    assert (await world.control.delete("/calls")).status == 204
    assert (await world.control.get("/calls")).json["calls"] == []


async def test_two_runs_with_a_frozen_clock_answer_alike(start: Starter) -> None:
    async def run() -> list[bytes]:
        world = await start(frozen_at=1_700_000_000, public_url="http://p.test")
        caller = world.as_("tenant_user")
        chat = {"model": "scailabs/echo-1", "messages": [{"role": "user", "content": "x"}]}
        answers = [
            await caller.get("/v1/me"),
            await caller.post("/v1/inference/chat", chat),
            await caller.post("/v1/api-keys", {"name": "k"}),
            await world.control.get("/rows/usage"),
            await world.control.get("/rows/audit"),
        ]
        return [answer.content.replace(world.served.url.encode(), b"") for answer in answers]

    one, two = await run(), await run()
    assert one == two


async def test_many_callers_at_once_are_served(world: World) -> None:
    caller = world.as_("tenant_user")
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(caller.get("/v1/me")) for _ in range(64)]
    assert {task.result().status for task in running} == {200}


def test_a_list_field_reads_repeated_keys() -> None:
    assert fields("status:list<enum(a,b)>").check_text({"status": ["a", "b"]}, []) == {
        "status": ["a", "b"]
    }
