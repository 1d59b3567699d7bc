"""Between the eras: what of a server's result a client gets, and what a request mirrors. Pure.

Values pass as the bytes they came as; only members are taken out or put beside them.
Spec: remote-servers 8 (bridging, result exceptions).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from scaimcp.remotes.consent.questions import ELICITATION, Question, named, question
from scaimcp.types import ToolResult
from scaimcp.upstream.errors import ProtocolError, UpstreamError

RESOURCE_PREFIX = "ai.scailabs.scaimcp/resource_prefix"
MAX_TTL_MS = 300_000
COMPLETE = "complete"
INPUT_REQUIRED = "input_required"
_OWN_META = "ai.scailabs.scaimcp/"
_SERVER_INFO = "io.modelcontextprotocol/serverInfo"
_CACHING = ("ttlMs", "cacheScope")
_LINKS = ("resource", "resource_link")

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_text = msgspec.json.Decoder(str).decode
_values = msgspec.json.Decoder(list[Raw]).decode
_value = msgspec.json.Decoder().decode


class UnsupportedResultType(UpstreamError):
    """The server answered with a kind of result that the gateway does not pass on."""

    name = "UnsupportedResultType"


class InputRequiredError(UpstreamError):
    """The server asks for input that this client cannot give."""

    name = "InputRequiredError"


class UnsupportedInputRequest(UpstreamError):
    """The server asks for what the gateway never declares: sampling, roots."""

    name = "UnsupportedInputRequest"


class _Block(msgspec.Struct):
    type: Any = ""
    content: Any = None


class _Request(msgspec.Struct):
    method: Any = ""
    params: Raw = Raw(b"{}")


class Wanted(msgspec.Struct, frozen=True):
    """A server's request for input: its questions by their names, and its own state."""

    questions: dict[str, Question]
    state: str | None

    @property
    def requests(self) -> bytes:
        """Encoded ``inputRequests``, b"" for none."""
        return named(self.questions) if self.questions else b""

    @property
    def modes(self) -> frozenset[str]:
        """The modes that an answer takes."""
        return frozenset([question.mode for question in self.questions.values()])


_blocks = msgspec.json.Decoder(list[_Block]).decode
_requests = msgspec.json.Decoder(dict[str, _Request]).decode


def opened(result: Raw) -> tuple[str, dict[str, Raw]]:
    """Return a result's type and its other members.

    Raises:
        ProtocolError: the type is no text.
    """
    try:
        fields = _fields(result)
        kind = fields.pop("resultType", None)
        return (COMPLETE if kind is None else _text(kind)), fields
    except msgspec.DecodeError:
        raise ProtocolError("The server's result is malformed.", was_sent=True) from None


def wanted(fields: Mapping[str, Raw]) -> Wanted:
    """Return what a result ``input_required`` asks for.

    Raises:
        UnsupportedInputRequest: anything but elicitation.
        ProtocolError: it is malformed.
        ResponseTooLargeError: a question is too large.
    """
    requests = fields.get("inputRequests", Raw(b"{}"))
    try:
        state = fields.get("requestState")
        asked = _requests(requests)
        text = None if state is None else _text(state)
    except msgspec.DecodeError:
        raise ProtocolError("The server asks in a form that is not MCP.", was_sent=True) from None
    if any(request.method != ELICITATION for request in asked.values()):
        raise UnsupportedInputRequest("The server asks for what the gateway does not declare.")
    found = {name: question(bytes(request.params)) for name, request in asked.items()}
    return Wanted(found, text)


def passed(fields: dict[str, Raw], prefix: str) -> ToolResult:
    """Return a result for the edge; URIs in it become readable by `prefix`."""
    own = _kept_meta(fields.pop("_meta", None))
    if holds_resources(fields):
        own[RESOURCE_PREFIX] = Raw(_encode(prefix))
    meta = b",".join([b"%b:%b" % (_encode(name), value) for name, value in own.items()])
    return ToolResult(None, meta=meta, fields=fields)


def _kept_meta(meta: Raw | None) -> dict[str, Raw]:
    if meta is None:
        return {}
    try:
        found = _fields(meta)
    except msgspec.DecodeError:
        return {}
    return {
        name: value
        for name, value in found.items()
        if name != _SERVER_INFO and not name.startswith(_OWN_META)
    }


def holds_resources(fields: Mapping[str, Raw]) -> bool:
    """Tell whether a result names resources: contents, links, embedded ones."""
    if "contents" in fields:
        return True
    for name in ("content", "messages"):
        raw = fields.get(name)
        if raw is None or b'"resource' not in bytes(raw):
            continue
        try:
            blocks = _blocks(raw)
        except msgspec.DecodeError:
            continue
        for block in blocks:
            inner = block.content.get("type") if isinstance(block.content, dict) else None
            if block.type in _LINKS or inner in _LINKS:
                return True
    return False


def for_era(fields: Mapping[str, Raw], *, is_modern: bool) -> dict[str, Raw]:
    """Return the members as clients of an era expect them.

    Before 2026-07-28 there are no caching hints, and ``structuredContent`` is an object; another
    value becomes a text block where there is no other content.
    """
    if is_modern:
        return dict(fields)
    kept = {name: value for name, value in fields.items() if name not in _CACHING}
    structured = kept.get("structuredContent")
    if structured is None or bytes(structured).lstrip().startswith(b"{"):
        return kept
    del kept["structuredContent"]
    if _is_empty(kept.get("content")):
        block = {"type": "text", "text": bytes(structured).decode()}
        kept["content"] = Raw(_encode([block]))
    return kept


def _is_empty(content: Raw | None) -> bool:
    if content is None:
        return True
    try:
        return not _values(content)
    except msgspec.DecodeError:
        return False


def cached(fields: dict[str, Raw]) -> dict[str, Raw]:
    """Return what was read with hints for caching: never longer than five minutes, never shared."""
    try:
        told = _value(fields.get("ttlMs", Raw(b"0")))
    except msgspec.DecodeError:
        told = 0
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    ttl = int(min(max(told, 0), MAX_TTL_MS)) if is_number else 0
    return {**fields, "ttlMs": Raw(b"%d" % ttl), "cacheScope": Raw(b'"private"')}


HeaderPaths = tuple[tuple[tuple[str, ...], str], ...]


def header_paths(schema: Mapping[str, Any]) -> HeaderPaths:
    """Return path and header name of every argument that a request mirrors in a header."""
    found: list[tuple[tuple[str, ...], str]] = []

    def walk(node: Mapping[str, Any], path: tuple[str, ...]) -> None:
        properties = node.get("properties")
        if not isinstance(properties, Mapping):
            return
        for name, sub in properties.items():
            if isinstance(sub, Mapping):
                token = sub.get("x-mcp-header")
                if isinstance(token, str):
                    found.append(((*path, name), f"mcp-param-{token.lower()}"))
                walk(sub, (*path, name))

    walk(schema, ())
    return tuple(found)


def mirrored(paths: HeaderPaths, arguments: bytes) -> tuple[tuple[str, str], ...]:
    """Return the headers that mirror arguments; what is absent or no scalar has none."""
    if not paths:
        return ()
    given: Any = _value(arguments)
    headers: list[tuple[str, str]] = []
    for path, header in paths:
        node = given
        for key in path:
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, bool):
            headers.append((header, "true" if node else "false"))
        elif isinstance(node, str | int | float):
            headers.append((header, str(node)))
    return tuple(headers)
