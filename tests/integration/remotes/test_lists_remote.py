"""Lists with remote definitions: who sees what, under which name, in which words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.remotes.models import ServerRow
from tests.integration.rawserver import serve_raw
from tests.integration.remotes.servers import Upstream, named
from tests.integration.remotes.sidebyside import REMOTE_SERVERS, Fleet, dotted, safe, start_fleet
from tests.world import CAPABILITIES, MODERN, Client

CLIENT = "io.modelcontextprotocol/clientInfo"
RICH = {
    "name": "rich",
    "title": "Rich",
    "description": "Everything a definition may hold.",
    "inputSchema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"z": {"type": "integer", "minimum": 1.5}, "a": {"type": "string"}},
        "required": ["z"],
        "additionalProperties": False,
    },
    "outputSchema": {"type": "array", "items": {"type": "integer"}},
    "annotations": {"title": "Hint", "readOnlyHint": True},
    "icons": [{"src": "https://icons.example.com/a.png"}],
    "execution": {"taskSupport": "optional"},
    "_meta": {"vendor/x": 1},
}
LONG = "l" * 120
TOOLS = [named("b"), named("a"), RICH, named(LONG), named("odd name")]
RESOURCES = [
    {"uri": "note://one", "name": "one", "title": "One", "mimeType": "text/plain", "size": 3},
    {"uri": "note://two?q=a b".replace(" ", "%20"), "name": "two"},
]
TEMPLATES = [{"uriTemplate": "note://{id}", "name": "notes"}]
PROMPTS = [
    {"name": "greet", "description": "Greets.", "arguments": [{"name": "who", "required": True}]},
    {"name": "odd name"},
]
LISTS = {
    "resources/list": ("resources", "uri", RESOURCES),
    "resources/templates/list": ("resourceTemplates", "uriTemplate", TEMPLATES),
    "prompts/list": ("prompts", "name", PROMPTS),
}


class Setup:
    def __init__(self, fleet: Fleet, upstream: Upstream, row: ServerRow) -> None:
        self.fleet = fleet
        self.upstream = upstream
        self.row = row

    async def tools(self, client: Client | None = None, query: str = "") -> list[Any]:
        """The remote tools of a list."""
        listed = await (client or self.fleet.client()).tools(query)
        return [tool for tool in listed if tool["name"].startswith(("remote.", "r_"))]

    async def listed(self, revision: str = MODERN, method: str = "tools/list", **more: Any) -> Any:
        return (await self.fleet.client(revision, **more).rpc(method)).result

    async def hiding(self, method: str = "tools/list", **more: Any) -> Any:
        return (await self.listed(method=method, **more))["_meta"][REMOTE_SERVERS]


@pytest_asyncio.fixture(scope="module")
async def setup(database_url: str, redis_url: str) -> AsyncIterator[Setup]:
    async with serve_raw() as raw:
        upstream = Upstream(raw)
        upstream.capabilities = {"tools": {}, "resources": {}, "prompts": {}}
        upstream.lists = {"tools/list": TOOLS}
        upstream.lists |= {method: items for method, (_, _, items) in LISTS.items()}
        async with start_fleet(database_url, redis_url, raw.url, LIMITS_LIST_PAGE="300") as fleet:
            row = await fleet.register(upstream.url, "Fleet")
            yield Setup(fleet, upstream, row)


async def test_remote_tools_come_last_in_the_order_of_their_canonical_names(setup: Setup) -> None:
    names = await setup.fleet.client().names()
    first = next(at for at, name in enumerate(names) if name.startswith(("remote.", "r_")))
    assert all(name.startswith(("remote.", "r_")) for name in names[first:])
    known = sorted(tool["name"] for tool in TOOLS)
    expected = [safe(setup.row, n) if n in (LONG, "odd name") else dotted(setup.row, n)
                for n in known]  # fmt: skip
    assert names[first:] == expected


async def test_a_definition_is_listed_as_the_server_gives_it_but_for_its_name(
    setup: Setup,
) -> None:
    name = dotted(setup.row, "rich")
    dropped: dict[str, tuple[str, ...]] = {
        "2024-11-05": ("title", "outputSchema", "icons", "_meta", "annotations"),
        "2025-03-26": ("title", "outputSchema", "icons", "_meta"),
        "2025-06-18": ("outputSchema",),
        "2025-11-25": ("outputSchema",),
        MODERN: (),
    }
    for revision, members in dropped.items():
        tools = await setup.tools(setup.fleet.client(revision))
        found = next(tool for tool in tools if tool["name"] == name)
        gone = (*members, "execution", "name")
        assert found == {"name": name} | {k: v for k, v in RICH.items() if k not in gone}
        assert list(found["inputSchema"]["properties"]) == ["z", "a"]


@pytest.mark.row(59)
async def test_the_url_says_which_names_are_listed(setup: Setup) -> None:
    assert {t["name"] for t in await setup.tools(query="?names=safe")} == {
        safe(setup.row, tool["name"]) for tool in TOOLS
    }
    plain = await setup.tools(query="?names=dotted")
    assert dotted(setup.row, "a") in {tool["name"] for tool in plain}
    wrong = await setup.fleet.client().rpc("tools/list", path="/mcp?names=short")
    assert wrong.status == 400
    assert "safe" in wrong.error["message"]
    assert "dotted" in wrong.error["message"]


async def test_clients_that_are_known_to_need_it_get_safe_names(setup: Setup) -> None:
    info = {CLIENT: {"name": "claude-ai", "version": "1"}, CAPABILITIES: {}}
    for method, key in (("tools/list", "tools"), ("prompts/list", "prompts")):
        listed = (await setup.fleet.client().rpc(method, {"_meta": info})).result[key]
        names = [item["name"] for item in listed if item["name"].startswith(("remote.", "r_"))]
        assert names
        assert all(name.startswith("r_") for name in names)
    legacy = await setup.fleet.legacy(name="Visual Studio Code")
    assert all(tool["name"].startswith("r_") for tool in await setup.tools(legacy))
    other = await setup.fleet.legacy(name="something else")
    assert any(tool["name"].startswith("remote.") for tool in await setup.tools(other))
    odd = {CLIENT: "no object", CAPABILITIES: {}}
    listed = (await setup.fleet.client().rpc("prompts/list", {"_meta": odd})).result["prompts"]
    assert listed[0]["name"] == dotted(setup.row, "greet")


async def test_the_search_finds_remote_tools(setup: Setup) -> None:
    found = (await setup.fleet.client().call("tools_search", {"query": "definition hold"})).value
    assert dotted(setup.row, "rich") in [item["name"] for item in found["items"]]
    names = {"names": [dotted(setup.row, "rich")]}
    described = (await setup.fleet.client().call("tools_describe", names)).value
    assert described["items"][0]["inputSchema"] == RICH["inputSchema"]


async def test_the_search_shows_the_names_that_the_client_is_listed(setup: Setup) -> None:
    fleet, names = setup.fleet, (dotted(setup.row, "rich"), safe(setup.row, "rich"))
    known = {CLIENT: {"name": "claude-ai", "version": "1"}, CAPABILITIES: {}}
    legacy = await fleet.legacy(name="Visual Studio Code")
    ways: list[tuple[Client, dict[str, Any], str]] = [
        (fleet.client(), {}, names[0]),
        (fleet.client(), {"path": "/mcp?names=safe"}, names[1]),
        (fleet.client(), {"params": {"_meta": known}}, names[1]),
        (fleet.client(), {"params": {"_meta": known}, "path": "/mcp?names=dotted"}, names[0]),
        (legacy, {}, names[1]),
    ]
    for client, way, expected in ways:
        found = await client.call("tools_search", {"query": "definition hold"}, **way)
        [item] = [item for item in found.value["items"] if item["title"] == "Rich"]
        assert item["name"] == expected
        # Either name of a tool is understood, whichever one is shown, and it is one tool.
        for asked in names:
            found = await client.call("tools_search", {"query": asked, "top_k": 1}, **way)
            assert found.value["items"][0]["name"] == expected
            found = await client.call("tools_describe", {"names": [asked]}, **way)
            assert found.value["items"][0]["name"] == expected
        found = await client.call("tools_describe", {"names": [*names, "r_none"]}, **way)
        assert [item["name"] for item in found.value["items"]] == [expected]
        assert found.value["not_found"] == ["r_none"]


async def test_the_gemini_dialect_reaches_remote_schemas(setup: Setup) -> None:
    tools = await setup.tools(query="?dialect=gemini")
    found = next(tool for tool in tools if tool["name"] == dotted(setup.row, "rich"))
    assert "additionalProperties" not in found["inputSchema"]


@pytest.mark.parametrize("revision", ["2025-06-18", MODERN])
@pytest.mark.parametrize("method", LISTS)
async def test_other_lists_hold_what_the_server_lists_under_prefixed_names(
    setup: Setup, method: str, revision: str
) -> None:
    member, key, items = LISTS[method]
    result = await setup.listed(revision, method)
    prefix = f"scailink://remote/tenant/{setup.row.slug}/"
    for item, listed in zip(items, result[member], strict=True):
        if key != "name":
            assert listed == {**item, key: prefix + item[key]}
        elif item["name"] == "greet":
            assert listed == {**item, key: dotted(setup.row, "greet")}
        else:
            assert listed == {**item, key: safe(setup.row, item["name"])}
    assert ("ttlMs" in result) is (revision == MODERN)
    old = await setup.listed("2025-03-26", method)
    assert "title" not in old[member][0]


async def test_a_switched_off_surface_lists_nothing(setup: Setup) -> None:
    """Lists of one surface do not depend on another: tools stay as they are."""
    result = (await setup.fleet.client().rpc("server/discover")).result
    assert result["capabilities"]["resources"] == {"listChanged": True}
    assert result["capabilities"]["prompts"] == {"listChanged": True}
    legacy = (await setup.fleet.client(None).initialize("2025-11-25")).result  # type: ignore[arg-type]
    assert legacy["capabilities"]["resources"] == {}


async def test_long_lists_come_in_pages(setup: Setup) -> None:
    many = [{"uri": f"note://{at:03}", "name": "n"} for at in range(700)]
    setup.upstream.lists["resources/list"] = many
    await setup.fleet.discover(setup.row)
    try:
        seen: list[str] = []
        params: dict[str, Any] = {}
        client = setup.fleet.client()
        while True:
            page = (await client.rpc("resources/list", params)).result
            assert len(page["resources"]) <= 300
            seen += [item["uri"].rpartition("/")[2] for item in page["resources"]]
            if "nextCursor" not in page:
                break
            params = {"cursor": page["nextCursor"]}
        assert seen == [f"{at:03}" for at in range(700)]
        wrong = await client.rpc("prompts/list", params)
        assert wrong.error["code"] == -32602
        foreign = await setup.fleet.client(role="tenant_viewer").rpc("resources/list", params)
        assert foreign.error["code"] == -32602
    finally:
        setup.upstream.lists["resources/list"] = RESOURCES
        await setup.fleet.discover(setup.row)


async def test_without_the_permission_nothing_remote_is_listed(setup: Setup) -> None:
    client = setup.fleet.client(role="tenant_user")
    assert await setup.tools(client) == []
    for method, (member, _, _) in LISTS.items():
        result = (await client.rpc(method)).result
        assert result[member] == []
        assert result["_meta"][REMOTE_SERVERS] == []


@pytest.mark.row(54)
async def test_every_list_names_the_servers_that_hide_something(setup: Setup) -> None:
    assert await setup.hiding() == []
    assert (await setup.listed())["ttlMs"] == 60_000
    row = await setup.fleet.register_own(setup.upstream.url, "Dead")
    await setup.fleet.registry.set_state(
        row, "status = 'error', last_health_status = 'TimeoutError'"
    )
    await setup.fleet.bump()
    told = {"slug": row.slug, "status": "error", "last_health_status": "TimeoutError"}
    assert await setup.hiding() == [{**told, "hidden": len(TOOLS)}]
    for method, (_, _, items) in LISTS.items():
        assert await setup.hiding(method) == [{**told, "hidden": len(items)}]
        assert (await setup.listed(method=method))["ttlMs"] == 30_000
    assert (await setup.listed())["ttlMs"] == 30_000
    assert len(await setup.tools()) == len(TOOLS)
    legacy = await setup.listed("2025-11-25")
    assert legacy["_meta"][REMOTE_SERVERS] == [{**told, "hidden": len(TOOLS)}]
    await setup.fleet.world.grant("extra_permissions", "scailink:remote.use")
    assert await setup.hiding(role="extra_permissions") == []
    await setup.fleet.registry.execute("DELETE FROM remote_servers WHERE id = $1", row.id)
    await setup.fleet.bump()
    assert await setup.hiding() == []


async def test_held_definitions_count_as_hidden(setup: Setup) -> None:
    statement = "UPDATE remote_capabilities SET state = $2 WHERE server_id = $1 AND name = 'a'"
    await setup.fleet.registry.execute(statement, setup.row.id, "held")
    await setup.fleet.bump()
    hiding = await setup.hiding()
    assert [(one["status"], one["hidden"]) for one in hiding] == [("active", 1)]
    explained = (
        await setup.fleet.client().call("tools_explain", {"tool": dotted(setup.row, "a")})
    ).value
    assert explained["is_callable"] is False
    assert explained["first_failure"] == "loaded"
    await setup.fleet.registry.execute(statement, setup.row.id, "advertised")
    await setup.fleet.bump()


async def test_a_locked_server_lists_nothing(setup: Setup) -> None:
    await setup.fleet.registry.set_server(setup.row, "consent_tier = 'locked'")
    await setup.fleet.bump()
    try:
        assert await setup.tools() == []
        for method, (member, _, _) in LISTS.items():
            assert (await setup.listed(method=method))[member] == []
    finally:
        await setup.fleet.registry.set_server(setup.row, "consent_tier = 'auto'")
        await setup.fleet.bump()


async def test_a_personal_server_is_listed_for_its_owner_only(setup: Setup) -> None:
    row = await setup.fleet.register_own(setup.upstream.url, "Mine")
    await setup.fleet.world.grant("extra_permissions", "scailink:remote.use")
    mine = await setup.tools()
    theirs = await setup.tools(setup.fleet.client(role="extra_permissions"))
    assert len(mine) == 2 * len(TOOLS)
    assert len(theirs) == len(TOOLS)
    assert dotted(row, "a") in {tool["name"] for tool in mine}
    other = await setup.tools(setup.fleet.client(role="other_tenant_admin"))
    assert other == []


async def test_remote_tools_are_explained(setup: Setup) -> None:
    client = setup.fleet.client()
    told = (await client.call("tools_explain", {"tool": dotted(setup.row, "b")})).value
    assert told["is_callable"] is True
    denied = setup.fleet.client(role="tenant_user")
    told = (await denied.call("tools_explain", {"tool": dotted(setup.row, "b")})).value
    assert told["is_callable"] is False


async def test_a_tenant_that_has_switched_mcp_off_has_no_remote_tools(setup: Setup) -> None:
    client = setup.fleet.client()
    switched = await client.call("modules_disable", {"module_id": "scaimcp"})
    assert not switched.is_error
    setup.fleet.world.forget()
    try:
        assert await setup.tools() == []
        assert (await setup.listed(method="prompts/list"))["prompts"] == []
        assert (await client.call(dotted(setup.row, "a"))).code == "MODULE_NOT_ENABLED"
        read = await client.rpc("prompts/get", {"name": dotted(setup.row, "greet")})
        assert read.word == "MODULE_NOT_ENABLED"
    finally:
        await setup.fleet.world.control("POST", "/reset")
        setup.fleet.world.forget()
