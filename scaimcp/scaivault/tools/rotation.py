"""Tools on rotation policies. Spec: scaivault 1, RO1–RO3."""

from __future__ import annotations

from scaimcp.scaivault.records import PathCheck, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import (
    DESCRIPTION,
    DURATION,
    ID,
    SHORT,
    YES_NO,
    Integer,
    Many,
    may,
    need,
)

_ROW = "id name interval interval_seconds grace_period auto_generate is_active secrets_count"

TOOLS = (
    ToolRecord(
        code="RO1",
        name="scaivault_list_rotation_policies",
        group="rotation",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/rotation/policies", query=("active_only", "limit", "cursor")),
        arguments=(may("active_only", YES_NO, "Leave out inactive ones.", False), *paging()),
        description="List rotation policies with interval and grace period. Holds no secret value.",
        hints="1010",
        fields=_ROW,
        container=("data", "policies", "rotation_policies"),
    ),
    ToolRecord(
        code="RO2",
        name="scaivault_create_rotation_policy",
        group="rotation",
        tool_class="write",
        permission="admin",
        route=Route(
            "POST",
            "/v1/rotation/policies",
            body=(
                "name",
                "interval",
                "description",
                "grace_period",
                "warn_before",
                "auto_generate",
                "secret_policy_id",
                "webhook_ids",
            ),
        ),
        arguments=(
            need("name", SHORT, "Name of the policy."),
            need("interval", DURATION, "Time between two rotations, such as 90d."),
            may("description", DESCRIPTION, "What it is for."),
            may("grace_period", DURATION, "How long the old version stays readable.", "48h"),
            may("warn_before", Many(DURATION, 0, 10), "When to warn before a rotation."),
            may("auto_generate", YES_NO, "Generate the new value by a secret policy.", False),
            may("secret_policy_id", ID, "The secret policy that generates."),
            may("webhook_ids", Many(ID, 0, 20), "Webhooks to tell."),
        ),
        description="Create a rotation policy (class write). Holds no secret value.",
        hints="0000",
        fields=f"{_ROW} warn_before secret_policy_id webhook_ids created_at",
    ),
    ToolRecord(
        code="RO3",
        name="scaivault_get_secrets_due_rotation",
        group="rotation",
        tool_class="read",
        permission="read",
        route=Route(
            "GET", "/v1/rotation/due", query=("within_hours", "include_overdue", "policy_id")
        ),
        arguments=(
            may("within_hours", Integer(0, 8_760), "Hours to look ahead.", 24),
            may("include_overdue", YES_NO, "Also those whose time has passed.", True),
            may("policy_id", ID, "Only secrets under this rotation policy."),
        ),
        description="List secrets whose rotation is due, without secret values.",
        hints="1010",
        fields="secret_path policy_id due_at overdue last_rotated_at",
        checks=(PathCheck("rows", "secret_path"),),
        container=("data", "due", "secrets"),
    ),
)
