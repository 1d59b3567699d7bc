"""Rate limits and catalogue notices on a real Valkey."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.redis import OwnCounters, RedisClient, RedisRateLimiter, RedisUnavailable, open_redis
from scaimcp.telemetry import metrics
from scaimcp.types import Allowance, Caller, Grants, Secret
from scaimcp.versions.notices import CHANNEL, Notice, announce, follow
from tests.integration.forwarder import Forwarder, forward
from tests.integration.rawserver import Clock, eventually

DEAD = Secret("redis://:hunter2@127.0.0.1:1/0")


@pytest_asyncio.fixture
async def client(redis_url: str) -> AsyncIterator[RedisClient]:
    async with open_redis(Secret(redis_url)) as opened:
        yield opened


def caller(tenant: str | None = None, user: str | None = None) -> Caller:
    return Caller(
        key=secrets.token_bytes(32),
        user_id=user or f"usr_{secrets.token_hex(4)}",
        tenant_id=f"tnt_{secrets.token_hex(4)}" if tenant is None else tenant,
        tenant_slug="",
        partner_id="",
        grants=Grants(frozenset(), frozenset()),
    )


def key() -> str:
    return f"scaimcp:rate:test:{secrets.token_hex(8)}"


# --- the algorithm ----------------------------------------------------------------------------


async def test_a_burst_passes_and_the_next_one_waits_one_interval(client: RedisClient) -> None:
    name = key()
    for _ in range(3):
        assert (await client.count([name], [10_000_000, 3]))[0] == 0
    which, (micros,) = await client.count([name], [10_000_000, 3])
    assert which == 1
    assert 9_000_000 < micros <= 10_000_000


async def test_a_refusal_counts_nothing(client: RedisClient) -> None:
    name = key()
    await client.count([name], [10_000_000, 1])
    waits = [(await client.count([name], [10_000_000, 1]))[1][0] for _ in range(20)]
    assert waits == sorted(waits, reverse=True)


async def test_places_come_back_one_by_one(client: RedisClient) -> None:
    name, arguments = key(), [200_000, 2]
    assert [(await client.count([name], arguments))[0] for _ in range(2)] == [0, 0]
    passed: list[float] = []

    loop = asyncio.get_running_loop()
    deadline = loop.time() + 5
    while len(passed) < 3 and loop.time() < deadline:
        which, _ = await client.count([name], arguments)
        if which == 0:
            passed.append(loop.time())
        await asyncio.sleep(0.01)
    assert len(passed) == 3
    assert all(0.1 < later - earlier < 1.0 for earlier, later in pairwise(passed))


async def test_an_idle_key_is_forgotten(client: RedisClient) -> None:
    name = key()
    await client.count([name], [60_000_000 // 7, 7])
    left = await client.raw.pttl(name)
    assert 8_000 < left <= 8_573
    for _ in range(6):
        await client.count([name], [60_000_000 // 7, 7])
    assert 59_000 < await client.raw.pttl(name) <= 60_002


async def test_concurrent_requests_never_exceed_the_burst(client: RedisClient) -> None:
    name = key()
    answers = await asyncio.gather(*(client.count([name], [60_000_000, 10]) for _ in range(50)))
    assert sum(which == 0 for which, _ in answers) == 10


async def test_nothing_is_counted_unless_all_limits_admit(client: RedisClient) -> None:
    narrow, wide = key(), key()
    arguments = [60_000_000, 1, 1_000_000, 60]
    assert (await client.count([narrow, wide], arguments))[0] == 0
    before = await client.raw.get(wide)
    which, _ = await client.count([narrow, wide], arguments)
    assert (which, await client.raw.get(wide)) == (1, before)
    which, _ = await client.count([wide, narrow], [1_000_000, 60, 60_000_000, 1])
    assert (which, await client.raw.get(wide)) == (2, before)


async def test_the_script_is_loaded_again_when_the_server_lost_it(client: RedisClient) -> None:
    await client.raw.script_flush()
    assert (await client.count([key()], [1_000_000, 1]))[0] == 0


# --- the limits -------------------------------------------------------------------------------


async def takes(limiter: RedisRateLimiter, who: Caller, most: int) -> int:
    """Return how many requests pass before the first refusal."""
    for number in range(most + 1):
        if await refused(limiter, who):
            return number
    return most + 1


async def refused(limiter: RedisRateLimiter, who: Caller) -> bool:
    allowance = await limiter.take(who)
    return allowance is not None and allowance.is_refused


async def test_a_limit_admits_a_minutes_worth_and_names_the_wait(client: RedisClient) -> None:
    limiter, who = RedisRateLimiter(client, {"token": 4, "user": 0, "tenant": 0}), caller()
    counter = metrics.RATE_LIMITED.labels("token")._value
    before = counter.get()
    assert await takes(limiter, who, 4) == 4
    last = await limiter.take(who)
    assert last is not None
    assert last.is_refused
    assert last.window_seconds in (14, 15)
    assert counter.get() == before + 2


async def test_every_bearer_user_and_tenant_has_its_own_count(client: RedisClient) -> None:
    tokens = RedisRateLimiter(client, {"token": 1})
    users = RedisRateLimiter(client, {"user": 1})
    tenants = RedisRateLimiter(client, {"tenant": 1})
    one = caller("tnt_a", "usr_1")
    for limiter in (tokens, users, tenants):
        assert await takes(limiter, one, 1) == 1
    again = caller("tnt_a", "usr_1")
    assert [await takes(limiter, again, 1) for limiter in (tokens, users, tenants)] == [1, 0, 0]
    colleague = caller("tnt_a", "usr_2")
    assert [await takes(limiter, colleague, 1) for limiter in (users, tenants)] == [1, 0]
    namesake = caller("tnt_b", "usr_1")
    assert [await takes(limiter, namesake, 1) for limiter in (users, tenants)] == [1, 1]


async def test_users_without_a_tenant_do_not_share_one(client: RedisClient) -> None:
    limiter = RedisRateLimiter(client, {"tenant": 1})
    assert await takes(limiter, caller("", "usr_p1"), 1) == 1
    assert await takes(limiter, caller("", "usr_p2"), 1) == 1
    assert await takes(limiter, caller("", "usr_p1"), 1) == 0


async def test_several_limits_hold_at_once_and_the_tightest_is_named(client: RedisClient) -> None:
    limiter = RedisRateLimiter(client, {"token": 2, "user": 3, "tenant": 100})
    user = f"usr_{secrets.token_hex(4)}"
    first, second = caller("tnt_x", user), caller("tnt_x", user)
    counter = metrics.RATE_LIMITED.labels("user")._value
    assert await takes(limiter, first, 2) == 2
    before = counter.get()
    # The refused third request of the first bearer took no place from the user.
    assert await takes(limiter, second, 1) == 1
    assert counter.get() == before + 1


async def test_an_admitted_request_is_told_what_its_nearest_limit_leaves(
    client: RedisClient,
) -> None:
    limiter = RedisRateLimiter(client, {"token": 60, "user": 4, "tenant": 0})
    user = f"usr_{secrets.token_hex(4)}"
    one, other = caller("tnt_y", user), caller("tnt_y", user)
    policy = (("token", 60), ("user", 4))
    assert await limiter.take(one) == Allowance(policy, "user", 3, 15)
    assert await limiter.take(other) == Allowance(policy, "user", 2, 15)
    assert await limiter.take(one) == Allowance(policy, "user", 1, 15)
    assert await limiter.take(one) == Allowance(policy, "user", 0, 15)
    assert await limiter.take(other) == Allowance(policy, "user", 0, 15, is_refused=True)


async def test_keys_name_the_limit_and_hide_the_subject(client: RedisClient) -> None:
    who = caller("tnt_visible\r\n", "usr_visible*")
    await RedisRateLimiter(client, {"token": 5, "user": 5, "tenant": 5}).take(who)
    names = [name.decode() async for name in client.raw.scan_iter("scaimcp:rate:*")]
    assert {name.split(":")[2] for name in names} >= {"token", "user", "tenant"}
    assert not [name for name in names if "visible" in name or who.key.hex() in name]


async def test_without_a_limit_redis_is_not_asked() -> None:
    async with open_redis(DEAD) as dead:
        limiter = RedisRateLimiter(dead, {"token": 0})
        async with asyncio.timeout(0.05):
            assert await limiter.take(caller()) is None


async def test_without_redis_a_process_counts_for_itself_and_nobody_waits_twice() -> None:
    clock, who = Clock(), caller()
    async with open_redis(DEAD) as dead:
        limiter = RedisRateLimiter(dead, {"token": 2, "user": 3}, monotonic=clock)
        assert not await refused(limiter, who)
        async with asyncio.timeout(0.05):
            last = await limiter.take(who)
            assert last is not None
            assert (last.remaining, last.is_refused) == (0, False)
            denied = await limiter.take(who)
            assert denied is not None
            assert (denied.nearest, denied.window_seconds, denied.is_refused) == ("token", 30, True)
            # The refused request took no place from the user; another bearer has the last one.
            other = caller(who.tenant_id, who.user_id)
            assert not await refused(limiter, other)
            assert await refused(limiter, other)
            for _ in range(20):
                assert not await refused(limiter, caller())
        clock.now += 30
        assert not await refused(limiter, who)


def test_counting_here_and_in_redis_is_the_same_and_long_ago_is_forgotten() -> None:
    clock = Clock()
    counters = OwnCounters(clock)
    assert counters.count(["a"], [10_000_000, 2]) == (0, [10_000_000])
    assert counters.count(["a"], [10_000_000, 2]) == (0, [20_000_000])
    assert counters.count(["b", "a"], [1_000_000, 60, 10_000_000, 2]) == (2, [10_000_000])
    assert counters.count(["b"], [1_000_000, 60]) == (0, [1_000_000])
    for at in range(10_100):
        counters.count([f"c{at}"], [1_000_000, 60])
    clock.now += 2
    assert counters.count(["b"], [1_000_000, 60]) == (0, [1_000_000])
    assert len(counters) == 2


async def test_counting_goes_on_when_redis_is_back(redis_url: str) -> None:
    clock, who = Clock(), caller()
    async with forward(redis_url) as line, open_redis(Secret(line.url)) as client:
        limiter = RedisRateLimiter(client, {"token": 1}, monotonic=clock)
        assert not await refused(limiter, who)
        assert await refused(limiter, who)
        await line.cut()
        assert not await refused(limiter, who)
        await line.mend()
        assert await refused(limiter, who)
        clock.now += 2
        assert await refused(limiter, who)


async def test_a_spoilt_key_is_counted_here(client: RedisClient) -> None:
    limiter, who = RedisRateLimiter(client, {"token": 1}), caller()
    await limiter.take(who)
    async for name in client.raw.scan_iter("scaimcp:rate:token:*"):
        await client.raw.set(name, "spoilt")
    assert not await refused(limiter, who)
    assert await refused(limiter, who)


# --- the client -------------------------------------------------------------------------------


async def test_a_ping_reaches_the_server(client: RedisClient) -> None:
    await client.ping()


async def test_an_unreachable_redis_says_nothing_of_its_address() -> None:
    async with open_redis(DEAD) as dead:
        with pytest.raises(RedisUnavailable) as caught:
            await dead.ping()
    error = caught.value
    assert (error.http_status, error.code, error.retry_after) == (503, "SERVICE_UNAVAILABLE", 5)
    assert "hunter2" not in str(error)
    assert "127.0.0.1" not in str(error)


async def test_a_redis_that_hangs_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        async with open_redis(Secret(f"redis://127.0.0.1:{port}/0")) as client:
            async with asyncio.timeout(30):
                with pytest.raises(RedisUnavailable):
                    await client.ping()


# --- notices ----------------------------------------------------------------------------------


class Heard:
    """What a follower was told."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def __call__(self, notice: Notice) -> None:
        self.notices.append(notice)

    def resets(self) -> int:
        return sum(notice.tenant_id == "" for notice in self.notices)


@asynccontextmanager
async def following(client: RedisClient) -> AsyncIterator[Heard]:
    heard = Heard()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow(client, heard))
        yield heard
        task.cancel()


async def test_a_notice_reaches_every_follower(client: RedisClient, redis_url: str) -> None:
    async with (
        open_redis(Secret(redis_url)) as other,
        following(client) as one,
        following(other) as two,
    ):
        await eventually(lambda: one.resets() == two.resets() == 1)
        await announce(client, Notice("tnt_1", 7))
        await eventually(lambda: len(one.notices) == len(two.notices) == 2)
    assert one.notices == two.notices == [Notice(""), Notice("tnt_1", 7)]


@pytest.mark.parametrize("message", [b"", b"x", b"[]", b'{"tenant_id":7}', b"\xff", b"{}"])
async def test_an_unreadable_notice_counts_as_anything_may_have_changed(
    client: RedisClient, message: bytes
) -> None:
    async with following(client) as heard:
        await eventually(lambda: heard.resets() == 1)
        await client.publish(CHANNEL, message)
        await announce(client, Notice("tnt_1"))
        await eventually(lambda: len(heard.notices) == 3)
    assert heard.notices == [Notice(""), Notice(""), Notice("tnt_1", 0)]


async def test_a_broken_subscription_is_renewed_and_tells_so(client: RedisClient) -> None:
    async with following(client) as heard:
        await eventually(lambda: heard.resets() == 1)
        await client.raw.client_kill_filter(_type="pubsub")
        await eventually(lambda: heard.resets() == 2)
        await announce(client, Notice("tnt_1", 1))
        await eventually(lambda: Notice("tnt_1", 1) in heard.notices)


async def test_an_outage_of_redis_is_survived(client: RedisClient, redis_url: str) -> None:
    async with (
        forward(redis_url) as line,
        open_redis(Secret(line.url)) as behind,
        following(behind) as heard,
    ):
        await eventually(lambda: heard.resets() == 1)
        await line.cut()
        await announce(client, Notice("tnt_missed", 1))
        await asyncio.sleep(1.2)  # longer than the library's own tries
        await line.mend()
        await eventually(lambda: heard.resets() >= 2)
        await announce(client, Notice("tnt_1", 2))
        await eventually(lambda: Notice("tnt_1", 2) in heard.notices)
    assert Notice("tnt_missed", 1) not in heard.notices


async def test_following_can_begin_before_redis_is_there(
    client: RedisClient, redis_url: str
) -> None:
    line = Forwarder(redis_url)
    await line.mend()
    await line.cut()
    async with open_redis(Secret(line.url)) as behind, following(behind) as heard:
        await asyncio.sleep(0.3)
        await line.mend()
        await eventually(lambda: heard.resets() == 1)
    await line.cut()


async def test_an_announcement_without_redis_is_not_an_error() -> None:
    async with open_redis(DEAD) as dead:
        await announce(dead, Notice("tnt_1"))


async def test_following_ends_when_it_is_cancelled(client: RedisClient) -> None:
    async with following(client) as heard:
        await eventually(lambda: heard.resets() == 1)
    subscribed: Any = await client.raw.pubsub_numsub(CHANNEL)
    assert subscribed[0][1] == 0


async def test_following_ends_whenever_it_is_cancelled(client: RedisClient) -> None:
    for step in range(150):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(follow(client, Heard()))
            for _ in range(step % 30):
                await asyncio.sleep(0)
            task.cancel()
            async with asyncio.timeout(30):
                await asyncio.wait([task])
        assert task.cancelled()
