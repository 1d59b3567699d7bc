"""News from servers on its way through workers and gateway to a client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis

from scaimcp.remotes.enumerations import Transport
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.watching.listening import Listeners
from scaimcp.remotes.watching.sharing import LISTENERS, belongs_to
from scaimcp.worker import create_worker
from tests.integration.announcing import Announcing, Player, announcing
from tests.integration.rawserver import eventually, serve_raw
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.registry import until
from tests.integration.remotes.servers import KEK, Registry, allowed
from tests.integration.remotes.sidebyside import Fleet, dotted, start_fleet

# arq closes its client by a name that the Redis library has given up.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")


@pytest.fixture(autouse=True)
def empty_queue(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


def listeners_of(redis_url: str) -> set[str]:
    """The workers that say that they listen."""
    with redis.Redis.from_url(redis_url) as client:
        return {name.decode() for name in client.zrange(LISTENERS, 0, -1)}


async def test_a_worker_listens_and_ends_every_session_with_itself(
    registry_for: Opened, redis_url: str
) -> None:
    async with serve_raw() as raw:
        player = Player(raw)
        async with registry_for(player.url) as registry:
            await registry.execute("DELETE FROM remote_servers")
            row = await registry.put(player.url)
            await registry.discover(row)
            deleted = player.deleted
            worker = create_worker(registry.settings)
            worker.cron_jobs = []
            running = asyncio.create_task(worker.async_run())
            try:
                await eventually(lambda: len(player.streams) == 1, 20)
                listening: Listeners = worker.ctx["listening"]
                await eventually(lambda: listening.open == {row.id})
                assert len(listeners_of(redis_url)) == 1
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await worker.close()
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().remove_signal_handler(number)
            assert player.deleted == deleted + 1
            assert player.streams == []
            assert listeners_of(redis_url) == set()


# --- as processes -----------------------------------------------------------------------------


class Workers:
    """Worker processes on the module's stores."""

    def __init__(self, place: Path, database_url: str, redis_url: str, *urls: str) -> None:
        self._place = place
        self._env = {
            "SCAIMCP_DATABASE_URL": database_url,
            "SCAIMCP_REDIS_URL": redis_url,
            "SCAIMCP_ENCRYPTION_LOCAL_KEK": KEK,
            "SCAIMCP_REMOTE_ALLOWED_PRIVATE": allowed(*urls),
            "SCAIMCP_REMOTE_ALLOWED_PLAINTEXT_HOSTS": "127.0.0.1",
            "SCAIMCP_SERVER_DRAIN_SECONDS": "1",
            "SCAIMCP_LOG_LEVEL": "debug",
        }
        self._running: list[subprocess.Popen[Any]] = []

    def start(self) -> subprocess.Popen[Any]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("SCAIMCP_")}
        with self._errors(len(self._running)).open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "scaimcp", "worker"],
                env={**kept, **self._env},
                stdout=subprocess.DEVNULL,
                stderr=output,
            )
        self._running.append(process)
        return process

    def _errors(self, number: int) -> Path:
        return self._place / f"worker-{number}"

    def logged(self, event: str, number: int = 0) -> list[dict[str, Any]]:
        """The lines of one event in a worker's log."""
        lines = self._errors(number).read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in found if line.get("event") == event]

    def close(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


@contextmanager
def workers(*given: Any) -> Iterator[Workers]:
    opened = Workers(*given)
    try:
        yield opened
    finally:
        opened.close()


async def heard_anew(registry: Registry, row: ServerRow) -> None:
    """Let the last discovery be so long ago that news is followed at once."""
    await registry.set_state(row, "last_discovery_at = now() - interval '31 seconds'")


@pytest_asyncio.fixture(scope="module")
async def servers() -> AsyncIterator[dict[str, Announcing]]:
    async with (
        announcing("modern") as modern,
        announcing("legacy") as legacy,
        announcing("sse") as sse,
    ):
        yield {"modern": modern, "legacy": legacy, "sse": sse}


@pytest_asyncio.fixture(scope="module")
async def fleet(
    database_url: str, redis_url: str, servers: dict[str, Announcing]
) -> AsyncIterator[Fleet]:
    urls = [server.url for server in servers.values()]
    async with start_fleet(database_url, redis_url, *urls) as started:
        yield started


@pytest.mark.slow
async def test_a_client_sees_what_a_server_adds_without_a_call_or_a_cron(
    fleet: Fleet,
    servers: dict[str, Announcing],
    database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> None:
    rows: dict[str, ServerRow] = {}
    for era, server in servers.items():
        transport = Transport.SSE if era == "sse" else Transport.STREAMABLE_HTTP
        rows[era] = await fleet.register(server.url, f"news-{era}", transport=transport)
    client = fleet.client()
    urls = [server.url for server in servers.values()]
    with workers(tmp_path, database_url, redis_url, *urls) as started:
        process = started.start()
        await eventually(lambda: len(started.logged("remote_listening")) == 3, 60)
        for era, server in servers.items():
            assert dotted(rows[era], "fresh") not in await client.names()
            await heard_anew(fleet.registry, rows[era])
            server.add("fresh")
            await server.announce(0 if era == "modern" else 2)

            async def is_listed(name: str = dotted(rows[era], "fresh")) -> bool:
                return name in await client.names()

            await until(is_listed, 60)
        told = started.logged("remote_list_changed")
        assert {line["server_id"] for line in told} == {row.id for row in rows.values()}
        assert {line["tenant_id"] for line in told} == {fleet.registry.tenant}
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, 30)
        assert process.returncode == 0
        assert servers["legacy"].fleet.requests[-1][0] == "DELETE"
        assert listeners_of(redis_url) == set()
        assert started.logged("listening failed") == []


@pytest.mark.slow
async def test_the_servers_of_a_killed_worker_are_heard_by_another(
    registry_for: Opened, migrated_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with serve_raw() as raw:
        player = Player(raw)
        async with registry_for(player.url) as registry:
            await registry.execute("DELETE FROM remote_servers")
            row = await registry.put(player.url)
            await registry.discover(row)
            with workers(tmp_path, migrated_url, redis_url, player.url) as started:
                processes = [started.start(), started.start()]
                await eventually(lambda: len(listeners_of(redis_url)) == 2, 60)
                names = [started.logged("listening started", one)[0]["worker"] for one in (0, 1)]
                [owner] = [one for one in (0, 1) if belongs_to(names[one], row.id, names)]

                def ears() -> list[int]:
                    return [len(started.logged("remote_listening", one)) for one in (0, 1)]

                # Once both know each other, the other one lets go.
                await eventually(lambda: ears()[owner] > 0 and len(player.streams) == 1, 30)
                count = ears()[1 - owner]
                processes[owner].kill()
                await asyncio.to_thread(processes[owner].wait)
                await eventually(lambda: ears()[1 - owner] > count, 60)
                await eventually(lambda: len(player.streams) == 1)
