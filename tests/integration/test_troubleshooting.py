"""Each symptom of the troubleshooting page, and that its cause and its cure are what it says."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.catalogue import GLOBEX, visible
from tests.world import LATEST, MODERN, World, start_world

CATALOGUE, EXPLAIN = "/v1/modules/scaimcp/tools", "/v1/modules/scaimcp/explain"
CHAT = {"model": "scailabs/echo-1", "messages": [{"role": "user", "content": "hello"}]}
REVISIONS = pytest.mark.parametrize("revision", [LATEST, MODERN])


@pytest_asyncio.fixture(autouse=True)
async def fresh(world: World) -> AsyncIterator[None]:
    """Every test begins with the platform's seed and a gateway that remembers nothing."""
    await world.control("POST", "/reset")
    world.forget()
    yield
    await world.fault()


async def over_rest(world: World, role: str, method: str, path: str, body: Any = None) -> Any:
    """Call the platform directly, as an administrator with curl does."""
    headers = {"authorization": f"Bearer {world.tokens[role]}"}
    url = world.platform.url + path
    async with world.http.request(method, url, json=body, headers=headers) as response:
        assert response.status < 300, await response.text()
        return (await response.json()).get("data") if response.status != 204 else None


async def soon(condition: Callable[[], Awaitable[bool]], seconds: float = 2.5) -> None:
    """Wait until `condition` holds: modules are read once a second at most."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.05)


async def failure_of(world: World, role: str, tool: str) -> Any:
    """Return the first failing check of a tool for a role."""
    reply = await world.as_(role).get(f"{EXPLAIN}?tool={tool}")
    return reply.json["data"]["first_failure"]


# -- the list is empty ----------------------------------------------------------------------------


async def test_a_user_without_roles_is_known_but_has_no_tools_to_speak_of(world: World) -> None:
    client = world.as_("no_roles")
    assert await client.names() == ["me_get", "modules_list", "tools_explain"]
    me = (await client.call("me_get")).value
    assert (me["roles"], me["permissions"]) == ([], [])
    assert await failure_of(world, "no_roles", "models_list") == "permission"


async def test_granting_a_role_shows_its_tools_within_the_identitys_life(world: World) -> None:
    assert len(await world.as_("no_roles").names()) == 3
    me = (await world.as_("no_roles").call("me_get")).value
    admin = world.as_("tenant_admin")
    changed = await admin.call(
        "users_set_roles", {"user_id": me["user"]["id"], "roles": ["tenant_user"]}
    )
    assert changed.value["roles"] == ["tenant_user"]
    world.forget()
    assert "inference_chat" in await world.as_("no_roles").names()


async def test_a_module_that_is_off_hides_its_tools_from_everyone(world: World) -> None:
    names = await world.as_("tenant_admin").names()
    assert not [name for name in names if name.startswith(("mind_", "core_", "bot_"))]
    assert await failure_of(world, "tenant_admin", "mind_jobs_list") == "module_enabled"
    rows = (await world.as_("tenant_admin").call("modules_list")).value["items"]
    off = {row["module_id"] for row in rows if row["status"] != "active"}
    assert off == {"scaimind", "scaicore", "scaibot"}


async def test_a_tenant_that_has_switched_mcp_off_keeps_the_open_tools_only(world: World) -> None:
    await over_rest(world, "tenant_admin", "POST", "/v1/modules/scaimcp/disable")
    client = world.as_("tenant_admin")
    assert await client.names() == ["me_get", "modules_list", "tools_explain"]
    called = await client.call("models_list")
    assert called.code == "MODULE_NOT_ENABLED"
    assert "scaimcp" in called.error["message"]
    assert await failure_of(world, "tenant_admin", "models_list") == "module_enabled"
    assert (await client.call("me_get")).value["tenant"]["slug"] == "acme"
    await over_rest(world, "tenant_admin", "POST", "/v1/modules/scaimcp/enable")

    async def is_on() -> bool:
        await client.initialize()
        return len(await client.names()) > 100

    await soon(is_on)


async def test_the_wrong_tenant_shows_in_who_one_is(world: World) -> None:
    client = world.as_("other_tenant_admin")
    assert await client.names() == visible("tenant_admin", GLOBEX)
    assert (await client.call("me_get")).value["tenant"]["slug"] == "globex"
    overview = (await client.get(EXPLAIN)).json["data"]
    assert overview["caller"]["tenant_id"]
    failures = {entry["tool"]: entry["first_failure"] for entry in overview["hidden"]}
    assert failures["bunker_exec"] == "module_enabled"


# -- 401 on connect -------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "Token ", "bearer=", "Basic "])
async def test_a_token_without_the_word_bearer_is_401(world: World, prefix: str) -> None:
    token = world.tokens["tenant_user"]
    reply = await world.as_(None).initialize()
    assert reply.status == 401
    client = world.as_(None).using(headers={"authorization": f"{prefix}{token}"})
    reply = await client.initialize()
    assert (reply.status, reply.word) == (401, "AUTH_TOKEN_MISSING")
    assert reply.headers["www-authenticate"].startswith("Bearer ")
    assert token not in reply.content.decode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_word_bearer_is_read_in_any_case(world: World, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {world.tokens['tenant_user']}"}
    assert (await world.as_(None).using(headers=headers).initialize()).status == 200


async def test_an_expired_token_is_401(world: World) -> None:
    minted = await world.control("POST", "/tokens", {"login": "user@acme.test", "ttl": 3600})
    client = world.with_token(minted["token"])
    assert (await client.initialize()).status == 200
    world.forget()
    await world.control("POST", "/clock", {"seconds": 4_000})
    reply = await client.initialize()
    assert (reply.status, reply.word) == (401, "AUTH_TOKEN_INVALID")


async def test_a_revoked_key_is_401(world: World) -> None:
    client = world.as_("tenant_user")
    await world.control("POST", "/tokens/revoke", {"token": client.token})
    assert (await client.initialize()).status == 401


async def test_a_token_of_another_deployment_is_401(
    world: World, database_url: str, redis_url: str
) -> None:
    async with start_world(database_url, redis_url) as other:
        minted = await other.control("POST", "/tokens", {"login": "user@acme.test"})
        assert (await other.with_token(minted["token"]).initialize()).status == 200
        world_of_another = world.with_token("sgk_" + "5" * 40)
        assert (await world_of_another.initialize()).status == 401


# -- a tool is refused ----------------------------------------------------------------------------


@REVISIONS
async def test_a_missing_permission_is_named_and_a_custom_role_gives_it(
    world: World, revision: str
) -> None:
    user = world.as_("tenant_user", revision)
    refused = await user.call("users_list")
    assert refused.code == "PERMISSION_DENIED"
    assert "users:manage" in refused.error["message"]
    assert refused.reply.status == 200
    me = (await user.call("me_get")).value
    admin = world.as_("tenant_admin", revision)
    role = (
        await admin.call(
            "custom_roles_create",
            {"name": "Keepers", "slug": "keepers", "core_permissions": ["users:manage"]},
        )
    ).value
    await admin.call(
        "users_set_roles",
        {
            "user_id": me["user"]["id"],
            "roles": ["tenant_user"],
            "custom_role_ids": [role["id"]],
        },
    )
    world.forget()
    assert "users_list" in await user.names()
    assert (await user.call("users_list")).value["items"]


async def test_a_different_identity_may_hold_it(world: World) -> None:
    assert (await world.as_("tenant_user").call("users_list")).code == "PERMISSION_DENIED"
    assert (await world.as_("tenant_admin").call("users_list")).value["items"]


@pytest.mark.parametrize("role", ["tenant_admin", "super_admin", "other_tenant_admin"])
async def test_the_rest_catalogue_minus_the_list_is_what_the_caller_may_not_call(
    world: World, role: str
) -> None:
    client = world.as_(role)
    catalogue = {entry["name"] for entry in (await client.get(CATALOGUE)).json["data"]}
    listed = set(await client.names())
    assert listed <= catalogue
    overview = (await client.get(EXPLAIN)).json["data"]
    hidden = {e["tool"] for e in overview["hidden"] if e["first_failure"] != "disclosure"}
    assert catalogue - listed == hidden
    for entry in overview["hidden"]:
        if entry["tool"] in hidden:
            code = (await client.call(entry["tool"])).code
            expected = entry["first_failure"] == "module_enabled"
            assert code == ("MODULE_NOT_ENABLED" if expected else "PERMISSION_DENIED")


# -- MODULE_NOT_ENABLED ---------------------------------------------------------------------------


@REVISIONS
async def test_enabling_a_module_through_a_tool_shows_its_tools_at_the_next_list(
    world: World, revision: str
) -> None:
    admin = world.as_("tenant_admin", revision)
    assert (await admin.call("mind_jobs_list")).code == "MODULE_NOT_ENABLED"
    assert "mind_jobs_list" not in await admin.names()
    assert (await admin.call("modules_enable", {"module_id": "scaimind"})).value["status"] == (
        "active"
    )
    assert "mind_jobs_list" in await admin.names()
    assert (await admin.call("mind_jobs_list")).value["has_more"] is False
    assert (await admin.call("modules_disable", {"module_id": "scaimind"})).value
    assert "mind_jobs_list" not in await admin.names()
    assert (await admin.call("mind_jobs_list")).code == "MODULE_NOT_ENABLED"


@REVISIONS
async def test_a_module_enabled_elsewhere_is_callable_at_once(world: World, revision: str) -> None:
    admin = world.as_("tenant_admin", revision)
    assert "mind_jobs_list" not in await admin.names()
    acme = (await admin.call("me_get")).value["tenant"]["id"]
    await over_rest(
        world,
        "tenant_admin",
        "POST",
        "/v1/modules/scaimind/enable",
        {"scope": "tenant", "tenant_id": acme},
    )

    async def is_callable() -> bool:
        called = await admin.call("mind_jobs_list")
        assert not called.is_error or called.code == "MODULE_NOT_ENABLED"
        return not called.is_error

    await soon(is_callable)
    assert "mind_jobs_list" in await admin.names()


@REVISIONS
async def test_connecting_anew_reads_the_modules_again(world: World, revision: str) -> None:
    admin = world.as_("tenant_admin", revision)
    await admin.names()
    await over_rest(world, "tenant_admin", "POST", "/v1/modules/scaimind/enable")

    async def is_listed() -> bool:
        if revision == MODERN:
            await admin.rpc("server/discover")
        else:
            await admin.initialize()
        return "mind_jobs_list" in await admin.names()

    await soon(is_listed)


async def test_a_partners_refusal_wins_over_enabling(world: World) -> None:
    called = await world.as_("other_tenant_admin").call(
        "modules_enable", {"module_id": "scaibunker"}
    )
    assert called.code == "CONFLICT"


# -- connections ----------------------------------------------------------------------------------


async def test_a_dropped_connection_costs_nothing_but_a_new_one(world: World) -> None:
    client = world.as_("tenant_user")
    session = (await client.initialize()).headers["mcp-session-id"]
    before = await client.names()
    async with world.http.__class__() as other:
        again = client.using(http=other)
        assert await again.names() == before
        reply = await again.rpc("tools/list", headers={"mcp-session-id": session})
        assert reply.status == 200
    modern = world.as_("tenant_user", MODERN)
    assert await modern.names() == before


async def test_a_wrong_path_is_404_and_a_get_is_405(world: World) -> None:
    client = world.as_("tenant_user")
    assert (await client.rpc("tools/list", path="/mcp/")).status == 404
    assert (await client.rpc("tools/list", path="/")).status == 404
    assert (await client.send(None, method="GET")).status == 405


async def test_the_schema_of_a_tool_is_that_of_its_list(world: World) -> None:
    client = world.as_("tenant_user")
    tool = next(tool for tool in await client.tools() if tool["name"] == "models_get")
    called = await client.call("models_get", {"slug": "scailabs/echo-1"})
    fields = {detail["field"] for detail in called.error["details"]}
    assert fields == {"slug", *tool["inputSchema"]["required"]}


# -- audit ----------------------------------------------------------------------------------------


@REVISIONS
async def test_a_call_stands_in_the_audit_log_as_the_services_own_action(
    world: World, revision: str
) -> None:
    user = world.as_("tenant_user", revision)
    me = (await user.call("me_get")).value
    assert (await user.call("inference_chat", CHAT)).value["content"] == "echo: hello"
    assert (await user.call("models_create")).code == "PERMISSION_DENIED"
    assert (
        "error" in (await user.rpc("tools/call", {"name": "no_such_tool"})).content.decode().lower()
    )
    admin = world.as_("tenant_admin", revision)
    rows = (await admin.call("audit_list", {"actor_id": me["user"]["id"]})).value["items"]
    assert [row["action"] for row in rows] == ["inference.chat"]
    assert rows[0]["status"] == "SUCCESS"
    only = (await admin.call("audit_list", {"action": "inference.chat"})).value["items"]
    assert [row["actor_id"] for row in only] == [me["user"]["id"]]
    every = (await admin.call("audit_list")).value["items"]
    assert not [row for row in every if "mcp" in row["action"]]


async def test_a_failed_call_that_reached_the_service_stands_there_too(world: World) -> None:
    user = world.as_("tenant_user")
    called = await user.call("inference_chat", {**CHAT, "model": "scailabs/offline-1"})
    assert called.code == "MODEL_UNAVAILABLE"
    rows = (await world.as_("tenant_admin").call("audit_list", {"status": "FAILURE"})).value[
        "items"
    ]
    assert [row["action"] for row in rows] == ["inference.chat"]


async def test_the_request_id_of_the_answer_is_the_one_the_platform_saw(world: World) -> None:
    called = await world.as_("tenant_user").call("inference_chat", {**CHAT, "model": "nothing"})
    assert called.code == "MODEL_NOT_FOUND"
    request_id = called.error["request_id"]
    assert called.reply.result["_meta"]["ai.scailabs.scaimcp/request_id"] == request_id
    calls = await world.calls("/v1/inference")
    assert [call["headers"]["x-request-id"] for call in calls] == [request_id]


async def test_without_a_registry_every_remote_name_is_refused_alike(world: World) -> None:
    """Nothing tells whether somebody else's server exists."""
    for role in ("tenant_user", "no_roles"):
        called = await world.as_(role).call("remote.usr_somebody.notes.read")
        assert called.code == "SCAILINK_REGISTRY_DISABLED"
        assert "notes" not in called.error["message"]
