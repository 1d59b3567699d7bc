"""Registered servers with real upstreams, and the parts of a process that talk to them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec

from scaimcp.credentials import store as credentials
from scaimcp.credentials.envelope import Place, seal
from scaimcp.credentials.keys import LocalKeys
from scaimcp.ids import new_id
from scaimcp.postgres import Database, open_database
from scaimcp.redis import RedisClient, open_redis
from scaimcp.remotes.enumerations import CapabilityState, Kind, Status
from scaimcp.remotes.models import (
    Capability,
    CapabilityFilter,
    Change,
    RegisteredServer,
    ServerRow,
)
from scaimcp.remotes.stores import capability_store, change_store
from scaimcp.remotes.watching.discovery import Discovered
from scaimcp.remotes.watching.opening import RemoteParts, open_remotes
from scaimcp.settings import KeyRing, Settings, load
from scaimcp.types import Secret
from scaimcp.upstream.breaker import FAILURES, Breaker
from scaimcp.upstream.errors import ConnectError
from tests.integration.rawserver import Play, RawServer, Writer, reply
from tests.integration.remotes.registry import is_somebody_waiting, put, seen, server, until

KEK = "test:" + base64.b64encode(bytes(range(32))).decode()


def allowed(*urls: str) -> str:
    """The allow-list that opens these loopback servers."""
    return ",".join(f"127.0.0.1:{urlsplit(url).port}" for url in urls)


def settings_for(database_url: str, redis_url: str, *urls: str, **more: str) -> Settings:
    """Settings of a gateway that may speak plain HTTP to the servers at `urls`."""
    values = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "ENCRYPTION_LOCAL_KEK": KEK,
        "REMOTE_ALLOWED_PLAINTEXT_HOSTS": "127.0.0.1,localhost",
        "REMOTE_ALLOWED_PRIVATE": allowed(*urls),
        "SERVER_DRAIN_SECONDS": "2",
        **more,
    }
    return load({f"SCAIMCP_{name}": value for name, value in values.items()})


@dataclass
class Registry:
    """A database, Redis and everything that asks remote servers."""

    database: Database
    settings: Settings
    redis: RedisClient
    keys: LocalKeys
    parts: RemoteParts
    tenant: str

    async def put(self, url: str, name: str = "one", **changed: Any) -> ServerRow:
        """Register a server at `url` that waits for its first discovery."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.hostname}:{parts.port}"
        changed = {"endpoint_url": url, "endpoint_origin": origin, **changed}
        return await put(self.database, server(self.tenant, name, **changed))

    async def credential(self, row: ServerRow, field: str, value: str) -> None:
        """Store a credential, as a PUT does."""
        place = Place(row.tenant_id, row.id, field, row.endpoint_origin)
        sealed = await seal(self.keys, place, Secret(value))
        async with self.database.transaction() as connection:
            await credentials.put_fields(
                connection, row.tenant_id, row.id, {field: sealed}, "usr_1"
            )
            await connection.execute(
                "UPDATE remote_servers SET credential_version = credential_version + 1"
                " WHERE tenant_id = $1 AND id = $2",
                row.tenant_id,
                row.id,
            )

    async def discover(
        self, row: ServerRow, source: Any = "refresh", seconds: float = 10.0
    ) -> Discovered:
        return await self.parts.discoverer.discover(
            row.tenant_id, row.id, source=source, seconds=seconds
        )

    async def seen(self, row: ServerRow) -> RegisteredServer:
        return await seen(self.database, row)

    async def rows(self, row: ServerRow) -> list[Capability]:
        async with self.database.transaction() as connection:
            page = await capability_store.list_capabilities(
                connection, row.tenant_id, row.id, CapabilityFilter()
            )
        return list(page.items)

    async def names(self, row: ServerRow, kind: Kind = Kind.TOOL) -> list[str]:
        """Names in service."""
        return [
            one.name
            for one in await self.rows(row)
            if one.kind is kind and one.state is CapabilityState.ADVERTISED
        ]

    async def changes(self, row: ServerRow) -> list[Change]:
        async with self.database.transaction() as connection:
            page = await change_store.list_changes(connection, row.tenant_id, row.id, None)
        return list(page.items)

    async def pins(self, row: ServerRow) -> list[str]:
        async with self.database.transaction() as connection:
            return [p.name for p in await change_store.list_pins(connection, row.tenant_id, row.id)]

    async def execute(self, statement: str, *values: Any) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(statement, *values)

    async def set_state(self, row: ServerRow, assignments: str) -> None:
        """Write columns of the state past every rule, as time and faults do."""
        await self.execute(
            f"UPDATE remote_server_state SET {assignments} WHERE tenant_id = $1 AND server_id = $2",
            row.tenant_id,
            row.id,
        )

    async def set_server(self, row: ServerRow, assignments: str) -> None:
        await self.execute(
            f"UPDATE remote_servers SET {assignments} WHERE tenant_id = $1 AND id = $2",
            row.tenant_id,
            row.id,
        )

    @asynccontextmanager
    async def meanwhile(self, row: ServerRow, assignments: str) -> AsyncIterator[None]:
        """Hold the state's row until somebody waits for it, then write and let them go on."""
        place = (row.tenant_id, row.id)
        mine = "WHERE tenant_id = $1 AND server_id = $2"
        async with self.database.transaction() as connection:
            await connection.execute(f"SELECT 1 FROM remote_server_state {mine} FOR UPDATE", *place)
            yield
            await until(partial(is_somebody_waiting, self.database))
            await connection.execute(
                f"UPDATE remote_server_state SET {assignments}, state_seq = state_seq + 1 {mine}",
                *place,
            )

    async def has_job(self, job_id: str) -> bool:
        """Tell whether a job of this id is in the queue."""
        return bool(await self.redis.raw.exists(f"arq:job:{job_id}"))

    async def version(self) -> int:
        async with self.database.transaction() as connection:
            found = await connection.fetchval(
                "SELECT version FROM catalog_versions WHERE tenant_id = $1", self.tenant
            )
        return int(found or 0)

    async def audited(self, row: ServerRow) -> list[tuple[str, dict[str, Any]]]:
        """Actions and data of the audit rows of a server, oldest first."""
        async with self.database.transaction() as connection:
            found = await connection.fetch(
                "SELECT action, data FROM audit_events WHERE tenant_id = $1 AND resource_id = $2"
                " ORDER BY id",
                row.tenant_id,
                row.id,
            )
        return [(one["action"], msgspec.json.decode(one["data"])) for one in found]

    async def status(self, row: ServerRow) -> tuple[Status, str | None]:
        state = (await self.seen(row)).state
        return state.status, state.last_health_status


@asynccontextmanager
async def open_registry(
    settings: Settings, *, most: int = 8, wrapper: Callable[[KeyRing], LocalKeys] = LocalKeys
) -> AsyncIterator[Registry]:
    """Open what one process has, on a migrated database; `wrapper` holds its keys."""
    assert settings.database_url
    assert settings.redis_url
    assert settings.encryption_local_kek
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings.database_url, most))
        redis = await stack.enter_async_context(open_redis(settings.redis_url))
        keys = wrapper(settings.encryption_local_kek)
        parts = await stack.enter_async_context(open_remotes(settings, database, redis, keys))
        yield Registry(database, settings, redis, keys, parts, new_id("ten_"))


def named(name: str, text: str = "Does it.", **more: Any) -> dict[str, Any]:
    """A tool as an upstream lists it."""
    return {"name": name, "description": text, "inputSchema": {"type": "object"}, **more}


class Upstream:
    """A modern MCP server over a raw socket that says what it is told to.

    `lists` holds what each list method returns; `plays` replaces the answer to a method.
    """

    def __init__(self, raw: RawServer) -> None:
        self.raw = raw
        self.url = f"{raw.url}/mcp"
        self.lists: dict[str, list[Any]] = {"tools/list": [named("search")]}
        self.plays: dict[str, Play] = {}
        self.capabilities: dict[str, Any] = {"tools": {}}
        raw.default = self.play

    async def play(self, writer: Writer) -> None:
        request = self.raw.seen[-1]
        if request.method != "POST":
            await reply(405)(writer)
            return
        message = msgspec.json.decode(request.body)
        method = message["method"]
        if method in self.plays:
            await self.plays[method](writer)
            return
        answer = self.answer_to(method)
        await reply(200, {"jsonrpc": "2.0", "id": message["id"], **answer})(writer)

    def answering(self, result: Any, *lines: str) -> Play:
        """Return a play that answers whatever is asked with `result`."""

        async def play(writer: Writer) -> None:
            number = msgspec.json.decode(self.raw.seen[-1].body)["id"]
            await reply(200, {"jsonrpc": "2.0", "id": number, "result": result}, *lines)(writer)

        return play

    def answer_to(self, method: str) -> dict[str, Any]:
        """Return what this server says to a method: its ``result`` or ``error``."""
        if method == "server/discover":
            return {
                "result": {
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": self.capabilities,
                    "serverInfo": {"name": "raw", "version": "1"},
                    "instructions": "Be kind.",
                }
            }
        member = {
            "tools/list": "tools",
            "prompts/list": "prompts",
            "resources/list": "resources",
            "resources/templates/list": "resourceTemplates",
        }.get(method)
        if member is None:
            return {"error": {"code": -32601, "message": "Method not found"}}
        return {"result": {"resultType": "complete", member: self.lists.get(method, [])}}

    def asked(self, method: str) -> int:
        """How often a method was called."""
        return sum([f'"{method}"'.encode() in request.body for request in self.raw.seen])


def open_circuit(breaker: Breaker, server_id: str) -> None:
    """Let calls to a server fail until the breaker keeps others from it."""
    for _ in range(FAILURES):
        breaker.learn(server_id, ConnectError("refused"), is_trial=False)
    assert breaker.open_servers() == 1
