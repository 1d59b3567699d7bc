"""Rows of the remote-server tables and what callers hand to the stores.

A value that this version does not know never means more rights: an unknown status counts as
disabled, an unknown tier as locked, an unknown authentication or transport as unusable (None).
Spec: remote-servers 2.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from scaimcp.remotes.enumerations import (
    AuthType,
    CapabilityState,
    ChangeState,
    ConsentTier,
    Kind,
    Scope,
    Status,
    ToolChanges,
    Transport,
)

Item = TypeVar("Item")


class Position(msgspec.Struct, frozen=True):
    """The last row of a page of a list that runs from new to old."""

    at: datetime
    id: str


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """Some rows of a list; ``has_more`` says whether others follow the last of them."""

    items: tuple[Item, ...]
    has_more: bool


class ServerRow(msgspec.Struct, frozen=True):
    """A row of ``remote_servers``.

    Args:
        transport: None when this version does not know it: the server is unusable.
        auth_type: likewise.
        timeout_seconds: deadline of one call; None for the default.
        version: counts changes a manager makes; the ETag.
        config_version: counts changes of endpoint, transport, authentication, credentials.
        disabled_by: user who disabled the server, None while nobody has.
    """

    id: str
    tenant_id: str
    owner_user_id: str
    scope_key: str
    is_tenant_shared: bool
    name: str
    slug: str
    description: str
    endpoint_url: str
    endpoint_origin: str
    transport: Transport | None
    auth_type: AuthType | None
    consent_tier: ConsentTier
    tool_changes: ToolChanges
    forward_user_id: bool
    timeout_seconds: int | None
    version: int
    config_version: int
    credential_version: int
    created_by: str
    approved_by: str | None
    approved_at: datetime | None
    disabled_by: str | None
    created_at: datetime
    updated_at: datetime


class ServerState(msgspec.Struct, frozen=True):
    """A row of ``remote_server_state``: what checks and discoveries found.

    Args:
        last_health_status: ``ok``, a class name of remote-servers 7, or None before any check.
        last_discovery_at: when the last discovery ended, one that failed too.
        state_seq: counts writes; a write succeeds only upon the count it has read.
        lease_owner: who discovers or probes now, None for nobody; see ``lease_until``.
        read_at: the database's clock when the row was read, to compare the other times with.
    """

    tenant_id: str
    server_id: str
    status: Status
    status_reason: str | None
    last_health_status: str | None
    last_error_message: str | None
    consecutive_failures: int
    has_catalog: bool
    last_checked_at: datetime | None
    last_ok_at: datetime | None
    last_call_ok_at: datetime | None
    last_call_failure_at: datetime | None
    failing_since: datetime | None
    next_check_at: datetime | None
    last_discovery_at: datetime | None
    next_discovery_at: datetime | None
    protocol_era: str | None
    protocol_version: str | None
    era_checked_at: datetime | None
    server_info: dict[str, Any] | None
    upstream_capabilities: dict[str, Any] | None
    list_notes: dict[str, Any] | None
    state_seq: int
    lease_owner: str | None
    lease_until: datetime | None
    lease_seq: int
    read_at: datetime


class RegisteredServer(msgspec.Struct, frozen=True):
    """A server's configuration and its state."""

    row: ServerRow
    state: ServerState


class Visibility(msgspec.Struct, frozen=True):
    """Which rows somebody can see; everything else is missing (I7).

    Args:
        own: the user's own personal rows.
        shared: the tenant's shared rows.
        others: personal rows of other users of the tenant (governance view).
    """

    tenant_id: str
    user_id: str
    own: bool = False
    shared: bool = False
    others: bool = False

    def narrowed(self, scope: Scope | None) -> Visibility:
        """Return what is left of it in `scope`; others' rows only in ``all``."""
        return Visibility(
            self.tenant_id,
            self.user_id,
            own=self.own and scope is not Scope.TENANT,
            shared=self.shared and scope is not Scope.PERSONAL,
            others=self.others and scope is Scope.ALL,
        )


class ServerFilter(msgspec.Struct, frozen=True):
    """What a list of servers is narrowed to. ``q`` is a prefix of name or slug, in any case."""

    status: Status | None = None
    q: str = ""


class NewServer(msgspec.Struct, frozen=True):
    """What a registration stores. ``approved_by`` is None where approval is still to come.

    ``status`` is ``pending_approval`` or ``error`` with reason ``discovering``.
    """

    id: str
    tenant_id: str
    owner_user_id: str
    scope_key: str
    is_tenant_shared: bool
    name: str
    slug: str
    description: str
    endpoint_url: str
    endpoint_origin: str
    transport: Transport
    auth_type: AuthType
    consent_tier: ConsentTier
    tool_changes: ToolChanges
    forward_user_id: bool
    timeout_seconds: int | None
    created_by: str
    approved_by: str | None
    status: Status
    status_reason: str | None


class Quota(msgspec.Struct, frozen=True):
    """How many servers a tenant may have, and how many personal ones each user."""

    per_tenant: int
    per_user: int


class SlugTaken(msgspec.Struct, frozen=True):
    """A server of the same scope has the slug."""

    server_id: str


class QuotaReached(msgspec.Struct, frozen=True):
    """``limit`` servers are there already; ``of`` is ``tenant`` or ``user``."""

    of: str
    limit: int


class DueServer(msgspec.Struct, frozen=True):
    """A server whose time has come, for workers."""

    due_at: datetime
    server_id: str
    tenant_id: str


class AnnouncingServer(msgspec.Struct, frozen=True):
    """An active server that declares to announce changes of its lists, for workers.

    Args:
        last_discovery_at: None where the column is empty.
        discovered_ago: seconds since then, by the database's clock; 0 without.
        tools: it announces changes of this list; likewise the other two.
    """

    server_id: str
    tenant_id: str
    transport: str
    protocol_era: str
    config_version: int
    credential_version: int
    last_discovery_at: datetime | None
    discovered_ago: float
    tools: bool
    resources: bool
    prompts: bool


class Capability(msgspec.Struct, frozen=True):
    """A row of ``remote_capabilities``.

    Args:
        definition: what is served: the pin while a newer definition is held.
        definition_hash: of ``definition``.
        upstream_hash: of the definition last seen at the upstream.
        findings: of the scan, `{rule, severity, pointer, excerpt}` each.
    """

    server_id: str
    kind: Kind
    name: str
    ordinal: int
    alias: str | None
    definition: msgspec.Raw
    definition_hash: bytes
    upstream_hash: bytes
    state: CapabilityState
    reason: str | None
    findings: list[dict[str, Any]]
    first_seen_at: datetime
    changed_at: datetime


class CapabilityWrite(msgspec.Struct, frozen=True):
    """What a discovery or a decision stores for one definition; ``definition`` is JSON."""

    kind: Kind
    name: str
    ordinal: int
    alias: str | None
    definition: bytes
    definition_hash: bytes
    upstream_hash: bytes
    state: CapabilityState
    reason: str | None = None
    findings: list[dict[str, Any]] = []


class CapabilityKey(msgspec.Struct, frozen=True, order=True):
    """What a definition is known by at its server."""

    kind: Kind
    name: str


class CapabilityPosition(msgspec.Struct, frozen=True):
    """The last row of a page of capabilities."""

    kind: Kind
    ordinal: int
    name: str


class CapabilityFilter(msgspec.Struct, frozen=True):
    """What a list of capabilities is narrowed to; None for no limit."""

    kind: Kind | None = None
    state: CapabilityState | None = None


class WithheldName(msgspec.Struct, frozen=True):
    """A definition that is stored and not in service, so that its refusal can say why."""

    server_id: str
    kind: Kind
    name: str
    alias: str | None
    state: CapabilityState


class Counts(msgspec.Struct, frozen=True):
    """How much a server has: advertised rows per kind, held rows, pending changes."""

    tool: int = 0
    resource: int = 0
    resource_template: int = 0
    prompt: int = 0
    held: int = 0
    pending_changes: int = 0


class Pin(msgspec.Struct, frozen=True):
    """A definition somebody accepted."""

    server_id: str
    kind: Kind
    name: str
    definition: msgspec.Raw
    definition_hash: bytes
    accepted_by: str
    accepted_at: datetime


class PinWrite(msgspec.Struct, frozen=True):
    """A definition to accept; ``definition`` is JSON."""

    kind: Kind
    name: str
    definition: bytes
    definition_hash: bytes


class NewChange(msgspec.Struct, frozen=True):
    """A difference to decide on. ``change`` is ``added`` or ``changed``, ``old_hash`` the pin's.

    ``change_class`` is the column ``class``: the gravest of the diff's classes.
    """

    id: str
    kind: Kind
    name: str
    change: str
    change_class: str
    old_hash: bytes | None
    new_hash: bytes
    new_definition: bytes
    diff: list[dict[str, Any]]
    findings: list[dict[str, Any]]


class Change(msgspec.Struct, frozen=True):
    """A row of ``remote_tool_changes``."""

    id: str
    server_id: str
    kind: Kind
    name: str
    change: str
    change_class: str
    old_hash: bytes | None
    new_hash: bytes
    new_definition: msgspec.Raw
    diff: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    state: ChangeState
    detected_at: datetime
    decided_by: str | None
    decided_at: datetime | None


class ChangeDecision(msgspec.Struct, frozen=True):
    """A manager's word on one change; ``new_hash`` is the hash that was shown."""

    change_id: str
    new_hash: bytes
    is_accepted: bool
    user_id: str
