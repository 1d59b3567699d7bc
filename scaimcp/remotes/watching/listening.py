"""Listen to servers outside calls, so that changes of their lists are known within seconds.

For the worker: each keeps streams to its share of the active servers that declare ``listChanged``
(`sharing`). A notification asks for a discovery and nothing else; failures here say nothing about
health and write no row. Without the database what is open stays open. Of more servers than a
worker may listen to, those with the highest hash are heard; all others wait for their
15-minute discovery. Spec: remote-servers 5, 6 (triggers), 8 (``list_changed`` in).
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime

import msgspec

from scaimcp.credentials import store as credentials
from scaimcp.errors import GatewayError
from scaimcp.ids import new_id
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.redis import RedisClient
from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import AnnouncingServer
from scaimcp.remotes.stores.state_store import announcing_servers
from scaimcp.remotes.watching.followup import PAUSE_SECONDS
from scaimcp.remotes.watching.news import News, is_cancelled, pause_after
from scaimcp.remotes.watching.opening import RemoteParts
from scaimcp.remotes.watching.recording import read_server
from scaimcp.remotes.watching.sharing import Presence, belongs_to, weight
from scaimcp.remotes.watching.targets import opener
from scaimcp.telemetry.logs import get_logger
from scaimcp.upstream.errors import RateLimitedError
from scaimcp.upstream.listening import LIFE_SECONDS, LISTS, Announcer, NoStreamError, listen

_LONGEST_BUSY = 900
_log = get_logger("scaimcp.remotes")
_Key = tuple[str, str]


class ListenRules(msgspec.Struct, frozen=True):
    """Figures of listening; times in seconds.

    Args:
        streams: most streams of this worker.
        look: between two looks at who is to be heard; also the longest that a change of a
            server's row goes unnoticed.
        present: how long a worker counts that says no more; a dead one's servers are heard again
            after this, a look and a connection.
        life: age at which a connection is replaced.
        stable: a stream that lived as long starts the pauses anew.
        pause: shortest and longest pause before a stream that broke is opened again.
        stagger: between two streams that are opened in one look.
        away: a stream that was away for longer has missed news: a discovery follows.
        unheard: likewise for a server that was not listened to here, since its last discovery.
        news: news of one server asks for one discovery in this time.
        page: servers read in one transaction.
    """

    streams: int = 256
    look: float = 5.0
    present: float = 20.0
    life: float = LIFE_SECONDS
    stable: float = 30.0
    pause: tuple[float, float] = (1.0, 300.0)
    stagger: float = 0.05
    away: float = 3.0
    unheard: float = 10.0
    news: float = float(PAUSE_SECONDS)
    page: int = 1_000


RULES = ListenRules()


class _Ear:
    """Listens to one server until it is to be heard no more, or differently."""

    def __init__(self, listeners: Listeners, server: AnnouncingServer) -> None:
        self.server = server
        self._listeners = listeners
        self._rules = listeners.rules
        self._away_since = time.monotonic() - server.discovered_ago
        self._grace = self._rules.unheard
        self._opened_at: float | None = None
        self._failures = 0

    @property
    def is_open(self) -> bool:
        """Whether changes are heard now."""
        return self._opened_at is not None

    def opened(self) -> None:
        if self._opened_at is not None:
            return
        self._opened_at = time.monotonic()
        if self._opened_at - self._away_since > self._grace:
            self._tell()
        _log.debug("remote_listening", **self._names)

    def changed(self) -> None:
        if self._tell():
            _log.info("remote_list_changed", **self._names)

    def _tell(self) -> bool:
        return self._listeners.news.tell(self.server.tenant_id, self.server.server_id)

    @property
    def _names(self) -> dict[str, str]:
        return {"tenant_id": self.server.tenant_id, "server_id": self.server.server_id}

    async def run(self, delay: float) -> None:
        """Keep a stream open; ends where the server has none, or its rows have changed."""
        await asyncio.sleep(delay)
        while True:
            pause = await self._once()
            if pause is None:
                return
            await asyncio.sleep(pause)

    async def _once(self) -> float | None:
        """Listen once; return the pause that follows, None for the end."""
        reason, busy = "ended", 0
        try:
            announcer = await self._listeners.announcer(self.server)
            if announcer is None:
                return None
            life = self._rules.life * random.uniform(0.9, 1.0)  # noqa: S311 - only jitter
            if await listen(self._listeners.http, announcer, self, life):
                reason = ""
        except NoStreamError:
            self._listeners.silent(self.server)
            return None
        except GatewayError as error:
            reason = error.code
            if isinstance(error, RateLimitedError):
                busy = min(error.retry_after or 0, _LONGEST_BUSY)
        return self._pause(reason, busy)

    def _pause(self, reason: str, busy: int) -> float:
        now, opened_at = time.monotonic(), self._opened_at
        self._opened_at = None
        if opened_at is not None:
            self._away_since, self._grace = now, self._rules.away
        if not reason:
            self._failures = 0
            return 0.0
        _log.debug("remote_listening_ended", outcome=reason, **self._names)
        if opened_at is not None and now - opened_at >= self._rules.stable:
            self._failures = 0
        jitter = random.random()  # noqa: S311 - only jitter
        pause = pause_after(self._failures, self._rules.pause, jitter)
        self._failures += 1
        return max(pause, busy)


class _Kept(msgspec.Struct, frozen=True):
    ear: _Ear
    task: asyncio.Task[None]


class Listeners:
    """The listening streams of this worker.

    Args:
        parts: what belongs to remote servers in this process.
        database: where servers are registered.
        redis: where workers meet.
        rules: figures.

    ``looks`` counts how often it was looked who is to be heard.
    """

    def __init__(
        self,
        parts: RemoteParts,
        database: Database,
        redis: RedisClient,
        rules: ListenRules = RULES,
    ) -> None:
        self.rules = rules
        self.http = parts.http.session
        self.looks = 0
        self.news = News(parts.follow_up, rules.news)
        self._keys = parts.keys
        self._database = database
        self._presence = Presence(redis, new_id("lst_"), rules.present)
        self._kept: dict[str, _Kept] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._silent: dict[str, tuple[int, datetime | None]] = {}
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        parts.follow_up.on_closing(self._dropped)

    @property
    def heard(self) -> frozenset[str]:
        """Ids of the servers that this worker listens to, or tries to."""
        return frozenset(self._kept)

    @property
    def open(self) -> frozenset[str]:
        """Ids of those whose changes are heard now."""
        return frozenset([one for one, kept in self._kept.items() if kept.ear.is_open])

    def start(self) -> None:
        """Begin to listen; once."""
        loop = asyncio.get_running_loop()
        self._loops = [
            loop.create_task(work, name="remote listening")
            for work in (self._look_on(), self.news.run())
        ]
        _log.debug("listening started", worker=self._presence.name)

    async def _look_on(self) -> None:
        while not is_cancelled():
            self._wake.clear()
            await self._look()
            self.looks += 1
            with suppress(TimeoutError):
                async with asyncio.timeout(self.rules.look):
                    await self._wake.wait()

    async def _look(self) -> None:
        workers = await self._presence.workers()
        try:
            servers = await self._chosen(workers)
        except DatabaseUnavailable as error:
            _log.debug("servers to listen to not read", reason=error.message)
            return
        self._arrange(servers)

    async def _chosen(self, workers: frozenset[str]) -> dict[str, AnnouncingServer]:
        """Return whom this worker is to listen to, by id."""
        name, after = self._presence.name, ""
        chosen: list[AnnouncingServer] = []
        announcing: set[str] = set()
        while True:
            async with self._database.transaction() as connection:
                page = await announcing_servers(connection, after, self.rules.page)
            for one in page:
                announcing.add(one.server_id)
                if not self._is_silent(one) and belongs_to(name, one.server_id, workers):
                    chosen.append(one)
            chosen = heapq.nlargest(
                self.rules.streams, chosen, key=lambda one: weight(name, one.server_id)
            )
            if len(page) < self.rules.page:
                for server_id in self._silent.keys() - announcing:
                    del self._silent[server_id]
                return {one.server_id: one for one in chosen}
            after = page[-1].server_id

    def _arrange(self, servers: dict[str, AnnouncingServer]) -> None:
        """End the streams that are not wanted, or not like this, and open those that are."""
        for server_id, kept in tuple(self._kept.items()):
            wanted = servers.get(server_id)
            if wanted is None or _settings(wanted) != _settings(kept.ear.server):
                self._end(server_id)
        new = [
            one
            for server_id, one in servers.items()
            if server_id not in self._kept and not self._is_silent(one)
        ]
        # What is still ending counts, so that there are never more.
        places = self.rules.streams - len(self._tasks)
        for number, server in enumerate(new[: max(places, 0)]):
            self._begin(server, number * self.rules.stagger)

    def _begin(self, server: AnnouncingServer, delay: float) -> None:
        ear = _Ear(self, server)
        task = asyncio.get_running_loop().create_task(ear.run(delay), name="remote listening")
        kept = self._kept[server.server_id] = _Kept(ear, task)
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if self._kept.get(server.server_id) is kept:
                del self._kept[server.server_id]
            if not done.cancelled() and (error := done.exception()) is not None:
                _log.error("listening failed", server_id=server.server_id, exc_info=error)

        task.add_done_callback(ended)

    def _end(self, server_id: str) -> None:
        kept = self._kept.pop(server_id, None)
        if kept is not None:
            kept.task.cancel()

    def _dropped(self, server_id: str) -> None:
        """End the stream of a server whose sessions are closed, and look again."""
        self._end(server_id)
        self._wake.set()

    def silent(self, server: AnnouncingServer) -> None:
        """Leave a server alone that has no stream, until its next discovery or another row."""
        self._silent[server.server_id] = _seen(server)

    def _is_silent(self, server: AnnouncingServer) -> bool:
        return self._silent.get(server.server_id) == _seen(server)

    async def announcer(self, server: AnnouncingServer) -> Announcer | None:
        """Return how to listen to a server now; None where its rows are others by now.

        Raises:
            DatabaseUnavailable: they cannot be read.
        """
        async with self._database.transaction() as connection:
            found = await read_server(connection, server.tenant_id, server.server_id)
            if found is None or found.state.status is not Status.ACTIVE:
                return None
            row = found.row
            if (row.config_version, row.credential_version) != _versions(server):
                return None
            fields = await credentials.read_fields(connection, server.tenant_id, server.server_id)
        lists = frozenset([name for name in LISTS if getattr(server, name)])
        return Announcer(
            opener(self._keys, row, fields), server.transport, server.protocol_era, lists
        )

    async def aclose(self) -> None:
        """End every stream, sessions within two seconds, and open no more; may be repeated."""
        loops, self._loops = self._loops, []
        for loop in loops:
            loop.cancel()
        if loops:
            await asyncio.wait(loops)
        for server_id in tuple(self._kept):
            self._end(server_id)
        if loops:
            await self._presence.leave()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))


def _versions(server: AnnouncingServer) -> tuple[int, int]:
    return (server.config_version, server.credential_version)


def _settings(server: AnnouncingServer) -> tuple[object, ...]:
    """Return what a stream depends on."""
    lists = [getattr(server, name) for name in LISTS]
    return (*_versions(server), server.transport, server.protocol_era, *lists)


def _seen(server: AnnouncingServer) -> tuple[int, datetime | None]:
    """Return what ends the silence about a server that has no stream."""
    return (server.config_version, server.last_discovery_at)


@asynccontextmanager
async def open_listening(
    parts: RemoteParts, database: Database, redis: RedisClient, rules: ListenRules = RULES
) -> AsyncIterator[Listeners]:
    """Listen to servers for as long as the block runs; parameters as for `Listeners`."""
    listeners = Listeners(parts, database, redis, rules)
    listeners.start()
    try:
        yield listeners
    finally:
        await listeners.aclose()
