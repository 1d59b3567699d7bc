"""What is asked of a remote server, where, and as whom.

Headers are built from nothing: there is no parameter through which a caller's bearer could
travel. Spec: remote-servers 5.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from yarl import URL

from scaimcp.types import Secret
from scaimcp.upstream.wire import MODERN, RESULT_BYTES, encode, header_value, joined

CALL_SECONDS = 120.0
PROBE_SECONDS = 5.0
_VISIBLE = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


class Target(msgspec.Struct, frozen=True):
    """Where one request goes and as whom; made for that request and dropped with it.

    Args:
        url: the endpoint, already judged by the rules for URLs.
        credentials: header names (lower-case) and opened values.
        user_id: goes out as ``X-ScaiGrid-User``; None where it is not forwarded.
        hops: value of ``x-scaimcp-hops``, the inbound one plus 1.
    """

    url: str
    credentials: tuple[tuple[str, Secret], ...] = ()
    user_id: str | None = None
    hops: int = 1

    def secrets(self) -> tuple[str, ...]:
        """Return the values that must not come back in a text."""
        return tuple(value.reveal() for _, value in self.credentials)


Opener = Callable[[], Awaitable[Target]]
"""Opens the sealed credential and returns where to go: once per outbound request."""


class QuestionRefused(Exception):
    """A server's question is answered with an error of its own; `error` is encoded."""

    def __init__(self, error: bytes) -> None:
        super().__init__("the question is refused")
        self.error = error


class Listener(Protocol):
    """Hears what a server says while it works on one request."""

    async def notified(self, method: str, params: bytes) -> None:
        """Take a notification; `params` is JSON, b"" without.

        Progress comes only where `Ask.is_progress_wanted`; its token is the gateway's own.
        """
        ...

    async def asked(self, method: str, params: bytes) -> bytes | None:
        """Answer ``elicitation/create`` with an encoded result; None refuses it (-32601).

        The deadline of the request stands still meanwhile.

        Raises:
            QuestionRefused: the server gets this error.
            GatewayError: there will be no answer; the request is given up.
        """
        ...


class Ask(msgspec.Struct, frozen=True):
    """One MCP request.

    Args:
        method: MCP method.
        params: a JSON object without ``_meta``.
        name: value of ``Mcp-Name`` before encoding (tool, prompt or URI); None without.
        param_headers: ``Mcp-Param-*`` headers, lower-case name and decoded value.
        elicitation: modes that this request's client can answer (2026-07-28).
        is_progress_wanted: ask for ``notifications/progress``.
        seconds: deadline of the whole request; progress does not extend it.
        most_bytes: largest result or event, decompressed.
        depth: deepest JSON.
        redirects: 307 and 308 within the origin that are followed.
        listener: None drops notifications and refuses the server's requests.
    """

    method: str
    params: bytes = b"{}"
    name: str | None = None
    param_headers: tuple[tuple[str, str], ...] = ()
    elicitation: tuple[str, ...] = ()
    is_progress_wanted: bool = False
    seconds: float = CALL_SECONDS
    most_bytes: int = RESULT_BYTES
    depth: int = 64
    redirects: int = 1
    listener: Listener | None = None


class Handshake(msgspec.Struct, frozen=True):
    """What a server said about itself.

    Args:
        era: ``modern`` or ``legacy``.
        version: the protocol revision in use.
        capabilities: by name, encoded; None where the server has not told.
        server_info: encoded object, b"" without.
        instructions: for display only, "" without.
        session_id: the MCP session of the handshake era, None without.
    """

    era: str
    version: str
    capabilities: dict[str, msgspec.Raw] | None = None
    server_info: bytes = b""
    instructions: str = ""
    session_id: str | None = None

    def has(self, capability: str) -> bool:
        """Tell whether a capability is declared, or may be there since nothing was told."""
        return self.capabilities is None or capability in self.capabilities


class Session(Protocol):
    """A way to ask one server; what `open_session` gives."""

    @property
    def handshake(self) -> Handshake:
        """What the server said about itself."""
        ...

    @property
    def is_usable(self) -> bool:
        """False once the session is closed or broken."""
        ...

    async def request(self, target: Target, ask: Ask) -> msgspec.Raw:
        """Send `ask` and return the result as it came.

        Raises:
            UpstreamError: any failure; `was_sent` tells whether it may have been carried out.
        """
        ...


def call_tool(name: str, arguments: bytes, more: Mapping[str, bytes] | None = None) -> Ask:
    """Return a ``tools/call``.

    Args:
        name: the tool's name at the server.
        arguments: encoded object.
        more: further encoded parameters: ``inputResponses``, ``requestState``.
    """
    fields = {"name": encode(name), "arguments": arguments, **(more or {})}
    return Ask("tools/call", joined(fields), name)


def read_resource(uri: str, more: Mapping[str, bytes] | None = None) -> Ask:
    """Return a ``resources/read``; `more` as for `call_tool`."""
    return Ask("resources/read", joined({"uri": encode(uri), **(more or {})}), uri)


def get_prompt(name: str, arguments: bytes, more: Mapping[str, bytes] | None = None) -> Ask:
    """Return a ``prompts/get``; parameters as for `call_tool`."""
    fields = {"name": encode(name), "arguments": arguments, **(more or {})}
    return Ask("prompts/get", joined(fields), name)


def with_more(ask: Ask, more: Mapping[str, bytes]) -> Ask:
    """Return a request for a tool, a resource or a prompt with further encoded parameters."""
    if not more:
        return ask
    params = b"%b,%b" % (ask.params[:-1], joined(more)[1:])
    return msgspec.structs.replace(ask, params=params)


def complete(params: bytes) -> Ask:
    """Return a ``completion/complete`` with these encoded parameters."""
    return Ask("completion/complete", params)


def ping() -> Ask:
    """Return a ``ping``, the probe of the handshake era."""
    return Ask("ping", seconds=PROBE_SECONDS, redirects=3)


def base_headers(target: Target) -> dict[str, str]:
    """Return the headers of every request to `target`."""
    headers = {
        "Accept": "application/json, text/event-stream",
        "x-scaimcp-hops": str(target.hops),
    }
    for name, value in target.credentials:
        headers[name] = value.reveal()
    if target.user_id is not None:
        headers["X-ScaiGrid-User"] = quote(target.user_id, safe=_VISIBLE)
    return headers


def modern_headers(target: Target, ask: Ask) -> dict[str, str]:
    """Return the headers of a request of 2026-07-28."""
    headers = base_headers(target)
    headers["MCP-Protocol-Version"] = MODERN
    headers["Mcp-Method"] = ask.method
    if ask.name is not None:
        headers["Mcp-Name"] = header_value(ask.name)
    for name, value in ask.param_headers:
        headers[name] = header_value(value)
    return headers


def legacy_headers(target: Target, version: str, session_id: str | None) -> dict[str, str]:
    """Return the headers of a request within a session of the handshake era."""
    headers = base_headers(target)
    headers["MCP-Protocol-Version"] = version
    if session_id is not None:
        headers["Mcp-Session-Id"] = session_id
    return headers


@lru_cache(1_024)
def parsed(url: str) -> URL:
    """Return the URL as the HTTP client wants it."""
    return URL(url)


def same_origin(one: URL, other: URL) -> bool:
    """Tell whether scheme, host and port agree."""
    return _origin(one) == _origin(other)


def _origin(url: URL) -> tuple[Any, ...]:
    return (url.scheme, url.raw_host, url.port)
