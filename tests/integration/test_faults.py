"""A platform that refuses, lies, stalls or is away: stable codes, and lists that go on."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.world import LATEST, MODERN, Called, Client, Reply, World

REVISIONS = pytest.mark.parametrize("revision", [LATEST, MODERN])
CHAT = {"model": "scailabs/echo-1", "messages": [{"role": "user", "content": "hello"}]}
INFERENCE, MODELS = "/v1/inference/", "/v1/models"


@pytest_asyncio.fixture(autouse=True)
async def mended(world: World) -> AsyncIterator[None]:
    """Every test begins with a known caller on a sound platform and no memory of back-offs."""
    world.forget()
    await world.control("POST", "/reset")
    await world.as_("tenant_user").names()
    await world.control("DELETE", "/calls")
    yield
    await world.fault()


async def chat(client: Client) -> Called:
    return await client.call("inference_chat", CHAT)


async def arrived(world: World, prefix: str) -> list[str]:
    return [f"{call['method']} {call['path']}" for call in await world.calls(prefix)]


def clean(world: World, called: Called) -> dict[str, Any]:
    """Return the error; neither it nor the answer around it says too much."""
    text = called.reply.content.decode()
    for secret in (*world.tokens.values(), world.platform.url, "127.0.0.1", "Traceback", "<html"):
        assert secret not in text
    error: dict[str, Any] = called.error
    assert error["request_id"] == called.reply.headers["x-request-id"]
    assert set(error) <= {"code", "message", "request_id", "retry_after", "details"}
    return error


@pytest.mark.parametrize(
    ("status", "code", "retry_after"),
    [
        (403, "MODEL_ACCESS_DENIED", None),
        (403, "AUTH_INSUFFICIENT_SCOPE", None),
        (404, "MODEL_NOT_FOUND", None),
        (409, "CONFLICT", None),
        (422, "VALIDATION_ERROR", None),
        (429, "BACKEND_RATE_LIMITED", 9),
        (429, "QUOTA_EXCEEDED", 60),
        (429, "BUDGET_EXCEEDED", 300),
        (500, "INTERNAL_ERROR", None),
        (502, "BACKEND_ERROR", None),
        (502, "UPSTREAM_SHAPE_MISMATCH", None),
        (503, "MODEL_UNAVAILABLE", None),
        (503, "SERVICE_UNAVAILABLE", 3),
        (504, "BACKEND_TIMEOUT", None),
        (418, "SOMETHING_NEW", None),
    ],
)
@REVISIONS
async def test_the_platforms_own_code_passes_unchanged(
    world: World, status: int, code: str, retry_after: int | None, revision: str
) -> None:
    rule = {"path": INFERENCE, "http_status": status, "code": code}
    await world.fault(rule if retry_after is None else {**rule, "retry_after": retry_after})
    error = clean(world, await chat(world.as_("tenant_user", revision)))
    assert error["code"] == code
    if retry_after is not None:
        assert error["retry_after"] == retry_after
    assert await arrived(world, INFERENCE) == ["POST /v1/inference/chat"]


@REVISIONS
async def test_a_403_of_the_platform_is_a_missing_permission_and_asks_anew(
    world: World, revision: str
) -> None:
    await world.fault({"path": INFERENCE, "http_status": 403, "code": "AUTHZ_PERMISSION_DENIED"})
    client = world.as_("tenant_user", revision)
    error = clean(world, await chat(client))
    assert error["code"] == "PERMISSION_DENIED"
    assert "models:use" in error["message"]
    assert await arrived(world, "/v1/me") == []
    await client.names()
    assert await arrived(world, "/v1/me") == ["GET /v1/me"]


@pytest.mark.parametrize("code", ["AUTH_TOKEN_INVALID", "SESSION_EXPIRED"])
@pytest.mark.parametrize("name", ["inference_chat", "tools_call"])
@REVISIONS
async def test_a_401_in_the_middle_of_a_call_is_http_401_with_a_challenge(
    world: World, name: str, code: str, revision: str
) -> None:
    await world.fault({"path": INFERENCE, "http_status": 401, "code": code})
    client = world.as_("tenant_user", revision)
    arguments = CHAT if name == "inference_chat" else {"name": "inference_chat", "arguments": CHAT}
    reply = (await client.call(name, arguments)).reply
    assert reply.status == 401
    challenge = reply.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert f"{world.url}/.well-known/oauth-protected-resource/mcp" in challenge
    assert 'error="invalid_token"' in challenge
    await world.fault()
    await client.names()
    assert await arrived(world, "/v1/me") == ["GET /v1/me"]


async def test_a_module_switched_off_a_moment_ago_is_noticed_at_the_call(world: World) -> None:
    admin = world.as_("tenant_admin")
    await admin.names()
    url = f"{world.platform.url}/v1/modules/scaimatrix/disable"
    headers = {"authorization": f"Bearer {admin.token}"}
    async with world.http.post(url, headers=headers) as response:
        assert response.status == 200
    assert (await admin.call("matrix_collections_list")).code == "MODULE_NOT_ENABLED"
    assert "matrix_collections_list" not in await admin.names()


@pytest.mark.parametrize(
    ("tool", "arguments", "field"),
    [
        ("webhooks_create", {"url": "http://insecure.example", "events": ["*"]}, "url"),
        ("accounting_list_usage", {"start": "not-a-timestamp"}, "start"),
        ("webhooks_list", {"cursor": "no cursor of ours"}, "cursor"),
    ],
)
async def test_fields_of_a_422_are_named_as_the_callers_arguments(
    world: World, tool: str, arguments: dict[str, Any], field: str
) -> None:
    error = clean(world, await world.as_("tenant_admin").call(tool, arguments))
    assert error["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in error["details"]] == [field]


async def test_a_wire_name_in_a_422_becomes_the_argument_behind_it(world: World) -> None:
    admin = world.as_("tenant_admin")
    await admin.call("modules_enable", {"module_id": "scaimind"})
    error = clean(world, await admin.call("mind_jobs_list", {"cursor": "no token of ours"}))
    assert error["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in error["details"]] == ["cursor"]


@REVISIONS
async def test_a_429_makes_further_calls_wait_here_while_lists_go_on(
    world: World, revision: str
) -> None:
    await world.fault({"path": INFERENCE, "rate_limited": True, "retry_after": 7, "count": 1})
    client = world.as_("tenant_user", revision)
    error = clean(world, await chat(client))
    assert (error["code"], error["retry_after"]) == ("RATE_LIMITED", 7)
    error = clean(world, await client.call("models_list"))
    assert error["code"] == "RATE_LIMITED"
    assert 1 <= error["retry_after"] <= 7
    assert await arrived(world, "/v1/") == ["POST /v1/inference/chat"]
    assert "inference_chat" in await client.names()
    assert (await client.call("tools_explain", {"tool": "inference_chat"})).value["is_callable"]
    assert (await chat(world.as_("tenant_admin", revision))).value["content"] == "echo: hello"


async def test_a_backends_own_429_lets_other_calls_through(world: World) -> None:
    await world.fault(
        {"path": INFERENCE, "http_status": 429, "code": "BACKEND_RATE_LIMITED", "retry_after": 7}
    )
    client = world.as_("tenant_user")
    assert (await chat(client)).code == "BACKEND_RATE_LIMITED"
    assert (await client.call("models_list")).value["items"]


async def test_the_waiting_time_comes_from_the_headers_where_the_body_has_none(
    world: World,
) -> None:
    await world.fault({"path": INFERENCE, "rate_limited": True, "retry_after": 600, "count": 1})
    assert (await chat(world.as_("tenant_user"))).error["retry_after"] == 300


@pytest.mark.parametrize(
    "rule",
    [
        {"drop": "before_headers"},
        {"drop": "mid_body"},
        {"http_status": 502, "code": "BACKEND_ERROR"},
        {"http_status": 503, "code": "SERVICE_UNAVAILABLE"},
        {"http_status": 504, "code": "BACKEND_TIMEOUT"},
    ],
    ids=str,
)
async def test_a_get_is_repeated_once(world: World, rule: dict[str, Any]) -> None:
    await world.fault({"path": MODELS, "count": 1, **rule})
    assert (await world.as_("tenant_user").call("models_list")).value["items"]
    assert len(await arrived(world, MODELS)) == 2


async def test_a_get_is_not_repeated_twice(world: World) -> None:
    await world.fault({"path": MODELS, "drop": "before_headers"})
    called = await world.as_("tenant_user").call("models_list")
    error = clean(world, called)
    assert (error["code"], error["retry_after"]) == ("PLATFORM_UNAVAILABLE", 5)
    assert len(await arrived(world, MODELS)) == 2


async def test_a_get_that_is_told_to_wait_is_not_repeated(world: World) -> None:
    await world.fault(
        {"path": MODELS, "http_status": 503, "code": "SERVICE_UNAVAILABLE", "retry_after": 2}
    )
    assert (await world.as_("tenant_user").call("models_list")).error["retry_after"] == 2
    assert len(await arrived(world, MODELS)) == 1


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"drop": "before_headers"}, "PLATFORM_UNAVAILABLE"),
        ({"drop": "mid_body"}, "PLATFORM_UNAVAILABLE"),
        ({"http_status": 503, "code": ""}, "PLATFORM_UNAVAILABLE"),
        ({"http_status": 500, "code": ""}, "PLATFORM_UNAVAILABLE"),
        ({"http_status": 418, "code": ""}, "PLATFORM_BAD_RESPONSE"),
        ({"body": "html"}, "PLATFORM_BAD_RESPONSE"),
        ({"body": "empty"}, "PLATFORM_BAD_RESPONSE"),
        ({"body": "truncated"}, "PLATFORM_BAD_RESPONSE"),
        ({"body": "huge"}, "RESULT_TOO_LARGE"),
        ({"redirect_to": "https://elsewhere.example/v1/inference/chat"}, "PLATFORM_BAD_RESPONSE"),
    ],
    ids=str,
)
@REVISIONS
async def test_an_unusable_answer_to_a_post_has_its_code_and_no_second_try(
    world: World, rule: dict[str, Any], code: str, revision: str
) -> None:
    await world.fault({"path": INFERENCE, **rule})
    client = world.as_("tenant_user", revision)
    error = clean(world, await chat(client))
    assert error["code"] == code
    if code == "PLATFORM_UNAVAILABLE":
        assert error["retry_after"] == 5
    assert await arrived(world, INFERENCE) == ["POST /v1/inference/chat"]
    assert "inference_chat" in await client.names()


async def test_a_redirect_is_never_followed(world: World) -> None:
    await world.fault({"path": MODELS, "redirect_to": f"{world.platform.url}/v1/groups"})
    assert (await world.as_("tenant_user").call("models_list")).code == "PLATFORM_BAD_RESPONSE"
    assert await arrived(world, "/v1/groups") == []


async def test_a_slow_answer_is_waited_for(world: World) -> None:
    await world.fault({"path": MODELS, "slow_bytes_per_second": 20_000})
    assert (await world.as_("tenant_user").call("models_list")).value["items"]


@pytest.mark.parametrize("status", [404, 405])
async def test_an_endpoint_that_a_deployment_lacks_is_not_supported_but_stays_listed(
    world: World, status: int
) -> None:
    await world.fault({"path": "/v1/groups", "http_status": status, "code": ""})
    admin = world.as_("tenant_admin")
    assert clean(world, await admin.call("groups_list"))["code"] == "NOT_SUPPORTED"
    assert "groups_list" in await admin.names()
    value = (await admin.call("tools_explain", {"tool": "groups_list"})).value
    support = next(check for check in value["checks"] if check["check"] == "platform_support")
    assert not support["is_ok"]
    assert value["first_failure"] == "platform_support"
    assert (value["is_listed"], value["is_callable"]) == (True, True)


# -- who calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "status", "word", "retry_after"),
    [
        ({"http_status": 500, "code": "INTERNAL_ERROR"}, 503, "PLATFORM_UNAVAILABLE", "5"),
        ({"http_status": 503, "code": ""}, 503, "PLATFORM_UNAVAILABLE", "5"),
        ({"drop": "before_headers"}, 503, "PLATFORM_UNAVAILABLE", "5"),
        ({"rate_limited": True, "retry_after": 11}, 429, "RATE_LIMITED", "11"),
        (
            {"http_status": 403, "code": "AUTHZ_PERMISSION_DENIED"},
            403,
            "AUTHZ_PERMISSION_DENIED",
            None,
        ),
        ({"http_status": 401, "code": "AUTH_TOKEN_INVALID"}, 401, "AUTH_TOKEN_INVALID", None),
        ({"body": "html"}, 502, "PLATFORM_BAD_RESPONSE", None),
        ({"body": "truncated"}, 502, "PLATFORM_BAD_RESPONSE", None),
        ({"me_omit": ["user", "tenant"]}, 502, "PLATFORM_BAD_RESPONSE", None),
        ({"redirect_to": "https://elsewhere.example/"}, 502, "PLATFORM_BAD_RESPONSE", None),
    ],
    ids=str,
)
@REVISIONS
async def test_an_unknown_token_gets_the_status_of_what_went_wrong(
    world: World,
    rule: dict[str, Any],
    status: int,
    word: str,
    retry_after: str | None,
    revision: str,
) -> None:
    await world.fault({"path": "/v1/me", **rule})
    reply = await world.as_("tenant_admin", revision).rpc("tools/list")
    assert reply.status == status
    assert reply.word == word
    assert reply.headers.get("retry-after") == retry_after
    assert ("www-authenticate" in reply.headers) == (status == 401)
    assert world.platform.url not in reply.content.decode()


@REVISIONS
async def test_with_the_platform_down_known_callers_list_and_unknown_ones_wait(
    world: World, revision: str
) -> None:
    client = world.as_("tenant_user", revision)
    before = await client.names()
    await world.fault({"drop": "before_headers"})
    assert await client.names() == before
    assert clean(world, await chat(client))["code"] == "PLATFORM_UNAVAILABLE"
    assert (await client.call("tools_explain", {"tool": "models_get"})).value["is_callable"]
    reply = await world.as_("partner_viewer", revision).rpc("tools/list")
    assert (reply.status, reply.word) == (503, "PLATFORM_UNAVAILABLE")
    assert reply.headers["retry-after"] == "5"
    await world.fault()
    assert (await chat(client)).value["content"] == "echo: hello"
    assert await world.as_("partner_viewer", revision).names()


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        ({"me_omit": ["permissions"]}, "roles"),
        ({"me_omit": ["permissions", "module_permissions", "custom_roles"]}, "roles"),
        ({"me_omit": ["permissions", "module_permissions", "roles"]}, "unresolved"),
    ],
    ids=str,
)
async def test_absent_permissions_come_from_the_roles_or_stay_open(
    world: World, rule: dict[str, Any], source: str
) -> None:
    await world.fault({"path": "/v1/me", **rule})
    client = world.as_("tenant_viewer")
    value = (await client.call("me_get")).value
    assert value["permissions_source"] == source
    names = await client.names()
    assert ("models_create" in names) == (source == "unresolved")
    # Open or not, the gateway's own guards stay shut.
    reply = await client.get("/v1/modules/scaimcp/tools")
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")


async def test_a_flat_profile_is_understood(world: World) -> None:
    await world.fault({"path": "/v1/me", "me_flat": True})
    reply: Reply = await world.as_("tenant_admin").rpc("tools/list")
    assert reply.status == 200
    assert reply.result["tools"]


async def test_a_suspended_user_is_401_and_a_suspended_tenant_403(world: World) -> None:
    reply = await world.as_("suspended_user").rpc("tools/list")
    assert (reply.status, reply.word) == (401, "AUTH_TOKEN_INVALID")
    tenants = (await world.control("GET", "/rows/tenants"))["rows"]
    globex = next(row["id"] for row in tenants if row["slug"] == "globex")
    await world.control("PATCH", f"/rows/tenants/{globex}", {"status": "suspended"})
    reply = await world.as_("other_tenant_user").rpc("tools/list")
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")
