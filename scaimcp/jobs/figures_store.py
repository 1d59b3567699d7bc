"""Figures over the rows of all tenants, for the metrics; nothing in them tells whose rows."""

from __future__ import annotations

from typing import Any

import msgspec

_SERVERS = "SELECT status, count(*) FROM remote_server_state GROUP BY status"
_CAPABILITIES = "SELECT kind, state, count(*) FROM remote_capabilities GROUP BY kind, state"
_CREDENTIALS = """
SELECT kek_id, count(*), COALESCE(extract(epoch FROM now() - min(rotated_at)), 0) AS oldest
FROM remote_credentials GROUP BY kek_id
"""
_OVERDUE = """
SELECT COALESCE(extract(epoch FROM now() - min(next_discovery_at)), 0) AS overdue
FROM remote_server_state WHERE status = 'active' AND next_discovery_at <= now()
"""


class Figures(msgspec.Struct, frozen=True):
    """What is stored now: counts by their labels, ages in seconds."""

    servers: dict[tuple[str, ...], int]
    capabilities: dict[tuple[str, ...], int]
    credentials: dict[tuple[str, ...], int]
    credential_oldest: float
    discovery_overdue: float


async def read_figures(connection: Any) -> Figures:
    """Count what is stored."""
    servers = await connection.fetch(_SERVERS)
    capabilities = await connection.fetch(_CAPABILITIES)
    credentials = await connection.fetch(_CREDENTIALS)
    overdue = await connection.fetchval(_OVERDUE)
    return Figures(
        {(row["status"],): row["count"] for row in servers},
        {(row["kind"], row["state"]): row["count"] for row in capabilities},
        {(row["kek_id"],): row["count"] for row in credentials},
        max([float(row["oldest"]) for row in credentials], default=0.0),
        float(overdue),
    )
