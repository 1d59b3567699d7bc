"""Probes: whether a server lives, by the table of states, and what live calls add."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import pytest_asyncio

from scaimcp.postgres import open_database
from scaimcp.remotes.enumerations import AuthType, Status, Transport
from scaimcp.remotes.models import ServerRow
from scaimcp.remotes.stores.state_store import take_lease
from scaimcp.remotes.watching.liveness import Liveness
from scaimcp.remotes.watching.probing import Probed
from scaimcp.types import Secret
from scaimcp.upstream.pool import EVERYBODY, SessionKey
from tests.integration.rawserver import eventually, reply, reset, waiting
from tests.integration.remotes.conftest import Opened
from tests.integration.remotes.registry import until
from tests.integration.remotes.servers import Registry, Upstream
from tests.integration.upstream.support import Fleet, sdk

OK = Probed("ok")


async def probe(registry: Registry, row: ServerRow, *, is_due: bool = True) -> Probed:
    if is_due:
        await registry.set_state(row, "next_check_at = now()")
    return await registry.parts.prober.probe(row.tenant_id, row.id)


@pytest_asyncio.fixture
async def row(registry: Registry, upstream: Upstream) -> AsyncIterator[ServerRow]:
    """An active server."""
    found = await registry.put(upstream.url)
    await registry.discover(found)
    yield found


async def is_noted(registry: Registry, row: ServerRow) -> bool:
    """Tell whether a failed call of a server has been written down."""
    return (await registry.seen(row)).state.last_call_failure_at is not None


@asynccontextmanager
async def running(live: Liveness) -> AsyncIterator[None]:
    task = asyncio.create_task(live.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_modern_server_is_asked_server_discover_alone(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.raw.seen.clear()
    before = (await registry.seen(row)).state
    assert await probe(registry, row) == OK
    assert [r.headers["mcp-method"] for r in upstream.raw.seen] == ["server/discover"]
    state = (await registry.seen(row)).state
    assert state.last_checked_at is not None
    assert before.last_checked_at is not None
    assert state.last_checked_at > before.last_checked_at
    assert state.next_check_at is not None
    assert 59 < (state.next_check_at - state.read_at).total_seconds() <= 60
    assert state.lease_owner is None
    assert await registry.version() == 1


async def test_the_setting_moves_the_next_check_after_discovery_probe_and_call(
    registry_for: Opened, upstream: Upstream
) -> None:
    async with registry_for(upstream.url, REMOTE_HEALTH_INTERVAL_SECONDS="300") as registry:
        row = await registry.put(upstream.url)

        async def waits_five_minutes() -> bool:
            state = (await registry.seen(row)).state
            assert state.next_check_at is not None
            return 290 < (state.next_check_at - state.read_at).total_seconds() <= 300

        await registry.discover(row)
        assert await waits_five_minutes()
        assert await probe(registry, row) == OK
        assert await waits_five_minutes()
        await registry.set_state(row, "next_check_at = now()")
        registry.parts.liveness.ok(row.tenant_id, row.id)
        await until(waits_five_minutes)


async def test_a_legacy_server_is_pinged_on_a_session_that_is_kept(registry_for: Opened) -> None:
    async with sdk("legacy") as fleet, registry_for(fleet.url) as registry:
        row = await registry.put(fleet.url)
        await registry.discover(row)
        fleet.requests.clear()
        for _ in range(3):
            assert await probe(registry, row) == OK
        opened = [h for _, h in fleet.requests if "mcp-session-id" not in h]
        assert len(opened) == 1
        assert len(registry.parts.pool) == 1
        await registry.parts.follow_up.close_sessions(row.id)
        await eventually(lambda: len(registry.parts.pool) == 0)
        assert fleet.requests[-1][0] == "DELETE"


async def test_a_session_that_the_server_forgot_is_replaced_once(registry_for: Opened) -> None:
    async with sdk("legacy") as fleet, registry_for(fleet.url) as registry:
        row = await registry.put(fleet.url)
        await registry.discover(row)
        assert await probe(registry, row) == OK
        async with registry.parts.http.session.delete(
            fleet.url, headers={"Mcp-Session-Id": _session_of(fleet)}
        ) as ended:
            assert ended.status == 200
        assert await probe(registry, row) == OK


async def test_a_server_that_forgets_every_session_fails(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    await registry.set_state(row, "protocol_era = 'legacy', era_checked_at = now()")
    result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x"}}
    upstream.plays["initialize"] = upstream.answering(result, "Mcp-Session-Id: s1")
    upstream.plays["notifications/initialized"] = reply(202)
    upstream.plays["ping"] = reply(404)
    assert await probe(registry, row) == Probed("failed", "ProtocolError")
    assert upstream.asked("ping") == 2


def _session_of(fleet: Fleet) -> str:
    return next(h["mcp-session-id"] for _, h in reversed(fleet.requests) if "mcp-session-id" in h)


async def test_an_sse_server_is_pinged(registry_for: Opened) -> None:
    async with sdk("sse") as fleet, registry_for(fleet.url) as registry:
        row = await registry.put(fleet.url, transport=Transport.SSE)
        await registry.discover(row)
        assert await probe(registry, row) == OK
        assert len(registry.parts.pool) == 1


async def test_three_failures_make_an_error_and_each_counts_once(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.plays["server/discover"] = reply(500)
    for count in (1, 2):
        assert await probe(registry, row) == Probed("failed", "RemoteServerError")
        state = (await registry.seen(row)).state
        assert (state.status, state.consecutive_failures) == (Status.ACTIVE, count)
        assert await registry.version() == 1
    await probe(registry, row)
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ERROR, 3)
    assert state.next_check_at is not None
    assert 53 < (state.next_check_at - state.read_at).total_seconds() < 67
    assert await registry.version() == 2
    assert (await registry.audited(row))[-1] == (
        "remote_server.status",
        {"from": "active", "to": "error", "class": "RemoteServerError", "n": 3},
    )
    assert await registry.names(row) == ["search"]


async def test_a_server_that_lives_again_stays_in_error_until_its_discovery(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    await registry.set_state(row, "status = 'error', consecutive_failures = 5")
    assert await probe(registry, row) == OK
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ERROR, 5)
    assert await registry.has_job(f"discover-now:{row.id}")


@pytest.mark.parametrize(
    ("fault", "error_class"),
    [(401, "AuthenticationError"), (503, "RemoteServerError"), (302, "RedirectError")],
)
async def test_failures_have_their_class(
    registry: Registry, upstream: Upstream, row: ServerRow, fault: int, error_class: str
) -> None:
    upstream.plays["server/discover"] = reply(fault, b"", "Location: http://other.example/")
    assert await probe(registry, row) == Probed("failed", error_class)


async def test_a_server_that_hangs_is_late(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.plays["server/discover"] = waiting(asyncio.Event(), reply())
    upstream.plays["initialize"] = waiting(asyncio.Event(), reply())
    assert await probe(registry, row) == Probed("failed", "TimeoutError")


async def test_a_connection_that_breaks(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.plays["server/discover"] = reset()
    assert await probe(registry, row) == Probed("failed", "ConnectError")


@pytest.mark.row(53)
async def test_a_busy_server_is_alive_and_left_alone_for_at_most_15_minutes(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.plays["server/discover"] = reply(429, b"", "Retry-After: 86400")
    upstream.plays["initialize"] = reply(429, b"", "Retry-After: 86400")
    assert await probe(registry, row) == Probed("failed", "RateLimitedError")
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 0)
    assert state.next_check_at is not None
    assert 890 < (state.next_check_at - state.read_at).total_seconds() <= 900


@pytest.mark.row(3)
async def test_a_key_that_is_not_loaded_is_our_fault(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.BEARER)
    await registry.credential(row, "authorization", "v")
    await registry.discover(row)
    await registry.execute(
        "UPDATE remote_credentials SET kek_id = 'gone', wrapped_dek = '\\x010104676f6e65'::bytea"
        " || substr(wrapped_dek, 8) WHERE tenant_id = $1",
        row.tenant_id,
    )
    assert await probe(registry, row) == Probed("failed", "KeyUnavailableError")
    state = (await registry.seen(row)).state
    assert (state.status, state.consecutive_failures) == (Status.ACTIVE, 0)


async def test_a_server_whose_credential_was_deleted_fails_without_being_asked(
    registry: Registry, upstream: Upstream
) -> None:
    row = await registry.put(upstream.url, auth_type=AuthType.BEARER)
    assert await probe(registry, row) == Probed("failed", "CredentialMissingError")
    assert upstream.raw.seen == []


@pytest.mark.parametrize("challenge", [("WWW-Authenticate: Bearer",), ()])
async def test_a_server_for_each_users_own_account_is_alive_when_it_challenges(
    registry: Registry, upstream: Upstream, challenge: tuple[str, ...]
) -> None:
    upstream.plays["server/discover"] = reply(401, b"", *challenge)
    row = await registry.put(upstream.url, auth_type=AuthType.PER_USER)
    probed = await probe(registry, row)
    assert probed == (OK if challenge else Probed("failed", "AuthenticationError"))


@pytest.mark.row(50)
async def test_an_upgrade_is_noticed_by_the_probe(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    await registry.set_state(row, "protocol_era = 'legacy', era_checked_at = now()")
    upstream.plays["initialize"] = reply(404)
    assert await probe(registry, row) == OK
    state = (await registry.seen(row)).state
    assert (state.protocol_era, state.protocol_version) == ("modern", "2026-07-28")


async def test_a_legacy_server_that_fails_to_answer_a_ping(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    await registry.set_state(row, "protocol_era = 'legacy', era_checked_at = now()")
    upstream.plays["initialize"] = reply(500)
    assert await probe(registry, row) == Probed("failed", "RemoteServerError")


# --- what is not probed -----------------------------------------------------------------------


@pytest.mark.invariant("I5")
async def test_a_probe_that_runs_twice_asks_once(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.raw.seen.clear()
    assert await probe(registry, row) == OK
    assert await probe(registry, row, is_due=False) == Probed("skipped")
    assert len(upstream.raw.seen) == 1


@pytest.mark.parametrize(
    ("columns", "is_asked"),
    [
        ("next_check_at = now() + interval '40 s'", True),
        ("next_check_at = now() + interval '50 s'", False),
        ("next_check_at = now() + interval '40 s', last_health_status = 'RateLimitedError'", False),
        ("next_check_at = now() + interval '40 s', status = 'error'", False),
        ("next_check_at = NULL", False),
    ],
)
async def test_a_probe_may_come_as_early_as_a_tick_spreads_its_probes(
    registry: Registry, row: ServerRow, columns: str, is_asked: bool
) -> None:
    await registry.set_state(row, columns)
    assert (await probe(registry, row, is_due=False) == OK) == is_asked


async def test_two_probes_at_once_ask_once(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.raw.seen.clear()
    await registry.set_state(row, "next_check_at = now()")
    both = await asyncio.gather(*(probe(registry, row, is_due=False) for _ in range(2)))
    assert both.count(OK) == 1
    assert len(upstream.raw.seen) == 1


@pytest.mark.parametrize("status", ["pending_approval", "disabled"])
async def test_servers_that_wait_or_are_off_are_not_probed(
    registry: Registry, upstream: Upstream, row: ServerRow, status: str
) -> None:
    upstream.raw.seen.clear()
    await registry.set_state(row, f"status = '{status}'")
    assert await probe(registry, row) == Probed("skipped")
    assert upstream.raw.seen == []


async def test_a_server_that_is_being_discovered_is_left_alone(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    async with registry.database.transaction() as connection:
        await take_lease(connection, row.tenant_id, row.id, "discovery:other")
    assert await probe(registry, row) == Probed("busy")


@pytest.mark.parametrize(
    "change", ["config_version = config_version + 1", "tool_changes = 'review'"]
)
async def test_a_configuration_changed_meanwhile_drops_the_outcome(
    registry: Registry, upstream: Upstream, row: ServerRow, change: str
) -> None:
    release = asyncio.Event()
    upstream.plays["server/discover"] = waiting(release, reply(500))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(probe(registry, row))
        await eventually(lambda: upstream.asked("server/discover") == 2)
        await registry.set_server(row, change)
        release.set()
    assert task.result() == Probed("late")
    state = (await registry.seen(row)).state
    assert (state.consecutive_failures, state.lease_owner) == (0, None)


@pytest.mark.row(66)
@pytest.mark.invariant("I5")
async def test_whoever_lost_the_lease_writes_nothing(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    release = asyncio.Event()
    upstream.plays["server/discover"] = waiting(release, reply(500))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(probe(registry, row))
        await eventually(lambda: upstream.asked("server/discover") == 2)
        await registry.set_state(row, "lease_seq = lease_seq + 1")
        release.set()
    assert task.result() == Probed("late")
    assert (await registry.seen(row)).state.consecutive_failures == 0


async def test_a_cancelled_probe_gives_its_lease_back(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.plays["server/discover"] = waiting(asyncio.Event(), reply())
    task = asyncio.create_task(probe(registry, row))
    await eventually(lambda: upstream.asked("server/discover") == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await registry.seen(row)).state.lease_owner is None


async def test_a_live_call_of_the_last_minute_replaces_the_probe(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    upstream.raw.seen.clear()
    await registry.set_state(row, "last_call_ok_at = now() - interval '30 seconds'")
    assert await probe(registry, row) == OK
    assert upstream.raw.seen == []
    await registry.set_state(row, "last_call_failure_at = now()")
    assert await probe(registry, row) == OK
    await registry.set_state(row, "last_call_ok_at = now() - interval '70 seconds'")
    assert await probe(registry, row) == OK
    assert len(upstream.raw.seen) == 2


# --- live calls -------------------------------------------------------------------------------


async def test_a_success_is_written_and_ends_a_count_of_failures(
    registry: Registry, row: ServerRow
) -> None:
    await registry.set_state(row, "consecutive_failures = 2, last_health_status = 'ConnectError'")
    registry.parts.liveness.ok(row.tenant_id, row.id)

    async def written() -> bool:
        state = (await registry.seen(row)).state
        return (state.consecutive_failures, state.last_health_status) == (0, "ok")

    await until(written)
    state = (await registry.seen(row)).state
    assert state.last_call_ok_at is not None
    assert state.last_call_ok_at == state.last_checked_at


async def test_many_successes_are_written_at_most_once_per_pause(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    live = Liveness(registry.database, registry.parts.follow_up, 60, 3_600)
    other = await registry.put(upstream.url, "two")
    before = (await registry.seen(row)).state.state_seq

    async def is_written() -> bool:
        return (await registry.seen(row)).state.state_seq > before

    async with running(live):
        live.ok(row.tenant_id, row.id)
        await until(is_written)
        for _ in range(100):
            live.ok(row.tenant_id, row.id)
        # A failure is written in its turn: after it nothing of before is on its way.
        live.failed(other.tenant_id, other.id)
        await until(partial(is_noted, registry, other))
    assert (await registry.seen(row)).state.state_seq == before + 1


@pytest.mark.row(55)
async def test_two_hundred_failed_calls_are_one_probe(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    other = await registry.put(upstream.url, "two")
    for _ in range(200):
        registry.parts.liveness.failed(row.tenant_id, row.id)

    async def asked() -> bool:
        return await registry.has_job(f"probe-now:{row.id}")

    await until(asked)
    state = (await registry.seen(row)).state
    assert state.last_call_failure_at is not None
    assert state.consecutive_failures == 0
    seq = state.state_seq
    registry.parts.liveness.failed(row.tenant_id, row.id)
    registry.parts.liveness.ok("nobody", "rs_none")
    registry.parts.liveness.failed(other.tenant_id, other.id)
    await until(partial(is_noted, registry, other))
    assert (await registry.seen(row)).state.state_seq == seq


async def test_a_success_does_not_wait_for_a_failure_nor_the_other_way_round(
    registry: Registry, upstream: Upstream, row: ServerRow
) -> None:
    other = await registry.put(upstream.url, "two")
    await registry.discover(other)
    registry.parts.liveness.ok(row.tenant_id, row.id)

    async def is_ok() -> bool:
        return (await registry.seen(row)).state.last_call_ok_at is not None

    await until(is_ok)
    registry.parts.liveness.ok(row.tenant_id, row.id)
    registry.parts.liveness.failed(other.tenant_id, other.id)
    await until(partial(is_noted, registry, other), 2)


async def test_a_late_success_of_a_server_in_error_asks_for_a_discovery(
    registry: Registry, row: ServerRow
) -> None:
    await registry.set_state(row, "status = 'error'")
    registry.parts.liveness.ok(row.tenant_id, row.id)

    async def asked() -> bool:
        return await registry.has_job(f"discover-now:{row.id}")

    await until(asked)
    assert (await registry.seen(row)).state.status is Status.ERROR


async def test_without_the_database_what_calls_tell_is_dropped(registry: Registry) -> None:
    tries: list[None] = []

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tries.append(None)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as front:
        port = front.sockets[0].getsockname()[1]
        url = Secret(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable")
        async with open_database(url, 1) as away:
            live = Liveness(away, registry.parts.follow_up, 60, 0.01)
            async with running(live):
                # It goes on after each loss.
                for tell in (live.failed, live.ok, live.ok):
                    tries.clear()
                    tell("t", "rs_1")
                    await eventually(lambda: bool(tries))


async def test_a_state_that_others_write_meanwhile_is_read_again(
    registry: Registry, row: ServerRow
) -> None:
    live = Liveness(registry.database, registry.parts.follow_up, 60, 0.05)

    async def written() -> bool:
        return (await registry.seen(row)).state.last_call_ok_at is not None

    async with running(live):
        async with registry.meanwhile(row, "consecutive_failures = 1"):
            live.ok(row.tenant_id, row.id)
        await until(written)
    assert (await registry.seen(row)).state.consecutive_failures == 0


@pytest.mark.parametrize(
    ("written", "result"),
    [("next_check_at = now() + interval '1 minute'", "skipped"), ("status = 'disabled'", "busy")],
)
async def test_a_probe_that_comes_a_moment_late_asks_nobody(
    registry: Registry, upstream: Upstream, row: ServerRow, written: str, result: str
) -> None:
    upstream.raw.seen.clear()
    await registry.set_state(row, "next_check_at = now()")
    async with asyncio.TaskGroup() as group, registry.meanwhile(row, written):
        task = group.create_task(probe(registry, row, is_due=False))
    assert task.result().result == result
    assert upstream.raw.seen == []
    assert (await registry.seen(row)).state.lease_owner is None


def test_sessions_of_probes_belong_to_nobody() -> None:
    key = SessionKey("rs_1", 1, 1, EVERYBODY)
    assert key == key.shared()
