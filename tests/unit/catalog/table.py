"""The catalogue's table as data, and a reader of its notation of its own.

The reader shares no code with `scaimcp.catalog.notation`, so that a fault in either shows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parents[2] / "data" / "catalogue.json"
_TOKEN = re.compile(r"\s*([\w./-]+|[≤≥–:*=,<>{}()])")
_LIMITS = {"str": "1–256", "text": "1–65536", "id": "1–128", "ts": "10–40", "money": "1–32"}
_BOUND_NAMES = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "array": ("minItems", "maxItems"),
}
_SIMPLE = {"int": "integer", "num": "number", "bool": "boolean"}
_PAGE = "limit:int(1–100)=25, cursor:str(≤512)"

# Object fields, scaigrid 9 (core) and 11 (modules).
OBJECT_FIELDS = {
    "Model": "id slug display_name description modality context_window max_output_tokens "
    "input_price_per_mtok output_price_per_mtok default_params status health_status "
    "active_backend_count total_backend_count created_at updated_at",
    "ModelAccess": "id model_id subject_type subject_id effect created_at",
    "ModelGroup": "id slug display_name description model_slugs created_at",
    "Backend": "id name provider_id provider_type model_id upstream_model connection_config "
    "priority weight status health_status created_at",
    "Provider": "id name provider_type base_url status backend_count created_at",
    "RoutingPolicy": "id name model_id strategy backend_ids fallback_model max_retries status "
    "created_at",
    "Batch": "id status request_counts output_file_url error_file_url endpoint_completion_window "
    "metadata created_at completed_at",
    "Session": "id model title system_prompt metadata status message_count user_id created_at "
    "updated_at",
    "Message": "id role content author_type author_id model usage reply_to created_at",
    "Room": "id name description members status created_by created_at updated_at",
    "UsageRow": "id model backend_id user_id tenant_id tokens_in tokens_out cost latency_ms "
    "created_at",
    "UsageGroup": "group_key request_count input_tokens output_tokens total_tokens total_cost "
    "backend_cost",
    "Budget": "id scope scope_id period cost_limit token_limit request_limit hard_action "
    "soft_limit_pct used_cost used_tokens used_requests resets_at created_at",
    "User": "id email display_name status roles custom_role_ids tenant_id last_login_at created_at",
    "ApiKey": "id name prefix scopes assigned_user_id expires_at last_used_at created_at",
    "Group": "id name external_id member_count synced_at member_ids",
    "CustomRole": "id tenant_id name slug description core_permissions module_permissions "
    "created_by created_at updated_at",
    "RoleMapping": "id group_id role custom_role_id auto_revoke created_at",
    "Webhook": "id url events status max_retries consecutive_failures created_at",
    "Delivery": "id event_type status status_code attempts duration_ms error created_at",
    "Module": "id module_id display_name version description status admin_pages dependencies "
    "permissions frontend_url mcp_tools_path",
    "Partner": "id slug display_name status settings created_at",
    "Tenant": "id slug display_name status settings created_at partner_id",
    "AuditRow": "id timestamp action actor_id actor_email actor_type tenant_id partner_id "
    "resource_type resource_id status ip_address user_agent details",
    "Bunker": "id name image status lifecycle_mode network_profile cpu_millicores memory_mb "
    "disk_mb gpu_count gpu_type created_at expires_at",
    "Collection": "id name description embedding_model chunking_strategy chunk_size chunk_overlap "
    "graph_enabled document_count storage_bytes default_access user_permission created_at",
    "Document": "id collection_id name status size_bytes chunk_count error metadata created_at",
    "Queue": "id scope_id slug display_name ordering consumer_mode depth in_flight "
    "dead_letter_count",
    "Persona": "id name slug model_slug published_model rag_enabled status created_at "
    "system_prompt settings",
    "Voice": "id name language gender scope embedding_status",
    "Job": "id name status progress labels created_at started_at finished_at error",
    "Core": "id name runtime_mode concurrency_mode privilege_level status created_at",
    "Bot": "id name slug model_slug status created_at",
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    group: str
    rest: str
    arguments: str
    permission: str
    module: str | None
    hints: str
    result: str

    @property
    def notation(self) -> str:
        """The arguments without the cross-field rule, ``@page`` spelled out."""
        return self.arguments.partition(";")[0].replace("@page", _PAGE)

    @property
    def rule(self) -> str:
        """The cross-field rule in words, or ""."""
        return self.arguments.partition(";")[2].strip()

    @property
    def request(self) -> str:
        """Method and absolute path, or ``gateway``."""
        method, _, path = self.rest.partition(" ")
        if self.group == "module" and not path.startswith("/v1"):
            path = f"/v1/modules/{self.module}{path}"
        return f"{method} {path}".strip()

    @property
    def roles(self) -> set[str]:
        """Roles of which the caller needs one, empty for none."""
        words = self.permission.partition("role:")[2]
        return {role for role in re.split(r"\s+or\s+|\s+", words.strip()) if role}

    @property
    def key(self) -> str:
        """The permission key alone."""
        return self.permission.partition(",")[0]


def rows() -> list[Row]:
    """Return the table in the order of the specification."""
    read = json.loads(_DATA.read_text(encoding="utf-8"))
    return [Row(**{key: row[key] for key in Row.__dataclass_fields__}) for row in read]


def expected_schema(notation: str) -> dict[str, Any]:
    """Return the input schema of a line of arguments, without descriptions."""
    tokens = _TOKEN.findall(notation)
    assert "".join(tokens) == re.sub(r"\s", "", notation), notation
    return _members(tokens, end=None)


def _members(tokens: list[str], end: str | None) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    while tokens and tokens[0] != end:
        name = tokens.pop(0)
        assert tokens.pop(0) == ":", name
        properties[name] = _type(tokens)
        if tokens[:1] == ["*"]:
            tokens.pop(0)
            required.append(name)
        if tokens[:1] == ["="]:
            properties[name]["default"] = _literal(tokens[1], properties[name]["type"])
            del tokens[:2]
        if tokens[:1] == [","]:
            tokens.pop(0)
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


def _type(tokens: list[str]) -> dict[str, Any]:
    word = tokens.pop(0)
    if word == "{":
        schema = _members(tokens, end="}")
        tokens.pop(0)
        return schema
    if word == "map":
        return {"type": "object", "maxProperties": 64, "additionalProperties": True}
    if word == "enum":
        values = "".join(_parenthesis(tokens)).split(",")
        return {"type": "string", "enum": values}
    if word == "list":
        tokens.pop(0)
        schema = {"type": "array", "items": _type(tokens)}
        assert tokens.pop(0) == ">"
    else:
        schema = {"type": _SIMPLE.get(word, "string")}
    bounds = "".join(_parenthesis(tokens)) or _LIMITS.get(word, "")
    low, high = _BOUND_NAMES.get(schema["type"], ("", ""))
    if bounds.startswith("≤"):
        schema[high] = json.loads(bounds[1:])
    elif bounds.startswith("≥"):
        schema[low] = json.loads(bounds[1:])
    elif bounds:
        schema[low], schema[high] = (json.loads(part) for part in bounds.split("–"))
    return schema


def _parenthesis(tokens: list[str]) -> list[str]:
    if tokens[:1] != ["("]:
        return []
    close = tokens.index(")")
    inside = tokens[1:close]
    del tokens[: close + 1]
    return inside


def _literal(word: str, type_: str) -> Any:
    return word if type_ == "string" else json.loads(word)


def expected_rule(row: Row) -> tuple[str, set[str]] | None:
    """Return kind and argument names of the row's cross-field rule, None without one."""
    if not row.rule:
        return None
    names = list(expected_schema(row.notation)["properties"])
    kind, _, words = row.rule.partition(" of ")
    if row.rule == "at least one limit":
        return "at_least_one", {name for name in names if name.endswith("_limit")}
    chosen = {"the first two": names[:2], "the last two": names[-2:]}
    picked = chosen.get(words) or words.split(" and ")
    return kind.replace(" ", "_"), set(picked)


def expected_fields(row: Row, by_name: dict[str, Row]) -> list[str]:
    """Return the top-level result fields in their published order."""
    text = row.result
    if text == "the called tool's own result":
        return []
    if text == "deleted":
        return ["deleted", "id"]
    if text.startswith("as "):
        other, _, more = text.removeprefix("as ").partition(", ")
        return expected_fields(by_name[other], by_name) + _names(more)
    if text.startswith("List of "):
        more = re.sub(r"List of (\{[^}]*\}|\w+),?", "", text)
        return ["items", "has_more", "next_cursor", "total_count", *_names(more)]
    head, _, more = text.partition(", ")
    if head in OBJECT_FIELDS:
        return OBJECT_FIELDS[head].split() + _names(more)
    return _names(text)


def _names(text: str) -> list[str]:
    return [name.strip().rstrip("?") for name in text.split(",") if name.strip()]


def without_descriptions(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of `schema` in which no property has a description."""
    bare = {key: value for key, value in schema.items() if key != "description"}
    if "properties" in bare:
        members = bare["properties"].items()
        bare["properties"] = {name: without_descriptions(value) for name, value in members}
    if "items" in bare:
        bare["items"] = without_descriptions(bare["items"])
    return bare
