"""Servers that ask while they work: with requests of their own, and with their results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    InputRequiredResult,
)
from pydantic import BaseModel

SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
Ctx = Context[Any, Any]


class Named(BaseModel):
    name: str


@dataclass
class Log:
    """What the tools of one server saw."""

    started: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def during(self, name: str) -> AsyncIterator[None]:
        """Note that a tool began, and that it was cancelled."""
        self.started.append(name)
        try:
            yield
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise


class HandshakeTools:
    """Ask with requests of their own while a call runs."""

    def __init__(self, log: Log) -> None:
        self.log = log

    async def ask(self, ctx: Ctx) -> str:
        async with self.log.during("ask"):
            answer = await ctx.elicit("Who?", Named)
        return f"{answer.action} {getattr(answer, 'data', None)}"

    async def twice(self, ctx: Ctx) -> str:
        first = await ctx.elicit("First?", Named)
        second = await ctx.elicit("Second?", Named)
        return f"{first.action} {second.action}"

    async def at_once(self, ctx: Ctx) -> str:
        both = await asyncio.gather(ctx.elicit("One?", Named), ctx.elicit("Two?", Named))
        return " ".join(answer.action for answer in both)

    async def page(self, ctx: Ctx) -> str:
        answer = await ctx.elicit_url("Open it", "https://example.com/pay", "elicit_1")
        return answer.action

    async def steps(self, ctx: Ctx) -> str:
        await ctx.report_progress(1.0, 9.0, "before")
        asking = asyncio.get_running_loop().create_task(ctx.elicit("Who?", Named))
        await asyncio.sleep(0.15)
        await ctx.report_progress(2.0, 9.0, "meanwhile")
        answer = await asking
        # The gateway passes on ten in a second.
        for at in range(3, 9):
            await ctx.report_progress(float(at), 9.0, "after")
            await asyncio.sleep(0.05)
        return answer.action

    async def impatient(self, ctx: Ctx) -> str:
        asking = asyncio.get_running_loop().create_task(ctx.elicit("Who?", Named))
        await self.log.go_on.wait()
        asking.cancel()
        return "did without"

    async def sample(self, ctx: Ctx) -> str:
        await ctx.session.create_message(messages=[], max_tokens=1, related_request_id="1")
        return "never"

    async def slowly(self, ctx: Ctx) -> str:
        answer = await ctx.elicit("Who?", Named)
        async with self.log.during("slowly"):
            await self.log.go_on.wait()
        return answer.action

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def note(self, name: str, ctx: Ctx) -> str:
        answer = await ctx.elicit("Who reads?", Named)
        return f"{name} {answer.action}"

    async def greet(self, ctx: Ctx) -> str:
        answer = await ctx.elicit("Who is greeted?", Named)
        return f"Hello {answer.action}"


def form(message: str = "Who?") -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=SCHEMA))


def wanting(state: str = "1", **requests: Any) -> InputRequiredResult:
    return InputRequiredResult(input_requests=requests or None, request_state=state)


def actions(ctx: Ctx) -> str:
    """The answers that came, in the order of their names."""
    given = ctx.input_responses or {}
    return " ".join(f"{name}={given[name].action}" for name in sorted(given))  # type: ignore[union-attr]


class ModernTools:
    """Ask with their results."""

    def __init__(self, log: Log) -> None:
        self.log = log

    async def ask(self, ctx: Ctx) -> str | InputRequiredResult:
        self.log.started.append("ask")
        if not ctx.input_responses:
            return wanting("theirs", who=form())
        return f"{actions(ctx)} {ctx.request_state}"

    async def twice(self, ctx: Ctx) -> str | InputRequiredResult:
        if not ctx.input_responses:
            return wanting("one", first=form("First?"))
        if ctx.request_state == "one":
            return wanting("two", second=form("Second?"))
        return f"{actions(ctx)} {ctx.request_state}"

    async def at_once(self, ctx: Ctx) -> str | InputRequiredResult:
        if not ctx.input_responses:
            return wanting("s", one=form("One?"), two=form("Two?"))
        return actions(ctx)

    async def page(self, ctx: Ctx) -> str | InputRequiredResult:
        if not ctx.input_responses:
            params = ElicitRequestURLParams(message="Open it", url="https://example.com/pay")
            return wanting("s", page=ElicitRequest(params=params))
        return actions(ctx)

    async def endless(self, ctx: Ctx) -> str | InputRequiredResult:
        self.log.started.append("endless")
        return wanting("again", more=form("And?"))

    async def later(self, ctx: Ctx) -> str | InputRequiredResult:
        at = int(ctx.request_state or "0")
        return wanting(str(at + 1)) if at < 3 else "done"

    async def forever(self) -> InputRequiredResult:
        return wanting("later")

    async def sample(self, ctx: Ctx) -> str | InputRequiredResult:
        params = CreateMessageRequestParams(messages=[], max_tokens=1)
        return wanting("s", model=CreateMessageRequest(params=params))

    async def note(self, name: str, ctx: Ctx) -> str | InputRequiredResult:
        if not ctx.input_responses:
            return wanting("read", who=form("Who reads?"))
        return f"{name} {actions(ctx)} {ctx.request_state}"

    async def greet(self, ctx: Ctx) -> str | InputRequiredResult:
        if not ctx.input_responses:
            return wanting("greet", who=form("Who is greeted?"))
        return f"Hello {actions(ctx)} {ctx.request_state}"


def server_of(tools: HandshakeTools | ModernTools) -> MCPServer[Any]:
    """The SDK's server with every one of these tools, a resource template and a prompt."""
    server = MCPServer("asks", version="1", log_level="CRITICAL")
    for name in dir(tools):
        if not name.startswith("_") and name not in ("log", "note", "greet"):
            server.add_tool(getattr(tools, name))
    server.resource("ask://{name}")(tools.note)
    server.prompt()(tools.greet)
    return server
