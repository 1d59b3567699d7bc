"""Bearers, permissions and /v1/me over a socket."""

import hashlib
from typing import Any

import pytest

from scaimcp.dev.platform import SEED_LOGINS, api_key
from scaimcp.dev.platform.permissions import CORE_PERMISSIONS, ROLE_CORE
from tests.platform.conftest import Starter, World

ME = "/v1/me"


async def me(world: World, name: str) -> Any:
    return (await world.as_(name).get(ME)).data


def test_a_key_can_be_computed_from_the_login() -> None:
    digest = hashlib.sha256(b"standin:user@acme.test").hexdigest()
    assert api_key("user@acme.test") == f"sgk_{digest[:40]}"


async def test_me_has_the_whole_form_for_a_key(world: World) -> None:
    data = await me(world, "tenant_user")
    assert set(data) == {
        "user",
        "tenant",
        "partner",
        "roles",
        "custom_roles",
        "groups",
        "permissions",
        "module_permissions",
        "auth",
    }
    assert data["user"]["email"] == SEED_LOGINS["tenant_user"]
    assert data["user"]["status"] == "active"
    assert data["tenant"]["slug"] == "acme"
    assert data["partner"]["slug"] == "north"
    assert data["roles"] == ["tenant_user"]
    assert data["permissions"] == list(ROLE_CORE["tenant_user"])
    assert data["module_permissions"] == ["scaivault:read"]
    assert data["auth"]["method"] == "api_key"
    assert data["auth"]["subject_type"] == "user"
    assert data["auth"]["api_key"]["scopes"] == ["*"]
    assert "hash" not in data["auth"]["api_key"]
    assert (await world.as_("tenant_user").get("/v1/auth/me")).data == data


async def test_me_names_the_times_of_a_token(world: World) -> None:
    data = (await world.with_bearer(await world.token("tenant_user", ttl=60)).get(ME)).data
    assert data["auth"]["method"] == "jwt"
    assert data["auth"]["api_key"] is None
    assert data["auth"]["issued_at"] < data["auth"]["expires_at"]
    assert data["permissions"] == list(ROLE_CORE["tenant_user"])


@pytest.mark.parametrize(
    ("name", "tenant", "partner", "modules"),
    [
        ("super_admin", None, None, ["*"]),
        ("partner_admin", None, "north", ["*"]),
        ("partner_viewer", None, "north", []),
        ("tenant_admin", "acme", "north", ["*"]),
        ("other_tenant_admin", "globex", "south", ["*"]),
    ],
)
async def test_every_role_has_its_home_and_its_bundle(
    world: World, name: str, tenant: str | None, partner: str | None, modules: list[str]
) -> None:
    data = await me(world, name)
    role = name.removeprefix("other_")
    assert data["roles"] == [role]
    assert (data["tenant"] or {}).get("slug") == tenant
    assert (data["partner"] or {}).get("slug") == partner
    assert set(data["permissions"]) == set(ROLE_CORE[role])
    assert data["module_permissions"] == modules


async def test_a_user_without_roles_holds_nothing(world: World) -> None:
    data = await me(world, "no_roles")
    assert (data["roles"], data["permissions"], data["module_permissions"]) == ([], [], [])


async def test_own_module_permissions_are_added(world: World) -> None:
    data = await me(world, "extra_permissions")
    assert "scaimatrix:search" in data["module_permissions"]
    assert "demo-notes:notes.write" not in data["module_permissions"]


async def test_a_custom_role_adds_its_permissions(world: World) -> None:
    data = await me(world, "custom_role")
    assert data["roles"] == ["tenant_viewer"]
    assert [role["slug"] for role in data["custom_roles"]] == ["writers"]
    assert "models:use" in data["permissions"]
    assert "demo-notes:notes.write" in data["module_permissions"]


async def test_a_group_mapping_gives_its_role(world: World) -> None:
    data = await me(world, "group_member")
    assert data["roles"] == ["tenant_user"]
    assert len(data["groups"]) == 1
    assert "models:use" in data["permissions"]


async def test_a_keys_scopes_narrow_its_user(world: World) -> None:
    data = await me(world, "scoped_key")
    assert data["permissions"] == ["models:list"]
    assert data["module_permissions"] == []


async def test_a_client_token_has_the_rights_of_its_role(world: World) -> None:
    token = await world.token("tenant_user", client_id="cli_7", role="tenant_viewer")
    data = (await world.with_bearer(token).get(ME)).data
    assert data["user"]["id"] == "cli_7"
    assert data["auth"]["subject_type"] == "client"
    assert data["tenant"]["slug"] == "acme"
    assert set(data["permissions"]) == set(ROLE_CORE["tenant_viewer"])
    nobody = await world.token("tenant_user", client_id="cli_8", role=None)
    assert (await world.with_bearer(nobody).get(ME)).data["permissions"] == []


@pytest.mark.parametrize("header", [None, "", "Basic abc", "Bearer", "Bearer "])
async def test_without_a_bearer_the_token_is_missing(world: World, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = await world.anyone.get(ME, headers=headers)
    assert (answer.status, answer.code) == (401, "AUTH_TOKEN_MISSING")


@pytest.mark.parametrize("bearer", ["sgk_" + "x" * 40, "a.b.c", "nonsense"])
async def test_an_unknown_bearer_is_invalid(world: World, bearer: str) -> None:
    answer = await world.with_bearer(bearer).get(ME)
    assert (answer.status, answer.code) == (401, "AUTH_TOKEN_INVALID")


async def test_a_badly_signed_or_expired_token_is_invalid(world: World) -> None:
    for wanted in ({"bad_signature": True}, {"ttl": -1}):
        answer = await world.with_bearer(await world.token("tenant_user", **wanted)).get(ME)
        assert (answer.status, answer.code) == (401, "AUTH_TOKEN_INVALID")


async def test_a_token_expires_with_the_clock(world: World) -> None:
    caller = world.with_bearer(await world.token("tenant_user", ttl=60))
    assert (await caller.get(ME)).status == 200
    await world.control.post("/clock", {"seconds": 61})
    assert (await caller.get(ME)).code == "AUTH_TOKEN_INVALID"


async def test_a_token_of_a_deleted_user_is_invalid(world: World) -> None:
    caller = world.with_bearer(await world.token("tenant_user"))
    world.served.platform.store["users"].delete(world.user_id("tenant_user"))
    assert (await caller.get(ME)).code == "AUTH_TOKEN_INVALID"
    assert (await world.as_("tenant_user").get(ME)).code == "AUTH_TOKEN_INVALID"


async def test_a_suspended_user_gets_401(world: World) -> None:
    answer = await world.as_("suspended_user").get(ME)
    assert (answer.status, answer.code) == (401, "AUTH_TOKEN_INVALID")


@pytest.mark.parametrize("home", ["tenants", "partners"])
async def test_a_suspended_tenant_or_partner_gets_403_at_once(world: World, home: str) -> None:
    caller = world.as_("tenant_user")
    data = (await caller.get(ME)).data
    row_id = data[home.removesuffix("s")]["id"]
    path = f"/rows/{home}/{row_id}"
    assert (await world.control.patch(path, {"status": "suspended"})).status == 200
    answer = await caller.get(ME)
    assert (answer.status, answer.code) == (403, "AUTHZ_PERMISSION_DENIED")


async def test_a_use_of_a_key_is_noted(world: World) -> None:
    await me(world, "tenant_user")
    keys = (await world.as_("tenant_user").get("/v1/api-keys")).data["items"]
    assert keys[0]["last_used_at"] is not None


async def test_discovery_and_key_set_need_no_bearer(world: World) -> None:
    data = (await world.anyone.get("/v1/scailink/auth/discover")).data
    assert data["issuer"] == world.served.url
    assert data["client_id"] == data["audience"]
    keys = await world.anyone.get(data["jwks_uri"].removeprefix(world.served.url))
    assert keys.json["keys"][0]["alg"] == "RS256"
    answer = await world.control.post("/tokens", {"login": SEED_LOGINS["tenant_user"]})
    assert answer.json["claims"]["iss"] == data["issuer"]
    assert answer.json["claims"]["aud"] == data["audience"]


async def test_a_fixed_public_url_is_the_issuer(start: Starter) -> None:
    world = await start(public_url="https://platform.test")
    data = (await world.anyone.get("/v1/scailink/auth/discover")).data
    assert data["issuer"] == "https://platform.test"
    minted = await world.control.post("/tokens", {"login": SEED_LOGINS["tenant_user"]})
    assert minted.json["claims"]["iss"] == "https://platform.test"


@pytest.mark.parametrize("path", ["/health", "/health/ready"])
async def test_probes_need_no_bearer(world: World, path: str) -> None:
    answer = await world.anyone.get(path)
    assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_me_leaves_out_what_a_fault_names(world: World) -> None:
    rule = {"path": ME, "me_omit": ["permissions", "auth.api_key", "nothing.at.all"]}
    await world.control.put("/faults", [rule])
    data = await me(world, "tenant_user")
    assert "permissions" not in data
    assert "api_key" not in data["auth"]
    assert "module_permissions" in data


async def test_me_is_flat_when_a_fault_says_so(world: World) -> None:
    await world.control.put("/faults", [{"path": ME, "me_flat": True}])
    data = await me(world, "tenant_user")
    assert data == {
        "id": world.user_id("tenant_user"),
        "email": SEED_LOGINS["tenant_user"],
        "tenant_id": world.tenant_id("acme"),
        "partner_id": data["partner_id"],
        "name": "Tenant user",
    }


async def test_a_full_cache_of_callers_is_emptied(world: World, start: Starter) -> None:
    auth = world.served.platform.auth
    await me(world, "tenant_user")
    known = auth._known
    principal = next(iter(known.values()))
    known.update({str(n): principal for n in range(10_001)})
    await me(world, "tenant_user")
    assert len(known) == 1


async def test_every_core_permission_belongs_to_the_super_admin(world: World) -> None:
    assert (await me(world, "super_admin"))["permissions"] == list(CORE_PERMISSIONS)
