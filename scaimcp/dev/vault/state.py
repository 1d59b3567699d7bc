"""The whole state of a stand-in vault."""

import hashlib
import random
from collections.abc import Callable
from typing import Any

import msgspec

from scaimcp.dev.platform.clock import Clock, iso
from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.faults import Faults
from scaimcp.dev.vault.limits import Limits
from scaimcp.dev.vault.records import Secret

Row = dict[str, Any]


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls.

    Attributes:
        id: with its kind, such as `sa:agent`.
        type: user, service_account or group.
        scopes: `admin` holds every scope.
        mfa_at: Unix seconds of the last second factor; None without one.
        expires_at: Unix seconds; None never.
        revoked: whether the token was taken back.
    """

    id: str
    type: str
    tenant_id: str
    partner_id: str
    scopes: tuple[str, ...]
    groups: tuple[str, ...] = ()
    partner_admin: bool = False
    mfa_at: float | None = None
    expires_at: float | None = None
    revoked: bool = False


class Tenant:
    """The data of one tenant: secrets by path, audit rows and events oldest first, tables."""

    def __init__(self, tenant_id: str, partner_id: str) -> None:
        self.id = tenant_id
        self.partner_id = partner_id
        self.secrets: dict[str, Secret] = {}
        self.audit: list[Row] = []
        self.events: list[Row] = []
        self._tables: dict[str, dict[str, Row]] = {}

    def table(self, name: str) -> dict[str, Row]:
        """Return the rows of a table by id; a new name is an empty table."""
        return self._tables.setdefault(name, {})


class Vault:
    """Clock, chance, tenants, tokens, faults and the call log.

    Args:
        config: how it is started.
        seed_tenant: fills a tenant the first time it is named.
        tokens: identities by `skt_` token.
    """

    def __init__(
        self,
        config: VaultConfig,
        seed_tenant: Callable[["Vault", Tenant], None],
        tokens: dict[str, Identity],
    ) -> None:
        self.config = config
        self.clock = Clock(config.frozen_at)
        self._seed_tenant = seed_tenant
        self._fixture_tokens = tokens
        self.reset()

    def reset(self) -> None:
        """Return to the state of the start."""
        self.clock.reset()
        self.random = random.Random(self.config.seed)  # noqa: S311 - repeatable on purpose
        self.tenants: dict[str, Tenant] = {}
        self.tokens = dict(self._fixture_tokens)
        self.faults = Faults()
        self.limits = Limits(self.config.rate_scale)
        self.calls: list[Row] = []
        self.identity_admin = self.config.identity_admin
        for identity in self.tokens.values():
            self.tenant(identity.tenant_id, identity.partner_id)

    def tenant(self, tenant_id: str, partner_id: str) -> Tenant:
        """Return a tenant, seeded when it is new."""
        found = self.tenants.get(tenant_id)
        if found is None:
            found = self.tenants[tenant_id] = Tenant(tenant_id, partner_id)
            self._seed_tenant(self, found)
        return found

    def new_id(self, prefix: str) -> str:
        """Return a repeatable id such as `pol_3f…` of 16 hex digits."""
        return f"{prefix}_{self.random.getrandbits(64):016x}"

    def emit(self, tenant: Tenant, event_type: str, **data: Any) -> None:
        """Keep an event for subscriptions."""
        timestamp = iso(self.clock.now())
        event = {"id": self.new_id("evt"), "event_type": event_type, "timestamp": timestamp}
        tenant.events.append({**event, "data": data})

    def log_call(self, row: Row) -> None:
        """Keep one request; its bearer is kept as a hash."""
        bearer = row["headers"].get("authorization")
        if bearer is not None:
            digest = hashlib.sha256(bearer.partition(" ")[2].encode()).hexdigest()
            row["headers"]["authorization"] = f"sha256:{digest}"
        self.calls.append(row)
