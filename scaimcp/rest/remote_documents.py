"""Bodies and answers of ``…/remote-servers`` as the OpenAPI document shows them.

What a body must be beyond its shape is in `scaimcp.remotes.registry.fields`.

Spec: remote-servers 1.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from scaimcp.remotes.enumerations import AuthType, ConsentTier, ToolChanges, Transport
from scaimcp.remotes.registry.views import GovernanceView, ManagerView, ReaderView

VIEWS = (ManagerView, ReaderView, GovernanceView)
"""What is shown of a server, by who asks."""
_ITEMS = {"items": {"anyOf": [{"$ref": f"#/components/schemas/{v.__name__}"} for v in VIEWS]}}


class NewServer(msgspec.Struct, frozen=True):
    """A server to register. ``credentials`` are headers; with ``bearer`` ``authorization`` only."""

    name: str
    endpoint_url: str
    auth_type: AuthType
    description: str = ""
    transport: Transport = Transport.STREAMABLE_HTTP
    credentials: dict[str, str] = {}
    is_tenant_shared: bool = False
    consent_tier: ConsentTier = ConsentTier.AUTO
    forward_user_id: bool = False
    tool_changes: ToolChanges | UnsetType = UNSET
    timeout_seconds: int | None = None


class ServerChanges(msgspec.Struct, frozen=True):
    """What is to change; ``credentials`` replaces the whole set."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    endpoint_url: str | UnsetType = UNSET
    transport: Transport | UnsetType = UNSET
    auth_type: AuthType | UnsetType = UNSET
    credentials: dict[str, str] | UnsetType = UNSET
    consent_tier: ConsentTier | UnsetType = UNSET
    forward_user_id: bool | UnsetType = UNSET
    tool_changes: ToolChanges | UnsetType = UNSET
    timeout_seconds: int | UnsetType | None = UNSET


class NewValue(msgspec.Struct, frozen=True):
    """The new value of one credential."""

    value: str


class Reason(msgspec.Struct, frozen=True):
    """Why a server is taken out of service."""

    reason: str | UnsetType | None = UNSET


class ServerList(msgspec.Struct, frozen=True):
    """A page of servers, newest first, each as the caller sees it."""

    items: Annotated[list[Any], msgspec.Meta(extra_json_schema=_ITEMS)]
