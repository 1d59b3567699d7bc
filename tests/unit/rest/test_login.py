"""The browser's side of a sign-in: cookies, state, the way back. Spec: mcp-configs 4.4."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http.cookies import SimpleCookie
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.auth.identity_provider import LoginFailed
from scaimcp.auth.login import Attempt, Login
from scaimcp.rest.login import SESSION_SECONDS, STATE_SECONDS, SignIn
from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing
from tests.fakes.callers import Clock

RING = KeyRing(("one",), (hashlib.sha256(b"one").digest(),))
HTTPS, NEAR = "https://mcp.example", "http://127.0.0.1:8080"
PAGE = "/approvals/apr_1"
PREFIXES = {HTTPS: "__Host-", NEAR: ""}


class Provider:
    """Stands for the protocol: notes what it is asked and answers as told."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.redeemed: list[tuple[Mapping[str, str], Attempt, str]] = []
        self.failure: LoginFailed | None = None

    async def address(
        self, attempt: Attempt, state: str, redirect_uri: str, request_id: str, *, anew: bool
    ) -> str:
        if self.failure is not None:
            raise self.failure
        self.asked.append({"attempt": attempt, "state": state, "back": redirect_uri, "anew": anew})
        return "https://id.example/authorize?" + urlencode({"state": state})

    async def subject(
        self, answer: Mapping[str, str], attempt: Attempt, redirect_uri: str, request_id: str
    ) -> str:
        if self.failure is not None:
            raise self.failure
        self.redeemed.append((answer, attempt, redirect_uri))
        return "usr_ada"


class Browser:
    """Keeps cookies, as one browser does."""

    def __init__(self, sign_in: SignIn) -> None:
        self.sign_in = sign_in
        self.cookies: dict[str, str] = {}
        self.lines: list[str] = []

    def request(self, path: str, query: str = "") -> Request:
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = [(b"host", b"x"), (b"cookie", cookie.encode())]
        scope = {
            "type": "http", "method": "GET", "path": path, "headers": headers,
            "query_string": query.encode("latin-1"),
        }  # fmt: skip
        return Request(scope)

    def keep(self, response: Response) -> Response:
        self.lines = response.headers.getlist("set-cookie")
        for line in self.lines:
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return response

    async def begin(self, query: str = "sign_in=1", page: str = PAGE) -> Response:
        return self.keep(await self.sign_in.begin(self.request(page, query), page))

    async def state(self) -> str:
        response = await self.begin()
        return parse_qs(urlsplit(response.headers["location"]).query)["state"][0]

    async def come_back(self, query: str) -> Response:
        request = self.request("/login/callback", query)
        return self.keep(await self.sign_in.callback(request))

    def user(self) -> str | None:
        return self.sign_in.user(self.request(PAGE))


class Setup:
    def __init__(self, public_url: str = HTTPS, login: Any = "provider") -> None:
        self.provider = Provider()
        self.clock = Clock()
        given = self.provider if login == "provider" else login
        self.sign_in = SignIn(cast(Login | None, given), public_url, RING, wall=self.clock)

    def browser(self) -> Browser:
        return Browser(self.sign_in)


def text(response: Response) -> str:
    return bytes(response.body).decode()


@pytest.mark.parametrize("public_url", PREFIXES)
async def test_a_browser_goes_away_and_comes_back_signed_in(public_url: str) -> None:
    setup = Setup(public_url)
    browser = setup.browser()
    assert browser.user() is None
    state = await browser.state()
    (asked,) = setup.provider.asked
    assert (asked["back"], asked["anew"]) == (f"{public_url}/login/callback", False)
    response = await browser.come_back(urlencode({"state": state, "code": "c0de"}))
    assert (response.status_code, response.headers["location"]) == (303, public_url + PAGE)
    ((answer, attempt, back),) = setup.provider.redeemed
    assert (answer["code"], attempt, back) == ("c0de", asked["attempt"], asked["back"])
    assert browser.user() == "usr_ada"


@pytest.mark.parametrize(("public_url", "prefix"), PREFIXES.items())
async def test_cookies_are_for_this_host_and_no_script(public_url: str, prefix: str) -> None:
    browser = Setup(public_url).browser()
    state = await browser.state()
    (first,) = browser.lines
    await browser.come_back(urlencode({"state": state, "code": "c"}))
    (second,) = browser.lines
    lives = ((first, "browser", STATE_SECONDS), (second, "session", SESSION_SECONDS))
    for line, name, seconds in lives:
        assert line.startswith(f"{prefix}scaimcp_{name}=")
        parts = {part.strip().lower() for part in line.split(";")[1:]}
        assert {"httponly", "path=/", "samesite=lax", f"max-age={seconds}"} <= parts
        assert ("secure" in parts) == (public_url == HTTPS)
        assert not [part for part in parts if part.startswith("domain")]


async def test_each_attempt_has_secrets_of_its_own_that_no_address_shows() -> None:
    setup = Setup()
    browser = setup.browser()
    first = await browser.begin()
    await browser.begin()
    one, two = (asked["attempt"] for asked in setup.provider.asked)
    assert len({one.nonce, one.verifier, two.nonce, two.verifier}) == 4
    assert all(len(secret) == 43 for secret in (one.nonce, one.verifier))
    for hidden in (one.verifier, PAGE, *browser.cookies.values()):
        assert hidden not in first.headers["location"]


async def test_two_windows_of_a_browser_do_not_disturb_each_other() -> None:
    browser = Setup().browser()
    first, second = await browser.state(), await browser.state()
    for state in (first, second):
        response = await browser.come_back(urlencode({"state": state, "code": "c"}))
        assert response.status_code == 303


async def test_somebody_else_may_sign_in() -> None:
    setup = Setup()
    await setup.browser().begin("sign_in=anew")
    assert setup.provider.asked[0]["anew"] is True
    assert setup.sign_in.address(PAGE) == f"{HTTPS}{PAGE}?sign_in=1"
    assert setup.sign_in.address(PAGE, anew=True) == f"{HTTPS}{PAGE}?sign_in=anew"


async def test_the_state_serves_ten_minutes() -> None:
    setup = Setup()
    browser = setup.browser()
    query = urlencode({"state": await browser.state(), "code": "c"})
    setup.clock.forward(STATE_SECONDS - 1)
    assert (await browser.come_back(query)).status_code == 303
    setup.clock.forward(1)
    late = await browser.come_back(query)
    assert (late.status_code, late.headers.get("location")) == (400, None)
    assert len(setup.provider.redeemed) == 1


async def test_the_cookie_serves_a_quarter_of_an_hour() -> None:
    setup = Setup()
    browser = setup.browser()
    await browser.come_back(urlencode({"state": await browser.state(), "code": "c"}))
    setup.clock.forward(SESSION_SECONDS - 1)
    assert browser.user() == "usr_ada"
    setup.clock.forward(1)
    assert browser.user() is None


async def test_the_state_serves_its_own_browser_only() -> None:
    setup = Setup()
    state = await setup.browser().state()
    other, stranger = setup.browser(), setup.browser()
    await other.begin()
    for browser in (other, stranger):
        response = await browser.come_back(urlencode({"state": state, "code": "c"}))
        assert response.status_code == 400
        assert "another browser" in text(response)
        assert browser.user() is None
    assert setup.provider.redeemed == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "code=c",
        "state=&code=c",
        "state=forged&code=c",
        "state={}&code=c&code=d",
        "state={}&state=x&code=c",
        "state={}&code=c&iss=a&iss=b",
        "state={}&error=a&error=b",
        "&".join(f"p{i}=1" for i in range(30)),
        "state=\xff&code=\xff",
    ],
)
async def test_an_answer_out_of_form_is_not_redeemed(query: str) -> None:
    setup = Setup()
    browser = setup.browser()
    response = await browser.come_back(query.format(await browser.state()))
    assert response.status_code == 400
    assert setup.provider.redeemed == []
    assert browser.user() is None


async def test_a_cookie_of_another_form_is_no_browser() -> None:
    setup = Setup()
    browser = setup.browser()
    browser.cookies["__Host-scaimcp_browser"] = "chosen"
    await browser.begin()
    assert browser.cookies["__Host-scaimcp_browser"] != "chosen"


@pytest.mark.parametrize("cookie", ["", "forged", "AQ", "\xff"])
def test_a_forged_cookie_is_nobody(cookie: str) -> None:
    browser = Setup().browser()
    browser.cookies["__Host-scaimcp_session"] = cookie.encode("latin-1").decode("utf-8", "replace")
    assert browser.user() is None


async def test_nothing_else_that_is_sealed_is_a_session() -> None:
    setup = Setup()
    link, short = Sealer(RING, "link"), Sealer(RING, "short-lived")
    session = msgspec.msgpack.encode(["usr_eve", 9e9])
    browser = setup.browser()
    for value in (
        link.seal(session),
        link.seal(session, b"ticket session"),
        short.seal(session, b"session"),
        link.seal(b"\xc1", b"session"),
        link.seal(msgspec.msgpack.encode({"user_id": "usr_eve"}), b"session"),
        await browser.state(),
    ):
        browser.cookies["__Host-scaimcp_session"] = value
        assert browser.user() is None
    browser.cookies["__Host-scaimcp_session"] = link.seal(session, b"session")
    assert browser.user() == "usr_eve"


@pytest.mark.parametrize("path", ["//evil.example/", "https://evil.example", "", "/a\\b", "/a?b"])
async def test_a_sign_in_leads_to_pages_of_this_gateway_only(path: str) -> None:
    setup = Setup()
    with pytest.raises(AssertionError):
        await setup.browser().begin(page=path)
    assert setup.provider.asked == []


@pytest.mark.parametrize(
    ("reason", "status", "words"),
    [
        ("unavailable", 503, "does not answer"),
        ("unusable", 503, "set up"),
        ("distrusted", 502, "cannot be trusted"),
        ("declined", 403, "Nobody was signed in"),
        ("stale", 400, "over"),
    ],
)
async def test_a_failure_is_a_page_that_says_what_to_do(
    reason: str, status: int, words: str
) -> None:
    setup = Setup()
    browser = setup.browser()
    query = urlencode({"state": await browser.state(), "code": "s3cret"})
    setup.provider.failure = LoginFailed(reason, "the_cause")
    response = await browser.come_back(query)
    assert (response.status_code, response.headers.get("retry-after")) == (
        status,
        "5" if status == 503 else None,
    )
    assert words in text(response)
    assert f'href="{HTTPS}{PAGE}?sign_in=1"' in text(response)
    assert "the_cause" not in text(response)
    assert "s3cret" not in text(response)
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert response.headers["cache-control"] == "no-store"
    assert browser.user() is None


async def test_when_the_provider_is_away_the_browser_stays() -> None:
    setup = Setup()
    setup.provider.failure = LoginFailed("unavailable", "timeout")
    response = await setup.browser().begin()
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert f'href="{HTTPS}{PAGE}?sign_in=1"' in text(response)


async def test_without_a_provider_nobody_is_signed_in() -> None:
    setup = Setup(login=None)
    browser = setup.browser()
    assert not setup.sign_in.is_offered
    assert not setup.sign_in.is_required
    assert setup.sign_in.address(PAGE) == ""
    sealed = Sealer(RING, "link").seal(msgspec.msgpack.encode(["usr_eve", 9e9]), b"session")
    browser.cookies["__Host-scaimcp_session"] = sealed
    assert browser.user() is None
    assert (await browser.come_back("state=x&code=y")).status_code == 400
    with pytest.raises(AssertionError):
        await browser.begin()


def test_only_in_development_something_else_may_say_who_is_there() -> None:
    assert Setup(HTTPS).sign_in.is_required
    near = Setup(NEAR).sign_in
    assert near.is_offered
    assert not near.is_required
