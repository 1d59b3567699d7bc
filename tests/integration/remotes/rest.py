"""A gateway with a registry, its users by what they may do, and MCP servers to register."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings

from tests.world import Client, Reply, World, serve_at, start_world

ROOT = "/v1/modules/scailink/remote-servers"
USE, OWN, TENANT = (f"scailink:remote.{word}" for word in ("use", "manage_own", "manage_tenant"))
OPEN = TransportSecuritySettings(enable_dns_rebinding_protection=False)
# Who stands for whom; all but the last two belong to one tenant.
ROLES = {
    "manager": "tenant_admin",
    "owner": "tenant_user",
    "other_owner": "extra_permissions",
    "user": "group_member",
    "only_own": "tenant_viewer",
    "only_tenant": "custom_role",
    "nobody": "no_roles",
    "stranger": "other_tenant_admin",
    "foreign_owner": "other_tenant_user",
}
GRANTS = {
    "owner": (USE, OWN),
    "other_owner": (USE, OWN),
    "user": (USE,),
    "only_own": (OWN,),
    "only_tenant": (TENANT,),
    "foreign_owner": (USE, OWN),
}


@dataclass
class Upstream:
    """An MCP server of the official SDK behind a switchable front.

    While ``hold`` is not set, requests wait for it; ``arrived`` says that one does.
    """

    url: str
    server: MCPServer[Any]
    seen: list[dict[str, str]] = field(default_factory=list)
    token: str | None = None
    hold: asyncio.Event | None = None
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def requests(self, header: str) -> list[str | None]:
        """The values of a header of every request, oldest first."""
        return [headers.get(header) for headers in self.seen]


class Rest:
    """Calls the registry in the name of a role."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def send(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Reply:
        lines = {"accept": None, "mcp-protocol-version": None, **(headers or {})}
        if body is None:
            lines["content-type"] = None
        where = path if path.startswith("/v1") else f"{ROOT}{path}"
        return await self.client.send(body, path=where, method=method, headers=lines)

    async def get(self, path: str = "") -> Reply:
        return await self.send("GET", path)

    async def post(self, path: str = "", body: Any = None, **headers: str) -> Reply:
        return await self.send("POST", path, body, _headers(headers))

    async def patch(self, path: str, body: Any, **headers: str) -> Reply:
        return await self.send("PATCH", path, body, _headers(headers))

    async def put(self, path: str, body: Any, **headers: str) -> Reply:
        return await self.send("PUT", path, body, _headers(headers))

    async def delete(self, path: str, **headers: str) -> Reply:
        return await self.send("DELETE", path, None, _headers(headers))

    async def registered(self, url: str, name: str, **more: Any) -> dict[str, Any]:
        """Register a server and return its detail."""
        reply = await self.post(body=body(url, name, **more))
        assert reply.status == 201, reply.content
        data: dict[str, Any] = reply.json["data"]
        return data


def _headers(given: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in given.items()}


def body(url: str, name: str = "one", **more: Any) -> dict[str, Any]:
    """A body that registers a server without credentials."""
    return {"name": name, "endpoint_url": url, "auth_type": "none", **more}


@dataclass
class Registry:
    """A running gateway whose registry is on."""

    world: World

    def as_(self, who: str) -> Rest:
        """Return somebody of `ROLES`."""
        return Rest(self.world.as_(ROLES[who]))

    def closed(self) -> str:
        """Return a URL where nobody listens, and never will."""
        place = self.world.places[0]
        return f"http://127.0.0.1:{place.getsockname()[1]}/mcp"

    async def fresh(self) -> None:
        """Forget how often everybody did something."""
        services = self.world.app.services
        assert services is not None
        async for key in services.redis.raw.scan_iter("scaimcp:rate:*"):
            await services.redis.raw.delete(key)

    async def has_job(self, job_id: str) -> bool:
        """Tell whether a job of this id is in the queue."""
        services = self.world.app.services
        assert services is not None
        return bool(await services.redis.raw.exists(f"arq:job:{job_id}"))

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        services = self.world.app.services
        assert services is not None
        async with services.database.transaction() as connection:
            return list(await connection.fetch(statement, *values))

    async def audited(self, server_id: str) -> list[tuple[str, Any]]:
        """Actions and data of the audit rows of a server, oldest first."""
        rows = await self.fetch(
            "SELECT action, data FROM audit_events WHERE resource_id = $1 ORDER BY id", server_id
        )
        return [(row["action"], msgspec.json.decode(row["data"])) for row in rows]

    @asynccontextmanager
    async def upstream(self, *tools: str, token: str | None = None) -> AsyncIterator[Upstream]:
        """Serve an MCP server with `tools`; with `token` it wants it as a bearer."""
        async with serve_upstream(self.world.place(), *tools, token=token) as upstream:
            yield upstream


@asynccontextmanager
async def serve_upstream(
    place: socket.socket, *tools: str, token: str | None = None
) -> AsyncIterator[Upstream]:
    """Serve an MCP server at a bound socket, see `Registry.upstream`."""
    server: MCPServer[Any] = MCPServer("notion", version="3.2.0", log_level="CRITICAL")
    for name in tools or ("search",):
        server.add_tool(_does_nothing, name=name, description=f"Does {name}.")
    app = server.streamable_http_app(transport_security=OPEN)
    upstream = Upstream("", server, token=token)
    async with serve_at(place, _front(app, upstream)) as origin:
        upstream.url = f"{origin}/mcp"
        yield upstream


async def _does_nothing(q: str = "") -> str:
    return q


def _front(app: Any, upstream: Upstream) -> Any:
    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            upstream.seen.append(headers)
            if upstream.hold is not None:
                upstream.arrived.set()
                await upstream.hold.wait()
            if upstream.token and headers.get("authorization") != f"Bearer {upstream.token}":
                await _unauthorized(send)
                return
        await app(scope, receive, send)

    return serve


async def _unauthorized(send: Callable[[Any], Any]) -> None:
    lines = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
    await send({"type": "http.response.start", "status": 401, "headers": lines})
    await send({"type": "http.response.body", "body": b"{}"})


@asynccontextmanager
async def open_registry(
    database_url: str, redis_url: str, **settings: str
) -> AsyncIterator[Registry]:
    """Start a gateway with a registry, and give everybody of `ROLES` their permissions."""
    figures = {
        "REMOTE_MAX_SERVERS_PER_TENANT": "10000",
        "REMOTE_MAX_SERVERS_PER_USER": "10000",
        **settings,
    }
    async with start_world(database_url, redis_url, remote=True, **figures) as world:
        for who, permissions in GRANTS.items():
            await world.grant(ROLES[who], *permissions)
        yield Registry(world)
