"""The published tutorial "Register a cloud MCP server", step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.remotes.rest import ROOT, Registry, open_registry


@pytest_asyncio.fixture(scope="module")
async def registry(database_url: str, redis_url: str) -> AsyncIterator[Registry]:
    async with open_registry(database_url, redis_url) as opened:
        yield opened


async def test_a_personal_server_with_a_bearer_from_registration_to_rotation(
    registry: Registry,
) -> None:
    owner = registry.as_("owner")
    async with registry.upstream("search", token="ntn_old") as upstream:
        # 2. Register a personal server with bearer auth
        reply = await owner.post(
            body={
                "name": "Acme Notion MCP",
                "endpoint_url": upstream.url,
                "auth_type": "bearer",
                "credentials": {"authorization": "ntn_old"},
                "is_tenant_shared": False,
                "transport": "streamable_http",
                "consent_tier": "auto",
            }
        )
        assert reply.status == 201
        server = reply.json["data"]
        assert reply.headers["location"] == f"{ROOT}/{server['id']}"
        assert reply.headers["etag"] == '"1"'
        assert server["slug"] == "acme-notion-mcp-1ef47b"
        # 5. Confirm discovery succeeded
        for path in (f"/{server['id']}", f"/v1/modules/scailink/registrations/{server['id']}"):
            detail = (await owner.get(path)).json["data"]
            assert detail["status"] == "active"
            assert detail["last_health_status"] == "ok"
            assert detail["consecutive_failures"] == 0
            assert [one["name"] for one in detail["capabilities"]] == ["search"]
        assert detail["credential_fields"] == ["authorization"]
        assert detail["credential_oldest_days"] == 0
        assert detail["credential_rotation_due"] is False
        assert detail["server_info"]["name"] == "notion"
        listed = await registry.as_("owner").client.names()
        assert f"{server['name_prefix']}search" in listed
        # 6. On-demand refresh
        upstream.server.add_tool(_added, name="create", description="Creates.")
        refreshed = await owner.post(f"/{server['id']}/refresh")
        assert refreshed.status == 200
        data = refreshed.json["data"]
        assert [one["name"] for one in data["capabilities"]] == ["search", "create"]
        assert set(data) == set(detail)
        # 7. Rotate a credential
        upstream.token = "ntn_new"
        failing = (await owner.post(f"/{server['id']}/refresh")).json["data"]
        assert failing["last_health_status"] == "AuthenticationError"
        rotated = await owner.put(
            f"/{server['id']}/credentials/authorization", {"value": "ntn_new"}
        )
        assert rotated.status == 200
        after = rotated.json["data"]
        assert (after["id"], after["slug"]) == (server["id"], server["slug"])
        revived = (await owner.post(f"/{server['id']}/refresh")).json["data"]
        assert (revived["status"], revived["last_health_status"]) == ("active", "ok")
        assert "Bearer ntn_new" in upstream.requests("authorization")
        # No answer shows a value.
        for answer in (reply, refreshed, rotated):
            assert b"ntn_" not in answer.content


async def _added() -> str:
    return ""


async def test_several_headers_and_a_shared_server(registry: Registry) -> None:
    manager = registry.as_("manager")
    async with registry.upstream("contacts") as upstream:
        # 3. Multi-header auth, 4. tenant-shared
        server = await manager.registered(
            upstream.url,
            "Internal CRM MCP",
            auth_type="api_key_header",
            credentials={"X-API-Key": "ak_1", "x-org-id": "org_1"},
            is_tenant_shared=True,
            transport="streamable_http",
            forward_user_id=True,
        )
        assert server["slug"] == "internal-crm-mcp-d46e58"
        assert server["status"] == "active"
        assert server["credential_fields"] == ["x-api-key", "x-org-id"]
        assert upstream.requests("x-api-key")[-1] == "ak_1"
        assert upstream.requests("x-org-id")[-1] == "org_1"
        name = f"remote.tenant.{server['slug']}.contacts"
        assert name in await registry.as_("user").client.names()
        called = await registry.as_("user").client.call(name, {"q": "x"})
        assert not called.is_error
        assert upstream.requests("x-scaigrid-user")[-1]
