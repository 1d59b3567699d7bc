"""What a stand-in vault is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """Describe one stand-in vault.

    Attributes:
        seed: text from which ids derive.
        frozen_at: Unix seconds at which the clock stands still until it is advanced; None follows
            the system's clock, which tokens from elsewhere need.
        jwks: key set that checks JWTs; None asks `jwks_url`.
        jwks_url: where the key set is read, once per unknown key id; None and no `jwks` refuses
            every JWT.
        rate_scale: factor on the documented limits; None does not count.
        identity_admin: whether the routes of service accounts exist.
        containers: wire names of list containers, such as `{"secrets": "data"}`; an empty name
            sends a bare array with every row.
        cursor_field: how the reply names the cursor.
    """

    seed: str = "vault"
    frozen_at: float | None = None
    jwks: Mapping[str, Any] | None = None
    jwks_url: str | None = None
    rate_scale: float | None = None
    identity_admin: bool = True
    containers: Mapping[str, str] = field(default_factory=dict)
    cursor_field: str = "cursor"
