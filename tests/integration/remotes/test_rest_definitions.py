"""What servers offer, over REST: capabilities, changes, pins; row 48 of the contract's table.

Spec: remote-servers 1, 6.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.rules.canonical import definition_hash
from tests.integration.remotes.rest import Registry, Rest, body, open_registry
from tests.world import serve_at

SEARCH = {
    "name": "search",
    "description": "Search pages.",
    "inputSchema": {
        "type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"],
    },
}  # fmt: skip


class Lists:
    """An MCP server of 2026-07-28 that lists what it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.lists: dict[str, list[Any]] = {"tools": [SEARCH]}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            message = await receive()
            while message["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
                message = await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        content = b""
        while True:
            message = await receive()
            content += message.get("body", b"")
            if not message.get("more_body"):
                break
        asked = msgspec.json.decode(content)
        answer = {"jsonrpc": "2.0", "id": asked["id"], **self._answer(asked["method"])}
        lines = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        await send({"type": "http.response.body", "body": msgspec.json.encode(answer)})

    def _answer(self, method: str) -> dict[str, Any]:
        if method == "server/discover":
            result: dict[str, Any] = {
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
                "serverInfo": {"name": "lists", "version": "1"},
            }
        else:
            member = {
                "tools/list": "tools",
                "resources/list": "resources",
                "resources/templates/list": "resourceTemplates",
                "prompts/list": "prompts",
            }.get(method)
            if member is None:
                return {"error": {"code": -32601, "message": "Method not found"}}
            result = {member: self.lists.get(member, [])}
        return {"result": {"resultType": "complete", **result}}


@pytest_asyncio.fixture(scope="module")
async def registry(database_url: str, redis_url: str) -> AsyncIterator[Registry]:
    async with open_registry(database_url, redis_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def owner(registry: Registry) -> Rest:
    await registry.fresh()
    return registry.as_("owner")


@asynccontextmanager
async def listing(registry: Registry) -> AsyncIterator[Lists]:
    lists = Lists()
    async with serve_at(registry.world.place(), lists) as origin:
        lists.url = f"{origin}/mcp"
        yield lists


async def items(who: Rest, path: str) -> list[dict[str, Any]]:
    reply = await who.get(path)
    assert reply.status == 200, reply.content
    found: list[dict[str, Any]] = reply.json["data"]["items"]
    return found


async def test_a_definition_is_shown_with_names_and_hash(registry: Registry, owner: Rest) -> None:
    async with listing(registry) as lists:
        lists.lists["resources"] = [{"uri": "note://one", "name": "one", "title": "One"}]
        lists.lists["prompts"] = [{"name": "greet"}]
        server = await owner.registered(lists.url, "Acme Notion MCP")
        tool, resource, prompt = server["capabilities"]
        digest = definition_hash(Kind.TOOL, SEARCH).hex()
        assert {k: v for k, v in tool.items() if not k.endswith("_at")} == {
            "kind": "tool",
            "name": "search",
            "advertised_name": f"{server['name_prefix']}search",
            "alias": tool["alias"],
            "title": None,
            "description": "Search pages.",
            "input_schema": SEARCH["inputSchema"],
            "state": "advertised",
            "reason": None,
            "findings": [],
            "definition_hash": digest,
        }
        assert digest == "5ccd6d2f4e026a46f441e163596cb13c6694eeed2ba27733caf0fe4c23e00b2a"
        prefix = server["name_prefix"].removeprefix("remote.").rstrip(".").replace(".", "/")
        assert resource["advertised_name"] == f"scailink://remote/{prefix}/note://one"
        assert (resource["title"], resource["input_schema"]) == ("One", None)
        assert (prompt["kind"], prompt["name"]) == ("prompt", "greet")
        assert server["capability_counts"] == {
            "tool": 1, "resource": 1, "resource_template": 0, "prompt": 1, "held": 0, "dropped": 0,
        }  # fmt: skip


async def test_pages_run_through_kinds_then_the_dropped_ones(
    registry: Registry, owner: Rest
) -> None:
    async with listing(registry) as lists:
        lists.lists = {
            "tools": [
                {**SEARCH, "name": "b"}, {**SEARCH, "name": "huge", "description": "x" * 20_000},
                {**SEARCH, "name": "a"}, {**SEARCH, "name": "a"},
            ],
            "prompts": [{"name": "greet"}],
        }  # fmt: skip
        server = await owner.registered(lists.url, "several kinds")
        path = f"/{server['id']}/capabilities"
        expected = [
            ("b", "advertised", None), ("a", "advertised", None), ("greet", "advertised", None),
            ("huge", "dropped", "description_too_long"), ("a", "dropped", "duplicate_name"),
        ]  # fmt: skip
        told = [(one["name"], one["state"], one["reason"]) for one in server["capabilities"]]
        assert told == expected
        for limit in (1, 2, 3, 4, 5, 50):
            seen: list[dict[str, Any]] = []
            cursor = ""
            while True:
                page = (await owner.get(f"{path}?limit={limit}{cursor}")).json
                assert len(page["data"]["items"]) <= limit
                seen += page["data"]["items"]
                if page["pagination"]["next_cursor"] is None:
                    break
                cursor = f"&cursor={page['pagination']['next_cursor']}"
            assert [(one["name"], one["state"], one["reason"]) for one in seen] == expected, limit
        dropped = await items(owner, f"{path}?state=dropped")
        assert [set(one) for one in dropped] == [{"kind", "name", "state", "reason"}] * 2
        assert [one["name"] for one in await items(owner, f"{path}?kind=prompt")] == ["greet"]
        assert await items(owner, f"{path}?state=held") == []
        assert len(await items(owner, f"{path}?state=dropped&kind=tool")) == 2
        assert await items(owner, f"{path}?state=dropped&kind=prompt") == []
        for bad in ("kind=file", "state=odd", "limit=0", "cursor=x"):
            assert (await owner.get(f"{path}?{bad}")).status == 422


async def test_a_detail_stops_at_five_hundred_definitions(registry: Registry, owner: Rest) -> None:
    async with listing(registry) as lists:
        lists.lists = {"tools": [{**SEARCH, "name": f"t{n}"} for n in range(505)]}
        server = await owner.registered(lists.url, "many")
        assert server["capability_counts"]["tool"] == 505
        assert len(server["capabilities"]) == 500
        assert server["capabilities_truncated"] is True


async def changed(registry: Registry, owner: Rest, lists: Lists, name: str) -> Any:
    """Register under review, change a definition, and return server and pending change."""
    server = await owner.registered(lists.url, name, tool_changes="review")
    lists.lists["tools"] = [{**SEARCH, "inputSchema": {"type": "object", "required": ["x"]}}]
    await owner.post(f"/{server['id']}/refresh")
    (change,) = await items(owner, f"/{server['id']}/changes")
    return server, change


async def test_an_accepted_change_is_served_and_pinned(registry: Registry, owner: Rest) -> None:
    async with listing(registry) as lists:
        server, change = await changed(registry, owner, lists, "accepting")
        path = f"/{server['id']}"
        assert (change["name"], change["change"], change["class"], change["state"]) == (
            "search", "changed", "breaking", "pending",
        )  # fmt: skip
        assert "new_definition" not in change
        (held,) = await items(owner, f"{path}/capabilities")
        assert (held["state"], held["change_id"]) == ("held", change["id"])
        assert f"{server['name_prefix']}search" not in await owner.client.names()
        assert (await owner.get(path)).json["data"]["pending_changes"] == 1
        whole = (await owner.get(f"{path}/changes/{change['id']}")).json["data"]
        assert whole["old_definition"]["inputSchema"] == SEARCH["inputSchema"]
        assert whole["new_definition"]["inputSchema"]["required"] == ["x"]
        accept = f"{path}/changes/{change['id']}/accept"
        reply = await owner.post(accept, {"new_hash": change["new_hash"]})
        assert (reply.status, reply.json["data"]["state"]) == (200, "accepted")
        (served,) = await items(owner, f"{path}/capabilities")
        assert (served["state"], served["definition_hash"]) == ("advertised", change["new_hash"])
        (pin,) = await items(owner, f"{path}/pins")
        assert pin["definition_hash"] == change["new_hash"]
        assert f"{server['name_prefix']}search" in await owner.client.names()
        again = await owner.post(accept, {"new_hash": change["new_hash"]})
        assert (again.status, again.word) == (409, "SCAILINK_CHANGE_STALE")
        assert "remote_tool.accept" in [a for a, _ in await registry.audited(server["id"])]
        assert await items(owner, f"{path}/changes") == []
        assert len(await items(owner, f"{path}/changes?state=accepted")) == 1


async def test_a_rejected_change_stays_rejected(registry: Registry, owner: Rest) -> None:
    async with listing(registry) as lists:
        server, change = await changed(registry, owner, lists, "rejecting")
        path = f"/{server['id']}"
        reply = await owner.post(
            f"{path}/changes/{change['id']}/reject", {"new_hash": change["new_hash"]}
        )
        assert reply.json["data"]["state"] == "rejected"
        await owner.post(f"{path}/refresh")
        assert await items(owner, f"{path}/changes") == []
        assert f"{server['name_prefix']}search" not in await owner.client.names()
        lists.lists["tools"] = [SEARCH]
        await owner.post(f"{path}/refresh")
        assert f"{server['name_prefix']}search" in await owner.client.names()


@pytest.mark.row(48)
async def test_48_only_what_was_shown_is_accepted(registry: Registry, owner: Rest) -> None:
    async with listing(registry) as lists:
        server, change = await changed(registry, owner, lists, "stale")
        path = f"/{server['id']}/changes"
        reply = await owner.post(f"{path}/{change['id']}/accept", {"new_hash": "0" * 64})
        assert (reply.status, reply.word) == (409, "SCAILINK_CHANGE_STALE")
        lists.lists["tools"] = [{**SEARCH, "inputSchema": {"type": "object", "required": ["y"]}}]
        await owner.post(f"/{server['id']}/refresh")
        reply = await owner.post(f"{path}/{change['id']}/accept", {"new_hash": change["new_hash"]})
        assert (reply.status, reply.word) == (409, "SCAILINK_CHANGE_STALE")
        (newer,) = await items(owner, path)
        assert newer["new_hash"] != change["new_hash"]
        assert len(await items(owner, f"{path}?state=superseded")) == 1


@pytest.mark.parametrize("given", [{}, {"new_hash": "x"}, {"new_hash": "0" * 64, "y": 1}])
async def test_a_decision_names_the_hash_and_nothing_else(
    registry: Registry, owner: Rest, given: dict[str, Any]
) -> None:
    reply = await owner.post("/rs_1/changes/chg_1/accept", given)
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")


async def test_an_unknown_change_is_404(registry: Registry, owner: Rest) -> None:
    server = await owner.registered(registry.closed(), "unchanged")
    path = f"/{server['id']}/changes"
    for reply in (
        await owner.get(f"{path}/chg_1"),
        await owner.post(f"{path}/chg_1/reject", {"new_hash": "0" * 64}),
    ):
        assert (reply.status, reply.word) == (404, "SCAILINK_CHANGE_NOT_FOUND")
    assert (await owner.get(f"{path}?state=odd")).status == 422


async def test_readers_see_only_what_is_in_service(registry: Registry, owner: Rest) -> None:
    async with listing(registry) as lists:
        lists.lists["tools"] = [SEARCH, SEARCH]
        manager, user = registry.as_("manager"), registry.as_("user")
        given = body(lists.url, "shared list", is_tenant_shared=True, tool_changes="review")
        server = (await manager.post(body=given)).json["data"]
        lists.lists["tools"] = [SEARCH, {**SEARCH, "name": "new"}]
        await manager.post(f"/{server['id']}/refresh")
        path = f"/{server['id']}/capabilities"
        assert len(await items(manager, path)) == 2
        assert [one["name"] for one in await items(user, path)] == ["search"]
        assert await items(user, f"{path}?state=held") == []
        assert await items(user, f"{path}?state=dropped") == []
        shown = (await user.get(f"/{server['id']}")).json["data"]
        assert [one["name"] for one in shown["capabilities"]] == ["search"]
