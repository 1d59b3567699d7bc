"""Calls of remote tools that do not come through, and what the caller is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.remotes.enumerations import AuthType, ConsentTier
from scaimcp.remotes.models import ServerRow
from scaimcp.types import Secret
from tests.integration.rawserver import Writer, reply, reset, serve_raw
from tests.integration.remotes.servers import Upstream, named
from tests.integration.remotes.sidebyside import Fleet, dotted, plain, safe, start_fleet
from tests.world import MODERN, Called

REASON = "because"


class Setup:
    def __init__(self, fleet: Fleet, upstream: Upstream, row: ServerRow) -> None:
        self.fleet = fleet
        self.upstream = upstream
        self.row = row

    @property
    def sent(self) -> int:
        return self.upstream.asked("tools/call")

    async def call(self, name: str = "search", arguments: Any = None, **more: Any) -> Called:
        revision = more.pop("revision", MODERN)
        role = more.pop("role", "tenant_admin")
        full = dotted(self.row, name)
        return await self.fleet.client(revision, role).call(full, arguments, **more)

    def answers(self, *lines: str, status: int = 200, **body: Any) -> None:
        """Answer the next calls with a JSON-RPC message."""

        async def play(writer: Writer) -> None:
            message = msgspec.json.decode(self.upstream.raw.seen[-1].body)
            await reply(status, {"jsonrpc": "2.0", "id": message["id"], **body}, *lines)(writer)

        self.upstream.plays["tools/call"] = play

    def calm(self) -> None:
        """Forget what failures have done to this process's view of the server."""
        services = self.fleet.world.app.services
        assert services is not None
        assert services.remotes is not None
        services.remotes.parts.breaker.forget(self.row.id)


@pytest_asyncio.fixture(scope="module")
async def setup(database_url: str, redis_url: str) -> AsyncIterator[Setup]:
    async with serve_raw() as raw:
        upstream = Upstream(raw)
        upstream.lists["tools/list"] = [named("search"), named("odd name/x")]
        async with start_fleet(database_url, redis_url, raw.url) as fleet:
            row = await fleet.register(upstream.url, "Raw")
            yield Setup(fleet, upstream, row)


@pytest_asyncio.fixture(autouse=True)
async def quiet(setup: Setup) -> AsyncIterator[None]:
    setup.upstream.plays.clear()
    yield
    setup.upstream.plays.clear()
    setup.calm()


@pytest.mark.parametrize("revision", ["2025-11-25", MODERN])
async def test_a_json_rpc_error_is_a_failed_call_with_its_number(
    setup: Setup, revision: str
) -> None:
    setup.answers(error={"code": -32050, "message": "No\u0007 such\nthing", "data": {"x": 1}})
    called = await setup.call(revision=revision)
    assert called.code == "McpError"
    assert called.error["jsonrpc_code"] == -32050
    assert called.error["message"] == "No such thing"
    assert called.error["request_id"] == called.reply.headers["x-request-id"]
    assert "x" not in called.error


async def test_a_long_text_of_the_server_is_passed_on_up_to_its_limit(setup: Setup) -> None:
    setup.answers(error={"code": 1, "message": "n" * 20_000})
    assert len((await setup.call()).error["message"]) == 8_192


@pytest.mark.invariant("I6")
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "AuthenticationError"),
        (403, "AuthenticationError"),
        (418, "RemoteClientError"),
        (500, "RemoteServerError"),
        (503, "RemoteServerError"),
        (302, "RedirectError"),
    ],
)
async def test_a_status_is_told_by_its_class_name(setup: Setup, status: int, code: str) -> None:
    setup.upstream.plays["tools/call"] = reply(status, b"<html>", content_type="text/html")
    before = setup.sent
    called = await setup.call()
    assert called.code == code
    assert "jsonrpc_code" not in called.error
    assert setup.sent == before + 1


async def test_a_busy_server_says_when_to_come_again(setup: Setup) -> None:
    setup.upstream.plays["tools/call"] = reply(429, b"", "Retry-After: 7")
    called = await setup.call()
    assert (called.code, called.error["retry_after"]) == ("RateLimitedError", 7)


@pytest.mark.row(37)
@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"<html>", "text/html"), (b"", "application/json"), (b"{", "application/json")],
)
async def test_what_is_no_mcp_is_a_protocol_error(setup: Setup, body: bytes, kind: str) -> None:
    setup.upstream.plays["tools/call"] = reply(200, body, content_type=kind)
    called = await setup.call()
    assert called.code == "ProtocolError"
    assert called.error["message"].endswith("The call may have been carried out.")


@pytest.mark.row(56)
@pytest.mark.invariant("I6")
async def test_a_connection_that_breaks_is_not_tried_again(setup: Setup) -> None:
    setup.upstream.plays["tools/call"] = reset()
    before = setup.sent
    called = await setup.call()
    assert called.code == "ConnectError"
    assert called.error["message"].endswith("The call may have been carried out.")
    assert setup.sent == before + 1


@pytest.mark.row(55)
async def test_a_server_that_cannot_be_reached_is_left_alone_for_a_while(setup: Setup) -> None:
    setup.upstream.plays["tools/call"] = reset()
    codes = [(await setup.call()).code for _ in range(6)]
    assert codes == ["ConnectError"] * 5 + ["CircuitOpenError"]


@pytest.mark.row(38)
async def test_a_call_ends_at_the_servers_own_deadline(setup: Setup) -> None:
    await setup.fleet.registry.set_server(setup.row, "timeout_seconds = 1")
    await setup.fleet.bump()
    never = asyncio.Event()

    async def hang(writer: Writer) -> None:
        await never.wait()

    setup.upstream.plays["tools/call"] = hang
    called = await setup.call()
    assert called.code == "TimeoutError"
    await setup.fleet.registry.set_server(setup.row, "timeout_seconds = NULL")
    await setup.fleet.bump()


@pytest.mark.row(69)
@pytest.mark.filterwarnings("ignore:Sending a large body")
@pytest.mark.parametrize("arguments", ["text", [1], 1, {"text": "x" * (1024 * 1024)}])
async def test_arguments_that_are_no_object_or_too_large_go_nowhere(
    setup: Setup, arguments: Any
) -> None:
    before = setup.sent
    called = await setup.call(arguments=arguments)
    assert called.reply.error["code"] == -32602
    assert setup.sent == before


async def test_a_result_of_an_unknown_type_is_not_passed_on(setup: Setup) -> None:
    setup.answers(result={"resultType": "task", "task": {"taskId": "1"}})
    assert (await setup.call()).code == "UnsupportedResultType"


@pytest.mark.row(65)
@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ({"a": {"method": "elicitation/create", "params": {}}}, "InputRequiredError"),
        ({"a": {"method": "sampling/createMessage", "params": {}}}, "UnsupportedInputRequest"),
        ({"a": {"method": "roots/list"}}, "UnsupportedInputRequest"),
        ([1], "ProtocolError"),
    ],
)
async def test_a_server_that_asks_for_too_much_gets_nothing(
    setup: Setup, requests: Any, code: str
) -> None:
    setup.answers(
        result={"resultType": "input_required", "inputRequests": requests, "requestState": "s"}
    )
    assert (await setup.call()).code == code


async def test_an_unknown_tool_of_a_known_server_is_not_found(setup: Setup) -> None:
    assert (await setup.call("nothing")).reply.error["code"] == -32602
    assert (await setup.call("nothing", revision="2025-11-25")).code == "TOOL_NOT_FOUND"


@pytest.mark.parametrize("name", ["remote.x", "remote.tenant.raw-000000.search", "r_raw__search_x"])
async def test_names_of_nothing_are_not_found(setup: Setup, name: str) -> None:
    called = await setup.fleet.client("2025-11-25").call(name)
    assert called.code == "TOOL_NOT_FOUND"


async def test_without_the_permission_every_remote_name_is_denied(setup: Setup) -> None:
    client = setup.fleet.client("2025-11-25", "tenant_user")
    for name in (dotted(setup.row, "search"), dotted(setup.row, "no"), "remote.a.b.c", "remote.x"):
        assert (await client.call(name)).code == "PERMISSION_DENIED"
    assert (await client.call(safe(setup.row, "search"))).code == "TOOL_NOT_FOUND"


@pytest.mark.row(60)
@pytest.mark.invariant("I7")
async def test_another_users_and_another_tenants_servers_are_not_there(setup: Setup) -> None:
    fleet = setup.fleet
    row = await fleet.register_own(setup.upstream.url, "Personal")
    assert not (await fleet.client().call(dotted(row, "nothing"))).reply.json.get("result")
    setup.answers(result={"resultType": "complete", "content": []})
    assert plain((await fleet.client().call(dotted(row, "search"))).reply.result) == {"content": []}
    await fleet.world.grant("extra_permissions", "scailink:remote.use")
    for role in ("extra_permissions", "other_tenant_admin"):
        client = fleet.client("2025-11-25", role)
        for name in (dotted(row, "search"), safe(row, "search"), dotted(row, "none")):
            assert (await client.call(name)).code == "TOOL_NOT_FOUND"
    for name in (dotted(setup.row, "search"), safe(setup.row, "search")):
        shared = await fleet.client(role="extra_permissions").call(name)
        assert plain(shared.reply.result) == {"content": []}
        foreign = await fleet.client("2025-11-25", "other_tenant_admin").call(name)
        assert foreign.code == "TOOL_NOT_FOUND"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("status = 'error', last_health_status = 'TimeoutError', status_reason = NULL",
         "TimeoutError"),
        ("status = 'error', status_reason = 'discovering'", "discovering"),
        ("status = 'disabled'", "disabled"),
        ("status = 'pending_approval'", "pending_approval"),
        ("status = 'active', status_reason = NULL", None),
    ],
)  # fmt: skip
async def test_a_server_out_of_service_says_why(
    setup: Setup, state: str, reason: str | None
) -> None:
    await setup.fleet.registry.set_state(setup.row, state)
    await setup.fleet.bump()
    setup.answers(result={"resultType": "complete", "content": []})
    before = setup.sent
    client = setup.fleet.client()
    for name in (dotted(setup.row, "search"), safe(setup.row, "search")):
        called = await client.call(name)
        if reason is None:
            assert not called.reply.result.get("isError")
            continue
        assert called.code == "REMOTE_SERVER_UNAVAILABLE"
        assert called.error["reason"] == reason
        assert setup.sent == before
    if reason is not None:
        assert (await client.call(dotted(setup.row, "none"))).code == "REMOTE_SERVER_UNAVAILABLE"


async def test_a_held_definition_is_refused_as_held(setup: Setup) -> None:
    await setup.fleet.registry.execute(
        "UPDATE remote_capabilities SET state = 'held' WHERE server_id = $1", setup.row.id
    )
    await setup.fleet.bump()
    try:
        assert (await setup.call()).code == "TOOL_HELD"
    finally:
        await setup.fleet.registry.execute(
            "UPDATE remote_capabilities SET state = 'advertised' WHERE server_id = $1",
            setup.row.id,
        )
        await setup.fleet.bump()


async def test_a_locked_server_is_run_by_hand_only(setup: Setup) -> None:
    await setup.fleet.registry.set_server(setup.row, f"consent_tier = '{ConsentTier.LOCKED}'")
    await setup.fleet.bump()
    before = setup.sent
    try:
        assert (await setup.call()).code == "TOOL_LOCKED"
        assert (await setup.call("none", revision="2025-11-25")).code == "TOOL_NOT_FOUND"
        assert setup.sent == before
    finally:
        await setup.fleet.registry.set_server(setup.row, "consent_tier = 'auto'")
        await setup.fleet.bump()


async def test_a_server_that_wants_consent_is_not_called_without(setup: Setup) -> None:
    await setup.fleet.registry.set_server(setup.row, f"consent_tier = '{ConsentTier.CONFIRM}'")
    await setup.fleet.bump()
    before = setup.sent
    try:
        called = await setup.call(revision="2025-11-25")
        assert called.code == "CONSENT_REQUIRED"
        assert called.error["approval_id"].startswith("apr_")
        assert setup.sent == before
    finally:
        await setup.fleet.registry.set_server(setup.row, "consent_tier = 'auto'")
        await setup.fleet.bump()


@pytest.mark.row(70)
async def test_credentials_go_out_and_never_come_back(setup: Setup) -> None:
    fleet = setup.fleet
    row = await fleet.registry.put(
        setup.upstream.url, "Keyed", auth_type=AuthType.BEARER, is_tenant_shared=True,
        scope_key="tenant", owner_user_id=fleet.user_id,
    )  # fmt: skip
    secret = Secret("ntn_value_of_the_key")
    await fleet.registry.credential(row, "authorization", secret.reveal())
    await fleet.discover(row)
    setup.answers(error={"code": 1, "message": f"bad key {secret.reveal()}, Bearer too"})
    called = await fleet.client().call(dotted(row, "search"))
    sent = setup.upstream.raw.seen[-1].headers["authorization"]
    assert sent == f"Bearer {secret.reveal()}"
    assert called.error["message"] == "bad key [redacted], Bearer too"
    await fleet.registry.execute("DELETE FROM remote_credentials WHERE server_id = $1", row.id)
    await fleet.bump()
    assert (await fleet.client().call(dotted(row, "search"))).code == "CredentialMissingError"


@pytest.mark.row(4)
async def test_a_credential_that_does_not_open_is_our_fault(setup: Setup) -> None:
    fleet = setup.fleet
    row = await fleet.registry.put(
        setup.upstream.url, "Corrupt", auth_type=AuthType.BEARER, is_tenant_shared=True,
        scope_key="tenant", owner_user_id=fleet.user_id,
    )  # fmt: skip
    await fleet.registry.credential(row, "authorization", "ntn_x")
    await fleet.discover(row)
    await fleet.registry.execute(
        "UPDATE remote_credentials SET ciphertext = ciphertext || '\\x00' WHERE server_id = $1",
        row.id,
    )
    await fleet.bump()
    assert (await fleet.client().call(dotted(row, "search"))).code == "CredentialCorruptError"


async def test_nothing_is_called_while_the_registry_cannot_be_read(setup: Setup) -> None:
    setup.upstream.capabilities = {"tools": {}, "prompts": {}}
    setup.upstream.lists["prompts/list"] = [{"name": "greet"}]
    await setup.fleet.discover(setup.row)
    assert (await setup.call("nothing", revision="2025-11-25")).code == "TOOL_NOT_FOUND"
    services = setup.fleet.world.app.services
    assert services is not None
    assert services.remotes is not None
    entry = services.remotes.plugged.snapshots._entries[setup.fleet.registry.tenant]
    # As if the database had not answered for six seconds, and again just now.
    entry.checked_at -= 6
    entry.failed_at = entry.checked_at + 1_000
    before = setup.sent
    assert (await setup.call()).code == "DatabaseError"
    asked = {"name": dotted(setup.row, "greet")}
    refused = await setup.fleet.client().rpc("prompts/get", asked)
    assert (refused.error["code"], refused.word) == (-32603, "DatabaseError")
    assert dotted(setup.row, "search") in await setup.fleet.client().names()
    assert setup.sent == before
    await setup.fleet.bump()
    setup.answers(result={"resultType": "complete", "content": []})
    assert plain((await setup.call()).reply.result) == {"content": []}
