"""The metrics have the registered names and labels, and no label names a person or tool."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Gauge, Histogram, values
from prometheus_client.parser import text_string_to_metric_families

from scaimcp.telemetry import metrics, stored

LABELS = {
    "scaimcp_requests": {"endpoint", "method", "outcome"},
    "scaimcp_request_duration_seconds": {"endpoint", "method", "outcome"},
    "scaimcp_inflight_requests": set(),
    "scaimcp_tool_calls": {"source", "outcome"},
    "scaimcp_platform_requests": {"outcome"},
    "scaimcp_platform_request_duration_seconds": {"outcome"},
    "scaimcp_identity_checks": {"outcome"},
    "scaimcp_rate_limited": {"limit"},
    "scaimcp_jobs": {"job", "outcome"},
    "scaimcp_job_duration_seconds": {"job", "outcome"},
    "scaimcp_audit_dropped": set(),
    "scaimcp_remote_unseal_failures": {"reason"},
    "scaimcp_remote_discoveries": {"trigger", "outcome"},
    "scaimcp_remote_discovery_duration_seconds": {"trigger"},
    "scaimcp_remote_health_checks": {"outcome"},
    "scaimcp_remote_status_changes": {"from", "to"},
    "scaimcp_remote_tool_changes": {"class", "decision"},
    "scaimcp_remote_endpoint_refused": {"reason"},
    "scaimcp_remote_findings": {"rule", "severity"},
    "scaimcp_remote_consents": {"mode", "outcome"},
    "scaimcp_remote_calls": {"kind", "outcome", "era"},
    "scaimcp_remote_call_duration_seconds": {"kind", "outcome"},
    "scaimcp_remote_gateway_overhead_seconds": {"kind"},
    "scaimcp_remote_queue_wait_seconds": set(),
    "scaimcp_remote_session_restarts": {"outcome"},
    "scaimcp_remote_inflight_calls": set(),
    "scaimcp_remote_held_calls": set(),
    "scaimcp_remote_pool_sessions": {"state"},
    "scaimcp_remote_breaker_servers": {"state"},
    "scaimcp_remote_catalog_lag_seconds": set(),
    "scaimcp_remote_servers": {"status"},
    "scaimcp_remote_capabilities": {"kind", "state"},
    "scaimcp_remote_credentials": {"kek_id"},
    "scaimcp_remote_credential_oldest_seconds": set(),
    "scaimcp_remote_discovery_overdue_seconds": set(),
}


def test_every_registered_metric_is_rendered() -> None:
    families = text_string_to_metric_families(metrics.render().decode())
    named = {family.name: family for family in families if family.type != "unknown"}
    assert set(LABELS) <= set(named)


def test_labels_are_those_of_the_register() -> None:
    assert set(stored.ALL) <= set(metrics._ALL)
    for metric in metrics._ALL:
        assert set(metric._labelnames) == LABELS[metric._name]


def test_counters_end_in_total_on_the_wire() -> None:
    metrics.AUDIT_DROPPED.inc(0)
    assert b"scaimcp_audit_dropped_total" in metrics.render()


def test_the_metrics_of_several_processes_are_added_up(tmp_path: Path) -> None:
    assert values.ValueClass is not None
    assert metrics.render(str(tmp_path)) == b""


def value(gauge: Gauge, *labels: str) -> float:
    metrics.flush()
    child: Any = gauge.labels(*labels) if labels else gauge
    return float(child._value.get())


def fresh(**more: Any) -> Gauge:
    return Gauge("one", "One.", registry=None, **more)


def test_a_level_is_the_sum_of_what_is_shown_now() -> None:
    gauge = fresh()
    level = metrics.Level(gauge)
    level.flush()
    assert gauge._value.get() == 0
    with level.shown(lambda: 2), level.shown(lambda: 3):
        level.flush()
        assert gauge._value.get() == 5
    level.flush()
    assert gauge._value.get() == 0


def test_a_level_forgets_what_failed() -> None:
    level = metrics.Level(fresh())
    with suppress(ZeroDivisionError), level.shown(lambda: 1):
        raise ZeroDivisionError
    assert level._lookups == []


def test_a_peak_is_the_highest_since_the_last_look() -> None:
    gauge = fresh()
    peak = metrics.Peak(gauge)
    for seen in (1.0, 4.0, 2.0):
        peak.see(seen)
    peak.flush()
    assert gauge._value.get() == 4
    peak.flush()
    assert gauge._value.get() == 0


@pytest.mark.parametrize("seconds", [0.0, 0.0001, 0.0003, 0.5, 119.9, 1_000.0])
def test_durations_fall_into_the_buckets_that_the_library_would_choose(seconds: float) -> None:
    for metric in (metrics.REMOTE_OVERHEAD, metrics.REMOTE_CALL_DURATION):
        bounds = metric._upper_bounds
        pair = [Histogram("h", "H.", registry=None, buckets=bounds) for _ in range(2)]
        timed = metrics.Timed(pair[0])
        timed.observe(seconds)
        timed.flush()
        pair[1].observe(seconds)
        counts = [[bucket.get() for bucket in one._buckets] for one in pair]
        assert counts[0] == counts[1]
        assert pair[0]._sum.get() == pair[1]._sum.get()


def test_the_counters_of_a_call_are_looked_up_once() -> None:
    one = metrics.remote_call_outcome("tool", "ok", "modern")
    assert metrics.remote_call_outcome("tool", "ok", "modern") is one
    assert metrics.remote_call_outcome("tool", "ok", "legacy")[1:] == one[1:]
    assert metrics.remote_call_outcome("tool", "TimeoutError", "modern")[2] is one[2]


def test_held_calls_are_counted_up_and_down() -> None:
    before = value(metrics.REMOTE_HELD)
    metrics.held_calls.add(1)
    assert value(metrics.REMOTE_HELD) == before + 1
    metrics.held_calls.add(-1)
    assert value(metrics.REMOTE_HELD) == before


def test_counts_that_are_gone_become_nothing() -> None:
    gauge = fresh(labelnames=("state",))
    counts = stored.Counts(gauge, [("good",)])
    counts.set({("bad",): 2})
    assert [value(gauge, state) for state in ("good", "bad")] == [0, 2]
    counts.set({("good",): 1})
    assert [value(gauge, state) for state in ("good", "bad")] == [1, 0]
