"""What every route of the registry does first. Spec: remote-servers 1 (check order)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.auth.admittance import check_media_type
from scaimcp.remotes.refusals import registry_disabled
from scaimcp.remotes.registry.pacing import WRITES
from scaimcp.remotes.registry.reading import Shown
from scaimcp.remotes.registry.use_cases import Registry
from scaimcp.remotes.rights import Actor, Deed, actor_of, admit
from scaimcp.rest.access import Access, id_of
from scaimcp.rest.bodies import parse_object, read_bytes
from scaimcp.rest.paging import invalid_query
from scaimcp.rest.responses import success
from scaimcp.rest.routes import Parameter
from scaimcp.types import RequestContext

ROOT = "/v1/modules/scailink/remote-servers"
SERVER = Parameter("id", "path", "Id of the server.", is_required=True)
IF_MATCH = Parameter("If-Match", "header", "The ETag that the server must still have.")
LIMIT = Parameter("limit", "query", "1 to 200; 50 if absent.")
CURSOR = Parameter("cursor", "query", "Where the page begins.")
_TAG = re.compile(r'"([0-9]{1,9})"\Z')
Word = TypeVar("Word", bound=StrEnum)


class Asked(msgspec.Struct, frozen=True):
    """An admitted request."""

    context: RequestContext
    actor: Actor
    registry: Registry


class RegistryAccess:
    """Admits requests to the registry.

    Args:
        access: who calls.
        registry: the use cases; None without a KEK: then every call is 503.
    """

    def __init__(self, access: Access, registry: Registry | None) -> None:
        self._access = access
        self._registry = registry

    async def asked(self, request: Request, deed: Deed) -> Asked:
        """Check token, key and permission.

        Raises:
            RequestRefused: 401, 503, 403.
        """
        context = await self._access.context(request)
        if self._registry is None:
            raise registry_disabled()
        actor = actor_of(context.caller)
        admit(actor, deed)
        return Asked(context, actor, self._registry)

    async def writing(self, request: Request, deed: Deed) -> Asked:
        """Check and count one change.

        Raises:
            RequestRefused: as `asked`, and 429.
        """
        asked = await self.asked(request, deed)
        actor = asked.actor
        await asked.registry.workings.pace.take((WRITES, f"{actor.tenant_id}/{actor.user_id}"))
        return asked


async def optional_object(request: Request) -> dict[str, Any]:
    """Return the body, one JSON object; {} for none at all.

    Raises:
        RequestRefused: as `scaimcp.rest.bodies.read_object`.
    """
    body = await read_bytes(request)
    if not body:
        return {}
    media_type = request.headers.get("content-type")
    check_media_type(media_type.encode("latin-1") if media_type is not None else None)
    return parse_object(body)


def server_in(request: Request) -> str:
    """Return the id of the server that the path names."""
    return str(request.path_params["id"])


def wanted_versions(request: Request) -> frozenset[int] | None:
    """Return the versions of ``If-Match``; None without it, and where any will do."""
    lines = request.headers.getlist("if-match")
    if not lines:
        return None
    tags = [tag.strip() for line in lines for tag in line.split(",")]
    if "*" in tags:
        return None
    return frozenset(int(found[1]) for tag in tags if (found := _TAG.match(tag)))


def word_of(request: Request, name: str, words: type[Word]) -> Word | None:
    """Return a query parameter that is one of `words`, None without it.

    Raises:
        RequestRefused: 422.
    """
    given = request.query_params.get(name)
    if given is None:
        return None
    if given not in list(words):
        raise invalid_query(name, f"must be one of {', '.join(words)}")
    return words(given)


def shown(request: Request, server: Shown, status: int = 200) -> Response:
    """Return a server with its ETag."""
    response = success(server.view, id_of(request))
    response.status_code = status
    response.headers["etag"] = f'"{server.version}"'
    return response


def nothing(request: Request) -> Response:
    """Return 204."""
    return Response(status_code=204, headers={"x-request-id": id_of(request)})
