"""What surrounds every REST request: its id, the Host check, the metrics."""

from __future__ import annotations

import re
import time
from urllib.parse import unquote_to_bytes

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scaimcp.auth import admittance
from scaimcp.errors import RequestRefused
from scaimcp.rest.access import id_of
from scaimcp.rest.probes import PUBLIC_PATHS
from scaimcp.rest.responses import failure
from scaimcp.telemetry.logs import working_for
from scaimcp.telemetry.metrics import request_outcome


class RestEdge:
    """Wraps the REST application.

    Every answer carries ``X-Request-Id``. Probes and metrics are neither counted nor bound to a
    host: they are asked by address.

    Args:
        app: the application with the routes; it leaves its operation's name in
            ``request.state.operation``.
        hosts: names under which this gateway is served.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or hand the lifespan on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope = with_whole_segments(scope)
        request = Request(scope)
        request_id = id_of(request)
        working_for("request_id", request_id)
        started = time.perf_counter()
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).setdefault("x-request-id", request_id)
            await send(message)

        is_probe = scope["path"] in PUBLIC_PATHS
        try:
            if not is_probe:
                host = request.headers.get("host")
                admittance.check_host(host.encode("latin-1") if host else None, self._hosts)
            await self._app(scope, receive, answer)
        except RequestRefused as error:
            await failure(error, request_id)(scope, receive, answer)
        finally:
            if not is_probe:
                operation = getattr(request.state, "operation", "none")
                _observe(operation, status, time.perf_counter() - started)


_SLASH = re.compile(rb"%2[fF]")


def with_whole_segments(scope: Scope) -> Scope:
    """Return a request whose path keeps encoded slashes as ``%2F``: they separate nothing.

    So an id with one is an id that nobody has, not another path. Behind ``/tools/`` stands a
    name of a server's own, which may hold slashes.
    """
    raw = scope.get("raw_path") or b""
    head, mark, tail = raw.partition(b"?")[0].partition(b"/tools/")
    if not _SLASH.search(head):
        return scope
    path = unquote_to_bytes(_SLASH.sub(b"%252F", head) + mark + tail)
    return {**scope, "path": path.decode(errors="replace")}


def _observe(operation: str, status: int, seconds: float) -> None:
    outcome = "ok" if status < 400 else str(status)
    served, duration = request_outcome("rest", operation, outcome)
    served.inc()
    duration.observe(seconds)
