"""The endpoint alone on a real socket: fixture tools behind it, no platform and no stores."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import msgspec

from scaimcp.auth.challenge import invalid_token, metadata_url
from scaimcp.auth.verifier import Verifier
from scaimcp.errors import RequestRefused
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.limits import InFlight, NoLimits, RateLimiter
from scaimcp.scaigrid.client import Trace
from scaimcp.sealing import Sealer
from scaimcp.server.asgi import AsgiApp, Receive, Scope, Send
from scaimcp.server.attendant import PACE, Pace
from scaimcp.server.dispatch import Dispatcher
from scaimcp.server.endpoint import EdgePolicy, McpEndpoint
from scaimcp.server.methods import Methods
from scaimcp.server.rendering import Renderer
from scaimcp.server.session import Sessions
from scaimcp.server.subscriptions import LIMITS, Limits, Subscriptions
from scaimcp.serving import hypercorn_engine, uvicorn_engine
from scaimcp.serving.stage import Stage
from scaimcp.settings import load
from scaimcp.types import Allowance as Left
from scaimcp.types import Caller, Grants
from tests.fakes.fixtures_source import FixtureSource
from tests.world import LATEST, STATE_KEY, Client, listener

TENANTS = {"alice": "tnt_1", "bob": "tnt_1", "eve": "tnt_2", "root": ""}
ENGINES = {"uvicorn": uvicorn_engine.serve, "hypercorn": hypercorn_engine.serve}
UNLIMITED = NoLimits()
ORIGIN = "https://app.example.com"


class KnownCallers:
    """Stands in for the verifier: the token is the caller's name."""

    def __init__(self, metadata: str) -> None:
        self._metadata = metadata
        self._callers = {name: _caller(name, tenant) for name, tenant in TENANTS.items()}

    def remembered(self, token: str) -> Caller | None:
        return self._callers.get(token)

    async def verify(self, token: str, trace: Trace) -> Caller:
        if token == "suspended":
            raise RequestRefused("AUTHZ_PERMISSION_DENIED", "Suspended.", http_status=403)
        if token == "broken":
            raise LookupError("secret-of-the-house")
        raise invalid_token(self._metadata)


def _caller(name: str, tenant: str) -> Caller:
    key = hashlib.sha256(name.encode()).digest()
    return Caller(key, f"usr_{name}", tenant, tenant, "prt", Grants(frozenset(), frozenset()))


class Allowance:
    """A rate limiter that admits `left` requests and then asks for 9 seconds of patience."""

    is_on = True

    def __init__(self, left: int = 0) -> None:
        self.left = left

    async def take(self, caller: Caller) -> Left | None:
        self.left -= 1
        policy = (("token", 60), ("user", 90))
        if self.left < 0:
            return Left(policy, "user", 0, 9, is_refused=True)
        return Left(policy, "token", self.left, 1)


@dataclass(frozen=True)
class Setup:
    """How the endpoint is built; `policy` overrides fields of `EdgePolicy`."""

    pace: Pace = PACE
    limits: Limits = LIMITS
    surfaces: frozenset[str] = frozenset({"tools", "resources", "prompts"})
    page_size: int = 1_000
    per_caller: int = 256
    limiter: RateLimiter = UNLIMITED
    engine: str = "uvicorn"
    policy: tuple[tuple[str, Any], ...] = ()


@dataclass
class Edge:
    """A running endpoint."""

    url: str
    http: aiohttp.ClientSession
    source: FixtureSource
    subscriptions: Subscriptions
    session_sealer: Sealer
    cursor_sealer: Sealer

    def as_(self, name: str | None = "alice", revision: str | None = LATEST) -> Client:
        return Client(self.http, self.url, name, revision)


@asynccontextmanager
async def start_edge(setup: Setup = Setup()) -> AsyncIterator[Edge]:
    """Serve an endpoint built as `setup` says."""
    opened = listener()
    url = f"http://127.0.0.1:{opened.getsockname()[1]}"
    ring = load({"SCAIMCP_STATE_KEYS": STATE_KEY}).state_keys
    assert ring is not None
    sessions, cursors = Sealer(ring, "session"), Sealer(ring, "cursor")
    source = FixtureSource()
    renderer = Renderer("scaimcp", "test")
    subscriptions = Subscriptions(setup.surfaces, renderer, setup.limits)
    source.changed = subscriptions.changed
    methods = Methods(
        Gateway((source,), setup.limiter, InFlight(setup.per_caller)),
        renderer,
        Sessions(sessions),
        cursors,
        surfaces=setup.surfaces,
        page_size=setup.page_size,
    )
    metadata = metadata_url(url)
    dispatcher = Dispatcher(methods, Sessions(sessions), subscriptions, metadata, setup.pace)
    policy = EdgePolicy(
        public_url=url,
        hosts=frozenset({"127.0.0.1", "localhost"}),
        origins=frozenset({ORIGIN}),
        body_bytes=1_000_000,
        inflight=64,
    )
    policy = msgspec.structs.replace(policy, **dict(setup.policy))
    endpoint = McpEndpoint(cast("Verifier", KnownCallers(metadata)), dispatcher, policy)
    stop = asyncio.Event()
    is_served = asyncio.Event()
    stage = Stage(stop, subscriptions.close, 5.0, is_served.set)
    async with asyncio.TaskGroup() as group:
        group.create_task(ENGINES[setup.engine](_only_http(endpoint), [opened], stage))
        await is_served.wait()
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            yield Edge(url, http, source, subscriptions, sessions, cursors)
        stop.set()


def _only_http(endpoint: McpEndpoint) -> AsgiApp:
    """Return the endpoint for a server that would offer it other protocols as well."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        await endpoint(scope, receive, send)

    return app
