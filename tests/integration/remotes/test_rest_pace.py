"""How often servers may be changed, with Redis and without. Spec: remote-servers 1, 12."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from scaimcp.errors import RequestRefused
from scaimcp.ids import new_id
from scaimcp.redis import RedisClient, open_redis
from scaimcp.remotes.registry.pacing import REFRESHES, TENANT_REFRESHES, WRITES, Limit, Pace
from scaimcp.types import Secret
from tests.fakes.callers import Clock
from tests.world import bound

TWO = Limit("tests_two", 2)
MANY = Limit("tests_many", 50)


@pytest_asyncio.fixture(scope="module", params=["redis", "no redis"])
async def client(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[RedisClient]:
    place = bound()
    nowhere = f"redis://127.0.0.1:{place.getsockname()[1]}/0"
    url = redis_url if request.param == "redis" else nowhere
    async with open_redis(Secret(url)) as opened:
        yield opened
    place.close()


async def refused(pace: Pace, *asked: tuple[Limit, str]) -> int:
    with pytest.raises(RequestRefused) as caught:
        await pace.take(*asked)
    assert (caught.value.code, caught.value.http_status) == ("RATE_LIMITED", 429)
    assert caught.value.retry_after is not None
    return caught.value.retry_after


async def test_each_subject_has_its_own_count(client: RedisClient) -> None:
    pace, one, other = Pace(client, monotonic=Clock()), new_id("usr_"), new_id("usr_")
    for _ in range(2):
        await pace.take((TWO, one))
    assert 1 <= await refused(pace, (TWO, one)) <= 30
    await pace.take((TWO, other))


async def test_what_one_limit_refuses_no_limit_counts(client: RedisClient) -> None:
    pace, one, tenant = Pace(client, monotonic=Clock()), new_id("rs_"), new_id("ten_")
    for _ in range(2):
        await pace.take((MANY, tenant), (TWO, one))
    for _ in range(60):
        await refused(pace, (MANY, tenant), (TWO, one))
    for _ in range(48):
        await pace.take((MANY, tenant))
    await refused(pace, (MANY, tenant))


async def test_without_redis_places_come_back_one_by_one(redis_url: str) -> None:
    place, clock = bound(), Clock()
    url = f"redis://127.0.0.1:{place.getsockname()[1]}/0"
    async with open_redis(Secret(url)) as nowhere:
        pace, one = Pace(nowhere, monotonic=clock), new_id("usr_")
        for _ in range(2):
            await pace.take((TWO, one))
        assert await refused(pace, (TWO, one)) == 30
        clock.forward(30.5)
        await pace.take((TWO, one))
        await refused(pace, (TWO, one))
    place.close()


def test_the_limits_are_the_contracts() -> None:
    assert [one.per_minute for one in (WRITES, REFRESHES, TENANT_REFRESHES)] == [30, 6, 60]
