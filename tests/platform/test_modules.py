"""Modules, their switches, configuration and manifests; the notes module; API keys."""

from typing import Any

import pytest

from scaimcp.dev.platform import SEED_LOGINS
from tests.platform.conftest import World

NOTES = "/v1/modules/demo-notes/notes"
OFF_AT_ACME = {"scaimind", "scaicore", "scaibot"}


async def active(world: World, name: str) -> set[str]:
    rows = (await world.as_(name).get("/v1/modules")).data
    return {row["module_id"] for row in rows if row["status"] == "active"}


async def test_the_seeds_modules_are_as_described(world: World) -> None:
    rows = (await world.as_("tenant_user").get("/v1/modules")).data
    listed = {row["module_id"] for row in rows}
    assert await active(world, "tenant_user") == listed - OFF_AT_ACME
    assert {"scaimcp", "scaibunker", "demo-notes"} <= listed
    assert await active(world, "other_tenant_user") == {"scaimcp", "scailink", "scaimatrix"}
    assert await active(world, "super_admin") == listed
    assert [row["module_id"] for row in rows if "mcp_tools_path" in row] == ["demo-notes"]


async def test_one_module_is_shown_by_its_name(world: World) -> None:
    caller = world.as_("tenant_user")
    row = (await caller.get("/v1/modules/scaibunker")).data
    assert row["id"].startswith("mod_")
    assert "scaibunker:create" in row["permissions"]
    assert (await caller.get("/v1/modules/none")).code == "MODULE_NOT_FOUND"


@pytest.mark.parametrize("name", ["tenant_viewer", "partner_admin"])
async def test_who_lacks_modules_use_may_not_list(world: World, name: str) -> None:
    assert (await world.as_(name).get("/v1/modules")).code == "AUTHZ_PERMISSION_DENIED"


async def test_a_tenant_admin_switches_modules_of_its_tenant(world: World) -> None:
    admin = world.as_("tenant_admin")
    off = (await admin.post("/v1/modules/demo-notes/disable")).data
    assert off["status"] == "disabled"
    refused = await world.as_("custom_role").get(NOTES)
    assert (refused.status, refused.code) == (403, "MODULE_NOT_ENABLED")
    on = (await admin.post("/v1/modules/demo-notes/enable", {"scope": "tenant"})).data
    assert on["status"] == "active"
    assert (await world.as_("custom_role").get(NOTES)).status == 200
    assert "demo-notes" not in await active(world, "other_tenant_user")
    assert [row["action"] for row in world.rows("audit")] == ["module.disable", "module.enable"]


async def test_a_partners_disable_wins(world: World) -> None:
    answer = await world.as_("other_tenant_admin").post("/v1/modules/scaibunker/enable")
    assert (answer.status, answer.code) == (409, "CONFLICT")
    body = {"scope": "partner", "tenant_id": world.tenant_id("globex")}
    root = world.as_("super_admin")
    await root.post("/v1/modules/scaibunker/enable", body)
    assert (
        await world.as_("other_tenant_admin").post("/v1/modules/scaibunker/enable")
    ).status == 200
    assert "scaibunker" in await active(world, "other_tenant_user")
    await root.post("/v1/modules/scaimatrix/disable", body)
    assert "scaimatrix" not in await active(world, "other_tenant_user")
    assert (
        await world.as_("other_tenant_admin").post("/v1/modules/scaimatrix/disable")
    ).status == 200


async def test_a_switch_respects_walls_and_roles(world: World) -> None:
    admin = world.as_("tenant_admin")
    path = "/v1/modules/demo-notes/disable"
    assert (
        await admin.post(path, {"tenant_id": world.tenant_id("globex")})
    ).code == "TENANT_NOT_FOUND"
    assert (await admin.post(path, {"tenant_id": "tnt_none"})).code == "TENANT_NOT_FOUND"
    assert (await admin.post(path, {"scope": "partner"})).code == "AUTHZ_PERMISSION_DENIED"
    assert (await admin.post(path, {"scope": "world"})).faults == {"scope"}
    assert (await admin.post("/v1/modules/none/disable")).code == "MODULE_NOT_FOUND"
    assert (await world.as_("tenant_user").post(path)).code == "AUTHZ_PERMISSION_DENIED"
    assert (await world.as_("super_admin").post(path)).code == "AUTHZ_PERMISSION_DENIED"
    own = await world.as_("super_admin").post(path, {"tenant_id": world.tenant_id("acme")})
    assert own.data["status"] == "disabled"


async def test_configuration_is_merged_and_null_resets(world: World) -> None:
    admin = world.as_("tenant_admin")
    path = "/v1/modules/scaimatrix/config"
    assert (await admin.get(path)).data == {"global_config": {}, "scope_config": {}}
    await admin.put(path, {"a": 1, "b": {"c": 2}})
    merged = (await admin.put(path, {"a": None, "d": "x"})).data
    assert merged["scope_config"] == {"b": {"c": 2}, "d": "x"}
    other = world.as_("other_tenant_admin")
    assert (await other.get(path)).data["scope_config"] == {}
    assert world.rows("audit")[-1]["details"] == {"keys": ["a", "d"]}
    assert (await admin.get("/v1/modules/none/config")).code == "MODULE_NOT_FOUND"
    assert (await world.as_("super_admin").get(path)).code == "AUTHZ_PERMISSION_DENIED"


async def test_a_module_without_a_state_gets_one(world: World) -> None:
    store = world.served.platform.store
    tenant = world.tenant_id("globex")
    state = store["module_states"].first(scope_id=tenant, module_id="demo-notes")
    assert state is not None
    store["module_states"].delete(state["id"])
    admin = world.as_("other_tenant_admin")
    assert (await admin.get("/v1/modules/demo-notes/config")).data["scope_config"] == {}
    assert (await admin.post("/v1/modules/demo-notes/enable")).data["status"] == "active"


async def test_the_notes_module_describes_its_tools(world: World) -> None:
    answer = await world.as_("tenant_user").get("/v1/modules/demo-notes/mcp/tools")
    manifest = answer.data
    assert (manifest["manifest_version"], manifest["module_id"]) == (1, "demo-notes")
    assert "status" not in answer.json
    for tool in manifest["tools"]:
        assert tool["name"].startswith("demo_notes_")
        assert 60 <= len(tool["description"]) <= 300
        assert tool["required_permission"].startswith("demo-notes:")
        assert tool["request"]["path"].startswith("/notes")
        assert tool["input_schema"]["additionalProperties"] is False
        assert all(
            10 <= len(p["description"]) <= 200 for p in tool["input_schema"]["properties"].values()
        )


async def test_a_manifest_needs_the_module_and_the_permission(world: World) -> None:
    caller = world.as_("tenant_user")
    assert (await caller.get("/v1/modules/scaimatrix/mcp/tools")).data["tools"] == []
    assert (await caller.get("/v1/modules/none/mcp/tools")).code == "MODULE_NOT_FOUND"
    assert (await caller.get("/v1/modules/scaimind/mcp/tools")).code == "MODULE_NOT_ENABLED"
    viewer = await world.as_("tenant_viewer").get("/v1/modules/demo-notes/mcp/tools")
    assert viewer.code == "AUTHZ_PERMISSION_DENIED"
    other = await world.as_("other_tenant_user").get("/v1/modules/demo-notes/mcp/tools")
    assert other.code == "MODULE_NOT_ENABLED"


async def test_notes_are_written_listed_and_read(world: World) -> None:
    writer = world.as_("custom_role")
    note = (await writer.post(NOTES, {"title": "One", "body": "text"})).data
    short = (await writer.post(NOTES, {"title": "Two"})).data
    assert note["created_by"] == world.user_id("custom_role")
    assert short["body"] == ""
    assert (await writer.get(NOTES)).data["items"] == [note, short]
    assert (await world.as_("extra_permissions").get(f"{NOTES}/{note['id']}")).data == note
    refused = await world.as_("extra_permissions").post(NOTES, {"title": "x"})
    assert refused.code == "AUTHZ_PERMISSION_DENIED"
    assert (await writer.get(f"{NOTES}/none")).code == "NOTE_NOT_FOUND"
    assert (await writer.post(NOTES, {})).faults == {"title"}


async def test_a_foreign_note_is_not_found(world: World) -> None:
    note = (await world.as_("tenant_admin").post(NOTES, {"title": "x"})).data
    other = world.as_("other_tenant_admin")
    await other.post("/v1/modules/demo-notes/enable")
    answer = await other.get(f"{NOTES}/{note['id']}")
    assert (answer.status, answer.code) == (404, "NOTE_NOT_FOUND")
    assert (await other.get(NOTES)).data["items"] == []


async def test_callers_without_a_tenant_see_what_lies_below_them(world: World) -> None:
    note = (await world.as_("tenant_admin").post(NOTES, {"title": "x"})).data
    for name, count in (("super_admin", 1), ("partner_admin", 1), ("other_partner_admin", 0)):
        caller = world.as_(name)
        assert len((await caller.get(NOTES)).data["items"]) == count
        assert (await caller.get(f"{NOTES}/{note['id']}")).status == (200 if count else 404)
        assert (await caller.post(NOTES, {"title": "y"})).code == "AUTHZ_PERMISSION_DENIED"


async def test_a_user_without_any_home_sees_no_rows(world: World) -> None:
    user = world.user_id("tenant_admin")
    await world.control.patch(f"/rows/users/{user}", {"tenant_id": None, "partner_id": None})
    assert (await world.as_("tenant_admin").get(NOTES)).data["items"] == []


async def key_of(world: World, name: str, **body: Any) -> Any:
    return (await world.as_(name).post("/v1/api-keys", {"name": "k", **body})).data


async def test_a_new_key_works_until_it_is_deleted(world: World) -> None:
    row = await key_of(world, "tenant_user")
    assert row["key"].startswith("sgk_")
    assert row["key"].startswith(row["prefix"])
    caller = world.with_bearer(row["key"])
    assert (await caller.get("/v1/me")).data["auth"]["api_key"]["id"] == row["id"]
    listed = (await caller.get("/v1/api-keys")).data["items"]
    assert row["id"] in [item["id"] for item in listed]
    assert all("key" not in item and "hash" not in item for item in listed)
    assert (await caller.delete(f"/v1/api-keys/{row['id']}")).status == 204
    assert (await caller.get("/v1/me")).code == "AUTH_TOKEN_INVALID"
    assert [row["action"] for row in world.rows("audit")] == ["api_key.create", "api_key.delete"]


async def test_a_key_expires(world: World) -> None:
    row = await key_of(world, "tenant_user", expires_at="2100-01-01T00:00:00Z")
    assert row["expires_at"] == "2100-01-01T00:00:00.000Z"
    caller = world.with_bearer(row["key"])
    assert (await caller.get("/v1/me")).data["auth"]["expires_at"] == row["expires_at"]
    await world.control.post("/clock", {"seconds": 3_000_000_000})
    assert (await caller.get("/v1/me")).code == "AUTH_TOKEN_INVALID"
    past = {"name": "k", "expires_at": "2020-01-01T00:00:00Z"}
    assert (await world.as_("tenant_user").post("/v1/api-keys", past)).faults == {"expires_at"}


async def test_only_users_manage_makes_and_sees_keys_of_others(world: World) -> None:
    user, admin = world.as_("tenant_user"), world.as_("tenant_admin")
    body = {"name": "k", "assigned_user_id": world.user_id("tenant_viewer")}
    assert (await user.post("/v1/api-keys", body)).code == "AUTHZ_PERMISSION_DENIED"
    row = (await admin.post("/v1/api-keys", body)).data
    me = (await world.with_bearer(row["key"]).get("/v1/me")).data
    assert me["user"]["email"] == SEED_LOGINS["tenant_viewer"]
    assert len((await admin.get("/v1/api-keys")).data["items"]) > 5
    assert (await user.delete(f"/v1/api-keys/{row['id']}")).code == "API_KEY_NOT_FOUND"
    foreign = {**body, "assigned_user_id": world.user_id("other_tenant_user")}
    assert (await admin.post("/v1/api-keys", foreign)).code == "USER_NOT_FOUND"
    assert (await world.as_("other_tenant_admin").delete(f"/v1/api-keys/{row['id']}")).code == (
        "API_KEY_NOT_FOUND"
    )
    assert (await admin.delete(f"/v1/api-keys/{row['id']}")).status == 204


async def test_a_client_has_no_key_of_its_own(world: World) -> None:
    token = await world.token("tenant_user", client_id="cli_7", role="tenant_user")
    answer = await world.with_bearer(token).post("/v1/api-keys", {"name": "k"})
    assert answer.faults == {"assigned_user_id"}


async def test_a_narrow_key_makes_only_narrow_keys(world: World) -> None:
    key = next(
        row
        for row in world.rows("api_keys")
        if row["assigned_user_id"] == world.user_id("tenant_user")
    )
    await world.control.patch(f"/rows/api_keys/{key['id']}", {"scopes": ["api_keys:manage"]})
    row = await key_of(world, "tenant_user")
    assert row["scopes"] == ["api_keys:manage"]
