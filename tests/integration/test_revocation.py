"""How long the gateway believes a bearer: revocation, expiry, outages past the cache life."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from tests.world import Client, World, start_world

CACHE_SECONDS = 5


@pytest_asyncio.fixture(scope="module")
async def hasty(database_url: str, redis_url: str) -> AsyncIterator[World]:
    """A gateway with the shortest cache life there is."""
    async with start_world(database_url, redis_url, AUTH_CACHE_SECONDS=str(CACHE_SECONDS)) as world:
        yield world


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until `condition` holds; in vain for less than the usual life of the cache."""
    async with asyncio.timeout(25):
        while not await condition():  # noqa: ASYNC110 - a condition has no event
            await asyncio.sleep(0.05)


async def minted(world: World, **claims: object) -> Client:
    """Return a client with a JWT of the tenant's user."""
    token = await world.control("POST", "/tokens", {"login": "user@acme.test", **claims})
    return world.with_token(token["token"])


async def test_a_revoked_key_is_refused_at_its_next_call_and_within_the_cache_life_for_lists(
    hasty: World,
) -> None:
    client = hasty.as_("custom_role")
    assert await client.names()
    await hasty.control("POST", "/tokens/revoke", {"token": client.token})

    async def is_refused() -> bool:
        return (await client.rpc("tools/list")).status == 401

    await until(is_refused)
    reply = await client.rpc("tools/call", {"name": "models_list", "arguments": {}})
    assert reply.status == 401
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]


async def test_a_call_with_a_revoked_key_drops_what_was_known_at_once(hasty: World) -> None:
    client = hasty.as_("scoped_key")
    assert await client.names()
    await hasty.control("POST", "/tokens/revoke", {"token": client.token})
    assert (await client.call("models_list")).reply.status == 401
    assert (await client.rpc("tools/list")).status == 401
    assert (await client.get("/v1/modules/scaimcp/explain")).status == 401


async def test_a_refused_bearer_is_not_asked_about_again_and_again(hasty: World) -> None:
    stranger = hasty.with_token("sgk_" + "f" * 40)
    await hasty.control("DELETE", "/calls")
    for _ in range(5):
        assert (await stranger.rpc("tools/list")).status == 401
    assert len(await hasty.calls("/v1/me")) == 1


async def test_what_is_no_bearer_of_the_platform_never_reaches_it(hasty: World) -> None:
    await hasty.control("DELETE", "/calls")
    for token in ("short", "sgk_short", "sgk_" + "!" * 40, "a.b", "a.b.c", "x" * 600):
        reply = await hasty.with_token(token).rpc("tools/list")
        assert reply.status == 401
        assert token not in reply.content.decode()
    assert await hasty.calls() == []


async def test_a_token_is_believed_no_longer_than_it_lives(hasty: World) -> None:
    client = await minted(hasty, ttl=2)
    assert await client.names()

    async def is_refused() -> bool:
        return (await client.rpc("tools/list")).status == 401

    await until(is_refused)


async def test_a_token_for_another_audience_is_good_and_a_forged_one_is_not(hasty: World) -> None:
    assert await (await minted(hasty, audience="some-other-client")).names()
    forged = await minted(hasty, bad_signature=True)
    assert (await forged.rpc("tools/list")).status == 401


async def test_an_identity_serves_lists_through_an_outage_longer_than_its_cache_life(
    hasty: World,
) -> None:
    client = hasty.as_("tenant_user")
    before = await client.names()
    await hasty.control("DELETE", "/calls")
    await hasty.fault({"drop": "before_headers"})
    try:

        async def has_asked() -> bool:
            assert await client.names() == before
            return bool(await hasty.calls("/v1/me"))

        await until(has_asked)
        assert (await client.call("models_list")).code == "PLATFORM_UNAVAILABLE"
    finally:
        await hasty.fault()
    assert (await client.call("models_list")).value["items"]
