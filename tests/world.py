"""A whole gateway in the test's own process: stand-in platform, real stores, real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import uvicorn

from scaimcp.app import GatewayApp, create_app
from scaimcp.dev.platform import SEED_LOGINS, PlatformConfig, Served, api_key, serve_platform
from scaimcp.dev.vault import Served as ServedVault
from scaimcp.dev.vault import VaultConfig, serve_vault
from scaimcp.gateway.sources import ToolSource
from scaimcp.migrating import migrate
from scaimcp.settings import load
from scaimcp.types import Secret

KEK = "test:" + base64.b64encode(bytes(range(32))).decode()
STATE_KEY = base64.b64encode(hashlib.sha256(b"tests").digest()).decode()
PLACES = 40
LATEST = "2025-11-25"
MODERN = "2026-07-28"
VERSION = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
JSON_AND_SSE = "application/json, text/event-stream"


@dataclass
class Reply:
    """One HTTP answer."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.content)

    @property
    def result(self) -> Any:
        """The JSON-RPC result; the last event's of a stream."""
        body = self.events[-1] if self.is_stream else self.json
        assert "result" in body, self.content[:2000]
        return body["result"]

    @property
    def error(self) -> Any:
        """The JSON-RPC error."""
        body = self.events[-1] if self.is_stream else self.json
        assert "error" in body, self.content[:2000]
        return body["error"]

    @property
    def word(self) -> str:
        """The stable code in ``error.data.error.code``, or of the REST envelope."""
        error = self.error
        return str(
            error["code"]
            if "message" in error and isinstance(error["code"], str)
            else error["data"]["error"]["code"]
        )

    @property
    def is_stream(self) -> bool:
        return str(self.headers.get("content-type", "")).startswith("text/event-stream")

    @property
    def events(self) -> list[Any]:
        """The messages of an event stream."""
        frames = self.content.decode().split("\n\n")
        lines = [line for frame in frames for line in frame.split("\n")]
        return [msgspec.json.decode(line[6:]) for line in lines if line.startswith("data: ")]


@dataclass
class Called:
    """The outcome of one tools/call."""

    reply: Reply

    @property
    def is_error(self) -> bool:
        return bool(self.reply.result["isError"])

    @property
    def value(self) -> Any:
        """The result's JSON; text and structuredContent must agree."""
        result = self.reply.result
        assert not result["isError"], result
        value = msgspec.json.decode(result["content"][0]["text"])
        if "structuredContent" in result:
            assert result["structuredContent"] == value
        return value

    @property
    def error(self) -> Any:
        """The error object of a failed call."""
        result = self.reply.result
        assert result["isError"] is True, result
        assert "structuredContent" not in result
        assert len(result["content"]) == 1
        return msgspec.json.decode(result["content"][0]["text"])["error"]

    @property
    def code(self) -> str:
        return str(self.error["code"])

    @property
    def blocks(self) -> list[Any]:
        return list(self.reply.result["content"][1:])


@dataclass
class Client:
    """A raw MCP client: every byte of a request can be chosen."""

    http: aiohttp.ClientSession
    url: str
    token: str | None
    revision: str | None = LATEST
    headers: dict[str, str] = field(default_factory=dict)

    def using(self, **changes: Any) -> Client:
        """Return a client that differs in `changes`."""
        return Client(**{**self.__dict__, **changes})

    async def send(
        self, body: Any, *, path: str = "/mcp", method: str = "POST", headers: Any = None
    ) -> Reply:
        """Send a body as it is (bytes) or as JSON. A header value of None leaves it out."""
        lines: dict[str, str | None] = {
            "content-type": "application/json",
            "accept": JSON_AND_SSE,
            "authorization": f"Bearer {self.token}" if self.token is not None else None,
            "mcp-protocol-version": self.revision,
            **self.headers,
            **(headers or {}),
        }
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        kept = {name: value for name, value in lines.items() if value is not None}
        async with self.http.request(
            method, self.url + path, data=data, headers=kept, skip_auto_headers=("content-type",)
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    def request(self, method: str, params: Any = None, message_id: Any = 1) -> dict[str, Any]:
        """Return a JSON-RPC request, with the envelope of 2026-07-28 where it is needed."""
        params = dict(params or {})
        if self.revision == MODERN:
            meta = {VERSION: MODERN, CAPABILITIES: {}, **params.get("_meta", {})}
            params["_meta"] = meta
        return {"jsonrpc": "2.0", "id": message_id, "method": method, "params": params}

    async def rpc(
        self,
        method: str,
        params: Any = None,
        *,
        message_id: Any = 1,
        path: str = "/mcp",
        headers: Any = None,
    ) -> Reply:
        """Send one request with the headers that its revision demands."""
        lines: dict[str, str | None] = {}
        if self.revision == MODERN:
            lines["mcp-method"] = method
            name = (params or {}).get("uri" if method == "resources/read" else "name")
            if isinstance(name, str) and method in ("tools/call", "prompts/get", "resources/read"):
                safe = name.isascii() and name.isprintable() and name == name.strip()
                encoded = base64.b64encode(name.encode()).decode()
                lines["mcp-name"] = name if safe else f"=?base64?{encoded}?="
        body = self.request(method, params, message_id)
        return await self.send(body, path=path, headers={**lines, **(headers or {})})

    async def initialize(self, revision: str = LATEST, **params: Any) -> Reply:
        """Send ``initialize`` as a client of `revision`."""
        given = {
            "protocolVersion": revision,
            "capabilities": {},
            "clientInfo": {"name": "tests", "version": "1"},
            **params,
        }
        plain = self.using(revision=None)
        return await plain.rpc("initialize", given)

    async def tools(self, query: str = "") -> list[Any]:
        """Return every listed tool, following cursors."""
        tools: list[Any] = []
        cursor = None
        while True:
            params = {"cursor": cursor} if cursor else {}
            result = (await self.rpc("tools/list", params, path=f"/mcp{query}")).result
            tools += result["tools"]
            cursor = result.get("nextCursor")
            if cursor is None:
                return tools

    async def names(self, query: str = "") -> list[str]:
        """Return the names of every listed tool, in order."""
        return [tool["name"] for tool in await self.tools(query)]

    async def call(self, name: str, arguments: Any = None, **more: Any) -> Called:
        """Call a tool."""
        params = {"name": name, "arguments": {} if arguments is None else arguments}
        return Called(await self.rpc("tools/call", {**params, **more.pop("params", {})}, **more))

    async def get(self, path: str, headers: Any = None) -> Reply:
        """GET a REST path."""
        lines = {"content-type": None, "accept": None, "mcp-protocol-version": None}
        return await self.send(None, path=path, method="GET", headers={**lines, **(headers or {})})


@dataclass
class World:
    """A running gateway and the platform behind it."""

    url: str
    app: GatewayApp
    platform: Served
    http: aiohttp.ClientSession
    places: list[socket.socket] = field(default_factory=list)
    vault: ServedVault | None = None

    async def person(self, role: str, **claims: Any) -> Client:
        """Return a client with an access token of `role`'s user, as ScaiVault takes them."""
        wanted = {"login": SEED_LOGINS[role], **claims}
        return self.with_token((await self.control("POST", "/tokens", wanted))["token"])

    def place(self) -> socket.socket:
        """Return a bound socket that remote servers may be reached at; see `serve_at`."""
        return self.places.pop()

    async def grant(self, role: str, *permissions: str) -> None:
        """Give a user exactly these module permissions of their own."""
        users = (await self.control("GET", "/rows/users"))["rows"]
        user = next(one for one in users if one["email"] == SEED_LOGINS[role])
        row = {"module_permissions": list(permissions)}
        await self.control("PATCH", f"/rows/users/{user['id']}", row)
        self.forget()

    @property
    def mcp_url(self) -> str:
        return f"{self.url}/mcp"

    @property
    def tokens(self) -> dict[str, str]:
        """API keys by role, as `scaimcp dev` prints them."""
        return {role: api_key(login) for role, login in SEED_LOGINS.items()}

    def as_(self, role: str | None, revision: str | None = LATEST) -> Client:
        """Return a client with the token of `role`; None for no token."""
        token = self.tokens[role] if role is not None else None
        return Client(self.http, self.url, token, revision)

    def with_token(self, token: str | None, revision: str | None = LATEST) -> Client:
        """Return a client with any token."""
        return Client(self.http, self.url, token, revision)

    async def control(self, method: str, path: str, body: Any = None) -> Any:
        """Use the stand-in's control surface below ``/__standin``."""
        url = f"{self.platform.url}/__standin{path}"
        async with self.http.request(method, url, json=body) as response:
            content = await response.read()
            assert response.status < 300, content
            return msgspec.json.decode(content) if content else None

    async def calls(self, prefix: str = "") -> list[Any]:
        """Return the requests that the platform got, oldest first, paths starting with `prefix`."""
        calls = (await self.control("GET", "/calls"))["calls"]
        return [call for call in calls if call["path"].startswith(prefix)]

    async def fault(self, *rules: Any) -> None:
        """Let the platform misbehave by `rules`; none mends it."""
        await self.control("DELETE", "/faults")
        if rules:
            await self.control("PUT", "/faults", list(rules))

    def forget(self) -> None:
        """Drop the gateway's short-lived memory of callers and modules."""
        services = self.app.services
        assert services is not None
        services.verifier._callers.clear()
        services.verifier._refused.clear()
        services.modules._entries.clear()
        services.modules._denied.clear()
        services.platform._backoff.clear()


def listener() -> socket.socket:
    """Return a listening socket on a free loopback port."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.bind(("127.0.0.1", 0))
    opened.listen(512)
    return opened


def bound() -> socket.socket:
    """Return a socket on a free loopback port where nobody listens yet."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.bind(("127.0.0.1", 0))
    return opened


@asynccontextmanager
async def serve_at(place: socket.socket, app: Any) -> AsyncIterator[str]:
    """Serve an ASGI app at a place of `World.place`; yield its origin."""
    place.listen(512)
    async with serve_app(app, place):
        yield f"http://127.0.0.1:{place.getsockname()[1]}"


@asynccontextmanager
async def serve_app(app: Any, opened: socket.socket) -> AsyncIterator[None]:
    """Serve an ASGI app on an open socket, in the running loop."""
    config = uvicorn.Config(
        app, http="httptools", ws="none", lifespan="on", access_log=False, log_config=None,
        log_level="error", server_header=False, proxy_headers=False, timeout_keep_alive=75,
    )  # fmt: skip
    server = uvicorn.Server(config)
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup(sockets=[opened])
    try:
        yield
    finally:
        for listening in server.servers:
            listening.close()
        for connection in list(server.server_state.connections):
            connection.shutdown()
        deadline = time.monotonic() + 5
        while server.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - uvicorn has no event for this
            await asyncio.sleep(0.002)
        await server.lifespan.shutdown()


def gateway_environment(
    port: int, platform_url: str, database_url: str, redis_url: str, **settings: str
) -> dict[str, str]:
    """Return the environment of a test gateway; `settings` are names without ``SCAIMCP_``."""
    return {
        "SCAIMCP_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SCAIMCP_DATABASE_URL": database_url,
        "SCAIMCP_REDIS_URL": redis_url,
        "SCAIMCP_STATE_KEYS": STATE_KEY,
        "SCAIMCP_PLATFORM_URL": platform_url,
        "SCAIMCP_SERVER_DRAIN_SECONDS": "5",
        **{f"SCAIMCP_{name}": value for name, value in settings.items()},
    }


def remote_settings(places: Iterable[socket.socket]) -> dict[str, str]:
    """Return the settings by which remote servers at `places` may be reached by plain HTTP."""
    ports = [str(place.getsockname()[1]) for place in places]
    return {
        "ENCRYPTION_LOCAL_KEK": KEK,
        "REMOTE_ALLOWED_PRIVATE": ",".join(f"127.0.0.1:{port}" for port in ports),
        "REMOTE_ALLOWED_PLAINTEXT_HOSTS": "127.0.0.1",
    }


@asynccontextmanager
async def start_world(
    database_url: str,
    redis_url: str,
    *,
    platform: PlatformConfig | None = None,
    sources: Iterable[ToolSource] = (),
    environment: Mapping[str, str] | None = None,
    remote: bool = False,
    vault: bool = False,
    **settings: str,
) -> AsyncIterator[World]:
    """Start platform and gateway.

    Args:
        database_url: an empty database; it is migrated.
        redis_url: a Redis for this gateway.
        platform: how the stand-in is started.
        sources: further tool sources.
        environment: further names of the environment, foreign ones.
        remote: with a registry of remote servers, which may be at `World.place` and speak HTTP.
        vault: with a stand-in ScaiVault that takes the platform's access tokens.
        settings: settings without ``SCAIMCP_``, for example ``LIMITS_INFLIGHT="4"``.
    """
    await asyncio.to_thread(migrate, Secret(database_url))
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(serve_platform(platform))
        opened = listener()
        port = opened.getsockname()[1]
        places = [bound() for _ in range(PLACES if remote else 0)]
        for place in places:
            stack.callback(place.close)
        if remote:
            settings = {**remote_settings(places), **settings}
        kept = None
        if vault:
            keys = VaultConfig(jwks_url=f"{served.url}/.well-known/jwks.json")
            kept = await stack.enter_async_context(serve_vault(keys))
            settings = {"SCAIVAULT_URL": kept.url, **settings}
        env = gateway_environment(port, served.url, database_url, redis_url, **settings)
        app = create_app(load({**env, **(environment or {})}), sources)
        await stack.enter_async_context(serve_app(app, opened))
        http = await stack.enter_async_context(
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True)
        )
        yield World(f"http://127.0.0.1:{port}", app, served, http, places.copy(), kept)
