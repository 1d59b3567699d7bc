"""Tools and results in the words of each revision, as bytes. Pure.

Spec: core-tools 3, 4 (dialects), 6 and 7.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from scaimcp.errors import GatewayError, InputNeeded
from scaimcp.gateway.view import View
from scaimcp.remotes.calls.bridging import for_era
from scaimcp.remotes.rules.naming import NameStyle, listed_name
from scaimcp.server.envelope import REQUEST_ID, SERVER_INFO, encode, error_object
from scaimcp.server.revisions import V2025_11_25, Revision
from scaimcp.types import Listed, Tool, ToolResult

TTL_MS = 60_000
# While a visible server fails its tools may come back at any time.
FAILING_TTL_MS = 30_000
# Pieces of an encoded result object and of the brace that closes its message, in order. A large
# piece comes last, so that it can be sent as it is, without a copy and without another write.
Parts = tuple[bytes, ...]
_GEMINI_DROPS = frozenset(
    {"additionalProperties", "default", "minLength", "maxLength", "minItems", "maxItems",
     "maxProperties"}
)  # fmt: skip


# Members of definitions that came with structured results, in 2025-06-18.
_STRUCTURED = frozenset({"title", "outputSchema", "icons", "_meta"})
# Nothing here runs tasks, so no definition may offer them.
_NEVER = frozenset({"execution"})


def foreign_fields(
    definition: dict[str, Any], key: str, name: str, revision: Revision
) -> dict[str, Any]:
    """Return a remote definition as it came, under `name`, without what `revision` lacks."""
    fields = {
        member: value
        for member, value in definition.items()
        if member not in _NEVER and (revision.has_structure or member not in _STRUCTURED)
    }
    fields[key] = name
    if not revision.has_annotations:
        fields.pop("annotations", None)
    output = fields.get("outputSchema")
    # Before 2026-07-28 a structured result is an object.
    if output is not None and not revision.is_modern and output.get("type") != "object":
        del fields["outputSchema"]
    return fields


def shown_name(tool: Tool, style: NameStyle) -> str:
    """Return the name under which a tool is listed in `style`."""
    return listed_name(tool.name, tool.alias, style) if tool.alias else tool.name


def tool_fields(
    tool: Tool, revision: Revision, dialect: str, style: NameStyle = "dotted"
) -> dict[str, Any]:
    """Return a tool's definition as `revision` spells it.

    Args:
        tool: what is listed.
        revision: the client's.
        dialect: ``canonical`` or ``gemini``.
        style: which of a remote tool's two names.
    """
    if tool.definition is not None:
        name = shown_name(tool, style)
        foreign = foreign_fields(tool.definition, "name", name, revision)
        if dialect != "canonical":
            foreign["inputSchema"] = gemini(tool.input_schema)
        return foreign
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


class ListedTools:
    """Shows tools in results as lists show them.

    ``names`` of the view is the style that was chosen for the client, "" for dotted names.
    """

    def name(self, tool: Tool, view: View) -> str:
        """Return the name under which a tool is listed."""
        return shown_name(tool, _style(view))

    def definition(self, tool: Tool, view: View) -> dict[str, Any]:
        """Return the definition, as the last revision of the handshake era spells it."""
        return tool_fields(tool, V2025_11_25, view.dialect, _style(view))


def _style(view: View) -> NameStyle:
    return "safe" if view.names == "safe" else "dotted"


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


def tools_array(
    tools: Sequence[Tool], revision: Revision, dialect: str, style: NameStyle = "dotted"
) -> bytes:
    """Return the encoded array of definitions."""
    return encode([tool_fields(tool, revision, dialect, style) for tool in tools])


def listed_array(items: Sequence[Listed], revision: Revision, style: NameStyle) -> bytes:
    """Return the encoded array of resources, templates or prompts."""
    return encode(
        [
            foreign_fields(
                item.definition,
                item.key,
                listed_name(item.name, item.alias, style) if item.alias else item.name,
                revision,
            )
            for item in items
        ]
    )


class Page(msgspec.Struct, frozen=True):
    """One page of a list, encoded but for cursor and request id, which come first.

    ``note`` ends the ``_meta`` object behind the request id. ``next_start`` is where the next
    page begins, None on the last one. Nothing in a page depends on the caller, so callers who see
    the same tools share it.
    """

    head: bytes
    rest: bytes
    next_start: int | None = None
    note: bytes = b'"},'

    def result(self, request_id: str, cursor: str | None = None) -> Parts:
        """Return the result object; the large part is not copied here."""
        following = b'"nextCursor":"%b",' % cursor.encode() if cursor is not None else b""
        return (self.head, request_id.encode(), self.note, following, self.rest)


class Said(Protocol):
    """What the sources of a list say beside its items."""

    @property
    def note(self) -> bytes:
        """Encoded members of ``_meta``, b"" for none."""
        ...

    @property
    def is_failing(self) -> bool:
        """Whether the list may change at any time."""
        ...


class Renderer:
    """Encodes results for one server identity.

    Args:
        name: of this server.
        version: of this server.
        name_style: the operator's choice of names: ``auto``, ``safe`` or ``dotted``.
        ttls: milliseconds that a client may keep a list, by the name of its member; a minute for
            those that are not named.
    """

    def __init__(
        self,
        name: str,
        version: str,
        name_style: str = "auto",
        ttls: Mapping[str, int] | None = None,
    ) -> None:
        self.name_style = name_style
        self._ttls = ttls or {}
        self.info = {"name": name, "version": version}
        info = encode({SERVER_INFO: self.info})[1:-1]
        self._meta_modern = b'"_meta":{' + info + b',"' + REQUEST_ID.encode() + b'":"'
        self._meta_handshake = b'"_meta":{"' + REQUEST_ID.encode() + b'":"'

    def page(
        self,
        key: str,
        array: bytes,
        revision: Revision,
        next_start: int | None = None,
        said: Said | None = None,
    ) -> Page:
        """Return a list page; caching hints only where the revision has them.

        Args:
            key: name of the list's member.
            array: the encoded list.
            revision: the client's.
            next_start: where the next page begins, None on the last one.
            said: what the sources say about the list, None for nothing.
        """
        body = b'"%b":%b' % (key.encode(), array)
        note = b'",%b},' % said.note if said is not None and said.note else b'"},'
        if revision.is_modern:
            head = b'{"resultType":"complete",' + self._meta_modern
            is_failing = said is not None and said.is_failing
            ttl = FAILING_TTL_MS if is_failing else self._ttls.get(key, TTL_MS)
            rest = b'%b,"ttlMs":%d,"cacheScope":"private"}}' % (body, ttl)
            return Page(head, rest, next_start, note)
        return Page(b"{" + self._meta_handshake, body + b"}}", next_start, note)

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
        if result.fields is not None:
            return self.passed(result.fields, result.meta, request_id, revision)
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

    def passed(
        self, fields: dict[str, Raw], more: bytes, request_id: str, revision: Revision
    ) -> Parts:
        """Return a remote server's result with its values as they came.

        Args:
            fields: its members without ``_meta`` and ``resultType``.
            more: members for ``_meta``, encoded.
            request_id: of this request.
            revision: the client's.
        """
        kept = for_era(fields, is_modern=revision.is_modern)
        members = b",".join([b"%b:%b" % (encode(name), value) for name, value in kept.items()])
        head, members_, comma, meta, given, _ = self.result(members, request_id, revision)
        end = b'",%b}}}' % more if more else b'"}}}'
        return (head, members_, comma, meta, given, end)

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
