"""Tools and results in the words of each revision, as bytes. Pure.

Spec: core-tools 3, 4 (dialects), 6 and 7.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import msgspec

from scaimcp.errors import GatewayError, InputNeeded
from scaimcp.server.envelope import REQUEST_ID, SERVER_INFO, encode, error_object
from scaimcp.server.revisions import Revision
from scaimcp.types import Tool, ToolResult

TTL_MS = 60_000
# Pieces of an encoded result object and of the brace that closes its message, in order. A large
# piece comes last, so that it can be sent as it is, without a copy and without another write.
Parts = tuple[bytes, ...]
_GEMINI_DROPS = frozenset(
    {"additionalProperties", "default", "minLength", "maxLength", "minItems", "maxItems",
     "maxProperties"}
)  # fmt: skip


def tool_fields(tool: Tool, revision: Revision, dialect: str) -> dict[str, Any]:
    """Return a tool's definition as `revision` spells it."""
    schema = tool.input_schema if dialect == "canonical" else gemini(tool.input_schema)
    fields: dict[str, Any] = {"name": tool.name}
    if revision.has_structure:
        fields["title"] = tool.title
    fields["description"] = tool.description
    fields["inputSchema"] = schema
    if revision.has_structure and tool.output_schema is not None:
        fields["outputSchema"] = tool.output_schema
    if revision.has_annotations:
        fields["annotations"] = (
            tool.annotations
            if revision.has_structure
            else {"title": tool.title, **tool.annotations}
        )
    if revision.has_structure and tool.meta:
        fields["_meta"] = tool.meta
    return fields


def gemini(schema: Any) -> Any:
    """Return a schema without the keywords that this dialect refuses."""
    if isinstance(schema, dict):
        return {
            key: {name: gemini(sub) for name, sub in value.items()}
            if key == "properties"
            else gemini(value)
            for key, value in schema.items()
            if key not in _GEMINI_DROPS
        }
    return schema


def tools_array(tools: Sequence[Tool], revision: Revision, dialect: str) -> bytes:
    """Return the encoded array of definitions."""
    return encode([tool_fields(tool, revision, dialect) for tool in tools])


class Page(msgspec.Struct, frozen=True):
    """One page of a list, encoded but for cursor and request id, which come first.

    ``next_start`` is where the next page begins, None on the last one. Nothing in a page depends
    on the caller, so callers who see the same tools share it.
    """

    head: bytes
    rest: bytes
    next_start: int | None = None

    def result(self, request_id: str, cursor: str | None = None) -> Parts:
        """Return the result object; the large part is not copied here."""
        following = b'"nextCursor":"%b",' % cursor.encode() if cursor is not None else b""
        return (self.head, request_id.encode(), b'"},', following, self.rest)


class Renderer:
    """Encodes results for one server identity."""

    def __init__(self, name: str, version: str) -> None:
        self.info = {"name": name, "version": version}
        info = encode({SERVER_INFO: self.info})[1:-1]
        self._meta_modern = b'"_meta":{' + info + b',"' + REQUEST_ID.encode() + b'":"'
        self._meta_handshake = b'"_meta":{"' + REQUEST_ID.encode() + b'":"'

    def page(
        self, key: str, array: bytes, revision: Revision, next_start: int | None = None
    ) -> Page:
        """Return a list page; caching hints only where the revision has them."""
        body = b'"%b":%b' % (key.encode(), array)
        if revision.is_modern:
            head = b'{"resultType":"complete",' + self._meta_modern
            rest = b'%b,"ttlMs":%d,"cacheScope":"private"}}' % (body, TTL_MS)
            return Page(head, rest, next_start)
        return Page(b"{" + self._meta_handshake, body + b"}}", next_start)

    def result(self, members: bytes, request_id: str, revision: Revision) -> Parts:
        """Return a result object around encoded `members` (without braces, may be b"")."""
        if revision.is_modern:
            head, meta = b'{"resultType":"complete",', self._meta_modern
        else:
            head, meta = b"{", self._meta_handshake
        return (head, members, b"," if members else b"", meta, request_id.encode(), b'"}}}')

    def input_required(self, needed: InputNeeded, request_id: str) -> Parts:
        """Return the result that asks the client's user; only 2026-07-28 has it."""
        requests = b'"inputRequests":%b,' % needed.requests if needed.requests else b""
        members = b'%b"requestState":%b,' % (requests, encode(needed.state))
        head = b'{"resultType":"input_required",'
        return (head, members, self._meta_modern, request_id.encode(), b'"}}}')

    def call_result(self, result: ToolResult, request_id: str, revision: Revision) -> Parts:
        """Return a tool's result: text first, the same value as ``structuredContent``."""
        content = _text_block(result.text) if result.text is not None else b""
        if result.blocks:
            blocks = [content] if content else []
            content = b",".join([*blocks, *(_block(block, revision) for block in result.blocks)])
        structured = result.structured if result.structured is not None else result.text
        if result.is_error:
            members = b'"content":[%b],"isError":true' % content
        elif structured is not None and revision.has_structure:
            members = b'"content":[%b],"isError":false,"structuredContent":%b' % (
                content,
                structured,
            )
        else:
            members = b'"content":[%b],"isError":false' % content
        return self.result(members, request_id, revision)

    def call_error(self, error: GatewayError, request_id: str, revision: Revision) -> Parts:
        """Return a failed call: one text block, no ``structuredContent``. Spec: core-tools 7."""
        text = encode({"error": error_object(error, request_id)})
        return self.call_result(ToolResult(text, is_error=True), request_id, revision)


def _text_block(text: bytes) -> bytes:
    return b'{"type":"text","text":' + encode(text.decode()) + b"}"


class _Audio(msgspec.Struct):
    type: str = ""
    data: str = ""
    mime_type: str = msgspec.field(default="", name="mimeType")


def _block(block: bytes, revision: Revision) -> bytes:
    """Return a content block; 2024-11-05 has no audio, so it gets an embedded resource."""
    if revision.has_annotations or b'"audio"' not in block[:40]:
        return block
    audio = msgspec.json.decode(block, type=_Audio)
    if audio.type != "audio":
        return block
    size = len(base64.b64decode(audio.data))
    resource = {
        "uri": f"data:{audio.mime_type};size={size}",
        "mimeType": audio.mime_type,
        "blob": audio.data,
    }
    return encode({"type": "resource", "resource": resource})
