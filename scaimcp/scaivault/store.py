"""Guard profiles in PostgreSQL, one a tenant. Spec: register, Stored state."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from scaimcp.scaivault.profile import FIRST, GuardProfile, described, read_profile

_READ = """
SELECT profile, version, updated_by, updated_at FROM scaivault_guard_profiles WHERE tenant_id = $1
"""
_LOCK = f"{_READ} FOR UPDATE"
_BEGIN = """
INSERT INTO scaivault_guard_profiles (tenant_id, profile, version, updated_by, updated_at)
VALUES ($1, $2::jsonb, 0, '', now()) ON CONFLICT (tenant_id) DO NOTHING
"""
_WRITE = """
UPDATE scaivault_guard_profiles
SET profile = $2::jsonb, version = version + 1, updated_by = $3, updated_at = now()
WHERE tenant_id = $1
RETURNING profile, version, updated_by, updated_at
"""


class StoredProfile(msgspec.Struct, frozen=True):
    """A tenant's profile as it is stored.

    Args:
        profile: the tenant's layer.
        version: 0 while nobody has ever written one.
        updated_by: user id of who wrote it, "" for nobody.
        updated_at: when, None for never.
    """

    profile: GuardProfile = FIRST
    version: int = 0
    updated_by: str = ""
    updated_at: datetime | None = None


async def read(connection: Any, tenant_id: str) -> StoredProfile:
    """Return a tenant's profile, the first one where none was written.

    Raises:
        ProfileInvalid: what is stored cannot be read; it may be a later version's.
    """
    row = await connection.fetchrow(_READ, tenant_id)
    return StoredProfile() if row is None else _stored(row)


async def lock(connection: Any, tenant_id: str) -> StoredProfile:
    """Return a tenant's profile; nobody else writes it until the transaction ends.

    Raises:
        ProfileInvalid: as `read`.
    """
    await connection.execute(_BEGIN, tenant_id, _encoded(FIRST))
    return _stored(await connection.fetchrow(_LOCK, tenant_id))


async def write(
    connection: Any, tenant_id: str, profile: GuardProfile, user_id: str
) -> StoredProfile:
    """Replace a locked profile and return it with its new version."""
    return _stored(await connection.fetchrow(_WRITE, tenant_id, _encoded(profile), user_id))


def _encoded(profile: GuardProfile) -> str:
    return msgspec.json.encode(described(profile)).decode()


def _stored(row: Any) -> StoredProfile:
    profile = read_profile(msgspec.json.decode(row["profile"], type=dict[str, Any]))
    return StoredProfile(profile, row["version"], row["updated_by"], row["updated_at"])
