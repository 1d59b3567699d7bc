"""The guards of a tenant over REST, the two layers, and how fast a change holds."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.scaivault.catalogue import TOOLS
from tests.integration.scaivault.gateway import (
    GUARDS,
    OPEN,
    SECRET,
    audit_rows,
    forget,
    forget_guards,
    lines,
    put_guards,
    read_guards,
    rows,
    second_gateway,
    set_guards,
    vault_names,
)
from tests.waiting import until
from tests.world import World, start_world

FIRST = {
    "enabled": False,
    "read_only": True,
    "mask_values": True,
    "allowed_paths": None,
    "denied_paths": [],
    "tool_groups": None,
}


# -- REST ----------------------------------------------------------------------------------------


async def test_the_first_guards_are_closed(fresh: World) -> None:
    reply = await read_guards(fresh.as_("tenant_admin"))
    assert reply.status == 200
    assert reply.headers["etag"] == '"0"'
    data = reply.json["data"]
    assert data["tenant"] == FIRST
    assert data["effective"] == FIRST
    assert data["operator"] == {**FIRST, "enabled": True, "read_only": False, "mask_values": False}
    assert (data["version"], data["updated_by"], data["updated_at"]) == (0, None, None)


async def test_guards_are_replaced_whole_and_get_a_new_version(fresh: World) -> None:
    admin = fresh.as_("tenant_admin")
    body = {"enabled": True, "allowed_paths": ["shared/", "app"], "tool_groups": ["audit", "pki"]}
    reply = await put_guards(admin, body, **{"if-match": '"0"'})
    assert reply.status == 200
    assert reply.headers["etag"] == '"1"'
    tenant = reply.json["data"]["tenant"]
    assert tenant == {
        **FIRST,
        "enabled": True,
        "allowed_paths": ["app", "shared"],
        "tool_groups": ["pki", "audit"],
    }
    assert reply.json["data"]["updated_by"].startswith("usr_")
    again = await put_guards(admin, {"enabled": True}, **{"if-match": '"1"'})
    assert again.json["data"]["tenant"] == {**FIRST, "enabled": True}
    assert (await read_guards(admin)).headers["etag"] == '"2"'


async def test_a_change_needs_the_version_that_was_read(fresh: World) -> None:
    admin = fresh.as_("tenant_admin")
    missing = await put_guards(admin, OPEN, **{"if-match": None})
    assert (missing.status, missing.word) == (428, "PRECONDITION_REQUIRED")
    stale = await put_guards(admin, OPEN, **{"if-match": '"7"'})
    assert (stale.status, stale.word) == (412, "PRECONDITION_FAILED")
    assert (await read_guards(admin)).json["data"]["tenant"] == FIRST
    assert await rows(fresh, "SELECT 1 FROM scaivault_guard_profiles") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"allowed_paths": ["app", "App"]}, "allowed_paths"),
        ({"allowed_paths": ["/app"]}, "allowed_paths"),
        ({"denied_paths": ["a/../b"]}, "denied_paths"),
        ({"denied_paths": ["a"] * 201}, "denied_paths"),
        ({"denied_paths": None}, "denied_paths"),
        ({"denied_paths": "app"}, "denied_paths"),
        ({"allowed_paths": [1]}, "allowed_paths"),
        ({"tool_groups": ["everything"]}, "tool_groups"),
        ({"enabled": 1}, "enabled"),
        ({"readonly": True}, "readonly"),
    ],
)
async def test_what_cannot_be_read_is_refused_and_names_the_field(
    fresh: World, body: dict[str, Any], field: str
) -> None:
    reply = await put_guards(fresh.as_("tenant_admin"), body)
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")
    assert reply.json["error"]["details"][0]["field"] == field


@pytest.mark.parametrize("role", ["tenant_user", "tenant_viewer", "no_roles"])
async def test_only_who_manages_guards_sees_them(fresh: World, role: str) -> None:
    for reply in (await read_guards(fresh.as_(role)), await put_guards(fresh.as_(role), OPEN)):
        assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")
    assert (await read_guards(fresh.as_(None))).status == 401


async def test_each_tenant_has_guards_of_its_own(fresh: World) -> None:
    await set_guards(fresh.as_("tenant_admin"))
    other = await read_guards(fresh.as_("other_tenant_admin"))
    assert other.json["data"]["tenant"] == FIRST


async def test_a_caller_without_a_tenant_has_no_guards(fresh: World) -> None:
    reply = await read_guards(fresh.as_("super_admin"))
    assert (reply.status, reply.word) == (404, "NOT_FOUND")
    root = await fresh.person("super_admin")
    assert vault_names(await root.names()) == []
    assert (await root.call("scaivault_list_cas")).code == "MODULE_NOT_ENABLED"


async def test_a_change_leaves_an_audit_row_with_old_and_new(fresh: World) -> None:
    await set_guards(fresh.as_("tenant_admin"), denied_paths=["infra"])
    row = (await audit_rows(fresh, "scaivault_guards.update"))[-1]
    assert row["data"]["old"] == FIRST
    assert row["data"]["new"] == {**FIRST, **OPEN, "denied_paths": ["infra"]}
    assert (row["resource_type"], row["status"]) == ("scaivault_guards", "SUCCESS")


async def test_without_the_module_there_is_no_route_to_its_guards(
    database_url: str, redis_url: str
) -> None:
    async with start_world(database_url, redis_url) as world:
        reply = await world.as_("tenant_admin").get(GUARDS)
        assert (reply.status, reply.word) == (404, "NOT_FOUND")
        assert (await world.as_("tenant_user").get(GUARDS)).status == 403
        admin = await world.person("tenant_admin")
        assert vault_names(await admin.names()) == []
        assert (await admin.call("scaivault_list_cas")).code == "TOOL_NOT_FOUND"


# -- two layers ----------------------------------------------------------------------------------


async def test_g60_what_both_layers_allow_is_allowed(database_url: str, redis_url: str) -> None:
    settings = {"SCAIVAULT_ALLOWED_PATHS": "app, shared"}
    async with start_world(database_url, redis_url, vault=True, **settings) as world:
        await set_guards(world.as_("tenant_admin"), allowed_paths=["shared/x", "infra"])
        admin = await world.person("tenant_admin")
        written = {"path": "shared/x/k", "data": {"a": "b"}}
        assert not (await admin.call("scaivault_write_secret", written)).is_error
        assert not (await admin.call("scaivault_read_secret", {"path": "shared/x/k"})).is_error
        forget(world)
        refused = await admin.call("scaivault_read_secret", {"path": "app/k"})
        assert refused.code == "PATH_DENIED"
        assert lines(world) == []
        layers = (await read_guards(world.as_("tenant_admin"))).json["data"]
        assert layers["operator"]["allowed_paths"] == ["app", "shared"]
        assert layers["tenant"]["allowed_paths"] == ["infra", "shared/x"]
        assert layers["effective"]["allowed_paths"] == ["shared/x"]


async def test_g61_layers_that_do_not_meet_leave_nothing(database_url: str, redis_url: str) -> None:
    async with start_world(
        database_url, redis_url, vault=True, SCAIVAULT_ALLOWED_PATHS="app"
    ) as world:
        await set_guards(world.as_("tenant_admin"), allowed_paths=["infra"])
        admin = await world.person("tenant_admin")
        for path in ("app", "app/k", "infra", "infra/k", "other"):
            refused = await admin.call("scaivault_read_secret", {"path": path})
            assert refused.code == "PATH_DENIED", path
        assert (await admin.call("scaivault_list_secrets")).code == "PATH_DENIED"
        assert lines(world) == []


async def test_g62_a_tenant_loosens_nothing(database_url: str, redis_url: str) -> None:
    settings = {"SCAIVAULT_READ_ONLY": "true", "SCAIVAULT_MASK_VALUES": "yes"}
    async with start_world(database_url, redis_url, vault=True, **settings) as world:
        await set_guards(world.as_("tenant_admin"))
        admin = await world.person("tenant_admin")
        refused = await admin.call("scaivault_write_secret", {"path": "a/b", "data": {"k": "v"}})
        assert refused.code == "READ_ONLY"
        assert lines(world) == []
        value = (await admin.call("scaivault_read_secret", {"path": SECRET})).value
        assert value["data"] == {"key": "\u2022" * 6}


async def test_g63_guards_that_cannot_be_loaded_refuse_every_call(fresh: World) -> None:
    await set_guards(fresh.as_("tenant_admin"))
    admin = await fresh.person("tenant_admin")
    assert vault_names(await admin.names())
    forget(fresh)
    await rows(fresh, "UPDATE scaivault_guard_profiles SET profile = '{\"later\": 1}' WHERE true")
    forget_guards(fresh)
    assert vault_names(await admin.names()) == []
    for name in ("scaivault_read_secret", "scaivault_list_cas", "scaivault_write_secret"):
        assert (await admin.call(name, {"path": SECRET})).code == "GUARDS_UNAVAILABLE"
    assert lines(fresh) == []
    reply = await read_guards(fresh.as_("tenant_admin"))
    assert (reply.status, reply.word) == (503, "GUARDS_UNAVAILABLE")
    reply = await put_guards(fresh.as_("tenant_admin"), OPEN)
    assert (reply.status, reply.word) == (503, "GUARDS_UNAVAILABLE")


# -- freshness -----------------------------------------------------------------------------------


async def test_a_change_at_one_gateway_holds_at_the_other_one_at_once(
    fresh: World, database_url: str, redis_url: str
) -> None:
    manager = fresh.as_("tenant_admin")
    await set_guards(manager)
    admin = await fresh.person("tenant_admin")
    async with second_gateway(fresh, database_url, redis_url) as other:
        there = other.with_token(admin.token)
        assert len(vault_names(await there.names())) == len(TOOLS)
        assert not (await there.call("scaivault_read_secret", {"path": SECRET})).is_error
        assert other.app.services is not None
        heard: list[Any] = []
        other.app.services.followers.append(heard.append)
        await set_guards(manager, denied_paths=["integrations"], read_only=True)
        await _until_heard(heard)
        refused = await there.call("scaivault_read_secret", {"path": SECRET})
        assert refused.code == "PATH_DENIED"
        assert len(vault_names(await there.names())) == 40
        heard.clear()
        await set_guards(manager, enabled=False)
        await _until_heard(heard)
        assert vault_names(await there.names()) == []


async def _until_heard(heard: list[Any]) -> None:
    await until(lambda: [notice for notice in heard if notice.tenant_id])
