"""A server on FastMCP, run as a program: ``python -m tests.foreign.fast_server``.

Its lists have pages of three. It listens on the socket that it inherits.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.prompts import Message
from fastmcp.tools.base import ToolResult
from fastmcp.utilities.types import Audio, File, Image
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    PromptReference,
    ResourceLink,
)

from tests.foreign.inherited import inherited

MODERN = "2026-07-28"
server: FastMCP[Any] = FastMCP("foreign-fast", version="2.0", list_page_size=3)
running = {"started": 0, "cancelled": 0}


@dataclass
class Trip:
    """What a person wants to book."""

    city: str
    nights: int = 2


@server.tool(
    title="Add",
    tags={"sums"},
    annotations={"readOnlyHint": True, "idempotentHint": True},
    meta={"example.com/unit": "apples"},
)
def add(a: int, b: float = 0.5) -> float:
    """Add two numbers."""
    return a + b


@server.tool
def trip(city: str) -> Trip:
    """Return structured content."""
    return Trip(city)


@server.tool
def several() -> list[Any]:
    """Return mixed blocks."""
    link = ResourceLink(type="resource_link", uri="note://fast", name="fast")
    return ["text", Image(data=b"\x89PNG", format="png"), {"a": 1}, link]


@server.tool
def sound() -> Audio:
    """Return audio."""
    return Audio(data=b"RIFF", format="wav")


@server.tool
def report() -> File:
    """Return an embedded resource."""
    return File(data=b"a,b\n1,2\n", format="csv", name="report")


@server.tool
def both() -> ToolResult:
    """Return text, structured content and meta that differ."""
    return ToolResult("for people", structured_content={"rows": 3}, meta={"example.com/ms": 12})


@server.tool
def fails() -> str:
    """Fail as a tool."""
    raise ToolError("it broke")


@server.tool
def breaks() -> str:
    """Fail by accident."""
    raise ZeroDivisionError("by nought")


@server.tool
async def counts(to: int, pause: float, ctx: Context) -> str:
    """Report progress."""
    for at in range(1, to + 1):
        await ctx.report_progress(at, to)
        await asyncio.sleep(pause)
    return "counted"


@server.tool
async def lingers() -> str:
    """Run until somebody cancels."""
    running["started"] += 1
    try:
        await asyncio.sleep(3_600)
    except asyncio.CancelledError:
        running["cancelled"] += 1
        raise
    return "never"


@server.tool
def ran() -> dict[str, int]:
    """Return how many runs of `lingers` began and were cancelled."""
    return running


@server.tool
async def books(traveller: str, ctx: Context) -> str | InputRequiredResult:
    """Ask the user, in the way of the client's era."""
    question = f"Where does {traveller} go?"
    request = ctx.request_context
    assert request is not None
    if request.protocol_version != MODERN:
        asked = await ctx.elicit(question, Trip)
        answer, city = asked.action, getattr(getattr(asked, "data", None), "city", None)
        return f"{traveller}: {answer} {city}"
    given = (ctx.input_responses or {}).get("trip")
    if not isinstance(given, ElicitResult):
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {"city": {"type": "string"}, "nights": {"type": "integer"}},
            "required": ["city"],
        }
        params = ElicitRequestFormParams(message=question, requested_schema=schema)
        asking = ElicitRequest(method="elicitation/create", params=params)
        return InputRequiredResult(input_requests={"trip": asking}, request_state="fast-1")
    return f"{traveller}: {given.action} {(given.content or {}).get('city')}"


@server.resource("note://fast", title="Fast", mime_type="text/markdown", tags={"notes"})
def note() -> str:
    """Give a note."""
    return "# A note"


@server.resource("bytes://fast", mime_type="application/octet-stream")
def some_bytes() -> bytes:
    """Give bytes."""
    return bytes(range(20))


@server.resource("user://{name}/profile{?lang}", mime_type="text/plain")
def profile(name: str, lang: str = "en") -> str:
    """Give a profile."""
    return f"{name} in {lang}"


@server.prompt(title="Review")
def review(code: str, strict: bool = False) -> list[Message]:
    """Ask for a review."""
    return [
        Message(f"Review this, strictly: {strict}"),
        Message(code, role="assistant"),
    ]


@server.prompt
def plain() -> str:
    """Ask for nothing special."""
    return "Do something."


@server.completion
def complete(ref: Any, argument: Any, context: Any) -> list[str] | None:
    """Complete a language and nothing else."""
    if isinstance(ref, PromptReference):
        return None
    return [one for one in ("de", "en", "nl") if one.startswith(argument.value)]


def main() -> None:
    """Serve until the process is ended."""
    running_server = server.run_http_async(
        show_banner=False, path="/mcp", sockets=[inherited()], log_level="critical",
        host_origin_protection=False,
    )  # fmt: skip
    asyncio.run(running_server)


if __name__ == "__main__":
    main()
