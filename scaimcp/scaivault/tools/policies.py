"""Tools on access policies. Spec: scaivault 1, AP1–AP4."""

from __future__ import annotations

from scaimcp.scaivault.records import PathCheck, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import (
    CIDR,
    DESCRIPTION,
    GLOB,
    ID,
    IDENTITY,
    IP,
    PATH,
    SHORT,
    TIME,
    YES_NO,
    Enum,
    Many,
    Open,
    Record,
    may,
    need,
)

PERMISSIONS = Enum(("read", "write", "delete", "list", "rotate", "admin"))
_SCOPE = Enum(("tenant", "partner"))
_POLICY = need("policy_id", ID, "Id of the access policy.")
_ONE = (
    "id name description rules[path_pattern permissions conditions] "
    "bindings[identity_type identity_id expires_at] is_active created_at updated_at"
)
_CONDITIONS = Record(
    (
        may("ip_ranges", Many(CIDR, 0, 50), "Networks that the caller must be in."),
        may("require_mfa", YES_NO, "Whether a second factor is needed."),
        may("time_window", Open(1_024), "When access is allowed."),
    )
)
_RULE = Record(
    (
        need("path_pattern", GLOB, "Paths, with *, ? and **."),
        need("permissions", Many(PERMISSIONS, 1, 6), "What is allowed there."),
        may("conditions", _CONDITIONS, "Conditions that must all hold."),
    )
)
_CONTEXT = Record(
    (
        may("source_ip", IP, "Address to test from."),
        may("mfa_verified", YES_NO, "Whether a second factor was shown."),
        may("timestamp", TIME, "Time to test at, with a zone."),
    )
)

TOOLS = (
    ToolRecord(
        code="AP1",
        name="scaivault_list_policies",
        group="policies",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/policies", query=("scope", "include_inactive", "limit", "cursor")),
        arguments=(
            may("scope", _SCOPE, "Whose policies; both without."),
            may("include_inactive", YES_NO, "Also inactive ones.", False),
            *paging(),
        ),
        description="List access policies with how many rules and bindings each has. Holds no "
        "secret value.",
        hints="1010",
        fields="id name rule_count binding_count is_active created_at updated_at",
        container=("policies", "data"),
    ),
    ToolRecord(
        code="AP2",
        name="scaivault_get_policy",
        group="policies",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/policies/{policy_id}"),
        arguments=(_POLICY,),
        description="Show an access policy with its rules and to whom it is bound. Holds no "
        "secret value.",
        hints="1010",
        fields=_ONE,
        checks=(PathCheck("show", "rules[].path_pattern"),),
    ),
    ToolRecord(
        code="AP3",
        name="scaivault_create_policy",
        group="policies",
        tool_class="write",
        permission="admin",
        route=Route("POST", "/v1/policies", body=("name", "rules", "description", "scope")),
        arguments=(
            need("name", SHORT, "Name of the policy."),
            need("rules", Many(_RULE, 1, 50), "What it allows."),
            may("description", DESCRIPTION, "What it is for."),
            may("scope", _SCOPE, "Whose policy it is.", "tenant"),
        ),
        description="Create an access policy (class write). It gives access once it is bound to "
        "somebody. Holds no secret value.",
        hints="0000",
        fields=_ONE,
        checks=(
            PathCheck("glob", "rules[].path_pattern"),
            PathCheck("show", "rules[].path_pattern"),
        ),
    ),
    ToolRecord(
        code="AP4",
        name="scaivault_test_policy",
        group="policies",
        tool_class="read",
        permission="read",
        route=Route(
            "POST", "/v1/policies/test", body=("identity_id", "path", "permission", "context")
        ),
        arguments=(
            need("identity_id", IDENTITY, "Who, such as sa:report-runner."),
            need("path", PATH, "Path of the secret."),
            need("permission", PERMISSIONS, "What they would do."),
            may("context", _CONTEXT, "Circumstances to assume."),
        ),
        description="Test whether an identity may do something to a path, and why; nothing is "
        "changed. Holds no secret value.",
        hints="1010",
        fields="allowed evaluated[policy_id matched reason] failed_condition",
        checks=(PathCheck("path", "path"),),
    ),
)
