"""What the official conformance suite calls, reads and gets; nothing but tests plugs it in."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from msgspec import Raw

from scaimcp.errors import ProtocolError
from scaimcp.types import (
    ContentKind,
    Listed,
    Listing,
    ModuleView,
    RequestContext,
    Snapshot,
    Tool,
    ToolResult,
)

MISSING_CAPABILITY = -32021
INVALID_PARAMS = -32602
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
# Resources that hold the same always, by their URI.
STATIC: dict[str, dict[str, str]] = {
    "test://static-text": {
        "mimeType": "text/plain",
        "text": "This is the content of the static text resource.",
    },
    "test://static-binary": {"mimeType": "image/png", "blob": PNG},
}
TEMPLATE = "test://template/{id}/data"
_TEMPLATED = re.compile(r"test://template/([^/?#]+)/data")
ARGUMENTS: dict[str, dict[str, str]] = {
    "test_simple_prompt": {},
    "test_prompt_with_arguments": {
        "arg1": "First test argument",
        "arg2": "Second test argument",
    },
    "test_prompt_with_embedded_resource": {"resourceUri": "URI of the resource to embed"},
    "test_prompt_with_image": {},
}
# Suggestions for every argument.
VALUES = ("test one", "test two", "another")


class FixtureSource:
    """Offers the fixture tools, resources and prompts to every caller.

    `changed` is called with the caller's tenant by the tools that pretend a change. `release`
    ends a call of `test_waiting`; `running` and `cancelled` count such calls.
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
            "test_trigger_prompt_change": self._trigger_change,
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

    async def listing(self, context: RequestContext, kind: ContentKind) -> Listing:
        items = tuple(Listed(KEYS[kind], entry[KEYS[kind]], entry) for entry in LISTED[kind])
        return Listing(("fixtures", kind), items)

    async def read(self, context: RequestContext, uri: str) -> ToolResult | None:
        contents = STATIC.get(uri) or _templated(uri)
        return None if contents is None else _fields(contents=[{"uri": uri, **contents}])

    async def prompt(
        self, context: RequestContext, name: str, arguments: bytes
    ) -> ToolResult | None:
        if name not in ARGUMENTS:
            return None
        given = msgspec.json.decode(arguments or b"{}", type=dict[str, str])
        missing = sorted(ARGUMENTS[name].keys() - given.keys())
        if missing:
            raise ProtocolError(INVALID_PARAMS, f"Missing: {', '.join(missing)}")
        blocks = _blocks(name, given)
        return _fields(messages=[{"role": "user", "content": block} for block in blocks])

    async def complete(
        self, context: RequestContext, reference: dict[str, Any], params: dict[str, Raw]
    ) -> Raw | None:
        argument = msgspec.json.decode(params["argument"], type=dict[str, str])
        if argument["name"] not in _arguments_of(reference):
            return None
        values = [value for value in VALUES if value.startswith(argument["value"])]
        return _raw({"values": values, "total": len(values), "hasMore": False})

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


KEYS: dict[ContentKind, str] = {
    "resources": "uri",
    "resourceTemplates": "uriTemplate",
    "prompts": "name",
}
LISTED: dict[ContentKind, list[dict[str, Any]]] = {
    "resources": [
        {
            "uri": uri,
            "name": uri.removeprefix("test://"),
            "description": f"Fixture of the conformance run: {uri}.",
            "mimeType": contents["mimeType"],
        }
        for uri, contents in STATIC.items()
    ],
    "resourceTemplates": [
        {
            "uriTemplate": TEMPLATE,
            "name": "template",
            "description": "Fixture of the conformance run: says its id.",
            "mimeType": "application/json",
        }
    ],
    "prompts": [
        {
            "name": name,
            "description": f"Fixture of the conformance run: {name}.",
            "arguments": [
                {"name": argument, "description": words, "required": True}
                for argument, words in arguments.items()
            ],
        }
        for name, arguments in ARGUMENTS.items()
    ],
}


def _templated(uri: str) -> dict[str, str] | None:
    """Return what a URI of the template holds; None for other URIs."""
    found = _TEMPLATED.fullmatch(uri)
    if found is None:
        return None
    value = {"id": found[1], "templateTest": True, "data": f"Data for ID: {found[1]}"}
    return {"mimeType": "application/json", "text": msgspec.json.encode(value).decode()}


def _blocks(name: str, given: dict[str, str]) -> list[dict[str, Any]]:
    """Return the content of a prompt's messages."""
    if name == "test_prompt_with_arguments":
        return [text(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")]
    if name == "test_prompt_with_embedded_resource":
        words = "Embedded resource content for testing."
        embedded = resource(given["resourceUri"], "text/plain", words)
        return [embedded, text("Please process the embedded resource above.")]
    if name == "test_prompt_with_image":
        return [IMAGE, text("Please analyze the image above.")]
    return [text("This is a simple prompt for testing.")]


def _arguments_of(reference: dict[str, Any]) -> set[str]:
    if reference["type"] == "ref/resource":
        return {"id"} if reference["uri"] == TEMPLATE else set()
    return set(ARGUMENTS.get(reference["name"], ()))


def _raw(value: Any) -> Raw:
    return Raw(msgspec.json.encode(value))


def _fields(**members: Any) -> ToolResult:
    """Return a result with these members, as sources of resources and prompts do."""
    return ToolResult(None, fields={name: _raw(value) for name, value in members.items()})


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
