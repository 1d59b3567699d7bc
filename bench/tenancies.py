"""Tenants with registered remote servers: rows as the registry writes them, lists by a worker.

Each tenancy has a database and a Redis number of its own, so that gateways of different sizes
can be compared in one run.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec

from bench.answers import me
from bench.peers import Stores
from bench.processes import BenchError, python, running
from bench.remote_upstream import CREDENTIAL, KINDS
from scaimcp.credentials import store as credentials
from scaimcp.credentials.envelope import Place, seal
from scaimcp.credentials.keys import LocalKeys
from scaimcp.ids import new_id
from scaimcp.migrating import migrate
from scaimcp.postgres import Database, open_database
from scaimcp.queue import open_queue
from scaimcp.remotes.enumerations import AuthType, ConsentTier, Status, ToolChanges, Transport
from scaimcp.remotes.models import NewServer, Quota, ServerRow
from scaimcp.remotes.rules import naming
from scaimcp.remotes.stores import store
from scaimcp.remotes.watching.followup import DISCOVER
from scaimcp.settings import parse_keys
from scaimcp.types import Secret

_TENANT, _USER = me()["tenant"]["id"], me()["user"]["id"]
_MOST_SECONDS = 150.0
_POLL_SECONDS = 0.25


class Tenancy(msgspec.Struct, frozen=True):
    """Stores with one tenant's servers, and the settings of the processes that use them."""

    stores: Stores
    settings: dict[str, str]
    servers: tuple[ServerRow, ...]


def tool_of(kind: str) -> str:
    """Return the canonical name of a tool on a server of this kind; it is so in every tenancy."""
    slug = naming.slug_of(_name(KINDS.index(kind)))
    return naming.canonical(naming.TENANT_SCOPE, slug, "search_7")


def _name(number: int) -> str:
    return f"Bench {number}"


def found(stores: Stores, number: int, servers: int, upstream: str) -> Tenancy:
    """Make a database with registered servers that nobody has asked anything yet.

    Args:
        stores: the embedded servers.
        number: of this tenancy, from 1; names database and Redis number.
        servers: how many to register, of all kinds in turn.
        upstream: origin of the light remote servers.
    """
    name = f"tenancy{number}"
    asyncio.run(_create(stores.database_url, name))
    own = Stores(_renamed(stores.database_url, name), f"{stores.redis_url}?db={number}")
    migrate(Secret(own.database_url))
    kek = base64.b64encode(secrets.token_bytes(32)).decode()
    host = upstream.removeprefix("http://")
    settings = {
        "SCAIMCP_ENCRYPTION_LOCAL_KEK": kek,
        "SCAIMCP_REMOTE_ALLOWED_PRIVATE": host,
        "SCAIMCP_REMOTE_ALLOWED_PLAINTEXT_HOSTS": host.partition(":")[0],
    }
    rows = asyncio.run(_register(own, LocalKeys(parse_keys(kek)), servers, upstream))
    return Tenancy(own, settings, tuple(rows))


def discover(
    stack: ExitStack,
    folder: Path,
    tenancy: Tenancy,
    settings: dict[str, str],
    meanwhile: Callable[[], None] = lambda: None,
    spread_seconds: float = 0.0,
) -> float:
    """Have one worker discover every server; return the seconds from the first job to the last.

    Args:
        stack: ends the worker.
        folder: for its log.
        tenancy: what is discovered.
        settings: of the gateways.
        meanwhile: called again and again until all is done.
        spread_seconds: time over which the jobs fall due, as a tick spreads them; 0 for a burst.

    Raises:
        BenchError: the worker ended, or took too long.
    """
    log = folder / f"worker-{len(tenancy.servers)}.log"
    worker = stack.enter_context(
        running(python("scaimcp", "worker"), log, settings | tenancy.settings)
    )
    began = time.monotonic()
    asyncio.run(_hand_out(tenancy, spread_seconds))
    while (left := asyncio.run(_left(tenancy))) > 0:
        if worker.poll() is not None or time.monotonic() - began > _MOST_SECONDS:
            raise BenchError(f"{left} servers were not discovered; see {log}")
        meanwhile()
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - began


async def _create(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()


def _renamed(url: str, database: str) -> str:
    head, mark, query = url.partition("?")
    return f"{head.rpartition('/')[0]}/{database}{mark}{query}"


async def _register(
    stores: Stores, keys: LocalKeys, servers: int, upstream: str
) -> list[ServerRow]:
    async with open_database(Secret(stores.database_url), 1) as database:
        return [await _one(database, keys, number, upstream) for number in range(servers)]


async def _one(database: Database, keys: LocalKeys, number: int, upstream: str) -> ServerRow:
    name = _name(number)
    new = NewServer(
        id=new_id("rs_"), tenant_id=_TENANT, owner_user_id=_USER, scope_key=naming.TENANT_SCOPE,
        is_tenant_shared=True, name=name, slug=naming.slug_of(name), description="",
        endpoint_url=f"{upstream}/{KINDS[number % len(KINDS)]}/{number}",
        endpoint_origin=upstream, transport=Transport.STREAMABLE_HTTP,
        auth_type=AuthType.BEARER, consent_tier=ConsentTier.AUTO, tool_changes=ToolChanges.AUTO,
        forward_user_id=False, timeout_seconds=None, created_by=_USER, approved_by=_USER,
        status=Status.ERROR, status_reason="discovering",
    )  # fmt: skip
    place = Place(new.tenant_id, new.id, "authorization", new.endpoint_origin)
    fields = {"authorization": await seal(keys, place, Secret(CREDENTIAL))}
    async with database.transaction() as connection:
        row = await store.insert_server(connection, new, Quota(10_000, 10_000))
        if not isinstance(row, ServerRow):
            raise BenchError(f"server {number} could not be registered: {row}")
        await credentials.put_fields(connection, row.tenant_id, row.id, fields, _USER)
    return row


async def _hand_out(tenancy: Tenancy, spread_seconds: float) -> None:
    began, step = datetime.now(UTC), spread_seconds / len(tenancy.servers)
    async with open_queue(Secret(tenancy.stores.redis_url)) as queue:
        for number, row in enumerate(tenancy.servers):
            await queue.enqueue(
                DISCOVER,
                row.tenant_id,
                row.id,
                job_id=f"discover:{row.id}",
                at=began + timedelta(seconds=step * number),
            )


async def _left(tenancy: Tenancy) -> int:
    connection = await asyncpg.connect(tenancy.stores.database_url)
    try:
        undone = "SELECT count(*) FROM remote_server_state WHERE NOT has_catalog"
        return int(await connection.fetchval(undone))
    finally:
        await connection.close()
