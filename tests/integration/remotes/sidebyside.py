"""A whole gateway with registered servers behind it, and clients that ask the servers directly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.rules.naming import TENANT_SCOPE, alias, canonical, scope_key
from scaimcp.versions.notices import Notice, announce
from scaimcp.versions.store import raise_version
from tests.integration.remotes.servers import KEK, Registry, allowed, open_registry, settings_for
from tests.world import MODERN, Client, World, start_world

PREFIX = "ai.scailabs.scaimcp/resource_prefix"
REMOTE_SERVERS = "ai.scailabs.scaimcp/remote_servers"


@dataclass
class Fleet:
    """The gateway, the registry behind it, and the caller who owns what is registered."""

    world: World
    registry: Registry
    user_id: str

    def client(self, revision: str = MODERN, role: str = "tenant_admin") -> Client:
        return self.world.as_(role, revision)

    async def legacy(self, revision: str = "2025-11-25", name: str = "tests") -> Client:
        """A client of the handshake era with a session."""
        client = self.world.as_("tenant_admin", revision)
        answer = await client.initialize(revision, clientInfo={"name": name, "version": "1"})
        return client.using(headers={"mcp-session-id": answer.headers["mcp-session-id"]})

    async def register(self, url: str, name: str = "one", **changed: Any) -> ServerRow:
        """Register a shared server and discover what it has."""
        given: dict[str, Any] = {
            "is_tenant_shared": True, "scope_key": TENANT_SCOPE, "owner_user_id": self.user_id,
            **changed,
        }  # fmt: skip
        is_discovered = given.pop("is_discovered", True)
        row = await self.registry.put(url, name, **given)
        if is_discovered:
            await self.discover(row)
        return row

    async def register_own(self, url: str, name: str = "own", **changed: Any) -> ServerRow:
        """Register a personal server of the caller."""
        mine = {"is_tenant_shared": False, "scope_key": scope_key(self.user_id), **changed}
        return await self.register(url, name, **mine)

    async def discover(self, row: ServerRow) -> None:
        await self.registry.discover(row)
        status, health = await self.registry.status(row)
        assert status is Status.ACTIVE, health
        self.refresh()

    async def bump(self) -> None:
        """Raise the catalogue version, as every change of rows does, and tell the gateway."""
        async with self.registry.database.transaction() as connection:
            version = await raise_version(connection, self.registry.tenant)
        self.refresh()
        services = self.world.app.services
        assert services is not None
        await announce(services.redis, Notice(self.registry.tenant, version))

    def refresh(self) -> None:
        """Have the gateway look at its snapshot again, as a notice does."""
        services = self.world.app.services
        assert services is not None
        for follower in services.followers:
            follower(Notice(self.registry.tenant))


@asynccontextmanager
async def start_fleet(
    database_url: str, redis_url: str, *urls: str, **settings: str
) -> AsyncIterator[Fleet]:
    """Start a gateway that may reach `urls`, with a registry on the same database."""
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(
            start_world(
                database_url,
                redis_url,
                ENCRYPTION_LOCAL_KEK=KEK,
                REMOTE_ALLOWED_PLAINTEXT_HOSTS="127.0.0.1,localhost",
                REMOTE_ALLOWED_PRIVATE=allowed(*urls),
                **settings,
            )
        )
        opened = await stack.enter_async_context(
            open_registry(settings_for(database_url, redis_url, *urls))
        )
        services = world.app.services
        assert services is not None
        me = (await world.as_("tenant_admin").call("me_get")).value
        token = world.tokens["tenant_admin"]
        caller = services.verifier.remembered(token)
        assert caller is not None
        assert me
        yield Fleet(world, replace(opened, tenant=caller.tenant_id), caller.user_id)


def dotted(row: ServerRow, name: str) -> str:
    return canonical(row.scope_key, row.slug, name)


def safe(row: ServerRow, name: str) -> str:
    return alias(row.scope_key, row.slug, name)


async def direct(world: World, url: str, era: str) -> Client:
    """A client of the server itself, in the server's own era."""
    base, _, path = url.rpartition("/")
    client = Client(world.http, base, None, MODERN if era == "modern" else None)
    assert path == "mcp"
    if era == "modern":
        return client
    answer = await client.initialize("2025-11-25")
    session = {"mcp-session-id": answer.headers["mcp-session-id"]}
    client = client.using(revision="2025-11-25", headers=session)
    await client.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    return client


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """What a result says, without what belongs to an era or to one gateway."""
    era = ("resultType", "_meta", "ttlMs", "cacheScope")
    return {name: value for name, value in result.items() if name not in era}
