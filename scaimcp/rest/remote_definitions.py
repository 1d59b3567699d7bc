"""``…/remote-servers/{id}/capabilities``, ``/changes``, ``/pins``: what a server offers.

Spec: remote-servers 1, 6.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.remotes.enumerations import ChangeState, Kind
from scaimcp.remotes.models import Position
from scaimcp.remotes.registry.fields import Faults, unknown_fields
from scaimcp.remotes.registry.reading import CapabilityPlace, Narrowed
from scaimcp.remotes.registry.views import CapabilityView, ChangeView, PinView
from scaimcp.remotes.rights import Deed
from scaimcp.rest.access import REFUSALS, id_of
from scaimcp.rest.bodies import read_object
from scaimcp.rest.paging import Cursors, limit_of
from scaimcp.rest.registry import (
    CURSOR,
    IF_MATCH,
    LIMIT,
    ROOT,
    SERVER,
    RegistryAccess,
    server_in,
    wanted_versions,
    word_of,
)
from scaimcp.rest.responses import listing, success
from scaimcp.rest.routes import Parameter, RestRoute

_CHANGE = Parameter("change_id", "path", "Id of the change.", is_required=True)
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_READS = (404, 422, *REFUSALS)


class Shown(StrEnum):
    """States that a list of definitions can be narrowed to."""

    ADVERTISED = "advertised"
    HELD = "held"
    DROPPED = "dropped"


class CapabilityList(msgspec.Struct, frozen=True):
    """A page of definitions by kind and upstream order, dropped ones last."""

    items: list[CapabilityView]


class ChangeList(msgspec.Struct, frozen=True):
    """A page of changes, newest first."""

    items: list[ChangeView]


class PinList(msgspec.Struct, frozen=True):
    """Every accepted definition by kind and name."""

    items: list[PinView]


class NewHash(msgspec.Struct, frozen=True):
    """``new_hash`` is the one that was shown, 64 hexadecimal digits."""

    new_hash: str


class RemoteDefinitionResource:
    """Serves what remote servers offer, and takes decisions on what changed."""

    def __init__(self, access: RegistryAccess, cursors: Cursors) -> None:
        self._access = access
        self._cursors = cursors

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the routes of this resource."""
        return (*self._lists(), *self._changes())

    def _lists(self) -> tuple[RestRoute, ...]:
        state = Parameter("state", "query", "advertised, held or dropped.")
        kind = Parameter("kind", "query", "tool, resource, resource_template or prompt.")
        return (
            RestRoute(
                "GET",
                f"{ROOT}/{{id}}/capabilities",
                "listCapabilities",
                "List what a server offers.",
                self.capabilities,
                CapabilityList,
                parameters=(SERVER, kind, state, LIMIT, CURSOR),
                errors=_READS,
            ),
            RestRoute(
                "GET",
                f"{ROOT}/{{id}}/pins",
                "listPins",
                "List the accepted definitions of a server.",
                self.pins,
                PinList,
                parameters=(SERVER,),
                errors=(404, *REFUSALS),
            ),
        )

    def _changes(self) -> tuple[RestRoute, ...]:
        path = f"{ROOT}/{{id}}/changes"
        return (
            RestRoute(
                "GET",
                path,
                "listChanges",
                "List the changes of a server's definitions.",
                self.changes,
                ChangeList,
                parameters=(
                    SERVER,
                    Parameter("state", "query", "pending if absent."),
                    LIMIT,
                    CURSOR,
                ),
                errors=_READS,
            ),
            RestRoute(
                "GET",
                f"{path}/{{change_id}}",
                "getChange",
                "Return one change with both definitions.",
                self.change,
                ChangeView,
                parameters=(SERVER, _CHANGE),
                errors=(404, *REFUSALS),
            ),
            *(
                RestRoute(
                    "POST",
                    f"{path}/{{change_id}}/{verb}",
                    f"{verb}Change",
                    summary,
                    handler,
                    ChangeView,
                    parameters=(SERVER, _CHANGE, IF_MATCH),
                    errors=(400, 404, 409, 412, 413, 415, 422, *REFUSALS),
                    body=NewHash,
                )
                for verb, summary, handler in (
                    ("accept", "Serve and pin the new definition.", self.accept),
                    ("reject", "Refuse the new definition for good.", self.reject),
                )
            ),
        )

    async def capabilities(self, request: Request) -> Response:
        """Return a page of a server's definitions."""
        asked = await self._access.asked(request, Deed.READ)
        kind, state = word_of(request, "kind", Kind), word_of(request, "state", Shown)
        server_id, limit = server_in(request), limit_of(request)
        caller, filters = asked.context.caller, ("capabilities", server_id, kind, state)
        after = self._cursors.open(request, caller, filters, CapabilityPlace)
        narrowed = Narrowed(kind, state.value if state is not None else None)
        page = await asked.registry.reader.capabilities(
            asked.actor, server_id, narrowed, after, limit
        )
        cursor = None if page.after is None else self._cursors.seal(caller, filters, page.after)
        return listing(page.items, cursor, id_of(request))

    async def pins(self, request: Request) -> Response:
        """Return a server's accepted definitions."""
        asked = await self._access.asked(request, Deed.READ)
        pins = await asked.registry.reader.pins(asked.actor, server_in(request))
        return listing(pins, None, id_of(request))

    async def changes(self, request: Request) -> Response:
        """Return a page of a server's changes."""
        asked = await self._access.asked(request, Deed.READ)
        state = word_of(request, "state", ChangeState) or ChangeState.PENDING
        server_id, limit = server_in(request), limit_of(request)
        caller, filters = asked.context.caller, ("changes", server_id, state)
        after = self._cursors.open(request, caller, filters, Position)
        page = await asked.registry.reader.changes(asked.actor, server_id, state, after, limit)
        cursor = None if page.after is None else self._cursors.seal(caller, filters, page.after)
        return listing(page.items, cursor, id_of(request))

    async def change(self, request: Request) -> Response:
        """Return one change."""
        asked = await self._access.asked(request, Deed.READ)
        found = await asked.registry.reader.change(
            asked.actor, server_in(request), request.path_params["change_id"]
        )
        return success(found, id_of(request))

    async def accept(self, request: Request) -> Response:
        """Accept one change."""
        return await self._decide(request, is_accepted=True)

    async def reject(self, request: Request) -> Response:
        """Reject one change."""
        return await self._decide(request, is_accepted=False)

    async def _decide(self, request: Request, *, is_accepted: bool) -> Response:
        asked = await self._access.writing(request, Deed.EDIT)
        new_hash = _read_hash(await read_object(request))
        found = await asked.registry.desk.decide(
            asked.context,
            server_in(request),
            request.path_params["change_id"],
            new_hash,
            is_accepted=is_accepted,
            wanted=wanted_versions(request),
        )
        return success(found, id_of(request))


def _read_hash(body: dict[str, Any]) -> bytes:
    faults = Faults()
    unknown_fields(body, ("new_hash",), faults)
    found = body.get("new_hash")
    if not isinstance(found, str) or not _HASH.match(found):
        faults.add("new_hash", "must be the 64 hexadecimal digits that were shown")
    faults.check()
    return bytes.fromhex(str(found))
