"""Who sees and does what: rows 29 and 30 of the contract's table, views and permissions as data.

Spec: remote-servers 1, 11.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.remotes.rest import ROLES, Registry, body, open_registry

UNKNOWN = "rs_00000000000000000000000000"
MANAGER, READER, GOVERNANCE, MISSING, DENIED = "manager", "reader", "governance", 404, 403
# Role: its view of the owner's personal server, and of the tenant's shared one.
VIEWS: dict[str, tuple[Any, Any]] = {
    "owner": (MANAGER, READER),
    "manager": (GOVERNANCE, MANAGER),
    "only_tenant": (GOVERNANCE, MANAGER),
    "other_owner": (MISSING, READER),
    "user": (MISSING, READER),
    "only_own": (MISSING, MISSING),
    "nobody": (DENIED, DENIED),
    "stranger": (MISSING, MISSING),
    "foreign_owner": (MISSING, MISSING),
}
# Deed: method, path behind the server, body; then who may do it to which of the two servers.
# Everybody else gets 404 for a row that they do not see, and 403 for one that they do.
DEEDS: dict[str, tuple[str, str, Any]] = {
    "patch": ("PATCH", "", {"description": "x"}),
    "refresh": ("POST", "/refresh", None),
    "put credential": ("PUT", "/credentials/authorization", {"value": "x"}),
    "changes": ("GET", "/changes", None),
    "pins": ("GET", "/pins", None),
    "disable": ("POST", "/disable", None),
    "enable": ("POST", "/enable", None),
    "approve": ("POST", "/approve", None),
    "capabilities": ("GET", "/capabilities", None),
}
EDITORS = {"personal": {"owner"}, "shared": {"manager", "only_tenant"}}
GOVERNORS = {
    "personal": {"owner", "manager", "only_tenant"},
    "shared": {"manager", "only_tenant"},
}
APPROVERS = {"personal": {"manager", "only_tenant"}, "shared": {"manager", "only_tenant"}}
READERS = {
    "personal": {"owner"},
    "shared": {"manager", "only_tenant", "owner", "other_owner", "user"},
}
MAY = {
    "patch": EDITORS,
    "refresh": EDITORS,
    "put credential": EDITORS,
    "changes": EDITORS,
    "pins": EDITORS,
    "disable": GOVERNORS,
    "enable": GOVERNORS,
    "approve": APPROVERS,
    "capabilities": READERS,
}
# No row at all could satisfy them, so the id does not matter.
NEVER = {
    "patch": {"user", "nobody"},
    "refresh": {"user", "nobody"},
    "put credential": {"user", "nobody"},
    "changes": {"nobody"},
    "pins": {"nobody"},
    "disable": {"user", "nobody"},
    "enable": {"user", "nobody"},
    "approve": {"user", "nobody", "owner", "other_owner", "only_own", "foreign_owner"},
    "capabilities": {"nobody"},
}
HIDDEN_FROM_READERS = {
    "credential_fields", "credential_oldest_days", "credential_rotation_due",
    "last_error_message", "server_info",
}  # fmt: skip


class Tenant:
    """A registry with one personal and one shared server."""

    def __init__(self, registry: Registry, servers: dict[str, str]) -> None:
        self.registry = registry
        self.servers = servers


@pytest_asyncio.fixture(scope="module")
async def tenant(database_url: str, redis_url: str) -> AsyncIterator[Tenant]:
    async with open_registry(database_url, redis_url) as registry:
        url = f"{registry.closed()}?x=1"
        secret = {"auth_type": "bearer", "credentials": {"authorization": "ntn_1"}}
        personal = await registry.as_("owner").registered(url, "personal", **secret)
        shared = await registry.as_("manager").registered(
            url, "shared", is_tenant_shared=True, **secret
        )
        yield Tenant(registry, {"personal": personal["id"], "shared": shared["id"]})


@pytest.fixture(autouse=True)
async def unhurried(tenant: Tenant) -> None:
    await tenant.registry.fresh()


def view_of(data: dict[str, Any]) -> str:
    if "description" not in data:
        return GOVERNANCE
    return MANAGER if set(data) >= HIDDEN_FROM_READERS else READER


@pytest.mark.parametrize("which", [0, 1], ids=["personal", "shared"])
@pytest.mark.parametrize("who", VIEWS)
async def test_everybody_has_their_view_of_a_server(tenant: Tenant, who: str, which: int) -> None:
    kind = ("personal", "shared")[which]
    expected = VIEWS[who][which]
    reply = await tenant.registry.as_(who).get(f"/{tenant.servers[kind]}")
    alias = f"/v1/modules/scailink/registrations/{tenant.servers[kind]}"
    again = await tenant.registry.as_(who).get(alias)
    assert reply.status == again.status
    if isinstance(expected, int):
        assert reply.status == expected
        return
    data = reply.json["data"]
    assert view_of(data) == expected
    assert reply.headers["etag"].startswith('"')
    if expected == MANAGER:
        assert data["endpoint_url"].endswith("/mcp?x=1")
    else:
        assert not data["endpoint_url"].endswith("1/mcp?x=1")
        assert data["endpoint_url"].count("/") == 2
        assert not HIDDEN_FROM_READERS & set(data)
    if expected == GOVERNANCE:
        assert "capabilities" not in data


@pytest.mark.parametrize("who", VIEWS)
async def test_a_list_holds_what_the_caller_sees_and_no_more(tenant: Tenant, who: str) -> None:
    async def seen(query: str) -> dict[str, str]:
        reply = await tenant.registry.as_(who).get(query)
        assert reply.status == 200
        return {item["name"]: view_of(item) for item in reply.json["data"]["items"]}

    if VIEWS[who][0] == DENIED:
        assert (await tenant.registry.as_(who).get()).status == 403
        return
    names = ("personal", "shared")
    everything = {
        name: view for name, view in zip(names, VIEWS[who], strict=True) if view != MISSING
    }
    own = {name: view for name, view in everything.items() if view != GOVERNANCE}
    assert await seen("?scope=all") == everything
    assert await seen("") == own
    assert await seen("?scope=tenant") == {n: v for n, v in own.items() if n == "shared"}
    assert await seen("?scope=personal") == {n: v for n, v in own.items() if n == "personal"}


@pytest.mark.row(30)
@pytest.mark.parametrize("kind", ["personal", "shared"])
@pytest.mark.parametrize("deed", DEEDS)
async def test_30_deeds_are_for_those_who_may(tenant: Tenant, deed: str, kind: str) -> None:
    method, path, given = DEEDS[deed]
    for who in ROLES:
        await tenant.registry.fresh()
        reply = await tenant.registry.as_(who).send(method, f"/{tenant.servers[kind]}{path}", given)
        is_seen = not isinstance(VIEWS[who][("personal", "shared").index(kind)], int)
        if who in MAY[deed][kind]:
            # Nothing waits for approval here.
            assert reply.status == (409 if deed == "approve" else 200), (who, reply.content)
        elif who in NEVER[deed] or is_seen:
            assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED"), who
        else:
            assert (reply.status, reply.word) == (404, "SCAILINK_SERVER_NOT_FOUND"), who
    await tenant.registry.as_("manager").post(f"/{tenant.servers[kind]}/enable")


@pytest.mark.row(29)
@pytest.mark.invariant("I7")
@pytest.mark.parametrize("deed", DEEDS)
async def test_29_foreign_unknown_and_malformed_ids_are_the_same_404(
    tenant: Tenant, deed: str
) -> None:
    method, path, given = DEEDS[deed]
    stranger = tenant.registry.as_("stranger")
    bodies = set()
    for server_id in (tenant.servers["personal"], tenant.servers["shared"], UNKNOWN, "%00", "x"):
        await tenant.registry.fresh()
        reply = await stranger.send(method, f"/{server_id}{path}", given)
        assert reply.status == 404
        bodies.add(reply.content.replace(reply.headers["x-request-id"].encode(), b""))
    assert len(bodies) == 1


@pytest.mark.row(29)
@pytest.mark.parametrize("who", ["other_owner", "user", "stranger", "nobody", "only_own"])
async def test_29_nobody_else_deletes(tenant: Tenant, who: str) -> None:
    for kind in ("personal", "shared"):
        reply = await tenant.registry.as_(who).delete(f"/{tenant.servers[kind]}")
        assert reply.status in (403, 404)
        assert (await tenant.registry.as_("owner").get(f"/{tenant.servers[kind]}")).status == 200


@pytest.mark.row(30)
@pytest.mark.parametrize(
    ("who", "is_shared", "status"),
    [
        ("user", False, 403), ("user", True, 403), ("only_own", True, 403),
        ("owner", True, 403), ("only_tenant", False, 403), ("nobody", False, 403),
        ("only_own", False, 201), ("only_tenant", True, 201),
    ],
)  # fmt: skip
async def test_30_personal_needs_own_and_shared_needs_tenant(
    tenant: Tenant, who: str, is_shared: bool, status: int
) -> None:
    given = body(tenant.registry.closed(), f"of {who} {is_shared}", is_tenant_shared=is_shared)
    reply = await tenant.registry.as_(who).post(body=given)
    assert reply.status == status
    if status == 403:
        assert reply.word == "AUTHZ_PERMISSION_DENIED"
    else:
        # For the tables above there are two servers.
        server_id = reply.json["data"]["id"]
        assert (await tenant.registry.as_(who).delete(f"/{server_id}")).status == 204


async def test_a_bearer_comes_before_everything(tenant: Tenant) -> None:
    for token in (None, "sgk_" + "0" * 40):
        client = tenant.registry.world.with_token(token)
        reply = await client.send(b"{", path="/v1/modules/scailink/remote-servers")
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith("Bearer ")


async def test_a_platform_administrator_without_a_tenant_has_no_servers(tenant: Tenant) -> None:
    client = tenant.registry.world.as_("super_admin")
    reply = await client.get("/v1/modules/scailink/remote-servers")
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")
