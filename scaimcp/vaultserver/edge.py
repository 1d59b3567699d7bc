"""What both HTTP transports ask of a bare request: host, origin, bearer, size.

Spec: scaivault 4 (HTTP matter), 10 (B14, B16).
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from scaimcp.auth import admittance, challenge
from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError, RequestRefused
from scaimcp.server.asgi import HeaderLines, Receive, Scope, Send
from scaimcp.server.attendant import ClientGone
from scaimcp.server.dispatch import internal_error
from scaimcp.server.endpoint import read_body
from scaimcp.server.exchange import Exchange
from scaimcp.server.headers import fold
from scaimcp.telemetry.logs import get_logger, working_for
from scaimcp.types import Secret
from scaimcp.vaultserver.environment import Config, is_loopback
from scaimcp.vaultserver.wiring import new_request_id

BODY_BYTES = 1024 * 1024
BODY_SECONDS = 30.0
_HEALTH = "/healthz"
_OK = b'{"status":"ok"}'
_log = get_logger("scaimcp.vaultserver")
Serve = Callable[[Exchange, Scope, Receive], Awaitable[None]]
Routes = dict[str, dict[str, Serve]]
"""What serves a path, by verb."""


class Edge:
    """The ASGI application in front of a transport.

    Args:
        config: address, bearer and origins.
        routes: by path and verb.
    """

    def __init__(self, config: Config, routes: Routes) -> None:
        self._bearer = config.auth_token
        self._hosts = _own_names(config.host, config.port)
        self._origins = config.origins
        health: Routes = {_HEALTH: {"GET": _healthy}}
        self._routes = {**health, **routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        headers, _ = fold(scope["headers"])
        given = admittance.given_request_id(headers.get(b"x-request-id"))
        exchange = Exchange(send, given or new_request_id())
        working_for("request_id", exchange.request_id)
        try:
            serve = self._admitted(exchange, scope, headers)
            if serve is not None:
                await serve(exchange, scope, receive)
            else:
                await exchange.empty(204, admittance.preflight())
        except ClientGone:
            return
        except GatewayError as error:
            await exchange.refuse(error)
        except Exception as error:  # noqa: BLE001 - the last line: nothing internal may leak
            _log.error("request failed", exc_info=error)
            await exchange.refuse(internal_error())

    def _admitted(
        self, exchange: Exchange, scope: Scope, headers: dict[bytes, bytes]
    ) -> Serve | None:
        """Return what serves a request; None for a browser's question before it.

        Raises:
            RequestRefused: 421, 403, 404, 405 or 401.
        """
        path, verb = scope["path"], scope["method"]
        host = headers.get(b"host", b"").decode("latin-1").strip().lower()
        # Without a bearer the name alone keeps strange pages away, which may have bound theirs to
        # this machine.
        if self._bearer is None and host not in self._hosts:
            raise RequestRefused(
                "MISDIRECTED_REQUEST", "This host is not served here.", http_status=421
            )
        exchange.extra = admittance.check_origin(headers.get(b"origin"), self._origins)
        verbs = self._routes.get(path)
        if verbs is None:
            raise RequestRefused("NOT_FOUND", "There is nothing here.", http_status=404)
        if verb == "OPTIONS" and exchange.extra:
            return None
        if verb not in verbs:
            allow: HeaderLines = ((b"allow", ", ".join(verbs).encode()),)
            exchange.extra = (*exchange.extra, *allow)
            raise RequestRefused(
                "METHOD_NOT_ALLOWED", "This path does not take this method.", http_status=405
            )
        if path != _HEALTH:
            self._check_bearer(headers.get(b"authorization"))
        return verbs[verb]

    def _check_bearer(self, raw: bytes | None) -> None:
        if self._bearer is None:
            return
        given = admittance.bearer(raw)
        if given is None or not _is_same(given, self._bearer):
            code = challenge.MISSING if given is None else challenge.INVALID
            refused = RequestRefused(code, "The bearer is missing or wrong.", http_status=401)
            refused.challenge = "Bearer"
            raise refused


def _own_names(host: str, port: int) -> frozenset[str]:
    own = f"[{host}]" if ":" in host else host
    names = {"127.0.0.1", "localhost", "[::1]"} | ({own.lower()} if is_loopback(host) else set())
    # Clients leave the port of plain HTTP out.
    bare = names if port == 80 else set()
    return frozenset({f"{name}:{port}" for name in names} | bare)


def _is_same(given: str, wanted: Secret) -> bool:
    return hmac.compare_digest(given.encode(), wanted.reveal().encode())


async def _healthy(exchange: Exchange, scope: Scope, receive: Receive) -> None:
    await exchange.json(200, _OK)


async def body_of(scope: Scope, receive: Receive) -> bytes:
    """Return the body of a request.

    Raises:
        RequestRefused: 408, 413 or 415.
        ClientGone: the client left before its end.
    """
    headers, _ = fold(scope["headers"])
    admittance.check_media_type(headers.get(b"content-type"))
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > BODY_BYTES:
        raise RequestRefused("PAYLOAD_TOO_LARGE", "The body is too large.", http_status=413)
    try:
        with Deadline(BODY_SECONDS):
            return await read_body(receive, BODY_BYTES)
    except TimeoutError:
        raise RequestRefused(
            "REQUEST_TIMEOUT", "The body did not arrive in time.", http_status=408
        ) from None


def busy() -> RequestRefused:
    """Return the refusal of what finds no place."""
    return RequestRefused(
        "SERVER_BUSY", "Too much is running at once.", http_status=503, retry_after=1
    )


async def left(receive: Receive) -> None:
    """Return once the client has left."""
    while (await receive()).get("type") != "http.disconnect":
        continue
