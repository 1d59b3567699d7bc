"""What an area module declares: routes and answers."""

from collections.abc import Callable
from typing import Any, NamedTuple

from scaimcp.dev.vault.call import Call

OPEN = "open"
ANYONE = "anyone"


class Reply(NamedTuple):
    """An answer other than 200 with JSON; `data` is text where `content_type` says so."""

    data: Any
    status: int = 200
    content_type: str = "application/json"


Handler = Callable[[Call], Any]


class Route(NamedTuple):
    """One endpoint.

    Attributes:
        path: as Starlette writes it; `{path:path}` holds slashes.
        scope: the scope a bearer must have, or `OPEN`, or `ANYONE`.
        action: of the audit row; None writes none.
        category: of the rate limit; None is not counted.
    """

    method: str
    path: str
    handler: Handler
    scope: str
    action: str | None = None
    category: str | None = None
