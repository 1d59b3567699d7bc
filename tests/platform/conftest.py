"""A served stand-in platform and callers of it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from scaimcp.dev.platform import SEED_LOGINS, PlatformConfig, Served, api_key, serve_platform


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
        return self.json["data"]

    @property
    def code(self) -> str:
        assert self.status >= 400, self.content
        return str(self.json["error"]["code"])

    @property
    def faults(self) -> set[str]:
        """The fields of a 422."""
        assert self.status == 422, self.content
        return {detail["field"] for detail in self.json["error"]["details"]}


@dataclass
class Caller:
    """Calls the platform with one bearer; the path goes out as written."""

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


@dataclass
class World:
    """A running platform: `as_("tenant_admin")` calls it as a seeded login."""

    served: Served
    http: aiohttp.ClientSession

    @property
    def anyone(self) -> Caller:
        return Caller(self.http, self.served.url)

    @property
    def control(self) -> Caller:
        return Caller(self.http, self.served.url + "/__standin")

    def as_(self, name: str) -> Caller:
        return Caller(self.http, self.served.url, api_key(SEED_LOGINS[name]))

    def with_bearer(self, bearer: str) -> Caller:
        return Caller(self.http, self.served.url, bearer)

    async def token(self, name: str, **wanted: Any) -> str:
        answer = await self.control.post("/tokens", {"login": SEED_LOGINS[name], **wanted})
        return str(answer.json["token"])

    def rows(self, table: str) -> list[dict[str, Any]]:
        return self.served.platform.store[table].all()

    def user_id(self, name: str) -> str:
        row = self.served.platform.store["users"].first(email=SEED_LOGINS[name])
        assert row is not None
        return str(row["id"])

    def tenant_id(self, slug: str) -> str:
        row = self.served.platform.store["tenants"].first(slug=slug)
        assert row is not None
        return str(row["id"])


Starter = Callable[..., Awaitable[World]]


@pytest.fixture
async def start() -> AsyncIterator[Starter]:
    """Starts platforms with settings of their own: `await start(rate_limits=True)`."""
    contexts = []

    async def begin(**settings: Any) -> World:
        context = serve_platform(PlatformConfig(**settings))
        served = await context.__aenter__()
        session = aiohttp.ClientSession()
        contexts.append((context, session))
        return World(served, session)

    yield begin
    for context, session in reversed(contexts):
        await session.close()
        await context.__aexit__(None, None, None)


@pytest.fixture
async def world(start: Starter) -> World:
    """A platform with every default."""
    return await start()
