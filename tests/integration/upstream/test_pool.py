"""Sessions are shared within one user, bounded, restarted once and closed with DELETE."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.errors import GatewayError
from scaimcp.outbound import GuardedHttp
from scaimcp.upstream.errors import UpstreamError
from scaimcp.upstream.opening import Opening
from scaimcp.upstream.pool import CALLS_PER_SESSION, SessionKey, SessionPool
from scaimcp.upstream.request import Ask, Handshake, Target, call_tool
from tests.integration.rawserver import RawServer, Writer, eventually, reply, serve_raw
from tests.integration.upstream.support import guarded, opener, opening, sdk, target

CALL = msgspec.structs.replace(call_tool("add", b"{}"), seconds=5.0)


class Upstream:
    """A server of the handshake era that the test drives."""

    def __init__(self, raw: RawServer) -> None:
        self.raw = raw
        self.url = f"{raw.url}/mcp"
        self.has_sessions = True
        self.sessions: set[str] = set()
        self.deleted: list[str] = []
        self.calls: list[str | None] = []
        self.forgets_at_once = False
        self.refusal: tuple[int, Any] | None = None
        self.hangs_from: int | None = None
        self._played = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._names = (f"s{at}" for at in itertools.count(1))
        raw.default = self.play

    async def play(self, writer: Writer) -> None:
        # Plays start in the order in which their requests came.
        request = self.raw.seen[self._played]
        self._played += 1
        session = request.headers.get("mcp-session-id")
        if request.method == "DELETE":
            assert session is not None
            self.deleted.append(session)
            self.sessions.discard(session)
            await reply(200)(writer)
            return
        message = msgspec.json.decode(request.body)
        if "id" not in message:
            await reply(202)(writer)
            return
        if message["method"] == "initialize":
            await self._open(writer, message)
            return
        self.calls.append(session)
        await self.go_on.wait()
        if self.hangs_from is not None and len(self.calls) >= self.hangs_from:
            await asyncio.Event().wait()
        if self.has_sessions and (session not in self.sessions or self.forgets_at_once):
            await reply(404)(writer)
            return
        await reply(200, {"id": message["id"], "result": {"session": session}})(writer)

    async def _open(self, writer: Writer, message: Any) -> None:
        if self.refusal is not None:
            await reply(*self.refusal)(writer)
            return
        lines: list[str] = []
        if self.has_sessions:
            name = next(self._names)
            self.sessions.add(name)
            lines = [f"Mcp-Session-Id: {name}"]
        result = {"protocolVersion": "2025-11-25", "capabilities": {}}
        await reply(200, {"id": message["id"], "result": result}, *lines)(writer)


class World:
    def __init__(self, http: GuardedHttp, upstream: Upstream) -> None:
        self.http = http
        self.upstream = upstream
        self.handshakes: list[Handshake] = []

    def opening(self, **more: Any) -> Opening:
        return opening(self.upstream.url, era="legacy", told=self.handshakes.append, **more)

    @asynccontextmanager
    async def pool(self, **more: Any) -> AsyncIterator[SessionPool]:
        pool = SessionPool(self.http.session, **more)
        try:
            yield pool
        finally:
            await pool.aclose()
            assert len(pool) == 0
            assert pool._entries == {}

    async def call(self, pool: SessionPool, user: str = "ann", **more: Any) -> str | None:
        """Call as `user` and return the session that served."""
        key = SessionKey("rs_1", 1, 1, user, **more)
        there = target(self.upstream.url)
        result = await pool.request(key, self.opening(), there, CALL)
        session: str | None = msgspec.json.decode(result)["session"]
        return session

    async def refused(self, call: Awaitable[Any]) -> UpstreamError:
        with pytest.raises(UpstreamError) as caught:
            await call
        return caught.value


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    async with serve_raw() as raw, guarded() as http:
        yield World(http, Upstream(raw))


async def test_a_session_serves_one_user_again_and_again(world: World) -> None:
    async with world.pool() as pool:
        assert [await world.call(pool) for _ in range(3)] == ["s1"] * 3
        assert await world.call(pool, "bob") == "s2"
        assert await world.call(pool) == "s1"
        assert (len(pool), pool.busy) == (2, 0)
    assert sorted(world.upstream.deleted) == ["s1", "s2"]
    assert [handshake.session_id for handshake in world.handshakes] == ["s1", "s2"]


async def test_without_a_session_id_a_session_serves_everybody(world: World) -> None:
    world.upstream.has_sessions = False
    async with world.pool() as pool:
        await world.call(pool)
        await world.call(pool, "bob")
        assert len(pool) == 1
    assert world.upstream.deleted == []


async def test_with_a_forwarded_user_no_session_is_shared(world: World) -> None:
    world.upstream.has_sessions = False
    async with world.pool() as pool:
        await world.call(pool, is_per_user=True)
        await world.call(pool, "bob", is_per_user=True)
        await world.call(pool, is_per_user=True)
        assert len(pool) == 2


async def test_a_new_version_of_credential_or_configuration_has_new_sessions(
    world: World,
) -> None:
    async with world.pool() as pool:
        for versions in ((1, 1), (2, 1), (1, 2)):
            key = SessionKey("rs_1", *versions, "ann")
            await pool.request(key, world.opening(), target(world.upstream.url), CALL)
        assert len(pool) == 3


async def test_calls_at_once_share_a_session_up_to_eight(world: World) -> None:
    world.upstream.go_on.clear()
    async with world.pool() as pool, asyncio.TaskGroup() as tasks:
        for _ in range(CALLS_PER_SESSION + 1):
            tasks.create_task(world.call(pool))
        await eventually(lambda: len(world.upstream.calls) == CALLS_PER_SESSION + 1)
        assert len(pool) == pool.busy == 2
        assert sorted(map(str, world.upstream.calls)) == ["s1"] * CALLS_PER_SESSION + ["s2"]
        world.upstream.go_on.set()


@pytest.mark.row(57)
@pytest.mark.invariant("I6")
async def test_an_unknown_session_is_replaced_once_and_unseen(world: World) -> None:
    async with world.pool() as pool:
        assert await world.call(pool) == "s1"
        world.upstream.sessions.clear()
        assert await world.call(pool) == "s2"
        assert world.upstream.calls == ["s1", "s1", "s2"]


@pytest.mark.row(57)
@pytest.mark.invariant("I6")
async def test_a_server_that_forgets_at_once_is_a_protocol_error(world: World) -> None:
    world.upstream.forgets_at_once = True
    async with world.pool() as pool:
        error = await world.refused(world.call(pool))
        assert (error.code, error.message) == (
            "ProtocolError",
            "The server forgets its sessions at once.",
        )
    assert len(world.upstream.calls) == 2


async def test_the_second_try_has_what_is_left_of_the_deadline(world: World) -> None:
    async with world.pool() as pool:
        await world.call(pool)
        world.upstream.sessions.clear()
        world.upstream.hangs_from = 3
        key = SessionKey("rs_1", 1, 1, "ann")
        ask = msgspec.structs.replace(CALL, seconds=0.2)
        call = pool.request(key, world.opening(), target(world.upstream.url), ask)
        assert (await world.refused(call)).code == "TimeoutError"
        assert world.upstream.calls == ["s1", "s1", "s2"]


async def test_a_full_pool_closes_the_session_that_was_idle_longest(world: World) -> None:
    async with world.pool(most=2) as pool:
        await world.call(pool, "ann")
        await world.call(pool, "bob")
        await world.call(pool, "ann")
        assert await world.call(pool, "eve") == "s3"
        assert world.upstream.deleted == ["s2"]
        assert len(pool) == 2


async def test_a_pool_without_idle_sessions_is_exhausted(world: World) -> None:
    world.upstream.go_on.clear()
    async with world.pool(most=1, wait_seconds=0.05) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(world.call(pool))
        await eventually(lambda: len(world.upstream.calls) == 1)
        error = await world.refused(world.call(pool, "bob"))
        assert (error.code, error.was_sent) == ("PoolExhaustedError", False)
        world.upstream.go_on.set()


async def test_a_call_that_waits_gets_the_place_that_becomes_free(world: World) -> None:
    world.upstream.go_on.clear()
    async with world.pool(most=1) as pool, asyncio.TaskGroup() as tasks:
        tasks.create_task(world.call(pool))
        await eventually(lambda: len(world.upstream.calls) == 1)
        waiting = tasks.create_task(world.call(pool, "bob"))
        await eventually(lambda: bool(pool._waiting))
        world.upstream.go_on.set()
        assert await waiting == "s2"


async def test_an_idle_session_is_closed(world: World) -> None:
    async with world.pool(idle_seconds=0.05) as pool:
        await world.call(pool)
        await eventually(lambda: len(pool) == 0)
        assert world.upstream.deleted == ["s1"]


async def test_an_old_session_takes_no_more_calls_and_ends_with_its_last(world: World) -> None:
    async with world.pool(age_seconds=0.1) as pool, asyncio.TaskGroup() as tasks:
        await world.call(pool)
        world.upstream.go_on.clear()
        running = tasks.create_task(world.call(pool))
        await eventually(lambda: any(e.is_retired for e in pool._owners.values()))
        assert world.upstream.deleted == []
        other = tasks.create_task(world.call(pool))
        await eventually(lambda: world.upstream.calls[-1] == "s2")
        world.upstream.go_on.set()
        assert [await running, await other] == ["s1", "s2"]
        await eventually(lambda: "s1" in world.upstream.deleted)


async def test_closing_lets_running_calls_end(world: World) -> None:
    world.upstream.go_on.clear()
    async with world.pool() as pool, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.call(pool))
        await eventually(lambda: len(world.upstream.calls) == 1)
        closing = tasks.create_task(pool.close("rs_1"))
        await eventually(lambda: all(e.is_closing for e in pool._owners.values()))
        world.upstream.go_on.set()
        assert await running == "s1"
        await closing
        assert world.upstream.deleted == ["s1"]


async def test_closing_one_server_leaves_the_others(world: World) -> None:
    async with world.pool() as pool:
        await world.call(pool)
        await pool.close("rs_2")
        assert len(pool) == 1
        await pool.close("rs_1")
        assert len(pool) == 0


async def test_a_closed_pool_opens_nothing(world: World) -> None:
    async with world.pool() as pool:
        await pool.aclose()
        assert (await world.refused(world.call(pool))).code == "PoolExhaustedError"


async def test_a_failed_opening_fails_all_who_wait_for_it_and_is_tried_again(
    world: World,
) -> None:
    world.upstream.refusal = (401, b"")
    async with world.pool() as pool:
        calls = [world.refused(world.call(pool)) for _ in range(3)]
        codes = {error.code for error in await asyncio.gather(*calls)}
        assert codes == {"AuthenticationError"}
        assert world.upstream.raw.seen[-1].method == "POST"
        assert len(world.upstream.raw.seen) == 1
        world.upstream.refusal = None
        assert await world.call(pool) == "s1"


async def test_an_opening_that_hangs_costs_a_call_its_deadline_only(world: World) -> None:
    async def hang(writer: Writer) -> None:
        await asyncio.Event().wait()

    world.upstream.raw.plays = [hang]
    key = SessionKey("rs_1", 1, 1, "ann")
    async with world.pool() as pool:
        ask = Ask("tools/call", seconds=0.05)
        there = target(world.upstream.url)
        call = pool.request(key, world.opening(seconds=0.3), there, ask)
        assert (await world.refused(call)).code == "TimeoutError"
        await eventually(lambda: len(pool) == 0)


async def test_a_credential_that_cannot_be_opened_fails_the_call(world: World) -> None:
    def broken() -> Target:
        raise GatewayError("SCAILINK_KEY_UNAVAILABLE", "The key is missing.")

    key = SessionKey("rs_1", 1, 1, "ann")
    async with world.pool() as pool:
        with pytest.raises(GatewayError) as caught:
            await pool.request(key, Opening(broken, era="legacy"), target(world.upstream.url), CALL)
        assert caught.value.code == "SCAILINK_KEY_UNAVAILABLE"


async def test_a_session_whose_owner_fails_unexpectedly_does_not_hang_its_users(
    world: World,
) -> None:
    def broken(_: Handshake) -> None:
        raise ZeroDivisionError

    errors: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    key = SessionKey("rs_1", 1, 1, "ann")
    one = Opening(opener(world.upstream.url), era="legacy", told=broken)
    async with world.pool() as pool:
        call = pool.request(key, one, target(world.upstream.url), CALL)
        assert (await world.refused(call)).code == "ConnectError"
        await eventually(lambda: len(pool) == 0)
    asyncio.get_running_loop().set_exception_handler(None)


@pytest.mark.parametrize("era", ["legacy", "sse", "both"])
async def test_real_servers_of_every_kind_are_pooled(era: str) -> None:
    async with sdk(era) as fleet, guarded() as http, AsyncExitStack() as stack:
        pool = SessionPool(http.session)
        stack.push_async_callback(pool.aclose)
        one = opening(fleet.url, transport="sse" if era == "sse" else "streamable_http")
        ask = call_tool("add", b'{"a":1,"b":2}')
        for user in ("ann", "bob", "ann"):
            key = SessionKey("rs_1", 1, 1, user)
            result = await pool.request(key, one, target(fleet.url), ask)
            assert b'"result":3' in bytes(result)
        assert len(pool) == (1 if era == "both" else 2)
