"""The catalogue version of each tenant: PostgreSQL holds the truth.

Spec: register, Stored state.
"""

from __future__ import annotations

from typing import Any

_RAISE = """
INSERT INTO catalog_versions (tenant_id, version) VALUES ($1, 1)
ON CONFLICT (tenant_id) DO UPDATE SET version = catalog_versions.version + 1
RETURNING version
"""
_READ = "SELECT version FROM catalog_versions WHERE tenant_id = $1"


async def raise_version(connection: Any, tenant_id: str) -> int:
    """Raise the tenant's version in the transaction of `connection`; return the new one."""
    return int(await connection.fetchval(_RAISE, tenant_id))


async def read_version(connection: Any, tenant_id: str) -> int:
    """Return the tenant's version; 0 while nothing has ever changed."""
    return int(await connection.fetchval(_READ, tenant_id) or 0)
