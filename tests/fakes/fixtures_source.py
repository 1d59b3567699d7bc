"""The tools that the official conformance suite calls; nothing but tests plugs them in."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from scaimcp.errors import ProtocolError
from scaimcp.types import ModuleView, RequestContext, Snapshot, Tool, ToolResult

MISSING_CAPABILITY = -32021
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = base64.b64encode(
    b"RIFF&\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0@\x1f\0\0\x80>\0\0\x02\0\x10\0data\x02\0\0\0\0\0"
).decode()
NO_ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}
REGION: dict[str, Any] = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}
SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def resource(uri: str, mime_type: str, words: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": words}}


IMAGE = {"type": "image", "data": PNG, "mimeType": "image/png"}
AUDIO = {"type": "audio", "data": WAV, "mimeType": "audio/wav"}
# Tools that answer the same content always.
CONTENT: dict[str, list[dict[str, Any]]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [IMAGE],
    "test_audio_content": [AUDIO],
    "test_embedded_resource": [
        resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        IMAGE,
        resource(
            "test://mixed-content-resource", "application/json", '{"test":"data","value":123}'
        ),
    ],
    "test_error_handling": [text("This tool intentionally returns an error for testing")],
    "test_x_mcp_header": [text("The header and the argument agree.")],
    "test_streaming_elicitation": [text("Nothing had to be asked.")],
    "test_logging_tool": [text("Nothing was logged.")],
    "json_schema_2020_12_tool": [text("Listed for its schema.")],
}
SCHEMAS = {"test_x_mcp_header": REGION, "json_schema_2020_12_tool": SCHEMA_2020_12}


class FixtureSource:
    """Offers the fixture tools to every caller.

    `changed` is called with the caller's tenant by `test_trigger_tool_change`. `release` ends a
    call of `test_waiting`; `running` and `cancelled` count such calls.
    """

    name = "fixtures"

    def __init__(self) -> None:
        self.changed: Callable[[str], None] = lambda tenant_id: None
        self.release = asyncio.Event()
        self.running = 0
        self.cancelled = 0
        self._special: dict[str, Callable[[RequestContext], Awaitable[ToolResult]]] = {
            "test_tool_with_progress": self._with_progress,
            "test_missing_capability": self._missing_capability,
            "test_trigger_tool_change": self._trigger_change,
            "test_waiting": self._waiting,
            "test_fault": self._fault,
        }
        tools = tuple(_tool(name) for name in (*CONTENT, *self._special))
        by_name = {tool.name: tool for tool in tools}
        self._snapshot = Snapshot("fixtures", tools, by_name, ModuleView(frozenset(), "fixtures"))

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        return self._snapshot

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        return self._snapshot

    def mark_stale(self, context: RequestContext) -> None:
        """Nothing here ever changes."""

    def unsupported(self, tool: Tool) -> bool:
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        special = self._special.get(tool.name)
        if special is not None:
            return await special(context)
        blocks = tuple(msgspec.json.encode(block) for block in CONTENT[tool.name])
        return ToolResult(None, blocks, is_error=tool.name == "test_error_handling")

    async def _with_progress(self, context: RequestContext) -> ToolResult:
        for value in (0, 50, 100):
            if context.progress is not None:
                await context.progress(value, 100, None)
            await asyncio.sleep(0.05)
        return _said("Done.")

    async def _missing_capability(self, context: RequestContext) -> ToolResult:
        raise ProtocolError(
            MISSING_CAPABILITY,
            "This tool needs the sampling capability",
            data={"requiredCapabilities": {"sampling": {}}},
        )

    async def _trigger_change(self, context: RequestContext) -> ToolResult:
        self.changed(context.caller.tenant_id)
        return _said("The catalogue's version has risen.")

    async def _waiting(self, context: RequestContext) -> ToolResult:
        self.running += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return _said("Released.")

    async def _fault(self, context: RequestContext) -> ToolResult:
        if context.progress is not None:
            await context.progress(1, None, "about to fail")
        raise LookupError("secret-of-the-house at /srv/gateway/internal.py")


def _said(words: str) -> ToolResult:
    return ToolResult(None, (msgspec.json.encode(text(words)),))


def _tool(name: str) -> Tool:
    return Tool(
        name=name,
        title=name.replace("_", " ").capitalize(),
        description=f"Fixture of the conformance run: {name}.",
        input_schema=SCHEMAS.get(name, NO_ARGUMENTS),
        output_schema=None,
        annotations={
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": False,
        },
        meta={},
        domain="fixtures",
    )
