"""Probe a server: is it alive? Spec: remote-servers 7.

Modern servers are asked ``server/discover``; others get a ``ping`` on a session that this process
keeps. A probe never changes what a server offers: where it revives, a discovery follows.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

import msgspec

from scaimcp.credentials.errors import CredentialFailure
from scaimcp.ids import new_id
from scaimcp.remotes.enumerations import AuthType, Status, Transport
from scaimcp.remotes.models import RegisteredServer, ServerState
from scaimcp.remotes.rules.health import Observation, Ok
from scaimcp.remotes.stores.state_store import EARLY_CHECK_SECONDS
from scaimcp.remotes.watching.discovery_lists import opening_of, remembered_era
from scaimcp.remotes.watching.outward import Outward
from scaimcp.remotes.watching.recording import (
    CONTACTED,
    Lease,
    Recorded,
    Watcher,
    begin,
    held,
    is_superseded,
    kept,
    let_go,
    observed,
    raised,
    read_server,
    write_outcome,
)
from scaimcp.remotes.watching.targets import CredentialMissing, opener
from scaimcp.telemetry.metrics import REMOTE_HEALTH_CHECKS
from scaimcp.upstream.errors import (
    AuthenticationError,
    ProtocolError,
    RateLimitedError,
    SessionUnknown,
    UpstreamError,
    timed_out,
)
from scaimcp.upstream.opening import open_session
from scaimcp.upstream.pool import EVERYBODY, SessionKey, SessionPool
from scaimcp.upstream.request import PROBE_SECONDS, Handshake, Opener, ping

LIVE_CALL_COUNTS = timedelta(seconds=60)
# A session that the server has forgotten is replaced once.
_SESSIONS = 2
Result = Literal["ok", "failed", "busy", "skipped", "late"]


class Probed(msgspec.Struct, frozen=True):
    """How a probe ended; what it found is in the state.

    ``busy``: somebody else asks the server now. ``skipped``: no such server, not contacted, or
    not due. ``late``: lease or configuration changed meanwhile, nothing was written.
    """

    result: Result
    error_class: str | None = None


class _Seen(msgspec.Struct):
    error: UpstreamError | CredentialFailure | None = None
    handshake: Handshake | None = None


class Prober:
    """Probes servers that are due. Safe to call twice."""

    def __init__(self, outward: Outward, pool: SessionPool) -> None:
        self._with = outward
        self._pool = pool

    async def probe(self, tenant_id: str, server_id: str, *, job: str = "") -> Probed:
        """Probe a server whose check is due and write down what was found.

        Args:
            tenant_id: of the server.
            server_id: which one.
            job: id of the job, for the audit log.

        Raises:
            DatabaseUnavailable: the database failed; nothing counts.
        """
        lease = await self._lease(tenant_id, server_id, job or new_id("job_"))
        probed = lease if isinstance(lease, Probed) else await self._under(lease)
        REMOTE_HEALTH_CHECKS.labels(probed.error_class or probed.result).inc()
        return probed

    async def _lease(self, tenant_id: str, server_id: str, job: str) -> Lease | Probed:
        async with self._with.database.transaction() as connection:
            found = await read_server(connection, tenant_id, server_id)
            if found is None or not _is_due(found.state):
                return Probed("skipped")
            lease = await begin(connection, found, "probe", job)
            if lease is None:
                return Probed("busy")
            if not _is_due(lease.server.state):
                # Somebody has just done it.
                await let_go(connection, lease)
                return Probed("skipped")
            return lease

    async def _under(self, lease: Lease) -> Probed:
        async with kept(self._with.database, lease):
            seen = _Seen() if _was_called(lease.server.state) else await self._ask(lease)
            return await self._store(lease, seen)

    async def _ask(self, lease: Lease) -> _Seen:
        row, seen = lease.server.row, _Seen()
        try:
            if row.transport is None or row.auth_type is None:
                raise CredentialMissing
            open_target = opener(self._with.keys, row, lease.fields)
            async with asyncio.timeout(PROBE_SECONDS):
                if row.transport is Transport.SSE or remembered_era(lease.server) == "legacy":
                    seen.handshake = await self._ping(lease.server, open_target)
                else:
                    opening = opening_of(lease.server, open_target, PROBE_SECONDS)
                    async with open_session(self._with.http.session, opening) as session:
                        seen.handshake = session.handshake
        except TimeoutError:
            # Late only in ending the session: it has answered.
            seen.error = None if seen.handshake else timed_out(PROBE_SECONDS)
        except AuthenticationError as error:
            is_alive = row.auth_type is AuthType.PER_USER and error.asks_for_bearer
            seen.error = None if is_alive else error
        except (UpstreamError, CredentialFailure) as error:
            seen.error = error
        return seen

    async def _ping(self, server: RegisteredServer, open_target: Opener) -> Handshake | None:
        """Ping on the session that is kept; return the handshake if one was opened for it."""
        row = server.row
        told: list[Handshake] = []
        opening = opening_of(server, open_target, PROBE_SECONDS, told.append)
        key = SessionKey(row.id, row.credential_version, row.config_version, EVERYBODY)
        for _ in range(_SESSIONS):
            with suppress(SessionUnknown):
                async with self._pool.lease(key, opening, PROBE_SECONDS) as session:
                    # After an upgrade there is no ping, and the opening itself was the answer.
                    if session.handshake.era == "legacy":
                        await session.request(await open_target(), ping())
                    return told[-1] if told else None
        raise ProtocolError("The server forgets its sessions at once.")

    async def _store(self, lease: Lease, seen: _Seen) -> Probed:
        recorded: Recorded | None = None
        async with self._with.database.transaction() as connection:
            now = await held(connection, lease)
            if now is None:
                return Probed("late")
            if now.state.status in CONTACTED and not is_superseded(lease, now):
                recorded = await self._record(connection, now, seen, lease.job)
            await let_go(connection, lease)
        if recorded is None:
            return Probed("late")
        await self._with.follow_up.committed(
            lease.tenant_id, lease.server_id, recorded.effects, recorded.version
        )
        if seen.error is None:
            return Probed("ok")
        return Probed("failed", recorded.state.last_health_status)

    async def _record(
        self, connection: Any, now: RegisteredServer, seen: _Seen, job: str
    ) -> Recorded | None:
        at = now.state.read_at
        outcome: Observation = Ok("health", at)
        if seen.error is not None:
            outcome = observed(seen.error, "health", at)
        by = Watcher(job, self._with.policy.health_interval)
        recorded = await write_outcome(connection, now, outcome, by, **_era(now.state, seen))
        if recorded is None:
            raise AssertionError("the state was locked and yet written by somebody else")
        return await raised(connection, now, recorded) if "bump" in recorded.effects else recorded


def _is_due(state: ServerState) -> bool:
    """Tell whether a server is to be asked now; see `state_store.due_checks`."""
    if state.next_check_at is None or state.status not in CONTACTED:
        return False
    is_patient = state.status is Status.ERROR or state.last_health_status == RateLimitedError.name
    early = timedelta(seconds=0 if is_patient else EARLY_CHECK_SECONDS)
    return state.next_check_at <= state.read_at + early


def _was_called(state: ServerState) -> bool:
    """Tell whether a live call has just shown that the server works."""
    called = state.last_call_ok_at
    if called is None or state.status is not Status.ACTIVE:
        return False
    failed = state.last_call_failure_at
    is_last = failed is None or failed < called
    return is_last and state.read_at - called < LIVE_CALL_COUNTS


def _era(state: ServerState, seen: _Seen) -> dict[str, Any]:
    handshake = seen.handshake
    if handshake is None or handshake.era == state.protocol_era:
        return {}
    return {
        "protocol_era": handshake.era,
        "protocol_version": handshake.version,
        "era_checked_at": state.read_at,
    }
