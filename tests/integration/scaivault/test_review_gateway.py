"""The module under attack: spellings of denied paths, foreign cursors, races, stores away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from scaimcp.scaivault.catalogue import TOOLS
from tests.integration.relay import Relay
from tests.integration.scaivault.gateway import (
    GUARDS,
    OPEN,
    SECRET,
    forget,
    forget_guards,
    lines,
    put_guards,
    read_guards,
    set_guards,
    vault_names,
)
from tests.world import World, start_world

SPELLINGS = (
    "infra",
    "infra/",
    "infra/db/primary/credentials",
    "INFRA/db",
    "app/../infra",
    "app/%2e%2e/infra",
    "infra%2fdb",
    "./infra",
    "/infra",
    "infra//db",
    "infra\\db",
    "infra\n",
    "infra\x00",
    "in\u200bfra",
    "\uff49nfra",
    "infra/*",
    "infra/**",
    "infr?",
    "i*",
    "*",
    "**",
    "**/primary/credentials",
    "app/**/../infra",
)
REFUSALS = {"PATH_DENIED", "INVALID_PATH", "INVALID_ARGUMENTS"}
BACKEND = {"name": "b", "type": "hashicorp-vault", "mode": "proxy"}


def naming(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every tool that takes a path, with arguments that name it."""
    rule = {"path_pattern": path, "permissions": ["read"]}
    settings = {
        "plugin": "redis",
        "connection_url": "redis://db",
        "root_credentials_path": "app/root",
        "Other_PATH": path,
    }
    yield "read_secret", {"path": path}
    yield "write_secret", {"path": path, "data": {"k": "v"}}
    yield "delete_secret", {"path": path, "permanent": True, "confirm": path}
    yield "list_secrets", {"prefix": path}
    yield "get_secret_versions", {"path": path}
    yield "rotate_secret", {"path": path}
    yield "rotate_secret", {"path": path, "rotation_policy_id": "rot_1"}
    yield "check_expiration", {"prefix": path}
    yield "create_policy", {"name": "p", "rules": [{**rule, "path_pattern": "app/**"}, rule]}
    yield "test_policy", {"identity_id": "sa:x", "path": path, "permission": "read"}
    yield "create_dynamic_engine", {"name": "e", "type": "database", "config": settings}
    mapping = {"app/**": "x", path: "y"}
    yield "create_federation_backend", {**BACKEND, "config": {}, "path_mapping": mapping}
    config = {"auth_config_path": path}
    mapping = {"app/**": "x"}
    yield "create_federation_backend", {**BACKEND, "config": config, "path_mapping": mapping}
    yield "proxy_read", {"backend_id": "fed_1", "path": path}
    subscription = {"events": ["secret.updated"], "delivery": {"type": "polling"}}
    yield "create_subscription", {"name": "s", "paths": ["app/**", path], **subscription}
    yield "query_audit", {"path_prefix": path}
    yield "secret_audit_trail", {"path": path}
    yield "find_unauthorized_access", {"path_prefix": path}


def test_every_tool_that_takes_a_path_is_attacked() -> None:
    kinds = {"path", "prefix", "glob"}
    taking = {
        record.name
        for record in TOOLS
        if any(check.kind in kinds and not check.is_pre_read for check in record.checks)
    }
    assert {f"scaivault_{name}" for name, _ in naming("x")} == taking


@pytest.mark.parametrize(
    "guards", [{"denied_paths": ["infra"]}, {"allowed_paths": ["app"]}], ids=["denied", "allowed"]
)
async def test_no_spelling_of_a_path_outside_is_sent(
    fresh: World, guards: dict[str, list[str]]
) -> None:
    await set_guards(fresh.as_("tenant_admin"), **guards)
    admin = await fresh.person("tenant_admin")
    for spelling in SPELLINGS:
        for tool, arguments in naming(spelling):
            called = await admin.call(f"scaivault_{tool}", arguments)
            assert called.code in REFUSALS, (tool, spelling)
            assert spelling not in called.error["message"] or len(spelling) < 2, (tool, spelling)
    assert lines(fresh) == []


async def test_a_cursor_fits_neither_another_tenant_nor_narrower_guards(fresh: World) -> None:
    manager = fresh.as_("tenant_admin")
    await set_guards(manager)
    await set_guards(fresh.as_("other_tenant_admin"))
    admin = await fresh.person("tenant_admin")
    page = (await admin.call("scaivault_list_secrets", {"limit": 1})).value
    again = {"limit": 200, "cursor": page["next_cursor"]}
    other = await fresh.person("other_tenant_admin")
    assert (await other.call("scaivault_list_secrets", again)).code == "INVALID_ARGUMENTS"
    await set_guards(manager, denied_paths=["integrations", "infra"])
    shown = (await admin.call("scaivault_list_secrets", again)).value["items"]
    assert [row["path"] for row in shown] == ["reports/mailer"]
    await set_guards(manager, allowed_paths=["reports"])
    assert (await admin.call("scaivault_list_secrets", again)).code == "INVALID_ARGUMENTS"


async def test_of_many_changes_to_one_version_one_is_taken(fresh: World) -> None:
    manager = fresh.as_("tenant_admin")
    replies = await asyncio.gather(
        *(
            put_guards(manager, {**OPEN, "denied_paths": [f"x{number}"]}, **{"if-match": '"0"'})
            for number in range(8)
        )
    )
    assert sorted(reply.status for reply in replies) == [200, *[412] * 7]
    (taken,) = [reply.json["data"]["tenant"] for reply in replies if reply.status == 200]
    assert (await read_guards(manager)).json["data"]["tenant"] == taken


async def test_an_end_at_the_begin_of_time_is_refused(fresh: World) -> None:
    await set_guards(fresh.as_("tenant_admin"))
    admin = await fresh.person("tenant_admin")
    for end in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"):
        called = await admin.call("scaivault_query_audit", {"to": end})
        assert called.code == "INVALID_ARGUMENTS"
    assert lines(fresh) == []


async def test_without_redis_a_change_is_taken_and_holds_at_once_where_it_was_made(
    database_url: str, redis_url: str
) -> None:
    async with (
        Relay(redis_url) as redis,
        start_world(database_url, redis.relayed, vault=True) as world,
    ):
        await set_guards(world.as_("tenant_admin"))
        admin = await world.person("tenant_admin")
        assert not (await admin.call("scaivault_read_secret", {"path": SECRET})).is_error
        await redis.shut()
        await set_guards(world.as_("tenant_admin"), denied_paths=["integrations"])
        refused = await admin.call("scaivault_read_secret", {"path": SECRET})
        assert refused.code == "PATH_DENIED"


async def test_without_postgresql_nothing_is_called_and_nothing_is_believed(
    database_url: str, redis_url: str
) -> None:
    async with (
        Relay(database_url) as database,
        start_world(database.relayed, redis_url, vault=True) as world,
    ):
        await set_guards(world.as_("tenant_admin"))
        admin = await world.person("tenant_admin")
        assert not (await admin.call("scaivault_read_secret", {"path": SECRET})).is_error
        await database.shut()
        forget_guards(world)
        forget(world)
        refused = await admin.call("scaivault_read_secret", {"path": SECRET})
        assert refused.code == "GUARDS_UNAVAILABLE"
        assert refused.error["retry_after"] == 5
        assert vault_names(await admin.names()) == []
        read = await admin.rpc("resources/read", {"uri": "scaivault://policies/pol_everything"})
        assert read.word == "GUARDS_UNAVAILABLE"
        assert lines(world) == []
        manager = world.as_("tenant_admin")
        assert (await manager.get(GUARDS)).status == 503
        assert (await put_guards(manager, OPEN)).status == 503


async def test_an_engine_that_is_no_database_is_created_without_a_connection(fresh: World) -> None:
    await set_guards(fresh.as_("tenant_admin"))
    admin = await fresh.person("tenant_admin")
    config = {"region": "eu-west-1", "root_credentials_path": SECRET}
    engine = {"name": "cloud", "type": "aws", "config": config}
    created = (await admin.call("scaivault_create_dynamic_engine", engine)).value
    assert (created["type"], created["config"]) == ("aws", config)
    # A database's plugin and URL are for ScaiVault to ask for.
    database = {**engine, "name": "pg", "type": "database"}
    called = await admin.call("scaivault_create_dynamic_engine", database)
    assert called.code == "invalid_config"
