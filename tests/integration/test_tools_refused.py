"""Who lacks a tool's permission, role or module is refused before the platform hears of it."""

from typing import Any

import pytest

from tests.catalogue import ACME, may, row, split_permission, table
from tests.integration.stories.running import BACKGROUND
from tests.world import LATEST, MODERN, World

PERMISSIONS = [entry for entry in table() if entry["permission"]]
ON_AT_ACME = [entry for entry in PERMISSIONS if entry["module"] in (None, *ACME)]
OFF_AT_ACME = [entry for entry in table() if entry["module"] not in (None, *ACME)]
OFF_AT_GLOBEX = [entry for entry in table() if entry["module"] not in (None, "scaimatrix")]
ACME_ROLES = ["tenant_admin", "tenant_user", "tenant_viewer", "no_roles"]


async def own_calls(world: World) -> list[Any]:
    """Return what reached the platform besides the gateway's own questions."""
    lines = [f"{call['method']} {call['path']}" for call in await world.calls()]
    return [line for line in lines if line not in BACKGROUND]


async def know_modules(world: World) -> None:
    """Let the gateway read acme's modules for a caller who may."""
    await world.as_("tenant_admin").names()
    await world.control("DELETE", "/calls")


@pytest.mark.parametrize("revision", [LATEST, MODERN])
@pytest.mark.parametrize("role", ACME_ROLES)
async def test_every_tool_without_its_permission_is_denied(
    world: World, role: str, revision: str
) -> None:
    await know_modules(world)
    client = world.as_(role, revision)
    denied = [entry for entry in ON_AT_ACME if not may(role, entry["permission"])]
    for entry in denied:
        error = (await client.call(entry["name"])).error
        assert error["code"] == "PERMISSION_DENIED", entry["name"]
        permission, roles = split_permission(entry["permission"])
        wanted = roles if roles and may(role, permission) else [permission]
        assert all(word in error["message"] for word in wanted), error
    assert await own_calls(world) == []


def test_each_tool_with_a_permission_is_denied_to_somebody() -> None:
    for entry in PERMISSIONS:
        assert not may("no_roles", entry["permission"])


@pytest.mark.parametrize("entry", OFF_AT_ACME, ids=lambda entry: entry["name"])
async def test_a_tool_of_a_module_that_is_off_names_the_module(
    world: World, entry: dict[str, Any]
) -> None:
    await know_modules(world)
    for role in ("tenant_admin", "tenant_viewer"):
        error = (await world.as_(role).call(entry["name"])).error
        assert error["code"] == "MODULE_NOT_ENABLED"
        assert entry["module"] in error["message"]
    assert await own_calls(world) == []


async def test_another_tenant_is_refused_every_tool_of_its_missing_modules(world: World) -> None:
    client = world.as_("other_tenant_admin")
    await client.names()
    await world.control("DELETE", "/calls")
    for entry in OFF_AT_GLOBEX:
        assert (await client.call(entry["name"])).code == "MODULE_NOT_ENABLED", entry["name"]
    assert await own_calls(world) == []


async def test_the_module_is_checked_before_the_permission(world: World) -> None:
    await know_modules(world)
    assert (await world.as_("tenant_user").call("mind_jobs_create")).code == "MODULE_NOT_ENABLED"


async def test_the_permission_is_checked_before_the_arguments(world: World) -> None:
    called = await world.as_("tenant_user").call("models_create", {"nonsense": 1})
    assert called.code == "PERMISSION_DENIED"


async def test_a_missing_role_is_named_even_with_the_permission(world: World) -> None:
    error = (await world.as_("tenant_admin").call("partners_create")).error
    assert error["code"] == "PERMISSION_DENIED"
    assert "super_admin" in error["message"]
    assert (
        "partner_admin" in (await world.as_("tenant_admin").call("tenants_create")).error["message"]
    )


@pytest.mark.parametrize("revision", [LATEST, MODERN])
async def test_bad_arguments_never_reach_the_platform(world: World, revision: str) -> None:
    await know_modules(world)
    client = world.as_("super_admin", revision)
    for entry in table():
        if entry["group"] == "gateway" or entry["module"] is not None:
            continue
        error = (await client.call(entry["name"], {"no_such_argument": 1})).error
        assert error["code"] == "INVALID_ARGUMENTS", entry["name"]
        fields = [detail["field"] for detail in error["details"]]
        assert "no_such_argument" in fields
        required = {word.split(":")[0].strip() for word in _required(entry["arguments"])}
        assert required <= set(fields), entry["name"]
    assert await own_calls(world) == []


def _required(arguments: str) -> list[str]:
    """Return the top-level arguments that the table marks with a star."""
    depth, parts = 0, [""]
    for mark in arguments.split(";")[0]:
        depth += (mark in "<({") - (mark in ">)}")
        if mark == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += mark
    return [part for part in parts if part.rstrip().endswith("*")]


async def test_path_arguments_cannot_leave_their_place(world: World) -> None:
    await know_modules(world)
    client = world.as_("super_admin")
    for value in ("..", ".", "a/b", "a b", "a\nb", "a%2fb", "ä"):
        error = (await client.call("users_get", {"user_id": value})).error
        assert error["code"] == "INVALID_ARGUMENTS"
        assert error["details"][0]["field"] == "user_id"
        assert value not in error["message"] or value in (".", "..")
    for value in ("..", ".", "../users", "a/../b", "a//b"):
        assert (await client.call("models_get", {"model": value})).code == "INVALID_ARGUMENTS"
    assert await own_calls(world) == []


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("scailabs/echo-1", "/v1/models/scailabs%2Fecho-1"),
        ("100%", "/v1/models/100%25"),
        ("a%2Fb", "/v1/models/a%252Fb"),
        ("a b?c#d", "/v1/models/a%20b%3Fc%23d"),
        ("grün", "/v1/models/gr%C3%BCn"),
        ("a~b_c.d-e", "/v1/models/a~b_c.d-e"),
        ("a;b=c&d+e@f:g,h", "/v1/models/a%3Bb%3Dc%26d%2Be%40f%3Ag%2Ch"),
    ],
)
async def test_a_path_argument_arrives_escaped_down_to_the_unreserved_set(
    world: World, model: str, sent: str
) -> None:
    await know_modules(world)
    called = await world.as_("tenant_user").call("models_get", {"model": model})
    assert await own_calls(world) == [f"GET {sent}"]
    if model != "scailabs/echo-1":
        assert called.code == "MODEL_NOT_FOUND"


@pytest.mark.parametrize(
    ("tool", "arguments", "fields"),
    [
        ("inference_batch_create", {}, {"input_file_url", "requests"}),
        (
            "inference_batch_create",
            {"input_file_url": "https://a.example/b", "requests": [
                {"custom_id": "a", "endpoint": "chat", "body": {}}]},
            {"input_file_url", "requests"},
        ),
        (
            "inference_batch_create",
            {"requests": [{"custom_id": "a", "endpoint": "chat", "body": {}}] * 2},
            {"requests[1].custom_id"},
        ),
        ("accounting_create_budget",
         {"scope": "tenant", "scope_id": "x", "period": "daily"},
         {"cost_limit", "token_limit", "request_limit"}),
        ("role_mappings_create", {"group_id": "g"}, {"role", "custom_role_id"}),
        ("modules_update_config", {"module_id": "scaibot"}, {"config", "reset_keys"}),
        ("matrix_ingest_document", {"collection_id": "c", "name": "n"}, {"text", "content_base64"}),
        (
            "matrix_ingest_document",
            {"collection_id": "c", "name": "n", "content_base64": "not base64!"},
            {"content_base64"},
        ),
        (
            "inference_transcribe",
            {"model": "m", "audio_base64": "a\nb=", "mime_type": "audio/wav"},
            {"audio_base64"},
        ),
        (
            "inference_chat",
            {"model": "m", "messages": [
                {"role": "user", "content": "x", "image_urls": ["http://a.example/b.png"]}]},
            {"messages[0].image_urls[0]"},
        ),
        ("inference_chat", {"model": "m", "messages": []}, {"messages"}),
        (
            "inference_chat",
            {"model": 5, "messages": [{"role": "boss", "content": ""}], "max_tokens": "9"},
            {"model", "messages[0].role", "messages[0].content", "max_tokens"},
        ),
    ],
)  # fmt: skip
async def test_rules_over_arguments_are_refused_with_their_fields(
    world: World, tool: str, arguments: dict[str, Any], fields: set[str]
) -> None:
    await know_modules(world)
    error = (await world.as_("tenant_admin").call(tool, arguments)).error
    assert error["code"] == "INVALID_ARGUMENTS"
    assert {detail["field"] for detail in error["details"]} == fields
    assert await own_calls(world) == []


async def test_every_open_tool_is_open_to_a_user_without_roles(world: World) -> None:
    names = [entry["name"] for entry in table() if not entry["permission"]]
    assert set(names) == {
        "me_get", "modules_list", "tools_explain", "tools_search", "tools_describe", "tools_call",
    }  # fmt: skip
    nobody = world.as_("no_roles")
    assert (await nobody.call("me_get")).value["roles"] == []
    assert "modules_source" in (await nobody.call("modules_list")).value
    assert row("me_get")["permission"] == ""
