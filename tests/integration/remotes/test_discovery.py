"""Discovery: what a server lists ends up in the rows, once, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from scaimcp.remotes.enumerations import AuthType, CapabilityState, Kind, Status, Transport
from scaimcp.remotes.rules.canonical import definition_hash
from scaimcp.remotes.rules.health import next_discovery
from scaimcp.remotes.watching.discovery import Discovered
from tests.integration.rawserver import raw, reply, waiting
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.registry import execute, until
from tests.integration.remotes.servers import Registry, Upstream, named
from tests.integration.upstream.support import sdk

STORED = Discovered("stored")


@pytest.mark.parametrize("era", ["both", "legacy", "sse"])
async def test_the_lists_of_a_real_server_are_stored(registry_for: Opened, era: str) -> None:
    async with sdk(era) as fleet, registry_for(fleet.url) as registry:
        transport = Transport.SSE if era == "sse" else Transport.STREAMABLE_HTTP
        row = await registry.put(fleet.url, transport=transport)
        assert await registry.discover(row) == STORED
        assert await registry.names(row) == ["add", "fail", "steps", "ask", "linger"]
        assert await registry.names(row, Kind.RESOURCE) == ["note://one"]
        assert await registry.names(row, Kind.PROMPT) == ["greet"]
        state = (await registry.seen(row)).state
        assert (state.status, state.status_reason, state.last_health_status) == (
            Status.ACTIVE, None, "ok",
        )  # fmt: skip
        assert state.protocol_era == ("modern" if era == "both" else "legacy")
        assert state.server_info is not None
        assert state.server_info["version"] == "3.2.0"
        assert state.server_info["instructions"] == "Be kind."
        assert state.upstream_capabilities is not None
        assert "tools" in state.upstream_capabilities
        if era == "legacy":
            assert fleet.requests[-1][0] == "DELETE"


async def test_a_first_success_sets_the_state_of_the_table(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    assert await registry.discover(row, "register", 4) == STORED
    state = (await registry.seen(row)).state
    assert state.has_catalog
    assert state.consecutive_failures == 0
    assert state.last_discovery_at is not None
    assert state.next_discovery_at == next_discovery(state.last_discovery_at, 900, row.id)
    assert state.list_notes == {}
    assert state.lease_owner is None
    assert await registry.version() == 1
    assert await registry.audited(row) == [
        ("remote_server.status", {"from": "error", "to": "active", "class": "ok", "n": 0})
    ]


async def test_a_second_discovery_of_the_same_lists_writes_no_row_and_raises_nothing(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    await registry.discover(row)
    before = await registry.rows(row)
    assert await registry.discover(row, "discovery") == STORED
    assert await registry.rows(row) == before
    assert await registry.version() == 1
    assert upstream.asked("server/discover") == 2


async def test_a_row_holds_the_definition_its_hash_and_its_alias(
    registry: Registry, upstream: Upstream
) -> None:
    tool = named("search", "Search pages.")
    upstream.lists["tools/list"] = [tool]
    row = await registry.put(upstream.url)
    await registry.discover(row)
    [stored] = await registry.rows(row)
    assert msgspec.json.decode(stored.definition) == tool
    assert stored.definition_hash == stored.upstream_hash == definition_hash("tool", tool)
    assert stored.alias is not None
    assert stored.alias.startswith("r_one__search_")


async def test_auto_serves_what_changed_and_writes_it_down(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.lists["tools/list"] = [named("search", "Something else."), named("more")]
    assert await registry.discover(row) == STORED
    assert await registry.names(row) == ["search", "more"]
    assert await registry.version() == 2
    action, data = (await registry.audited(row))[-1]
    assert action == "remote_tool.change"
    assert (data["name"], data["class"], data["kind"]) == ("search", "breaking", "tool")
    assert data["old_hash"] != data["new_hash"]
    assert await registry.changes(row) == []


@pytest.mark.row(46)
async def test_an_empty_list_is_a_success_and_removes_what_was_there(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.lists["tools/list"] = [named(f"t{i}") for i in range(30)]
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.lists["tools/list"] = []
    assert await registry.discover(row) == STORED
    assert await registry.rows(row) == []
    action, data = (await registry.audited(row))[-1]
    assert (action, data["class"], data["count"]) == ("remote_tool.change", "removed", 30)
    assert (await registry.seen(row)).state.status is Status.ACTIVE


async def test_another_order_is_stored_and_raises_nothing(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.lists["tools/list"] = [named("a"), named("b")]
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.lists["tools/list"].reverse()
    await registry.discover(row)
    assert await registry.names(row) == ["b", "a"]
    assert await registry.version() == 1


@pytest.mark.row(42, 44)
async def test_bad_definitions_are_dropped_with_their_reasons(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.lists["tools/list"] = [
        named("good"), named("good"), named("big", "x" * 70_000), 7,
        {"name": "n\nl", "inputSchema": {"type": "object"}},
        {"name": "wrong", "inputSchema": {"type": "string"}},
    ]  # fmt: skip
    row = await registry.put(upstream.url)
    assert await registry.discover(row) == STORED
    assert await registry.names(row) == ["good"]
    notes = (await registry.seen(row)).state.list_notes
    assert notes is not None
    assert [one["reason"] for one in notes["dropped"]] == [
        "duplicate_name", "definition_too_large", "not_an_object", "invalid_name",
        "schema_not_an_object",
    ]  # fmt: skip


@pytest.mark.row(41)
async def test_of_ten_thousand_tools_the_first_512_stay_and_the_rest_is_counted(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.lists["tools/list"] = [named(f"t{i}") for i in range(10_000)]
    row = await registry.put(upstream.url)
    assert await registry.discover(row) == STORED
    assert len(await registry.names(row)) == 512
    notes = (await registry.seen(row)).state.list_notes
    assert notes == {"truncated": {"tool": 10_000 - 512}}


async def test_more_than_two_hundred_dropped_ones_are_counted(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.lists["tools/list"] = [7] * 300
    row = await registry.put(upstream.url)
    await registry.discover(row)
    notes = (await registry.seen(row)).state.list_notes
    assert notes is not None
    assert len(notes["dropped"]) == 200
    assert notes["dropped_count"] == 300


@pytest.mark.row(45)
async def test_a_failed_list_of_prompts_keeps_the_old_prompts(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.capabilities = {"tools": {}, "prompts": {}}
    upstream.lists["prompts/list"] = [{"name": "greet"}]
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.plays["prompts/list"] = reply(500)
    upstream.lists["tools/list"] = [named("other")]
    assert await registry.discover(row) == STORED
    assert await registry.names(row) == ["other"]
    assert await registry.names(row, Kind.PROMPT) == ["greet"]
    state = (await registry.seen(row)).state
    assert state.list_notes == {"partial": {"prompt": "RemoteServerError"}}
    assert state.last_health_status == "ok"


@pytest.mark.invariant("I3")
async def test_a_failed_list_of_tools_keeps_every_row(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.capabilities = {"tools": {}, "prompts": {}}
    upstream.lists["prompts/list"] = [{"name": "greet"}]
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.plays["tools/list"] = reply(500)
    upstream.lists["prompts/list"] = []
    assert await registry.discover(row) == Discovered("failed", "RemoteServerError")
    assert await registry.names(row) == ["search"]
    assert await registry.names(row, Kind.PROMPT) == ["greet"]
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 1)
    assert await registry.version() == 1


async def test_what_is_late_behind_the_tools_is_partial(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.capabilities = {"tools": {}, "prompts": {}, "resources": {}}
    upstream.plays["resources/list"] = waiting(asyncio.Event(), reply())
    row = await registry.put(upstream.url)
    assert await registry.discover(row, seconds=1.0) == STORED
    notes = (await registry.seen(row)).state.list_notes
    assert notes is not None
    assert notes["partial"] == dict.fromkeys(
        ("resource", "resource_template", "prompt"), "TimeoutError"
    )


FAULTS: dict[str, tuple[Any, str]] = {
    "html": (reply(200, b"<html>", content_type="text/html"), "ProtocolError"),
    "empty": (reply(200, b""), "ProtocolError"),
    "broken json": (reply(200, b'{"jsonrpc":'), "ProtocolError"),
    "401": (reply(401), "AuthenticationError"),
    "500": (reply(500), "RemoteServerError"),
    "elsewhere": (reply(302, b"", "Location: http://other.example/"), "RedirectError"),
    "no http": (raw(b"hello\r\n\r\n"), "ProtocolError"),
}


@pytest.mark.row(37)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_recorded_by_its_class(
    registry: Registry, upstream: Upstream, fault: str
) -> None:
    play, error_class = FAULTS[fault]
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.plays["tools/list"] = play
    assert await registry.discover(row) == Discovered("failed", error_class)
    state = (await registry.seen(row)).state
    assert (state.last_health_status, state.consecutive_failures) == (error_class, 1)
    assert state.last_error_message
    assert await registry.names(row) == ["search"]


async def test_a_server_that_says_nothing_in_time_is_late_and_a_job_follows(
    registry: Registry, upstream: Upstream
) -> None:
    upstream.plays["tools/list"] = waiting(asyncio.Event(), reply())
    row = await registry.put(upstream.url)
    ended = await registry.discover(row, "register", 0.5)
    assert ended == Discovered("failed", "TimeoutError")
    state = (await registry.seen(row)).state
    assert (state.status, state.status_reason) == (Status.ERROR, None)
    assert await registry.has_job(f"discover-now:{row.id}")


async def test_a_closed_port_and_a_host_that_may_not_be_reached(
    registry: Registry, registry_for: Opened
) -> None:
    async with registry_for("http://127.0.0.1:1") as other:
        row = await other.put("http://127.0.0.1:1/mcp")
        assert await other.discover(row) == Discovered("failed", "ConnectError")
        foreign = await other.put("http://127.0.0.1:2/mcp", "two")
        ended = await other.discover(foreign)
        assert ended == Discovered("failed", "EndpointForbiddenError")
        assert ("remote_endpoint.refuse" in dict(await other.audited(foreign))) is True


@pytest.mark.row(53)
async def test_busy_is_no_failure(registry: Registry, upstream: Upstream) -> None:
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.plays["tools/list"] = reply(429, b"", "Retry-After: 86400")
    assert await registry.discover(row) == Discovered("failed", "RateLimitedError")
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 0)
    assert state.next_check_at is not None
    assert 890 < (state.next_check_at - state.read_at).total_seconds() <= 900


# --- credentials ------------------------------------------------------------------------------


async def test_a_bearer_goes_out_with_every_request_and_nowhere_else(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.BEARER)
    await registry.credential(row, "authorization", "ntn_secret")
    assert await registry.discover(row) == STORED
    sent = {request.headers["authorization"] for request in upstream.raw.seen}
    assert sent == {"Bearer ntn_secret"}
    assert "ntn_secret" not in str(await registry.audited(row))
    assert not any("x-scaigrid-user" in request.headers for request in upstream.raw.seen)


async def test_key_headers_go_out_as_they_are(registry: Registry, upstream: Upstream) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.API_KEY_HEADER)
    await registry.credential(row, "x-api-key", "k1")
    await registry.credential(row, "authorization", "Basic abc")
    assert await registry.discover(row) == STORED
    headers = upstream.raw.seen[-1].headers
    assert (headers["x-api-key"], headers["authorization"]) == ("k1", "Basic abc")


async def test_a_server_without_its_credential_is_not_asked(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.BEARER)
    assert await registry.discover(row) == Discovered("failed", "CredentialMissingError")
    assert upstream.raw.seen == []


@pytest.mark.row(4)
async def test_an_altered_credential_is_our_fault_and_told_once(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.BEARER)
    await registry.credential(row, "authorization", "v")
    await registry.discover(row)
    await execute(
        registry.database,
        "UPDATE remote_credentials SET ciphertext = ciphertext || '\\x00'"
        " WHERE tenant_id = $1 AND server_id = $2",
        row.tenant_id,
        row.id,
    )
    asked = len(upstream.raw.seen)
    for _ in range(2):
        assert await registry.discover(row) == Discovered("failed", "CredentialCorruptError")
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 0)
    assert len(upstream.raw.seen) == asked
    actions = [action for action, _ in await registry.audited(row)]
    assert actions.count("remote_credential.corrupt") == 1


@pytest.mark.row(70)
async def test_an_echoed_credential_is_redacted(registry: Registry, upstream: Upstream) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.BEARER)
    await registry.credential(row, "authorization", "ntn_secret")
    error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "no ntn_secret"}}
    upstream.plays["tools/list"] = reply(400, error)
    await registry.discover(row)
    message = (await registry.seen(row)).state.last_error_message
    assert message is None or "ntn_secret" not in message


@pytest.mark.parametrize("challenge", [("WWW-Authenticate: Bearer",), ()])
async def test_a_server_for_each_users_own_account_lists_nothing(
    registry: Registry, upstream: Upstream, challenge: tuple[str, ...]
) -> None:
    upstream.plays["server/discover"] = reply(401, b"", *challenge)
    row = await registry.put(upstream.url, auth_type=AuthType.PER_USER)
    ended = await registry.discover(row)
    assert ended == (STORED if challenge else Discovered("failed", "AuthenticationError"))
    assert upstream.asked("tools/list") == 0
    assert await registry.rows(row) == []


async def test_a_server_for_each_users_own_account_that_lets_anyone_in(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.PER_USER)
    assert await registry.discover(row) == STORED
    assert upstream.asked("tools/list") == 0


# --- eras -------------------------------------------------------------------------------------


async def test_a_remembered_legacy_era_is_asked_first_and_again_after_a_day(
    registry_for: Opened,
) -> None:
    async with sdk("legacy") as fleet, registry_for(fleet.url) as registry:
        row = await registry.put(fleet.url)
        await registry.discover(row)
        checked = (await registry.seen(row)).state.era_checked_at
        fleet.requests.clear()
        await registry.discover(row)
        versions = [headers.get("mcp-protocol-version") for _, headers in fleet.requests]
        assert "2026-07-28" not in versions
        assert (await registry.seen(row)).state.era_checked_at == checked
        await registry.set_state(row, "era_checked_at = now() - interval '25 hours'")
        await registry.discover(row)
        versions = [headers.get("mcp-protocol-version") for _, headers in fleet.requests]
        assert "2026-07-28" in versions
        again = (await registry.seen(row)).state.era_checked_at
        assert checked is not None
        assert again is not None
        assert again > checked


@pytest.mark.row(50)
async def test_a_change_of_era_overnight_is_no_failure(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    await registry.set_state(
        row, "protocol_era = 'legacy', protocol_version = '2025-06-18', era_checked_at = now()"
    )
    upstream.plays["initialize"] = reply(404)
    assert await registry.discover(row) == STORED
    state = (await registry.seen(row)).state
    assert (state.protocol_era, state.protocol_version) == ("modern", "2026-07-28")
    assert state.consecutive_failures == 0


# --- names ------------------------------------------------------------------------------------


async def test_an_alias_that_another_server_has_drops_the_later_definition(
    registry: Registry, upstream: Upstream
) -> None:
    row, other = await registry.put(upstream.url), await registry.put(upstream.url, "two")
    await registry.discover(row)
    [stored] = await registry.rows(row)
    upstream.lists["tools/list"] = [named("search"), named("fine")]
    await registry.discover(other)
    [twin, _] = await registry.rows(other)
    # No two names meet in practice: the hash in the alias is made to.
    await execute(
        registry.database,
        "UPDATE remote_capabilities SET alias = $3 WHERE tenant_id = $1 AND server_id = $2",
        row.tenant_id, row.id, twin.alias,
    )  # fmt: skip
    assert stored.alias != twin.alias
    assert await registry.discover(other) == STORED
    assert await registry.names(other) == ["fine"]
    notes = (await registry.seen(other)).state.list_notes
    assert notes is not None
    assert notes["dropped"] == [{"kind": "tool", "name": "search", "reason": "alias_collision"}]


# --- servers that are not contacted -----------------------------------------------------------


@pytest.mark.parametrize("status", [Status.PENDING_APPROVAL, Status.DISABLED])
async def test_a_server_that_waits_or_is_off_is_never_contacted(
    registry: Registry, upstream: Upstream, status: Status
) -> None:
    row = await registry.put(upstream.url, status=status, status_reason=None)
    for source in ("discovery", "refresh", "register"):
        assert await registry.discover(row, source) == Discovered("skipped")
    assert upstream.raw.connections == 0


async def test_an_unknown_server_and_one_of_another_tenant_are_skipped(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url)
    discover = registry.parts.discoverer.discover
    for tenant, server in (("other", row.id), (row.tenant_id, "rs_none")):
        ended = await discover(tenant, server, source="discovery", seconds=1)
        assert ended == Discovered("skipped")
    assert upstream.raw.connections == 0


async def test_rows_of_a_server_in_error_are_kept(registry: Registry, upstream: Upstream) -> None:
    row = await registry.put(upstream.url)
    await registry.discover(row)
    upstream.plays["server/discover"] = reply(500)
    for _ in range(3):
        await registry.discover(row)
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ERROR, 3)
    assert await registry.version() == 2
    [stored] = await registry.rows(row)
    assert stored.state is CapabilityState.ADVERTISED
    del upstream.plays["server/discover"]
    assert await registry.discover(row) == STORED
    assert await registry.status(row) == (Status.ACTIVE, "ok")
    assert await registry.version() == 3
    await until(lambda: _no_lease(registry, row))


async def _no_lease(registry: Registry, row: Any) -> bool:
    return (await registry.seen(row)).state.lease_owner is None
