"""GET /v1/modules/scaimcp/tools and /explain: the catalogue over REST."""

from typing import Any

import pytest

from tests.catalogue import ACME, DEMO_NOTES, row, table
from tests.world import LATEST, World, start_world

TOOLS, EXPLAIN = "/v1/modules/scaimcp/tools", "/v1/modules/scaimcp/explain"


def published(further: bool = True) -> list[str]:
    """Return the names of the whole catalogue in its order."""
    core = [entry["name"] for entry in table() if entry["group"] == "core"]
    modules = sorted(
        (entry for entry in table() if entry["group"] == "module"), key=lambda e: e["module"]
    )
    names = [*core, "tools_explain", *(entry["name"] for entry in modules)]
    return [*names, *DEMO_NOTES] if further else names


@pytest.mark.parametrize("role", ["super_admin", "tenant_admin", "other_tenant_admin"])
async def test_administrators_get_every_tool_enabled_or_not_in_published_order(
    world: World, role: str
) -> None:
    reply = await world.as_(role).get(TOOLS)
    assert reply.status == 200
    body = reply.json
    assert set(body) == {"status", "data", "meta"}
    assert body["status"] == "ok"
    assert body["meta"] == {"request_id": reply.headers["x-request-id"]}
    names = [entry["name"] for entry in body["data"]]
    assert [name for name in names if name not in DEMO_NOTES] == published(further=False)
    if role == "tenant_admin":
        assert names == published()


async def test_partner_administrators_may_read_it_too(world: World) -> None:
    assert (await world.as_("partner_admin").get(TOOLS)).status == 200


async def test_an_entry_has_five_fields_from_the_table(world: World) -> None:
    for entry in (await world.as_("tenant_admin").get(TOOLS)).json["data"]:
        assert set(entry) == {
            "name", "description", "input_schema", "required_permission", "module_id",
        }  # fmt: skip
        if entry["name"] in DEMO_NOTES:
            assert entry["module_id"] == "demo-notes"
            assert entry["required_permission"] == DEMO_NOTES[entry["name"]]
            continue
        expected = row(entry["name"])
        assert entry["module_id"] == expected["module"]
        assert entry["required_permission"] == expected["permission"].partition(",")[0]
        assert entry["input_schema"]["type"] == "object"


async def test_the_difference_to_the_list_is_exactly_what_the_caller_may_not_call(
    world: World,
) -> None:
    client = world.as_("tenant_admin")
    catalogue = [entry["name"] for entry in (await client.get(TOOLS)).json["data"]]
    listed = await client.names()
    assert [name for name in catalogue if name in set(listed)] == listed
    for name in set(catalogue) - set(listed):
        called = await client.call(name)
        assert called.code in ("PERMISSION_DENIED", "MODULE_NOT_ENABLED"), name


@pytest.mark.parametrize(
    "role",
    ["tenant_user", "tenant_viewer", "no_roles", "partner_viewer", "extra_permissions",
     "custom_role", "scoped_key"],
)  # fmt: skip
async def test_others_lack_the_permission(world: World, role: str) -> None:
    reply = await world.as_(role).get(TOOLS)
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")
    body = reply.json
    assert body["status"] == "error"
    assert "scaimcp:access" in body["error"]["message"]
    assert body["meta"]["request_id"] == reply.headers["x-request-id"]


@pytest.mark.parametrize("path", [TOOLS, EXPLAIN])
@pytest.mark.parametrize(
    ("authorization", "word", "error"),
    [
        (None, "AUTH_TOKEN_MISSING", None),
        ("Basic dXNlcjpwYXNz", "AUTH_TOKEN_MISSING", None),
        ("Bearer", "AUTH_TOKEN_MISSING", None),
        ("Bearer two words", "AUTH_TOKEN_INVALID", "invalid_token"),
        ("Bearer neither-key-nor-jwt", "AUTH_TOKEN_INVALID", "invalid_token"),
        ("Bearer sgk_" + "0" * 40, "AUTH_TOKEN_INVALID", "invalid_token"),
    ],
)
async def test_without_a_good_bearer_there_is_a_challenge(
    world: World, path: str, authorization: str | None, word: str, error: str | None
) -> None:
    reply = await world.as_(None).get(path, headers={"authorization": authorization})
    assert (reply.status, reply.word) == (401, word)
    challenge = reply.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert f'resource_metadata="{world.url}/.well-known/oauth-protected-resource/mcp"' in challenge
    assert (f'error="{error}"' in challenge) == (error is not None)
    assert "neither-key" not in reply.content.decode()


async def test_an_unreachable_platform_is_503_for_an_unknown_bearer(world: World) -> None:
    world.forget()
    await world.fault({"path": "/v1/me", "drop": "before_headers"})
    try:
        reply = await world.as_("tenant_admin").get(TOOLS)
    finally:
        await world.fault()
    assert (reply.status, reply.word) == (503, "PLATFORM_UNAVAILABLE")
    assert reply.headers["retry-after"] == "5"
    assert reply.json["error"]["retry_after"] == 5


async def test_module_id_narrows(world: World) -> None:
    client = world.as_("tenant_admin")
    entries = (await client.get(f"{TOOLS}?module_id=scaibunker")).json["data"]
    assert [entry["name"] for entry in entries] == [
        entry["name"] for entry in table() if entry["module"] == "scaibunker"
    ]
    assert (await client.get(f"{TOOLS}?module_id=nothing")).json["data"] == []


async def test_an_unchanged_catalogue_is_not_sent_again(world: World) -> None:
    client = world.as_("tenant_admin")
    first = await client.get(TOOLS)
    etag = first.headers["etag"]
    assert etag.startswith('"')
    assert "private" in first.headers["cache-control"]
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await client.get(TOOLS, headers={"if-none-match": condition})
        assert (again.status, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert again.headers["x-request-id"]
    assert (await client.get(TOOLS, headers={"if-none-match": '"other"'})).status == 200
    narrowed = await client.get(f"{TOOLS}?module_id=scaibot", headers={"if-none-match": etag})
    assert narrowed.status == 200
    assert narrowed.headers["etag"] != etag


async def test_a_condition_does_not_spare_the_permission(world: World) -> None:
    reply = await world.as_("tenant_user").get(TOOLS, headers={"if-none-match": "*"})
    assert reply.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", [TOOLS, EXPLAIN])
async def test_there_is_nothing_to_write(world: World, path: str, method: str) -> None:
    reply = await world.as_("tenant_admin").send({}, path=path, method=method)
    assert (reply.status, reply.word) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in reply.headers["allow"]
    assert reply.json["meta"]["request_id"] == reply.headers["x-request-id"]


# -- explanations ---------------------------------------------------------------------------------


def settled(value: Any) -> Any:
    """Return an explanation without what differs from one moment to the next."""
    del value["caller"]["identity_age_seconds"]
    value["caller"]["modules_source"] = ""
    return value


@pytest.mark.parametrize("role", ["tenant_user", "tenant_admin", "no_roles", "partner_viewer"])
@pytest.mark.parametrize(
    "tool", ["me_get", "models_create", "mind_jobs_list", "tenants_create", "no_such", "remote.x.y"]
)
async def test_route_and_tool_explain_alike(world: World, role: str, tool: str) -> None:
    client = world.as_(role)
    over_rest = await client.get(f"{EXPLAIN}?tool={tool}")
    assert over_rest.status == 200
    over_mcp = (await client.call("tools_explain", {"tool": tool})).value
    assert settled(over_rest.json["data"]) == settled(over_mcp)


async def test_the_urls_options_count_in_the_explanation(world: World) -> None:
    client = world.as_("tenant_user")
    for query, listed in (("", True), ("&disclosure=search", False), ("&toolsets=me", False)):
        value = (await client.get(f"{EXPLAIN}?tool=models_list{query}")).json["data"]
        assert (value["is_listed"], value["is_callable"]) == (listed, True)


@pytest.mark.parametrize("query", ["tool=", f"tool={'x' * 257}", "disclosure=everything"])
async def test_bad_parameters_are_422(world: World, query: str) -> None:
    reply = await world.as_("tenant_user").get(f"{EXPLAIN}?{query}")
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")


@pytest.mark.parametrize("role", ["super_admin", "tenant_admin", "tenant_user", "no_roles"])
async def test_the_overview_counts_what_the_list_shows_and_why_not_the_rest(
    world: World, role: str
) -> None:
    client = world.as_(role)
    reply = await client.get(EXPLAIN)
    assert reply.status == 200
    value = reply.json["data"]
    listed = await client.names()
    assert value["visible_count"] == len(listed)
    assert value["hidden_count"] == len(value["hidden"])
    hidden = {entry["tool"]: entry["first_failure"] for entry in value["hidden"]}
    assert not set(hidden) & set(listed)
    for name, failure in hidden.items():
        explained = (await client.call("tools_explain", {"tool": name})).value
        assert explained["first_failure"] == failure, name
    assert set(value["caller"]) == {
        "user_id", "tenant_id", "roles", "permissions_source", "modules_source",
        "identity_age_seconds",
    }  # fmt: skip


async def test_the_overview_follows_the_urls_options(world: World) -> None:
    value = (await world.as_("tenant_user").get(f"{EXPLAIN}?disclosure=search")).json["data"]
    assert value["visible_count"] == 5


async def test_explanations_are_about_the_caller_only(world: World) -> None:
    value = (await world.as_("tenant_user").get(f"{EXPLAIN}?tool=me_get&user=root")).json["data"]
    own = (await world.as_("tenant_user").call("me_get")).value
    assert value["caller"]["user_id"] == own["user"]["id"]


async def test_the_catalogue_knows_a_tenants_manifests_only(world: World) -> None:
    """globex has no demo-notes: its administrators do not see acme's manifest."""
    entries = (await world.as_("other_tenant_admin").get(TOOLS)).json["data"]
    assert not [entry for entry in entries if entry["module_id"] == "demo-notes"]
    assert "demo-notes" in ACME


async def test_the_clients_address_goes_to_the_platform_only_when_told(
    world: World, database_url: str, redis_url: str
) -> None:
    forwarded = {"x-forwarded-for": "203.0.113.7"}
    async with start_world(
        database_url,
        redis_url,
        PLATFORM_FORWARD_CLIENT_IP="true",
        SERVER_TRUSTED_PROXIES="127.0.0.0/8",
    ) as told:
        await told.as_("tenant_admin", LATEST).get(TOOLS, headers=forwarded)
        assert {call["headers"]["x-forwarded-for"] for call in await told.calls("/v1/me")} == {
            "203.0.113.7"
        }
    world.forget()
    await world.as_("tenant_admin").get(TOOLS, headers=forwarded)
    assert not [call for call in await world.calls() if "x-forwarded-for" in call["headers"]]
