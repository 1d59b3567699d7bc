"""Who sees which tools, and where the enabled modules are known from."""

import pytest

from tests.catalogue import ACME, CORE, GLOBEX, TEN_MODULES, may, row, table, visible
from tests.world import LATEST, MODERN, World, start_world

REVISIONS = pytest.mark.parametrize("revision", [LATEST, MODERN])
# Modules that a role's own permissions name, for callers who may not read the list of modules.
NAMED = {
    "tenant_viewer": TEN_MODULES,
    "no_roles": [],
    "partner_admin": [],
    "partner_viewer": [],
    "scoped_key": [],
}


@REVISIONS
@pytest.mark.parametrize(
    "role", ["tenant_admin", "tenant_user", "extra_permissions", "custom_role", "group_member"]
)
async def test_who_may_read_the_modules_sees_what_the_permission_table_says(
    world: World, role: str, revision: str
) -> None:
    world.forget()
    assert await world.as_(role, revision).names() == visible(role, ACME)


@pytest.mark.parametrize("role", NAMED)
async def test_who_may_not_read_the_modules_sees_those_of_the_own_permissions(
    world: World, role: str
) -> None:
    world.forget()
    client = world.as_(role)
    assert await client.names() == visible(role, NAMED[role])
    explained = (await client.call("tools_explain", {"tool": "me_get"})).value
    assert explained["caller"]["modules_source"] == "permissions"


@pytest.mark.parametrize("role", ["tenant_viewer", "no_roles"])
async def test_a_colleague_who_may_read_the_modules_helps_the_others(
    world: World, role: str
) -> None:
    world.forget()
    await world.as_("tenant_admin").names()
    client = world.as_(role)
    assert await client.names() == visible(role, ACME)
    explained = (await client.call("tools_explain", {"tool": "me_get"})).value
    assert explained["caller"]["modules_source"] == "tenant_cache"


async def test_the_manifest_of_a_module_is_read_once_for_the_tenant(world: World) -> None:
    world.forget()
    await world.as_("extra_permissions").names()
    await world.control("DELETE", "/calls")
    names = await world.as_("custom_role").names()
    assert names[-3:] == ["demo_notes_create", "demo_notes_get", "demo_notes_list"]
    assert await world.calls("/v1/modules/demo-notes") == []


async def test_the_service_token_reads_the_modules_for_those_who_may_not(
    world: World, database_url: str, redis_url: str
) -> None:
    async with start_world(
        database_url, redis_url, PLATFORM_SERVICE_TOKEN=world.tokens["tenant_admin"]
    ) as served:
        client = served.as_("tenant_viewer")
        assert await client.names() == visible("tenant_viewer", ACME)
        value = (await client.call("tools_explain", {"tool": "me_get"})).value
        assert value["caller"]["modules_source"] in ("service_token", "tenant_cache")
        stranger = served.as_("other_tenant_viewer")
        assert await stranger.names() == visible("tenant_viewer", TEN_MODULES)


async def test_assumed_modules_stand_in_for_the_list(database_url: str, redis_url: str) -> None:
    async with start_world(
        database_url, redis_url, MODULES_ASSUME_ENABLED="scaimatrix,scaibot"
    ) as served:
        client = served.as_("tenant_viewer")
        assert await client.names() == visible("tenant_viewer", ["scaimatrix", "scaibot"])
        value = (await client.call("tools_explain", {"tool": "me_get"})).value
        assert value["caller"]["modules_source"] == "settings"
        assert await served.as_("partner_admin").names() == visible(
            "partner_admin", ["scaimatrix", "scaibot"]
        )


@REVISIONS
async def test_another_tenant_sees_its_own_modules_only(world: World, revision: str) -> None:
    admin = world.as_("other_tenant_admin", revision)
    assert await admin.names() == visible("tenant_admin", GLOBEX)
    assert await world.as_("other_tenant_user").names() == visible("tenant_user", GLOBEX)
    assert await world.as_("other_extra_permissions").names() == visible(
        "extra_permissions", GLOBEX
    )


async def test_a_super_admin_sees_every_core_tool(world: World) -> None:
    names = await world.as_("super_admin").names()
    core = [entry["name"] for entry in table() if entry["group"] == "core"]
    assert names[: len(core)] == core
    assert names[len(core)] == "tools_explain"


async def test_a_user_without_roles_sees_the_open_tools_only(world: World) -> None:
    assert await world.as_("no_roles").names() == ["me_get", "modules_list", "tools_explain"]


async def test_every_listed_tool_says_what_it_needs(world: World) -> None:
    for tool in await world.as_("tenant_admin").tools():
        meta = tool["_meta"]
        permission = meta["ai.scailabs.scaimcp/required_permission"]
        if not tool["name"].startswith("demo_notes_"):
            entry = row(tool["name"])
            assert permission == entry["permission"].partition(",")[0]
            assert meta["ai.scailabs.scaimcp/module_id"] == entry["module"]
        assert meta["anthropic/maxResultSizeChars"] > 0


async def test_all_ten_modules_give_the_pinned_numbers(database_url: str, redis_url: str) -> None:
    async with start_world(database_url, redis_url) as served:
        admin = served.as_("tenant_admin")
        for module_id in ("scaimind", "scaicore", "scaibot"):
            assert not (await admin.call("modules_enable", {"module_id": module_id})).is_error
        for role, core, module in (
            ("tenant_admin", 75, 45), ("tenant_user", 41, 1), ("tenant_viewer", 11, 20),
            ("no_roles", 2, 0), ("partner_admin", 38, 0), ("partner_viewer", 15, 0),
        ):  # fmt: skip
            names = [n for n in await served.as_(role).names() if not n.startswith("demo_notes_")]
            at = names.index("tools_explain")
            assert (at, len(names) - at - 1) == (core, module), role


async def test_what_is_listed_is_what_may_be_called(world: World) -> None:
    """The filter of lists and the check of calls are one rule: each tool agrees with the other."""
    world.forget()
    await world.as_("tenant_admin").names()
    client = world.as_("custom_role")
    listed = set(await client.names())
    await world.fault({"path": "/v1/", "http_status": 418, "code": "REACHED"})
    try:
        for entry in table():
            if entry["group"] == "gateway" or entry["name"] in ("me_get", "modules_list"):
                continue
            called = await client.call(entry["name"], {"no_such_argument": 1})
            refused = called.code in ("PERMISSION_DENIED", "MODULE_NOT_ENABLED")
            assert refused == (entry["name"] not in listed), entry["name"]
    finally:
        await world.fault()


def test_the_permission_table_gives_the_pinned_numbers() -> None:
    pinned = {
        "super_admin": (107, 45), "partner_admin": (38, 44), "partner_viewer": (15, 0),
        "tenant_admin": (75, 45), "tenant_user": (41, 1), "tenant_viewer": (11, 20),
        "no_roles": (2, 0),
    }  # fmt: skip
    assert set(pinned) <= set(CORE)
    for role, (core, module) in pinned.items():
        names = visible(role, TEN_MODULES)
        at = names.index("tools_explain")
        assert (at, len(names) - at - 1) == (core, module), role
    assert may("super_admin", "admin:access, role: super_admin")
