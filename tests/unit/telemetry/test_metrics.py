"""The metrics have the registered names and labels, and no label names a person or tool."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from scaimcp.telemetry import metrics

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
}


def test_every_registered_metric_is_rendered() -> None:
    families = text_string_to_metric_families(metrics.render().decode())
    named = {family.name: family for family in families if family.type != "unknown"}
    assert set(LABELS) <= set(named)


def test_labels_are_those_of_the_register() -> None:
    for metric in metrics._ALL:
        assert set(metric._labelnames) == LABELS[metric._name]


def test_counters_end_in_total_on_the_wire() -> None:
    metrics.AUDIT_DROPPED.inc(0)
    assert b"scaimcp_audit_dropped_total" in metrics.render()


def test_the_metrics_of_several_processes_are_added_up(tmp_path: Path) -> None:
    assert values.ValueClass is not None
    assert metrics.render(str(tmp_path)) == b""
