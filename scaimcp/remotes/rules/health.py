"""What a check, a call or an administrator makes of a server's state. Pure: `now` is given.

`next_state` is one table of rules, first match wins. Spec: remote-servers 6 (slots) and 7.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from scaimcp.remotes.enumerations import Status

Source = Literal["health", "discovery", "refresh", "register", "call"]
AdminEvent = Literal["approve", "disable", "enable", "configure", "credential_deleted"]
Effect = Literal[
    "audit",
    "bump",
    "cancel_calls",
    "close_sessions",
    "discover",
    "discover_inline",
    "event",
    "expire_approvals",
    "probe",
]

DISCOVERING = "discovering"
HEALTHY = "ok"
FAILURES_TO_ERROR = 3
MAX_FAILURES = 1_000_000
DISCOVERY_SECONDS = 900
CHECK_SECONDS = 60
_LIVE_PROBE_GAP = timedelta(seconds=20)
_LONG = timedelta(days=7)
_BACKOFF_SECONDS, _BACKOFF_LONG_SECONDS = 3_600, 21_600
_BUSY_SECONDS = (60, 900)
_SPREAD_SECONDS = 46
_CONTACTED = (Status.ACTIVE, Status.ERROR)
_DISCOVERIES = ("discovery", "refresh", "register")


class State(msgspec.Struct, frozen=True):
    """The part of a server's stored state that outcomes change; fields as in its row.

    ``status_reason`` is ``discovering`` until the first discovery after a change has ended, or
    what an administrator wrote when disabling. ``last_health_status`` is None, ``ok`` or a class
    name.
    """

    status: Status
    status_reason: str | None = None
    last_health_status: str | None = None
    last_error_message: str | None = None
    consecutive_failures: int = 0
    failing_since: datetime | None = None
    last_checked_at: datetime | None = None
    last_ok_at: datetime | None = None
    last_call_ok_at: datetime | None = None
    last_call_failure_at: datetime | None = None
    next_check_at: datetime | None = None


class Ok(msgspec.Struct, frozen=True):
    """The upstream answered."""

    source: Source
    observed_at: datetime


class Fail(msgspec.Struct, frozen=True):
    """The upstream failed; ``message`` is for its managers and already redacted.

    ``details`` are for log and audit only.
    """

    source: Source
    observed_at: datetime
    error_class: str
    message: str = ""
    details: dict[str, str] = {}


class Busy(msgspec.Struct, frozen=True):
    """The upstream answered HTTP 429; ``retry_after`` in seconds, None where it named none."""

    source: Source
    observed_at: datetime
    retry_after: float | None = None
    message: str = ""


class Local(msgspec.Struct, frozen=True):
    """The gateway itself could not ask: a key, a credential, the database.

    ``details`` are for log and audit only.
    """

    source: Source
    observed_at: datetime
    error_class: str
    message: str = ""
    details: dict[str, str] = {}


class Admin(msgspec.Struct, frozen=True):
    """An administrator's deed; it is observed when it is stored, so it is never late.

    Args:
        event: what was done. ``credential_deleted`` means a required one.
        needs_approval: for ``enable``: never approved and approval applies; for ``configure``: a
            new origin and approval applies.
        reason: shown while the server is disabled.
    """

    event: AdminEvent
    needs_approval: bool = False
    reason: str | None = None


Observation = Ok | Fail | Busy | Local
Outcome = Observation | Admin


class Transition(msgspec.Struct, frozen=True):
    """The state after an outcome, what else must happen, and the row of the table that said so."""

    state: State
    effects: frozenset[Effect] = frozenset()
    row: int = 0


class _Waits(msgspec.Struct, frozen=True):
    """How long to wait: to the next ordinary check, and the factor of every backoff."""

    check: timedelta
    jitter: float


def next_state(
    state: State,
    outcome: Outcome,
    now: datetime,
    jitter: float = 1.0,
    interval: int = CHECK_SECONDS,
) -> Transition:
    """Apply an outcome.

    Args:
        state: as stored.
        outcome: what happened, when it was observed.
        now: time of storing it; due times are counted from here.
        jitter: 0.9 to 1.1, factor of the backoff.
        interval: seconds between two checks of a server that works.
    """
    if isinstance(outcome, Admin):
        return _administered(state, outcome, now)
    if state.last_checked_at is not None and outcome.observed_at <= state.last_checked_at:
        return Transition(state, row=1)
    if state.status not in _CONTACTED:
        return Transition(state, row=2)
    waits = _Waits(timedelta(seconds=interval), jitter)
    return _RULES[type(outcome)](state, outcome, now, waits)


def backoff_seconds(failures: int, failing_for: timedelta) -> float:
    """Return how long to wait before the next check of a server in status ``error``."""
    limit = _BACKOFF_LONG_SECONDS if failing_for > _LONG else _BACKOFF_SECONDS
    return min(60 * 2.0 ** (min(failures, 64) - FAILURES_TO_ERROR), limit)


def is_advertised(status: Status) -> bool:
    """Tell whether a server's definitions are listed and may be called."""
    return status is Status.ACTIVE


def discovery_offset(server_id: str, interval: int = DISCOVERY_SECONDS) -> int:
    """Return a server's own slot: whole seconds after each tick, within 80 % of the interval."""
    return _hashed(server_id) % (interval * 4 // 5)


def next_discovery(now: datetime, interval: int, server_id: str) -> datetime:
    """Return the next tick after `now` plus the server's slot.

    Args:
        now: with a time zone.
        interval: seconds; divides an hour.
        server_id: decides the slot.
    """
    tick = (int(now.timestamp()) // interval + 1) * interval
    return datetime.fromtimestamp(tick + discovery_offset(server_id, interval), UTC)


def chunk_delay(first_id: str) -> int:
    """Return by how many seconds, 0 to 45, a chunk of probes is deferred."""
    return _hashed(first_id) % _SPREAD_SECONDS


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


def _ok(state: State, outcome: Ok, now: datetime, waits: _Waits) -> Transition:
    is_call, is_error = outcome.source == "call", state.status is Status.ERROR
    seen = msgspec.structs.replace(
        state,
        last_checked_at=outcome.observed_at,
        last_ok_at=outcome.observed_at,
        last_call_ok_at=outcome.observed_at if is_call else state.last_call_ok_at,
        next_check_at=now + waits.check,
    )
    if is_error and outcome.source not in _DISCOVERIES:
        return Transition(seen, frozenset({"discover"}), row=9)
    healthy = msgspec.structs.replace(
        seen,
        status=Status.ACTIVE,
        status_reason=None,
        last_health_status=HEALTHY,
        last_error_message=None,
        consecutive_failures=0,
        failing_since=None,
    )
    if is_error:
        return Transition(healthy, frozenset({"bump", "audit"}), row=8)
    return Transition(healthy, row=4)


def _fail(state: State, outcome: Fail, now: datetime, waits: _Waits) -> Transition:
    if outcome.source == "call":
        return _live_failure(state, now)
    was_error = state.status is Status.ERROR
    is_first = was_error and state.status_reason == DISCOVERING
    count = 1 if is_first else min(state.consecutive_failures + 1, MAX_FAILURES)
    since = state.failing_since or outcome.observed_at
    is_error = was_error or count >= FAILURES_TO_ERROR
    backoff = timedelta(seconds=backoff_seconds(count, now - since) * waits.jitter)
    wait = backoff if is_error else waits.check
    after = msgspec.structs.replace(
        _noted(state, outcome, outcome.error_class, wait, now),
        status=Status.ERROR if is_error else Status.ACTIVE,
        status_reason=None,
        consecutive_failures=count,
        failing_since=since,
    )
    if is_first:
        is_late = outcome.error_class == "TimeoutError"
        return Transition(after, frozenset({"discover"}) if is_late else frozenset(), row=7)
    if was_error:
        return Transition(after, frozenset({"event"}), row=10)
    if is_error:
        return Transition(after, frozenset({"bump", "close_sessions", "audit"}), row=6)
    return Transition(after, frozenset({"event"}), row=5)


def _live_failure(state: State, now: datetime) -> Transition:
    """A live failure is a hint: it asks for a check, which alone counts."""
    last = state.last_call_failure_at
    if last is not None and now - last < _LIVE_PROBE_GAP:
        return Transition(state, row=3)
    # Due at once as well: should the job be lost, the next tick makes the check.
    after = msgspec.structs.replace(state, last_call_failure_at=now, next_check_at=now)
    return Transition(after, frozenset({"probe"}), row=3)


def _busy(state: State, outcome: Busy, now: datetime, _waits: _Waits) -> Transition:
    low, high = _BUSY_SECONDS
    wait = timedelta(seconds=min(max(outcome.retry_after or 0, low), high))
    return Transition(_noted(state, outcome, "RateLimitedError", wait, now), row=11)


def _local(state: State, outcome: Local, now: datetime, waits: _Waits) -> Transition:
    return Transition(_noted(state, outcome, outcome.error_class, waits.check, now), row=12)


def _noted(
    state: State, outcome: Fail | Busy | Local, error_class: str, wait: timedelta, now: datetime
) -> State:
    """Write down what was seen; the status is another matter."""
    return msgspec.structs.replace(
        state,
        last_health_status=error_class,
        last_error_message=outcome.message or None,
        last_checked_at=outcome.observed_at,
        next_check_at=now + wait,
    )


def _administered(state: State, outcome: Admin, now: datetime) -> Transition:
    event, status = outcome.event, state.status
    if event == "credential_deleted" and status in _CONTACTED:
        return _credential_missing(state)
    if event == "approve" and status is Status.PENDING_APPROVAL:
        return _started(state, now, row=14)
    if event == "disable" and status is not Status.DISABLED:
        return _disabled(state, outcome.reason)
    if event == "enable" and status is Status.DISABLED:
        return _pending(state, 16) if outcome.needs_approval else _started(state, now, row=16)
    if event == "configure" and status in _CONTACTED:
        after = _pending(state, 17) if outcome.needs_approval else _started(state, now, row=17)
        effects = after.effects | {"bump", "close_sessions"}
        return msgspec.structs.replace(after, effects=effects)
    return Transition(state, row=18)


def _credential_missing(state: State) -> Transition:
    after = msgspec.structs.replace(
        state,
        status=Status.ERROR,
        status_reason=None,
        last_health_status="CredentialMissingError",
        last_error_message=None,
    )
    return Transition(after, frozenset({"bump", "close_sessions"}), row=13)


def _started(state: State, now: datetime, row: int) -> Transition:
    """Begin anew; due at once, so that a tick makes up for a discovery that never ran."""
    after = msgspec.structs.replace(
        _fresh(state), status=Status.ERROR, status_reason=DISCOVERING, next_check_at=now
    )
    return Transition(after, frozenset({"bump", "discover_inline"}), row=row)


def _pending(state: State, row: int) -> Transition:
    after = msgspec.structs.replace(_fresh(state), status=Status.PENDING_APPROVAL)
    return Transition(after, frozenset({"bump"}), row=row)


def _disabled(state: State, reason: str | None) -> Transition:
    after = msgspec.structs.replace(
        state,
        status=Status.DISABLED,
        status_reason=reason,
        consecutive_failures=0,
        failing_since=None,
        next_check_at=None,
    )
    effects: frozenset[Effect] = frozenset(
        {"bump", "close_sessions", "cancel_calls", "expire_approvals"}
    )
    return Transition(after, effects, row=15)


def _fresh(state: State) -> State:
    return msgspec.structs.replace(
        state,
        status_reason=None,
        last_health_status=None,
        last_error_message=None,
        consecutive_failures=0,
        failing_since=None,
        next_check_at=None,
    )


_RULES: dict[type[Observation], Callable[..., Transition]] = {
    Ok: _ok,
    Fail: _fail,
    Busy: _busy,
    Local: _local,
}
