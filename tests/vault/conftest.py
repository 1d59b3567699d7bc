"""A served stand-in vault and callers of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from scaimcp.dev.vault import Served, VaultConfig, serve_vault
from scaimcp.dev.vault.fixture import AGENT

START = 1_800_000_000.0


@dataclass
class Answer:
    """One response."""

    status: int
    headers: Any
    content: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.content)

    @property
    def data(self) -> Any:
        assert self.status < 300, self.content
        return self.json

    @property
    def code(self) -> str:
        assert self.status >= 400, self.content
        return str(self.json["error"]["code"])

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.code


@dataclass
class Caller:
    """Calls the vault with one bearer; the path goes out as written."""

    http: aiohttp.ClientSession
    url: str
    bearer: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        headers = {**self.headers, **options.pop("headers", {})}
        if self.bearer is not None:
            headers.setdefault("Authorization", f"Bearer {self.bearer}")
        if body is not None:
            options["json"] = body
        url = URL(self.url + path, encoded=True)
        async with self.http.request(
            method, url, headers=headers, allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self("POST", path, body, **options)

    async def put(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self("PUT", path, body, **options)

    async def patch(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self("PATCH", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self("DELETE", path, **options)

    async def store(self, path: str, data: Any = None, **body: Any) -> Answer:
        """Write a secret."""
        return await self.put(f"/v1/secrets/{path}", {"data": data or {"p": "v"}, **body})


@dataclass
class World:
    """A running vault: `as_(token)` calls it; `agent` may do everything in tenant tnt_a."""

    served: Served
    http: aiohttp.ClientSession

    def as_(self, token: str | None, **headers: str) -> Caller:
        return Caller(self.http, self.served.url, token, headers)

    @property
    def agent(self) -> Caller:
        return self.as_(AGENT)

    @property
    def anyone(self) -> Caller:
        return self.as_(None)

    @property
    def control(self) -> Caller:
        return Caller(self.http, self.served.url + "/__standin")

    async def advance(self, seconds: float) -> None:
        assert (await self.control.post("/clock", {"seconds": seconds})).status == 204

    async def queue(self, **fault: Any) -> None:
        assert (await self.control.post("/faults", [fault])).status == 204

    async def token(self, token: str, **identity: Any) -> Caller:
        """Add a token and return its caller."""
        known = {"id": "user:new@acme.example", "type": "user", "tenant_id": "tnt_a"}
        identity = {**known, "partner_id": "ptn_x", "scopes": ["admin"], **identity}
        answer = await self.control.put("/tokens", {"token": token, "identity": identity})
        assert answer.status == 204, answer.content
        return self.as_(token)


Starter = Callable[[VaultConfig], Awaitable[World]]


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[World]:
    """One vault for a module."""
    config = VaultConfig(frozen_at=START)
    async with serve_vault(config) as served, aiohttp.ClientSession() as http:
        yield World(served, http)


@pytest.fixture
async def world(shared: World) -> World:
    """The module's vault as it was at its start; its clock stands still."""
    shared.served.vault.reset()
    return shared


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Start further vaults, which end with the test."""
    async with AsyncExitStack() as stack:

        async def run(config: VaultConfig) -> World:
            served = await stack.enter_async_context(serve_vault(config))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            return World(served, http)

        yield run
