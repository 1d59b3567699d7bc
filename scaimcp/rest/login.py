"""The browser's side of a sign-in: the way there, the way back, and the cookie that remains.

Any page can use it: `SignIn.user` tells who is signed in, `SignIn.begin` sends the browser to the
platform's identity provider, and ``/login/callback`` brings it back to the page. Nothing is
stored: the state is sealed and travels with the browser. Spec: mcp-configs 4.4 (`login`);
register, Keys and sealed values.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from scaimcp.auth.identity_provider import LoginFailed
from scaimcp.auth.login import Attempt, Login
from scaimcp.rest.access import id_of
from scaimcp.rest.page_html import HEADERS, link, note, page
from scaimcp.rest.routes import Parameter, RestRoute
from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing
from scaimcp.telemetry.logs import get_logger

PATH = "/login/callback"
QUERY = "sign_in"
ANEW = "anew"
SESSION_SECONDS = 15 * 60
STATE_SECONDS = 10 * 60
_SESSION, _BROWSER = "scaimcp_session", "scaimcp_browser"
_BROWSER_VALUE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_OWN_PATH = re.compile(r"/[A-Za-z0-9._~%-][A-Za-z0-9._~%/-]*\Z")
_ONCE = ("code", "state", "iss", "error")
_MOST_FIELDS = 20
_log = get_logger("scaimcp.login")
T = TypeVar("T")


class Pending(msgspec.Struct, frozen=True, array_like=True):
    """What the sealed ``state`` holds while the browser is away; times are wall-clock seconds."""

    path: str
    attempt: Attempt
    expires_at: float


class Session(msgspec.Struct, frozen=True, array_like=True):
    """What the cookie holds: who is signed in, and until when (wall clock, seconds)."""

    user_id: str
    expires_at: float


class SignIn:
    """Signs a browser in, for the gateway's own pages and nothing else.

    Two cookies: one that tells this browser from others while it is away, and one that says who is
    signed in. Both are out of reach for scripts and other sites' posts.

    Args:
        login: the protocol; None where no sign-in is set up.
        public_url: origin of the gateway, without path.
        keys: seal state and cookie.
        wall: the wall clock.
    """

    def __init__(
        self,
        login: Login | None,
        public_url: str,
        keys: KeyRing,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._login = login
        self._public_url = public_url
        self._cookies = Sealer(keys, "link")
        self._states = Sealer(keys, "short-lived")
        self._wall = wall
        self._is_secure = public_url.startswith("https:")
        # Browsers take the prefix only with Secure, and that only by HTTPS.
        prefix = "__Host-" if self._is_secure else ""
        self._session, self._browser = prefix + _SESSION, prefix + _BROWSER

    @property
    def is_offered(self) -> bool:
        """Whether there is a provider to sign in at."""
        return self._login is not None

    @property
    def is_required(self) -> bool:
        """Whether nothing else may say who somebody is: always, but in development."""
        return self.is_offered and self._is_secure

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the route of the way back."""
        parameters = (
            Parameter("state", "query", "What the browser was sent away with."),
            Parameter("code", "query", "Stands for the sign-in."),
            Parameter("error", "query", "Why there is none."),
            Parameter("iss", "query", "Who answers (RFC 9207)."),
        )
        return (
            RestRoute(
                "GET",
                PATH,
                "loginCallback",
                "Where a browser comes back to from the platform's sign-in.",
                self.callback,
                str,
                is_enveloped=False,
                needs_bearer=False,
                parameters=parameters,
                errors=(400, 403, 502, 503),
                media_type="text/html",
            ),
        )

    def address(self, path: str, *, anew: bool = False) -> str:
        """Return where a sign-in begins that leads back to `path`, "" where none is set up.

        It is whole, so that the cookies belong to the host that the browser comes back to.

        Args:
            path: path of a page of ours, percent-encoded; the page calls `begin` for it.
            anew: let the user name himself again.
        """
        return f"{self._public_url}{path}?{QUERY}={ANEW if anew else 1}" if self._login else ""

    def user(self, request: Request) -> str | None:
        """Return the platform's id of the user who is signed in, None for nobody."""
        if self._login is None:
            return None
        plain = self._cookies.open(request.cookies.get(self._session, ""), b"session")
        session = _read(plain, Session)
        if session is None or session.expires_at <= self._wall():
            return None
        return session.user_id

    async def begin(self, request: Request, path: str) -> Response:
        """Send the browser to the provider, or show why that cannot be.

        Args:
            request: a GET of the page.
            path: where the browser comes back to, percent-encoded.
        """
        if self._login is None or not _OWN_PATH.match(path):
            raise AssertionError("only pages of ours begin a sign-in, and only where there is one")
        browser = self._browser_of(request) or secrets.token_urlsafe(32)
        attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
        pending = Pending(path, attempt, self._wall() + STATE_SECONDS)
        state = self._states.seal(msgspec.msgpack.encode(pending), _bound(browser))
        try:
            address = await self._login.address(
                attempt,
                state,
                self._public_url + PATH,
                id_of(request),
                anew=request.query_params.get(QUERY) == ANEW,
            )
        except LoginFailed as error:
            return self._failed(request, error, path)
        response = _redirect(request, address)
        self._set(response, self._browser, browser, STATE_SECONDS)
        return response

    async def callback(self, request: Request) -> Response:
        """Take the provider's answer and go back to the page, signed in."""
        pending: Pending | None = None
        try:
            answer = _answer(request)
            pending = self._pending(request, answer.get("state", ""))
            if self._login is None or pending is None:
                raise LoginFailed("stale", "state")
            user_id = await self._login.subject(
                answer, pending.attempt, self._public_url + PATH, id_of(request)
            )
        except LoginFailed as error:
            return self._failed(request, error, pending.path if pending is not None else "")
        _log.info("browser signed in", request_id=id_of(request))
        session = Session(user_id, self._wall() + SESSION_SECONDS)
        sealed = self._cookies.seal(msgspec.msgpack.encode(session), b"session")
        response = _redirect(request, self._public_url + pending.path)
        self._set(response, self._session, sealed, SESSION_SECONDS)
        return response

    def _pending(self, request: Request, state: str) -> Pending | None:
        """Return what this browser was sent away with, None once it is over."""
        browser = self._browser_of(request)
        plain = self._states.open(state, _bound(browser)) if browser else None
        pending = _read(plain, Pending)
        return pending if pending is not None and pending.expires_at > self._wall() else None

    def _browser_of(self, request: Request) -> str:
        value = request.cookies.get(self._browser, "")
        return value if _BROWSER_VALUE.match(value) else ""

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            name, value, seconds, path="/", secure=self._is_secure, httponly=True, samesite="lax"
        )

    def _failed(self, request: Request, error: LoginFailed, path: str) -> Response:
        _log.warning(
            "browser not signed in",
            request_id=id_of(request),
            reason=error.reason,
            cause=error.cause,
        )
        # Without a state nobody knows where the browser came from.
        again = "" if path else "Open the address that your program showed you once more."
        body = note(f"{error.message} {again}".strip())
        if path:
            body += link(self.address(path), "Try again")
        response = HTMLResponse(page("Sign in", body), error.http_status, headers=_headers(request))
        if error.retry_after is not None:
            response.headers["retry-after"] = str(error.retry_after)
        return response


def _answer(request: Request) -> Mapping[str, str]:
    """Return the parameters of the provider's answer.

    Raises:
        LoginFailed: one of them stands twice, or there are too many.
    """
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("latin-1"), max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise LoginFailed("foreign", "parameters") from None
    names = [name for name, _ in pairs]
    if any(names.count(name) > 1 for name in _ONCE):
        raise LoginFailed("foreign", "parameters")
    return dict(pairs)


def _read(plain: bytes | None, kind: type[T]) -> T | None:
    """Return what was sealed; None for nothing, and for what another version has sealed."""
    try:
        return None if plain is None else msgspec.msgpack.decode(plain, type=kind)
    except msgspec.DecodeError:
        return None


def _bound(browser: str) -> bytes:
    return b"login " + hashlib.sha256(browser.encode()).digest()


def _headers(request: Request) -> dict[str, str]:
    return {**HEADERS, "x-request-id": id_of(request)}


def _redirect(request: Request, address: str) -> Response:
    # 303: a GET, whatever came before. The address is encoded already; quoting twice breaks it.
    headers = {**_headers(request), "location": address}
    return Response(status_code=303, headers=headers)
