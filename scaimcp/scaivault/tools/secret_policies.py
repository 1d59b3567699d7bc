"""Tools on secret policies, which generate values. Spec: scaivault 1, SP1–SP5."""

from __future__ import annotations

from scaimcp.scaivault.known import GENERATORS, POLICY_TYPES
from scaimcp.scaivault.records import Mask, Route, ToolRecord, paging
from scaimcp.scaivault.shapes import (
    DESCRIPTION,
    ID,
    NAME,
    SHORT,
    YES_NO,
    Enum,
    Many,
    Open,
    Record,
    may,
    need,
)

_TYPE = Enum(tuple(POLICY_TYPES))
_POLICY = need("policy_id", ID, "Id of the secret policy.")
_ONE = (
    "id name policy_type fields[name generator config] is_active description created_at updated_at"
)
_HIDDEN = Mask(hidden=("fields[].config.value",))
_FIELD = Record(
    (
        need("name", NAME, "Key of the generated value."),
        need("generator", Enum(tuple(GENERATORS)), "What makes the value."),
        may("config", Open(8_192, takes_scalars_only=True), "Settings of the generator."),
    )
)

TOOLS = (
    ToolRecord(
        code="SP1",
        name="scaivault_list_secret_policies",
        group="secret_policies",
        tool_class="read",
        permission="read",
        route=Route(
            "GET", "/v1/secret-policies", query=("policy_type", "active_only", "limit", "cursor")
        ),
        arguments=(
            may("policy_type", _TYPE, "Only policies of this type."),
            may("active_only", YES_NO, "Leave out inactive ones.", False),
            *paging(),
        ),
        description="List secret policies, which say how values are generated. Holds no secret "
        "value, except static ones that are not masked.",
        hints="1010",
        fields="id name policy_type fields[name generator] is_active created_at updated_at",
        mask=_HIDDEN,
        container=("policies", "secret_policies", "data"),
        is_partial=True,
    ),
    ToolRecord(
        code="SP2",
        name="scaivault_get_secret_policy",
        group="secret_policies",
        tool_class="read",
        permission="read",
        route=Route("GET", "/v1/secret-policies/{policy_id}"),
        arguments=(_POLICY,),
        description="Show one secret policy with its generators. A static generator's value is a "
        "secret value.",
        hints="1010",
        fields=_ONE,
        mask=_HIDDEN,
        is_partial=True,
    ),
    ToolRecord(
        code="SP3",
        name="scaivault_create_secret_policy",
        group="secret_policies",
        tool_class="write",
        permission="admin",
        route=Route(
            "POST", "/v1/secret-policies", body=("name", "policy_type", "fields", "description")
        ),
        arguments=(
            need("name", SHORT, "Name of the policy."),
            need("policy_type", _TYPE, "What it generates."),
            need("fields", Many(_FIELD, 1, 20), "The values that it generates."),
            may("description", DESCRIPTION, "What it is for."),
        ),
        description="Create a secret policy that generates values (class write). Holds a secret "
        "value only where a static generator is not masked.",
        hints="0000",
        fields=_ONE,
        mask=_HIDDEN,
        is_partial=True,
    ),
    ToolRecord(
        code="SP4",
        name="scaivault_generate_secret_preview",
        group="secret_policies",
        tool_class="read",
        permission="read",
        route=Route("POST", "/v1/secret-policies/{policy_id}/preview"),
        arguments=(_POLICY,),
        description="Generate example values from a secret policy; nothing is stored. The result "
        "holds generated values, which become secret once they are used.",
        hints="1000",
        fields="policy_id values stored",
        mask=Mask(hidden=("values.*",)),
        special="preview",
        is_partial=True,
    ),
    ToolRecord(
        code="SP5",
        name="scaivault_get_policy_types",
        group="secret_policies",
        tool_class="read",
        permission="read",
        route=Route("", ""),
        arguments=(),
        description="Show the types of secret policies, their generators and the sets of "
        "characters. Holds no secret value.",
        hints="1010",
        fields="types generators charsets",
        special="policy_types",
        is_partial=True,
    ),
)
