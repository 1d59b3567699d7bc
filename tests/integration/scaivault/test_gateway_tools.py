"""The module in the gateway: who is offered which tools, and what calls may do."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.bootstrap import open_services
from scaimcp.dev.vault.faults import Fault
from scaimcp.errors import SettingsError
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.settings import load
from tests.integration.scaivault.gateway import (
    SECRET,
    audit_rows,
    hashed,
    lines,
    sent,
    set_guards,
    vault_names,
)
from tests.world import Client, World, gateway_environment, start_world

PUBLISHED = [record.name for record in TOOLS]
READ_ONES = [record.name for record in TOOLS if record.tool_class == "read"]


async def test_a_tenant_that_has_not_enabled_the_module_sees_none_of_it(
    database_url: str, redis_url: str
) -> None:
    async with start_world(database_url, redis_url, vault=True) as world:
        admin = await world.person("other_tenant_admin")
        assert vault_names(await admin.names()) == []
        called = await admin.call("scaivault_read_secret", {"path": SECRET})
        assert called.code == "MODULE_NOT_ENABLED"
        assert lines(world) == []


async def test_an_administrator_is_offered_all_tools_in_published_order(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    names = await admin.names()
    assert vault_names(names) == PUBLISHED
    assert names.index(PUBLISHED[0]) > names.index("tools_explain")


async def test_a_user_is_offered_what_scaivault_read_opens(opened: World) -> None:
    user = await opened.person("tenant_user")
    expected = [record.name for record in TOOLS if record.permission == "read"]
    assert len(expected) == 33
    assert vault_names(await user.names()) == expected
    called = await user.call("scaivault_delete_secret", {"path": SECRET})
    assert called.code == "PERMISSION_DENIED"
    assert lines(opened) == []


async def test_a_viewer_is_offered_nothing(opened: World) -> None:
    viewer = await opened.person("tenant_viewer")
    assert vault_names(await viewer.names()) == []
    assert (await viewer.call("scaivault_list_secrets")).code == "PERMISSION_DENIED"


async def test_read_only_hides_the_other_classes_and_a_call_says_why(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), read_only=True)
    admin = await opened.person("tenant_admin")
    assert vault_names(await admin.names()) == READ_ONES
    called = await admin.call("scaivault_write_secret", {"path": SECRET, "data": {"a": "b"}})
    assert called.code == "READ_ONLY"
    assert lines(opened) == []


async def test_explanations_name_what_hides_a_tool(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), read_only=True)
    admin = await opened.person("tenant_admin")

    async def first(client: Client, tool: str) -> Any:
        return (await client.call("tools_explain", {"tool": tool})).value["first_failure"]

    assert await first(admin, "scaivault_read_secret") is None
    assert await first(admin, "scaivault_write_secret") == "gateway_policy"
    keyed = opened.as_("tenant_admin")
    assert await first(keyed, "scaivault_read_secret") == "gateway_policy"
    viewer = await opened.person("tenant_viewer")
    assert await first(viewer, "scaivault_read_secret") == "permission"
    other = await opened.person("other_tenant_admin")
    assert await first(other, "scaivault_read_secret") == "module_enabled"


async def test_explanations_name_what_helps(opened: World) -> None:
    async def remedy(client: Client) -> Any:
        told = (await client.call("tools_explain", {"tool": "scaivault_read_secret"})).value
        return next(check["remedy"] for check in told["checks"] if not check["is_ok"])

    assert "Sign in" in await remedy(opened.as_("tenant_admin"))
    other = await opened.person("other_tenant_admin")
    assert "/v1/modules/scaimcp/scaivault/guards" in await remedy(other)


async def test_a_result_is_capped_like_every_other(database_url: str, redis_url: str) -> None:
    async with start_world(
        database_url, redis_url, vault=True, LIMITS_RESULT_CHARS="1000"
    ) as world:
        await set_guards(world.as_("tenant_admin"))
        admin = await world.person("tenant_admin")
        for text, code in (("\u00e4" * 700, ""), ("a" * 1000, "RESULT_TOO_LARGE")):
            written = {"path": "app/long", "data": {"k": text}}
            assert not (await admin.call("scaivault_write_secret", written)).is_error
            called = await admin.call("scaivault_read_secret", {"path": "app/long"})
            assert (called.code if called.is_error else "") == code


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("CA_FILE", "/nothing/ca.pem", "cannot be read"),
        ("DENIED_PATHS", "a,B", "entry 2 is not"),
    ],
)
async def test_settings_that_cannot_be_used_stop_the_start(
    database_url: str, redis_url: str, name: str, text: str, words: str
) -> None:
    settings = {"SCAIVAULT_URL": "https://vault.example", f"SCAIVAULT_{name}": text}
    env = gateway_environment(8080, "http://127.0.0.1:9", database_url, redis_url, **settings)
    with pytest.raises(SettingsError, match=f"^SCAIMCP_SCAIVAULT_{name} {words}"):
        async with open_services(load(env)):
            pass


async def test_groups_that_are_off_do_not_exist(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), tool_groups=["secrets", "audit"])
    admin = await opened.person("tenant_admin")
    assert len(vault_names(await admin.names())) == 11
    assert (await admin.call("scaivault_list_cas")).code == "TOOL_NOT_FOUND"
    assert lines(opened) == []


async def test_a_call_reads_a_secret_with_the_callers_own_token(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    value = (await admin.call("scaivault_read_secret", {"path": SECRET})).value
    assert value["data"] == {"key": "stripe-demo-key"}
    assert lines(opened) == ["GET /v1/auth/whoami", f"GET /v1/secrets/{SECRET}"]
    for row in sent(opened):
        assert row["headers"]["authorization"] == hashed(str(admin.token))
        assert "x-tenant-id" not in row["headers"]


async def test_whose_token_it_is_is_asked_once_for_many_calls(opened: World) -> None:
    admin = await opened.person("tenant_admin", ttl=1234)
    for _ in range(3):
        assert not (await admin.call("scaivault_list_secrets")).is_error
    assert lines(opened).count("GET /v1/auth/whoami") == 1


async def test_masking_holds_for_the_tenant_that_wants_it(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), mask_values=True)
    admin = await opened.person("tenant_admin")
    value = (await admin.call("scaivault_read_secret", {"path": SECRET})).value
    assert value["data"] == {"key": "\u2022" * 6}
    assert value["masked"] is True


async def test_denied_paths_are_refused_before_anything_is_sent(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), denied_paths=["infra"])
    admin = await opened.person("tenant_admin")
    called = await admin.call("scaivault_read_secret", {"path": "infra/db/primary/credentials"})
    assert called.code == "PATH_DENIED"
    assert lines(opened) == []


async def test_an_api_key_is_offered_nothing_and_told_why(opened: World) -> None:
    """G64."""
    keyed = opened.as_("tenant_admin")
    assert vault_names(await keyed.names()) == []
    called = await keyed.call("scaivault_read_secret", {"path": SECRET})
    assert called.code == "VAULT_TOKEN_UNSUPPORTED"
    assert lines(opened) == []


async def test_a_token_of_another_tenant_than_the_gateway_knows_is_locked_out(
    opened: World,
) -> None:
    assert opened.vault is not None
    admin = await opened.person("tenant_admin", ttl=4321)
    opened.vault.vault.faults.add(Fault(path="/v1/auth/whoami", extra={"tenant_id": "tnt_other"}))
    called = await admin.call("scaivault_read_secret", {"path": SECRET})
    assert called.code == "TENANT_LOCKED"
    assert lines(opened) == ["GET /v1/auth/whoami"]


async def test_the_vaults_own_refusal_passes_with_its_code(opened: World) -> None:
    user = await opened.person("tenant_user")
    called = await user.call("scaivault_read_secret", {"path": "reports/mailer"})
    assert called.code == "access_denied"


async def test_every_call_leaves_an_audit_row_without_values(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    before = len(await audit_rows(opened, "scaivault_call.tool"))
    written = {"path": "app/audited", "data": {"password": "hunter2"}}
    assert not (await admin.call("scaivault_write_secret", written)).is_error
    refused = await admin.call("scaivault_read_secret", {"path": "APP/audited"})
    assert refused.code == "INVALID_PATH"

    first, second = (await audit_rows(opened, "scaivault_call.tool", before + 2))[-2:]
    assert first["resource_id"] == "scaivault_write_secret"
    assert (first["status"], second["status"]) == ("SUCCESS", "FAILURE")
    assert first["data"].pop("duration_ms") >= 0
    assert first["data"] == {
        "tool": "scaivault_write_secret",
        "class": "write",
        "outcome": "ok",
        "path": "app/audited",
    }
    assert (second["data"]["outcome"], second["data"]["path"]) == ("INVALID_PATH", None)
    assert first["request_id"].startswith("req_")
    assert "hunter2" not in str(first) + str(second)


async def test_the_bearer_reaches_nobody_but_platform_and_vault(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    assert opened.vault is not None
    away = f"{opened.platform.url}/stolen"
    opened.vault.vault.faults.add(Fault(path=f"/v1/secrets/{SECRET}", redirect=away))
    called = await admin.call("scaivault_read_secret", {"path": SECRET})
    assert called.code == "UPSTREAM_ERROR"
    assert await opened.calls("/stolen") == []
    assert str(admin.token) not in called.reply.content.decode()


async def test_the_platforms_word_on_the_module_wins(opened: World) -> None:
    rows = (await opened.control("GET", "/rows/modules"))["rows"]
    off = next(row for row in rows if row["module_id"] == "scaimind")
    admin = await opened.person("tenant_admin")
    await opened.control("PATCH", f"/rows/modules/{off['id']}", {"module_id": "scaivault"})
    try:
        opened.forget()
        assert vault_names(await admin.names()) == []
        called = await admin.call("scaivault_read_secret", {"path": SECRET})
        assert called.code == "MODULE_NOT_ENABLED"
        assert lines(opened) == []
    finally:
        await opened.control("PATCH", f"/rows/modules/{off['id']}", {"module_id": "scaimind"})
        opened.forget()
    assert vault_names(await admin.names()) == PUBLISHED
