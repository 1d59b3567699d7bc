"""Faults, tokens, revocation, clock, reset and rows on the control surface."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from scaimcp.dev.platform import SEED_LOGINS, api_key, create_platform
from scaimcp.dev.platform.answer import HUGE_BYTES
from tests.platform.conftest import World

ME = "/v1/me"


async def order(world: World, **rule: Any) -> None:
    answer = await world.control.put("/faults", [{"path": ME, **rule}])
    assert answer.status == 200, answer.content


async def test_latency_delays_the_answer(world: World) -> None:
    await order(world, latency_ms=80, jitter_ms=20)
    begun = time.monotonic()
    assert (await world.as_("tenant_user").get(ME)).status == 200
    assert time.monotonic() - begun >= 0.08


async def test_a_status_with_code_and_waiting_time_is_sent(world: World) -> None:
    await order(world, http_status=503, code="SERVICE_UNAVAILABLE", retry_after=7)
    answer = await world.as_("tenant_user").get(ME)
    assert (answer.status, answer.code) == (503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "7"
    assert answer.json["error"]["retry_after"] == 7


async def test_a_fault_on_a_module_has_the_modules_envelope(world: World) -> None:
    rule = {"path": "/v1/modules/demo-notes", "http_status": 500}
    await world.control.put("/faults", {"rules": [rule]})
    answer = await world.as_("custom_role").get("/v1/modules/demo-notes/notes")
    assert (answer.code, "status" in answer.json) == ("INTERNAL_ERROR", False)


async def test_bodies_can_be_html_empty_or_truncated(world: World) -> None:
    caller = world.as_("tenant_user")
    whole = (await caller.get(ME)).content
    await order(world, body="html")
    html = await caller.get(ME)
    assert (html.status, html.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    await order(world, body="empty")
    empty = await caller.get(ME)
    assert (empty.status, empty.content) == (200, b"")
    await order(world, body="truncated")
    cut = await caller.get(ME)
    assert cut.content == whole[: len(whole) // 2][: len(cut.content)]
    assert abs(len(cut.content) - len(whole) // 2) < 5


async def test_a_body_can_be_huge(world: World) -> None:
    await order(world, body="huge")
    assert len((await world.as_("tenant_user").get(ME)).content) > HUGE_BYTES


async def test_a_rate_limit_can_be_pretended(world: World) -> None:
    await order(world, rate_limited=True)
    answer = await world.as_("tenant_user").get(ME)
    assert (answer.status, answer.code) == (429, "RATE_LIMITED")
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["X-Scaigrid-Ratelimit-Remaining"] == "0"


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("before_headers", (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)),
        ("mid_body", (aiohttp.ClientPayloadError, aiohttp.ClientOSError)),
    ],
)
async def test_a_connection_can_be_dropped(
    world: World, where: str, error: tuple[type[Exception], ...]
) -> None:
    await order(world, drop=where, method="POST")
    await order(world, drop=where, count=10)
    with pytest.raises(error):
        await world.as_("tenant_user").get(ME)
    await world.control.delete("/faults")
    assert (await world.as_("tenant_user").get(ME)).status == 200
    calls = (await world.control.get("/calls?path=/v1/me")).json["calls"]
    assert calls[0]["status"] == (0 if where == "before_headers" else 200)


async def test_a_slow_answer_arrives_whole(world: World) -> None:
    caller = world.as_("tenant_user")
    whole = (await caller.get(ME)).content
    await order(world, slow_bytes_per_second=len(whole) * 4)
    begun = time.monotonic()
    slow = await caller.get(ME)
    assert len(slow.content) == len(whole)
    assert time.monotonic() - begun >= 0.15


async def test_a_redirect_names_its_target(world: World) -> None:
    await order(world, redirect_to="http://other.test/")
    answer = await world.as_("tenant_user").get(ME)
    assert (answer.status, answer.headers["Location"]) == (302, "http://other.test/")


async def test_a_rule_meets_its_path_and_method_only_and_is_used_up(world: World) -> None:
    await order(world, http_status=500, method="GET", count=2)
    caller = world.as_("tenant_user")
    assert (await caller.get("/v1/models")).status == 200
    assert (await caller("PUT", ME)).status == 405
    assert [(await caller.get(ME)).status for _ in range(3)] == [500, 500, 200]


async def test_probability_follows_the_rules_seed(world: World) -> None:
    caller = world.as_("tenant_user")
    runs = []
    for _ in range(2):
        await order(world, http_status=500, probability=0.5, seed=3)
        runs.append([(await caller.get(ME)).status for _ in range(20)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize(
    "rules",
    [
        None,
        "x",
        [{"path": ME}],
        [{"http_status": 500, "redirect_to": "x"}],
        [{"what": 1}],
        [{"body": "odd"}],
        {"other": []},
    ],
)
async def test_a_malformed_rule_is_refused(world: World, rules: Any) -> None:
    answer = await world.control("PUT", "/faults", json=rules)
    assert answer.code == "VALIDATION_ERROR"


async def test_a_token_is_minted_for_a_login(world: World) -> None:
    wanted = {
        "login": SEED_LOGINS["tenant_admin"],
        "ttl": 30,
        "audience": "me",
        "role": "tenant_viewer",
        "scope": "a b",
    }
    answer = (await world.control.post("/tokens", wanted)).json
    claims = answer["claims"]
    assert claims["exp"] - claims["iat"] == 30
    assert (claims["aud"], claims["role"], claims["scope"]) == ("me", "tenant_viewer", "a b")
    assert claims["tenant_id"] == world.tenant_id("acme")
    assert claims["partner_id"].startswith("prt_")
    plain = (await world.control.post("/tokens", {"login": SEED_LOGINS["super_admin"]})).json
    assert "tenant_id" not in plain["claims"]
    assert plain["claims"]["role"] == "super_admin"
    none = (await world.control.post("/tokens", {"login": SEED_LOGINS["no_roles"]})).json
    assert "role" not in none["claims"]


async def test_a_token_for_nobody_or_with_an_unknown_wish_is_refused(world: World) -> None:
    assert (await world.control.post("/tokens", {"login": "x@y"})).code == "USER_NOT_FOUND"
    assert (await world.control.post("/tokens", {"login": "x", "what": 1})).status == 422
    assert (await world.control.post("/tokens", {})).status == 422


async def test_a_key_and_a_token_are_revoked_at_once(world: World) -> None:
    token = await world.token("tenant_user")
    for bearer in (api_key(SEED_LOGINS["tenant_user"]), token):
        caller = world.with_bearer(bearer)
        assert (await caller.get(ME)).status == 200
        assert (await world.control.post("/tokens/revoke", {"token": bearer})).status == 204
        assert (await caller.get(ME)).code == "AUTH_TOKEN_INVALID"


async def test_reset_goes_back_to_the_seed(world: World) -> None:
    caller = world.as_("tenant_user")
    before = (await caller.get(ME)).data
    await caller.post("/v1/api-keys", {"name": "k"})
    await world.control.post("/clock", {"seconds": 10_000_000})
    await world.control.put("/faults", [{"http_status": 500}])
    assert (await world.control.post("/reset")).status == 204
    assert (await caller.get(ME)).data == before
    assert len((await caller.get("/v1/api-keys")).data["items"]) == 1
    assert len((await world.control.get("/calls")).json["calls"]) == 2


async def test_rows_can_be_read_and_patched(world: World) -> None:
    user_id = world.user_id("tenant_user")
    rows = (await world.control.get("/rows/users")).json["rows"]
    assert user_id in [row["id"] for row in rows]
    changed = await world.control.patch(f"/rows/users/{user_id}", {"status": "suspended"})
    assert changed.json["status"] == "suspended"
    assert (await world.control.get(f"/rows/users/{user_id}")).json["status"] == "suspended"
    assert (await world.control.get("/rows/nothing")).status == 404
    assert (await world.control.get("/rows/users/nobody")).status == 404
    assert (await world.control.patch("/rows/users/nobody", {})).status == 404
    assert (await world.control.patch("/rows/nothing/x", {})).status == 404
    assert (await world.control.delete("/rows/users")).status == 404


async def test_unknown_control_paths_are_404(world: World) -> None:
    assert (await world.control.get("/nothing")).code == "NOT_FOUND"
    assert (await world.control.get("/faults")).code == "NOT_FOUND"


@pytest.mark.parametrize("client", [("10.0.0.1", 1), None, ("unix", 0)])
async def test_the_control_surface_answers_loopback_only(client: Any) -> None:
    app = create_platform()
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "raw_path": b"/__standin/reset",
        "query_string": b"",
        "client": client,
        "headers": [],
        "scheme": "http",
    }
    await app(scope, receive, send)
    assert sent[0]["status"] == 404
    app.platform.store.close()


async def test_without_access_to_the_transport_a_drop_is_an_error() -> None:
    app = create_platform()
    app.platform.faults.replace([{"drop": "before_headers"}])

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/health",
        "query_string": b"",
        "client": None,
        "headers": [],
        "scheme": "http",
    }
    with pytest.raises(ConnectionAbortedError):
        await app(scope, receive, send)
    await app({"type": "websocket"}, receive, send)
    app.platform.store.close()


async def test_faults_do_not_touch_the_control_surface(world: World) -> None:
    await world.control.put("/faults", [{"http_status": 500}])
    assert (await world.anyone.get("/health")).status == 500
    async with asyncio.timeout(30):
        assert (await world.control.delete("/faults")).status == 204
    assert (await world.anyone.get("/health")).status == 200
