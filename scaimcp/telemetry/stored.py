"""Gauges of what the database holds, for the process that measures it: the worker.

Each worker measures for itself, so several of them show the same figures: take the highest. Only
a process that imports this module shows these metrics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from prometheus_client import Gauge

from scaimcp.telemetry import metrics


def _gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(f"scaimcp_remote_{name}", text, labels, registry=None, multiprocess_mode="livemax")


SERVERS = _gauge("servers", "Registered servers", ("status",))
CAPABILITIES = _gauge("capabilities", "Definitions of registered servers", ("kind", "state"))
CREDENTIALS = _gauge("credentials", "Sealed credentials by the key that wraps them", ("kek_id",))
CREDENTIAL_OLDEST = _gauge(
    "credential_oldest_seconds", "Time since the oldest credential was set; 0 without any"
)
DISCOVERY_OVERDUE = _gauge(
    "discovery_overdue_seconds", "Time since the longest overdue discovery was due; 0 without any"
)
ALL = (SERVERS, CAPABILITIES, CREDENTIALS, CREDENTIAL_OLDEST, DISCOVERY_OVERDUE)
metrics.show(*ALL)

Labels = tuple[str, ...]


class Counts:
    """Sets one gauge from counts by label; what is not there any more becomes 0."""

    def __init__(self, gauge: Any, known: Collection[Labels] = ()) -> None:
        self._gauge = gauge
        self._known = set(known)

    def set(self, counts: Mapping[Labels, int]) -> None:
        """Show `counts`."""
        self._known |= set(counts)
        for labels in self._known:
            self._gauge.labels(*labels).set(counts.get(labels, 0))
