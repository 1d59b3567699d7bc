"""Write what a check has found into a server's row, under the rules of `health.next_state`.

Spec: remote-servers 6 (lease, store), 7, 10.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import msgspec

from scaimcp.audit.store import AuditEvent, record_own
from scaimcp.credentials import store as credentials
from scaimcp.credentials.errors import CredentialCorrupt, CredentialFailure
from scaimcp.credentials.store import StoredField
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.models import RegisteredServer, ServerRow, ServerState, Visibility
from scaimcp.remotes.rules.health import (
    Busy,
    Effect,
    Fail,
    Local,
    Observation,
    Source,
    State,
    next_state,
)
from scaimcp.remotes.stores import store
from scaimcp.remotes.stores.state_store import hold_lease, release_lease, take_lease, write_state
from scaimcp.remotes.watching.targets import CredentialMissing
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import REMOTE_ENDPOINTS_REFUSED, REMOTE_STATUS_CHANGES
from scaimcp.upstream.errors import (
    CircuitOpenError,
    EndpointForbiddenError,
    PoolExhaustedError,
    RateLimitedError,
    RemoteBusyError,
    UpstreamError,
)
from scaimcp.versions.store import raise_version

CONTACTED = (Status.ACTIVE, Status.ERROR)
_OUR_LIMITS = CircuitOpenError | PoolExhaustedError | RemoteBusyError
_STATE_FIELDS = State.__struct_fields__
_log = get_logger("scaimcp.remotes")


class Lease(msgspec.Struct, frozen=True):
    """The right to ask one server, and what was stored of it when it was taken.

    ``purpose`` is ``discovery`` or ``probe``; ``job`` names who acts, for the audit log.
    """

    server: RegisteredServer
    fields: tuple[StoredField, ...]
    seq: int
    purpose: str
    job: str = ""

    @property
    def tenant_id(self) -> str:
        """Tenant of the server."""
        return self.server.row.tenant_id

    @property
    def server_id(self) -> str:
        """Which server."""
        return self.server.row.id


class Watcher(msgspec.Struct, frozen=True):
    """Who found something out: ``job`` for the audit log, ``interval`` seconds between checks."""

    job: str
    interval: int


class Recorded(msgspec.Struct, frozen=True):
    """A state as written, what follows, and the catalogue version that was raised, or None."""

    state: ServerState
    effects: frozenset[Effect]
    version: int | None = None


async def read_server(connection: Any, tenant_id: str, server_id: str) -> RegisteredServer | None:
    """Return a server of the tenant, whoever owns it. For jobs."""
    anyone = Visibility(tenant_id, "", own=True, shared=True, others=True)
    return await store.get_server(connection, anyone, server_id)


async def begin(connection: Any, found: RegisteredServer, purpose: str, job: str) -> Lease | None:
    """Take the lease of a server that was just read.

    None: somebody else holds it, or the server is not contacted any more.
    """
    row = found.row
    seq = await take_lease(connection, row.tenant_id, row.id, f"{purpose}:{job}"[:200])
    if seq is None:
        return None
    # Read again: nothing of it may be older than the lease.
    fresh = await read_server(connection, row.tenant_id, row.id)
    if fresh is None or fresh.state.status not in CONTACTED:
        await release_lease(connection, row.tenant_id, row.id, seq)
        return None
    fields = await credentials.read_fields(connection, row.tenant_id, row.id)
    return Lease(fresh, fields, seq, purpose, job)


async def held(connection: Any, lease: Lease) -> RegisteredServer | None:
    """Return the server as it is now, locked, if the lease is still good; else None.

    The first statement of a transaction that stores: whoever comes too late writes nothing.
    """
    if not await hold_lease(connection, lease.tenant_id, lease.server_id, lease.seq):
        return None
    return await read_server(connection, lease.tenant_id, lease.server_id)


async def let_go(connection: Any, lease: Lease) -> None:
    """Give the lease back."""
    await release_lease(connection, lease.tenant_id, lease.server_id, lease.seq)


@asynccontextmanager
async def kept(database: Database, lease: Lease) -> AsyncIterator[None]:
    """Give the lease back where the block fails or is cancelled.

    Others then need not wait until it ends by itself. Without an error the block has done it.
    """
    try:
        yield
    except BaseException:
        with suppress(DatabaseUnavailable):
            async with database.transaction() as connection:
                await let_go(connection, lease)
        raise


def is_superseded(lease: Lease, now: RegisteredServer) -> bool:
    """Tell whether what was asked is no longer what the configuration says."""
    then, row = lease.server.row, now.row
    return (then.config_version, then.credential_version, then.tool_changes) != (
        row.config_version,
        row.credential_version,
        row.tool_changes,
    )


def observed(error: UpstreamError | CredentialFailure, source: Source, at: datetime) -> Observation:
    """Return what an error tells about a server. Spec: remote-servers 7 (outcomes)."""
    if isinstance(error, RateLimitedError):
        return Busy(source, at, error.retry_after, error.message)
    if isinstance(error, CredentialMissing):
        return Fail(source, at, error.health_name, error.message)
    if isinstance(error, CredentialFailure):
        known = {"field": error.field, "key_id": error.key_id}
        return Local(source, at, error.health_name, error.message, known)
    if isinstance(error, _OUR_LIMITS):
        return Local(source, at, error.health_name, error.message)
    if isinstance(error, EndpointForbiddenError):
        known = {"reason": error.reason, "address": error.address}
        return Fail(source, at, error.health_name, error.message, known)
    return Fail(source, at, error.health_name, error.message)


async def write_outcome(
    connection: Any,
    server: RegisteredServer,
    outcome: Observation,
    by: Watcher,
    **more: Any,
) -> Recorded | None:
    """Apply an outcome to a server's state, with its audit row; the version is the caller's.

    Args:
        connection: inside the transaction.
        server: as read in it.
        outcome: what was found.
        by: who found it.
        more: further columns of the state, written together with it.

    Returns:
        What was written; None if somebody else wrote the state since it was read.
    """
    before = server.state
    jitter = random.uniform(0.9, 1.1)  # noqa: S311 - only jitter
    state = State(**{name: getattr(before, name) for name in _STATE_FIELDS})
    transition = next_state(state, outcome, before.read_at, jitter, by.interval)
    changed = {name: getattr(transition.state, name) for name in _STATE_FIELDS} | more
    after = msgspec.structs.replace(before, **changed)
    if after != before:
        seq = await write_state(connection, after)
        if seq is None:
            return None
        after = msgspec.structs.replace(after, state_seq=seq)
    await _tell(connection, server, after, outcome, by.job)
    return Recorded(after, transition.effects)


async def raised(connection: Any, server: RegisteredServer, recorded: Recorded) -> Recorded:
    """Raise the tenant's catalogue version: the last statement of the transaction."""
    version = await raise_version(connection, server.row.tenant_id)
    return msgspec.structs.replace(recorded, version=version)


async def _tell(
    connection: Any,
    server: RegisteredServer,
    after: ServerState,
    outcome: Observation,
    job: str,
) -> None:
    before, row = server.state, server.row
    if after.status is not before.status:
        REMOTE_STATUS_CHANGES.labels(before.status.value, after.status.value).inc()
        data = {
            "from": before.status.value,
            "to": after.status.value,
            "class": after.last_health_status,
            "n": after.consecutive_failures,
        }
        place = {"job_id": job, "tenant_id": row.tenant_id, "server_id": row.id}
        _log.info("remote_status_changed", **place, **data)
        await audit(connection, server, "remote_server.status", job, data)
    is_news = after.last_health_status != before.last_health_status
    if isinstance(outcome, Local) and outcome.error_class == CredentialCorrupt.health_name:
        if is_news:
            action, told = "remote_credential.corrupt", outcome.details
            await audit(connection, server, action, job, dict(told), "FAILURE")
    elif isinstance(outcome, Fail) and outcome.error_class == EndpointForbiddenError.name:
        tell_refusal(row, outcome.details, job_id=job)
        if is_news:
            why = {"origin": row.endpoint_origin, "reason": outcome.details.get("reason", "")}
            await audit(connection, server, "remote_endpoint.refuse", job, why, "FAILURE")


def tell_refusal(row: ServerRow, details: Mapping[str, str], **by: str) -> None:
    """Count and log that the address rules kept a request from a server.

    Args:
        row: the server.
        details: ``reason`` and ``address`` of the refusal.
        by: ``job_id`` or ``request_id``.
    """
    reason = details.get("reason", "")
    REMOTE_ENDPOINTS_REFUSED.labels(reason).inc()
    _log.warning(
        "remote_endpoint_refused",
        tenant_id=row.tenant_id,
        server_id=row.id,
        origin=row.endpoint_origin,
        reason=reason,
        address=details.get("address", ""),
        **by,
    )


async def audit(
    connection: Any,
    server: RegisteredServer,
    action: str,
    job: str,
    data: dict[str, Any],
    status: str = "SUCCESS",
) -> None:
    """Write down what the program did to a server by itself."""
    row = server.row
    event = AuditEvent(row.tenant_id, action, "remote_server", row.id, status, data)
    await record_own(connection, event, job)
