"""Tools and results in the words of each revision."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from scaimcp.errors import ToolError
from scaimcp.server.rendering import TTL_MS, Parts, Renderer, gemini, tool_fields, tools_array
from scaimcp.server.revisions import (
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
    Revision,
)
from scaimcp.types import Tool, ToolResult

ALL = (V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25, V2026_07_28)
STRUCTURED = (V2025_06_18, V2025_11_25, V2026_07_28)
REQUEST_ID = "ai.scailabs.scaimcp/request_id"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
HINTS = {
    "readOnlyHint": True,
    "destructiveHint": False,
    "idempotentHint": True,
    "openWorldHint": False,
}
RENDERER = Renderer("scaimcp", "1.2.3")
AUDIO = {"type": "audio", "data": base64.b64encode(b"12345").decode(), "mimeType": "audio/wav"}


def tool(**changes: Any) -> Tool:
    fields: dict[str, Any] = {
        "name": "models_list",
        "title": "List models",
        "description": "List the models.",
        "input_schema": {"type": "object", "properties": {}, "additionalProperties": False},
        "output_schema": {"type": "object"},
        "annotations": HINTS,
        "meta": {"ai.scailabs.scaimcp/required_permission": "models:list"},
        **changes,
    }
    return Tool(**fields)


def decoded(parts: Parts) -> Any:
    # The pieces close the message as well.
    return json.loads(b'{"result":' + b"".join(parts))["result"]


def call_result(result: ToolResult, revision: Revision) -> Any:
    return decoded(RENDERER.call_result(result, "req_1", revision))


# -- tools -------------------------------------------------------------------------------------


def test_the_first_revision_has_name_description_and_schema_only() -> None:
    fields = tool_fields(tool(), V2024_11_05, "canonical")
    assert list(fields) == ["name", "description", "inputSchema"]


def test_the_second_revision_has_annotations_with_the_title_among_them() -> None:
    fields = tool_fields(tool(), V2025_03_26, "canonical")
    assert list(fields) == ["name", "description", "inputSchema", "annotations"]
    assert fields["annotations"] == {"title": "List models", **HINTS}


@pytest.mark.parametrize("revision", STRUCTURED, ids=lambda r: r.name)
def test_later_revisions_have_everything(revision: Revision) -> None:
    fields = tool_fields(tool(), revision, "canonical")
    assert fields["title"] == "List models"
    assert fields["annotations"] == HINTS
    assert fields["outputSchema"] == {"type": "object"}
    assert fields["_meta"] == {"ai.scailabs.scaimcp/required_permission": "models:list"}


@pytest.mark.parametrize("revision", STRUCTURED, ids=lambda r: r.name)
def test_what_a_tool_does_not_have_is_left_out(revision: Revision) -> None:
    fields = tool_fields(tool(output_schema=None, meta={}), revision, "canonical")
    assert fields.keys() == {"name", "title", "description", "inputSchema", "annotations"}


def test_the_array_keeps_the_order() -> None:
    tools = [tool(name=name) for name in ("b", "a", "c")]
    array = json.loads(tools_array(tools, V2025_11_25, "canonical"))
    assert [each["name"] for each in array] == ["b", "a", "c"]
    assert json.loads(tools_array([], V2025_11_25, "canonical")) == []


SCHEMA = {
    "type": "object",
    "properties": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 9, "default": 5},
        "name": {"type": "string", "minLength": 1, "maxLength": 9, "enum": ["a"]},
        "default": {"type": "string", "description": "A property named like a keyword."},
        "rows": {
            "type": "array",
            "minItems": 1,
            "maxItems": 2,
            "items": {
                "type": "object",
                "properties": {"maxLength": {"type": "string", "maxLength": 3}},
                "additionalProperties": False,
            },
        },
        "open": {"type": "object", "maxProperties": 64, "additionalProperties": True},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def test_the_gemini_dialect_drops_its_keywords_at_every_level() -> None:
    assert gemini(SCHEMA) == {
        "type": "object",
        "properties": {
            "limit": {"type": "integer", "minimum": 1, "maximum": 9},
            "name": {"type": "string", "enum": ["a"]},
            "default": {"type": "string", "description": "A property named like a keyword."},
            "rows": {
                "type": "array",
                "items": {"type": "object", "properties": {"maxLength": {"type": "string"}}},
            },
            "open": {"type": "object"},
        },
        "required": ["name"],
    }


def test_only_the_gemini_dialect_changes_a_schema() -> None:
    example = tool(input_schema=SCHEMA)
    assert tool_fields(example, V2025_11_25, "canonical")["inputSchema"] is SCHEMA
    assert tool_fields(example, V2025_11_25, "gemini")["inputSchema"] == gemini(SCHEMA)


# -- pages -------------------------------------------------------------------------------------


@pytest.mark.parametrize("revision", ALL[:4], ids=lambda r: r.name)
def test_a_handshake_page_has_no_caching_hints(revision: Revision) -> None:
    page = RENDERER.page("tools", b"[1]", revision)
    assert decoded(page.result("req_1")) == {"tools": [1], "_meta": {REQUEST_ID: "req_1"}}


def test_a_modern_page_says_how_long_it_may_be_kept_and_by_whom() -> None:
    page = RENDERER.page("prompts", b"[]", V2026_07_28)
    assert decoded(page.result("req_1")) == {
        "resultType": "complete",
        "prompts": [],
        "ttlMs": TTL_MS,
        "cacheScope": "private",
        "_meta": {SERVER_INFO: {"name": "scaimcp", "version": "1.2.3"}, REQUEST_ID: "req_1"},
    }


@pytest.mark.parametrize("revision", [V2025_11_25, V2026_07_28], ids=lambda r: r.name)
def test_a_page_is_shared_and_the_cursor_is_not(revision: Revision) -> None:
    page = RENDERER.page("tools", b"[]", revision, 7)
    assert page.next_start == 7
    first, second = decoded(page.result("a", "one")), decoded(page.result("b", "two"))
    assert (first["nextCursor"], second["nextCursor"]) == ("one", "two")
    assert first["_meta"][REQUEST_ID] == "a"
    assert "nextCursor" not in decoded(page.result("c"))


# -- results -----------------------------------------------------------------------------------


def test_a_result_without_members_still_has_its_meta() -> None:
    assert decoded(RENDERER.result(b"", "req_1", V2025_11_25)) == {"_meta": {REQUEST_ID: "req_1"}}
    modern = decoded(RENDERER.result(b'"a":1', "req_1", V2026_07_28))
    assert list(modern) == ["resultType", "a", "_meta"]


@pytest.mark.parametrize("revision", ALL, ids=lambda r: r.name)
def test_text_comes_first_and_structure_from_2025_06_18(revision: Revision) -> None:
    value = call_result(ToolResult('{"a":"é\\""}'.encode()), revision)
    assert value["content"] == [{"type": "text", "text": '{"a":"é\\""}'}]
    assert value["isError"] is False
    assert value.get("structuredContent") == ({"a": 'é"'} if revision in STRUCTURED else None)


def test_structure_may_differ_from_the_text() -> None:
    value = call_result(ToolResult(b'"short"', structured=b'{"long":1}'), V2025_11_25)
    assert value["content"][0]["text"] == '"short"'
    assert value["structuredContent"] == {"long": 1}


def test_blocks_follow_the_text_and_may_stand_alone() -> None:
    block = b'{"type":"image","data":"aa","mimeType":"image/png"}'
    value = call_result(ToolResult(b"{}", (block,)), V2025_11_25)
    assert [each["type"] for each in value["content"]] == ["text", "image"]
    alone = call_result(ToolResult(None, (block,)), V2025_11_25)
    assert [each["type"] for each in alone["content"]] == ["image"]
    assert "structuredContent" not in alone


@pytest.mark.parametrize("revision", ALL[1:], ids=lambda r: r.name)
def test_audio_passes_where_the_revision_has_it(revision: Revision) -> None:
    value = call_result(ToolResult(None, (json.dumps(AUDIO).encode(),)), revision)
    assert value["content"] == [AUDIO]


def test_audio_is_an_embedded_resource_in_2024_11_05() -> None:
    value = call_result(ToolResult(None, (json.dumps(AUDIO).encode(),)), V2024_11_05)
    assert value["content"] == [
        {
            "type": "resource",
            "resource": {
                "uri": "data:audio/wav;size=5",
                "mimeType": "audio/wav",
                "blob": AUDIO["data"],
            },
        }
    ]


@pytest.mark.parametrize(
    "block", [{"type": "text", "text": "x"}, {"type": "text", "text": "audio"}, {"a": "audio"}]
)
def test_other_blocks_stay_in_2024_11_05(block: dict[str, str]) -> None:
    value = call_result(ToolResult(None, (json.dumps(block).encode(),)), V2024_11_05)
    assert value["content"] == [block]


@pytest.mark.parametrize("revision", ALL, ids=lambda r: r.name)
def test_a_failed_call_is_one_text_and_no_structure(revision: Revision) -> None:
    error = ToolError("RATE_LIMITED", "Wait", retry_after=2)
    value = decoded(RENDERER.call_error(error, "req_1", revision))
    assert value["isError"] is True
    assert "structuredContent" not in value
    assert [json.loads(block["text"]) for block in value["content"]] == [
        {"error": {"code": "RATE_LIMITED", "message": "Wait", "request_id": "req_1",
                   "retry_after": 2}}
    ]  # fmt: skip
    assert value["_meta"][REQUEST_ID] == "req_1"
    assert ("resultType" in value) is revision.is_modern
