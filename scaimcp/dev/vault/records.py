"""A secret and its versions."""

from typing import Any

import msgspec


class Version(msgspec.Struct):
    """One value of a secret; times in Unix seconds, None where there is none.

    Attributes:
        readable_until: when a rotated-out version ends; None: as long as it is kept.
    """

    number: int
    data: dict[str, Any]
    created_at: float
    created_by: str
    expires_at: float | None = None
    readable_until: float | None = None


class Secret(msgspec.Struct):
    """One secret with its kept versions, oldest first.

    Attributes:
        recoverable_until: Unix seconds; set while it is softly deleted.
    """

    path: str
    secret_type: str
    metadata: dict[str, Any]
    versions: list[Version]
    created_at: float
    updated_at: float
    max_versions: int = 10
    rotation_policy_id: str | None = None
    secret_policy_id: str | None = None
    last_accessed_at: float | None = None
    last_rotated_at: float | None = None
    recoverable_until: float | None = None

    @property
    def current(self) -> Version:
        """The newest version."""
        return self.versions[-1]
