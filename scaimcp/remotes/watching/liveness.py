"""What live calls tell about servers: merged in memory, written beside the calls.

A success is written at most every five seconds per server; a failure asks for a probe, at most
one in twenty seconds. Without the database they are dropped. Spec: remote-servers 7.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.remotes.rules.health import Ok
from scaimcp.remotes.stores.state_store import note_call_failure
from scaimcp.remotes.watching.followup import FollowUp
from scaimcp.remotes.watching.recording import Recorded, Watcher, raised, read_server, write_outcome
from scaimcp.telemetry.logs import get_logger

WRITE_SECONDS = 5.0
PROBE_PAUSE_SECONDS = 20.0
_TRIES = 3
_log = get_logger("scaimcp.remotes")
_Key = tuple[str, str]


class Liveness:
    """Takes the outcomes of calls; `run` writes them down."""

    def __init__(
        self,
        database: Database,
        follow_up: FollowUp,
        health_interval: int,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        self._database = database
        self._follow_up = follow_up
        self._by = Watcher("call", health_interval)
        self._write_seconds = write_seconds
        self._ok: dict[_Key, float] = {}
        self._failed: set[_Key] = set()
        self._paused_until: dict[_Key, float] = {}
        self._changed = asyncio.Event()

    def ok(self, tenant_id: str, server_id: str) -> None:
        """A call was answered."""
        self._ok[(tenant_id, server_id)] = time.monotonic()
        self._changed.set()

    def failed(self, tenant_id: str, server_id: str) -> None:
        """A call could not be carried out: connection, 5xx, 401, 403, no MCP, deadline."""
        key = (tenant_id, server_id)
        if time.monotonic() >= self._paused_until.get(key, 0.0):
            self._failed.add(key)
            self._changed.set()

    async def run(self) -> None:
        """Write outcomes down until cancelled."""
        ends = 0.0
        while True:
            await self._changed.wait()
            await self._write_failures()
            left = ends - time.monotonic()
            if left > 0:
                # Failures are not kept waiting for the successes' turn.
                self._changed.clear()
                await _wait(self._changed, left)
                continue
            self._changed.clear()
            await self._write_successes()
            ends = time.monotonic() + self._write_seconds
            if self._ok:
                self._changed.set()

    async def _write_failures(self) -> None:
        now = time.monotonic()
        self._paused_until = {k: at for k, at in self._paused_until.items() if at > now}
        while self._failed:
            key = self._failed.pop()
            self._paused_until[key] = time.monotonic() + PROBE_PAUSE_SECONDS
            try:
                async with self._database.transaction() as connection:
                    is_noted = await note_call_failure(connection, *key, PROBE_PAUSE_SECONDS)
            except DatabaseUnavailable as error:
                _log.warning("call failure dropped", server_id=key[1], reason=error.message)
                continue
            if is_noted:
                await self._follow_up.probe_soon(*key)

    async def _write_successes(self) -> None:
        pending, self._ok = self._ok, {}
        for key, at in pending.items():
            try:
                await self._write(key, at)
            except DatabaseUnavailable as error:
                _log.warning("call outcome dropped", server_id=key[1], reason=error.message)

    async def _write(self, key: _Key, at: float) -> None:
        for _ in range(_TRIES):
            recorded: Recorded | None = None
            async with self._database.transaction() as connection:
                server = await read_server(connection, *key)
                if server is None:
                    return
                observed_at = server.state.read_at - timedelta(seconds=time.monotonic() - at)
                recorded = await write_outcome(
                    connection, server, Ok("call", observed_at), self._by
                )
                if recorded is not None and "bump" in recorded.effects:
                    recorded = await raised(connection, server, recorded)
            if recorded is not None:
                await self._follow_up.committed(*key, recorded.effects, recorded.version)
                return


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        # The successes' turn has come.
        changed.set()
