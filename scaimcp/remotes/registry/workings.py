"""What the use cases on registered servers share: rows, rights, versions, what follows a commit.

Spec: remote-servers 1, 12.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

import msgspec

from scaimcp.audit import store as audit
from scaimcp.credentials.keys import KeyWrapper
from scaimcp.errors import EndpointForbidden, EndpointInvalid
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.remotes import refusals
from scaimcp.remotes.config import RemotePolicy
from scaimcp.remotes.models import RegisteredServer, ServerRow, ServerState
from scaimcp.remotes.registry.pacing import Pace
from scaimcp.remotes.rights import Actor, Deed, demand
from scaimcp.remotes.rules.endpoint_policy import Endpoint
from scaimcp.remotes.rules.health import Admin, Effect, Source, State, next_state
from scaimcp.remotes.stores import store
from scaimcp.remotes.stores.state_store import write_state
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import REMOTE_ENDPOINTS_REFUSED
from scaimcp.types import RequestContext
from scaimcp.versions.notices import Notice
from scaimcp.versions.store import raise_version

_STATE_FIELDS = State.__struct_fields__
_log = get_logger("scaimcp.remotes")


class Discovery(Protocol):
    """Asks a server what it offers and stores the outcome in its rows."""

    async def discover(
        self,
        tenant_id: str,
        server_id: str,
        *,
        source: Source,
        seconds: float,
        request_id: str = "",
    ) -> Any:
        """Discover within `seconds`, or join a discovery that runs; never fails for its sake."""
        ...


class AfterCommit(Protocol):
    """Sends what a change entails; never raises, never waits for a remote server."""

    async def committed(
        self,
        tenant_id: str,
        server_id: str,
        effects: Collection[Effect],
        version: int | None = None,
    ) -> None:
        """Close sessions, tell the new catalogue version, ask for a discovery."""
        ...


class Workings(msgspec.Struct, frozen=True):
    """What the use cases work with.

    Args:
        check_host: resolves and judges a host and port; raises EndpointForbidden or OSError.
        changed: makes this process forget what it knows of a tenant's catalogue.
    """

    database: Database
    keys: KeyWrapper
    policy: RemotePolicy
    discovery: Discovery
    after: AfterCommit
    pace: Pace
    check_host: Callable[[str, int], Awaitable[None]]
    changed: Callable[[Notice], None]


class Done(msgspec.Struct, frozen=True):
    """What a transaction leaves to be done after its commit; ``version`` of the catalogue."""

    row: ServerRow
    effects: frozenset[Effect] = frozenset()
    version: int | None = None


async def locked(
    connection: Any,
    actor: Actor,
    server_id: str,
    deed: Deed,
    wanted: frozenset[int] | None,
) -> RegisteredServer:
    """Return a server for a deed; nobody else changes it until the transaction ends.

    Args:
        connection: inside the transaction.
        actor: who wants to.
        server_id: as it came in.
        deed: what for.
        wanted: versions one of which the row must have, None for any.

    Raises:
        RequestRefused: 404, 403, 412.
    """
    found = await store.lock_server(connection, actor.visibility, server_id)
    if found is None:
        raise refusals.server_not_found()
    demand(actor, found.row, deed)
    check_version(found.row, wanted)
    return found


async def seen(connection: Any, actor: Actor, server_id: str) -> RegisteredServer:
    """Return a server that the actor sees.

    Raises:
        RequestRefused: 404.
    """
    found = await store.get_server(connection, actor.visibility, server_id)
    if found is None:
        raise refusals.server_not_found()
    return found


def check_version(row: ServerRow, wanted: frozenset[int] | None) -> None:
    """Compare with ``If-Match``.

    Raises:
        RequestRefused: 412.
    """
    if wanted is not None and row.version not in wanted:
        raise refusals.precondition_failed()


async def write_row(connection: Any, row: ServerRow) -> ServerRow:
    """Write a locked row and return it with its new version.

    Raises:
        RequestRefused: 409 for a row that only a later version of this program understands.
    """
    if row.transport is None or row.auth_type is None:
        raise refusals.state_conflict("The server was made by a later version of the gateway.")
    written = await store.update_server(connection, row)
    if written is None:
        raise refusals.precondition_failed()
    return written


async def administer(
    connection: Any, state: ServerState, deed: Admin, **more: Any
) -> frozenset[Effect]:
    """Apply an administrator's deed to a locked state and return what else must happen.

    Args:
        connection: inside the transaction.
        state: as read in it, locked.
        deed: what was done.
        more: further columns to write.
    """
    before = State(**{name: getattr(state, name) for name in _STATE_FIELDS})
    transition = next_state(before, deed, state.read_at)
    changed = {name: getattr(transition.state, name) for name in _STATE_FIELDS} | more
    after = msgspec.structs.replace(state, **changed)
    if after != state and await write_state(connection, after) is None:
        raise refusals.precondition_failed()
    return transition.effects


async def finish(
    connection: Any,
    context: RequestContext,
    row: ServerRow,
    action: str,
    data: dict[str, Any],
    effects: Collection[Effect] = (),
) -> Done:
    """Write the audit row and raise the catalogue version: the end of a changing transaction."""
    await record(connection, context, row, action, data)
    version = await raise_version(connection, row.tenant_id)
    return Done(row, frozenset(effects), version)


async def record(
    connection: Any, context: RequestContext, row: ServerRow, action: str, data: dict[str, Any]
) -> None:
    """Write who did what to a server into the audit log."""
    event = audit.AuditEvent(row.tenant_id, action, "remote_server", row.id, data=data)
    await audit.record(connection, event, context)


async def follow(workings: Workings, done: Done) -> None:
    """Send what a commit entails, and discover at once where the change wants it."""
    row = done.row
    if done.version is not None:
        workings.changed(Notice(row.tenant_id, done.version))
    await workings.after.committed(row.tenant_id, row.id, done.effects, done.version)


async def discover(
    workings: Workings, context: RequestContext, row: ServerRow, *, source: Source, seconds: float
) -> None:
    """Discover within a request; what goes wrong on our side leaves it to the next cron tick."""
    try:
        await workings.discovery.discover(
            row.tenant_id,
            row.id,
            source=source,
            seconds=seconds,
            request_id=context.request_id,
        )
    except DatabaseUnavailable as error:
        _log.warning("discovery not stored", server_id=row.id, reason=error.message)
    # The message about what it has stored may come after the answer, or never.
    workings.changed(Notice(row.tenant_id))


async def checked_endpoint(workings: Workings, context: RequestContext, url: str) -> Endpoint:
    """Judge the URL, then its host's addresses; no answer of DNS in time is no refusal.

    Raises:
        EndpointInvalid: form of the URL.
        EndpointForbidden: host, port or an address.
    """
    origin = ""
    try:
        endpoint = workings.policy.endpoints.check_url(url)
        origin = endpoint.origin
        async with asyncio.timeout(workings.policy.dns_seconds):
            await workings.check_host(endpoint.host, endpoint.port)
    except (EndpointForbidden, EndpointInvalid) as error:
        await _refused(workings, context, origin, error)
        raise
    except (OSError, TimeoutError):
        # A host without an answer is registered; its discovery will say DNSError.
        pass
    return endpoint


def time_left(started: float, seconds: float) -> float:
    """Return what is left of a deadline, and at least enough to fail in an orderly way."""
    return max(seconds - (time.monotonic() - started), 0.1)


async def _refused(
    workings: Workings,
    context: RequestContext,
    origin: str,
    error: EndpointForbidden | EndpointInvalid,
) -> None:
    REMOTE_ENDPOINTS_REFUSED.labels(error.reason).inc()
    address = error.address if isinstance(error, EndpointForbidden) else ""
    tenant_id = context.caller.tenant_id
    _log.warning(
        "remote_endpoint_refused",
        request_id=context.request_id,
        tenant_id=tenant_id,
        origin=origin,
        reason=error.reason,
        address=address,
    )
    event = audit.AuditEvent(
        tenant_id,
        "remote_endpoint.refuse",
        "remote_server",
        "",
        "FAILURE",
        {"origin": origin, "reason": error.reason},
    )
    try:
        async with workings.database.transaction() as connection:
            await audit.record(connection, event, context)
    except DatabaseUnavailable as failed:
        _log.warning("refusal not audited", reason=failed.message)
