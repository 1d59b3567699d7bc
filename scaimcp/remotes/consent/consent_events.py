"""What the audit log and the metrics say of questions to users. Spec: remote-servers 10."""

from __future__ import annotations

from scaimcp.audit.store import AuditEvent
from scaimcp.remotes.approval_models import Binding
from scaimcp.telemetry.metrics import CONSENTS

FORM = "form"
PAGE = "page"


def consent_event(verb: str, approval_id: str, binding: Binding, mode: str) -> AuditEvent:
    """Return the audit event ``consent.<verb>``: names and hashes, no arguments.

    Args:
        verb: ``request``, ``approve``, ``deny``, ``consume`` or ``expire``.
        approval_id: the row, or the nonce of a question that has none.
        binding: the call that it is about.
        mode: how the user is asked: `FORM` or `PAGE`.
    """
    data = {
        "approval_id": approval_id,
        "tool": binding.tool,
        "digest": binding.arguments_digest.hex(),
        "mode": mode,
    }
    return AuditEvent(
        binding.tenant_id, f"consent.{verb}", "remote_server", binding.server_id, data=data
    )


def count_consent(mode: str, outcome: str) -> None:
    """Count one step of one question."""
    CONSENTS.labels(mode, outcome).inc()
