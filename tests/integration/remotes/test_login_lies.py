"""A provider that lies, or answers what was not asked, signs nobody in. Spec: mcp-configs 4.4."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.fakes.idtokens import elliptic, rsa
from tests.integration.remotes.browsing import (
    SESSION,
    Browser,
    LyingProvider,
    Page,
    asked,
    open_browser,
    serve_provider,
)
from tests.integration.remotes.consenting import Consenting, start_consenting
from tests.integration.test_secrecy import logged

__all__ = ["logged"]


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


@pytest_asyncio.fixture(scope="module")
async def lied_to(
    database_url: str, redis_url: str
) -> AsyncIterator[tuple[Consenting, LyingProvider]]:
    async with (
        serve_provider() as provider,
        start_consenting(
            database_url,
            redis_url,
            LOGIN_ISSUER=provider.url,
            LOGIN_CLIENT_ID=provider.client_id,
            LOGIN_CLIENT_SECRET="hush",
        ) as started,
    ):
        provider.user_id = started.fleet.user_id
        yield started, provider


async def arrive(it: Consenting, browser: Browser, number: int) -> tuple[Page, str]:
    """Sign in at a provider that asks nothing."""
    _, url = await asked(it, a=number, b=1)
    return await browser.open((await browser.open(url)).link), url


async def test_a_provider_that_tells_the_truth_signs_in(
    lied_to: tuple[Consenting, LyingProvider], browser: Browser
) -> None:
    it, provider = lied_to
    provider.behave()
    page, url = await arrive(it, browser, 60)
    assert (page.status, page.url, '"a": 60' in page.words) == (200, url, True)
    (sent,) = provider.seen
    assert set(sent) == {"grant_type", "code", "redirect_uri", "code_verifier"}


@pytest.mark.parametrize(
    "lie",
    [
        {"nonce": "another"},
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"exp": 1},
        {"sub": ""},
    ],
    ids=str,
)
async def test_a_token_that_says_something_else_signs_nobody_in(
    lied_to: tuple[Consenting, LyingProvider], browser: Browser, lie: dict[str, Any]
) -> None:
    it, provider = lied_to
    provider.behave()
    provider.claims = lie
    page, url = await arrive(it, browser, 61)
    assert (page.status, page.link) == (502, f"{url}?sign_in=1")
    assert "cannot be trusted" in page.words
    assert SESSION not in browser.cookies


@pytest.mark.parametrize("key", [rsa("r2"), elliptic()], ids=["RS256", "ES256"])
async def test_a_token_of_another_key_signs_nobody_in(
    lied_to: tuple[Consenting, LyingProvider], browser: Browser, key: Any
) -> None:
    it, provider = lied_to
    provider.behave()
    provider.key = key
    page, _ = await arrive(it, browser, 62)
    assert page.status == 502
    assert SESSION not in browser.cookies


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"iss": "https://evil.example"}, 400),
        ({"code": None}, 400),
        ({"code": None, "error": "access_denied"}, 403),
        ({"code": None, "error": "server_error", "error_description": "<b>x</b>"}, 503),
    ],
    ids=str,
)
async def test_an_answer_that_is_none_is_not_redeemed(
    lied_to: tuple[Consenting, LyingProvider], browser: Browser, answer: Any, status: int
) -> None:
    it, provider = lied_to
    provider.behave()
    provider.answer = answer
    page, _ = await arrive(it, browser, 63)
    assert page.status == status
    assert "<b>" not in page.source
    assert provider.seen == []


async def test_another_subject_is_another_user(
    lied_to: tuple[Consenting, LyingProvider], browser: Browser
) -> None:
    it, provider = lied_to
    provider.behave()
    provider.claims = {"sub": "usr_\0\u202e" + "x" * 200}
    page, _ = await arrive(it, browser, 64)
    assert (page.status, '"a": 64' in page.source) == (403, False)


async def test_no_log_line_holds_anything_of_a_sign_in(
    lied_to: tuple[Consenting, LyingProvider], browser: Browser, logged: io.StringIO
) -> None:
    it, provider = lied_to
    provider.behave()
    page, url = await arrive(it, browser, 66)
    assert page.status == 200
    sent = dict(provider.seen[0])
    provider.claims = {"nonce": "another"}
    page = await browser.open(f"{url}?sign_in=1")
    assert page.status == 502
    provider.behave()
    provider.answer = {"code": None, "error": "access_denied", "error_description": "hunter2"}
    page = await browser.open(f"{url}?sign_in=1")
    assert page.status == 403
    written = logged.getvalue()
    for event in ("browser signed in", "id_token_claims", "access_denied"):
        assert event in written
    secrets = {sent["code"], sent["code_verifier"], "hush", "hunter2", *browser.cookies.values()}
    assert [secret for secret in secrets if secret in written] == []
    assert "eyJ" not in written


async def test_a_doubled_code_is_not_redeemed(
    lied_to: tuple[Consenting, LyingProvider], browser: Browser
) -> None:
    it, provider = lied_to
    provider.behave()
    _, url = await asked(it, a=65, b=1)
    there = await browser.open((await browser.open(url)).link, follow=False)
    query = urlencode([("code", "a"), ("code", "b"), ("state", there.answer["state"])])
    page = await browser.open(f"{it.fleet.world.url}/login/callback?{query}")
    assert page.status == 400
    assert provider.seen == []
