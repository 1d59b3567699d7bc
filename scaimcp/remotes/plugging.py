"""Put remote servers into the gateway: one source, and who hears how its calls end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from scaimcp.postgres import Database
from scaimcp.remotes.calls.accounting import Books
from scaimcp.remotes.calls.calling import CallRules, Outbound, RemoteCaller
from scaimcp.remotes.calls.holding import Holds
from scaimcp.remotes.calls.offers import RemoteServer
from scaimcp.remotes.calls.rounds import Rounds
from scaimcp.remotes.calls.snapshot import Snapshots
from scaimcp.remotes.calls.source import RemoteSource
from scaimcp.remotes.config import RemotePolicy
from scaimcp.remotes.consent.checking import Consent
from scaimcp.remotes.watching.followup import FollowUp
from scaimcp.remotes.watching.liveness import Liveness
from scaimcp.remotes.watching.opening import RemoteParts
from scaimcp.upstream.errors import (
    AuthenticationError,
    ConnectError,
    DNSError,
    ProtocolError,
    RemoteServerError,
    TLSError,
    UpstreamError,
    UpstreamTimeout,
)

# What speaks against a server; its own word on one call, and limits of ours, do not.
_FAILURES = (
    AuthenticationError,
    ConnectError,
    DNSError,
    ProtocolError,
    RemoteServerError,
    TLSError,
    UpstreamTimeout,
)


class LiveWatcher:
    """Passes on what calls tell about their servers.

    Args:
        liveness: writes outcomes down.
        follow_up: asks for discoveries.
    """

    def __init__(self, liveness: Liveness, follow_up: FollowUp) -> None:
        self._liveness = liveness
        self._follow_up = follow_up
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def ended(self, server: RemoteServer, error: UpstreamError | None) -> None:
        """Take in the end of a call."""
        row = server.row
        if error is None:
            self._liveness.ok(row.tenant_id, row.id)
        elif isinstance(error, _FAILURES):
            self._liveness.failed(row.tenant_id, row.id)

    def lists_changed(self, server: RemoteServer) -> None:
        """Have a server's lists read again."""
        if server.row.id not in self._tasks:
            row = server.row
            self._beside(row.id, self._follow_up.discover_soon(row.tenant_id, row.id))

    def _beside(self, server_id: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="remote lists changed")
        self._tasks[server_id] = task
        task.add_done_callback(lambda done: self._tasks.pop(server_id, None))

    async def aclose(self) -> None:
        """Wait for what runs beside."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))


class Plugged(msgspec.Struct, frozen=True):
    """The source, what it knows of the tenants' servers, and the calls that wait for users."""

    source: RemoteSource
    snapshots: Snapshots
    holds: Holds


def call_rules(policy: RemotePolicy) -> CallRules:
    """Return the limits of one call."""
    return CallRules(
        policy.call_seconds,
        policy.call_seconds_most,
        policy.most_arguments_bytes,
        policy.most_result_bytes,
    )


@asynccontextmanager
async def open_source(
    parts: RemoteParts, database: Database, consent: Consent, books: Books
) -> AsyncIterator[Plugged]:
    """Open the source of remote tools, resources and prompts.

    Args:
        parts: what belongs to remote servers in this process.
        database: where servers are registered.
        consent: asks users.
        books: accounts for calls.
    """
    outbound = Outbound(parts.http, parts.keys, parts.pool, parts.breaker, parts.slots)
    watcher = LiveWatcher(parts.liveness, parts.follow_up)
    snapshots = Snapshots(database)
    caller = RemoteCaller(outbound, call_rules(parts.policy), watcher, books=books)
    holds = Holds(parts.policy.hold_seconds, parts.policy.most_holds)
    rounds = Rounds(caller, consent, holds)
    try:
        yield Plugged(RemoteSource(snapshots, caller, consent, rounds), snapshots, holds)
    finally:
        await holds.aclose()
        await snapshots.aclose()
        await watcher.aclose()
