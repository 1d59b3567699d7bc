"""Discovery: read what a server offers and store it, once at a time per server.

A lease keeps two discoveries of one server apart; whoever stores under a lease that is no longer
the last one writes nothing. One transaction stores everything. Spec: remote-servers 6, 7, 12.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from scaimcp.ids import new_id
from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.models import RegisteredServer, ServerState
from scaimcp.remotes.rules.definitions import Prefix, Reading
from scaimcp.remotes.rules.health import Source
from scaimcp.remotes.stores.state_store import discover_soon, read_state
from scaimcp.remotes.watching.discovery_lists import Found, ask, read_definitions
from scaimcp.remotes.watching.discovery_storing import CatalogWriter, Wish
from scaimcp.remotes.watching.outward import Outward
from scaimcp.remotes.watching.recording import (
    CONTACTED,
    Lease,
    Recorded,
    begin,
    held,
    is_superseded,
    kept,
    let_go,
    read_server,
)
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import REMOTE_DISCOVERIES, REMOTE_DISCOVERY_DURATION

_POLL_SECONDS = 0.1
_log = get_logger("scaimcp.remotes")

Result = Literal["stored", "failed", "joined", "busy", "skipped", "late", "superseded"]


class Discovered(msgspec.Struct, frozen=True):
    """How a discovery ended; what it found is in the rows.

    Args:
        result: ``stored`` a catalogue, ``failed`` upstream (the class is in the state),
            ``joined`` another discovery that ended meanwhile, ``busy`` (another one still runs),
            ``skipped`` (no such server, or one that is not contacted), ``late`` (the lease was
            lost, nothing was written), ``superseded`` (the configuration changed and there was
            no time left; a job follows).
        error_class: class name of the failure, None without one.
    """

    result: Result
    error_class: str | None = None


class _Asked(msgspec.Struct, frozen=True):
    """One wish for a discovery; ``ends`` is on the monotonic clock."""

    tenant_id: str
    server_id: str
    source: Source
    ends: float
    job: str

    @property
    def left(self) -> float:
        return self.ends - time.monotonic()


class Discoverer:
    """Discovers servers. Safe to call twice for one server, in one process or in several."""

    def __init__(self, outward: Outward) -> None:
        self._with = outward
        policy = outward.policy
        self._writer = CatalogWriter(policy.discovery_interval, policy.health_interval)
        self._tasks: set[asyncio.Task[Discovered]] = set()

    def _ended(self, task: asyncio.Task[Discovered]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Read, so that a failure that nobody waits for any more is not reported.
            task.exception()

    async def aclose(self) -> None:
        """Wait for discoveries whose requests have gone."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def discover(
        self,
        tenant_id: str,
        server_id: str,
        *,
        source: Source,
        seconds: float,
        request_id: str = "",
    ) -> Discovered:
        """Read a server's lists and store them.

        Failures of the server are no errors here: they are in its state afterwards. A cancelled
        request leaves its discovery running to its end; a cancelled job ends it.

        Args:
            tenant_id: of the server.
            server_id: which one.
            source: ``register`` and ``refresh`` wait for a discovery that runs already and take
                its outcome; ``discovery``, the jobs', ends at once.
            seconds: deadline of reading; storing comes on top.
            request_id: of the request or job, for the audit log.

        Raises:
            DatabaseUnavailable: the database failed; nothing was stored, the lease ends by itself.
        """
        asked = _Asked(
            tenant_id, server_id, source, time.monotonic() + seconds, request_id or new_id("job_")
        )
        if source == "discovery":
            return await self._discovered(asked)
        work = self._discovered(asked)
        task = asyncio.get_running_loop().create_task(work, name="discovery")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _discovered(self, asked: _Asked) -> Discovered:
        started = time.perf_counter()
        lease = await self._lease(asked)
        ended = lease if isinstance(lease, Discovered) else await self._under(lease, asked)
        REMOTE_DISCOVERIES.labels(asked.source, ended.result).inc()
        REMOTE_DISCOVERY_DURATION.labels(asked.source).observe(time.perf_counter() - started)
        self._log_end(asked, ended)
        return ended

    async def _lease(self, asked: _Asked) -> Lease | Discovered:
        """Take the lease, or wait for the one who has it."""
        since: RegisteredServer | None = None
        while True:
            async with self._with.database.transaction() as connection:
                found = await read_server(connection, asked.tenant_id, asked.server_id)
                if found is None or found.state.status not in CONTACTED:
                    return Discovered("skipped")
                if since is not None and _has_ended(found.state, since.state.read_at):
                    return Discovered("joined", _class(found.state))
                lease = await begin(connection, found, "discovery", asked.job)
                if lease is not None:
                    return await self._or_joined(connection, asked, lease, since or found)
                holder = await read_state(connection, asked.tenant_id, asked.server_id)
            if asked.source == "discovery" or asked.left <= _POLL_SECONDS:
                return Discovered("busy")
            if holder is not None and not (holder.lease_owner or "").startswith("probe:"):
                # A probe's outcome is not what was asked for.
                since = since or found
            await asyncio.sleep(_POLL_SECONDS)

    async def _or_joined(
        self, connection: Any, asked: _Asked, lease: Lease, first: RegisteredServer
    ) -> Lease | Discovered:
        """Give the lease back where a discovery has ended since the wish for one."""
        state = lease.server.state
        if asked.source == "discovery" or not _has_ended(state, first.state.read_at):
            return lease
        await let_go(connection, lease)
        return Discovered("joined", _class(state))

    async def _under(self, lease: Lease, asked: _Asked) -> Discovered:
        """Ask and store, again where the configuration changed meanwhile."""
        while True:
            async with kept(self._with.database, lease):
                found = await ask(self._with.http, self._with.keys, lease, max(asked.left, 0.1))
                prefix = Prefix(lease.server.row.scope_key, lease.server.row.slug)
                readings = (
                    {} if found.error else await asyncio.to_thread(read_definitions, found, prefix)
                )
                ended = await self._store(lease, asked, found, readings)
                if ended.result != "superseded" or asked.left <= 0:
                    return ended
                again = await self._again(lease)
            if again is None:
                return Discovered("late")
            lease = again

    async def _again(self, lease: Lease) -> Lease | None:
        """Read the server again under the same lease."""
        async with self._with.database.transaction() as connection:
            await let_go(connection, lease)
            found = await read_server(connection, lease.tenant_id, lease.server_id)
            if found is None or found.state.status not in CONTACTED:
                return None
            return await begin(connection, found, lease.purpose, lease.job)

    async def _store(
        self, lease: Lease, asked: _Asked, found: Found, readings: Mapping[Kind, Reading]
    ) -> Discovered:
        recorded: Recorded | None = None
        wish = Wish(asked.source, asked.job)
        async with self._with.database.transaction() as connection:
            now = await held(connection, lease)
            if now is None:
                return Discovered("late")
            if now.state.status not in CONTACTED:
                await let_go(connection, lease)
                return Discovered("skipped")
            if is_superseded(lease, now):
                if asked.left <= 0:
                    await discover_soon(connection, asked.tenant_id, asked.server_id)
                    await let_go(connection, lease)
                ended = Discovered("superseded")
            elif found.error is not None:
                recorded = await self._writer.store_failure(connection, now, wish, found)
                ended = Discovered("failed", _class(recorded.state))
                await let_go(connection, lease)
            else:
                recorded = await self._writer.store_lists(connection, now, wish, found, readings)
                ended = Discovered("stored")
                await let_go(connection, lease)
        await self._follow(asked, ended, recorded)
        return ended

    async def _follow(self, asked: _Asked, ended: Discovered, recorded: Recorded | None) -> None:
        if recorded is not None:
            await self._with.follow_up.committed(
                asked.tenant_id, asked.server_id, recorded.effects, recorded.version
            )
        elif ended.result == "superseded" and asked.left <= 0:
            await self._with.follow_up.discover_soon(asked.tenant_id, asked.server_id)

    def _log_end(self, asked: _Asked, ended: Discovered) -> None:
        event = "failed" if ended.result == "failed" else "finished"
        _log.info(
            f"remote_discovery_{event}",
            tenant_id=asked.tenant_id,
            server_id=asked.server_id,
            job_id=asked.job,
            source=asked.source,
            result=ended.result,
            error_class=ended.error_class,
        )


def _has_ended(state: ServerState, since: datetime) -> bool:
    """Tell whether a discovery has ended since then, well or not."""
    return state.last_discovery_at is not None and state.last_discovery_at > since


def _class(state: ServerState) -> str | None:
    return None if state.last_health_status == "ok" else state.last_health_status
