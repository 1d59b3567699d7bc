"""The seven invariants of remote servers, each by a test that fails when it is broken."""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.dev.platform import SEED_LOGINS
from scaimcp.remotes.enumerations import CapabilityState, ConsentTier, Status
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.rules.naming import resource_prefix, scope_key
from scaimcp.remotes.watching.discovery import Discovered
from tests.integration.rawserver import Play, Writer, raw, reply, reset, serve_raw
from tests.integration.remotes import registry as rows
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.rest import Rest, body
from tests.integration.remotes.servers import Registry, Upstream
from tests.integration.remotes.sidebyside import Fleet, dotted, safe, start_fleet
from tests.integration.remotes.test_rows_calls import DONE, Forgetful
from tests.world import Client

USE, OWN = "scailink:remote.use", "scailink:remote.manage_own"
NOTE, PROMPT = {"uri": "note://one", "name": "one"}, {"name": "greet"}
ANSWERS: dict[str, dict[str, Any]] = {
    "tools/call": DONE,
    "prompts/get": {"resultType": "complete", "messages": []},
    "resources/read": {"resultType": "complete", "contents": [], "ttlMs": 0},
    "completion/complete": {"resultType": "complete", "completion": {"values": []}},
}
REALLY = {"arguments": {}, "definition_hash": "0" * 64}


class Setup:
    """A gateway with one server behind it that has a tool, a prompt and a resource."""

    def __init__(self, fleet: Fleet, upstream: Upstream) -> None:
        self.fleet = fleet
        self.upstream = upstream

    async def row(self, name: str, **changed: Any) -> ServerRow:
        return await self.fleet.register(self.upstream.url, name, **changed)

    async def put(self, name: str, tenant: str, user: str) -> ServerRow:
        """Somebody else's personal server, discovered and active."""
        registry, url = self.fleet.registry, self.upstream.url
        new = rows.server(
            tenant, name, endpoint_url=url, endpoint_origin=url.removesuffix("/mcp"),
            owner_user_id=user, scope_key=scope_key(user),
        )  # fmt: skip
        row = await rows.put(registry.database, new)
        discover = registry.parts.discoverer.discover
        assert await discover(tenant, row.id, source="refresh", seconds=5) == Discovered("stored")
        return row

    def asked(self) -> int:
        """How often the server was asked for something other than its lists."""
        return sum(self.upstream.asked(method) for method in ANSWERS)

    async def tenant_of(self, role: str) -> tuple[str, str]:
        """Tenant and user behind a role."""
        world = self.fleet.world
        await world.as_(role).names()
        services = world.app.services
        assert services is not None
        caller = services.verifier.remembered(world.tokens[role])
        assert caller is not None
        return caller.tenant_id, caller.user_id


def played(upstream: Upstream) -> None:
    upstream.plays.clear()
    upstream.capabilities = {name: {} for name in ("tools", "prompts", "resources", "completions")}
    upstream.lists.update({"prompts/list": [PROMPT], "resources/list": [NOTE]})
    for method, answer in ANSWERS.items():
        upstream.plays[method] = upstream.answering(answer)


@pytest_asyncio.fixture(scope="module")
async def setup(database_url: str, redis_url: str) -> AsyncIterator[Setup]:
    async with serve_raw() as server:
        upstream = Upstream(server)
        played(upstream)
        async with start_fleet(database_url, redis_url, server.url) as fleet:
            await fleet.world.grant("extra_permissions", USE, OWN)
            yield Setup(fleet, upstream)


@pytest.fixture(autouse=True)
def restored(setup: Setup) -> None:
    played(setup.upstream)


# --- I1 ---------------------------------------------------------------------------------------


@pytest.mark.invariant("I1")
async def test_nothing_that_reaches_a_server_bears_the_callers_token(setup: Setup) -> None:
    fleet, world = setup.fleet, setup.fleet.world
    login = {"login": SEED_LOGINS["tenant_admin"]}
    person = str((await world.control("POST", "/tokens", login))["token"])
    clients = [fleet.client(), fleet.client("2025-11-25"), world.with_token(person)]
    setup.upstream.raw.seen.clear()
    server = await Rest(clients[0]).registered(setup.upstream.url, "told", forward_user_id=True)
    prefix = f"scailink://remote/{server['name_prefix'].split('.')[1]}/{server['slug']}/"
    name = f"{server['name_prefix']}search"
    hash_of = next(c["definition_hash"] for c in server["capabilities"] if c["kind"] == "tool")
    before = setup.asked()
    for client in clients:
        assert not (await client.call(name)).is_error
        given: tuple[tuple[str, dict[str, Any]], ...] = (
            ("resources/read", {"uri": f"{prefix}note://one"}),
            ("prompts/get", {"name": f"{server['name_prefix']}greet"}),
            (
                "completion/complete",
                {
                    "ref": {"type": "ref/prompt", "name": f"{server['name_prefix']}greet"},
                    "argument": {"name": "a", "value": "b"},
                },
            ),
        )
        for method, params in given:
            assert (await client.rpc(method, params)).result is not None
        assert (await Rest(client).post(f"/{server['id']}/refresh")).status == 200
    ran = await Rest(clients[2]).post(
        f"/{server['id']}/tools/search/invoke", {"arguments": {}, "definition_hash": hash_of}
    )
    assert ran.status == 200
    assert setup.asked() == before + 4 * len(clients) + 1
    tokens = [str(client.token) for client in clients]
    for request in setup.upstream.raw.seen:
        assert "authorization" not in request.headers
        everything = f"{request.target} {request.lines} {request.body!r}"
        assert not any(token in everything for token in tokens)


# --- I2 ---------------------------------------------------------------------------------------


async def every_kind_of_server(setup: Setup) -> dict[str, ServerRow]:
    """One server for each reason to be hidden, and some that are not."""
    fleet = setup.fleet
    tenant, other_user = await setup.tenant_of("extra_permissions")
    elsewhere, stranger = await setup.tenant_of("other_tenant_admin")
    found = {
        "shared": await setup.row("shared"),
        "locked": await setup.row("locked", consent_tier=ConsentTier.LOCKED),
        "own": await fleet.register_own(setup.upstream.url, "mine"),
        "another's": await setup.put("theirs", tenant, other_user),
        "another tenant's": await setup.put("foreign", elsewhere, stranger),
        "held": await setup.row("held"),
    }
    for status in (Status.ERROR, Status.DISABLED, Status.PENDING_APPROVAL):
        row = found[status.value] = await setup.row(status.value.replace("_", ""))
        await rows.change_state(fleet.registry.database, row, status=status, status_reason=None)
    await fleet.registry.execute(
        "UPDATE remote_capabilities SET state = $2 WHERE server_id = $1",
        found["held"].id,
        CapabilityState.HELD.value,
    )
    await fleet.bump()
    return found


async def listed_names(client: Client) -> set[str]:
    found = set(await client.names("?names=dotted"))
    for method, member, key in (
        ("prompts/list", "prompts", "name"),
        ("resources/list", "resources", "uri"),
    ):
        page = (await client.rpc(method, path="/mcp?names=dotted")).result
        found |= {item[key] for item in page[member]}
    return found


@pytest.mark.invariant("I2")
async def test_exactly_what_is_listed_can_be_called(setup: Setup) -> None:
    servers = await every_kind_of_server(setup)
    visible: dict[str, set[str]] = {}
    for role in ("tenant_admin", "extra_permissions", "other_tenant_admin", "tenant_viewer"):
        client = setup.fleet.client(role=role)
        listed = await listed_names(client)
        visible[role] = set()
        for kind, row in servers.items():
            tool, prompt = dotted(row, "search"), dotted(row, "greet")
            uri = f"{resource_prefix(row.scope_key, row.slug)}note://one"
            ways: list[tuple[str, str, dict[str, Any]]] = [
                (tool, "tools/call", {"name": tool, "arguments": {}}),
                (tool, "tools/call", {"name": safe(row, "search"), "arguments": {}}),
                (tool, "tools/call", {"name": "tools_call", "arguments": {"name": tool}}),
                (prompt, "prompts/get", {"name": prompt}),
                (prompt, "prompts/get", {"name": safe(row, "greet")}),
                (uri, "resources/read", {"uri": uri}),
            ]
            # A held resource is none: only tools and prompts wait for a decision.
            for name, method, params in ways[: 5 if kind == "held" else 6]:
                before = setup.asked()
                await client.rpc(method, params)
                is_called = setup.asked() > before
                assert is_called is (name in listed), (role, kind, method)
            found = await client.call("tools_search", {"query": f"{row.slug} search"})
            names = {item["name"] for item in found.value["items"]}
            assert (tool in names) is (tool in listed), (role, kind)
            if tool in listed:
                visible[role].add(kind)
    assert visible == {
        "tenant_admin": {"shared", "own"},
        "extra_permissions": {"shared", "another's"},
        "other_tenant_admin": {"another tenant's"},
        "tenant_viewer": set(),
    }


# --- I3 ---------------------------------------------------------------------------------------


async def hang(writer: Writer) -> None:
    await asyncio.Event().wait()


FAILURES: dict[str, Play] = {
    "silent": hang,
    "broken off": reset(),
    "an error": reply(500),
    "unauthorised": reply(401),
    "nonsense": raw(b"hello\r\n\r\n"),
}


@pytest.mark.invariant("I3")
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_server_that_dies_removes_no_row(registry_for: Opened, failure: str) -> None:
    async with serve_raw() as one, serve_raw() as two, registry_for(one.url, two.url) as registry:
        dying, living = Upstream(one), Upstream(two)
        row = await registry.put(dying.url, "dying")
        other = await registry.put(living.url, "living")
        for each in (row, other):
            assert await registry.discover(each) == Discovered("stored")
        before = [await registry.rows(each) for each in (row, other)]
        one.default = FAILURES[failure]
        for _ in range(3):
            assert (await registry.discover(row, seconds=0.5)).result == "failed"
        assert await registry.status(row) != (Status.ACTIVE, "ok")
        assert [await registry.rows(each) for each in (row, other)] == before


@pytest.mark.invariant("I3")
async def test_a_server_that_has_nothing_any_more_leaves_the_others_alone(
    registry_for: Opened,
) -> None:
    async with serve_raw() as one, registry_for(one.url) as registry:
        upstream = Upstream(one)
        row, other = await registry.put(upstream.url), await registry.put(upstream.url, "other")
        for each in (row, other):
            await registry.discover(each)
        before = await registry.rows(other)
        upstream.lists["tools/list"] = []
        assert await registry.discover(row) == Discovered("stored")
        assert await registry.rows(row) == []
        assert await registry.rows(other) == before


# --- I4 ---------------------------------------------------------------------------------------


def holders(needle: str) -> list[str]:
    """Return the types of what holds a text in this process, other than `needle` itself."""
    gc.collect()
    wanted = needle.encode()
    waiting: list[Any] = gc.get_objects()
    tracked, done = len(waiting), set[int]()
    found = []
    while waiting:
        holder = waiting.pop()
        for inner in gc.get_referents(holder):
            if isinstance(inner, str):
                is_found = inner is not needle and needle in inner
            elif isinstance(inner, bytes | bytearray):
                is_found = inner is not wanted and wanted in inner
            else:
                if not gc.is_tracked(inner) and id(inner) not in done:
                    done.add(id(inner))
                    waiting.append(inner)
                continue
            if is_found:
                found.append(type(holder).__qualname__)
    assert tracked > 10_000
    return found


@pytest.mark.invariant("I4")
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_between_requests_no_plain_value_is_in_memory(setup: Setup, era: str) -> None:
    """The whole gateway runs in this process: registration, discovery, calls, checks."""
    if era == "legacy":
        Forgetful(setup.upstream)
    value = f"ntn_{secrets.token_hex(16)}"
    who = Rest(setup.fleet.client())
    given = {"auth_type": "bearer", "credentials": {"authorization": value}}
    server = await who.registered(setup.upstream.url, f"kept {era}", **given)
    del given
    assert server["status"] == "active", server["last_error_message"]
    assert f"Bearer {value}" in {r.headers.get("authorization") for r in setup.upstream.raw.seen}
    for _ in range(2):
        called = await who.client.call(f"{server['name_prefix']}search")
        assert called.reply.result["content"] == DONE["content"]
    assert (await who.post(f"/{server['id']}/refresh")).status == 200
    registry = setup.fleet.registry
    await registry.execute(
        "UPDATE remote_server_state SET next_check_at = now(), last_call_ok_at = NULL"
        " WHERE server_id = $1",
        server["id"],
    )
    probed = await registry.parts.prober.probe(server["tenant_id"], server["id"])
    assert probed.result == "ok"
    # What the stand-in for the server has recorded is not the gateway's.
    for request in setup.upstream.raw.seen:
        request.lines.clear()
    assert holders(value) == []


# --- I6 ---------------------------------------------------------------------------------------

HALF = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
ENDINGS: dict[str, Play] = {
    **{str(status): reply(status) for status in (400, 401, 403, 408, 418, 429, 500, 502, 503, 504)},
    "302": reply(302, b"", "Location: /mcp"),
    "no word": reset(),
    "half an answer": raw(HALF),
    "no http": raw(b"hello\r\n\r\n"),
    "html": reply(200, b"<html>", content_type="text/html"),
    "nothing": reply(200, b""),
    "a stream without an answer": reply(200, b": x\n\n", content_type="text/event-stream"),
    "late": hang,
}


@pytest.mark.invariant("I6")
@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_however_a_call_ends_it_was_sent_once(setup: Setup, era: str) -> None:
    upstream, fleet = setup.upstream, setup.fleet
    if era == "legacy":
        Forgetful(upstream)
    row = await setup.row(f"once-{era}", timeout_seconds=1)
    services = fleet.world.app.services
    assert services is not None
    assert services.remotes is not None
    for ending, play in ENDINGS.items():
        services.remotes.parts.breaker.forget(row.id)
        upstream.plays["tools/call"] = play
        before = upstream.asked("tools/call")
        called = await fleet.client().call(dotted(row, "search"))
        assert called.reply.result["isError"] is True, ending
        assert upstream.asked("tools/call") == before + 1, ending


# --- I7 ---------------------------------------------------------------------------------------

UNKNOWN = "rs_00000000000000000000000000"
DEEDS: dict[str, tuple[str, str, Any]] = {
    "detail": ("GET", "", None),
    "patch": ("PATCH", "", {"name": "x"}),
    "delete": ("DELETE", "", None),
    "refresh": ("POST", "/refresh", None),
    "put credential": ("PUT", "/credentials/authorization", {"value": "x"}),
    "delete credential": ("DELETE", "/credentials/authorization", None),
    "approve": ("POST", "/approve", None),
    "disable": ("POST", "/disable", None),
    "enable": ("POST", "/enable", None),
    "capabilities": ("GET", "/capabilities", None),
    "changes": ("GET", "/changes", None),
    "change": ("GET", "/changes/chg_1", None),
    "accept": ("POST", "/changes/chg_1/accept", {"new_hash": "0" * 64}),
    "reject": ("POST", "/changes/chg_1/reject", {"new_hash": "0" * 64}),
    "pins": ("GET", "/pins", None),
    "invoke": ("POST", "/tools/search/invoke", REALLY),
}


@pytest.mark.row(29)
@pytest.mark.invariant("I7")
async def test_a_foreign_row_is_answered_as_one_that_is_not_there(setup: Setup) -> None:
    registry, world = setup.fleet.registry, setup.fleet.world
    shared = await setup.row("theirs-shared")
    personal = await setup.fleet.register_own(setup.upstream.url, "theirs-own")
    before = setup.asked(), await everything(registry, shared, personal)
    askers = {"other_tenant_admin": (shared, personal), "extra_permissions": (personal,)}
    for role, hidden in askers.items():
        login = {"login": SEED_LOGINS[role]}
        token = str((await world.control("POST", "/tokens", login))["token"])
        who = Rest(world.with_token(token))
        for deed, (method, path, given) in DEEDS.items():
            answers = set()
            for server_id in (UNKNOWN, *(row.id for row in hidden)):
                reply_ = await who.send(method, f"/{server_id}{path}", given)
                own = reply_.headers["x-request-id"].encode()
                answers.add((reply_.status, reply_.content.replace(own, b"")))
            assert len(answers) == 1, (role, deed)
            [(status, content)] = answers
            # Only a tenant's manager approves, of whatever there is.
            expected = 403 if (role, deed) == ("extra_permissions", "approve") else 404
            assert status == expected, (role, deed)
            code = msgspec.json.decode(content)["error"]["code"]
            assert code in ("SCAILINK_SERVER_NOT_FOUND", "AUTHZ_PERMISSION_DENIED")
        await forgive(setup)
    assert (setup.asked(), await everything(registry, shared, personal)) == before


async def everything(registry: Registry, *found: ServerRow) -> list[Any]:
    """What is stored of servers, but for the moment of reading it."""
    seen = [await registry.seen(row) for row in found]
    states = [msgspec.structs.replace(one.state, read_at=one.row.created_at) for one in seen]
    return [[one.row for one in seen], states, [await registry.rows(row) for row in found]]


async def forgive(setup: Setup) -> None:
    """Forget how often everybody did something."""
    services = setup.fleet.world.app.services
    assert services is not None
    async for key in services.redis.raw.scan_iter("scaimcp:rate:*"):
        await services.redis.raw.delete(key)


@pytest.mark.row(60)
@pytest.mark.invariant("I7")
async def test_a_foreign_name_is_answered_as_one_that_means_nothing(setup: Setup) -> None:
    row = await setup.fleet.register_own(setup.upstream.url, "secretive")
    unknown = msgspec.structs.replace(row, slug="nothing-000000")
    for role in ("extra_permissions", "other_tenant_admin"):
        client = setup.fleet.client("2025-11-25", role)
        for one, other in (
            (dotted(row, "search"), dotted(unknown, "search")),
            (safe(row, "search"), safe(unknown, "search")),
        ):
            foreign, missing = await client.call(one), await client.call(other)
            assert foreign.code == missing.code == "TOOL_NOT_FOUND"
            assert foreign.error["message"] == missing.error["message"]
            assert row.slug not in str(foreign.error)


@pytest.mark.row(9)
@pytest.mark.invariant("I7")
async def test_a_name_that_another_tenant_has_is_free(setup: Setup) -> None:
    world = setup.fleet.world
    mine, theirs = Rest(world.as_("tenant_admin")), Rest(world.as_("other_tenant_admin"))
    first = await mine.registered(setup.upstream.url, "Common", is_tenant_shared=True)
    second = await theirs.post(body=body(setup.upstream.url, "Common", is_tenant_shared=True))
    assert second.status == 201
    assert second.json["data"]["slug"] == first["slug"]
