"""Rows of ``remote_approvals`` and what callers hand to its store. Spec: remote-servers 2, 9."""

from __future__ import annotations

from datetime import datetime

import msgspec

from scaimcp.remotes.enumerations import ApprovalState


class Binding(msgspec.Struct, frozen=True):
    """What an approval is good for. Spec: remote-servers 9."""

    tenant_id: str
    caller_user_id: str
    server_id: str
    tool: str
    arguments_digest: bytes
    definition_hash: bytes


class NewApproval(msgspec.Struct, frozen=True):
    """A question to a user, or one that was answered at once.

    Args:
        id: ``apr_`` + 128 random bits, or the nonce of the sealed request state.
        mode: how the user is asked.
        seconds: life from now, by the database's clock.
        arguments_sealed: None where nobody will have to show them.
    """

    id: str
    binding: Binding
    mode: str
    seconds: float
    arguments_sealed: bytes | None = None


class Approval(msgspec.Struct, frozen=True):
    """A row of ``remote_approvals``; ``expired`` as soon as its time is over and it is undecided.

    ``arguments_sealed`` is None once decided, consumed or expired.
    """

    id: str
    binding: Binding
    arguments_sealed: bytes | None
    mode: str
    state: ApprovalState
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None
    consumed_at: datetime | None


class ApprovalDecision(msgspec.Struct, frozen=True):
    """A user's word on one question; ``arguments_digest`` is the digest that was shown."""

    approval_id: str
    arguments_digest: bytes
    is_approved: bool


class AskedServer(msgspec.Struct, frozen=True):
    """What a question says of the server that is to be called."""

    id: str
    name: str
    endpoint_origin: str


class ExpiredApproval(msgspec.Struct, frozen=True):
    """What an audit row says of an approval whose time is over."""

    id: str
    binding: Binding
    mode: str
