"""Prometheus metrics. No label names a tenant, user, server or tool. Spec: register, Names."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
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

_ALL = (
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
)


def render(multiprocess_dir: str | None = None) -> bytes:
    """Return the metrics in Prometheus text form.

    Args:
        multiprocess_dir: folder that all workers of one server share; None with one process.
    """
    registry = CollectorRegistry()
    if multiprocess_dir is not None:
        MultiProcessCollector(registry, path=multiprocess_dir)  # type: ignore[no-untyped-call]
    else:
        for metric in _ALL:
            registry.register(metric)
    return generate_latest(registry)
