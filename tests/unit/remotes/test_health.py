"""The table of states, row by row, and what holds for every sequence. Spec: remote-servers 7."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from scaimcp.remotes.enumerations import Status
from scaimcp.remotes.rules.health import (
    DISCOVERING,
    MAX_FAILURES,
    Admin,
    Busy,
    Fail,
    Local,
    Ok,
    Outcome,
    State,
    Transition,
    backoff_seconds,
    chunk_delay,
    discovery_offset,
    is_advertised,
    next_discovery,
    next_state,
)

NOW = datetime(2026, 11, 20, 10, 15, 3, tzinfo=UTC)
SEEN = NOW - timedelta(seconds=1)
BEFORE = NOW - timedelta(seconds=60)
ACTIVE = State(Status.ACTIVE, last_health_status="ok", last_checked_at=BEFORE, last_ok_at=BEFORE)
SHAKY = replace(
    ACTIVE,
    last_health_status="ConnectError",
    last_error_message="no",
    consecutive_failures=1,
    failing_since=BEFORE,
)
ERROR = replace(SHAKY, status=Status.ERROR, consecutive_failures=5)
FRESH = State(Status.ERROR, status_reason=DISCOVERING, next_check_at=BEFORE)
PENDING = State(Status.PENDING_APPROVAL)
DISABLED = State(Status.DISABLED, status_reason="too slow", last_health_status="ok")

OK_CHECK = Ok("health", SEEN)
OK_CALL = Ok("call", SEEN)
OK_FOUND = Ok("discovery", SEEN)
FAILED = Fail("health", SEEN, "TimeoutError", "slow")
NOT_FOUND = Fail("discovery", SEEN, "DNSError")
LIVE_FAILURE = Fail("call", SEEN, "ConnectError")
BUSY = Busy("health", SEEN, 120)
LOCAL = Local("health", SEEN, "KeyUnavailableError")
LATE = BEFORE - timedelta(seconds=1)


def due(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


HEALTHY = {
    "status": Status.ACTIVE,
    "status_reason": None,
    "last_health_status": "ok",
    "last_error_message": None,
    "consecutive_failures": 0,
    "failing_since": None,
    "last_checked_at": SEEN,
    "last_ok_at": SEEN,
    "next_check_at": due(60),
}
NOTED = {"last_checked_at": SEEN}
SLOW = {**NOTED, "last_health_status": "TimeoutError", "last_error_message": "slow"}
STARTED = {
    "status": Status.ERROR,
    "status_reason": DISCOVERING,
    "last_health_status": None,
    "last_error_message": None,
    "consecutive_failures": 0,
    "failing_since": None,
    "next_check_at": NOW,
}
WAITING = {
    **STARTED,
    "status": Status.PENDING_APPROVAL,
    "status_reason": None,
    "next_check_at": None,
}
OFF = {
    "status": Status.DISABLED,
    "status_reason": "broken",
    "consecutive_failures": 0,
    "failing_since": None,
    "next_check_at": None,
}
DISABLE = Admin("disable", reason="broken")
STOPS = "bump close_sessions cancel_calls expire_approvals"

# row, state, outcome, what changes, effects
TABLE: list[tuple[int, State, Outcome, dict[str, Any], str]] = [
    *((1, ACTIVE, replace(outcome, observed_at=at), {}, "")
      for outcome in (OK_CHECK, OK_CALL, OK_FOUND, FAILED, LIVE_FAILURE, BUSY, LOCAL)
      for at in (BEFORE, LATE)),
    (1, replace(ERROR, status_reason=DISCOVERING), replace(FAILED, observed_at=BEFORE), {}, ""),
    (1, replace(DISABLED, last_checked_at=BEFORE), replace(FAILED, observed_at=LATE), {}, ""),
    *((2, state, outcome, {}, "")
      for state in (PENDING, DISABLED)
      for outcome in (OK_CHECK, OK_CALL, OK_FOUND, FAILED, LIVE_FAILURE, BUSY, LOCAL)),
    (3, ACTIVE, LIVE_FAILURE, {"last_call_failure_at": NOW, "next_check_at": NOW}, "probe"),
    (3, ERROR, LIVE_FAILURE, {"last_call_failure_at": NOW, "next_check_at": NOW}, "probe"),
    (3, replace(ACTIVE, last_call_failure_at=due(-19.9)), LIVE_FAILURE, {}, ""),
    (3, replace(ACTIVE, last_call_failure_at=due(-20)), LIVE_FAILURE,
     {"last_call_failure_at": NOW, "next_check_at": NOW}, "probe"),
    (4, ACTIVE, OK_CHECK, HEALTHY, ""),
    (4, SHAKY, OK_CHECK, HEALTHY, ""),
    (4, SHAKY, OK_FOUND, HEALTHY, ""),
    (4, SHAKY, OK_CALL, {**HEALTHY, "last_call_ok_at": SEEN}, ""),
    (4, State(Status.ACTIVE), OK_CHECK, HEALTHY, ""),
    (5, ACTIVE, FAILED,
     {**SLOW, "consecutive_failures": 1, "failing_since": SEEN, "next_check_at": due(60)}, "event"),
    (5, SHAKY, FAILED, {**SLOW, "consecutive_failures": 2, "next_check_at": due(60)}, "event"),
    (5, SHAKY, NOT_FOUND,
     {**NOTED, "last_health_status": "DNSError", "last_error_message": None,
      "consecutive_failures": 2, "next_check_at": due(60)}, "event"),
    (6, replace(SHAKY, consecutive_failures=2), FAILED,
     {**SLOW, "status": Status.ERROR, "consecutive_failures": 3, "next_check_at": due(60)},
     "bump close_sessions audit"),
    (7, FRESH, FAILED,
     {**SLOW, "status_reason": None, "consecutive_failures": 1, "failing_since": SEEN,
      "next_check_at": due(15)}, "discover"),
    (7, FRESH, replace(FAILED, source="register", error_class="TLSError"),
     {**SLOW, "last_health_status": "TLSError", "status_reason": None, "consecutive_failures": 1,
      "failing_since": SEEN, "next_check_at": due(15)}, ""),
    (8, ERROR, OK_FOUND, HEALTHY, "bump audit"),
    (8, ERROR, Ok("refresh", SEEN), HEALTHY, "bump audit"),
    (8, FRESH, Ok("register", SEEN), HEALTHY, "bump audit"),
    (9, ERROR, OK_CHECK,
     {**NOTED, "last_ok_at": SEEN, "next_check_at": due(60)}, "discover"),
    (9, FRESH, OK_CHECK,
     {**NOTED, "last_ok_at": SEEN, "next_check_at": due(60)}, "discover"),
    (9, ERROR, OK_CALL,
     {**NOTED, "last_ok_at": SEEN, "last_call_ok_at": SEEN, "next_check_at": due(60)}, "discover"),
    (10, ERROR, FAILED, {**SLOW, "consecutive_failures": 6, "next_check_at": due(480)}, "event"),
    (10, replace(ERROR, consecutive_failures=MAX_FAILURES), FAILED,
     {**SLOW, "next_check_at": due(3_600)}, "event"),
    (10, replace(ERROR, consecutive_failures=99, failing_since=NOW - timedelta(days=8)), FAILED,
     {**SLOW, "consecutive_failures": 100, "next_check_at": due(21_600)}, "event"),
    *((11, state, replace(BUSY, retry_after=after),
       {**NOTED, "last_health_status": "RateLimitedError", "last_error_message": None,
        "next_check_at": due(wait)}, "")
      for state in (ACTIVE, SHAKY, ERROR, FRESH)
      for after, wait in ((None, 60), (0, 60), (-5, 60), (120, 120), (86_400, 900))),
    *((12, state, LOCAL,
       {**NOTED, "last_health_status": "KeyUnavailableError", "last_error_message": None,
        "next_check_at": due(60)}, "")
      for state in (ACTIVE, SHAKY, ERROR, FRESH)),
    *((13, state, Admin("credential_deleted"),
       {"status": Status.ERROR, "status_reason": None, "last_error_message": None,
        "last_health_status": "CredentialMissingError"}, "bump close_sessions")
      for state in (ACTIVE, ERROR, FRESH)),
    (14, PENDING, Admin("approve"), STARTED, "bump discover_inline"),
    *((15, state, DISABLE, OFF, STOPS) for state in (ACTIVE, SHAKY, ERROR, FRESH, PENDING)),
    (16, DISABLED, Admin("enable"), STARTED, "bump discover_inline"),
    (16, DISABLED, Admin("enable", needs_approval=True), WAITING, "bump"),
    *((17, state, Admin("configure"), STARTED, "bump close_sessions discover_inline")
      for state in (ACTIVE, SHAKY, ERROR, FRESH)),
    (17, ACTIVE, Admin("configure", needs_approval=True), WAITING, "bump close_sessions"),
    *((18, state, Admin("approve"), {}, "") for state in (ACTIVE, ERROR, FRESH, DISABLED)),
    *((18, state, Admin("enable"), {}, "") for state in (ACTIVE, ERROR, FRESH, PENDING)),
    *((18, state, Admin("configure"), {}, "") for state in (PENDING, DISABLED)),
    *((18, state, Admin("credential_deleted"), {}, "") for state in (PENDING, DISABLED)),
    (18, DISABLED, DISABLE, {}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("row", "state", "outcome", "changes", "effects"), TABLE)
def test_an_outcome_has_the_next_state_of_its_row(
    row: int, state: State, outcome: Outcome, changes: dict[str, Any], effects: str
) -> None:
    expected = Transition(replace(state, **changes), frozenset(effects.split()), row)
    assert next_state(state, outcome, NOW) == expected


def test_every_row_of_the_table_is_tried() -> None:
    assert {row for row, *_ in TABLE} == set(range(1, 19))


@pytest.mark.parametrize(
    ("failures", "days", "seconds"),
    [
        (1, 0, 15),
        (2, 0, 30),
        (3, 0, 60),
        (4, 0, 120),
        (8, 0, 1_920),
        (9, 0, 3_600),
        (10, 7, 3_600),
        (9, 8, 3_840),
        (12, 8, 21_600),
        (MAX_FAILURES, 8, 21_600),
    ],
)
def test_the_wait_doubles_up_to_an_hour_and_after_a_week_to_six(
    failures: int, days: int, seconds: float
) -> None:
    assert backoff_seconds(failures, timedelta(days=days)) == seconds


@pytest.mark.parametrize("jitter", [0.9, 1.1])
def test_jitter_stretches_the_wait_of_a_failing_server_only(jitter: float) -> None:
    failing = next_state(ERROR, FAILED, NOW, jitter).state
    assert failing.next_check_at == due(480 * jitter)
    assert next_state(ACTIVE, FAILED, NOW, jitter).state.next_check_at == due(60)


@pytest.mark.parametrize("interval", [60, 300])
@pytest.mark.parametrize(
    ("state", "outcome", "row"),
    [(ACTIVE, OK_CHECK, 4), (ACTIVE, FAILED, 5), (ERROR, OK_CHECK, 9), (SHAKY, LOCAL, 12)],
)
def test_the_interval_says_when_a_server_is_checked_next(
    state: State, outcome: Outcome, row: int, interval: int
) -> None:
    moved = next_state(state, outcome, NOW, interval=interval)
    assert (moved.row, moved.state.next_check_at) == (row, due(interval))


def test_the_interval_does_not_move_the_waits_of_its_own() -> None:
    failing = next_state(ERROR, FAILED, NOW, interval=300).state
    assert failing.next_check_at == due(480)
    assert next_state(ACTIVE, BUSY, NOW, interval=300).state.next_check_at == due(120)


def test_three_failed_checks_make_an_error_and_one_discovery_ends_it() -> None:
    state, rows = ACTIVE, []
    for second in range(3):
        moved = next_state(state, Fail("health", due(second), "ConnectError"), due(second))
        state, rows = moved.state, [*rows, moved.row]
    assert rows == [5, 5, 6]
    assert not is_advertised(state.status)
    moved = next_state(state, Ok("health", due(4)), due(4))
    assert "discover" in moved.effects
    assert not is_advertised(moved.state.status)
    assert is_advertised(next_state(moved.state, Ok("discovery", due(5)), due(5)).state.status)


TIMES = st.integers(-600, 600).map(due)
SOURCES: Any = st.sampled_from(["health", "discovery", "refresh", "register", "call"])
CLASSES = st.sampled_from(["TimeoutError", "ConnectError"])
OBSERVED = st.one_of(
    st.builds(Ok, SOURCES, TIMES),
    st.builds(Fail, SOURCES, TIMES, CLASSES),
    st.builds(Busy, SOURCES, TIMES, st.none() | st.floats(0, 1e9)),
    st.builds(Local, SOURCES, TIMES, st.just("DatabaseError")),
)
EVENTS: Any = st.sampled_from(["approve", "disable", "enable", "configure", "credential_deleted"])
OUTCOMES = OBSERVED | st.builds(Admin, EVENTS, st.booleans())
STARTS = st.sampled_from([ACTIVE, SHAKY, ERROR, FRESH, PENDING, DISABLED])


@given(STARTS, st.lists(OUTCOMES, max_size=20))
def test_whatever_happens_the_state_makes_sense(start: State, outcomes: list[Outcome]) -> None:
    state = start
    for outcome in outcomes:
        before, moved = state, next_state(state, outcome, NOW)
        state = moved.state
        assert 0 <= state.consecutive_failures <= before.consecutive_failures + 1
        assert (state.consecutive_failures < 3) or state.status is Status.ERROR
        assert (state.status is not before.status) <= ("bump" in moved.effects)
        if state.status in (Status.DISABLED, Status.PENDING_APPROVAL) and state != start:
            assert state.next_check_at is None
        if isinstance(outcome, Admin):
            continue
        if state.status is Status.ACTIVE:
            assert before.status is Status.ACTIVE or outcome.source != "health"
        if moved.row not in (1, 2, 3):
            assert state.last_checked_at == outcome.observed_at


@given(STARTS, OBSERVED)
def test_an_outcome_that_comes_twice_counts_once(start: State, outcome: Outcome) -> None:
    once = next_state(start, outcome, NOW)
    twice = next_state(once.state, outcome, NOW)
    assert twice.state == once.state
    assert not twice.effects


def test_every_server_keeps_its_own_slot() -> None:
    server = "rs_01jz8xq5k2m3n4p5q6r7s8t9va"
    assert discovery_offset(server) == 73
    assert next_discovery(datetime(2026, 11, 20, 10, 1, 13, tzinfo=UTC), 900, server) == datetime(
        2026, 11, 20, 10, 16, 13, tzinfo=UTC
    )
    assert next_discovery(datetime(2026, 11, 20, 10, 15, tzinfo=UTC), 900, server) == datetime(
        2026, 11, 20, 10, 31, 13, tzinfo=UTC
    )


@given(
    st.text(),
    st.sampled_from([60, 300, 900, 3_600]),
    st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
)
def test_a_slot_lies_after_the_next_tick_and_leaves_a_fifth_free(
    server: str, interval: int, now: datetime
) -> None:
    offset = discovery_offset(server, interval)
    assert 0 <= offset < interval * 0.8
    tick = next_discovery(now, interval, server) - timedelta(seconds=offset)
    assert tick.timestamp() % interval == 0
    assert timedelta(0) < tick - now <= timedelta(seconds=interval)
    assert 0 <= chunk_delay(server) <= 45
