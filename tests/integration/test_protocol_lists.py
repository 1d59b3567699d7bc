"""Pages and cursors of ``tools/list``, and the options of the endpoint's address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.fakes.fixtures_source import REGION, SCHEMA_2020_12
from tests.integration.edge import Edge, Setup, start_edge
from tests.world import LATEST, MODERN, Client, World

STALE = -32602


@pytest_asyncio.fixture(scope="module")
async def edge() -> AsyncIterator[Edge]:
    async with start_edge(Setup(page_size=5)) as running:
        yield running


async def first_cursor(client: Client, path: str = "/mcp") -> str:
    return str((await client.rpc("tools/list", path=path)).result["nextCursor"])


async def stale(client: Client, cursor: Any, path: str = "/mcp") -> bool:
    """Tell whether `client` may not go on from `cursor`."""
    reply = await client.rpc("tools/list", {"cursor": cursor}, path=path)
    if "error" in reply.json:
        assert reply.error["code"] == STALE
        assert reply.status == (400 if client.revision == MODERN else 200)
        return True
    return False


# -- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ["2024-11-05", "2025-03-26", "2025-06-18", LATEST, MODERN])
async def test_pages_join_to_the_whole_list(edge: Edge, revision: str) -> None:
    client = edge.as_("alice", revision)
    pages = []
    cursor = None
    while True:
        result = (await client.rpc("tools/list", {"cursor": cursor} if cursor else {})).result
        pages.append([tool["name"] for tool in result["tools"]])
        cursor = result.get("nextCursor")
        if cursor is None:
            break
        assert ("ttlMs" in result) is (revision == MODERN)
    assert [len(page) for page in pages] == [5, 5, 5, 1]
    names = [name for page in pages for name in page]
    assert len(set(names)) == 16
    assert names == await client.names()


async def test_a_null_cursor_is_the_first_page(edge: Edge) -> None:
    client = edge.as_()
    first = (await client.rpc("tools/list")).result["tools"]
    assert (await client.rpc("tools/list", {"cursor": None})).result["tools"] == first


async def test_a_cursor_says_nothing_and_is_never_the_same(edge: Edge) -> None:
    one, two = await first_cursor(edge.as_()), await first_cursor(edge.as_())
    assert one != two
    assert one.isascii()
    assert "alice" not in one
    assert "tnt" not in one
    for cursor in (one, two):
        assert not await stale(edge.as_(), cursor)


async def test_callers_who_share_a_list_have_cursors_of_their_own(edge: Edge) -> None:
    clients = [edge.as_("alice"), edge.as_("bob"), edge.as_("eve"), edge.as_("root")]
    lists = [await client.names() for client in clients]
    assert lists == [lists[0]] * 4
    cursors = [await first_cursor(client) for client in clients]
    for client, own in zip(clients, cursors, strict=True):
        for cursor in cursors:
            assert await stale(client, cursor) is (cursor != own)


async def test_a_cursor_counts_for_its_view_alone(edge: Edge) -> None:
    client = edge.as_()
    view = "/mcp?toolsets=fixtures,b,a"
    cursor = await first_cursor(client, view)
    assert not await stale(client, cursor, view)
    assert not await stale(client, cursor, "/mcp?toolsets=a,b,fixtures")
    for other in ("/mcp", "/mcp?toolsets=fixtures", "/mcp?toolsets=a,b,fixtures&dialect=gemini"):
        assert await stale(client, cursor, other)


async def test_a_cursor_counts_in_another_revision(edge: Edge) -> None:
    assert not await stale(edge.as_("alice", MODERN), await first_cursor(edge.as_()))


@pytest.mark.parametrize("cursor", ["", "nonsense", "AAAA", "x" * 10_000, "é"])
@pytest.mark.parametrize("revision", [LATEST, MODERN])
async def test_nonsense_is_no_cursor(edge: Edge, cursor: str, revision: str) -> None:
    assert await stale(edge.as_("alice", revision), cursor)


async def test_a_tampered_cursor_is_refused(edge: Edge) -> None:
    cursor = await first_cursor(edge.as_())
    other = "A" if cursor[30] != "A" else "B"
    assert await stale(edge.as_(), cursor[:30] + other + cursor[31:])


async def test_a_sealed_value_of_another_kind_is_no_cursor(edge: Edge) -> None:
    for content in (["tnt_1"], {"a": 1}, ["tnt_1", "usr_alice", b"", "4"]):
        assert await stale(edge.as_(), edge.cursor_sealer.seal(msgspec.msgpack.encode(content)))
    session = (await edge.as_().initialize()).headers["mcp-session-id"]
    assert await stale(edge.as_(), session)


async def test_a_cursor_dies_with_the_list_it_was_made_for(edge: Edge, world: World) -> None:
    cursor = await first_cursor(edge.as_())
    sealed = edge.cursor_sealer.open(cursor)
    assert sealed is not None
    tenant, user, digest, start = msgspec.msgpack.decode(sealed)
    changed = msgspec.msgpack.encode((tenant, user, bytes(len(digest)), start))
    assert await stale(edge.as_(), edge.cursor_sealer.seal(changed))
    assert await stale(world.as_("tenant_user"), cursor)


async def test_many_views_do_not_fill_the_memory(edge: Edge) -> None:
    client = edge.as_()
    async with asyncio.TaskGroup() as group:
        for number in range(60):
            group.create_task(client.names(f"?toolsets=fixtures,t{number}"))
    assert len(await client.names()) == 16


# -- what is listed ------------------------------------------------------------------------------


async def test_every_keyword_of_a_schema_reaches_the_client(edge: Edge) -> None:
    schemas = {tool["name"]: tool["inputSchema"] for tool in await edge.as_().tools()}
    assert schemas["json_schema_2020_12_tool"] == SCHEMA_2020_12
    assert schemas["test_x_mcp_header"] == REGION


async def test_declared_parameter_headers_are_compared_with_the_arguments(edge: Edge) -> None:
    client = edge.as_("alice", MODERN)
    for header, region, is_fine in (
        ("eu", "eu", True),
        ("=?base64?ZXU=?=", "eu", True),
        (None, None, True),
        ("us", "eu", False),
        (None, "eu", False),
        ("eu", None, False),
        ("=?base64?ZXU?=", "eu", False),
    ):
        arguments = {} if region is None else {"region": region}
        params = {"name": "test_x_mcp_header", "arguments": arguments}
        headers = {"mcp-param-region": header}
        reply = await client.rpc("tools/call", params, headers=headers)
        assert reply.status == (200 if is_fine else 400), (header, region)
        if not is_fine:
            assert reply.error["code"] == -32020


async def test_parameter_headers_mean_nothing_before_2026_07_28(edge: Edge) -> None:
    params = {"name": "test_x_mcp_header", "arguments": {"region": "eu"}}
    reply = await edge.as_().rpc("tools/call", params, headers={"mcp-param-region": "us"})
    assert reply.result["isError"] is False


async def test_a_parameter_header_on_arguments_that_are_no_object_is_a_mismatch(
    edge: Edge,
) -> None:
    client = edge.as_("alice", MODERN)
    params = {"name": "test_x_mcp_header", "arguments": []}
    headers = {"mcp-param-region": "eu"}
    reply = await client.rpc("tools/call", params, headers=headers)
    assert (reply.status, reply.error["code"]) == (400, -32020)


async def test_the_gemini_dialect_lists_schemas_without_its_keywords(world: World) -> None:
    client = world.as_("tenant_user")
    canonical = {tool["name"]: tool["inputSchema"] for tool in await client.tools()}
    for tool in await client.tools("?dialect=gemini"):
        schema = tool["inputSchema"]
        assert "additionalProperties" not in schema
        assert list(schema["properties"]) == list(canonical[tool["name"]]["properties"])


@pytest.mark.parametrize("query", ["", "?dialect=gemini"])
async def test_a_described_tool_reads_as_the_list_of_its_endpoint_has_it(
    world: World, query: str
) -> None:
    client = world.as_("tenant_user")
    (listed,) = [tool for tool in await client.tools(query) if tool["name"] == "models_list"]
    path = f"/mcp{query}"
    called = await client.call("tools_describe", {"names": ["models_list"]}, path=path)
    assert called.value["items"] == [listed]


async def test_a_narrowed_list_does_not_narrow_what_may_be_called(world: World) -> None:
    client = world.as_("tenant_user")
    assert set(await client.names("?toolsets=models")) < set(await client.names())
    called = await client.call("modules_list", path="/mcp?toolsets=models")
    assert called.value["items"]


async def test_equal_lists_are_equal_bytes(world: World) -> None:
    one = (await world.as_("tenant_user").rpc("tools/list")).content
    two = (await world.as_("tenant_user").rpc("tools/list")).content
    cut = one.index(b'"_meta":{"ai.scailabs.scaimcp/request_id"')
    assert one[:cut] == two[:cut]
