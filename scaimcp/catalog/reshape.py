"""From the platform's answer to the tool's result: one shaper per `Result.kind`. Pure.

Spec: core-tools 6, scaigrid 5 and 6.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from scaimcp.catalog import rawjson
from scaimcp.catalog.capping import binary_too_large, cap_list, cap_members
from scaimcp.catalog.definition import PLACE, ToolDefinition
from scaimcp.catalog.translate import rest_of
from scaimcp.errors import PlatformFailure
from scaimcp.scaigrid.client import PlatformAnswer
from scaimcp.types import ToolResult

_TRUE, _FALSE = b"true", b"false"
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))
_SOUND_TYPES = ("audio/", "application/octet-stream")
# Enough base64 for the longest magic number.
_MAGIC_CHARS = 16
_UNREADABLE = (
    msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error, LookupError, TypeError,
)  # fmt: skip


class Caps(msgspec.Struct, frozen=True):
    """Caps of one result: characters of JSON text, bytes of binary content."""

    chars: int
    binary_bytes: int


class Reply(msgspec.Struct, frozen=True):
    """What a shaper works on."""

    definition: ToolDefinition
    arguments: dict[str, Any]
    answer: PlatformAnswer
    caps: Caps

    def argument(self, name: str) -> bytes:
        """Return an argument, encoded."""
        return rawjson.encode(self.arguments.get(name))

    @property
    def names(self) -> tuple[str, ...]:
        """Published field names in their order."""
        return self.definition.result.names


def to_result(
    definition: ToolDefinition, arguments: dict[str, Any], answer: PlatformAnswer, caps: Caps
) -> ToolResult:
    """Shape the platform's answer.

    Raises:
        ToolError: ``RESULT_TOO_LARGE``; ``PLATFORM_BAD_RESPONSE`` when what the shape is made of
            is not there.
    """
    if definition.chars is not None:
        caps = msgspec.structs.replace(caps, chars=definition.chars)
    reply = Reply(definition, arguments, answer, caps)
    try:
        return SHAPERS[definition.result.kind](reply)
    except _UNREADABLE:
        raise PlatformFailure(
            "PLATFORM_BAD_RESPONSE", "The platform's answer has an unexpected form."
        ) from None


def _finish(reply: Reply, fields: dict[str, bytes], blocks: tuple[bytes, ...] = ()) -> ToolResult:
    result = reply.definition.result
    members = rawjson.ordered(fields, reply.names)
    is_export = result.kind == "export"
    text = cap_members(members, reply.caps.chars, result.long_text, is_export)
    return ToolResult(text, blocks)


def _object(reply: Reply) -> ToolResult:
    data = reply.answer.data
    if not data or data == rawjson.NULL:
        return _without_data(reply)
    data = rawjson.compact(data)
    if data.startswith(b"["):
        name = reply.names[0] if len(reply.names) == 1 else "items"
        return _finish(reply, {name: data})
    known = _known(reply)
    text = rawjson.arranged(data, reply.names, known)
    if len(text) <= reply.caps.chars:
        return ToolResult(text)
    return _finish(reply, {**known, **rawjson.members(data)})


def _known(reply: Reply) -> dict[str, bytes]:
    """Return published fields that count where the platform leaves them out.

    They are what the call was about (path arguments and the model) and `Result.otherwise`.
    """
    about = reply.definition.about
    fields = {name: reply.argument(name) for name in about if name in reply.arguments}
    for name, value in reply.definition.result.otherwise:
        fields[name] = rawjson.encode(value)
    return fields


def _without_data(reply: Reply) -> ToolResult:
    request = rest_of(reply.definition)
    places = PLACE.findall(request.path)
    fields = {"id": reply.argument(places[-1])} if places else {}
    if request.method == "DELETE":
        fields = {"deleted": _TRUE, **fields}
    return ToolResult(rawjson.to_object(fields.items()))


def _deleted(reply: Reply) -> ToolResult:
    return _without_data(reply)


def _list(reply: Reply) -> ToolResult:
    """Read any of the four pagination shapes, or an unpaged list."""
    envelope = reply.answer.envelope
    data = rawjson.compact(reply.answer.data or b"[]")
    inner = {} if data.startswith(b"[") else rawjson.members(data)
    rows = data if data.startswith(b"[") else _rows(inner)
    pages = [inner]
    if envelope is not None:
        outer = {"has_more": envelope.has_more, "next_cursor": envelope.next_cursor}
        parts = (envelope.pagination, envelope.meta, outer)
        pages += [_encoded(part) for part in parts if isinstance(part, dict)]
    cursor = _first(pages, "next_cursor", "next_page_token")
    more = _first(pages, "has_more")
    total = _first(pages, "total_count")
    has_more = more == _TRUE if more is not None else cursor is not None
    rest = [("has_more", _TRUE if has_more else _FALSE)]
    if cursor is not None and has_more:
        is_text = cursor.startswith(b'"')
        rest.append(("next_cursor", cursor if is_text else rawjson.encode(cursor.decode())))
    if total is not None:
        rest.append(("total_count", total))
    has_limit = "limit" in reply.definition.input_schema["properties"]
    text = cap_list(rawjson.elements(rows), rest, reply.caps.chars, has_limit=has_limit)
    return ToolResult(text)


def _encoded(part: dict[str, Any]) -> dict[str, bytes]:
    return {key: rawjson.encode(item) for key, item in part.items() if item is not None}


def _rows(inner: dict[str, bytes]) -> bytes:
    if "items" in inner:
        return inner["items"]
    return next((item for item in inner.values() if item.startswith(b"[")), b"[]")


def _first(pages: list[dict[str, bytes]], *names: str) -> bytes | None:
    for page in pages:
        for name in names:
            item = page.get(name)
            if item is not None and item not in (rawjson.NULL, b'""'):
                return item
    return None


def _chat(reply: Reply) -> ToolResult:
    fields = rawjson.members(rawjson.compact(reply.answer.data))
    choices = fields.pop("choices", None)
    if choices is not None:
        choice = rawjson.members(rawjson.elements(choices)[0])
        message = rawjson.members(choice.get("message", b"{}"))
        fields["content"] = _content(message.get("content"))
        if "finish_reason" in choice:
            fields["finish_reason"] = choice["finish_reason"]
        if "tool_calls" in message:
            fields["tool_calls"] = message["tool_calls"]
    else:
        fields["content"] = _content(fields.pop("text", None) or fields.get("content"))
    return _finish(reply, {name: item for name, item in fields.items() if name in reply.names})


def _content(raw: bytes | None) -> bytes:
    """Return content as one string: text parts joined, null as ""."""
    content = rawjson.value(raw)
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return rawjson.encode(content if isinstance(content, str) else "")


def _message(reply: Reply) -> ToolResult:
    fields = rawjson.members(rawjson.compact(reply.answer.data))
    message = rawjson.members(fields["message"]) if "message" in fields else fields
    if "id" in message:
        fields["message_id"] = message["id"]
    fields["content"] = _content(message.get("content"))
    for name in ("session_id", "room_id"):
        if name in reply.names:
            fields[name] = reply.argument(name)
    for name in ("model", "usage"):
        if name not in fields and name in message:
            fields[name] = message[name]
    return _finish(reply, {name: item for name, item in fields.items() if name in reply.names})


def _embeddings(reply: Reply) -> ToolResult:
    fields = rawjson.members(rawjson.compact(reply.answer.data))
    vectors = []
    dimensions = 0
    for position, row in enumerate(rawjson.elements(fields["data"])):
        entry = rawjson.members(row)
        if position == 0:
            dimensions = len(rawjson.elements(entry["embedding"]))
        index = entry.get("index", rawjson.encode(position))
        vectors.append(rawjson.to_object([("index", index), ("embedding", entry["embedding"])]))
    kept: dict[str, bytes] = {name: fields[name] for name in ("model", "usage") if name in fields}
    kept["dimensions"] = rawjson.encode(dimensions)
    kept["embeddings"] = rawjson.to_array(vectors)
    return _finish(reply, kept)


def _images(reply: Reply) -> ToolResult:
    fields = rawjson.members(rawjson.compact(reply.answer.data))
    images: list[bytes] = []
    blocks: list[bytes] = []
    size = 0
    for index, row in enumerate(rawjson.elements(fields["data"])):
        entry = rawjson.members(row)
        image = {"index": rawjson.encode(index)}
        encoded = rawjson.value(entry.get("b64_json"))
        if isinstance(encoded, str):
            start = base64.b64decode(encoded[:_MAGIC_CHARS])
            mime = next((m for magic, m in _MAGIC if start.startswith(magic)), "image/png")
            length = _decoded_size(encoded)
            size += length
            image |= {"mime_type": rawjson.encode(mime), "size_bytes": rawjson.encode(length)}
            blocks.append(rawjson.encode({"type": "image", "data": encoded, "mimeType": mime}))
        elif "url" in entry:
            image["url"] = entry["url"]
        if "revised_prompt" in entry:
            image["revised_prompt"] = entry["revised_prompt"]
        images.append(rawjson.to_object(image.items()))
    _check_binary(reply, size)
    kept = {"model": reply.argument("model"), "images": rawjson.to_array(images)}
    return _finish(reply, kept, tuple(blocks))


def _audio(reply: Reply) -> ToolResult:
    """Raw bytes from the platform, with the metadata that the call itself knows."""
    known = [name for name in ("model", "voice") if name in reply.arguments]
    fields: dict[str, bytes] = {name: reply.argument(name) for name in known}
    mime = reply.answer.content_type
    if not mime.startswith(_SOUND_TYPES):
        # A page of some proxy, or JSON: neither is sound, and foreign text is never quoted.
        raise TypeError(mime)
    encoded = base64.b64encode(reply.answer.body)
    return _sound(reply, fields, encoded.decode(), mime)


def _audio_json(reply: Reply) -> ToolResult:
    fields = rawjson.members(rawjson.compact(reply.answer.data))
    encoded = rawjson.value(fields.pop("audio_base64", None))
    mime = rawjson.value(fields.pop("mime_type", None)) or "application/octet-stream"
    if "voice_id" in reply.names and "voice_id" not in fields:
        fields["voice_id"] = reply.argument("voice_id")
    if not isinstance(encoded, str):
        return _finish(reply, fields)
    return _sound(reply, fields, encoded, str(mime))


def _sound(reply: Reply, fields: dict[str, bytes], encoded: str, mime: str) -> ToolResult:
    size = _decoded_size(encoded)
    _check_binary(reply, size)
    fields |= {"mime_type": rawjson.encode(mime), "size_bytes": rawjson.encode(size)}
    if reply.arguments.get("return_as") == "base64":
        fields["audio_base64"] = rawjson.encode(encoded)
        return ToolResult(rawjson.to_object(rawjson.ordered(fields, reply.names)))
    block = rawjson.encode({"type": "audio", "data": encoded, "mimeType": mime})
    return _finish(reply, fields, (block,))


def _decoded_size(encoded: str) -> int:
    return len(encoded.rstrip("=")) * 3 // 4


def _check_binary(reply: Reply, size: int) -> None:
    if size > reply.caps.binary_bytes:
        raise binary_too_large(reply.caps.binary_bytes)


def _export(reply: Reply) -> ToolResult:
    if reply.answer.content_type == "text/html":
        raise TypeError("a page of some proxy is no export")
    body = reply.answer.body
    fields = {
        "format": reply.argument("format"),
        "content": rawjson.encode(body.decode("utf-8", "replace")),
        "size_bytes": rawjson.encode(len(body)),
    }
    return _finish(reply, fields)


def _manifest_text(reply: Reply) -> ToolResult:
    """A module's text: ``data`` as one string, or as JSON where it is none."""
    data = rawjson.compact(reply.answer.data)
    return _finish(reply, {"content": data if data.startswith(b'"') else _as_text(data)})


def _as_text(data: bytes) -> bytes:
    return rawjson.encode(data.decode())


SHAPERS: dict[str, Callable[[Reply], ToolResult]] = {
    "object": _object,
    "list": _list,
    "deleted": _deleted,
    "chat": _chat,
    "message": _message,
    "embeddings": _embeddings,
    "images": _images,
    "audio": _audio,
    "audio_json": _audio_json,
    "export": _export,
    "manifest_text": _manifest_text,
}
