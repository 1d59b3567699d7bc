"""Setting and removing single credentials, and deciding on changed definitions.

Spec: remote-servers 1, 4 (shredding), 6 (changes).
"""

from __future__ import annotations

from typing import Any

import msgspec

from scaimcp.credentials import store as credentials
from scaimcp.credentials.envelope import Place, Sealed, seal
from scaimcp.remotes import refusals
from scaimcp.remotes.enumerations import AuthType, CapabilityState, Status
from scaimcp.remotes.models import (
    CapabilityWrite,
    Change,
    ChangeDecision,
    PinWrite,
    RegisteredServer,
    ServerRow,
)
from scaimcp.remotes.registry.fields import (
    AUTHORIZATION,
    MOST_FIELDS,
    MOST_VALUE_BYTES,
    TOO_MUCH,
    Faults,
    invalid,
    read_field_name,
    read_value,
)
from scaimcp.remotes.registry.reading import ServerReader, Shown
from scaimcp.remotes.registry.views import ChangeView, change_view
from scaimcp.remotes.registry.workings import (
    Workings,
    administer,
    finish,
    follow,
    locked,
    write_row,
)
from scaimcp.remotes.rights import Deed, actor_of
from scaimcp.remotes.rules.health import Admin, Effect
from scaimcp.remotes.stores import capability_store, change_store, state_store
from scaimcp.types import RequestContext

_FOLLOWED = frozenset[Effect]({"close_sessions", "discover"})


class CredentialKeeper:
    """Replaces and removes values; the server's id and slug stay."""

    def __init__(self, workings: Workings, reader: ServerReader) -> None:
        self._with = workings
        self._reader = reader

    async def put(
        self,
        context: RequestContext,
        server_id: str,
        name: str,
        value: Any,
        wanted: frozenset[int] | None,
    ) -> Shown:
        """Set one credential; the running calls end with the old value, the next use the new.

        Raises:
            RequestRefused: 404, 403, 412; 422 for a field or value that cannot be.
        """
        actor = actor_of(context.caller)
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.EDIT, wanted)
            faults = Faults()
            field = read_field_name(server.row.auth_type, name, faults)
            faults.check()
            secret = read_value(server.row.auth_type, "value", value, faults)
            faults.check()
            row = await _next_credentials(connection, server.row)
            place = Place(row.tenant_id, row.id, field, row.endpoint_origin)
            sealed = await seal(self._with.keys, place, secret)
            await _check_room(connection, row, field, sealed)
            await credentials.put_fields(
                connection, row.tenant_id, row.id, {field: sealed}, actor.user_id
            )
            effects = await _due_soon(connection, server)
            data = {"field": field, "key_id": sealed.kek_id}
            done = await finish(connection, context, row, "remote_credential.set", data, effects)
        await follow(self._with, done)
        return await self._reader.detail(actor, row.id)

    async def delete(
        self,
        context: RequestContext,
        server_id: str,
        name: str,
        wanted: frozenset[int] | None,
    ) -> None:
        """Destroy one credential; without the one that it needs the server is out of service.

        Raises:
            RequestRefused: 404 for server or field, 403, 412.
        """
        actor = actor_of(context.caller)
        field = name.lower()
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.EDIT, wanted)
            tenant_id, found = server.row.tenant_id, server.row.id
            stored = await credentials.read_fields(connection, tenant_id, found)
            keys = {one.field: one.sealed.kek_id for one in stored}
            if not await credentials.delete_fields(connection, tenant_id, found, [field]):
                raise refusals.credential_not_found()
            row = await _next_credentials(connection, server.row)
            is_bearers = row.auth_type is AuthType.BEARER and field == AUTHORIZATION
            left = keys.keys() - {field}
            effects = frozenset[Effect]({"close_sessions"})
            if is_bearers or not left:
                deed = Admin("credential_deleted")
                effects |= await administer(connection, server.state, deed)
            data = {"field": field, "key_id": keys.get(field)}
            done = await finish(connection, context, row, "remote_credential.delete", data, effects)
        await follow(self._with, done)


class ChangeDesk:
    """Takes a manager's word on changed definitions."""

    def __init__(self, workings: Workings) -> None:
        self._with = workings

    async def decide(
        self,
        context: RequestContext,
        server_id: str,
        change_id: str,
        new_hash: bytes,
        *,
        is_accepted: bool,
        wanted: frozenset[int] | None,
    ) -> ChangeView:
        """Accept a change, so that the new definition is served and pinned, or reject it.

        Args:
            context: who decides.
            server_id: of the server.
            change_id: of the change.
            new_hash: the hash that was shown.
            is_accepted: the word.
            wanted: versions of ``If-Match``.

        Raises:
            RequestRefused: 404 for server or change, 403, 412; 409 for another hash, and for a
                change that is decided or superseded.
        """
        actor = actor_of(context.caller)
        decision = ChangeDecision(change_id, new_hash, is_accepted, actor.user_id)
        async with self._with.database.transaction() as connection:
            server = await locked(connection, actor, server_id, Deed.EDIT, wanted)
            row = server.row
            change = await change_store.decide_change(connection, row.tenant_id, row.id, decision)
            if change is None:
                known = await change_store.get_change(connection, row.tenant_id, row.id, change_id)
                raise refusals.change_not_found() if known is None else refusals.change_stale()
            if is_accepted:
                await _serve(connection, row, change, actor.user_id)
            action = f"remote_tool.{'accept' if is_accepted else 'reject'}"
            done = await finish(connection, context, row, action, _told(change))
        await follow(self._with, done)
        return change_view(change)


def _told(change: Change) -> dict[str, Any]:
    return {
        "name": change.name,
        "class": change.change_class,
        "old_hash": change.old_hash.hex() if change.old_hash is not None else None,
        "new_hash": change.new_hash.hex(),
        "rules": sorted({finding["rule"] for finding in change.findings}),
    }


async def _serve(connection: Any, row: ServerRow, change: Change, user_id: str) -> None:
    """Put an accepted definition into service and pin it."""
    definition = bytes(change.new_definition)
    pin = PinWrite(change.kind, change.name, definition, change.new_hash)
    await change_store.write_pins(connection, row.tenant_id, row.id, user_id, [pin])
    held = await capability_store.find_capability(
        connection, row.tenant_id, row.id, change.kind, change.name
    )
    if held is None or held.name != change.name or held.upstream_hash != change.new_hash:
        # The upstream has moved on: the next discovery compares with the new pin.
        return
    served = CapabilityWrite(
        held.kind,
        held.name,
        held.ordinal,
        held.alias,
        definition,
        change.new_hash,
        change.new_hash,
        CapabilityState.ADVERTISED,
        None,
        change.findings,
    )
    await capability_store.store_capabilities(connection, row.tenant_id, row.id, [served])


async def _check_room(connection: Any, row: ServerRow, field: str, new: Sealed) -> None:
    """Hold a set that grows one by one to the limits of one that comes whole."""
    stored = await credentials.read_fields(connection, row.tenant_id, row.id)
    after = {found.field: found.sealed for found in stored} | {field: new}
    if len(after) > MOST_FIELDS:
        raise invalid({"field": "field", "message": f"would be one of over {MOST_FIELDS}"})
    if sum(sealed.value_bytes for sealed in after.values()) > MOST_VALUE_BYTES:
        raise invalid({"field": "value", "message": TOO_MUCH})


async def _next_credentials(connection: Any, row: ServerRow) -> ServerRow:
    """Raise the version that sessions and sealed credentials are known by."""
    raised = msgspec.structs.replace(row, credential_version=row.credential_version + 1)
    return await write_row(connection, raised)


async def _due_soon(connection: Any, server: RegisteredServer) -> frozenset[Effect]:
    """Make a discovery follow, by a job or, should that be lost, by the next cron tick."""
    row, status = server.row, server.state.status
    if status is Status.ACTIVE:
        await state_store.discover_soon(connection, row.tenant_id, row.id)
        return _FOLLOWED
    if status is Status.ERROR:
        await state_store.check_soon(connection, row.tenant_id, row.id)
        return _FOLLOWED
    return frozenset({"close_sessions"})
