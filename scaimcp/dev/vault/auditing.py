"""The audit row of a call. Spec: scaivault 7 (audit)."""

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.call import Call
from scaimcp.dev.vault.errors import Refusal


def write_row(call: Call, action: str | None, error: Refusal | None) -> None:
    """Write a call's row; none without an action or before the caller is known."""
    if action is None or not call.known:
        return
    call.tenant.audit.append(
        {
            "id": call.vault.new_id("log"),
            "timestamp": iso(call.now),
            "action": action,
            "identity_type": call.identity.type,
            "identity_id": call.identity.id,
            "secret_path": call.secret_path,
            "source_ip": call.source_ip,
            "user_agent": call.headers.get("user-agent"),
            "success": error is None,
            "duration_ms": round((call.vault.clock.now() - call.now) * 1000),
            "request_id": call.request_id,
            "extra_data": {**call.extra, **({"error_code": error.code} if error else {})},
        }
    )
