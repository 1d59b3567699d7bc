"""Remote MCP servers that cost next to nothing, as many as the bench registers.

``python -m bench.remote_upstream --ready-file F`` listens on a free loopback port. The path says
what a server is: ``/modern/N`` speaks 2026-07-28, ``/legacy/N`` 2025-11-25 with a session id and
answers as JSON, ``/stream/N`` the same with each answer as an event stream. Every server has
`TOOLS` tools and answers a call from memory. ``GET /counts`` tells how often each method was
asked since the last time.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from bench.light import main

KINDS = ("modern", "legacy", "stream")
TOOLS = 20
MARKER = "page found"
CREDENTIAL = "bench-remote-credential"
_SESSION = b"bench-session"
_OK, _ACCEPTED, _REFUSED, _NOT_FOUND = (
    b"200 OK", b"202 Accepted", b"401 Unauthorized", b"404 Not Found",
)  # fmt: skip
_JSON, _STREAM = b"application/json", b"text/event-stream"


class Message(msgspec.Struct):
    """What a server reads of a request."""

    method: str
    id: msgspec.Raw = msgspec.Raw(b"")


def tools() -> list[dict[str, Any]]:
    """Return definitions of the size that real servers have."""
    return [
        {
            "name": f"search_{number}",
            "title": f"Search collection {number}",
            "description": f"Search the pages of collection {number} for words, newest first. "
            "Returns titles, addresses and short excerpts.",
            "inputSchema": {
                "type": "object",
                "properties": {
                    "q": {"type": "string", "description": "Words that a page must hold."},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 50, "default": 10},
                },
                "required": ["q"],
            },
            "annotations": {"readOnlyHint": True},
        }
        for number in range(TOOLS)
    ]


def results(*, is_modern: bool) -> dict[str, bytes]:
    """Return the encoded result of each method of one era."""
    info = {"name": "bench", "version": "1.0"}
    capabilities: dict[str, Any] = {"tools": {}}
    text = f"{MARKER}: Release notes of the week, https://pages.test/1"
    call: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": False}
    found: dict[str, dict[str, Any]] = {"tools/list": {"tools": tools()}, "tools/call": call}
    if not is_modern:
        found["ping"] = {}
        found["initialize"] = {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": info,
        }
        return {method: msgspec.json.encode(result) for method, result in found.items()}
    found["server/discover"] = {
        "supportedVersions": ["2026-07-28"],
        "capabilities": capabilities,
        "_meta": {"io.modelcontextprotocol/serverInfo": info},
    }
    found["tools/list"] |= {"ttlMs": 0, "cacheScope": "private"}
    complete = {"resultType": "complete"}
    return {method: msgspec.json.encode(complete | result) for method, result in found.items()}


class Site:
    """What every connection shares."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._authorization = b"Bearer " + CREDENTIAL.encode()
        self._modern = results(is_modern=True)
        self._legacy = results(is_modern=False)
        self._decode = msgspec.json.Decoder(Message).decode

    def answer(self, path: bytes, authorization: bytes, _: bytes, body: bytes) -> bytes:
        """Return a whole HTTP answer."""
        if path == b"/counts":
            counted = msgspec.json.encode(dict(self.counts))
            self.counts.clear()
            return _response(_OK, counted)
        if authorization != self._authorization:
            return _response(_REFUSED, b"{}")
        if not body:
            return _response(_OK, b"")
        message = self._decode(body)
        self.counts[message.method] += 1
        if not message.id:
            return _response(_ACCEPTED, b"")
        era = path[1:7]
        result = (self._modern if era == b"modern" else self._legacy).get(message.method)
        return self._told(message, result, era)

    def _told(self, message: Message, result: bytes | None, era: bytes) -> bytes:
        number = bytes(message.id)
        if result is None:
            error = b'{"jsonrpc":"2.0","id":%b,"error":{"code":-32601,"message":"unknown"}}'
            return _response(_OK if era != b"modern" else _NOT_FOUND, error % number)
        body = b'{"jsonrpc":"2.0","id":%b,"result":%b}' % (number, result)
        if era == b"stream":
            event = b"event: message\ndata: %b\n\n" % body
            return _response(_OK, event, _STREAM, has_session=True)
        return _response(_OK, body, has_session=era != b"modern")


def _response(
    status: bytes, body: bytes, kind: bytes = _JSON, *, has_session: bool = False
) -> bytes:
    session = b"mcp-session-id: %b\r\n" % _SESSION if has_session else b""
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\n%bcontent-length: %d\r\n\r\n%b" % (
        status, kind, session, len(body), body,
    )  # fmt: skip


if __name__ == "__main__":
    main(lambda _: Site(), __doc__)
