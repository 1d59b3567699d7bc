"""Changing servers: rows 26, 28 and 31-35 of the contract's table, verbs, credentials.

Spec: remote-servers 1, 7, 11.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.remotes.rest import Registry, Rest, open_registry

BEARER = {"auth_type": "bearer", "credentials": {"authorization": "ntn_1"}}


@pytest_asyncio.fixture(scope="module")
async def registry(database_url: str, redis_url: str) -> AsyncIterator[Registry]:
    async with open_registry(database_url, redis_url) as opened:
        yield opened


@pytest_asyncio.fixture
async def owner(registry: Registry) -> Rest:
    await registry.fresh()
    return registry.as_("owner")


async def detail(who: Rest, server: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = (await who.get(f"/{server['id']}")).json["data"]
    return data


async def versions(registry: Registry, server: dict[str, Any]) -> tuple[int, int]:
    row = (
        await registry.fetch(
            "SELECT config_version, credential_version FROM remote_servers WHERE id = $1",
            server["id"],
        )
    )[0]
    return row["config_version"], row["credential_version"]


async def fields(registry: Registry, server: dict[str, Any]) -> list[str]:
    rows = await registry.fetch(
        "SELECT field FROM remote_credentials WHERE server_id = $1 ORDER BY field", server["id"]
    )
    return [row["field"] for row in rows]


@pytest.mark.row(26)
@pytest.mark.parametrize("change", ["origin", "auth_type"])
async def test_26_stored_secrets_never_follow_to_another_host_or_kind(
    registry: Registry, owner: Rest, change: str
) -> None:
    async with registry.upstream(token="ntn_1") as upstream, registry.upstream() as other:
        server = await owner.registered(upstream.url, f"steadfast {change}", **BEARER)
        body = {"endpoint_url": other.url} if change == "origin" else {
            "auth_type": "api_key_header"}  # fmt: skip
        reply = await owner.patch(f"/{server['id']}", body)
        assert (reply.status, reply.word) == (422, "SCAILINK_CREDENTIALS_REQUIRED")
        assert await detail(owner, server) == server
        assert other.seen == []
        # With the complete credentials it moves, and the old ones are gone.
        given = {"x-key": "k2"} if change == "auth_type" else {"authorization": "ntn_2"}
        moved = await owner.patch(f"/{server['id']}", {**body, "credentials": given})
        assert moved.status == 200
        assert await fields(registry, server) == list(given)
        assert await versions(registry, server) == (2, 1)
        if change == "origin":
            assert set(other.requests("authorization")) == {"Bearer ntn_2"}
            assert moved.json["data"]["status"] == "active"


async def test_credentials_are_destroyed_with_the_kind_that_needed_them(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream() as upstream:
        server = await owner.registered(upstream.url, "opened up", **BEARER)
        reply = await owner.patch(f"/{server['id']}", {"auth_type": "none"})
        assert (reply.status, reply.json["data"]["credential_fields"]) == (200, [])
        assert await fields(registry, server) == []
        assert upstream.requests("authorization")[-1] is None


@pytest.mark.parametrize("bad", [{}, {"authorization": "a", "x": "b"}])
async def test_a_new_set_of_credentials_fits_the_server(
    registry: Registry, owner: Rest, bad: dict[str, str]
) -> None:
    server = await owner.registered(registry.closed(), f"fitting {len(bad)}", **BEARER)
    reply = await owner.patch(f"/{server['id']}", {"credentials": bad})
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")
    assert await detail(owner, server) == server


async def test_a_patch_merges_and_a_rename_keeps_the_slug(registry: Registry, owner: Rest) -> None:
    async with registry.upstream("search") as upstream:
        server = await owner.registered(upstream.url, "Before", timeout_seconds=5)
        asked = len(upstream.seen)
        changes = {
            "name": " After ", "description": "d", "consent_tier": "confirm",
            "forward_user_id": True, "tool_changes": "review", "timeout_seconds": None,
        }  # fmt: skip
        reply = await owner.patch(f"/{server['id']}", changes)
        assert (reply.status, reply.headers["etag"]) == (200, '"2"')
        after = reply.json["data"]
        assert after["name"] == "After"
        assert {key: after[key] for key in changes if key != "name"} == {
            key: value for key, value in changes.items() if key != "name"
        }
        assert (after["slug"], after["status"]) == (server["slug"], "active")
        # Nothing that concerns the connection changed, so nobody was asked.
        assert len(upstream.seen) == asked
        # What is reviewed from now on is what was served until now.
        pins = (await owner.get(f"/{server['id']}/pins")).json["data"]["items"]
        assert [(pin["kind"], pin["name"]) for pin in pins] == [("tool", "search")]
        assert pins[0]["accepted_by"] == server["owner_user_id"]
        same = await owner.patch(f"/{server['id']}", {"description": "d"})
        assert same.headers["etag"] == '"2"'


async def test_a_new_path_is_discovered_anew_and_keeps_the_credentials(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream(token="ntn_1") as upstream:
        server = await owner.registered(upstream.url, "moved path", **BEARER)
        reply = await owner.patch(f"/{server['id']}", {"endpoint_url": f"{upstream.url}?v=2"})
        after = reply.json["data"]
        assert (after["status"], after["endpoint_url"]) == ("active", f"{upstream.url}?v=2")
        assert await versions(registry, server) == (2, 0)
        gone = await owner.patch(
            f"/{server['id']}", {"endpoint_url": upstream.url.replace("/mcp", "/none")}
        )
        assert gone.json["data"]["status"] == "error"
        actions = [action for action, _ in await registry.audited(server["id"])]
        assert actions.count("remote_server.update") == 2


WRITES = {
    "patch": ("PATCH", "", {"description": "x"}),
    "refresh": ("POST", "/refresh", None),
    "disable": ("POST", "/disable", None),
    "enable": ("POST", "/enable", None),
    "put": ("PUT", "/credentials/authorization", {"value": "x"}),
    "delete field": ("DELETE", "/credentials/authorization", None),
    "delete": ("DELETE", "", None),
}


@pytest.mark.row(28)
@pytest.mark.parametrize("deed", WRITES)
async def test_28_a_stale_version_changes_nothing(
    registry: Registry, owner: Rest, deed: str
) -> None:
    method, path, body = WRITES[deed]
    server = await owner.registered(registry.closed(), f"versioned {deed}", **BEARER)
    before = await detail(owner, server)
    for stale in ('"2"', 'W/"1"', '"one"', '"2", "3"', "1"):
        reply = await owner.send(method, f"/{server['id']}{path}", body, {"if-match": stale})
        assert (reply.status, reply.word) == (412, "PRECONDITION_FAILED")
    assert await detail(owner, server) == before
    reply = await owner.send(method, f"/{server['id']}{path}", body, {"if-match": '"9", "1"'})
    assert reply.status in (200, 204)


async def test_any_version_will_do_with_an_asterisk(registry: Registry, owner: Rest) -> None:
    server = await owner.registered(registry.closed(), "asterisk")
    reply = await owner.send("PATCH", f"/{server['id']}", {"description": "x"}, {"if-match": "*"})
    assert reply.status == 200


@pytest.mark.row(31)
async def test_31_a_disabled_server_is_not_refreshed_nor_contacted(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream("search") as upstream:
        server = await owner.registered(upstream.url, "resting")
        path = f"/{server['id']}"
        disabled = await owner.post(f"{path}/disable", {"reason": "moving house"})
        data = disabled.json["data"]
        assert (data["status"], data["status_reason"]) == ("disabled", "moving house")
        asked = len(upstream.seen)
        reply = await owner.post(f"{path}/refresh")
        assert (reply.status, reply.word) == (409, "SCAILINK_STATE_CONFLICT")
        # Repeated, it changes nothing; a change of the row neither wakes it up nor asks it.
        again = await owner.post(f"{path}/disable", {"reason": "another"})
        assert again.headers["etag"] == disabled.headers["etag"]
        patched = await owner.patch(path, {"endpoint_url": f"{upstream.url}?v=2"})
        assert patched.json["data"]["status"] == "disabled"
        assert len(upstream.seen) == asked
        name = f"{server['name_prefix']}search"
        assert name not in await owner.client.names()
        assert (await owner.client.call(name)).code == "REMOTE_SERVER_UNAVAILABLE"
        enabled = await owner.post(f"{path}/enable")
        assert enabled.json["data"]["status"] == "active"
        assert name in await owner.client.names()
        unchanged = await owner.post(f"{path}/enable")
        assert unchanged.headers["etag"] == enabled.headers["etag"]


@pytest.mark.parametrize("deed", ["disable", "move"])
async def test_what_users_were_asked_of_a_server_ends_with_it(
    registry: Registry, owner: Rest, deed: str
) -> None:
    async with registry.upstream("search") as upstream:
        server = await owner.registered(upstream.url, f"asking {deed}", consent_tier="confirm")
        called = await owner.client.call(f"{server['name_prefix']}search")
        assert called.code == "CONSENT_REQUIRED"
        if deed == "disable":
            await owner.post(f"/{server['id']}/disable")
        else:
            await owner.patch(f"/{server['id']}", {"endpoint_url": f"{upstream.url}?v=2"})
        rows = await registry.fetch(
            "SELECT state FROM remote_approvals WHERE server_id = $1", server["id"]
        )
        assert [row["state"] for row in rows] == ["expired"]
        assert "consent.expire" in [action for action, _ in await registry.audited(server["id"])]


async def test_what_a_manager_disables_a_manager_enables(registry: Registry, owner: Rest) -> None:
    manager = registry.as_("manager")
    server = await owner.registered(registry.closed(), "governed")
    path = f"/{server['id']}"
    await owner.post(f"{path}/disable")
    # The manager repeats it, and so takes it out of the owner's hands.
    assert (await manager.post(f"{path}/disable", {"reason": "policy"})).status == 200
    reply = await owner.post(f"{path}/enable")
    assert (reply.status, reply.word) == (403, "AUTHZ_PERMISSION_DENIED")
    # Nor does the owner get it back by disabling it once more.
    await owner.post(f"{path}/disable")
    assert (await owner.post(f"{path}/enable")).status == 403
    assert (await manager.post(f"{path}/enable")).status == 200
    assert (await detail(owner, server))["status"] == "error"
    assert (await manager.delete(path)).status == 204


@pytest.mark.row(32)
async def test_32_refreshes_at_once_share_one_discovery_then_429(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream("search") as upstream:
        server = await owner.registered(upstream.url, "popular")
        alone = len(upstream.seen)
        await owner.post(f"/{server['id']}/refresh")
        once = len(upstream.seen) - alone
        await registry.fresh()
        before = len(upstream.seen)
        replies = await asyncio.gather(*(owner.post(f"/{server['id']}/refresh") for _ in range(10)))
        assert Counter(reply.status for reply in replies) == {200: 6, 429: 4}
        asked = len(upstream.seen) - before
        assert asked < 6 * once
        for reply in replies:
            if reply.status == 429:
                assert reply.word == "RATE_LIMITED"
                assert int(reply.headers["retry-after"]) >= 1
            else:
                assert reply.json["data"]["status"] == "active"


@pytest.mark.row(33)
async def test_33_a_new_value_is_used_from_the_next_request_on(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream("search", token="ntn_1") as upstream:
        server = await owner.registered(upstream.url, "rotating", **BEARER)
        name = f"{server['name_prefix']}search"
        assert not (await owner.client.call(name)).is_error
        upstream.hold = asyncio.Event()
        running = asyncio.get_running_loop().create_task(owner.client.call(name))
        async with asyncio.timeout(5):
            await upstream.arrived.wait()
        put = await owner.put(f"/{server['id']}/credentials/Authorization", {"value": "ntn_2"})
        assert put.status == 200
        assert put.json["data"]["status"] == "active"
        upstream.hold.set()
        assert not (await running).is_error
        upstream.hold, upstream.token = None, "ntn_2"
        assert not (await owner.client.call(name)).is_error
        assert await versions(registry, server) == (1, 1)
        actions = [action for action, _ in await registry.audited(server["id"])]
        # Once by the registration.
        assert actions.count("remote_credential.set") == 2


@pytest.mark.row(34)
async def test_34_without_its_credential_a_server_is_out_of_service_until_it_has_one(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream("search", token="ntn_1") as upstream:
        server = await owner.registered(upstream.url, "bereft", **BEARER)
        path = f"/{server['id']}/credentials/authorization"
        reply = await owner.delete(path)
        assert (reply.status, reply.content) == (204, b"")
        after = await detail(owner, server)
        assert (after["status"], after["last_health_status"]) == (
            "error", "CredentialMissingError",
        )  # fmt: skip
        assert (after["credential_fields"], after["credential_oldest_days"]) == ([], None)
        again = await owner.delete(path)
        assert (again.status, again.word) == (404, "SCAILINK_CREDENTIAL_NOT_FOUND")
        await owner.put(path, {"value": "ntn_1"})
        revived = await owner.post(f"/{server['id']}/refresh")
        assert revived.json["data"]["status"] == "active"


async def test_one_of_several_fields_can_go(registry: Registry, owner: Rest) -> None:
    async with registry.upstream() as upstream:
        server = await owner.registered(
            upstream.url,
            "several",
            auth_type="api_key_header",
            credentials={"x-a": "1", "x-b": "2"},
        )
        path = f"/{server['id']}/credentials"
        assert (await owner.delete(f"{path}/X-A")).status == 204
        assert (await detail(owner, server))["status"] == "active"
        added = await owner.put(f"{path}/x-c", {"value": "3"})
        assert added.json["data"]["credential_fields"] == ["x-b", "x-c"]
        assert (await owner.put(f"{path}/host", {"value": "3"})).status == 422
        for n in range(14):
            await registry.fresh()
            assert (await owner.put(f"{path}/x-more-{n}", {"value": "3"})).status == 200
        full = await owner.put(f"{path}/x-too-many", {"value": "3"})
        assert (full.status, full.word) == (422, "VALIDATION_ERROR")


async def test_single_values_stay_within_the_limit_of_all_together(
    registry: Registry, owner: Rest
) -> None:
    given = {"x-a": "a" * 8_192, "x-b": "b" * 8_000}
    server = await owner.registered(
        registry.closed(), "heavy", auth_type="api_key_header", credentials=given
    )
    path = f"/{server['id']}/credentials"
    before = await detail(owner, server)
    refused = await owner.put(f"{path}/x-c", {"value": "c" * 193})
    assert (refused.status, refused.word) == (422, "VALIDATION_ERROR")
    assert [fault["field"] for fault in refused.json["error"]["details"]] == ["value"]
    assert b"ccc" not in refused.content
    assert await detail(owner, server) == before
    # To the last byte; and a value that is replaced counts as the new one only.
    assert (await owner.put(f"{path}/x-c", {"value": "c" * 192})).status == 200
    assert (await owner.put(f"{path}/x-a", {"value": "d" * 8_192})).status == 200


@pytest.mark.parametrize("auth_type", ["none", "bearer"])
async def test_a_field_that_a_server_cannot_have_is_422(
    registry: Registry, owner: Rest, auth_type: str
) -> None:
    more = BEARER if auth_type == "bearer" else {}
    server = await owner.registered(registry.closed(), f"closed set {auth_type}", **more)
    reply = await owner.put(f"/{server['id']}/credentials/x-a", {"value": "x"})
    assert (reply.status, reply.word) == (422, "VALIDATION_ERROR")


@pytest.mark.row(35)
async def test_35_a_server_deleted_during_its_discovery_is_gone(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream("search") as upstream:
        server = await owner.registered(upstream.url, "fleeting")
        upstream.hold = asyncio.Event()
        refresh = asyncio.get_running_loop().create_task(owner.post(f"/{server['id']}/refresh"))
        async with asyncio.timeout(5):
            await upstream.arrived.wait()
        assert (await owner.delete(f"/{server['id']}")).status == 204
        upstream.hold.set()
        assert (await refresh).status == 404
        for table in ("remote_servers", "remote_server_state", "remote_capabilities"):
            column = "id" if table == "remote_servers" else "server_id"
            statement = f"SELECT 1 FROM {table} WHERE {column} = $1"
            assert await registry.fetch(statement, server["id"]) == []
        assert (await owner.get(f"/{server['id']}")).status == 404


async def test_a_refresh_of_a_dead_server_succeeds_and_says_so(
    registry: Registry, owner: Rest
) -> None:
    server = await owner.registered(registry.closed(), "dead")
    reply = await owner.post(f"/{server['id']}/refresh?timeout_seconds=2")
    assert reply.status == 200
    assert reply.json["data"]["consecutive_failures"] == 2
    audited = await registry.audited(server["id"])
    assert ("remote_server.refresh", {"outcome": "ConnectError"}) in audited


async def test_every_change_raises_the_catalogue_version(registry: Registry, owner: Rest) -> None:
    async def version() -> int:
        rows = await registry.fetch("SELECT max(version) AS n FROM catalog_versions")
        return int(rows[0]["n"])

    server = await owner.registered(registry.closed(), "counted", **BEARER)
    path = f"/{server['id']}"
    seen = await version()
    for method, where, body in (
        ("PATCH", "", {"description": "y"}),
        ("PUT", "/credentials/authorization", {"value": "z"}),
        ("POST", "/disable", None),
        ("POST", "/enable", None),
        ("DELETE", "", None),
    ):
        assert (await owner.send(method, path + where, body)).status in (200, 204)
        now = await version()
        assert now > seen, where
        seen = now
