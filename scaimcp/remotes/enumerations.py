"""The closed sets of words that rows of the remote-server tables hold.

Spec: remote-servers 1, 2.
"""

from __future__ import annotations

from enum import StrEnum


class Transport(StrEnum):
    """How a server is spoken to; never switched silently."""

    STREAMABLE_HTTP = "streamable_http"
    SSE = "sse"


class AuthType(StrEnum):
    """How the gateway proves itself to a server."""

    NONE = "none"
    BEARER = "bearer"
    API_KEY_HEADER = "api_key_header"
    PER_USER = "per_user"


class ConsentTier(StrEnum):
    """Whether a call asks its user. Spec: remote-servers 9."""

    AUTO = "auto"
    CONFIRM = "confirm"
    LOCKED = "locked"


class ToolChanges(StrEnum):
    """What happens when a definition changes. Spec: remote-servers 6."""

    AUTO = "auto"
    REVIEW = "review"


class Status(StrEnum):
    """Where a server stands; only ``active`` ones are listed and called."""

    PENDING_APPROVAL = "pending_approval"
    ACTIVE = "active"
    ERROR = "error"
    DISABLED = "disabled"


class Kind(StrEnum):
    """What a definition defines, in the order of lists."""

    TOOL = "tool"
    RESOURCE = "resource"
    RESOURCE_TEMPLATE = "resource_template"
    PROMPT = "prompt"


class CapabilityState(StrEnum):
    """Whether a stored definition is in service."""

    ADVERTISED = "advertised"
    HELD = "held"


class ChangeState(StrEnum):
    """What became of a detected change."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"


class ApprovalState(StrEnum):
    """What became of a question to a user."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    CONSUMED = "consumed"
    EXPIRED = "expired"


class Scope(StrEnum):
    """Which rows a list is asked for; ``all`` adds other users' personal rows."""

    PERSONAL = "personal"
    TENANT = "tenant"
    ALL = "all"
