"""Pages of REST lists: ``limit``, sealed cursors. Spec: remote-servers 1 (List); register."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from scaimcp.errors import RequestRefused
from scaimcp.sealing import Sealer
from scaimcp.types import Caller

MOST, DEFAULT = 200, 50
_MOST_CHARS = 4_096
Place = TypeVar("Place", bound=msgspec.Struct)


def limit_of(request: Request) -> int:
    """Return how many items the client wants on a page.

    Raises:
        RequestRefused: 422.
    """
    given = request.query_params.get("limit")
    if given is None:
        return DEFAULT
    if given.isascii() and given.isdecimal() and len(given) <= 3 and 1 <= int(given) <= MOST:
        return int(given)
    raise invalid_query("limit", f"must be a whole number from 1 to {MOST}")


def invalid_query(field: str, message: str) -> RequestRefused:
    """Return 422 ``VALIDATION_ERROR`` about one parameter."""
    details = ({"field": field, "message": message},)
    return RequestRefused(
        "VALIDATION_ERROR", "The request is not valid.", http_status=422, details=details
    )


class Cursors:
    """Cursors of one list for one caller and one set of filters.

    Args:
        sealer: of label ``cursor``.
    """

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def seal(self, caller: Caller, filters: tuple[Any, ...], place: msgspec.Struct) -> str:
        """Return the cursor of the page behind `place`.

        Args:
            caller: whose list it is.
            filters: name of the list and what it is narrowed to.
            place: the last row of the page.
        """
        return self._sealer.seal(msgspec.msgpack.encode(place), _bound(caller, filters))

    def open(
        self, request: Request, caller: Caller, filters: tuple[Any, ...], kind: type[Place]
    ) -> Place | None:
        """Return where the request's ``cursor`` points, None without one.

        Raises:
            RequestRefused: 422 for a cursor of somebody else, of another list or filter.
        """
        text = request.query_params.get("cursor")
        if text is None:
            return None
        plain = None
        if len(text) <= _MOST_CHARS:
            plain = self._sealer.open(text, _bound(caller, filters))
        if plain is None:
            raise _unusable()
        try:
            return msgspec.msgpack.decode(plain, type=kind)
        except msgspec.DecodeError:
            raise _unusable() from None


def _bound(caller: Caller, filters: tuple[Any, ...]) -> bytes:
    return msgspec.msgpack.encode((caller.tenant_id, caller.user_id, filters))


def _unusable() -> RequestRefused:
    return invalid_query("cursor", "is not a cursor of this list")
