"""Registering: rows 1, 9, 10, 12, 13, 16 and 19 of the contract's table, approval, limits.

Spec: remote-servers 1, 11.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from scaimcp.errors import EndpointForbidden
from scaimcp.outbound import open_guarded_http
from scaimcp.remotes.enumerations import AuthType
from scaimcp.remotes.registry.fields import Registration
from scaimcp.remotes.registry.use_cases import registry_of
from scaimcp.types import RequestContext, Secret
from tests.fakes.callers import caller, grants
from tests.integration.remotes.registry import until
from tests.integration.remotes.rest import OWN, ROLES, ROOT, Registry, body, open_registry
from tests.world import World

CALLS = [
    ("GET", ""), ("POST", ""), ("GET", "/rs_1"), ("PATCH", "/rs_1"), ("DELETE", "/rs_1"),
    ("POST", "/rs_1/refresh"), ("POST", "/rs_1/approve"), ("POST", "/rs_1/disable"),
    ("POST", "/rs_1/enable"), ("PUT", "/rs_1/credentials/a"), ("DELETE", "/rs_1/credentials/a"),
    ("GET", "/rs_1/capabilities"), ("GET", "/rs_1/changes"), ("GET", "/rs_1/changes/chg_1"),
    ("POST", "/rs_1/changes/chg_1/accept"), ("POST", "/rs_1/changes/chg_1/reject"),
    ("GET", "/rs_1/pins"), ("POST", "/rs_1/tools/search/invoke"),
    ("GET", "/v1/modules/scailink/registrations/rs_1"),
    ("GET", "/v1/modules/scailink/approvals"), ("GET", "/v1/modules/scailink/approvals/apr_1"),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def registry(database_url: str, redis_url: str) -> AsyncIterator[Registry]:
    async with open_registry(database_url, redis_url) as opened:
        yield opened


@pytest.fixture(autouse=True)
async def unhurried(registry: Registry) -> None:
    await registry.fresh()


async def rows(registry: Registry, name: str) -> int:
    found = await registry.fetch("SELECT id FROM remote_servers WHERE name = $1", name)
    return len(found)


@pytest.mark.row(1)
@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_1_without_a_kek_every_call_is_503(world: World, method: str, path: str) -> None:
    where = path if path.startswith("/v1") else ROOT + path
    for role in ("tenant_admin", "no_roles"):
        reply = await world.as_(role).send(b"{", path=where, method=method)
        assert (reply.status, reply.word) == (503, "SCAILINK_REGISTRY_DISABLED")
    assert (await world.as_(None).send(b"{", path=where, method=method)).status == 401


@pytest.mark.row(9)
async def test_9_names_are_taken_in_their_scope_only(registry: Registry) -> None:
    owner, manager, url = registry.as_("owner"), registry.as_("manager"), registry.closed()
    first = await owner.registered(url, "Taken")
    reply = await owner.post(body=body(url, "  Taken "))
    assert (reply.status, reply.word) == (409, "SLUG_CONFLICT")
    assert reply.json["error"]["details"][0]["id"] == first["id"]
    assert (await manager.post(body=body(url, "Taken", is_tenant_shared=True))).status == 201
    assert (await registry.as_("other_owner").post(body=body(url, "Taken"))).status == 201
    other = await owner.registered(url, "taken")
    assert other["slug"] != first["slug"]
    assert (await owner.delete(f"/{first['id']}")).status == 204
    again = await owner.registered(url, "Taken")
    assert (again["slug"], again["id"] == first["id"]) == (first["slug"], False)


@pytest.mark.row(10)
async def test_10_of_two_equal_registrations_at_once_one_wins(registry: Registry) -> None:
    owner = registry.as_("owner")
    given = body(registry.closed(), "twice")
    replies = await asyncio.gather(*(owner.post(body=given) for _ in range(2)))
    assert sorted(reply.status for reply in replies) == [201, 409]
    assert await rows(registry, "twice") == 1


@pytest.mark.row(12)
async def test_12_a_discovery_goes_on_when_the_client_hangs_up(registry: Registry) -> None:
    async with registry.upstream("search") as upstream:
        upstream.hold = asyncio.Event()
        client = registry.as_("owner").client
        async with aiohttp.ClientSession() as session:
            headers = {"authorization": f"Bearer {client.token}"}
            given = body(upstream.url, "hung up")
            with pytest.raises(TimeoutError):
                await session.post(
                    client.url + ROOT, json=given, headers=headers,
                    timeout=aiohttp.ClientTimeout(total=0.7),
                )  # fmt: skip
        assert upstream.seen
        upstream.hold.set()
        found: list[Any] = []

        async def is_active() -> bool:
            found[:] = (await registry.as_("owner").get("?q=hung")).json["data"]["items"]
            return bool(found) and found[0]["status"] == "active"

        await until(is_active)
        assert found[0]["capability_counts"]["tool"] == 1


@pytest.mark.row(13)
async def test_13_no_parallel_requests_pass_the_quota(
    registry: Registry, database_url: str, redis_url: str
) -> None:
    figures = {"REMOTE_MAX_SERVERS_PER_TENANT": "12", "REMOTE_MAX_SERVERS_PER_USER": "3"}
    async with open_registry(database_url, redis_url, **figures) as narrow:
        # Both gateways use one database.
        await registry.fetch("DELETE FROM remote_servers RETURNING id")
        owner, manager, url = narrow.as_("owner"), narrow.as_("manager"), narrow.closed()
        replies = await asyncio.gather(*(owner.post(body=body(url, f"mine {n}")) for n in range(6)))
        assert sorted(reply.status for reply in replies) == [201] * 3 + [409] * 3
        refused = next(reply for reply in replies if reply.status == 409)
        assert refused.word == "QUOTA_EXCEEDED"
        assert refused.json["error"]["details"][0]["field"] == "user"
        replies = await asyncio.gather(
            *(manager.post(body=body(url, f"ours {n}", is_tenant_shared=True)) for n in range(20))
        )
        assert sorted(reply.status for reply in replies) == [201] * 9 + [409] * 11
        refused = next(reply for reply in replies if reply.status == 409)
        assert refused.json["error"]["details"][0]["field"] == "tenant"
        # A disabled server counts, a deleted one does not.
        mine = (await owner.get("?scope=personal")).json["data"]["items"][0]["id"]
        await owner.post(f"/{mine}/disable")
        assert (await owner.post(body=body(url, "one more"))).status == 409
        await owner.delete(f"/{mine}")
        assert (await owner.post(body=body(url, "one more"))).status == 201


@pytest.mark.row(16)
@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["10.0.0.5"], "address"),
        (["93.184.216.34", "10.0.0.5"], "address"),
        (["169.254.169.254"], "never_allowed"),
    ],
)
async def test_16_a_host_that_resolves_to_a_private_address_is_refused(
    registry: Registry, answers: list[str], reason: str
) -> None:
    services = registry.world.app.services
    assert services is not None
    assert services.remotes is not None
    workings = services.remotes.registry.workings
    context = RequestContext("req_1", caller(grants(more=(OWN,))), Secret("x"))
    async with open_guarded_http(
        workings.policy.endpoints, "test", lookup=lambda host, port: answers
    ) as http:
        resolving = registry_of(msgspec.structs.replace(workings, check_host=http.check))
        given = Registration("resolving", "https://mcp.example.com/mcp", AuthType.NONE)
        with pytest.raises(EndpointForbidden) as refused:
            await resolving.servers.register(context, given)
    assert refused.value.reason == reason
    assert not any(answer in refused.value.message for answer in answers)
    assert await rows(registry, "resolving") == 0


@pytest.mark.row(19)
@pytest.mark.parametrize("failing", ["no answer", "late"])
async def test_19_a_host_without_an_answer_of_dns_is_registered(
    registry: Registry, failing: str
) -> None:
    services = registry.world.app.services
    assert services is not None
    assert services.remotes is not None
    workings = services.remotes.registry.workings

    async def check(host: str, port: int) -> None:
        if failing == "no answer":
            raise OSError(host)
        await asyncio.Event().wait()

    class Discovery:
        def __init__(self) -> None:
            self.seconds: list[float] = []

        async def discover(self, tenant_id: str, server_id: str, **more: Any) -> None:
            self.seconds.append(more["seconds"])

    discovery = Discovery()
    own = registry_of(
        msgspec.structs.replace(
            workings,
            check_host=check,
            discovery=discovery,
            policy=msgspec.structs.replace(workings.policy, dns_seconds=0.05),
        )
    )
    context = RequestContext("req_1", caller(grants(more=(OWN,))), Secret("x"))
    given = Registration(f"dns {failing}", "https://mcp.example.com/mcp", AuthType.NONE)
    shown = await own.servers.register(context, given)
    assert shown.version == 1
    assert 3 < discovery.seconds[0] <= 4


@pytest.mark.row(19)
@pytest.mark.parametrize(("scheme", "error"), [("http", "ConnectError"), ("https", "ConnectError")])
async def test_19_a_server_that_cannot_be_reached_is_registered_in_error(
    registry: Registry, scheme: str, error: str
) -> None:
    url = registry.closed().replace("http:", f"{scheme}:")
    server = await registry.as_("owner").registered(url, f"closed {scheme}")
    assert (server["status"], server["status_reason"]) == ("error", None)
    assert (server["last_health_status"], server["consecutive_failures"]) == (error, 1)
    assert server["capabilities"] == []


@pytest.mark.row(19)
async def test_19_a_server_without_tls_is_registered_in_error(registry: Registry) -> None:
    async with registry.upstream() as upstream:
        url = upstream.url.replace("http:", "https:")
        server = await registry.as_("owner").registered(url, "no tls")
        assert (server["status"], server["last_health_status"]) == ("error", "TLSError")


async def test_a_registration_is_audited_without_values(registry: Registry) -> None:
    given = {"auth_type": "bearer", "credentials": {"authorization": "ntn_secret"}}
    server = await registry.as_("owner").registered(registry.closed(), "audited", **given)
    action, data = (await registry.audited(server["id"]))[0]
    assert action == "remote_server.register"
    assert data["fields"] == ["authorization"]
    assert "ntn_secret" not in str(await registry.audited(server["id"]))
    stored = await registry.fetch(
        "SELECT ciphertext FROM remote_credentials WHERE server_id = $1", server["id"]
    )
    assert b"ntn_secret" not in stored[0]["ciphertext"]


async def test_defaults_are_the_documented_ones(registry: Registry) -> None:
    server = await registry.as_("owner").registered(registry.closed(), "defaults")
    assert {
        field: server[field]
        for field in (
            "description", "transport", "is_tenant_shared", "consent_tier", "forward_user_id",
            "tool_changes", "timeout_seconds", "approved_by", "credential_oldest_days", "version",
        )
    } == {
        "description": "", "transport": "streamable_http", "is_tenant_shared": False,
        "consent_tier": "auto", "forward_user_id": False, "tool_changes": "auto",
        "timeout_seconds": None, "approved_by": None, "credential_oldest_days": None, "version": 1,
    }  # fmt: skip


async def test_thirty_writes_a_minute_then_429(registry: Registry) -> None:
    owner = registry.as_("owner")
    for _ in range(30):
        assert (await owner.post(body=b"{")).status == 400
    reply = await owner.post(body=b"{")
    assert (reply.status, reply.word) == (429, "RATE_LIMITED")
    assert int(reply.headers["retry-after"]) >= 1
    assert (await owner.get()).status == 200
    assert (await registry.as_("manager").post(body=b"{")).status == 400


@pytest.mark.row(31)
async def test_where_approval_applies_nothing_is_contacted_before_it(
    database_url: str, redis_url: str
) -> None:
    async with open_registry(
        database_url, redis_url, REMOTE_APPROVAL_REQUIRED="all"
    ) as strict, strict.upstream("search") as upstream:  # fmt: skip
        owner, manager = strict.as_("owner"), strict.as_("manager")
        server = await owner.registered(upstream.url, "waiting")
        path = f"/{server['id']}"
        assert (server["status"], server["status_reason"]) == ("pending_approval", None)
        for verb in ("refresh", "approve"):
            reply = await owner.post(f"{path}/{verb}")
            expected = (409, "SCAILINK_STATE_CONFLICT") if verb == "refresh" else (
                403, "AUTHZ_PERMISSION_DENIED")  # fmt: skip
            assert (reply.status, reply.word) == expected
        assert upstream.seen == []
        approved = await manager.post(f"{path}/approve")
        assert approved.status == 200
        after = (await owner.get(path)).json["data"]
        assert after["status"] == "active"
        assert after["approved_by"] != server["owner_user_id"]
        assert (await manager.post(f"{path}/approve")).word == "SCAILINK_STATE_CONFLICT"
        # A new origin waits again; the manager's own does not.
        async with strict.upstream("search") as elsewhere:
            moved = (await owner.patch(path, {"endpoint_url": elsewhere.url})).json["data"]
            assert (moved["status"], moved["approved_by"]) == ("pending_approval", None)
            assert elsewhere.seen == []
            await owner.post(f"{path}/disable")
            enabled = (await owner.post(f"{path}/enable")).json["data"]
            assert enabled["status"] == "pending_approval"
            own = await manager.registered(elsewhere.url, "own", is_tenant_shared=True)
            assert (own["status"], own["approved_by"]) == ("active", own["owner_user_id"])


async def test_only_shared_servers_wait_where_the_operator_says_so(
    database_url: str, redis_url: str
) -> None:
    async with open_registry(database_url, redis_url, REMOTE_APPROVAL_REQUIRED="shared") as strict:
        server = await strict.as_("owner").registered(strict.closed(), "only shared wait")
        assert server["status"] == "error"


def test_every_role_is_somebody() -> None:
    assert len(set(ROLES.values())) == len(ROLES)
