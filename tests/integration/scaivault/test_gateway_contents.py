"""Resources, prompts and completion of ScaiVault at ``/mcp``."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from tests.integration.scaivault.gateway import SECRET, audit_rows, lines, set_guards
from tests.world import MODERN, Client, Reply, World, start_world

TEMPLATES = {"secrets", "policies", "rotation-policies", "certificates", "audit"}


def tenant_of(client: Client) -> str:
    """Return the tenant in a person's token."""
    payload = str(client.token).split(".")[1]
    claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(claims["tenant_id"])


async def read(client: Client, uri: str) -> Reply:
    return await client.rpc("resources/read", {"uri": uri})


async def complete(client: Client, ref: dict[str, str], name: str, value: str) -> Any:
    params = {"ref": ref, "argument": {"name": name, "value": value}}
    return (await client.rpc("completion/complete", params)).result["completion"]


async def uris(client: Client, method: str, member: str, key: str) -> list[str]:
    return [item[key] for item in (await client.rpc(method)).result[member]]


async def listed(client: Client) -> tuple[list[str], list[str], list[str]]:
    return (
        await uris(client, "resources/list", "resources", "uri"),
        await uris(client, "resources/templates/list", "resourceTemplates", "name"),
        await uris(client, "prompts/list", "prompts", "name"),
    )


async def test_lists_show_the_guards_the_templates_and_the_prompts_without_a_call(
    opened: World,
) -> None:
    admin = await opened.person("tenant_admin")
    resources, templates, prompts = await listed(admin)
    assert resources == ["scaivault://guards"]
    assert set(templates) == TEMPLATES
    assert prompts == ["audit-investigation", "rotate-credential", "migrate-from-env"]
    assert lines(opened) == []


async def test_a_user_sees_no_template_whose_tool_they_may_not_call(opened: World) -> None:
    user = await opened.person("tenant_user")
    resources, templates, prompts = await listed(user)
    assert resources == ["scaivault://guards"]
    assert set(templates) == TEMPLATES - {"audit"}
    assert len(prompts) == 3
    tenant = tenant_of(user)
    reply = await read(user, f"scaivault://audit/{tenant}/{SECRET}")
    assert (reply.error["code"], reply.word) == (-32602, "PERMISSION_DENIED")
    assert lines(opened) == []


@pytest.mark.parametrize("role", ["tenant_viewer", "other_tenant_admin"])
async def test_who_has_nothing_of_the_module_sees_nothing(opened: World, role: str) -> None:
    client = await opened.person(role)
    assert await listed(client) == ([], [], [])
    for uri in ("scaivault://guards", f"scaivault://secrets/tnt_x/{SECRET}"):
        assert (await read(client, uri)).word in ("PERMISSION_DENIED", "MODULE_NOT_ENABLED")
    given = {"name": "rotate-credential", "arguments": {"path": SECRET}}
    refused = (await client.rpc("prompts/get", given)).word
    assert refused in ("PERMISSION_DENIED", "MODULE_NOT_ENABLED")
    ref = {"type": "ref/prompt", "name": "rotate-credential"}
    assert (await complete(client, ref, "path", ""))["values"] == []
    assert lines(opened) == []


async def test_an_api_key_sees_nothing_and_is_told_why(opened: World) -> None:
    keyed = opened.as_("tenant_admin")
    assert await listed(keyed) == ([], [], [])
    assert (await read(keyed, "scaivault://guards")).word == "VAULT_TOKEN_UNSUPPORTED"
    assert lines(opened) == []


async def test_a_resource_holds_the_bytes_of_its_tool(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    tenant = tenant_of(admin)
    await set_guards(opened.as_("tenant_admin"), mask_values=True)
    uri = f"scaivault://secrets/{tenant}/{SECRET}"
    (content,) = (await read(admin, uri)).result["contents"]
    called = (await admin.call("scaivault_read_secret", {"path": SECRET})).reply
    assert content["uri"] == uri
    assert content["mimeType"] == "application/json"

    def plain(text: str) -> Any:
        return {**msgspec.json.decode(text), "last_accessed_at": None}

    shown = plain(content["text"])
    assert shown == plain(called.result["content"][0]["text"])
    assert shown["data"] == {"key": "\u2022" * 6}


async def test_a_read_leaves_an_audit_row_of_its_tool(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    before = len(await audit_rows(opened, "scaivault_call.tool"))
    tenant = tenant_of(admin)
    assert (await read(admin, f"scaivault://secrets/{tenant}/{SECRET}")).result
    row = (await audit_rows(opened, "scaivault_call.tool", before + 1))[-1]
    assert (row["data"]["tool"], row["data"]["path"]) == ("scaivault_read_secret", SECRET)


async def test_a_revision_without_handshake_reads_as_well(opened: World) -> None:
    admin = (await opened.person("tenant_admin")).using(revision=MODERN)
    (content,) = (await read(admin, "scaivault://guards")).result["contents"]
    assert msgspec.json.decode(content["text"])["read_only"] is False


async def test_the_guards_tell_what_holds_and_neither_denied_paths_nor_token(
    opened: World,
) -> None:
    guards = {"allowed_paths": ["app"], "denied_paths": ["app/root"], "tool_groups": ["secrets"]}
    await set_guards(opened.as_("tenant_admin"), **guards)
    admin = await opened.person("tenant_admin")
    reply = await read(admin, "scaivault://guards")
    told = msgspec.json.decode(reply.result["contents"][0]["text"])
    assert told.pop("identity").startswith("user:")
    assert told == {
        "tenant": tenant_of(admin),
        "read_only": False,
        "mask_values": False,
        "allowed_paths": ["app"],
        "tool_groups": ["secrets"],
    }
    assert "app/root" not in reply.content.decode()


async def test_g37_and_g38_refused_uris_send_nothing(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), allowed_paths=["app"])
    admin = await opened.person("tenant_admin")
    tenant = tenant_of(admin)
    start = f"scaivault://secrets/{tenant}"
    assert (await read(admin, f"{start}/infra/db")).word == "PATH_DENIED"
    for rest in ("/app/%2e%2e/infra", "//app/db", "/app/db?x=1", "/app/db#x", "/App/db"):
        assert (await read(admin, start + rest)).word == "INVALID_PATH", rest
    other = await read(admin, "scaivault://secrets/tnt_b/app/db")
    assert (other.error["code"], other.word) == (-32602, "TENANT_LOCKED")
    assert lines(opened) == []


@pytest.mark.parametrize(
    "uri",
    ["scaivault://", "scaivault://nothing/x", "scaivault://secrets", "scaivault://guards/x",
     "scaivault://policies/a/b", "scaivault://Secrets/t/x"],
)  # fmt: skip
async def test_b22_uris_of_no_resource_are_invalid(opened: World, uri: str) -> None:
    reply = await read(await opened.person("tenant_admin"), uri)
    assert (reply.error["code"], reply.word) == (-32602, "INVALID_ARGUMENTS")
    assert reply.error["data"]["uri"] == uri


async def test_uris_of_others_are_left_to_others(opened: World) -> None:
    reply = await read(await opened.person("tenant_admin"), "file:///etc/passwd")
    assert reply.error["code"] == -32002


async def test_a_failure_of_the_vault_passes_with_its_code(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    reply = await read(admin, "scaivault://policies/pol_nothing")
    assert reply.error["code"] == -32602
    assert reply.word.islower()


async def test_g39_completion_stays_inside_the_guards(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    for path in ("app/one", "app/two", "apply/three"):
        await admin.call("scaivault_write_secret", {"path": path, "data": {"k": "v"}})
    await set_guards(opened.as_("tenant_admin"), allowed_paths=["app"])
    ref = {"type": "ref/resource", "uri": "scaivault://secrets/{tenant}/{+path}"}
    prompt = {"type": "ref/prompt", "name": "rotate-credential"}
    for reference in (ref, prompt):
        assert (await complete(admin, reference, "path", "in"))["values"] == []
        assert (await complete(admin, reference, "path", "ap"))["values"] == ["app/one", "app/two"]
        assert (await complete(admin, reference, "path", "app/t"))["values"] == ["app/two"]
        assert (await complete(admin, reference, "path", "apply/"))["values"] == []
        assert (await complete(admin, reference, "path", "APP/"))["values"] == []
    tenant = tenant_of(admin)
    assert (await complete(admin, ref, "tenant", ""))["values"] == [tenant]
    assert (await complete(admin, ref, "tenant", "zzz"))["values"] == []


async def test_ids_are_completed_by_id_and_by_name(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    ref = {"type": "ref/resource", "uri": "scaivault://policies/{id}"}
    for typed in ("pol_everyt", "everyt"):
        assert (await complete(admin, ref, "id", typed))["values"] == ["pol_everything"]
    assert (await complete(admin, ref, "nothing", "x"))["values"] == []


async def test_completion_of_others_is_left_to_others(opened: World) -> None:
    admin = await opened.person("tenant_admin")
    ref = {"type": "ref/resource", "uri": "scaivault://unknown/{id}"}
    assert (await complete(admin, ref, "id", ""))["values"] == []
    assert lines(opened) == []


async def test_g40_prompts_keep_to_the_guards(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), allowed_paths=["app"], read_only=True)
    admin = await opened.person("tenant_admin")
    given = {"name": "rotate-credential", "arguments": {"path": "infra/db"}}
    refused = await admin.rpc("prompts/get", given)
    assert (refused.error["code"], refused.word) == (-32602, "PATH_DENIED")
    given["arguments"] = {"path": "app/db"}
    result = (await admin.rpc("prompts/get", given)).result
    (message,) = result["messages"]
    assert message["role"] == "user"
    assert "ask a person to do this" in message["content"]["text"]
    assert lines(opened) == []


async def test_prompts_of_groups_that_are_off_do_not_exist(opened: World) -> None:
    await set_guards(opened.as_("tenant_admin"), tool_groups=["secrets"])
    admin = await opened.person("tenant_admin")
    assert (await listed(admin))[2] == ["rotate-credential", "migrate-from-env"]
    given = {"name": "audit-investigation", "arguments": {"path": "app/db"}}
    assert (await admin.rpc("prompts/get", given)).error["code"] == -32602


async def test_surfaces_that_are_not_served_leave_resources_out(
    database_url: str, redis_url: str
) -> None:
    async with start_world(database_url, redis_url, vault=True, MCP_SURFACES="tools") as world:
        await set_guards(world.as_("tenant_admin"))
        admin = await world.person("tenant_admin")
        assert len([name for name in await admin.names() if name.startswith("scaivault_")]) == 67
        assert (await admin.rpc("resources/list")).error["code"] == -32601
