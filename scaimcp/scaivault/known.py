"""Fixed words of ScaiVault: audit actions, events, generators. Data only.

As its public reference lists them; of the events of dynamic leases, which it speaks of, it gives
no names. Spec: scaivault 1 (SP5, SU5, AU1).
"""

from __future__ import annotations

from collections.abc import Mapping

AUDIT_ACTIONS = (
    "read", "write", "delete", "list", "rotate", "policy_create", "policy_update", "policy_delete",
    "policy_bind", "policy_unbind", "pki_issue", "pki_sign", "pki_revoke", "pki_ca_create",
    "dynamic_generate", "dynamic_renew", "dynamic_revoke", "webhook_delivery",
    "subscription_event", "federation_sync", "identity_sync", "export_created",
)  # fmt: skip

EVENT_FIELDS: Mapping[str, tuple[str, ...]] = {
    "secret.created": ("version", "secret_type", "created_by", "tags", "expires_at"),
    "secret.updated": ("old_version", "new_version", "updated_by", "is_rotation"),
    "secret.deleted": ("version_count", "deleted_by", "permanent", "recoverable_until"),
    "secret.rotated": (
        "old_version", "new_version", "rotation_policy_id", "rotation_policy_name",
        "grace_period_ends", "auto_generated",
    ),
    "secret.expiring": ("expires_at", "days_remaining", "threshold"),
    "secret.expired": ("expires_at",),
    "secret.accessed": ("version", "accessed_by"),
    "policy.created": ("policy_id", "policy_name"),
    "policy.updated": ("policy_id", "policy_name"),
    "policy.deleted": ("policy_id", "policy_name"),
    "policy.binding.created": ("policy_id", "identity_type", "identity_id"),
    "policy.binding.deleted": ("policy_id", "identity_type", "identity_id"),
    "policy.violation": ("policy_id", "identity_id", "permission", "reason"),
    "rotation.due": ("rotation_policy_id", "due_at", "due_now"),
    "rotation.overdue": ("rotation_policy_id", "due_at"),
    "rotation.completed": ("rotation_policy_id", "new_version"),
    "rotation.failed": ("rotation_policy_id", "error"),
    "certificate.issued": ("certificate_id", "serial_number", "common_name", "not_after"),
    "certificate.renewed": ("certificate_id", "serial_number", "common_name", "not_after"),
    "certificate.revoked": ("certificate_id", "serial_number", "reason"),
    "certificate.expiring": ("certificate_id", "common_name", "not_after", "days_remaining"),
}  # fmt: skip
EVENTS = tuple(EVENT_FIELDS)

POLICY_TYPES: Mapping[str, tuple[str, ...]] = {
    "password": ("password",),
    "api_key": ("api_key", "api_secret"),
    "oauth_client": ("client_id", "client_secret"),
    "ssh_key": ("private_key", "public_key"),
    "custom": (),
}
GENERATORS: Mapping[str, tuple[str, ...]] = {
    "random": (
        "length", "charset", "require_upper", "require_lower", "require_digit", "require_symbol",
    ),
    "hex": ("length",),
    "uuid": ("version",),
    "template": ("template",),
    "rsa_keypair": ("bits",),
    "ec_keypair": ("curve",),
    "ssh_keypair": ("key_type", "comment"),
    "bcrypt_hash": ("length", "rounds"),
    "static": ("value",),
}  # fmt: skip
CHARSETS = ("alphanumeric", "alpha", "numeric", "hex", "safe", "full")
