"""What only a discovery asks of PostgreSQL. Spec: remote-servers 3 (alias)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_TAKEN = """
SELECT DISTINCT alias FROM remote_capabilities
WHERE tenant_id = $1 AND server_id <> $2 AND alias = ANY($3::text[])
"""


async def taken_aliases(
    connection: Any, tenant_id: str, server_id: str, aliases: Collection[str]
) -> frozenset[str]:
    """Return which of `aliases` other servers of the tenant have."""
    records = await connection.fetch(_TAKEN, tenant_id, server_id, list(aliases))
    return frozenset(record["alias"] for record in records)
