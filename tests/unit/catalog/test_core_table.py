"""The built-in catalogue against the specification's table, row by row."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.definition import ToolDefinition
from tests.unit.catalog.table import (
    Row,
    expected_fields,
    expected_rule,
    expected_schema,
    rows,
    without_descriptions,
)

TABLE = rows()
BY_NAME = {row.name: row for row in TABLE}
TOOLS: dict[str, ToolDefinition] = {tool.name: tool for tool in (*CORE, *GATEWAY, *MODULES)}

READS = {"tenant_viewer": {"models:list", "accounting:view_own"}}
READS["tenant_user"] = READS["tenant_viewer"] | {"models:use", "api_keys:manage", "modules:use"}
READS["tenant_admin"] = READS["tenant_user"] | {
    "routing:view",
    "accounting:view_tenant",
    "accounting:manage_budgets",
    "users:manage",
    "webhooks:manage",
    "modules:manage",
    "admin:access",
}
READS["partner_viewer"] = READS["tenant_viewer"] | {
    "accounting:view_tenant",
    "accounting:view_partner",
}
READS["partner_admin"] = READS["partner_viewer"] | {
    "accounting:manage_budgets",
    "users:manage",
    "admin:access",
}
READS["super_admin"] = {row.key for row in TABLE}
READS["nobody"] = set()
VIEWER_MODULE_KEYS = {
    "scaimatrix:view",
    "scaimatrix:search",
    "scaiskills:view",
    "scaipersona:view",
    "scaispeak:voice.read",
    "scaimind:view",
    "scaicore:view",
    "scaibot:bots:read",
}


def test_the_table_has_the_published_numbers() -> None:
    assert Counter(row.group for row in TABLE) == {"core": 107, "gateway": 4, "module": 45}
    assert Counter(row.module for row in TABLE if row.module) == {
        "scaibunker": 8,
        "scaimatrix": 8,
        "scaiskills": 3,
        "scaiqueue": 7,
        "scaipersona": 5,
        "scaispeak": 4,
        "scaiecho": 2,
        "scaimind": 3,
        "scaicore": 3,
        "scaibot": 2,
    }


def test_core_tools_are_complete_and_in_the_order_of_the_table() -> None:
    assert [tool.name for tool in CORE] == [row.name for row in TABLE if row.group == "core"]


def test_gateway_tools_are_complete_and_in_the_order_of_the_table() -> None:
    assert [tool.name for tool in GATEWAY] == [row.name for row in TABLE if row.group == "gateway"]


def test_module_tools_are_ordered_by_module_and_then_as_in_the_table() -> None:
    listed = [row for row in TABLE if row.group == "module"]
    ordered = sorted(listed, key=lambda row: row.module or "")
    assert [tool.name for tool in MODULES] == [row.name for row in ordered]


def told(row: Row) -> dict[str, Any]:
    """Return what the table says of a tool."""
    schema, rule = expected_schema(row.notation), expected_rule(row)
    return {
        "request": row.request,
        "arguments": schema,
        "order": list(schema["properties"]),
        "required": schema.get("required"),
        "rules": [rule] if rule else [],
        "permission": row.key,
        "roles": row.roles,
        "module": row.module,
        "origin": row.group,
        "hints": row.hints,
        "fields": expected_fields(row, BY_NAME),
        "is_deleted": row.result == "deleted",
        "is_gateway": row.group == "gateway",
        "is_export": row.result == "format, content, size_bytes",
        "is_list": row.result.startswith("List of ") or TOOLS[row.name].result.kind == "list",
    }


def built(tool: ToolDefinition) -> dict[str, Any]:
    """Return the same of the tool as it is."""
    request, hints, kind = tool.request, tool.hints, tool.result.kind
    letters = {
        "R": hints.read_only,
        "D": hints.destructive,
        "I": hints.idempotent,
        "O": hints.open_world,
    }
    return {
        "request": f"{request.method} {request.path}" if request else "gateway",
        "arguments": without_descriptions(tool.input_schema),
        "order": list(tool.input_schema["properties"]),
        "required": tool.input_schema.get("required"),
        "rules": [(rule.kind, set(rule.arguments)) for rule in tool.rules],
        "permission": tool.permission,
        "roles": set(tool.roles),
        "module": tool.module_id,
        "origin": tool.origin,
        "hints": "".join(letter for letter, is_set in letters.items() if is_set),
        "fields": [name for name, _ in tool.result.fields],
        "is_deleted": kind == "deleted",
        "is_gateway": kind == "gateway",
        "is_export": kind == "export",
        "is_list": kind == "list",
    }


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_tool_is_that_of_the_table(row: Row) -> None:
    assert built(TOOLS[row.name]) == told(row)


def test_chat_like_tools_answer_with_flat_replies() -> None:
    kinds = {name: tool.result.kind for name, tool in TOOLS.items()}
    flat = {name for name, kind in kinds.items() if kind in ("chat", "message")}
    assert flat == {
        "inference_chat",
        "inference_generate",
        "persona_invoke",
        "sessions_send_message",
        "rooms_send_message",
    }
    assert kinds["inference_embed"] == "embeddings"
    assert kinds["inference_image_generate"] == "images"
    assert kinds["inference_synthesize"] == "audio"


def test_models_are_resolved_only_where_an_id_is_needed() -> None:
    assert {name for name, tool in TOOLS.items() if tool.resolves_model} == {
        "models_update",
        "models_delete",
        "model_access_list",
        "model_access_create",
        "model_access_delete",
    }


def test_bodies_other_than_json_are_where_the_specification_wants_them() -> None:
    bodies = {tool.name: tool.request.body for tool in CORE if tool.request}
    assert {name: body for name, body in bodies.items() if body != "json"} == {
        "inference_chat": "chat",
        "inference_transcribe": "multipart",
        "inference_batch_create": "batch",
        "sessions_send_message": "chat",
        "modules_update_config": "config",
    }


def test_deadlines_are_longer_for_models_and_exports() -> None:
    seconds = {tool.name: tool.request.timeout_seconds for tool in CORE if tool.request}
    assert {name for name, value in seconds.items() if value == 60} == {
        "accounting_export",
        "audit_export",
    }
    assert {name for name, value in seconds.items() if value == 120} == {
        "inference_chat",
        "inference_generate",
        "inference_embed",
        "inference_image_generate",
        "inference_transcribe",
        "inference_synthesize",
        "inference_batch_create",
        "sessions_send_message",
        "rooms_send_message",
    }
    assert set(seconds.values()) == {30, 60, 120}


def test_recordings_travel_as_a_file() -> None:
    request = TOOLS["inference_transcribe"].request
    assert request is not None
    assert request.files == (("audio_base64", "file"),)


def test_sensitive_arguments_are_marked() -> None:
    assert {tool.name: set(tool.sensitive) for tool in CORE if tool.sensitive} == {
        "inference_transcribe": {"audio_base64"},
        "backends_create": {"connection_config"},
        "backends_update": {"connection_config"},
        "providers_create": {"connection_config"},
        "providers_update": {"connection_config"},
        "webhooks_create": {"secret"},
        "webhooks_update": {"secret"},
        "modules_update_config": {"config"},
    }


@pytest.mark.parametrize(
    ("role", "count"),
    [
        ("super_admin", 107),
        ("partner_admin", 38),
        ("partner_viewer", 15),
        ("tenant_admin", 75),
        ("tenant_user", 41),
        ("tenant_viewer", 11),
        ("nobody", 2),
    ],
)
def test_each_role_holds_the_permissions_of_the_published_number_of_core_tools(
    role: str, count: int
) -> None:
    visible = [
        tool
        for tool in CORE
        if tool.permission in READS[role] | {""} and (not tool.roles or role in tool.roles)
    ]
    assert len(visible) == count


def test_a_tenant_viewer_reads_twenty_module_tools_and_a_tenant_user_invokes_personas() -> None:
    assert sum(tool.permission in VIEWER_MODULE_KEYS for tool in MODULES) == 20
    held = READS["tenant_user"]
    assert [tool.name for tool in MODULES if tool.permission in held] == ["persona_invoke"]
    assert sum(tool.permission != "models:use" for tool in MODULES) == 44


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_descriptions_of_arguments_say_what_absence_and_rules_mean(tool: ToolDefinition) -> None:
    properties = tool.input_schema["properties"]
    under_rules = {(name, rule.kind) for rule in tool.rules for name in rule.arguments}
    for name, kind in under_rules:
        assert kind.replace("_", " ") in properties[name]["description"], name
    named = {name for name, _ in under_rules} | set(tool.input_schema.get("required", ()))
    for name in properties.keys() - named:
        assert re.search(r"left out|leave out|absent", properties[name]["description"]), name
