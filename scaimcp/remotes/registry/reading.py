"""Reading registered servers as REST shows them: each caller sees its own part.

Spec: remote-servers 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from scaimcp.credentials import store as credentials
from scaimcp.postgres import Database
from scaimcp.remotes import refusals
from scaimcp.remotes.enumerations import CapabilityState, ChangeState, Kind, Scope
from scaimcp.remotes.models import (
    CapabilityFilter,
    CapabilityPosition,
    Change,
    Counts,
    Position,
    RegisteredServer,
    ServerFilter,
)
from scaimcp.remotes.registry.views import (
    DROPPED,
    MOST_CAPABILITIES,
    CapabilityView,
    ChangeView,
    Facts,
    PinView,
    ServerView,
    capability_view,
    change_ids,
    change_view,
    dropped_of,
    pin_view,
    server_view,
)
from scaimcp.remotes.registry.workings import seen
from scaimcp.remotes.rights import Actor, Deed, View, demand, view_of
from scaimcp.remotes.stores import capability_store, change_store, store

_MOST_CHANGES = 1_000
_NO_FACTS = Facts(Counts())


class Shown(msgspec.Struct, frozen=True):
    """A server as its caller sees it, and the version of its configuration."""

    view: ServerView
    version: int


class Listed(msgspec.Struct, frozen=True):
    """A page of a list; ``after`` is where the next one begins, None at the end."""

    items: list[Any]
    after: Any = None


class Narrowed(msgspec.Struct, frozen=True):
    """What a list of capabilities is narrowed to; ``state`` may be ``dropped``, None for all."""

    kind: Kind | None = None
    state: str | None = None


class CapabilityPlace(msgspec.Struct, frozen=True):
    """Where a page of capabilities ended: behind a row, or behind so many dropped ones.

    ``dropped`` is None while stored definitions follow.
    """

    row: CapabilityPosition | None = None
    dropped: int | None = None


class ServerReader:
    """The reading use cases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def detail(self, actor: Actor, server_id: str) -> Shown:
        """Return one server with its capabilities.

        Raises:
            RequestRefused: 404.
        """
        async with self._database.transaction() as connection:
            found = await seen(connection, actor, server_id)
            view = view_of(actor, found.row)
            if view is View.GOVERNANCE:
                return Shown(server_view(found, view, _NO_FACTS), found.row.version)
            facts = (await self._facts(connection, [found]))[found.row.id]
            listed = await _capabilities(
                connection, found, view, Narrowed(), None, MOST_CAPABILITIES + 1
            )
        shown = server_view(found, view, facts, listed.items)
        return Shown(shown, found.row.version)

    async def servers(
        self,
        actor: Actor,
        scope: Scope | None,
        narrowed: ServerFilter,
        after: Position | None,
        limit: int,
    ) -> Listed:
        """Return a page of servers, newest first, without capabilities.

        Others' personal servers come with `Scope.ALL` only.
        """
        visibility = actor.visibility.narrowed(scope)
        async with self._database.transaction() as connection:
            page = await store.list_servers(connection, visibility, narrowed, after, limit)
            facts = await self._facts(connection, page.items)
        items = [
            server_view(found, view_of(actor, found.row), facts[found.row.id])
            for found in page.items
        ]
        if not page.has_more:
            return Listed(items)
        last = page.items[-1].row
        return Listed(items, Position(last.created_at, last.id))

    async def capabilities(
        self,
        actor: Actor,
        server_id: str,
        narrowed: Narrowed,
        after: CapabilityPlace | None,
        limit: int,
    ) -> Listed:
        """Return a page of a server's definitions, the dropped ones last.

        Raises:
            RequestRefused: 404; 403 for another user's personal server.
        """
        async with self._database.transaction() as connection:
            found = await seen(connection, actor, server_id)
            view = view_of(actor, found.row)
            if view is View.GOVERNANCE:
                demand(actor, found.row, Deed.EDIT)
            return await _capabilities(connection, found, view, narrowed, after, limit)

    async def changes(
        self,
        actor: Actor,
        server_id: str,
        state: ChangeState | None,
        after: Position | None,
        limit: int,
    ) -> Listed:
        """Return a page of a server's changes, newest first.

        Raises:
            RequestRefused: 404, 403.
        """
        async with self._database.transaction() as connection:
            found = await self._editable(connection, actor, server_id)
            page = await change_store.list_changes(
                connection, actor.tenant_id, found.row.id, state, after=after, limit=limit
            )
        items = [change_view(change) for change in page.items]
        if not page.has_more:
            return Listed(items)
        last = page.items[-1]
        return Listed(items, Position(last.detected_at, last.id))

    async def change(self, actor: Actor, server_id: str, change_id: str) -> ChangeView:
        """Return one change with the definition in service and the new one.

        Raises:
            RequestRefused: 404 for server or change, 403.
        """
        async with self._database.transaction() as connection:
            found = await self._editable(connection, actor, server_id)
            change = await change_store.get_change(
                connection, actor.tenant_id, found.row.id, change_id
            )
            if change is None:
                raise refusals.change_not_found()
            return change_view(change, await _accepted(connection, actor.tenant_id, change))

    async def pins(self, actor: Actor, server_id: str) -> list[PinView]:
        """Return every accepted definition of a server by kind and name.

        Raises:
            RequestRefused: 404, 403.
        """
        async with self._database.transaction() as connection:
            found = await self._editable(connection, actor, server_id)
            pins = await change_store.list_pins(connection, actor.tenant_id, found.row.id)
        return [pin_view(pin) for pin in pins]

    async def _editable(self, connection: Any, actor: Actor, server_id: str) -> RegisteredServer:
        found = await seen(connection, actor, server_id)
        demand(actor, found.row, Deed.EDIT)
        return found

    async def _facts(
        self, connection: Any, servers: Sequence[RegisteredServer]
    ) -> dict[str, Facts]:
        if not servers:
            return {}
        tenant_id = servers[0].row.tenant_id
        ids = [server.row.id for server in servers]
        counts = await capability_store.count_capabilities(connection, tenant_id, ids)
        fields = await credentials.read_many(connection, tenant_id, ids)
        return {found: Facts(counts[found], fields.get(found, ())) for found in ids}


async def _accepted(connection: Any, tenant_id: str, change: Change) -> msgspec.Raw | None:
    pins = await change_store.list_pins(connection, tenant_id, change.server_id)
    for pin in pins:
        if (pin.kind, pin.name) == (change.kind, change.name):
            return pin.definition
    return None


async def _capabilities(
    connection: Any,
    server: RegisteredServer,
    view: View,
    narrowed: Narrowed,
    after: CapabilityPlace | None,
    limit: int,
) -> Listed:
    """Return a page: stored definitions by kind and upstream order, then the dropped ones."""
    place = after or CapabilityPlace()
    is_reader = view is View.READER
    items: list[CapabilityView] = []
    if place.dropped is None and narrowed.state != DROPPED:
        state = CapabilityState(narrowed.state) if narrowed.state else None
        if is_reader and state is CapabilityState.HELD:
            return Listed([])
        state = CapabilityState.ADVERTISED if is_reader else state
        row = server.row
        page = await capability_store.list_capabilities(
            connection,
            row.tenant_id,
            row.id,
            CapabilityFilter(narrowed.kind, state),
            after=place.row,
            limit=limit,
        )
        pending = await _pending(connection, server) if not is_reader else {}
        items = [capability_view(row, found, pending) for found in page.items]
        if page.has_more:
            last = page.items[-1]
            position = CapabilityPosition(last.kind, last.ordinal, last.name)
            return Listed(items, CapabilityPlace(position))
    if is_reader or narrowed.state not in (None, DROPPED):
        return Listed(items)
    dropped = [note for note in dropped_of(server) if narrowed.kind in (None, note.kind)]
    begin = place.dropped or 0
    end = begin + limit - len(items)
    items.extend(dropped[begin:end])
    return Listed(items, CapabilityPlace(dropped=end) if end < len(dropped) else None)


async def _pending(connection: Any, server: RegisteredServer) -> dict[tuple[Kind, str], str]:
    page = await change_store.list_changes(
        connection,
        server.row.tenant_id,
        server.row.id,
        ChangeState.PENDING,
        limit=_MOST_CHANGES,
    )
    return change_ids(page.items)
