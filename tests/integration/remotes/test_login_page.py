"""Signing in at the approval page through the platform's login, as a browser does it.

Spec: remote-servers 9, mcp-configs 4.4 (`login`).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from scaimcp.dev.platform import SEED_LOGINS
from scaimcp.dev.platform.endpoints.login import GATEWAY_CLIENT
from tests.integration.remotes.browsing import (
    BROWSER,
    SESSION,
    Browser,
    asked,
    forget_provider,
    open_browser,
)
from tests.integration.remotes.consenting import APPROVALS, Consenting, start_consenting, text
from tests.world import start_world


@pytest_asyncio.fixture(scope="module")
async def it(database_url: str, redis_url: str) -> AsyncIterator[Consenting]:
    async with start_consenting(database_url, redis_url, LOGIN_CLIENT_ID=GATEWAY_CLIENT) as started:
        yield started


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


async def state_of(it: Consenting, approval_id: str) -> str:
    shown = await it.person().get(f"{APPROVALS}/{approval_id}")
    return str(shown.json["data"]["state"])


async def callback(browser: Browser, url: str, role: str = "tenant_admin") -> str:
    """Sign in as far as the address that leads back; return it unopened."""
    page = await browser.open((await browser.open(url)).link)
    sent = await browser.press(page, "login", SEED_LOGINS[role], follow=False)
    assert sent.status == 302
    return str(sent.headers["location"])


# --- deciding ---------------------------------------------------------------------------------


async def test_a_user_signs_in_sees_the_call_and_approves(it: Consenting, browser: Browser) -> None:
    approval_id, url = await asked(it, a=40, b=2)
    page = await browser.sign_in(url)
    assert (page.status, page.url) == (200, url)
    for shown in (it.rows["confirm"].name, "127.0.0.1", "add", '"a": 40'):
        assert shown in page.words
    done = await browser.press(page, "decision", "approve")
    assert (done.status, "is approved" in done.words) == (200, True)
    assert await state_of(it, approval_id) == "approved"
    called = await it.asked(it.program("2025-11-25"), {"a": 40, "b": 2})
    assert text(called.reply) == "42"
    action, actor, _ = [one for one in await it.audited() if one[0] == "consent.approve"][-1]
    assert (action, actor) == ("consent.approve", it.fleet.user_id)


async def test_a_user_denies(it: Consenting, browser: Browser) -> None:
    _, url = await asked(it, a=41, b=1)
    done = await browser.press(await browser.sign_in(url), "decision", "deny")
    assert "is denied" in done.words
    called = await it.asked(it.program("2025-11-25"), {"a": 41, "b": 1})
    assert called.code == "CONSENT_DENIED"
    again = await browser.open(url)
    assert (again.forms, "is denied" in again.words) == ([], True)


async def test_a_signed_in_user_is_not_asked_again(it: Consenting, browser: Browser) -> None:
    _, first = await asked(it, a=42, b=1)
    _, second = await asked(it, a=43, b=1)
    await browser.sign_in(first)
    page = await browser.open(second)
    assert '"a": 43' in page.words
    assert page.hops == []


async def test_a_program_with_an_api_key_has_its_user_decide_in_a_browser(
    it: Consenting, browser: Browser
) -> None:
    await it.fleet.world.grant("tenant_user", "scailink:remote.use")
    approval_id = await it.question({"a": 44, "b": 1}, "tenant_user")
    url = f"{it.fleet.world.url}/approvals/{approval_id}"
    done = await browser.press(await browser.sign_in(url, "tenant_user"), "decision", "approve")
    assert "is approved" in done.words


# --- what the page tells ----------------------------------------------------------------------


async def test_before_the_sign_in_the_page_is_alike_for_every_id(
    it: Consenting, browser: Browser
) -> None:
    approval_id, url = await asked(it, secret="before")
    unknown_id = "apr_" + "0" * 26
    known = await browser.open(url)
    unknown = await browser.open(url.replace(approval_id, unknown_id))
    assert known.source.replace(approval_id, unknown_id) == unknown.source
    assert "secret" not in known.words
    assert known.link == f"{url}?sign_in=1"
    assert known.form.inputs == ["token"]


async def test_another_user_learns_nothing_and_may_make_room(
    it: Consenting, browser: Browser
) -> None:
    approval_id, url = await asked(it, secret="hers")
    unknown_id = "apr_" + "0" * 26
    page = await browser.sign_in(url, "tenant_user")
    unknown = await browser.open(url.replace(approval_id, unknown_id))
    assert page.status == unknown.status == 403
    assert page.source.replace(approval_id, unknown_id) == unknown.source
    assert "secret" not in page.source
    assert it.rows["confirm"].name not in page.source
    assert page.link == f"{url}?sign_in=anew"
    choice = await browser.open(page.link)
    assert "prompt=login" in choice.url
    mine = await browser.press(choice, "login", SEED_LOGINS["tenant_admin"])
    assert '"secret": "hers"' in mine.words


async def test_a_user_of_another_tenant_learns_nothing(it: Consenting, browser: Browser) -> None:
    _, url = await asked(it, secret="theirs")
    page = await browser.sign_in(url, "other_tenant_admin")
    assert (page.status, "secret" in page.source) == (403, False)


async def test_no_address_page_or_header_gives_a_secret_away(
    it: Consenting, browser: Browser
) -> None:
    approval_id, url = await asked(it, a=45, b=1)
    first = await browser.open(url)
    there = await browser.open(first.link, follow=False)
    assert (there.status, there.headers["cache-control"]) == (303, "no-store")
    sent = there.answer
    assert sent["code_challenge_method"] == "S256"
    assert set(sent) == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce",
        "code_challenge", "code_challenge_method",
    }  # fmt: skip
    assert approval_id not in there.headers["location"]
    back = await callback(browser, url)
    landed = await browser.open(back, follow=False)
    assert (landed.status, landed.headers["location"]) == (303, url)
    page = await browser.open(url)
    for shown in (first, page):
        assert "default-src 'none'" in shown.headers["content-security-policy"]
        assert shown.headers["referrer-policy"] == "no-referrer"
        assert shown.headers["cache-control"] == "no-store"
        assert all(value not in shown.source for value in browser.cookies.values())


# --- what does not decide ---------------------------------------------------------------------


async def test_a_form_without_its_ticket_decides_nothing(it: Consenting, browser: Browser) -> None:
    approval_id, url = await asked(it, a=46, b=1)
    page = await browser.sign_in(url)
    for ticket in (None, "", "forged", browser.cookies[SESSION]):
        reply = await browser.press(page, "decision", "approve", ticket=ticket)
        assert reply.status == 409
    assert await state_of(it, approval_id) == "pending"


async def test_a_ticket_without_its_users_sign_in_decides_nothing(
    it: Consenting, browser: Browser
) -> None:
    approval_id, url = await asked(it, a=47, b=1)
    page = await browser.sign_in(url)
    browser.forget(SESSION)
    reply = await browser.press(page, "decision", "approve")
    assert (reply.status, reply.links) == (401, [f"{url}?sign_in=1"])
    await browser.sign_in(url, "tenant_user")
    reply = await browser.press(page, "decision", "approve")
    assert reply.status == 401
    assert await state_of(it, approval_id) == "pending"


async def test_the_cookie_alone_decides_nothing_for_another_site(
    it: Consenting, browser: Browser
) -> None:
    approval_id, url = await asked(it, a=48, b=1)
    page = await browser.sign_in(url)
    fields = {**page.form.fields, "decision": "approve"}
    headers = {"sec-fetch-site": "cross-site"}
    async with browser.http.post(url, data=fields, headers=headers) as reply:
        assert reply.status == 403
    assert await state_of(it, approval_id) == "pending"


async def test_a_pasted_token_serves_in_development_too(it: Consenting, browser: Browser) -> None:
    _, url = await asked(it, a=49, b=1)
    shown = await browser.press(await browser.open(url), "token", "", token=it.token)
    assert '"a": 49' in shown.words
    done = await browser.press(shown, "decision", "approve")
    assert "is approved" in done.words


async def test_without_the_database_the_page_says_when_to_return(
    it: Consenting, browser: Browser
) -> None:
    _, url = await asked(it, a=55, b=1)
    await browser.sign_in(url)
    services = it.fleet.world.app.services
    assert services is not None
    away = "postgresql://nobody@127.0.0.1:1/none"
    pool = services.database._pool
    services.database._pool = await asyncpg.create_pool(away, min_size=0, max_size=1)
    try:
        page = await browser.open(url)
    finally:
        services.database._pool.terminate()
        services.database._pool = pool
    assert (page.status, page.headers["retry-after"], page.forms) == (503, "5", [])


@pytest.mark.parametrize("client", [GATEWAY_CLIENT, ""])
async def test_away_from_development_a_token_is_pasted_only_without_a_sign_in(
    database_url: str, redis_url: str, browser: Browser, client: str
) -> None:
    async with start_world(
        database_url,
        redis_url,
        remote=True,
        PUBLIC_URL="https://mcp.example",
        SERVER_ALLOWED_HOSTS="127.0.0.1",
        LOGIN_CLIENT_ID=client,
    ) as world:
        minted = await world.control("POST", "/tokens", {"login": SEED_LOGINS["tenant_admin"]})
        url = f"{world.url}/approvals/apr_x"
        page = await browser.open(url)
        headers = {"sec-fetch-site": "same-origin"}
        async with browser.http.post(url, data={"token": minted["token"]}, headers=headers) as done:
            pasted = done.status
    if client:
        assert page.forms == []
        assert page.link == "https://mcp.example/approvals/apr_x?sign_in=1"
        assert pasted == 409
    else:
        assert page.form.inputs == ["token"]
        assert page.links == []
        assert pasted == 404


async def test_without_a_registry_a_sign_in_shows_that(
    database_url: str, redis_url: str, browser: Browser
) -> None:
    async with start_world(database_url, redis_url, LOGIN_CLIENT_ID=GATEWAY_CLIENT) as world:
        page = await browser.sign_in(f"{world.url}/approvals/apr_x")
        assert (page.status, "registry of remote servers is off" in page.words) == (503, True)


# --- the way back -----------------------------------------------------------------------------


async def test_a_code_serves_once(it: Consenting, browser: Browser) -> None:
    _, url = await asked(it, a=50, b=1)
    back = await callback(browser, url)
    assert (await browser.open(back)).url == url
    browser.forget(SESSION)
    again = await browser.open(back)
    assert (again.status, again.url) == (400, back)
    assert SESSION not in browser.cookies
    assert again.link == f"{url}?sign_in=1"


async def test_an_answer_serves_its_own_browser_only(it: Consenting, browser: Browser) -> None:
    _, url = await asked(it, a=51, b=1)
    back = await callback(browser, url)
    async with open_browser() as victim:
        await victim.open((await victim.open(url)).link)
        page = await victim.open(back)
        assert (page.status, page.links) == (400, [])
        assert SESSION not in victim.cookies
    assert (await browser.open(back)).url == url


async def test_a_user_who_declines_is_told_so_and_may_return(
    it: Consenting, browser: Browser
) -> None:
    approval_id, url = await asked(it, a=52, b=1)
    choice = await browser.open((await browser.open(url)).link)
    page = await browser.press(choice, "login", "nobody")
    assert (page.status, page.link) == (403, f"{url}?sign_in=1")
    assert "access_denied" not in page.words
    assert await state_of(it, approval_id) == "pending"


async def test_a_forged_state_leads_nowhere(it: Consenting, browser: Browser) -> None:
    _, url = await asked(it, a=53, b=1)
    back = await callback(browser, url)
    for state in ("forged", "", browser.cookies[BROWSER]):
        forged = re.sub(r"state=[^&]*", f"state={state}", back)
        page = await browser.open(forged)
        assert (page.status, page.links) == (400, [])


async def test_the_way_back_leads_to_this_gateway_only(it: Consenting, browser: Browser) -> None:
    origin = it.fleet.world.url
    for odd in ("//evil.example", "%2F%2Fevil.example", "..%2F..", "a%0d%0ax:y"):
        page = await browser.open(f"{origin}/approvals/{odd}?sign_in=1", follow=False)
        if page.status == 404:
            continue
        assert page.status == 303
        choice = await browser.open(page.headers["location"])
        there = await browser.press(choice, "login", SEED_LOGINS["tenant_user"], follow=False)
        landed = await browser.open(there.headers["location"], follow=False)
        assert landed.headers["location"].startswith(f"{origin}/approvals/")
        assert (await browser.open(landed.headers["location"])).status == 403


async def test_while_the_platform_is_away_the_page_says_when_to_return(
    it: Consenting, browser: Browser
) -> None:
    world = it.fleet.world
    _, url = await asked(it, a=54, b=1)
    link = (await browser.open(url)).link
    forget_provider(world)
    await world.fault({"path": "/.well-known/openid-configuration", "http_status": 503})
    try:
        page = await browser.open(link)
        assert (page.status, page.headers["retry-after"]) == (503, "5")
        assert (page.link, "does not answer" in page.words) == (link, True)
    finally:
        await world.fault()
        forget_provider(world)
    back = await callback(browser, url)
    await world.fault({"path": "/v1/auth/token", "drop": "before_headers"})
    try:
        page = await browser.open(back)
        assert (page.status, page.link) == (503, link)
    finally:
        await world.fault()
