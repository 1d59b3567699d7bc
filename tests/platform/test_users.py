"""Users, groups, role mappings and custom roles."""

from typing import Any

import pytest

from tests.platform.conftest import World

USERS, ROLES, MAPPINGS = "/v1/users", "/v1/iam/custom-roles", "/v1/role-mappings"
ROLE = {"name": "Readers", "slug": "readers"}


async def role(world: World, **changes: Any) -> Any:
    return (await world.as_("tenant_admin").post(ROLES, {**ROLE, **changes})).data


async def permissions(world: World, name: str) -> tuple[set[str], set[str]]:
    me = (await world.as_(name).get("/v1/me")).data
    return set(me["permissions"]), set(me["module_permissions"])


def path_of(world: World, name: str, further: str = "") -> str:
    return f"{USERS}/{world.user_id(name)}{further}"


async def test_users_are_listed_by_status_and_page(world: World) -> None:
    admin = world.as_("tenant_admin")
    users = (await admin.get(USERS)).data["items"]
    assert {user["tenant_id"] for user in users} == {world.tenant_id("acme")}
    assert set(users[0]) == {
        "id",
        "email",
        "display_name",
        "status",
        "roles",
        "custom_role_ids",
        "tenant_id",
        "last_login_at",
        "created_at",
    }
    out = (await admin.get(f"{USERS}?status=suspended")).data["items"]
    assert [user["email"] for user in out] == ["suspended@acme.test"]
    page = await admin.get(f"{USERS}?limit=2")
    cursor = page.json["pagination"]["next_cursor"]
    rest = (await admin.get(f"{USERS}?cursor={cursor}")).data["items"]
    assert [*page.data["items"], *rest] == users
    assert (await world.as_("tenant_user").get(USERS)).code == "AUTHZ_PERMISSION_DENIED"


@pytest.mark.parametrize(
    ("name", "seen", "unseen"),
    [
        ("tenant_admin", "tenant_user", "other_tenant_user"),
        ("tenant_admin", "tenant_user", "partner_viewer"),
        ("partner_admin", "tenant_user", "other_tenant_user"),
        ("partner_admin", "partner_viewer", "other_partner_viewer"),
        ("partner_admin", "partner_viewer", "super_admin"),
        ("super_admin", "other_partner_viewer", None),
    ],
)
async def test_users_stay_within_the_walls(
    world: World, name: str, seen: str, unseen: str | None
) -> None:
    caller = world.as_(name)
    assert (await caller.get(path_of(world, seen))).status == 200
    if unseen is not None:
        path = path_of(world, unseen)
        assert (await caller.get(path)).code == "USER_NOT_FOUND"
        assert (await caller.delete(path)).code == "USER_NOT_FOUND"
        assert (await caller.put(f"{path}/roles", {"roles": []})).code == "USER_NOT_FOUND"
        listed = (await caller.get(USERS)).data["items"]
        assert world.user_id(unseen) not in [user["id"] for user in listed]


async def test_a_deleted_user_is_gone_with_keys_and_memberships(world: World) -> None:
    admin, member = world.as_("tenant_admin"), world.as_("group_member")
    path = path_of(world, "group_member")
    assert (await member.get("/v1/me")).status == 200
    assert (await admin.delete(path)).status == 204
    assert (await member.get("/v1/me")).status == 401
    assert (await admin.get(path)).code == "USER_NOT_FOUND"
    assert world.rows("groups")[0]["member_ids"] == []
    own = await admin.delete(path_of(world, "tenant_admin"))
    assert (own.status, own.code) == (409, "CONFLICT")
    last = world.rows("audit")[-1]
    assert (last["action"], last["status"]) == ("user.delete", "FAILURE")


async def test_roles_are_replaced_and_hold_at_once(world: World) -> None:
    admin = world.as_("tenant_admin")
    path = path_of(world, "tenant_user", "/roles")
    writers = world.rows("custom_roles")[0]["id"]
    body = {"roles": ["tenant_viewer", "tenant_viewer"], "custom_role_ids": [writers]}
    changed = (await admin.put(path, body)).data
    assert (changed["roles"], changed["custom_role_ids"]) == (["tenant_viewer"], [writers])
    core, modules = await permissions(world, "tenant_user")
    assert core == {"models:list", "models:use", "modules:use", "accounting:view_own"}
    assert "demo-notes:notes.write" in modules
    kept = (await admin.put(path, {"roles": []})).data
    assert (kept["roles"], kept["custom_role_ids"]) == ([], [writers])
    row = world.rows("audit")[0]
    assert (row["action"], row["resource_id"]) == ("user.role_update", world.user_id("tenant_user"))


async def test_nobody_grants_above_their_own_level(world: World) -> None:
    admin, partner = world.as_("tenant_admin"), world.as_("partner_admin")
    path = path_of(world, "tenant_user", "/roles")
    refused = await admin.put(path, {"roles": ["tenant_user", "partner_viewer"]})
    assert (refused.status, refused.code) == (403, "AUTHZ_PERMISSION_DENIED")
    assert (await partner.put(path, {"roles": ["super_admin"]})).status == 403
    assert (await partner.put(path, {"roles": ["partner_admin"]})).status == 200
    # Who was raised above is out of reach for those below.
    assert (await admin.put(path, {"roles": []})).status == 403
    assert (await admin.delete(path_of(world, "tenant_user"))).status == 403
    module = path_of(world, "tenant_user", "/module-permissions")
    assert (await admin.put(module, {"permissions": []})).status == 403


async def test_roles_of_an_unknown_kind_are_refused(world: World) -> None:
    admin = world.as_("tenant_admin")
    path = path_of(world, "tenant_user", "/roles")
    assert (await admin.put(path, {"roles": ["king"]})).faults == {"roles[0]"}
    assert (await admin.put(path)).faults == {"roles"}
    unknown = await admin.put(path, {"roles": [], "custom_role_ids": ["crl_none"]})
    assert unknown.code == "CUSTOM_ROLE_NOT_FOUND"
    writers = world.rows("custom_roles")[0]["id"]
    body = {"roles": [], "custom_role_ids": [writers]}
    root = world.as_("super_admin")
    foreign = await root.put(path_of(world, "other_tenant_user", "/roles"), body)
    assert foreign.code == "CUSTOM_ROLE_NOT_FOUND"


async def test_module_permissions_are_replaced(world: World) -> None:
    admin = world.as_("tenant_admin")
    path = path_of(world, "tenant_user", "/module-permissions")
    assert (await admin.get(path)).data["permissions"] == []
    wanted = ["scaimatrix:search", "scaibot:bots:read", "scaiqueue:*", "other-module:view"]
    answer = await admin.put(path, {"permissions": [*wanted, "scaiqueue:*"]})
    assert answer.data == {"user_id": world.user_id("tenant_user"), "permissions": wanted}
    assert (await admin.get(path)).data["permissions"] == wanted
    assert set(wanted) <= (await permissions(world, "tenant_user"))[1]
    wrong = ["*", "models:use", "scaimatrix:fly", "nothing", "scaimatrix:search"]
    faults = (await admin.put(path, {"permissions": wrong})).faults
    assert faults == {f"permissions[{number}]" for number in range(4)}
    assert (await admin.put(path, {"permissions": []})).data["permissions"] == []
    assert world.rows("audit")[-1]["action"] == "user.module_permission_update"


async def test_groups_are_read(world: World) -> None:
    admin = world.as_("tenant_admin")
    (group,) = (await admin.get("/v1/groups")).data["items"]
    assert (group["name"], group["external_id"], group["member_count"]) == (
        "Engineering",
        "engineering",
        1,
    )
    assert set(group) == {"id", "name", "external_id", "member_count", "synced_at"}
    path = f"/v1/groups/{group['id']}"
    detail = (await admin.get(path)).data
    assert detail == {**group, "member_ids": [world.user_id("group_member")]}
    other = world.as_("other_tenant_admin")
    assert (await other.get(path)).code == "GROUP_NOT_FOUND"
    assert (await other.get("/v1/groups")).data["items"] == []
    assert (await admin.post("/v1/groups", {})).code == "METHOD_NOT_ALLOWED"


async def test_a_mapping_gives_the_groups_members_a_role(world: World) -> None:
    admin = world.as_("tenant_admin")
    group = world.rows("groups")[0]["id"]
    made = (await admin.post(MAPPINGS, {"group_id": group, "role": "tenant_admin"})).data
    assert made["id"].startswith("rmp_")
    assert (made["auto_revoke"], made["custom_role_id"]) == (True, None)
    assert "webhooks:manage" in (await permissions(world, "group_member"))[0]
    assert len((await admin.get(MAPPINGS)).data["items"]) == 2
    path = f"{MAPPINGS}/{made['id']}"
    other = world.as_("other_tenant_admin")
    assert (await other.delete(path)).code == "ROLE_MAPPING_NOT_FOUND"
    assert (await other.get(MAPPINGS)).data["items"] == []
    assert (await admin.delete(path)).status == 204
    assert "webhooks:manage" not in (await permissions(world, "group_member"))[0]
    assert [row["action"] for row in world.rows("audit")] == [
        "role_mapping.create",
        "role_mapping.delete",
        "role_mapping.delete",
    ]


async def test_a_mapping_names_one_role_within_reach(world: World) -> None:
    admin, other = world.as_("tenant_admin"), world.as_("other_tenant_admin")
    group, writers = world.rows("groups")[0]["id"], world.rows("custom_roles")[0]["id"]
    both = {"group_id": group, "role": "tenant_user", "custom_role_id": writers}
    assert (await admin.post(MAPPINGS, both)).faults == {"role"}
    assert (await admin.post(MAPPINGS, {"group_id": group})).faults == {"role"}
    body = {"group_id": group, "custom_role_id": writers, "auto_revoke": False}
    assert (await admin.post(MAPPINGS, body)).data["auto_revoke"] is False
    again = await admin.post(MAPPINGS, body)
    assert (again.status, again.code) == (409, "CONFLICT")
    assert (await other.post(MAPPINGS, body)).code == "GROUP_NOT_FOUND"
    unknown = {"group_id": group, "custom_role_id": "crl_none"}
    assert (await admin.post(MAPPINGS, unknown)).code == "CUSTOM_ROLE_NOT_FOUND"
    above = {"group_id": group, "role": "partner_admin"}
    assert (await admin.post(MAPPINGS, above)).status == 403


async def test_a_custom_role_is_created_changed_and_deleted(world: World) -> None:
    admin = world.as_("tenant_admin")
    made = await role(
        world, core_permissions=["models:use"], module_permissions=["scaimatrix:search"]
    )
    assert made["id"].startswith("crl_")
    assert (made["tenant_id"], made["created_by"]) == (
        world.tenant_id("acme"),
        world.user_id("tenant_admin"),
    )
    user = path_of(world, "no_roles", "/roles")
    await admin.put(user, {"roles": [], "custom_role_ids": [made["id"]]})
    group = world.rows("groups")[0]["id"]
    await admin.post(MAPPINGS, {"group_id": group, "custom_role_id": made["id"]})
    assert await permissions(world, "no_roles") == ({"models:use"}, {"scaimatrix:search"})
    path = f"{ROLES}/{made['id']}"
    twice = {"core_permissions": ["models:list", "models:list"], "description": "d"}
    changed = (await admin.put(path, twice)).data
    assert (changed["core_permissions"], changed["module_permissions"]) == (
        ["models:list"],
        ["scaimatrix:search"],
    )
    assert (await permissions(world, "no_roles"))[0] == {"models:list"}
    assert (await admin.get(path)).data == changed
    assert (await admin.delete(path)).status == 204
    assert await permissions(world, "no_roles") == (set(), set())
    assert len(world.rows("role_mappings")) == 1
    assert (await admin.get(path)).code == "CUSTOM_ROLE_NOT_FOUND"


async def test_a_custom_role_has_a_slug_of_its_own(world: World) -> None:
    admin = world.as_("tenant_admin")
    made = await role(world)
    again = await admin.post(ROLES, ROLE)
    assert (again.status, again.code) == (409, "SLUG_CONFLICT")
    assert (await world.as_("other_tenant_admin").post(ROLES, ROLE)).status == 200
    path = f"{ROLES}/{made['id']}"
    assert (await admin.put(path, {"slug": "x"})).faults == {"slug"}
    listed = (await admin.get(ROLES)).data["items"]
    assert [row["slug"] for row in listed] == ["writers", "readers"]
    assert (await world.as_("other_tenant_admin").get(path)).code == "CUSTOM_ROLE_NOT_FOUND"
    assert (await world.as_("other_tenant_admin").delete(path)).status == 404
    homeless = await world.as_("partner_admin").post(ROLES, {**ROLE, "slug": "p"})
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_a_custom_role_holds_known_permissions_its_maker_holds(world: World) -> None:
    admin = world.as_("tenant_admin")
    wrong = {
        **ROLE,
        "core_permissions": ["models:use", "fly"],
        "module_permissions": ["models:use"],
    }
    faults = (await admin.post(ROLES, wrong)).faults
    assert faults == {"core_permissions[1]", "module_permissions[0]"}
    above = await admin.post(ROLES, {**ROLE, "core_permissions": ["models:manage"]})
    assert (above.status, above.code) == (403, "AUTHZ_PERMISSION_DENIED")
    root_made = world.rows("custom_roles")[0]["id"]
    root = world.as_("super_admin")
    await root.put(f"{ROLES}/{root_made}", {"core_permissions": ["models:manage"]})
    user = path_of(world, "tenant_user", "/roles")
    body = {"roles": [], "custom_role_ids": [root_made]}
    assert (await admin.put(user, body)).code == "AUTHZ_PERMISSION_DENIED"
    group = world.rows("groups")[0]["id"]
    mapping = await admin.post(MAPPINGS, {"group_id": group, "custom_role_id": root_made})
    assert mapping.code == "AUTHZ_PERMISSION_DENIED"
