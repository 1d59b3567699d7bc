"""A browser: keeps cookies, follows redirects, reads links and forms; and a provider that lies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from yarl import URL

from scaimcp.dev.platform import SEED_LOGINS
from tests.fakes.idtokens import key_set, rsa, signed
from tests.integration.remotes.consenting import Consenting
from tests.world import World, listener, serve_app

SESSION, BROWSER = "scaimcp_session", "scaimcp_browser"


class Form:
    """A form: where it goes, how, its hidden fields, its buttons."""

    def __init__(self, attributes: dict[str, str | None]) -> None:
        self.action = attributes.get("action") or ""
        self.method = (attributes.get("method") or "get").upper()
        self.fields: dict[str, str] = {}
        self.inputs: list[str] = []
        self.buttons: list[str] = []


class Page(HTMLParser):
    """One answer as a browser shows it."""

    def __init__(self, answer: aiohttp.ClientResponse, content: bytes) -> None:
        super().__init__()
        self.status = answer.status
        self.headers = answer.headers
        self.url = str(answer.url)
        self.hops = [str(one.url) for one in answer.history]
        self.source = content.decode()
        self.words = ""
        self.links: list[str] = []
        self.forms: list[Form] = []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(given.get("href") or "")
        elif tag == "form":
            self.forms.append(Form(given))
        elif tag == "input" and self.forms:
            name = given.get("name") or ""
            self.forms[-1].inputs.append(name)
            if given.get("type") == "hidden":
                self.forms[-1].fields[name] = given.get("value") or ""
        elif tag == "button" and self.forms:
            self.forms[-1].buttons.append(given.get("value") or "")

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def form(self) -> Form:
        (form,) = self.forms
        return form

    @property
    def link(self) -> str:
        (link,) = self.links
        return link

    @property
    def answer(self) -> dict[str, str]:
        """The parameters of a redirect that was not followed."""
        query = parse_qs(urlsplit(self.headers["location"]).query)
        return {name: value for name, (value,) in query.items()}


@dataclass
class Browser:
    """One browser with its own cookies."""

    http: aiohttp.ClientSession

    async def open(self, url: str, *, follow: bool = True) -> Page:
        async with self.http.get(URL(url, encoded=True), allow_redirects=follow) as answer:
            return Page(answer, await answer.read())

    async def press(
        self, page: Page, name: str, value: str, *, follow: bool = True, **changed: str | None
    ) -> Page:
        """Press a button of the page's form; a changed field of None is left out."""
        form = page.form
        assert value in form.buttons or value == "", form.buttons
        given: dict[str, str | None] = {**form.fields, name: value, **changed}
        fields = {name: value for name, value in given.items() if value is not None}
        url = urljoin(page.url, form.action)
        if form.method == "GET":
            return await self.open(f"{url}?{urlencode(fields)}", follow=follow)
        headers = {"sec-fetch-site": "same-origin"}
        async with self.http.post(url, data=fields, headers=headers) as answer:
            return Page(answer, await answer.read())

    async def sign_in(self, url: str, role: str = "tenant_admin") -> Page:
        """Open a page of the gateway, sign in at the stand-in, and come back."""
        page = await self.open(url)
        choice = await self.open(page.link)
        assert "Who are you?" in choice.words
        return await self.press(choice, "login", SEED_LOGINS[role])

    def forget(self, name: str) -> None:
        """Drop a cookie."""
        self.http.cookie_jar.clear(lambda cookie: cookie.key == name)

    @property
    def cookies(self) -> dict[str, str]:
        return {cookie.key: cookie.value for cookie in self.http.cookie_jar}


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    # Hosts that are addresses have cookies only so.
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        yield Browser(http)


@dataclass
class LyingProvider:
    """An identity provider of its own that signs anybody in and can be told to lie.

    ``claims`` change those of the ID token, ``answer`` the parameters of the redirect back,
    ``key`` is what signs.
    """

    url: str = ""
    user_id: str = ""
    client_id: str = "lied-to"
    claims: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, str | None] = field(default_factory=dict)
    key: Any = None
    token_status: int = 200
    seen: list[dict[str, str]] = field(default_factory=list)
    _nonce: str = ""

    def behave(self) -> None:
        """Tell the truth again."""
        self.claims, self.answer, self.key, self.token_status = {}, {}, None, 200
        self.seen.clear()

    def routes(self) -> list[Route]:
        return [
            Route("/.well-known/openid-configuration", self.metadata),
            Route("/authorize", self.authorize),
            Route("/token", self.token, methods=["POST"]),
            Route("/keys", self.keys),
        ]

    async def metadata(self, request: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }
        )

    async def authorize(self, request: Request) -> Response:
        asked = request.query_params
        self._nonce = asked["nonce"]
        given = {"code": "c0de", "state": asked["state"], **self.answer}
        kept = {name: value for name, value in given.items() if value is not None}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(kept)}", 302)

    async def token(self, request: Request) -> Response:
        body = parse_qs((await request.body()).decode())
        self.seen.append({name: value for name, (value,) in body.items()})
        now = int(time.time())
        said = {
            "iss": self.url, "sub": self.user_id, "aud": self.client_id, "nonce": self._nonce,
            "iat": now, "exp": now + 300, **self.claims,
        }  # fmt: skip
        tokens = {
            "access_token": "a",
            "token_type": "Bearer",
            "id_token": signed(said, self.key, kid="r1"),
        }
        return JSONResponse(tokens, self.token_status)

    async def keys(self, request: Request) -> Response:
        return Response(key_set(rsa()), media_type="application/json")


@asynccontextmanager
async def serve_provider() -> AsyncIterator[LyingProvider]:
    provider = LyingProvider()
    opened = listener()
    async with serve_app(Starlette(routes=provider.routes()), opened):
        provider.url = f"http://127.0.0.1:{opened.getsockname()[1]}"
        yield provider


def forget_provider(world: World) -> None:
    """Have the gateway fetch the provider's documents anew."""
    services = world.app.services
    assert services is not None
    assert services.login is not None
    services.login._provider._name = services.login._keys._name = ""


async def asked(it: Consenting, **arguments: Any) -> tuple[str, str]:
    """Have a question asked; return its id and where its page is."""
    approval_id = await it.question(arguments)
    return approval_id, f"{it.fleet.world.url}/approvals/{approval_id}"
