"""The page on which a user decides a call, as a browser uses it. Spec: remote-servers 9."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from scaimcp.dev.platform import SEED_LOGINS
from tests.integration.remotes.consenting import APPROVALS, Consenting, start_consenting, text
from tests.world import Reply, World

FORM = "application/x-www-form-urlencoded"
TICKET = re.compile(r'name="ticket" value="([^"]+)"')


@pytest_asyncio.fixture(scope="module")
async def it(database_url: str, redis_url: str) -> AsyncIterator[Consenting]:
    async with start_consenting(database_url, redis_url) as started:
        yield started


class Browser:
    """Sends what the page's forms send; holds no token and no cookie."""

    def __init__(self, world: World, approval_id: str) -> None:
        self._client = world.with_token(None)
        self._path = f"/approvals/{approval_id}"

    async def open(self) -> Reply:
        return await self._client.get(self._path)

    async def submit(self, headers: Any = None, **fields: str) -> Reply:
        lines = {"content-type": FORM, "sec-fetch-site": "same-origin", **(headers or {})}
        body = urlencode(fields).encode()
        return await self._client.send(body, path=self._path, headers=lines)

    async def shown(self, token: str) -> tuple[Reply, str]:
        """Sign in; return the page and the ticket that it holds, "" for none."""
        reply = await self.submit(token=token)
        found = TICKET.search(reply.content.decode())
        return reply, unescape(found[1]) if found else ""


def words(reply: Reply) -> str:
    return unescape(reply.content.decode())


async def test_the_page_tells_nobody_anything_before_the_sign_in(it: Consenting) -> None:
    approval_id = await it.question({"secret": "before"})
    known = await Browser(it.fleet.world, approval_id).open()
    unknown = await Browser(it.fleet.world, "apr_" + "0" * 26).open()
    assert known.status == unknown.status == 200
    assert known.content == unknown.content
    assert str(known.headers["content-type"]).startswith("text/html")


async def test_every_answer_of_the_page_is_closed_to_scripts_and_frames(it: Consenting) -> None:
    browser = Browser(it.fleet.world, await it.question({"a": "headers"}))
    for reply in (await browser.open(), await browser.submit(token=it.token)):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert reply.headers["x-frame-options"] == "DENY"
        assert reply.headers["cache-control"] == "no-store"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in reply.headers
        assert reply.headers["x-request-id"].startswith("req_")


async def test_a_user_signs_in_sees_the_call_and_approves(it: Consenting) -> None:
    approval_id = await it.question({"a": 30, "b": 1})
    browser = Browser(it.fleet.world, approval_id)
    page, ticket = await browser.shown(it.token)
    assert page.status == 200
    for shown in (it.rows["confirm"].name, "127.0.0.1", "add", '"a": 30'):
        assert shown in words(page)
    assert it.token not in words(page)
    done = await browser.submit(ticket=ticket, decision="approve")
    assert (done.status, "is approved" in words(done)) == (200, True)
    called = await it.asked(it.program("2025-11-25"), {"a": 30, "b": 1})
    assert text(called.reply) == "31"
    action, actor, _ = [one for one in await it.audited() if one[0] == "consent.approve"][-1]
    assert (action, actor) == ("consent.approve", it.fleet.user_id)


async def test_a_user_denies(it: Consenting) -> None:
    approval_id = await it.question({"a": 31, "b": 1})
    browser = Browser(it.fleet.world, approval_id)
    _, ticket = await browser.shown(f"Bearer {it.token} ")
    done = await browser.submit(ticket=ticket, decision="deny")
    assert "is denied" in words(done)
    called = await it.asked(it.program("2025-11-25"), {"a": 31, "b": 1})
    assert called.code == "CONSENT_DENIED"
    page, ticket = await browser.shown(it.token)
    assert (ticket, "is denied" in words(page)) == ("", True)


@pytest.mark.parametrize("token", ["", "junk", "sgk_" + "0" * 40, "a.b.c"])
async def test_a_token_that_is_not_accepted_is_asked_for_again(it: Consenting, token: str) -> None:
    browser = Browser(it.fleet.world, await it.question({"a": "token"}))
    page, ticket = await browser.shown(token)
    assert (page.status, ticket) == (401, "")
    assert "not accepted" in words(page)
    assert "www-authenticate" in page.headers


async def test_an_api_key_shows_and_decides_nothing(it: Consenting) -> None:
    browser = Browser(it.fleet.world, await it.question({"a": "key"}))
    page, ticket = await browser.shown(it.fleet.world.tokens["tenant_admin"])
    assert (page.status, ticket) == (403, "")
    assert '"key"' not in words(page)


async def test_another_user_sees_what_is_there_for_nobody(it: Consenting) -> None:
    token = await it.sign_in("tenant_user")
    replies = [
        await Browser(it.fleet.world, approval_id).submit(token=token)
        for approval_id in (await it.question({"a": "hers"}), "apr_" + "0" * 26)
    ]
    assert {reply.status for reply in replies} == {404}
    assert replies[0].content == replies[1].content


async def test_a_ticket_serves_its_own_question_only(it: Consenting) -> None:
    first = Browser(it.fleet.world, await it.question({"a": "one"}))
    second_id = await it.question({"a": "two"})
    _, ticket = await first.shown(it.token)
    second = Browser(it.fleet.world, second_id)
    reply = await second.submit(ticket=ticket, decision="approve")
    assert (reply.status, "too old" in words(reply)) == (409, True)
    shown = await it.person().get(f"{APPROVALS}/{second_id}")
    assert shown.json["data"]["state"] == "pending"


@pytest.mark.parametrize(
    "fields",
    [
        {"ticket": "", "decision": "approve"},
        {"ticket": "forged", "decision": "approve"},
        {"ticket": "kept", "decision": "maybe"},
        {"ticket": "kept"},
    ],
)
async def test_a_malformed_decision_decides_nothing(it: Consenting, fields: dict[str, str]) -> None:
    approval_id = await it.question({"a": "malformed"})
    browser = Browser(it.fleet.world, approval_id)
    _, ticket = await browser.shown(it.token)
    given = {**fields, "ticket": ticket if fields["ticket"] == "kept" else fields["ticket"]}
    reply = await browser.submit(**given)
    assert reply.status in (401, 409)
    shown = await it.person().get(f"{APPROVALS}/{approval_id}")
    assert shown.json["data"]["state"] == "pending"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_cannot_send_the_form(it: Consenting, site: str) -> None:
    approval_id = await it.question({"a": "site"})
    browser = Browser(it.fleet.world, approval_id)
    _, ticket = await browser.shown(it.token)
    reply = await browser.submit({"sec-fetch-site": site}, ticket=ticket, decision="approve")
    assert reply.status == 403
    shown = await it.person().get(f"{APPROVALS}/{approval_id}")
    assert shown.json["data"]["state"] == "pending"


async def test_a_ticket_ends_with_the_question(it: Consenting) -> None:
    approval_id = await it.question({"a": "over"})
    browser = Browser(it.fleet.world, approval_id)
    _, ticket = await browser.shown(it.token)
    await it.fleet.registry.execute(
        "UPDATE remote_approvals SET expires_at = now() WHERE id = $1", approval_id
    )
    reply = await browser.submit(ticket=ticket, decision="approve")
    assert reply.status == 409
    page, ticket = await browser.shown(it.token)
    assert "time has run out" in words(page)
    stale = await browser.submit(ticket=ticket or "x", decision="approve")
    assert stale.status == 409


async def test_only_a_small_form_is_read(it: Consenting) -> None:
    browser = Browser(it.fleet.world, "apr_x")
    assert (await browser.submit(token="x" * 40_000)).status == 413
    json = {"content-type": "application/json"}
    assert (await browser.submit(json, token="x")).status == 415


async def test_without_a_key_there_is_no_page_to_decide_on(world: World) -> None:
    minted = await world.control("POST", "/tokens", {"login": SEED_LOGINS["tenant_admin"]})
    reply = await Browser(world, "apr_x").submit(token=minted["token"])
    assert (reply.status, "registry of remote servers is off" in words(reply)) == (503, True)
