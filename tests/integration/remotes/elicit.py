"""Servers that ask while they work, of both eras, behind one gateway; and the SDK's own clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx2
import msgspec
from mcp import Client as SdkClient
from mcp.client.streamable_http import streamable_http_client
from mcp_types import (
    ElicitRequestParams,
    ElicitResult,
)

from scaimcp.app import GatewayApp
from scaimcp.bootstrap import Services
from scaimcp.remotes.models import ServerRow
from tests.integration.remotes.askers import HandshakeTools, Log, ModernTools, server_of
from tests.integration.remotes.sidebyside import Fleet, dotted, start_fleet
from tests.integration.upstream import support
from tests.world import CAPABILITIES, JSON_AND_SSE, MODERN, Client, Reply

BOTH: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}
FORM: dict[str, Any] = {"elicitation": {"form": {}}}
ACCEPTED = {"action": "accept", "content": {"name": "Ada"}}
DECLINED = {"action": "decline"}
CANCELLED = {"action": "cancel"}


@dataclass
class Asking:
    """A gateway with a server of each kind behind it: ``modern``, ``legacy``, ``sse``."""

    fleet: Fleet
    logs: dict[str, Log]
    rows: dict[str, ServerRow]
    urls: dict[str, str]

    @property
    def services(self) -> Services:
        app: GatewayApp = self.fleet.world.app
        assert app.services is not None
        return app.services

    @property
    def holds(self) -> Any:
        assert self.services.remotes is not None
        return self.services.remotes.plugged.holds

    def name(self, era: str, tool: str) -> str:
        return dotted(self.rows[era], tool)

    def uri(self, era: str, uri: str) -> str:
        return f"scailink://remote/tenant/{self.rows[era].slug}/{uri}"

    async def call(
        self, era: str, tool: str, *, modes: Any = None, role: str = "tenant_admin", **params: Any
    ) -> Reply:
        """Call a tool as a client of 2026-07-28."""
        arguments = params.pop("arguments", {})
        given = {"_meta": {CAPABILITIES: BOTH if modes is None else modes}, **params}
        client = self.fleet.client(MODERN, role)
        return (await client.call(self.name(era, tool), arguments, params=given)).reply

    async def again(
        self, era: str, tool: str, asked: Reply, answer: Any = ACCEPTED, **more: Any
    ) -> Reply:
        """Repeat a call with one answer to everything that was asked."""
        result = asked.result
        assert result["resultType"] == "input_required", result
        answers = dict.fromkeys(result.get("inputRequests", {}), answer)
        given = {"inputResponses": answers, "requestState": result["requestState"], **more}
        return await self.call(era, tool, **given)

    async def session(self, revision: str = "2025-11-25", capabilities: Any = None) -> Client:
        """A handshake client that has declared what it can show."""
        client = self.fleet.world.as_("tenant_admin", revision)
        declared = BOTH if capabilities is None else capabilities
        answer = await client.initialize(revision, capabilities=declared)
        return client.using(headers={"mcp-session-id": answer.headers["mcp-session-id"]})

    @asynccontextmanager
    async def sdk_client(self, mode: str, callback: Any, **more: Any) -> AsyncIterator[SdkClient]:
        """The official client with an elicitation callback."""
        token = self.fleet.world.tokens["tenant_admin"]
        async with httpx2.AsyncClient(
            headers={"authorization": f"Bearer {token}"}, timeout=30
        ) as http:
            url = self.fleet.world.mcp_url
            transport: Any = streamable_http_client(url, http_client=http)
            async with SdkClient(
                transport, mode=mode, elicitation_callback=callback, cache=None, **more
            ) as client:
                yield client


@asynccontextmanager
async def start_asking(database_url: str, redis_url: str, label: str = "") -> AsyncIterator[Asking]:
    """Start the servers, a gateway, and register the former at the latter."""
    logs = {era: Log() for era in ("modern", "legacy", "sse")}
    old = server_of(HandshakeTools(logs["legacy"]))
    apps = {
        "modern": server_of(ModernTools(logs["modern"])).streamable_http_app(
            transport_security=support.OPEN
        ),
        "legacy": support.without_modern(old.streamable_http_app(transport_security=support.OPEN)),
        "sse": server_of(HandshakeTools(logs["sse"])).sse_app(transport_security=support.OPEN),
    }
    async with (
        support.serving(apps["modern"]) as modern,
        support.serving(apps["legacy"]) as legacy,
        support.serving(apps["sse"]) as sse,
        start_fleet(database_url, redis_url, modern, legacy, sse) as fleet,
    ):
        urls = {"modern": f"{modern}/mcp", "legacy": f"{legacy}/mcp", "sse": f"{sse}/sse"}
        rows = {}
        for era, url in urls.items():
            transport = "sse" if era == "sse" else "streamable_http"
            rows[era] = await fleet.register(url, era + label, transport=transport)
        yield Asking(fleet, logs, rows, urls)


class Answerer:
    """An elicitation callback that keeps the questions and gives its answers in turn."""

    def __init__(self, *answers: Any) -> None:
        self.questions: list[ElicitRequestParams] = []
        self._answers = list(answers)

    async def __call__(self, context: Any, params: ElicitRequestParams) -> ElicitResult:
        self.questions.append(params)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return ElicitResult(**answer)

    @property
    def messages(self) -> list[str]:
        return [params.message for params in self.questions]


class Stream:
    """A request of a handshake client, event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.events: list[Any] = []

    async def next(self, wanted: Callable[[Any], bool] = lambda event: True) -> Any:
        """Return the next event that is `wanted`."""
        async with asyncio.timeout(10):
            while True:
                line = await self.response.content.readline()
                assert line, self.events
                if line.startswith(b"data: "):
                    event = msgspec.json.decode(line[6:])
                    self.events.append(event)
                    if wanted(event):
                        return event

    async def question(self) -> Any:
        """Return the next question."""
        return await self.next(lambda event: event.get("method") == "elicitation/create")

    async def answer(self) -> Any:
        """Return the message that ends the request."""
        return await self.next(lambda event: "method" not in event)


@asynccontextmanager
async def streamed(client: Client, method: str, params: Any, **more: Any) -> AsyncIterator[Stream]:
    """Send a request of a handshake client and read its stream."""
    body = client.request(method, params, **more)
    headers = {
        "authorization": f"Bearer {client.token}", "mcp-protocol-version": str(client.revision),
        "accept": JSON_AND_SSE, **client.headers,
    }  # fmt: skip
    async with client.http.post(f"{client.url}/mcp", json=body, headers=headers) as response:
        yield Stream(response)


async def say(client: Client, question: Any, answer: Any, **more: Any) -> Reply:
    """Answer a question as a handshake client does."""
    return await client.send({"jsonrpc": "2.0", "id": question["id"], "result": answer}, **more)


def text(reply: Reply) -> str:
    """The first text of a call's result."""
    return str(reply.result["content"][0]["text"])


def code(reply: Reply) -> str:
    """The code of a failed call."""
    assert reply.result["isError"] is True, reply.result
    return str(msgspec.json.decode(reply.result["content"][0]["text"])["error"]["code"])
