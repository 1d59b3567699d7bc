"""The official Python client, directly at a server or at the gateway, and what it got as JSON.

The client's models leave out members that they do not know, so what is compared is what came over
the wire; the client still has to accept it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import (
    CompletionContext,
    ElicitResult,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    PromptReference,
    ResourceTemplateReference,
)

from tests.foreign.processes import MODERN

JSON = dict[str, Any]
TIMEOUT = 20.0


@dataclass
class Wire:
    """What passed between a client and its server.

    ``revision`` is the one that the client offers in its handshake; None for the client's own.
    """

    revision: str | None
    methods: dict[Any, str] = field(default_factory=dict)
    answers: list[tuple[str, JSON]] = field(default_factory=list)
    notes: list[tuple[str, JSON]] = field(default_factory=list)
    questions: list[tuple[str, JSON]] = field(default_factory=list)

    def sent(self, message: Any) -> None:
        if isinstance(message, JSONRPCRequest):
            self.methods[message.id] = message.method
            if message.method == "initialize" and self.revision and message.params:
                message.params["protocolVersion"] = self.revision

    def received(self, message: Any) -> None:
        if isinstance(message, JSONRPCResponse):
            self.answers.append((self.methods[message.id], {"result": message.result}))
        elif isinstance(message, JSONRPCError):
            error = message.error.model_dump(exclude_unset=True)
            self.answers.append((self.methods.get(message.id, ""), {"error": error}))
        elif isinstance(message, JSONRPCNotification):
            self.notes.append((message.method, message.params or {}))
        elif isinstance(message, JSONRPCRequest):
            self.questions.append((message.method, message.params or {}))

    @property
    def blocks(self) -> set[str]:
        """Types of all the content that came."""
        results = [answer.get("result", {}) for _, answer in self.answers]
        content = [block for result in results for block in result.get("content", ())]
        content += [one["content"] for result in results for one in result.get("messages", ())]
        return {block["type"] for block in content}

    def last(self, method: str) -> JSON:
        """Return the last answer to a method."""
        return next(answer for asked, answer in reversed(self.answers) if asked == method)


class Reading:
    """A transport's receiving end that shows what passes."""

    def __init__(self, inner: Any, wire: Wire) -> None:
        self._inner = inner
        self._wire = wire

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Any:
        item = await self._inner.receive()
        if isinstance(item, SessionMessage):
            self._wire.received(item.message)
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        item = await self._inner.__anext__()
        if isinstance(item, SessionMessage):
            self._wire.received(item.message)
        return item

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> Any:
        return await self._inner.__aexit__(*failure)


class Writing:
    """A transport's sending end that shows what passes."""

    def __init__(self, inner: Any, wire: Wire) -> None:
        self._inner = inner
        self._wire = wire

    async def send(self, item: SessionMessage) -> None:
        self._wire.sent(item.message)
        await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> Any:
        return await self._inner.__aexit__(*failure)


@dataclass
class Place:
    """Where a client connects; ``token`` is a bearer for the gateway."""

    url: str
    transport: str = "streamable_http"
    token: str | None = None


@asynccontextmanager
async def _watched(place: Place, wire: Wire) -> AsyncIterator[tuple[Any, Any]]:
    async with AsyncExitStack() as stack:
        if place.transport == "sse":
            reading, writing = await stack.enter_async_context(sse_client(place.url))
        else:
            headers = {"authorization": f"Bearer {place.token}"} if place.token else {}
            http = await stack.enter_async_context(
                httpx2.AsyncClient(headers=headers, timeout=TIMEOUT, trust_env=False, verify=False)
            )
            streams = streamable_http_client(place.url, http_client=http)
            reading, writing = await stack.enter_async_context(streams)
        yield Reading(reading, wire), Writing(writing, wire)


@dataclass
class Side:
    """One connected client. Methods return ``{"result"}`` or ``{"error"}`` as they came."""

    client: Client
    wire: Wire

    async def _asked(self, method: str, asking: Awaitable[Any]) -> JSON:
        with suppress(MCPError):
            await asking
        return self.wire.last(method)

    async def listed(self, what: str) -> list[JSON]:
        """Return the results of all pages: ``tools``, ``prompts``, ``resources``, …"""
        method = {
            "tools": self.client.list_tools,
            "prompts": self.client.list_prompts,
            "resources": self.client.list_resources,
            "resourceTemplates": self.client.list_resource_templates,
        }[what]
        name = "resources/templates/list" if what == "resourceTemplates" else f"{what}/list"
        pages: list[JSON] = []
        cursor: str | None = None
        while not pages or cursor is not None:
            page = await self._asked(name, method(cursor=cursor))
            assert "result" in page, page
            pages.append(page["result"])
            cursor = page["result"].get("nextCursor")
        return pages

    async def call(self, name: str, arguments: JSON | None = None, **more: Any) -> JSON:
        return await self._asked("tools/call", self.client.call_tool(name, arguments, **more))

    async def read(self, uri: str) -> JSON:
        return await self._asked("resources/read", self.client.read_resource(uri))

    async def prompt(self, name: str, arguments: dict[str, str] | None = None) -> JSON:
        return await self._asked("prompts/get", self.client.get_prompt(name, arguments))

    async def complete(self, ref: JSON, argument: JSON, context: JSON | None = None) -> JSON:
        """Complete an argument; ``ref`` has ``name`` or ``uri``."""
        meant = PromptReference(**ref) if "name" in ref else ResourceTemplateReference(**ref)
        given = CompletionContext(arguments=context).arguments if context else None
        return await self._asked(
            "completion/complete", self.client.complete(meant, argument, given)
        )

    @property
    def progress(self) -> list[JSON]:
        """The progress heard so far, without tokens."""
        steps = [dict(p) for method, p in self.wire.notes if method == "notifications/progress"]
        for step in steps:
            step.pop("progressToken")
        return steps


@dataclass
class Person:
    """Answers a server's questions, always alike; ``asked`` is what it was asked."""

    action: Any = "accept"
    content: JSON | None = None
    asked: list[JSON] = field(default_factory=list)

    async def __call__(self, context: Any, params: Any) -> ElicitResult:
        self.asked.append(params.model_dump(by_alias=True, exclude_none=True, mode="json"))
        return ElicitResult(action=self.action, content=self.content)


@asynccontextmanager
async def connected(
    place: Place, revision: str, person: Person | None = None
) -> AsyncIterator[Side]:
    """Connect a client of a revision; with a person it can ask somebody."""
    wire = Wire(None if revision == MODERN else revision)
    mode = MODERN if revision == MODERN else "legacy"
    client = Client(
        _watched(place, wire),
        mode=mode,
        cache=None,
        elicitation_callback=person,
        read_timeout_seconds=TIMEOUT,
    )
    async with client:
        assert client.protocol_version == revision
        yield Side(client, wire)
