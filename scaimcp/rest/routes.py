"""A REST route as data: what is served, and what the OpenAPI document says of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

ETAG = ("ETag", "Version of what is returned, for If-Match and If-None-Match.")
"""A header of answers that have a version."""

Handler = Callable[[Request], Awaitable[Response]]


class Parameter(msgspec.Struct, frozen=True):
    """One query or path parameter."""

    name: str
    place: str
    description: str
    is_required: bool = False


class RestRoute(msgspec.Struct, frozen=True):
    """One operation.

    ``data`` is the type of the answer's payload, or a tuple of alternatives; ``is_enveloped``
    says whether it stands in ``data``. ``errors`` are the statuses besides success that the
    operation documents. ``has_preflight``: browsers of any origin may ask, so the handler gets
    OPTIONS too. ``body`` is the type of the JSON object that the operation takes, None for none;
    ``status`` is that of success, ``headers`` what its answer has besides the usual, by name with
    a description.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    data: Any
    is_enveloped: bool = True
    needs_bearer: bool = True
    has_preflight: bool = False
    parameters: tuple[Parameter, ...] = ()
    errors: tuple[int, ...] = ()
    media_type: str = "application/json"
    body: Any = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
