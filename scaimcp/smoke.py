"""Check a running gateway from outside, as a client of each protocol era would use it.

Only the standard library: it runs where nothing but the package is, and starts at once.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from scaimcp import __version__
from scaimcp.errors import SettingsError
from scaimcp.telemetry.redaction import clean_message
from scaimcp.types import Secret

ERAS = ("both", "handshake", "modern")
HANDSHAKE = "2025-11-25"
MODERN = "2026-07-28"
_META = "io.modelcontextprotocol/"
_BODY_BYTES = 32 * 1024 * 1024
_PAGES = 200


class Step(msgspec.Struct, frozen=True):
    """One finished step; ``detail`` holds no token."""

    name: str
    is_ok: bool
    milliseconds: int
    detail: str


class StepFailed(Exception):
    """The gateway did not answer as it must; the message says how."""


@dataclass(frozen=True, slots=True)
class Target:
    """What to check.

    Attributes:
        url: the endpoint, with ``/mcp``; see `endpoint`.
        token: bearer of any user; None checks only that callers without one are refused.
        eras: one of `ERAS`.
        timeout_seconds: longest silence of the gateway.
    """

    url: str
    token: Secret | None
    eras: str = "both"
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; ``message`` is its JSON-RPC message, None without one."""

    status: int
    headers: Mapping[str, str]
    message: dict[str, Any] | None


def endpoint(url: str) -> str:
    """Return the address of ``/mcp`` for the address of a gateway.

    Raises:
        SettingsError: it is no http or https URL.
    """
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_usable = is_usable and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        is_usable = False
    if not is_usable:
        raise SettingsError("smoke takes an http or https URL without credentials")
    path = parts.path.rstrip("/") or "/mcp"
    return SplitResult(parts.scheme, parts.netloc, path, parts.query, "").geturl()


def check(target: Target) -> Iterator[Step]:
    """Yield every step as it finishes; a failing one does not keep the next from being taken."""
    steps = [("anonymous is refused", Client(target, None).refused)]
    if target.token is not None:
        if target.eras != "modern":
            steps += _steps("handshake", Handshake(target, target.token))
        if target.eras != "handshake":
            steps += _steps("modern", Modern(target, target.token))
    for name, take in steps:
        yield _timed(name, take, target.token)


def _steps(era: str, client: Client) -> list[tuple[str, Callable[[], str]]]:
    return [(f"{era} {name}", take) for name, take in client.steps()]


def _timed(name: str, take: Callable[[], str], token: Secret | None) -> Step:
    started = time.perf_counter()
    is_ok = False
    try:
        detail = take()
        is_ok = True
    except StepFailed as failure:
        detail = str(failure)
    except (OSError, http.client.HTTPException) as error:
        detail = f"{type(error).__name__}: {error}"
    # A gateway, or what stands in its place, may repeat what it was sent.
    if token is not None:
        detail = detail.replace(token.reveal(), "***")
    milliseconds = round((time.perf_counter() - started) * 1000)
    return Step(name, is_ok, milliseconds, clean_message(detail))


class Client:
    """A small MCP client; every request has a connection of its own."""

    def __init__(self, target: Target, token: Secret | None) -> None:
        self._target = target
        self._token = token
        self._number = 0

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """Return this era's steps in order."""
        return ()

    def refused(self) -> str:
        """Call without a bearer; the refusal must say where to get one. Spec: scaigrid 2."""
        reply = self.post({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, {})
        challenge = reply.headers.get("www-authenticate", "")
        if reply.status != 401:
            raise StepFailed(f"HTTP {reply.status} instead of 401")
        if "resource_metadata=" not in challenge:
            raise StepFailed("401 without resource_metadata in WWW-Authenticate")
        return "401 with resource_metadata"

    def list_tools(self) -> str:
        """List all tools, page by page."""
        names: list[str] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            result = self.ask("tools/list", {} if cursor is None else {"cursor": cursor})
            tools = _list(result, "tools")
            names += [str(tool.get("name")) for tool in tools if isinstance(tool, dict)]
            cursor = result.get("nextCursor")
            if cursor is None:
                break
        if "me_get" not in names:
            raise StepFailed(f"{len(names)} tools, me_get is missing")
        return f"{len(names)} tools"

    def call_me(self) -> str:
        """Ask who the token belongs to."""
        result = self.ask("tools/call", {"name": "me_get", "arguments": {}})
        text = next(_texts(_list(result, "content")), "")
        value = _parsed(text.encode())
        if result.get("isError"):
            raise StepFailed(f"refused with {_error_text(value)}")
        user = _object(value or {}, "user")
        return f"caller {user.get('email') or user.get('id') or 'without a name'}"

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return its result.

        Raises:
            StepFailed: an HTTP or JSON-RPC error, or no result.
        """
        return _result(self.send(method, params))

    def send(self, method: str, params: dict[str, Any]) -> Reply:
        """Send one request in the era's form."""
        return self.post(self.request(method, params), {})

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON-RPC request."""
        self._number += 1
        return {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}

    def post(self, body: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        """Send one body on a connection of its own and read the whole answer."""
        parts = urlsplit(self._target.url)
        connection = _connection(parts, self._target.timeout_seconds)
        lines = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "User-Agent": f"scaimcp-smoke/{__version__}",
            **headers,
        }
        if self._token is not None:
            lines["Authorization"] = f"Bearer {self._token.reveal()}"
        place = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", place, json.dumps(body).encode(), lines)
            with connection.getresponse() as response:
                content = response.read(_BODY_BYTES)
                found = {name.lower(): value for name, value in response.getheaders()}
                return Reply(response.status, found, _message(found, content))
        finally:
            connection.close()


@dataclass
class _Session:
    """What ``initialize`` settled."""

    headers: dict[str, str] = field(default_factory=dict)


class Handshake(Client):
    """The era that begins with ``initialize``."""

    def __init__(self, target: Target, token: Secret | None) -> None:
        super().__init__(target, token)
        self._session = _Session()

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """Return this era's steps in order."""
        return (
            ("initialize", self.initialize),
            ("notifications/initialized", self.notify),
            ("tools/list", self.list_tools),
            ("me_get", self.call_me),
        )

    def initialize(self) -> str:
        """Agree on the revision."""
        params = {
            "protocolVersion": HANDSHAKE,
            "capabilities": {},
            "clientInfo": {"name": "scaimcp-smoke", "version": __version__},
        }
        reply = self.send("initialize", params)
        result = _result(reply)
        if result.get("protocolVersion") != HANDSHAKE:
            raise StepFailed(f"speaks {result.get('protocolVersion')} instead of {HANDSHAKE}")
        self._session.headers = {"MCP-Protocol-Version": HANDSHAKE}
        if "mcp-session-id" in reply.headers:
            self._session.headers["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
        return f"{HANDSHAKE}, {_server(result)}"

    def notify(self) -> str:
        """Say that the client is ready."""
        body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        reply = self.post(body, self._session.headers)
        if reply.status != 202:
            raise StepFailed(f"HTTP {reply.status} instead of 202")
        return "202"

    def send(self, method: str, params: dict[str, Any]) -> Reply:
        """Send one request within the session."""
        return self.post(self.request(method, params), self._session.headers)


class Modern(Client):
    """The era in which every request stands alone."""

    def steps(self) -> tuple[tuple[str, Callable[[], str]], ...]:
        """Return this era's steps in order."""
        return (
            ("server/discover", self.discover),
            ("tools/list", self.list_tools),
            ("me_get", self.call_me),
        )

    def discover(self) -> str:
        """Ask what the server speaks."""
        result = self.ask("server/discover", {})
        spoken = _list(result, "supportedVersions")
        if MODERN not in spoken:
            raise StepFailed(f"does not speak {MODERN}")
        return f"speaks {', '.join(map(str, spoken))}"

    def send(self, method: str, params: dict[str, Any]) -> Reply:
        """Send one request with its envelope in headers and ``_meta``."""
        meta = {
            f"{_META}protocolVersion": MODERN,
            f"{_META}clientInfo": {"name": "scaimcp-smoke", "version": __version__},
            f"{_META}clientCapabilities": {},
        }
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if method == "tools/call":
            headers["Mcp-Name"] = params["name"]
        return self.post(self.request(method, {**params, "_meta": meta}), headers)


def _connection(parts: SplitResult, seconds: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=seconds)
    context = ssl.create_default_context()
    return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)


def _message(headers: Mapping[str, str], content: bytes) -> dict[str, Any] | None:
    """Return the JSON-RPC message of a body; the last one of a stream."""
    if headers.get("content-type", "").startswith("text/event-stream"):
        lines = [line for line in content.splitlines() if line.startswith(b"data: ")]
        content = lines[-1][6:] if lines else b""
    return _parsed(content)


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _result(reply: Reply) -> dict[str, Any]:
    if reply.message is None:
        raise StepFailed(f"HTTP {reply.status} without a JSON-RPC message")
    if reply.status != 200 or "error" in reply.message:
        raise StepFailed(f"HTTP {reply.status}, {_error_text(reply.message)}")
    return _object(reply.message, "result")


def _object(owner: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = owner.get(name)
    if not isinstance(value, dict):
        raise StepFailed(f"the answer has no {name}")
    return value


def _list(owner: Mapping[str, Any], name: str) -> list[Any]:
    value = owner.get(name)
    if not isinstance(value, list):
        raise StepFailed(f"the answer has no {name}")
    return value


def _texts(content: list[Any]) -> Iterator[str]:
    """Return the texts of content blocks."""
    for block in content:
        if isinstance(block, dict) and isinstance(block.get("text"), str):
            yield block["text"]


def _server(result: Mapping[str, Any]) -> str:
    info = result.get("serverInfo")
    info = info if isinstance(info, dict) else {}
    return f"{info.get('name', 'unnamed server')} {info.get('version', '')}".strip()


def _error_text(message: Mapping[str, Any] | None) -> str:
    """Return number, code and message of an error, as far as they are there."""
    error = (message or {}).get("error")
    if not isinstance(error, dict):
        return "no error object"
    data = error.get("data")
    inner = data.get("error") if isinstance(data, dict) else None
    code = inner.get("code") if isinstance(inner, dict) else None
    words = (str(error.get("code", "")), str(code or ""), str(error.get("message", "")))
    return " ".join(word for word in words if word)
