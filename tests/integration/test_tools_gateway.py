"""The gateway's own four tools: explain, search, describe, call."""

from typing import Any

import pytest

from tests.catalogue import row
from tests.integration.test_tools_refused import know_modules, own_calls
from tests.world import LATEST, MODERN, World

REVISIONS = pytest.mark.parametrize("revision", [LATEST, MODERN])


def check_of(explanation: Any, name: str) -> Any:
    """Return one check of an explanation."""
    return next(check for check in explanation["checks"] if check["check"] == name)


@REVISIONS
async def test_explaining_a_callable_tool_passes_every_check(world: World, revision: str) -> None:
    await know_modules(world)
    client = world.as_("tenant_user", revision)
    value = (await client.call("tools_explain", {"tool": "inference_chat"})).value
    assert (value["is_listed"], value["is_callable"]) == (True, True)
    assert value["first_failure"] is None
    assert all(check["is_ok"] for check in value["checks"])
    assert value["suggestions"] == []
    caller = value["caller"]
    assert caller["roles"] == ["tenant_user"]
    assert caller["permissions_source"] == "me"
    assert caller["modules_source"] in ("platform", "tenant_cache")
    assert caller["identity_age_seconds"] <= 30
    assert await own_calls(world) == []


@pytest.mark.parametrize(
    ("role", "tool", "failure", "words"),
    [
        ("tenant_user", "no_such_tool", "exists", ""),
        ("tenant_admin", "mind_jobs_list", "module_enabled", "scaimind"),
        ("tenant_user", "models_create", "permission", "models:manage"),
        ("tenant_user", "bunker_exec", "permission", "scaibunker:execute"),
        ("tenant_admin", "partners_create", "role", "super_admin"),
        ("other_tenant_admin", "bunker_exec", "module_enabled", "globex"),
    ],
)
async def test_the_first_failing_check_says_why_a_tool_is_missing(
    world: World, role: str, tool: str, failure: str, words: str
) -> None:
    await know_modules(world)
    value = (await world.as_(role).call("tools_explain", {"tool": tool})).value
    assert value["first_failure"] == failure
    assert (value["is_listed"], value["is_callable"]) == (False, False)
    failed = check_of(value, failure)
    assert words in failed["detail"]
    assert failed["remedy"]
    assert value["checks"][-1]["check"] == failure


async def test_the_remedy_for_a_module_names_the_tool_and_permission(world: World) -> None:
    await know_modules(world)
    value = (await world.as_("tenant_admin").call("tools_explain", {"tool": "core_list"})).value
    remedy = check_of(value, "module_enabled")["remedy"]
    assert "modules_enable" in remedy
    assert "modules:manage" in remedy
    assert "scaicore" in remedy


async def test_a_misspelt_name_gets_the_nearest_visible_names(world: World) -> None:
    value = (
        await world.as_("tenant_user").call("tools_explain", {"tool": "inference_chatt"})
    ).value
    assert value["suggestions"][0] == "inference_chat"
    visible = set(await world.as_("tenant_user").names())
    assert set(value["suggestions"]) <= visible


async def test_a_tool_hidden_by_the_url_is_callable_but_not_listed(world: World) -> None:
    called = await world.as_("tenant_user").call(
        "tools_explain", {"tool": "models_list"}, path="/mcp?toolsets=inference"
    )
    assert (called.value["is_listed"], called.value["is_callable"]) == (False, True)
    assert called.value["first_failure"] == "disclosure"


async def test_a_foreign_remote_name_is_explained_like_an_unknown_one(world: World) -> None:
    client = world.as_("tenant_user")
    foreign = (await client.call("tools_explain", {"tool": "remote.usr_other.notes.read"})).value
    unknown = (await client.call("tools_explain", {"tool": "remote.usr_other.nothing.x"})).value
    for value in (foreign, unknown):
        del value["tool"], value["caller"]
    assert foreign == unknown


@REVISIONS
async def test_search_finds_callable_tools_by_name_title_and_words(
    world: World, revision: str
) -> None:
    await know_modules(world)
    client = world.as_("tenant_admin", revision)
    value = (await client.call("tools_search", {"query": "search a document collection"})).value
    assert value["items"][0]["name"] == "matrix_search"
    assert len(value["items"]) <= 10 <= value["total_count"] or value["total_count"] <= 10
    item = value["items"][0]
    assert set(item) == {"name", "title", "description", "annotations", "score", "module_id"}
    assert item["module_id"] == "scaimatrix"
    assert len(item["description"]) <= 300
    scores = [found["score"] for found in value["items"]]
    assert scores == sorted(scores, reverse=True)
    assert await own_calls(world) == []


async def test_search_never_shows_what_the_caller_may_not_call(world: World) -> None:
    client = world.as_("tenant_user")
    visible = set(await client.names())
    for query in ("create a model", "delete", "users", "bunker shell command"):
        found = (await client.call("tools_search", {"query": query, "top_k": 50})).value["items"]
        assert {item["name"] for item in found} <= visible | {
            "tools_search", "tools_describe", "tools_call",
        }  # fmt: skip


async def test_search_gives_at_most_top_k_items(world: World) -> None:
    client = world.as_("tenant_admin")
    value = (await client.call("tools_search", {"query": "list", "top_k": 3})).value
    assert len(value["items"]) == 3
    assert value["total_count"] > 3
    assert (await client.call("tools_search", {"query": "list", "top_k": 51})).code == (
        "INVALID_ARGUMENTS"
    )


async def test_search_without_a_hit_is_an_empty_page(world: World) -> None:
    value = (await world.as_("no_roles").call("tools_search", {"query": "zzqx"})).value
    assert value == {"items": [], "total_count": 0}


@REVISIONS
async def test_describe_returns_what_the_list_returns(world: World, revision: str) -> None:
    client = world.as_("tenant_admin", revision)
    listed = {tool["name"]: tool for tool in await client.tools()}
    names = ["matrix_search", "me_get", "tools_explain"]
    value = (await client.call("tools_describe", {"names": names})).value
    assert value["not_found"] == []
    assert value["items"] == [listed[name] for name in names]


async def test_hidden_and_unknown_names_are_described_alike(world: World) -> None:
    names = ["models_create", "nothing_at_all", "mind_jobs_list", "me_get", "me_get"]
    value = (await world.as_("tenant_user").call("tools_describe", {"names": names})).value
    assert value["not_found"] == ["models_create", "nothing_at_all", "mind_jobs_list"]
    assert [item["name"] for item in value["items"]] == ["me_get"]


@REVISIONS
async def test_a_called_tool_gives_its_own_result_and_request(world: World, revision: str) -> None:
    await know_modules(world)
    client = world.as_("tenant_user", revision)
    arguments = {"model": "scailabs/echo-1"}
    direct = await client.call("models_get", arguments)
    through = await client.call("tools_call", {"name": "models_get", "arguments": arguments})
    assert through.value == direct.value
    assert await own_calls(world) == ["GET /v1/models/scailabs%2Fecho-1"] * 2


@REVISIONS
@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("models_create", {}, "PERMISSION_DENIED"),
        ("mind_jobs_list", {}, "MODULE_NOT_ENABLED"),
        ("nothing_at_all", {}, "TOOL_NOT_FOUND"),
        ("models_get", {}, "INVALID_ARGUMENTS"),
        ("tools_call", {"name": "me_get"}, "INVALID_ARGUMENTS"),
        ("tools_explain", {"tool": "me_get"}, "INVALID_ARGUMENTS"),
        ("models_get", {"model": "absent"}, "MODEL_NOT_FOUND"),
    ],
)
async def test_refusals_inside_a_called_tool_are_those_of_a_direct_call(
    world: World, name: str, arguments: dict[str, Any], code: str, revision: str
) -> None:
    await know_modules(world)
    client = world.as_("tenant_user", revision)
    called = await client.call("tools_call", {"name": name, "arguments": arguments})
    assert called.code == code


async def test_a_called_tool_without_arguments_gets_none(world: World) -> None:
    called = await world.as_("tenant_user").call("tools_call", {"name": "me_get"})
    assert called.value["permissions_source"] == "me"


async def test_blocks_of_a_called_tool_pass_through(world: World) -> None:
    arguments = {"model": "scailabs/tone-1", "input": "hi"}
    called = await world.as_("tenant_user").call(
        "tools_call", {"name": "inference_synthesize", "arguments": arguments}
    )
    assert [block["type"] for block in called.blocks] == ["audio"]


async def test_the_search_disclosure_lists_five_tools(world: World) -> None:
    names = await world.as_("super_admin").names("?disclosure=search")
    assert names == ["me_get", "tools_explain", "tools_search", "tools_describe", "tools_call"]


async def test_toolsets_list_their_domains_and_the_two_open_tools(world: World) -> None:
    client = world.as_("tenant_admin")
    names = await client.names("?toolsets=inference,scaimatrix,webhooks")
    assert {"me_get", "tools_explain"} <= set(names)
    rest = set(names) - {"me_get", "tools_explain"}
    assert all(name.startswith(("inference_", "matrix_", "webhooks_")) for name in rest)
    assert not any(name.startswith("inference_batch") for name in rest)
    assert (await client.call("models_list", path="/mcp?toolsets=inference")).value["items"]


async def test_only_the_call_tool_has_no_output_schema(world: World) -> None:
    tools = {t["name"]: t for t in await world.as_("tenant_user").tools("?disclosure=search")}
    assert [name for name, tool in tools.items() if "outputSchema" not in tool] == ["tools_call"]
    for name in ("tools_search", "tools_describe", "tools_call", "tools_explain"):
        assert row(name)["permission"] == ""
