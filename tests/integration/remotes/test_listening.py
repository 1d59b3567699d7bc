"""Who listens to whom, when, and what follows: news of servers outside calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest
import pytest_asyncio
import redis

from scaimcp.queue import QUEUE
from scaimcp.redis import open_redis
from scaimcp.remotes.enumerations import AuthType, Transport
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.watching.listening import Listeners, ListenRules, open_listening
from scaimcp.remotes.watching.sharing import LISTENERS
from scaimcp.types import Secret
from tests.integration.announcing import CHANGED, DECLARED, HEAD, Player, announcing, event
from tests.integration.forwarder import forward
from tests.integration.rawserver import Writer, eventually, reply, serve_raw, waiting
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.servers import Registry

FAST = ListenRules(
    look=0.1, present=10.0, stable=0.3, pause=(0.02, 0.1), stagger=0.0, away=60.0, unheard=60.0,
    news=0.2,
)  # fmt: skip
NEVER = msgspec.structs.replace(FAST, look=3_600.0)


@pytest.fixture(autouse=True)
def empty_queue(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


def queued(redis_url: str) -> set[str]:
    """Ids of the jobs that wait."""
    with redis.Redis.from_url(redis_url) as client:
        return {job.decode() for job in client.zrange(QUEUE, 0, -1)}


@pytest_asyncio.fixture
async def player() -> AsyncIterator[Player]:
    async with serve_raw() as raw:
        yield Player(raw)


@pytest_asyncio.fixture
async def registry(registry_for: Opened, player: Player) -> AsyncIterator[Registry]:
    async with registry_for(player.url) as opened:
        await opened.execute("DELETE FROM remote_servers")
        yield opened


@pytest_asyncio.fixture
async def row(registry: Registry, player: Player) -> ServerRow:
    """A server of the handshake era that announces changes, just discovered."""
    found = await registry.put(player.url)
    await registry.discover(found)
    player.raw.seen.clear()
    player.posts.clear()
    return found


@asynccontextmanager
async def listening(
    registry: Registry, rules: ListenRules = FAST, redis_url: str = ""
) -> AsyncIterator[Listeners]:
    """Listen as a worker does."""
    url = Secret(redis_url) if redis_url else registry.settings.redis_url
    assert url
    async with (
        open_redis(url) as client,
        open_listening(registry.parts, registry.database, client, rules) as listeners,
    ):
        yield listeners


async def looked(listeners: Listeners) -> None:
    """Wait until the worker has taken in everything there is."""
    looks = listeners.looks
    await eventually(lambda: listeners.looks >= looks + 2)


async def servers(registry: Registry, player: Player, count: int) -> set[str]:
    """Register servers that announce changes; return their ids."""
    rows = [await registry.put(player.url, f"s{number}") for number in range(count)]
    caps = msgspec.json.encode(DECLARED).decode()
    await registry.execute(
        "UPDATE remote_server_state SET status = 'active', last_health_status = 'ok',"
        " last_discovery_at = now(),"
        f" protocol_era = 'legacy', upstream_capabilities = '{caps}'"
    )
    return {row.id for row in rows}


# --- what is heard ----------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["modern", "legacy", "sse"])
async def test_news_of_a_server_of_the_sdk_asks_for_a_discovery(
    registry_for: Opened, redis_url: str, era: str
) -> None:
    async with announcing(era) as server, registry_for(server.url) as registry:
        await registry.execute("DELETE FROM remote_servers")
        transport = Transport.SSE if era == "sse" else Transport.STREAMABLE_HTTP
        row = await registry.put(server.url, transport=transport)
        await registry.discover(row)
        assert await registry.names(row) == ["search"]
        async with listening(registry) as listeners:
            await eventually(lambda: listeners.open == {row.id})
            assert queued(redis_url) == set()
            server.add("more")
            await server.announce(0 if era == "modern" else 2)
            await eventually(lambda: queued(redis_url) == {f"discover-now:{row.id}"})
        await registry.discover(row)
        assert sorted(await registry.names(row)) == ["more", "search"]


async def test_a_flood_of_news_is_handed_over_once_in_a_time(
    registry: Registry, redis_url: str, player: Player, row: ServerRow
) -> None:
    async with listening(registry, msgspec.structs.replace(FAST, news=3_600.0)) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        await player.say(event(CHANGED))
        await eventually(lambda: queued(redis_url) == {f"discover-now:{row.id}"})
        empty(redis_url)
        await player.say(
            event(CHANGED) * 500 + event({"jsonrpc": "2.0", "id": 1, "method": "ping"})
        )
        await eventually(lambda: any(one.get("id") == 1 for one in player.posts))
        assert queued(redis_url) == set()
    async with listening(registry) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        await player.say(event(CHANGED))
        await eventually(lambda: queued(redis_url) != set())
        empty(redis_url)
        # Later news is not lost: it waits for its time.
        await player.say(event(CHANGED))
        await eventually(lambda: queued(redis_url) != set())


def empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


async def test_failures_write_no_row(registry: Registry, player: Player, row: ServerRow) -> None:
    before = (await registry.seen(row)).state
    player.get = reply(500)
    async with listening(registry) as listeners:
        await eventually(lambda: player.gets >= 4)
        assert listeners.heard == {row.id}
        assert listeners.open == frozenset()
    after = (await registry.seen(row)).state
    assert msgspec.structs.replace(after, read_at=before.read_at) == before
    assert await registry.version() == 1


# --- who is heard -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        "status = 'error'",
        "status = 'disabled'",
        "status = 'pending_approval'",
        "upstream_capabilities = NULL",
        "upstream_capabilities = '{}'",
        "upstream_capabilities = '{\"tools\":{}}'",
        "upstream_capabilities = '{\"tools\":true}'",
        'upstream_capabilities = \'{"tools":{"listChanged":false}}\'',
        'upstream_capabilities = \'{"tools":{"listChanged":"true"}}\'',
        'upstream_capabilities = \'{"logging":{"listChanged":true}}\'',
    ],
)
async def test_only_active_servers_that_announce_changes_are_heard(
    registry: Registry, player: Player, row: ServerRow, state: str
) -> None:
    async with listening(registry) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        await registry.set_state(row, state)
        await eventually(lambda: listeners.heard == frozenset() and player.deleted == 1)
        gets = player.gets
        await looked(listeners)
        assert player.gets == gets


@pytest.mark.parametrize("name", ["tools", "resources", "prompts"])
async def test_one_list_is_enough(registry: Registry, row: ServerRow, name: str) -> None:
    declared = msgspec.json.encode({name: {"listChanged": True}}).decode()
    await registry.set_state(row, f"upstream_capabilities = '{declared}'")
    async with listening(registry) as listeners:
        await eventually(lambda: listeners.open == {row.id})


async def test_servers_without_a_credential_of_their_own_are_not_heard(
    registry: Registry, row: ServerRow
) -> None:
    await registry.set_server(row, f"auth_type = '{AuthType.PER_USER}'")
    async with listening(registry) as listeners:
        await looked(listeners)
        assert listeners.heard == frozenset()


async def test_of_more_servers_than_places_some_are_heard(
    registry: Registry, player: Player
) -> None:
    await servers(registry, player, 300)
    async with listening(registry, msgspec.structs.replace(FAST, streams=20)) as listeners:
        await eventually(lambda: len(listeners.open) == 20)
        chosen = listeners.open
        await looked(listeners)
        assert listeners.open == chosen
        assert len(player.streams) == 20
        assert player.gets == 20
        # A place that becomes free is given to another server.
        gone = min(chosen)
        await registry.execute(
            "UPDATE remote_server_state SET status = 'disabled' WHERE server_id = $1", gone
        )
        await eventually(lambda: len(listeners.open - {gone}) == 20)
        assert len(listeners.open - chosen) == 1


# --- servers without a stream -----------------------------------------------------------------


async def test_a_server_without_a_stream_is_asked_again_after_its_next_discovery(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    player.get = reply(405)
    async with listening(registry) as listeners:
        await eventually(lambda: player.gets == 1)
        await eventually(lambda: listeners.heard == frozenset())
        await looked(listeners)
        assert player.gets == 1
        await registry.discover(row)
        await eventually(lambda: player.gets == 2)
        await registry.set_server(row, "config_version = config_version + 1")
        await eventually(lambda: player.gets == 3)
        await looked(listeners)
        assert player.gets == 3
        await registry.execute("DELETE FROM remote_servers")
        await looked(listeners)
        assert listeners.heard == frozenset()


# --- credentials, configuration, status -------------------------------------------------------


async def test_a_new_credential_opens_a_new_stream(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    await registry.set_server(row, "auth_type = 'bearer'")
    await registry.credential(row, "authorization", "first")
    async with listening(registry) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        await registry.credential(row, "authorization", "second")
        await eventually(lambda: player.deleted == 1 and player.gets == 2)
        sent = [seen.headers.get("authorization") for seen in player.raw.seen]
        assert sent[:3] == ["Bearer first"] * 3
        assert set(sent[4:]) == {"Bearer second"}
        assert all("x-scaigrid-user" not in seen.headers for seen in player.raw.seen)


async def test_a_missing_credential_is_tried_again_and_nothing_goes_out(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    await registry.set_server(row, "auth_type = 'bearer'")
    async with listening(registry) as listeners:
        await looked(listeners)
        assert listeners.heard == {row.id}
        assert player.raw.seen == []
        await registry.credential(row, "authorization", "late")
        await eventually(lambda: listeners.open == {row.id})


async def test_a_configuration_that_changes_opens_a_new_stream(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    async with listening(registry) as listeners:
        await eventually(lambda: player.gets == 1)
        await registry.set_server(row, "config_version = config_version + 1")
        await eventually(lambda: player.gets == 2 and player.deleted == 1)
        await registry.set_state(row, "protocol_era = 'modern'")
        await eventually(lambda: player.deleted == 2)
        await eventually(lambda: any("subscriptions/listen" in str(one) for one in player.posts))
        assert listeners.open == frozenset()


async def test_closing_is_heard_at_once_and_everywhere(
    registry: Registry, player: Player, row: ServerRow, registry_for: Opened
) -> None:
    async with listening(registry, NEVER) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        await registry.set_state(row, "status = 'disabled'")
        async with registry_for(player.url) as elsewhere:
            await elsewhere.parts.follow_up.close_sessions(row.id)
            await eventually(lambda: player.deleted == 1)
            await eventually(lambda: listeners.heard == frozenset())
            await registry.set_state(row, "status = 'active'")
            await elsewhere.parts.follow_up.close_sessions(row.id)
            await eventually(lambda: listeners.open == {row.id})


async def test_rows_that_change_before_the_stream_opens_end_the_attempt(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    player.get = reply(500)
    slow = msgspec.structs.replace(NEVER, pause=(0.3, 0.3))
    async with listening(registry, slow) as listeners:
        await eventually(lambda: player.gets == 1)
        await registry.set_server(row, "credential_version = credential_version + 1")
        await eventually(lambda: listeners.heard == frozenset())
        assert player.gets == 1
    async with listening(registry, slow) as listeners:
        await eventually(lambda: player.gets == 2)
        await registry.set_state(row, "status = 'disabled'")
        await eventually(lambda: listeners.heard == frozenset())
        assert player.gets == 2


# --- streams that end -------------------------------------------------------------------------


async def test_a_stream_that_ends_is_opened_again(
    registry: Registry, redis_url: str, player: Player, row: ServerRow
) -> None:
    async with listening(registry) as listeners:
        for number in (1, 2, 3):
            await eventually(lambda n=number: player.gets == n and len(player.streams) == 1)  # type: ignore[misc]
            await eventually(lambda: listeners.open == {row.id})
            player.streams[0].close()
        await eventually(lambda: player.gets == 4)
        assert queued(redis_url) == set()


async def test_pauses_grow_until_a_stream_has_held(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    player.get = reply(200, b"", content_type="text/event-stream")
    growing = msgspec.structs.replace(FAST, pause=(0.1, 3_600.0), stable=3_600.0)
    async with listening(registry, growing):
        started = asyncio.get_running_loop().time()
        await eventually(lambda: player.gets == 5)
        # At least half of 0.1, 0.2, 0.4 and 0.8 seconds, and no pause below the first.
        assert asyncio.get_running_loop().time() - started > 0.8
    player.gets = 0
    async with listening(registry, msgspec.structs.replace(growing, stable=0.0)):
        # Never more than the shortest: doubled eleven times, it would be minutes.
        await eventually(lambda: player.gets == 12)


async def test_a_second_acknowledgement_changes_nothing(
    registry: Registry, redis_url: str, player: Player, row: ServerRow
) -> None:
    note = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged"}
    told = event({**note, "params": {"notifications": {"toolsListChanged": True}}})

    async def play(writer: Writer) -> None:
        player.head = HEAD + told * 2
        await player.stream(writer)

    player.raw.default = play
    await registry.set_state(
        row, "protocol_era = 'modern', last_discovery_at = now() - interval '2 minutes'"
    )
    async with listening(registry) as listeners:
        await eventually(lambda: queued(redis_url) == {f"discover-now:{row.id}"})
        empty(redis_url)
        await looked(listeners)
        assert listeners.open == {row.id}
        assert queued(redis_url) == set()


async def test_a_connection_is_replaced_when_it_is_old(
    registry: Registry, redis_url: str, player: Player, row: ServerRow
) -> None:
    rules = msgspec.structs.replace(FAST, life=0.2, pause=(60.0, 60.0))
    async with listening(registry, rules) as listeners:
        await eventually(lambda: player.gets >= 4)
        assert listeners.heard == {row.id}
        assert player.deleted >= 3
        assert queued(redis_url) == set()


async def test_a_stream_that_was_away_has_missed_news(
    registry: Registry, redis_url: str, player: Player, row: ServerRow
) -> None:
    rules = msgspec.structs.replace(FAST, away=0.3)
    async with listening(registry, rules) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        player.get = reply(503)
        gets = player.gets
        gone = asyncio.get_running_loop().time()
        player.streams[0].close()
        await eventually(lambda: player.gets > gets + 2)
        assert queued(redis_url) == set()
        await eventually(lambda: asyncio.get_running_loop().time() - gone > 0.4)
        player.get = None
        await eventually(lambda: queued(redis_url) == {f"discover-now:{row.id}"})
        assert listeners.open == {row.id}


@pytest.mark.parametrize(
    "columns",
    [
        "last_discovery_at = now() - interval '2 minutes'",
        "last_discovery_at = now(), last_health_status = 'ConnectError'",
    ],
)
async def test_a_server_whose_lists_may_be_old_is_discovered_when_listening_begins(
    registry: Registry, redis_url: str, row: ServerRow, columns: str
) -> None:
    await registry.set_state(row, columns)
    async with listening(registry):
        await eventually(lambda: queued(redis_url) == {f"discover-now:{row.id}"})


async def test_a_server_that_asks_to_wait_is_left_alone(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    player.get = reply(429, b"", "Retry-After: 600")
    async with listening(registry) as listeners:
        await eventually(lambda: player.deleted == 1)
        await looked(listeners)
        assert player.gets == 1
        assert listeners.heard == {row.id}


# --- several workers --------------------------------------------------------------------------


async def test_workers_share_the_servers(registry: Registry, player: Player) -> None:
    everything = await servers(registry, player, 24)
    rules = msgspec.structs.replace(FAST, page=5, present=60.0)
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(listening(registry, rules)) for _ in range(3)]

        def is_shared() -> bool:
            heard = [worker.open for worker in workers]
            is_whole = set().union(*heard) == everything and sum(map(len, heard)) == 24
            return is_whole and all(heard)

        await eventually(is_shared)
        await eventually(lambda: len(player.streams) == 24)
        # One that goes in good order leaves its share at once.
        left = workers.pop()
        await left.aclose()
        await eventually(is_shared)
        assert left.heard == frozenset()


async def test_a_worker_that_says_no_more_loses_its_servers(
    registry: Registry, player: Player, redis_url: str
) -> None:
    rules = msgspec.structs.replace(FAST, present=60.0)
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(LISTENERS, {"dead": client.time()[0] * 1000 + 1_500})
    everything = await servers(registry, player, 16)
    async with listening(registry, rules) as listeners:
        await eventually(lambda: bool(listeners.open))
        assert listeners.heard < everything
        await eventually(lambda: listeners.open == everything)


# --- faults -----------------------------------------------------------------------------------


async def test_without_redis_listening_goes_on_and_news_is_kept(
    registry_for: Opened, redis_url: str, player: Player
) -> None:
    async with (
        forward(redis_url) as line,
        registry_for(player.url, REDIS_URL=line.url) as registry,
    ):
        await registry.execute("DELETE FROM remote_servers")
        row = await registry.put(player.url)
        await registry.discover(row)
        async with listening(registry) as listeners:
            await eventually(lambda: listeners.open == {row.id})
            await line.cut()
            await player.say(event(CHANGED))
            await eventually(lambda: len(player.streams) == 1)
            # A server that appears meanwhile is heard as well.
            other = await registry.put(player.url, "other")
            caps = msgspec.json.encode(DECLARED).decode()
            await registry.set_state(
                other,
                "status = 'active', last_health_status = 'ok', protocol_era = 'legacy',"
                " last_discovery_at = now(),"
                f" upstream_capabilities = '{caps}'",
            )
            await eventually(lambda: listeners.open == {row.id, other.id}, 30)
            assert queued(redis_url) == set()
            await line.mend()
            await eventually(lambda: queued(redis_url) == {f"discover-now:{row.id}"}, 30)
            await line.cut()


async def test_without_the_database_open_streams_stay(
    registry: Registry, player: Player, row: ServerRow, redis_url: str
) -> None:
    async with listening(registry) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        await registry.execute("ALTER TABLE remote_server_state RENAME TO gone")
        try:
            await looked(listeners)
            assert listeners.open == {row.id}
            await player.say(event(CHANGED))
            await eventually(lambda: queued(redis_url) == {f"discover-now:{row.id}"})
            player.streams[0].close()
            await looked(listeners)
            assert player.gets == 1
        finally:
            await registry.execute("ALTER TABLE gone RENAME TO remote_server_state")
        await eventually(lambda: player.gets == 2)


async def test_a_fault_of_ours_is_not_the_end_of_listening(
    registry: Registry, player: Player, row: ServerRow
) -> None:
    async with listening(registry) as listeners:
        await eventually(lambda: listeners.open == {row.id})
        # What nothing here expects: the client is gone.
        await registry.parts.http.session.close()
        await eventually(lambda: listeners.open == frozenset())
        await looked(listeners)
        assert player.gets == 1


async def test_an_end_waits_two_seconds_for_sessions_at_most(
    registry: Registry, player: Player
) -> None:
    everything = await servers(registry, player, 8)
    async with listening(registry) as listeners:
        await eventually(lambda: listeners.open == everything)
        player.raw.default = waiting(asyncio.Event(), reply())
        async with asyncio.timeout(6):
            await listeners.aclose()
        assert player.deleted == 8
        assert listeners.heard == frozenset()
        await listeners.aclose()
        assert player.gets == 8
