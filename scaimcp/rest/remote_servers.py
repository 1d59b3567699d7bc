"""``/v1/modules/scailink/remote-servers``: register, change and watch remote servers.

Spec: remote-servers 1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scaimcp.remotes.enumerations import Scope, Status
from scaimcp.remotes.models import Position, ServerFilter
from scaimcp.remotes.registry.fields import (
    MOST_DESCRIPTION,
    Faults,
    read_changes,
    read_registration,
    unknown_fields,
)
from scaimcp.remotes.registry.reading import Shown
from scaimcp.remotes.registry.service import RemoteServers
from scaimcp.remotes.registry.views import ManagerView
from scaimcp.remotes.rights import Deed, admit_new
from scaimcp.rest.access import REFUSALS, id_of
from scaimcp.rest.bodies import read_object
from scaimcp.rest.paging import Cursors, invalid_query, limit_of
from scaimcp.rest.registry import (
    CURSOR,
    IF_MATCH,
    LIMIT,
    ROOT,
    SERVER,
    RegistryAccess,
    nothing,
    optional_object,
    server_in,
    shown,
    wanted_versions,
    word_of,
)
from scaimcp.rest.remote_documents import (
    VIEWS,
    NewServer,
    NewValue,
    Reason,
    ServerChanges,
    ServerList,
)
from scaimcp.rest.responses import listing
from scaimcp.rest.routes import ETAG, Parameter, RestRoute
from scaimcp.types import RequestContext

ALIAS = "/v1/modules/scailink/registrations"
_FIELD = Parameter("field", "path", "Name of the credential: a header.", is_required=True)
_MOST_REFRESH_SECONDS = 30
_MOST_Q = 200
_BODY = (400, 413, 415, 422)
_CHANGES = (404, 412, *REFUSALS)
_Verb = Callable[[RemoteServers, RequestContext, str, frozenset[int] | None], Awaitable[Shown]]


class RemoteServerResource:
    """Serves the registry of remote servers."""

    def __init__(self, access: RegistryAccess, cursors: Cursors) -> None:
        self._access = access
        self._cursors = cursors

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the routes of this resource."""
        return (*self._collection(), *self._single(), *self._verbs(), *self._credentials())

    def _collection(self) -> tuple[RestRoute, ...]:
        return (
            RestRoute(
                "POST",
                ROOT,
                "registerRemoteServer",
                "Register a remote MCP server and discover what it offers.",
                self.register,
                ManagerView,
                errors=(409, *_BODY, *REFUSALS),
                body=NewServer,
                status=201,
                headers=(ETAG, ("Location", "Path of the new server.")),
            ),
            RestRoute(
                "GET",
                ROOT,
                "listRemoteServers",
                "List the remote servers that the caller sees, newest first.",
                self.index,
                ServerList,
                parameters=(
                    Parameter("scope", "query", "personal, tenant or all: others' personal too."),
                    Parameter("status", "query", "Only servers in this status."),
                    Parameter("q", "query", "Beginning of a name or slug."),
                    LIMIT,
                    CURSOR,
                ),
                errors=(422, *REFUSALS),
            ),
        )

    def _single(self) -> tuple[RestRoute, ...]:
        path = f"{ROOT}/{{id}}"
        reads = (
            (path, "getRemoteServer", "Return a remote server."),
            (f"{ALIAS}/{{id}}", "getRegistration", "Return a remote server, by its other path."),
        )
        return (
            *(
                RestRoute(
                    "GET",
                    place,
                    name,
                    summary,
                    self.show,
                    VIEWS,
                    parameters=(SERVER,),
                    errors=(404, *REFUSALS),
                    headers=(ETAG,),
                )
                for place, name, summary in reads
            ),
            RestRoute(
                "PATCH",
                path,
                "changeRemoteServer",
                "Change what the body names.",
                self.change,
                ManagerView,
                parameters=(SERVER, IF_MATCH),
                errors=(409, *_BODY, *_CHANGES),
                body=ServerChanges,
                headers=(ETAG,),
            ),
            RestRoute(
                "DELETE",
                path,
                "deleteRemoteServer",
                "Remove a remote server with its credentials and definitions.",
                self.delete,
                None,
                parameters=(SERVER, IF_MATCH),
                errors=_CHANGES,
                status=204,
            ),
        )

    def _verbs(self) -> tuple[RestRoute, ...]:
        rows: tuple[tuple[str, str, Any, Any, tuple[Parameter, ...]], ...] = (
            (
                "refresh",
                "Discover now what a server offers.",
                self.refresh,
                None,
                (Parameter("timeout_seconds", "query", "1 to 30; 15 if absent."),),
            ),
            ("approve", "Let a server be used that waits for it.", self.approve, None, ()),
            ("disable", "Take a server out of service.", self.disable, Reason, ()),
            ("enable", "Put a disabled server into service again.", self.enable, None, ()),
        )
        return tuple(
            RestRoute(
                "POST",
                f"{ROOT}/{{id}}/{verb}",
                f"{verb}RemoteServer",
                summary,
                handler,
                VIEWS,
                parameters=(SERVER, IF_MATCH, *more),
                errors=(409, *_BODY, *_CHANGES),
                body=body,
                headers=(ETAG,),
            )
            for verb, summary, handler, body, more in rows
        )

    def _credentials(self) -> tuple[RestRoute, ...]:
        path = f"{ROOT}/{{id}}/credentials/{{field}}"
        return (
            RestRoute(
                "PUT",
                path,
                "setCredential",
                "Set one credential; id, slug and tool names stay.",
                self.set_credential,
                ManagerView,
                parameters=(SERVER, _FIELD, IF_MATCH),
                errors=(409, *_BODY, *_CHANGES),
                body=NewValue,
                headers=(ETAG,),
            ),
            RestRoute(
                "DELETE",
                path,
                "deleteCredential",
                "Destroy one credential.",
                self.delete_credential,
                None,
                parameters=(SERVER, _FIELD, IF_MATCH),
                errors=(409, *_CHANGES),
                status=204,
            ),
        )

    async def register(self, request: Request) -> Response:
        """Register a server; 201 also when its discovery fails."""
        asked = await self._access.writing(request, Deed.GOVERN)
        body = await read_object(request)
        admit_new(asked.actor, is_tenant_shared=body.get("is_tenant_shared") is True)
        server = await asked.registry.servers.register(asked.context, read_registration(body))
        response = shown(request, server, 201)
        response.headers["location"] = f"{ROOT}/{server.view.id}"
        return response

    async def index(self, request: Request) -> Response:
        """Return a page of servers."""
        asked = await self._access.asked(request, Deed.READ)
        scope, status = word_of(request, "scope", Scope), word_of(request, "status", Status)
        q, limit = request.query_params.get("q", ""), limit_of(request)
        if len(q) > _MOST_Q:
            raise invalid_query("q", f"must have at most {_MOST_Q} characters")
        caller, filters = asked.context.caller, ("servers", scope, status, q)
        after = self._cursors.open(request, caller, filters, Position)
        page = await asked.registry.reader.servers(
            asked.actor, scope, ServerFilter(status, q), after, limit
        )
        cursor = None if page.after is None else self._cursors.seal(caller, filters, page.after)
        return listing(page.items, cursor, id_of(request))

    async def show(self, request: Request) -> Response:
        """Return one server."""
        asked = await self._access.asked(request, Deed.READ)
        return shown(request, await asked.registry.reader.detail(asked.actor, server_in(request)))

    async def change(self, request: Request) -> Response:
        """Change a server."""
        asked = await self._access.writing(request, Deed.EDIT)
        changes = read_changes(await read_object(request))
        server = await asked.registry.servers.change(
            asked.context, server_in(request), changes, wanted_versions(request)
        )
        return shown(request, server)

    async def delete(self, request: Request) -> Response:
        """Remove a server."""
        asked = await self._access.writing(request, Deed.GOVERN)
        wanted = wanted_versions(request)
        await asked.registry.servers.delete(asked.context, server_in(request), wanted)
        return nothing(request)

    async def refresh(self, request: Request) -> Response:
        """Discover a server now; 200 also when it fails."""
        asked = await self._access.asked(request, Deed.EDIT)
        await _no_body(request)
        server = await asked.registry.servers.refresh(
            asked.context, server_in(request), _seconds(request), wanted_versions(request)
        )
        return shown(request, server)

    async def approve(self, request: Request) -> Response:
        """Approve of a server."""
        return await self._decided(request, Deed.APPROVE, RemoteServers.approve)

    async def disable(self, request: Request) -> Response:
        """Disable a server."""
        asked = await self._access.writing(request, Deed.GOVERN)
        reason = _reason(await optional_object(request))
        server = await asked.registry.servers.disable(
            asked.context, server_in(request), reason, wanted_versions(request)
        )
        return shown(request, server)

    async def enable(self, request: Request) -> Response:
        """Enable a server."""
        return await self._decided(request, Deed.GOVERN, RemoteServers.enable)

    async def _decided(self, request: Request, deed: Deed, verb: _Verb) -> Response:
        """Carry out a verb that takes no body."""
        asked = await self._access.writing(request, deed)
        await _no_body(request)
        servers, wanted = asked.registry.servers, wanted_versions(request)
        return shown(request, await verb(servers, asked.context, server_in(request), wanted))

    async def set_credential(self, request: Request) -> Response:
        """Set one credential."""
        asked = await self._access.writing(request, Deed.EDIT)
        value = _value(await read_object(request))
        server = await asked.registry.keeper.put(
            asked.context,
            server_in(request),
            request.path_params["field"],
            value,
            wanted_versions(request),
        )
        return shown(request, server)

    async def delete_credential(self, request: Request) -> Response:
        """Destroy one credential."""
        asked = await self._access.writing(request, Deed.EDIT)
        field, wanted = request.path_params["field"], wanted_versions(request)
        await asked.registry.keeper.delete(asked.context, server_in(request), field, wanted)
        return nothing(request)


def _seconds(request: Request) -> float | None:
    given = request.query_params.get("timeout_seconds")
    if given is None:
        return None
    is_number = given.isascii() and given.isdecimal() and len(given) <= 2
    if is_number and 1 <= int(given) <= _MOST_REFRESH_SECONDS:
        return float(given)
    raise invalid_query("timeout_seconds", f"must be from 1 to {_MOST_REFRESH_SECONDS}")


async def _no_body(request: Request) -> None:
    """Take an empty body or an empty object."""
    faults = Faults()
    unknown_fields(await optional_object(request), (), faults)
    faults.check()


def _reason(body: dict[str, Any]) -> str | None:
    faults = Faults()
    unknown_fields(body, ("reason",), faults)
    reason = body.get("reason")
    if reason is not None and not _is_text(reason):
        faults.add("reason", f"must be a plain text of at most {MOST_DESCRIPTION} characters")
    faults.check()
    return reason or None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_DESCRIPTION and "\0" not in value


def _value(body: dict[str, Any]) -> Any:
    faults = Faults()
    unknown_fields(body, ("value",), faults)
    if "value" not in body:
        faults.add("value", "is required")
    faults.check()
    return body["value"]
