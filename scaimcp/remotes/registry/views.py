"""What REST shows of a server: all of it, a reader's part, or what governs it. Pure.

Spec: remote-servers 1 (views, example).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, UnsetType

from scaimcp.credentials.store import ROTATION_DUE_DAYS, StoredField, oldest_days
from scaimcp.remotes.enumerations import (
    CapabilityState,
    ChangeState,
    ConsentTier,
    Kind,
    Status,
    ToolChanges,
)
from scaimcp.remotes.models import Capability, Change, Counts, Pin, RegisteredServer, ServerRow
from scaimcp.remotes.rights import View
from scaimcp.remotes.rules import naming

MOST_CAPABILITIES = 500
DROPPED = "dropped"
_TITLES = {Kind.RESOURCE: "uri", Kind.RESOURCE_TEMPLATE: "uriTemplate"}


class CapabilityCounts(msgspec.Struct, frozen=True):
    """Definitions in service by kind, held ones, and ones that a check dropped."""

    tool: int
    resource: int
    resource_template: int
    prompt: int
    held: int
    dropped: int


class CapabilityView(msgspec.Struct, frozen=True):
    """One definition. A dropped one has kind, name, state and reason only.

    ``change_id`` is there while a change waits for a decision. ``input_schema`` is null for all
    but tools.
    """

    kind: Kind
    name: str
    state: str
    reason: str | None
    advertised_name: str | UnsetType = UNSET
    alias: str | UnsetType | None = UNSET
    title: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    input_schema: msgspec.Raw | UnsetType | None = UNSET
    findings: list[dict[str, Any]] | UnsetType = UNSET
    definition_hash: str | UnsetType = UNSET
    first_seen_at: datetime | UnsetType = UNSET
    changed_at: datetime | UnsetType = UNSET
    change_id: str | UnsetType = UNSET


class GovernanceView(msgspec.Struct, frozen=True):
    """Another user's personal server, as a tenant manager sees it.

    ``endpoint_url`` is the origin only.
    """

    id: str
    slug: str
    name: str
    owner_user_id: str
    endpoint_url: str
    status: Status
    created_at: datetime
    updated_at: datetime
    last_checked_at: datetime | None
    last_ok_at: datetime | None
    next_check_at: datetime | None
    last_discovery_at: datetime | None
    next_discovery_at: datetime | None
    failing_since: datetime | None
    approved_at: datetime | None


class ReaderView(msgspec.Struct, frozen=True, kw_only=True):
    """A shared server as those see it who may use it; ``endpoint_url`` is the origin only.

    ``capabilities`` is there in the detail, at most 500 of them, and not in lists.
    """

    id: str
    slug: str
    name: str
    description: str
    tenant_id: str
    owner_user_id: str
    is_tenant_shared: bool
    name_prefix: str
    endpoint_url: str
    transport: str | None
    auth_type: str | None
    consent_tier: ConsentTier
    forward_user_id: bool
    tool_changes: ToolChanges
    timeout_seconds: int | None
    status: Status
    status_reason: str | None
    last_health_status: str | None
    consecutive_failures: int
    failing_since: datetime | None
    last_checked_at: datetime | None
    last_ok_at: datetime | None
    next_check_at: datetime | None
    last_discovery_at: datetime | None
    next_discovery_at: datetime | None
    protocol_era: str | None
    protocol_version: str | None
    capability_counts: CapabilityCounts
    pending_changes: int
    list_notes: dict[str, Any]
    version: int
    approved_by: str | None
    approved_at: datetime | None
    created_at: datetime
    updated_at: datetime
    capabilities: list[CapabilityView] | UnsetType = UNSET
    capabilities_truncated: bool | UnsetType = UNSET


class ManagerView(ReaderView, frozen=True, kw_only=True):
    """A server as its manager sees it.

    ``credential_oldest_days`` is null without credentials; values are never shown.
    """

    credential_fields: list[str]
    credential_oldest_days: int | None
    credential_rotation_due: bool
    last_error_message: str | None
    server_info: dict[str, Any] | None


ServerView = ManagerView | ReaderView | GovernanceView


class ChangeView(msgspec.Struct, frozen=True):
    """One change of a definition; the definitions are there when it is asked for by id."""

    id: str
    kind: Kind
    name: str
    change: str
    change_class: str = msgspec.field(name="class")
    old_hash: str | None
    new_hash: str
    diff: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    state: ChangeState
    detected_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    old_definition: msgspec.Raw | UnsetType | None = UNSET
    new_definition: msgspec.Raw | UnsetType = UNSET


class PinView(msgspec.Struct, frozen=True):
    """One accepted definition: its hash, by whom and when."""

    kind: Kind
    name: str
    definition_hash: str
    accepted_by: str
    accepted_at: datetime


class Facts(msgspec.Struct, frozen=True):
    """What is read beside a server's rows to show it."""

    counts: Counts
    fields: Sequence[StoredField] = ()


def server_view(
    server: RegisteredServer,
    view: View,
    facts: Facts,
    capabilities: Sequence[CapabilityView] | None = None,
) -> ServerView:
    """Return a server as `view` shows it, in the detail with `capabilities`."""
    if view is View.GOVERNANCE:
        return _governed(server)
    values = _values(server, facts)
    if capabilities is not None:
        values["capabilities"] = list(capabilities[:MOST_CAPABILITIES])
        if len(capabilities) > MOST_CAPABILITIES:
            values["capabilities_truncated"] = True
    row, state = server.row, server.state
    if view is View.READER:
        values["endpoint_url"] = shown_origin(row)
        return ReaderView(**values)
    days = oldest_days(facts.fields, state.read_at)
    return ManagerView(
        **values,
        credential_fields=[field.field for field in facts.fields],
        credential_oldest_days=days,
        credential_rotation_due=days is not None and days >= ROTATION_DUE_DAYS,
        last_error_message=state.last_error_message,
        server_info=state.server_info,
    )


def shown_origin(row: ServerRow) -> str:
    """Return scheme and host of the endpoint, as in its URL."""
    parts = urlsplit(row.endpoint_url)
    return f"{parts.scheme}://{parts.netloc}"


def dropped_of(server: RegisteredServer) -> list[CapabilityView]:
    """Return the definitions that a check dropped, as far as they were noted."""
    return [
        CapabilityView(Kind(note["kind"]), note["name"], DROPPED, note["reason"])
        for note in (server.state.list_notes or {}).get(DROPPED, ())
    ]


def capability_view(
    row: ServerRow, found: Capability, changes: Mapping[tuple[Kind, str], str]
) -> CapabilityView:
    """Return one definition; `changes` are the ids of pending ones."""
    members: dict[str, msgspec.Raw] = msgspec.json.decode(
        found.definition, type=dict[str, msgspec.Raw]
    )
    is_uri = found.kind in _TITLES
    prefix = naming.resource_prefix(row.scope_key, row.slug) if is_uri else name_prefix(row)
    schema = members.get("inputSchema") if found.kind is Kind.TOOL else None
    return CapabilityView(
        kind=found.kind,
        name=found.name,
        state=found.state.value,
        reason=found.reason,
        advertised_name=prefix + found.name,
        alias=found.alias,
        title=_text(members, "title"),
        description=_text(members, "description"),
        input_schema=schema,
        findings=found.findings,
        definition_hash=found.definition_hash.hex(),
        first_seen_at=found.first_seen_at,
        changed_at=found.changed_at,
        change_id=changes.get((found.kind, found.name), UNSET)
        if found.state is CapabilityState.HELD
        else UNSET,
    )


def change_view(
    change: Change, old_definition: msgspec.Raw | UnsetType | None = UNSET
) -> ChangeView:
    """Return a change; with `old_definition`, which may be None, both definitions too."""
    return ChangeView(
        id=change.id,
        kind=change.kind,
        name=change.name,
        change=change.change,
        change_class=change.change_class,
        old_hash=change.old_hash.hex() if change.old_hash is not None else None,
        new_hash=change.new_hash.hex(),
        diff=change.diff,
        findings=change.findings,
        state=change.state,
        detected_at=change.detected_at,
        decided_by=change.decided_by,
        decided_at=change.decided_at,
        old_definition=old_definition,
        new_definition=UNSET if old_definition is UNSET else change.new_definition,
    )


def pin_view(pin: Pin) -> PinView:
    """Return an accepted definition without the definition."""
    return PinView(pin.kind, pin.name, pin.definition_hash.hex(), pin.accepted_by, pin.accepted_at)


def change_ids(changes: Iterable[Change]) -> dict[tuple[Kind, str], str]:
    """Return the ids of `changes` by what they concern."""
    return {(change.kind, change.name): change.id for change in changes}


def name_prefix(row: ServerRow) -> str:
    """Return what stands before the upstream's own names."""
    return naming.canonical(row.scope_key, row.slug, "")


def _text(members: Mapping[str, msgspec.Raw], name: str) -> str | None:
    value = msgspec.json.decode(members[name]) if name in members else None
    return value if isinstance(value, str) else None


def _governed(server: RegisteredServer) -> GovernanceView:
    row, state = server.row, server.state
    return GovernanceView(
        row.id,
        row.slug,
        row.name,
        row.owner_user_id,
        shown_origin(row),
        state.status,
        row.created_at,
        row.updated_at,
        state.last_checked_at,
        state.last_ok_at,
        state.next_check_at,
        state.last_discovery_at,
        state.next_discovery_at,
        state.failing_since,
        row.approved_at,
    )


_OF_ROW = (
    "id", "slug", "name", "description", "tenant_id", "owner_user_id", "is_tenant_shared",
    "endpoint_url", "transport", "auth_type", "consent_tier", "forward_user_id", "tool_changes",
    "timeout_seconds", "version", "approved_by", "approved_at", "created_at", "updated_at",
)  # fmt: skip
_OF_STATE = (
    "status", "status_reason", "last_health_status", "consecutive_failures", "failing_since",
    "last_checked_at", "last_ok_at", "next_check_at", "last_discovery_at", "next_discovery_at",
    "protocol_era", "protocol_version",
)  # fmt: skip


def _values(server: RegisteredServer, facts: Facts) -> dict[str, Any]:
    row, state, counts = server.row, server.state, facts.counts
    values = {name: getattr(row, name) for name in _OF_ROW}
    values.update({name: getattr(state, name) for name in _OF_STATE})
    notes = dict(state.list_notes or {})
    dropped = notes.pop(DROPPED, ())
    values.update(
        name_prefix=name_prefix(row),
        capability_counts=CapabilityCounts(
            counts.tool,
            counts.resource,
            counts.resource_template,
            counts.prompt,
            counts.held,
            len(dropped),
        ),
        pending_changes=counts.pending_changes,
        list_notes=notes,
    )
    return values
