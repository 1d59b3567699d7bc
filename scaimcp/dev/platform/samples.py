"""Start rows of the module families. Spec: scaigrid 12 (seed)."""

from collections.abc import Iterable

from scaimcp.dev.platform.seed import START
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.platform.store import Row


def tenant_id_of(platform: Platform, slug: str) -> str:
    """Return the id of a seeded tenant; the platform as a whole, `""`, has no tenant."""
    row = platform.store["tenants"].first(slug=slug)
    return str(row["id"]) if row is not None else ""


def insert_samples(platform: Platform, table: str, slug: str, rows: Iterable[Row]) -> list[Row]:
    """Insert rows of one tenant as if they had always been there.

    Args:
        platform: whose store is filled.
        table: name of the table.
        slug: of the tenant; `""` makes rows that belong to the platform and every tenant reads.
        rows: without `tenant_id` and `created_at`.

    Returns:
        The stored rows.
    """
    tenant_id = tenant_id_of(platform, slug) or None
    target = platform.store[table]
    return [target.insert({**row, "tenant_id": tenant_id, "created_at": START}) for row in rows]
