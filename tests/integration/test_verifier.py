"""Bearers are confirmed by the platform and remembered briefly. Spec: scaigrid 2."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.auth import verifier as module
from scaimcp.auth.verifier import Verifier, VerifierPolicy
from scaimcp.errors import PlatformFailure, RequestRefused
from scaimcp.outbound import open_http
from scaimcp.scaigrid.client import PlatformClient, Trace
from scaimcp.telemetry import metrics
from scaimcp.types import Caller
from tests.integration.rawserver import (
    Clock,
    Play,
    RawServer,
    Writer,
    error,
    eventually,
    raw,
    reply,
    reset,
    serve_raw,
    waiting,
)

KEY = "sgk_0123456789abcdefghijklmnopqrstuvwxyz"
OTHER = "sgk_zyxwvutsrqponmlkjihgfedcba9876543210"
TRACE = Trace("req_1")
WALL = 1_800_000_000.0
METADATA = "https://mcp.example/.well-known/oauth-protected-resource/mcp"


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def me(**changes: Any) -> Play:
    data = {
        "user": {"id": "usr_1", "status": "active"},
        "tenant": {"id": "tnt_1", "slug": "acme", "status": "active"},
        "roles": ["tenant_user"],
        "permissions": ["models:list"],
        "module_permissions": [],
        **changes,
    }
    return reply(200, {"status": "ok", "data": data})


def jwt(seconds: float, **claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(value)).rstrip(b"=").decode()

    return f"{part({'alg': 'RS256'})}.{part({'exp': WALL + seconds, **claims})}.c2ln"


@dataclass
class Desk:
    """A verifier, its platform, its clocks."""

    verifier: Verifier
    server: RawServer
    monotonic: Clock
    wall: Clock

    @property
    def asked(self) -> int:
        return len(self.server.seen)

    def passes(self, seconds: float) -> None:
        self.monotonic.now += seconds
        self.wall.now += seconds

    async def verify(self, token: str = KEY, max_age: float | None = None) -> Caller:
        if max_age is None:
            return await self.verifier.verify(token, TRACE)
        return await self.verifier.confirm(token, TRACE, max_age=max_age)

    async def refused(self, token: str = KEY, max_age: float | None = None) -> RequestRefused:
        with pytest.raises(RequestRefused) as caught:
            await self.verify(token, max_age)
        assert token not in repr(caught.value.__dict__) + str(caught.value)
        return caught.value


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as opened:
        yield opened


class open_desk:  # noqa: N801 - used like a function
    """Open a desk with a policy of its own."""

    def __init__(self, **policy: Any) -> None:
        self._policy = VerifierPolicy("https://mcp.example", **policy)

    async def __aenter__(self) -> Desk:
        self._serving = serve_raw()
        self._http = open_http("scaimcp/test")
        server = await self._serving.__aenter__()
        server.default = me()
        monotonic, wall = Clock(), Clock(WALL)
        platform = PlatformClient(await self._http.__aenter__(), server.url, monotonic=monotonic)
        self._desk = Desk(
            Verifier(platform, self._policy, monotonic=monotonic, wall=wall),
            server,
            monotonic,
            wall,
        )
        return self._desk

    async def __aexit__(self, *_: object) -> None:
        await self._desk.verifier.aclose()
        await self._http.__aexit__(None, None, None)
        await self._serving.__aexit__(None, None, None)


# --- acceptance and its life ------------------------------------------------------------------


async def test_the_platform_accepts_and_the_answer_is_remembered(desk: Desk) -> None:
    caller = await desk.verify()
    assert (caller.user_id, caller.tenant_id, caller.key) == ("usr_1", "tnt_1", digest(KEY))
    assert (caller.is_stale, caller.confirmed_at) == (False, 1_000.0)
    seen = desk.server.seen[0]
    assert (seen.method, seen.target) == ("GET", "/v1/me")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    desk.passes(29.9)
    assert await desk.verify() is caller
    assert desk.verifier.remembered(KEY) is caller
    assert desk.asked == 1
    desk.passes(0.1)
    assert desk.verifier.remembered(KEY) is None
    assert await desk.verify() is not caller
    assert desk.asked == 2


async def test_the_life_of_a_confirmation_is_a_setting() -> None:
    async with open_desk(cache_seconds=5.0) as desk:
        await desk.verify()
        desk.passes(4.9)
        await desk.verify()
        assert desk.asked == 1
        desk.passes(0.2)
        await desk.verify()
        assert desk.asked == 2


async def test_the_age_counts_from_the_question(desk: Desk) -> None:
    async def slow(writer: Writer) -> None:
        desk.passes(20)
        await me()(writer)

    desk.server.plays = [slow]
    assert (await desk.verify()).confirmed_at == 1_000.0
    desk.passes(9.9)
    assert desk.verifier.remembered(KEY) is not None
    desk.passes(0.1)
    assert desk.verifier.remembered(KEY) is None


async def test_a_caller_may_want_a_younger_confirmation(desk: Desk) -> None:
    first = await desk.verify()
    desk.passes(4)
    assert await desk.verify(max_age=5) is first
    desk.passes(1)
    second = await desk.verify(max_age=5)
    assert (second is not first, desk.asked) == (True, 2)
    assert desk.verifier.remembered(KEY) is second


async def test_two_bearers_are_two_questions(desk: Desk) -> None:
    await desk.verify(KEY)
    assert desk.verifier.remembered(OTHER) is None
    await desk.verify(OTHER)
    assert desk.asked == 2


async def test_neither_cache_holds_the_bearer(desk: Desk) -> None:
    await desk.verify(KEY)
    desk.server.default = error(401, "AUTH_TOKEN_INVALID")
    await desk.refused(OTHER)
    shown = repr((desk.verifier._callers, desk.verifier._refused, desk.verifier._asking))
    assert KEY not in shown
    assert OTHER not in shown
    assert set(desk.verifier._callers) == {digest(KEY)}


@pytest.mark.parametrize(("seconds", "life"), [(10, 10), (29, 29), (31, 30), (3600, 30)])
async def test_a_confirmation_never_outlives_the_tokens_exp(
    desk: Desk, seconds: float, life: float
) -> None:
    token = jwt(seconds)
    await desk.verify(token)
    desk.passes(life - 0.1)
    assert desk.verifier.remembered(token) is not None
    desk.passes(0.2)
    assert desk.verifier.remembered(token) is None


async def test_nor_the_end_that_the_platform_states(desk: Desk) -> None:
    desk.server.default = me(auth={"expires_at": "2027-01-15T08:00:07Z"})
    await desk.verify()
    desk.passes(6.9)
    assert desk.verifier.remembered(KEY) is not None
    desk.passes(0.2)
    assert desk.verifier.remembered(KEY) is None


async def test_a_token_in_its_last_leeway_is_asked_about_each_time(desk: Desk) -> None:
    token = jwt(-30)
    await desk.verify(token)
    await desk.verify(token)
    assert desk.asked == 2


async def test_ten_thousand_confirmations_are_kept_the_latest_ones(desk: Desk) -> None:
    caller = await desk.verify()
    for number in range(module._ENTRIES):
        desk.verifier._remember(number.to_bytes(32, "big"), caller)
    assert len(desk.verifier._callers) == module._ENTRIES
    assert desk.verifier.remembered(KEY) is None
    for number in range(module._ENTRIES + 3):
        desk.verifier._remember_refusal(number.to_bytes(32, "big"), "AUTH_TOKEN_INVALID")
    assert len(desk.verifier._refused) == module._ENTRIES


async def test_the_role_of_a_confirmed_token_can_fill_absent_lists(desk: Desk) -> None:
    desk.server.default = me(roles=None, permissions=None, module_permissions=None)
    caller = await desk.verify(jwt(600, role="tenant_viewer"))
    assert caller.grants.source == "token_role"
    assert caller.grants.roles == frozenset({"tenant_viewer"})
    assert (await desk.verify(KEY)).grants.source == "unresolved"


@pytest.mark.parametrize("is_open", [True, False])
async def test_the_fallback_is_the_policys(is_open: bool) -> None:
    async with open_desk(fallback_open=is_open) as desk:
        desk.server.default = me(roles=None, permissions=None, module_permissions=None)
        assert (await desk.verify()).grants.fallback_open is is_open


# --- one question at a time -------------------------------------------------------------------


async def test_many_requests_share_one_question(desk: Desk) -> None:
    release = asyncio.Event()
    desk.server.default = waiting(release, me())
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(desk.verify()) for _ in range(50)]
        await eventually(lambda: desk.asked == 1)
        release.set()
    assert len({id(call.result()) for call in calls}) == 1
    assert desk.asked == 1


async def test_many_requests_share_one_refusal(desk: Desk) -> None:
    release = asyncio.Event()
    desk.server.default = waiting(release, error(401, "AUTH_TOKEN_INVALID"))
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(desk.refused()) for _ in range(20)]
        await eventually(lambda: desk.asked == 1)
        release.set()
    assert {call.result().http_status for call in calls} == {401}
    assert desk.asked == 1


async def test_a_request_that_goes_away_takes_nothing_from_the_others(desk: Desk) -> None:
    release = asyncio.Event()
    desk.server.default = waiting(release, me())
    async with asyncio.TaskGroup() as group:
        first = group.create_task(desk.verify())
        await eventually(lambda: desk.asked == 1)
        second = group.create_task(desk.verify())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        release.set()
    assert first.cancelled()
    assert second.result().user_id == "usr_1"
    assert (desk.asked, desk.server.lost) == (1, 0)


async def test_an_answer_that_nobody_waits_for_is_still_remembered(desk: Desk) -> None:
    release = asyncio.Event()
    desk.server.default = waiting(release, me())
    async with asyncio.TaskGroup() as group:
        only = group.create_task(desk.verify())
        await eventually(lambda: desk.asked == 1)
        only.cancel()
    release.set()
    await eventually(lambda: desk.verifier.remembered(KEY) is not None)
    assert not desk.verifier._asking
    assert not desk.verifier._tasks


async def test_a_failure_that_nobody_waits_for_is_no_noise(desk: Desk) -> None:
    release = asyncio.Event()
    desk.server.default = waiting(release, error(500, "INTERNAL_ERROR"))
    async with asyncio.TaskGroup() as group:
        only = group.create_task(desk.verify())
        await eventually(lambda: desk.asked == 1)
        only.cancel()
    release.set()
    await eventually(lambda: not desk.verifier._tasks)


async def test_closing_ends_the_questions_under_way(desk: Desk) -> None:
    desk.server.default = waiting(asyncio.Event(), me())
    async with asyncio.TaskGroup() as group:
        call = group.create_task(desk.verify())
        await eventually(lambda: desk.asked == 1)
        await desk.verifier.aclose()
    assert call.cancelled()
    await eventually(lambda: desk.server.lost == 1)
    assert not desk.verifier._asking


async def test_an_answer_older_than_the_order_to_forget_is_not_remembered(desk: Desk) -> None:
    release = asyncio.Event()
    desk.server.plays = [waiting(release, me())]
    async with asyncio.TaskGroup() as group:
        early = group.create_task(desk.verify())
        await eventually(lambda: desk.asked == 1)
        desk.verifier.forget(digest(KEY))
        desk.server.default = error(401, "SESSION_EXPIRED")
        late = group.create_task(desk.refused())
        await eventually(lambda: desk.asked == 2)
        await late
        release.set()
    assert early.result().user_id == "usr_1"
    assert desk.verifier.remembered(KEY) is None
    assert (await desk.refused()).code == "SESSION_EXPIRED"


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["", "x", "sgk_short", "a.b.c", jwt(-61), "sgk_" + "ä" * 40, "\udcff"]
)
async def test_what_cannot_be_valid_is_refused_without_a_question(desk: Desk, token: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        await desk.verify(token)
    refusal = caught.value
    assert (refusal.http_status, refusal.code) == (401, "AUTH_TOKEN_INVALID")
    assert refusal.challenge is not None
    assert f'resource_metadata="{METADATA}"' in refusal.challenge
    assert desk.asked == 0


async def test_the_audience_counts_where_it_is_set() -> None:
    async with open_desk(audiences=("gateway",)) as desk:
        await desk.verify(jwt(600, aud=["other", "gateway"]))
        assert (await desk.refused(jwt(600, aud="other"))).http_status == 401
        assert desk.asked == 1


@pytest.mark.parametrize(
    ("play", "code"),
    [
        (error(401, "AUTH_TOKEN_INVALID"), "AUTH_TOKEN_INVALID"),
        (error(401, "SESSION_EXPIRED"), "SESSION_EXPIRED"),
        (error(401, "SOMETHING_ELSE"), "SOMETHING_ELSE"),
        (reply(401), "AUTH_TOKEN_INVALID"),
    ],
)
async def test_a_401_is_remembered_for_ten_seconds(desk: Desk, play: Play, code: str) -> None:
    desk.server.default = play
    for _ in range(3):
        refusal = await desk.refused()
        assert (refusal.http_status, refusal.code) == (401, code)
        assert refusal.challenge is not None
        assert 'error="invalid_token"' in refusal.challenge
    assert desk.asked == 1
    desk.passes(9.9)
    await desk.refused()
    assert desk.asked == 1
    desk.passes(0.2)
    desk.server.default = me()
    await desk.verify()
    assert desk.asked == 2
    assert not desk.verifier._refused


async def test_a_revocation_is_seen_within_the_life_of_the_confirmation(desk: Desk) -> None:
    await desk.verify()
    desk.server.default = error(401, "AUTH_TOKEN_INVALID")
    desk.passes(29)
    await desk.verify()
    desk.passes(1)
    assert (await desk.refused()).http_status == 401
    assert not desk.verifier._callers
    desk.server.default = reset()
    desk.passes(10)
    assert (await desk.refused()).http_status == 503


async def test_who_needs_a_fresh_identity_gets_no_old_one(desk: Desk) -> None:
    await desk.verify()
    desk.server.default = reset()
    with pytest.raises(PlatformFailure) as caught:
        await desk.verify(max_age=0.0)
    assert caught.value.code == "PLATFORM_UNAVAILABLE"
    assert (await desk.verify()).user_id == "usr_1"


async def test_forgetting_asks_again_at_once(desk: Desk) -> None:
    await desk.verify()
    desk.verifier.forget(digest(KEY))
    assert desk.verifier.remembered(KEY) is None
    await desk.verify()
    assert desk.asked == 2


@pytest.mark.parametrize(
    "play",
    [
        error(403, "AUTHZ_PERMISSION_DENIED"),
        me(user={"id": "usr_1", "status": "suspended"}),
        me(tenant={"id": "tnt_1", "status": "suspended"}),
    ],
)
async def test_a_403_or_a_suspension_is_a_403_and_ends_what_was_known(
    desk: Desk, play: Play
) -> None:
    await desk.verify()
    desk.server.default = play
    desk.passes(30)
    refusal = await desk.refused()
    assert (refusal.http_status, refusal.code) == (403, "AUTHZ_PERMISSION_DENIED")
    assert refusal.challenge is None
    assert desk.verifier.remembered(KEY) is None
    desk.server.default = reset()
    assert (await desk.refused()).http_status == 503


async def test_a_429_without_a_known_identity_is_a_429(desk: Desk) -> None:
    desk.server.default = error(429, "RATE_LIMITED", retry_after=17)
    refusal = await desk.refused()
    assert (refusal.http_status, refusal.code, refusal.retry_after) == (429, "RATE_LIMITED", 17)
    assert (await desk.refused()).retry_after == 17
    assert desk.asked == 1


async def test_during_a_429_a_recent_identity_still_serves_lists(desk: Desk) -> None:
    await desk.verify()
    desk.passes(30)
    desk.server.default = error(429, "RATE_LIMITED", retry_after=17)
    assert (await desk.verify()).is_stale
    assert desk.asked == 2


@pytest.mark.parametrize(
    "play",
    [
        reply(200, b"<html>", content_type="text/html"),
        reply(200, {"status": "ok", "data": {}}),
        me(tenant=None),
        reply(204),
        reply(302, b"", "Location: /elsewhere"),
        reply(404),
        error(422, "VALIDATION_ERROR"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"),
    ],
)
async def test_an_answer_without_an_identity_is_a_502(desk: Desk, play: Play) -> None:
    desk.server.default = play
    refusal = await desk.refused()
    assert (refusal.http_status, refusal.code) == (502, "PLATFORM_BAD_RESPONSE")
    desk.server.default = me()
    assert (await desk.verify()).user_id == "usr_1"


async def test_a_bad_answer_is_no_outage(desk: Desk) -> None:
    await desk.verify()
    desk.passes(31)
    desk.server.default = reply(200, b"<html>", content_type="text/html")
    assert (await desk.refused()).http_status == 502


# --- outages ----------------------------------------------------------------------------------


OUTAGES = {
    "no answer": reset(),
    "500": error(500, "INTERNAL_ERROR"),
    "502 of a proxy": reply(502),
    "503": error(503, "SERVICE_UNAVAILABLE", retry_after=40),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_without_the_platform_an_unknown_bearer_is_a_503(desk: Desk, name: str) -> None:
    desk.server.default = OUTAGES[name]
    refusal = await desk.refused()
    assert (refusal.http_status, refusal.code) == (503, "PLATFORM_UNAVAILABLE")
    assert refusal.retry_after == 5
    desk.server.default = me()
    assert not (await desk.verify()).is_stale


@pytest.mark.parametrize("name", OUTAGES)
async def test_an_identity_of_the_last_120_seconds_serves_on(desk: Desk, name: str) -> None:
    known = await desk.verify()
    desk.server.default = OUTAGES[name]
    desk.passes(119.9)
    stale = await desk.verify()
    assert (stale.user_id, stale.is_stale) == ("usr_1", True)
    assert stale.confirmed_at == known.confirmed_at
    desk.passes(0.2)
    assert (await desk.refused()).http_status == 503


async def test_an_outage_delays_one_request_and_not_each(desk: Desk) -> None:
    await desk.verify()
    desk.server.default = error(500, "INTERNAL_ERROR")
    desk.passes(40)
    for _ in range(5):
        assert (await desk.verify()).is_stale
    assert desk.asked == 2
    desk.passes(2)
    await desk.verify()
    assert desk.asked == 3


async def test_whoever_needs_a_fresh_identity_still_asks(desk: Desk) -> None:
    await desk.verify()
    desk.server.default = error(500, "INTERNAL_ERROR")
    desk.passes(40)
    await desk.verify()
    with pytest.raises(PlatformFailure):
        await desk.verify(max_age=300)
    assert desk.asked == 3


async def test_after_an_outage_the_identity_is_fresh_again(desk: Desk) -> None:
    await desk.verify()
    desk.server.default = error(500, "INTERNAL_ERROR")
    desk.passes(40)
    assert (await desk.verify()).is_stale
    desk.server.default = me(permissions=["models:use"])
    desk.passes(2)
    fresh = await desk.verify()
    assert not fresh.is_stale
    assert fresh.grants.core == frozenset({"models:use"})


@pytest.mark.parametrize("is_jwt", [True, False])
async def test_no_outage_lengthens_a_tokens_life(desk: Desk, is_jwt: bool) -> None:
    token = jwt(60) if is_jwt else KEY
    desk.server.default = me(auth={"api_key": {"expires_at": "2027-01-15T08:01:00Z"}})
    await desk.verify(token)
    desk.server.default = error(500, "INTERNAL_ERROR")
    desk.passes(59)
    assert (await desk.verify(token)).is_stale
    desk.passes(1.1)
    assert desk.verifier.remembered(token) is None
    assert (await desk.refused(token)).http_status == 503


async def test_a_late_failure_does_not_age_a_newer_confirmation(desk: Desk) -> None:
    await desk.verify()
    desk.passes(31)
    release = asyncio.Event()
    desk.server.plays = [waiting(release, error(500, "INTERNAL_ERROR"))]
    async with asyncio.TaskGroup() as group:
        late = group.create_task(desk.verify())
        await eventually(lambda: desk.asked == 2)
        desk.verifier.forget(digest(KEY))
        newer = await desk.verify()
        release.set()
    assert late.result() is newer
    assert desk.verifier.remembered(KEY) is newer


async def test_a_platform_that_hangs_counts_as_an_outage() -> None:
    async with open_desk(timeout_seconds=0.2) as desk:
        await desk.verify()
        desk.passes(31)
        desk.server.default = waiting(asyncio.Event(), me())
        assert (await desk.verify()).is_stale
        assert (await desk.refused(OTHER)).http_status == 503


# --- what is counted --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("play", "outcome"),
    [
        (me(), "ok"),
        (error(401, "AUTH_TOKEN_INVALID"), "refused"),
        (error(403, "AUTHZ_PERMISSION_DENIED"), "refused"),
        (me(user={"id": "u", "status": "suspended"}), "refused"),
        (reset(), "unavailable"),
        (reply(200, {"data": {}}), "error"),
        (error(429, "RATE_LIMITED"), "error"),
    ],
)
async def test_every_question_is_counted_by_its_outcome(
    desk: Desk, play: Play, outcome: str
) -> None:
    desk.server.default = play
    counter = metrics.IDENTITY_CHECKS.labels(outcome)._value
    before = counter.get()
    if outcome == "ok":
        await desk.verify()
    else:
        await desk.refused()
    assert counter.get() == before + 1
