"""The registry's changing use cases: each one a transaction, then what follows from it.

Spec: remote-servers 1.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from scaimcp.audit import store as audit
from scaimcp.credentials import store as credentials
from scaimcp.credentials.envelope import Place, Sealed, seal
from scaimcp.ids import new_id
from scaimcp.remotes import refusals
from scaimcp.remotes.consent.consent_events import consent_event
from scaimcp.remotes.enumerations import Status, ToolChanges
from scaimcp.remotes.models import NewServer, QuotaReached, RegisteredServer, ServerRow, SlugTaken
from scaimcp.remotes.registry.fields import Changes, Credentials, Registration
from scaimcp.remotes.registry.pacing import REFRESHES, TENANT_REFRESHES
from scaimcp.remotes.registry.patching import patched
from scaimcp.remotes.registry.reading import ServerReader, Shown
from scaimcp.remotes.registry.workings import (
    Done,
    Workings,
    administer,
    check_version,
    checked_endpoint,
    discover,
    finish,
    follow,
    locked,
    record,
    seen,
    time_left,
    write_row,
)
from scaimcp.remotes.rights import TENANT as MANAGE_TENANT
from scaimcp.remotes.rights import Actor, Deed, actor_of, demand, denied
from scaimcp.remotes.rules import naming
from scaimcp.remotes.rules.endpoint_policy import Endpoint
from scaimcp.remotes.rules.health import DISCOVERING, Admin, Effect
from scaimcp.remotes.stores import approval_store, change_store, store
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import RequestContext

_log = get_logger("scaimcp.remotes")
_CONTACTED = (Status.ACTIVE, Status.ERROR)
# What a discovery found out about a server that is another one now.
_FORGOTTEN: Mapping[str, Any] = {
    "has_catalog": False,
    "protocol_era": None,
    "protocol_version": None,
    "era_checked_at": None,
}
Wanted = frozenset[int] | None
"""Versions of ``If-Match``, None without it."""


class RemoteServers:
    """Registers, changes and removes servers; every method takes who asks.

    ``wanted`` are the versions of ``If-Match``. All raise `RequestRefused` with the codes of
    remote-servers 1, and `DatabaseUnavailable`.
    """

    def __init__(self, workings: Workings, reader: ServerReader) -> None:
        self._with = workings
        self._reader = reader

    async def register(self, context: RequestContext, body: Registration) -> Shown:
        """Store a server with its credentials, then discover it, all in four seconds.

        The server is there whatever the discovery finds.
        """
        started, actor = time.monotonic(), actor_of(context.caller)
        endpoint = await checked_endpoint(self._with, context, body.endpoint_url)
        new = self._new_server(actor, body, endpoint)
        sealed = await self._sealed(new.tenant_id, new.id, endpoint.origin, body.credentials)
        async with self._with.database.transaction() as connection:
            row = await store.insert_server(connection, new, self._with.policy.quota)
            if isinstance(row, SlugTaken):
                raise refusals.slug_taken(row.server_id)
            if isinstance(row, QuotaReached):
                raise refusals.quota_reached(row.of, row.limit)
            if sealed:
                await credentials.put_fields(
                    connection, row.tenant_id, row.id, sealed, actor.user_id
                )
            data = {"origin": endpoint.origin, "fields": sorted(sealed)}
            done = await finish(connection, context, row, "remote_server.register", data)
            await _tell_credentials(connection, context, row, "set", _keys(sealed))
        _log.info(
            "remote_server_registered",
            request_id=context.request_id,
            tenant_id=row.tenant_id,
            server_id=row.id,
        )
        if new.status is not Status.PENDING_APPROVAL:
            done = msgspec.structs.replace(done, effects=frozenset({"discover_inline"}))
        return await self._finished(context, done, started)

    async def change(
        self, context: RequestContext, server_id: str, body: Changes, wanted: Wanted
    ) -> Shown:
        """Change what `body` names; a server that is another one now is discovered anew."""
        started, actor = time.monotonic(), actor_of(context.caller)
        endpoint = None
        if body.endpoint_url is not msgspec.UNSET:
            endpoint = await checked_endpoint(self._with, context, body.endpoint_url)
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.EDIT, wanted)
            done = await self._change(connection, context, server, body, endpoint)
        return await self._finished(context, done, started)

    async def delete(self, context: RequestContext, server_id: str, wanted: Wanted) -> None:
        """Remove a server with all that belongs to it; its name is free at once."""
        actor = actor_of(context.caller)
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.GOVERN, wanted)
            row = server.row
            await store.delete_server(connection, row.tenant_id, row.id)
            effects: tuple[Effect, ...] = ("close_sessions", "cancel_calls")
            data = {"origin": row.endpoint_origin}
            done = await finish(connection, context, row, "remote_server.delete", data, effects)
        await follow(self._with, done)

    async def refresh(
        self, context: RequestContext, server_id: str, seconds: float | None, wanted: Wanted
    ) -> Shown:
        """Discover now, or join a discovery that runs; the upstream's failure is no refusal.

        `seconds` is the deadline, None for the operator's.
        """
        actor = actor_of(context.caller)
        async with self._with.database.transaction() as connection:
            server = await seen(connection, actor, server_id)
        row = server.row
        demand(actor, row, Deed.EDIT)
        check_version(row, wanted)
        if server.state.status not in _CONTACTED:
            raise refusals.state_conflict(f"The server is {server.state.status}.")
        await self._with.pace.take(
            (REFRESHES, f"{row.tenant_id}/{row.id}"), (TENANT_REFRESHES, row.tenant_id)
        )
        deadline = seconds if seconds is not None else self._with.policy.refresh_seconds
        await discover(self._with, context, row, source="refresh", seconds=deadline)
        async with self._with.database.transaction() as connection:
            now = await seen(connection, actor, server_id)
            data = {"outcome": now.state.last_health_status}
            await record(connection, context, row, "remote_server.refresh", data)
        return await self._reader.detail(actor, row.id)

    async def approve(self, context: RequestContext, server_id: str, wanted: Wanted) -> Shown:
        """Let a server be used that waits for it."""
        started, actor = time.monotonic(), actor_of(context.caller)
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.APPROVE, wanted)
            if server.state.status is not Status.PENDING_APPROVAL:
                raise refusals.state_conflict("The server does not wait for approval.")
            changed = msgspec.structs.replace(server.row, approved_by=actor.user_id)
            row = await write_row(connection, changed)
            effects = await administer(connection, server.state, Admin("approve"))
            done = await finish(connection, context, row, "remote_server.approve", {}, effects)
        return await self._finished(context, done, started)

    async def disable(
        self, context: RequestContext, server_id: str, reason: str | None, wanted: Wanted
    ) -> Shown:
        """Take a server out of service until it is enabled; a repetition changes nothing.

        But where a tenant manager repeats what the owner did, a tenant manager must undo it.
        """
        actor = actor_of(context.caller)
        done = None
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.GOVERN, wanted)
            if server.state.status is not Status.DISABLED or _outranks(actor, server.row):
                changed = msgspec.structs.replace(server.row, disabled_by=actor.user_id)
                row = await write_row(connection, changed)
                deed = Admin("disable", reason=reason)
                effects = await administer(connection, server.state, deed)
                await _expire_approvals(connection, context, row)
                data = {"reason": reason}
                done = await finish(
                    connection, context, row, "remote_server.disable", data, effects
                )
        if done is not None:
            await follow(self._with, done)
        return await self._reader.detail(actor, server.row.id)

    async def enable(self, context: RequestContext, server_id: str, wanted: Wanted) -> Shown:
        """Undo `disable` and discover; a repetition changes nothing."""
        started, actor = time.monotonic(), actor_of(context.caller)
        done = None
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.GOVERN, wanted)
            if server.state.status is Status.DISABLED:
                _demand_enabling(actor, server.row)
                row = await write_row(
                    connection, msgspec.structs.replace(server.row, disabled_by=None)
                )
                deed = Admin("enable", needs_approval=self._is_unapproved(row))
                effects = await administer(connection, server.state, deed)
                done = await finish(connection, context, row, "remote_server.enable", {}, effects)
        if done is None:
            return await self._reader.detail(actor, server.row.id)
        return await self._finished(context, done, started)

    def _new_server(self, actor: Actor, body: Registration, endpoint: Endpoint) -> NewServer:
        is_shared = body.is_tenant_shared
        needs = self._with.policy.needs_approval(is_tenant_shared=is_shared)
        is_waiting = needs and not actor.tenant
        scope = naming.TENANT_SCOPE if is_shared else naming.scope_key(actor.user_id)
        return NewServer(
            id=new_id("rs_"),
            tenant_id=actor.tenant_id,
            owner_user_id=actor.user_id,
            scope_key=scope,
            is_tenant_shared=is_shared,
            name=body.name,
            slug=naming.slug_of(body.name),
            description=body.description,
            endpoint_url=endpoint.url,
            endpoint_origin=endpoint.origin,
            transport=body.transport,
            auth_type=body.auth_type,
            consent_tier=body.consent_tier,
            tool_changes=body.tool_changes or self._with.policy.default_tool_changes,
            forward_user_id=body.forward_user_id,
            timeout_seconds=body.timeout_seconds,
            created_by=actor.user_id,
            approved_by=actor.user_id if needs and actor.tenant else None,
            status=Status.PENDING_APPROVAL if is_waiting else Status.ERROR,
            status_reason=None if is_waiting else DISCOVERING,
        )

    async def _change(
        self,
        connection: Any,
        context: RequestContext,
        server: RegisteredServer,
        body: Changes,
        endpoint: Endpoint | None,
    ) -> Done:
        """Write a PATCH in its transaction."""
        actor = actor_of(context.caller)
        needs = self._with.policy.needs_approval(is_tenant_shared=server.row.is_tenant_shared)
        patch = patched(server.row, body, endpoint, needs_approval=needs, actor=actor)
        if not patch.changed:
            return Done(server.row)
        row = await write_row(connection, patch.row)
        effects: frozenset[Effect] = frozenset()
        if patch.credentials is not None:
            sealed = await self._sealed(
                row.tenant_id, row.id, row.endpoint_origin, patch.credentials
            )
            stored = await credentials.read_fields(connection, row.tenant_id, row.id)
            before = _keys({one.field: one.sealed for one in stored})
            gone = await credentials.replace_fields(
                connection, row.tenant_id, row.id, sealed, actor.user_id
            )
            lost = {field: before[field] for field in gone}
            await _tell_credentials(connection, context, row, "delete", lost)
            await _tell_credentials(connection, context, row, "set", _keys(sealed))
        if patch.is_other:
            deed = Admin("configure", needs_approval=patch.is_waiting)
            effects = await administer(connection, server.state, deed, **_FORGOTTEN)
            effects |= {"close_sessions"}
            # What was agreed to for one place must not be used at another.
            await _expire_approvals(connection, context, row)
        if patch.is_new_origin:
            await change_store.delete_pins(connection, row.tenant_id, row.id)
        elif row.tool_changes is ToolChanges.REVIEW is not server.row.tool_changes:
            await change_store.pin_served(connection, row.tenant_id, row.id, actor.user_id)
        data = {"origin": row.endpoint_origin, "fields": sorted(patch.changed)}
        return await finish(connection, context, row, "remote_server.update", data, effects)

    async def _sealed(
        self, tenant_id: str, server_id: str, origin: str, values: Credentials
    ) -> dict[str, Sealed]:
        return {
            field: await seal(self._with.keys, Place(tenant_id, server_id, field, origin), value)
            for field, value in values.items()
        }

    async def _finished(self, context: RequestContext, done: Done, started: float) -> Shown:
        """Send what follows from a change, discover if it wants that, and show the outcome."""
        await follow(self._with, done)
        if "discover_inline" in done.effects:
            left = time_left(started, self._with.policy.register_seconds)
            await discover(self._with, context, done.row, source="register", seconds=left)
        return await self._reader.detail(actor_of(context.caller), done.row.id)

    def _is_unapproved(self, row: ServerRow) -> bool:
        needs = self._with.policy.needs_approval(is_tenant_shared=row.is_tenant_shared)
        return needs and row.approved_by is None


def _keys(sealed: Mapping[str, Sealed]) -> dict[str, str]:
    """Return which key wraps each field."""
    return {field: one.kek_id for field, one in sealed.items()}


async def _tell_credentials(
    connection: Any, context: RequestContext, row: ServerRow, verb: str, keys: Mapping[str, str]
) -> None:
    """Write down which credentials were set, or are gone."""
    for field, key_id in sorted(keys.items()):
        data = {"field": field, "key_id": key_id}
        await record(connection, context, row, f"remote_credential.{verb}", data)


async def _expire_approvals(connection: Any, context: RequestContext, row: ServerRow) -> None:
    """End what users agreed to, or were asked, of a server that is another one now, or none."""
    for one in await approval_store.expire_approvals(connection, row.tenant_id, row.id):
        event = consent_event("expire", one.id, one.binding, one.mode)
        await audit.record(connection, event, context)


def _outranks(actor: Actor, row: ServerRow) -> bool:
    """Tell whether somebody repeats as a tenant manager what the owner did."""
    return row.owner_user_id != actor.user_id and row.disabled_by == row.owner_user_id


def _demand_enabling(actor: Actor, row: ServerRow) -> None:
    """Refuse to undo a tenant manager's word to everyone else."""
    if row.disabled_by != row.owner_user_id and not actor.tenant:
        raise denied(MANAGE_TENANT)
