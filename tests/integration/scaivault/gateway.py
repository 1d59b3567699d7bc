"""A gateway with the module: its tenants' guards, its vault, its audit rows."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from scaimcp.app import create_app
from scaimcp.settings import load
from tests.world import Client, Reply, World, gateway_environment, listener, serve_app

GUARDS = "/v1/modules/scaimcp/scaivault/guards"
OPEN = {"enabled": True, "read_only": False, "mask_values": False}
SECRET = "integrations/stripe/api-key"


async def read_guards(client: Client) -> Reply:
    return await client.get(GUARDS)


async def put_guards(client: Client, body: Any, **headers: str | None) -> Reply:
    lines = {"if-match": "*", **headers}
    return await client.send(body, path=GUARDS, method="PUT", headers=lines)


async def set_guards(client: Client, **profile: Any) -> None:
    """Replace the guards of the client's tenant; the tools are open but for what is given."""
    reply = await put_guards(client, {**OPEN, **profile})
    assert reply.status == 200, reply.content


def sent(world: World) -> list[dict[str, Any]]:
    """Return the requests that the vault got since `forget`, oldest first."""
    assert world.vault is not None
    return [dict(row) for row in world.vault.vault.calls]


def lines(world: World) -> list[str]:
    return [f"{row['method']} {row['path']}" for row in sent(world)]


def forget(world: World) -> None:
    assert world.vault is not None
    world.vault.vault.calls.clear()


def hashed(token: str) -> str:
    """Return a bearer as the vault's log keeps it."""
    return f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def vault_names(names: list[str]) -> list[str]:
    return [name for name in names if name.startswith("scaivault_")]


def forget_guards(world: World) -> None:
    """Drop what the gateway knows of tenants' guards."""
    assert world.app.services is not None
    assert world.app.services.vault is not None
    world.app.services.vault.profiles.changed("")


async def rows(world: World, statement: str, *values: Any) -> list[Any]:
    assert world.app.services is not None
    async with world.app.services.database.transaction() as connection:
        return list(await connection.fetch(statement, *values))


async def audit_rows(world: World, action: str, least: int = 0) -> list[dict[str, Any]]:
    """Return the audit rows of an action, oldest first, once there are at least so many."""
    found: list[Any] = []
    statement = "SELECT * FROM audit_events WHERE action = $1 ORDER BY id"
    async with asyncio.timeout(20):
        while len(found := await rows(world, statement, action)) < least:  # noqa: ASYNC110 - rows have no event
            await asyncio.sleep(0.05)
    return [{**dict(row), "data": msgspec.json.decode(row["data"])} for row in found]


@asynccontextmanager
async def second_gateway(world: World, database_url: str, redis_url: str) -> AsyncIterator[World]:
    """Serve another replica beside a world's gateway, on the same stores and upstreams."""
    assert world.vault is not None
    opened = listener()
    port = opened.getsockname()[1]
    env = gateway_environment(
        port, world.platform.url, database_url, redis_url, SCAIVAULT_URL=world.vault.url
    )
    app = create_app(load(env))
    async with serve_app(app, opened):
        yield World(f"http://127.0.0.1:{port}", app, world.platform, world.http, [], world.vault)
