"""Prometheus metrics. No label names a tenant, user, server or tool. Spec: register, Names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
# What the gateway itself takes for a call is well below a millisecond.
_SHORT_BUCKETS = (0.0001, 0.00025, 0.0005, *_BUCKETS)
_SECONDS = "duration_seconds"

REQUESTS = Counter(
    "scaimcp_requests", "Requests served", ("endpoint", "method", "outcome"), registry=None
)
REQUEST_DURATION = Histogram(
    f"scaimcp_request_{_SECONDS}",
    "Time to answer a request",
    ("endpoint", "method", "outcome"),
    registry=None,
    buckets=_BUCKETS,
)
INFLIGHT = Gauge(
    "scaimcp_inflight_requests",
    "Requests being served",
    registry=None,
    multiprocess_mode="livesum",
)
TOOL_CALLS = Counter("scaimcp_tool_calls", "Tool calls", ("source", "outcome"), registry=None)
PLATFORM_REQUESTS = Counter(
    "scaimcp_platform_requests", "Requests sent to the platform", ("outcome",), registry=None
)
PLATFORM_DURATION = Histogram(
    f"scaimcp_platform_request_{_SECONDS}",
    "Time until the platform has answered",
    ("outcome",),
    registry=None,
    buckets=_BUCKETS,
)
IDENTITY_CHECKS = Counter(
    "scaimcp_identity_checks", "Bearers checked at the platform", ("outcome",), registry=None
)
RATE_LIMITED = Counter(
    "scaimcp_rate_limited", "Requests refused by an own limit", ("limit",), registry=None
)
JOBS = Counter("scaimcp_jobs", "Jobs run by the worker", ("job", "outcome"), registry=None)
JOB_DURATION = Histogram(
    f"scaimcp_job_{_SECONDS}", "Time of one job", ("job", "outcome"), registry=None
)
AUDIT_DROPPED = Counter("scaimcp_audit_dropped", "Audit rows lost", registry=None)
UNSEAL_FAILURES = Counter(
    "scaimcp_remote_unseal_failures", "Credentials that did not open", ("reason",), registry=None
)
CONSENTS = Counter(
    "scaimcp_remote_consents",
    "Questions to users about calls, and what became of them",
    ("mode", "outcome"),
    registry=None,
)
REMOTE_DISCOVERIES = Counter(
    "scaimcp_remote_discoveries",
    "Discoveries of remote servers",
    ("trigger", "outcome"),
    registry=None,
)
REMOTE_DISCOVERY_DURATION = Histogram(
    f"scaimcp_remote_discovery_{_SECONDS}",
    "Time of one discovery",
    ("trigger",),
    registry=None,
    buckets=_BUCKETS,
)
REMOTE_HEALTH_CHECKS = Counter(
    "scaimcp_remote_health_checks", "Probes of remote servers", ("outcome",), registry=None
)
REMOTE_STATUS_CHANGES = Counter(
    "scaimcp_remote_status_changes",
    "Remote servers that came, failed or came back",
    ("from", "to"),
    registry=None,
)
REMOTE_TOOL_CHANGES = Counter(
    "scaimcp_remote_tool_changes",
    "Changed definitions of remote servers",
    ("class", "decision"),
    registry=None,
)
REMOTE_ENDPOINTS_REFUSED = Counter(
    "scaimcp_remote_endpoint_refused",
    "Endpoints of remote servers that may not be used",
    ("reason",),
    registry=None,
)
REMOTE_FINDINGS = Counter(
    "scaimcp_remote_findings",
    "Suspicious texts in new definitions of remote servers",
    ("rule", "severity"),
    registry=None,
)
REMOTE_CALLS = Counter(
    "scaimcp_remote_calls",
    "Calls of remote servers that were let through",
    ("kind", "outcome", "era"),
    registry=None,
)
REMOTE_CALL_DURATION = Histogram(
    f"scaimcp_remote_call_{_SECONDS}",
    "Time of a call of a remote server, from being let through to its answer",
    ("kind", "outcome"),
    registry=None,
    buckets=_BUCKETS,
)
REMOTE_OVERHEAD = Histogram(
    "scaimcp_remote_gateway_overhead_seconds",
    "Time that the gateway itself takes for a call, without waiting for a place or the server",
    ("kind",),
    registry=None,
    buckets=_SHORT_BUCKETS,
)
REMOTE_QUEUE_WAIT = Histogram(
    "scaimcp_remote_queue_wait_seconds",
    "Time that a call waits for a place among the calls to its server",
    registry=None,
    buckets=_BUCKETS,
)
REMOTE_SESSION_RESTARTS = Counter(
    "scaimcp_remote_session_restarts",
    "Requests sent again because the server had forgotten the session",
    ("outcome",),
    registry=None,
)
REMOTE_INFLIGHT = Gauge(
    "scaimcp_remote_inflight_calls",
    "Calls of remote servers that run",
    registry=None,
    multiprocess_mode="livesum",
)
REMOTE_HELD = Gauge(
    "scaimcp_remote_held_calls",
    "Calls that wait for an answer of their user",
    registry=None,
    multiprocess_mode="livesum",
)
REMOTE_SESSIONS = Gauge(
    "scaimcp_remote_pool_sessions",
    "Sessions with remote servers that are open",
    ("state",),
    registry=None,
    multiprocess_mode="livesum",
)
REMOTE_BREAKERS = Gauge(
    "scaimcp_remote_breaker_servers",
    "Remote servers that calls are kept from, or that are tried again",
    ("state",),
    registry=None,
    multiprocess_mode="livesum",
)
REMOTE_CATALOG_LAG = Gauge(
    "scaimcp_remote_catalog_lag_seconds",
    "Age of the oldest catalogue that was served lately, since it was compared with the database",
    registry=None,
    multiprocess_mode="livemax",
)

_ALL: list[Any] = [
    REQUESTS,
    REQUEST_DURATION,
    INFLIGHT,
    TOOL_CALLS,
    PLATFORM_REQUESTS,
    PLATFORM_DURATION,
    IDENTITY_CHECKS,
    RATE_LIMITED,
    JOBS,
    JOB_DURATION,
    AUDIT_DROPPED,
    UNSEAL_FAILURES,
    REMOTE_DISCOVERIES,
    REMOTE_DISCOVERY_DURATION,
    REMOTE_HEALTH_CHECKS,
    REMOTE_STATUS_CHANGES,
    REMOTE_TOOL_CHANGES,
    REMOTE_ENDPOINTS_REFUSED,
    REMOTE_FINDINGS,
    CONSENTS,
    REMOTE_CALLS,
    REMOTE_CALL_DURATION,
    REMOTE_OVERHEAD,
    REMOTE_QUEUE_WAIT,
    REMOTE_SESSION_RESTARTS,
    REMOTE_INFLIGHT,
    REMOTE_HELD,
    REMOTE_SESSIONS,
    REMOTE_BREAKERS,
    REMOTE_CATALOG_LAG,
]


class Counted:
    """Counts on the hot path; what it counted reaches the metric with `flush`."""

    __slots__ = ("_child", "_pending")

    def __init__(self, child: Any) -> None:
        self._child = child
        self._pending = 0

    def inc(self) -> None:
        """Count one."""
        self._pending += 1

    def add(self, number: int) -> None:
        """Count `number`; a gauge's may be negative."""
        self._pending += number

    def flush(self) -> None:
        """Hand over what was counted since the last time."""
        if self._pending:
            self._child.inc(self._pending)
            self._pending = 0


class Timed:
    """Counts durations into the metric's buckets on the hot path, as `Counted` does."""

    __slots__ = ("_bounds", "_child", "_pending", "_total")

    def __init__(self, child: Any) -> None:
        self._child = child
        self._bounds = child._upper_bounds
        self._pending = [0] * len(self._bounds)
        self._total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._pending[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def flush(self) -> None:
        """Hand over what was counted since the last time."""
        for bucket, count in zip(self._child._buckets, self._pending, strict=True):
            if count:
                bucket.inc(count)
        self._child._sum.inc(self._total)
        self._pending = [0] * len(self._pending)
        self._total = 0.0


class Level:
    """A gauge that is looked up when the metrics are read, not counted along the way.

    It shows the sum over all lookups, of which each open pool or breaker has one.
    """

    __slots__ = ("_child", "_lookups")

    def __init__(self, child: Any) -> None:
        self._child = child
        self._lookups: list[Callable[[], float]] = []

    @contextmanager
    def shown(self, lookup: Callable[[], float]) -> Iterator[None]:
        """Count what `lookup` returns as long as the block runs; it is quick and never raises."""
        self._lookups.append(lookup)
        try:
            yield
        finally:
            self._lookups.remove(lookup)

    def flush(self) -> None:
        """Look the value up."""
        self._child.set(sum([lookup() for lookup in self._lookups]))


class Peak:
    """A gauge of the highest value since the metrics were read last."""

    __slots__ = ("_child", "value")

    def __init__(self, child: Any) -> None:
        self._child = child
        self.value = 0.0

    def see(self, value: float) -> None:
        """Take one value in."""
        if value > self.value:
            self.value = value

    def flush(self) -> None:
        """Hand over the highest value, and begin anew."""
        self._child.set(self.value)
        self.value = 0.0


_hot: list[Counted | Timed | Level | Peak] = []


def _kept(instrument: Any) -> Any:
    _hot.append(instrument)
    return instrument


in_flight: Counted = _kept(Counted(INFLIGHT))
remote_in_flight: Counted = _kept(Counted(REMOTE_INFLIGHT))
# Whoever holds a call adds 1 when it begins to wait and -1 when it does not wait any more.
held_calls: Counted = _kept(Counted(REMOTE_HELD))
queue_wait: Timed = _kept(Timed(REMOTE_QUEUE_WAIT))
busy_sessions: Level = _kept(Level(REMOTE_SESSIONS.labels("busy")))
idle_sessions: Level = _kept(Level(REMOTE_SESSIONS.labels("idle")))
open_breakers: Level = _kept(Level(REMOTE_BREAKERS.labels("open")))
trying_breakers: Level = _kept(Level(REMOTE_BREAKERS.labels("half_open")))
catalog_lag: Peak = _kept(Peak(REMOTE_CATALOG_LAG))


@cache
def request_outcome(endpoint: str, method: str, outcome: str) -> tuple[Counted, Timed]:
    """Return the counters of served requests with these labels."""
    labels = (endpoint, method, outcome)
    count = _kept(Counted(REQUESTS.labels(*labels)))
    return count, _kept(Timed(REQUEST_DURATION.labels(*labels)))


@cache
def platform_outcome(outcome: str) -> tuple[Counted, Timed]:
    """Return the counters of platform requests with this outcome."""
    count = _kept(Counted(PLATFORM_REQUESTS.labels(outcome)))
    return count, _kept(Timed(PLATFORM_DURATION.labels(outcome)))


@cache
def tool_call_outcome(source: str, outcome: str) -> Counted:
    """Return the counter of tool calls with these labels."""
    kept: Counted = _kept(Counted(TOOL_CALLS.labels(source, outcome)))
    return kept


@cache
def remote_call_outcome(kind: str, outcome: str, era: str) -> tuple[Counted, Timed, Timed]:
    """Return count, duration and overhead of calls of remote servers with these labels."""
    count = _kept(Counted(REMOTE_CALLS.labels(kind, outcome, era)))
    return count, _call_duration(kind, outcome), _overhead(kind)


@cache
def _call_duration(kind: str, outcome: str) -> Timed:
    kept: Timed = _kept(Timed(REMOTE_CALL_DURATION.labels(kind, outcome)))
    return kept


@cache
def _overhead(kind: str) -> Timed:
    kept: Timed = _kept(Timed(REMOTE_OVERHEAD.labels(kind)))
    return kept


def flush() -> None:
    """Hand everything counted on the hot path to the metrics, before they are read."""
    for instrument in _hot:
        instrument.flush()


def show(*more: Any) -> None:
    """Render further metrics with the rest: those that only some processes have."""
    _ALL.extend(metric for metric in more if metric not in _ALL)


def render(multiprocess_dir: str | None = None) -> bytes:
    """Return the metrics in Prometheus text form.

    Args:
        multiprocess_dir: folder that all workers of one server share; None with one process.
    """
    flush()
    registry = CollectorRegistry()
    if multiprocess_dir is not None:
        MultiProcessCollector(registry, path=multiprocess_dir)  # type: ignore[no-untyped-call]
    else:
        for metric in _ALL:
            registry.register(metric)
    return generate_latest(registry)
