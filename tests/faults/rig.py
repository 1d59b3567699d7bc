"""The whole gateway as processes: stores, gateway, worker, platform and servers behind it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from scaimcp.dev.platform import SEED_LOGINS, serve_platform
from scaimcp.migrating import migrate
from scaimcp.queue import open_queue
from scaimcp.types import Secret
from tests.dev.helpers import ROOT as CHECKOUT
from tests.faults.stores import Stores, start_stores
from tests.faults.upstreams import Upstream, serve_upstream
from tests.integration.remotes.rest import OWN, USE, Rest, body
from tests.integration.remotes.servers import KEK, allowed
from tests.integration.upstream import support
from tests.serving.process import Gateway, Launcher
from tests.waiting import until
from tests.world import LATEST, Client

OWNERS = ("tenant_user", "extra_permissions", "group_member", "tenant_viewer")
MANAGER = "tenant_admin"
SECONDS = 60.0
_STEP = 0.05


class Worker:
    """One running `scaimcp worker`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        """Everything on standard error so far."""
        return self._log.read_text()

    async def wait_started(self) -> None:
        await until(lambda: '"worker started"' in self.said or self.process.poll() is not None)
        assert self.process.poll() is None, self.said

    async def end(self, number: int) -> int:
        """Send a signal and wait for the end; return the exit code."""
        self.process.send_signal(number)
        await until(lambda: self.process.poll() is not None, SECONDS)
        return int(self.process.returncode)


@dataclass
class Rig:
    """Everything that runs, and how to reach it."""

    stores: Stores
    launcher: Launcher
    upstream: Upstream
    changing: Upstream
    old: support.Fleet
    http: aiohttp.ClientSession
    settings: Mapping[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    current: Gateway | None = None
    workers: list[Worker] = field(default_factory=list)

    @property
    def gateway(self) -> Gateway:
        """The gateway that requests go to."""
        assert self.current is not None
        return self.current

    async def start_gateway(self, **settings: str) -> Gateway:
        """Start a gateway; requests go to it from now on."""
        self.current = await self.launcher(**{**self.settings, **settings})
        return self.current

    async def start_worker(self) -> Worker:
        """Start a worker and wait until it takes jobs."""
        worker = self._worker()
        self.workers.append(worker)
        await worker.wait_started()
        return worker

    def _worker(self) -> Worker:
        log = self.launcher.place / f"worker-{len(self.workers)}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "scaimcp", "worker"],
                cwd=CHECKOUT,
                env=self.launcher.environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return Worker(process, log)

    def client(self, role: str, http: aiohttp.ClientSession | None = None) -> Client:
        """A client of somebody who has signed in."""
        return Client(http or self.http, self.gateway.url, self.tokens[role], LATEST)

    def rest(self, role: str, http: aiohttp.ClientSession | None = None) -> Rest:
        return Rest(self.client(role, http))

    async def share(self, url: str, name: str, **more: Any) -> dict[str, Any]:
        """Register a server of the whole tenant and return its detail; it must be active."""
        given = {"is_tenant_shared": True, **more}
        reply = await self.rest(MANAGER).post(body=body(url, name, **given))
        assert reply.status == 201, reply.content
        assert reply.json["data"]["status"] == "active", reply.content
        return dict(reply.json["data"])

    async def ready(self) -> dict[str, Any]:
        """What the readiness probe says; it must say that requests are taken."""
        reply = await Client(self.http, self.gateway.url, None).get("/readyz")
        assert reply.status == 200, reply.content
        return dict(reply.json)

    async def sql(self, statement: str, *values: Any) -> list[Any]:
        """Ask the database itself."""
        connection = await asyncpg.connect(self.stores.postgres.url)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    async def job(self, name: str, *ids: str, job_id: str) -> None:
        """Put a job into the queue, as a tick or an event does."""
        async with open_queue(Secret(self.stores.redis.url)) as queue:
            assert await queue.enqueue(name, *ids, job_id=job_id)

    async def close(self) -> None:
        """End the workers; gateways end with their launcher."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()
        await self.launcher.aclose()


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = SECONDS) -> None:
    """Wait until an answer is the one that is waited for."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - a condition has no event
            await asyncio.sleep(_STEP)


@asynccontextmanager
async def start_rig(place: Path) -> AsyncIterator[Rig]:
    """Start everything but gateway and worker, and give the people their permissions."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(start_stores())
        await asyncio.to_thread(migrate, Secret(stores.postgres.url))
        platform = await stack.enter_async_context(serve_platform(None))
        upstream = await stack.enter_async_context(serve_upstream())
        changing = await stack.enter_async_context(serve_upstream(("first",)))
        old = await stack.enter_async_context(support.sdk("legacy"))
        http = await stack.enter_async_context(aiohttp.ClientSession())
        launcher = Launcher(platform, stores.postgres.url, stores.redis.url, place)
        settings = {
            "ENCRYPTION_LOCAL_KEK": KEK,
            "REMOTE_ALLOWED_PLAINTEXT_HOSTS": "127.0.0.1",
            "REMOTE_ALLOWED_PRIVATE": allowed(upstream.origin, changing.origin, old.url),
            "REMOTE_MAX_SERVERS_PER_TENANT": "1000",
            "REMOTE_MAX_SERVERS_PER_USER": "1000",
        }
        rig = Rig(stores, launcher, upstream, changing, old, http, settings)
        stack.push_async_callback(rig.close)
        await _let_in(rig, platform.url)
        yield rig


async def _let_in(rig: Rig, platform: str) -> None:
    """Give the owners their permissions, and everybody a token of a sign-in."""
    control = f"{platform}/__standin"
    async with rig.http.get(f"{control}/rows/users") as response:
        users = {row["email"]: row["id"] for row in (await response.json())["rows"]}
    for role in OWNERS:
        row = {"module_permissions": [USE, OWN]}
        place = f"{control}/rows/users/{users[SEED_LOGINS[role]]}"
        async with rig.http.patch(place, json=row) as response:
            assert response.status == 200, await response.text()
    for role in (*OWNERS, MANAGER):
        wanted = {"login": SEED_LOGINS[role]}
        async with rig.http.post(f"{control}/tokens", json=wanted) as response:
            assert response.status < 300, await response.text()
            rig.tokens[role] = (await response.json())["token"]
