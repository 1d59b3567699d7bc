"""A server on the official Python SDK, run as a program: ``python -m tests.foreign.sdk_server``.

With ``handshake`` as argument it refuses 2026-07-28 as servers of the handshake era do. It listens
on the socket that it inherits; see `tests.foreign.processes`.
"""

from __future__ import annotations

import asyncio
import base64
import sys
from typing import Annotated, Any

from mcp.server.elicitation import (
    AcceptedElicitation,
    CancelledElicitation,
    DeclinedElicitation,
)
from mcp.server.mcpserver import Audio, Context, Image, MCPServer
from mcp.server.mcpserver.prompts.base import AssistantMessage, UserMessage
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types import (
    Annotations,
    BlobResourceContents,
    CallToolResult,
    Completion,
    ContentBlock,
    EmbeddedResource,
    Icon,
    PromptReference,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)
from pydantic import BaseModel, Field

from tests.foreign.inherited import serve

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
ICON = Icon(src="https://example.com/icon.png", mime_type="image/png", sizes=["48x48"])
CITIES = ["Amsterdam", "Antwerp", "Athens", "Berlin"]
server: MCPServer[Any] = MCPServer(
    "foreign-sdk", title="Foreign", version="7.1", instructions="Be kind.", log_level="CRITICAL"
)
running = {"started": 0, "cancelled": 0}


class Weather(BaseModel):
    """The weather of a place."""

    place: str
    celsius: float
    wind: list[int] | None = None


class Trip(BaseModel):
    """What a person wants to book."""

    city: str = Field(title="City", description="Where to?", min_length=2)
    nights: int = Field(default=2, ge=1, le=30)
    breakfast: bool = True


@server.tool(
    title="Echo",
    annotations=ToolAnnotations(title="Echoes", read_only_hint=True, open_world_hint=False),
    icons=[ICON],
    meta={"example.com/kind": {"level": 1}},
)
async def echo(message: str, times: int = 1) -> str:
    """Say a message again."""
    return message * times


@server.tool()
def weather(place: str) -> Weather:
    """Return structured content."""
    return Weather(place=place, celsius=21.5, wind=[3, 4])


@server.tool()
def primes(below: int) -> list[int]:
    """Return a list, which the SDK wraps."""
    return [n for n in range(2, below) if all(n % d for d in range(2, n))]


@server.tool(name="files.read-all")
def files() -> list[ContentBlock]:
    """Return every kind of block that names a resource, with annotations."""
    text = TextResourceContents(uri="note://one", mime_type="text/plain", text="a note")
    blob = BlobResourceContents(uri="pic://one", mime_type="image/png", blob="AAEC")
    for_user = Annotations(audience=["user"], priority=0.5, last_modified="2026-01-02T03:04:05Z")
    return [
        TextContent(type="text", text="Grüße — 你好 \u2028", annotations=for_user),
        EmbeddedResource(type="resource", resource=text, annotations=for_user),
        EmbeddedResource(type="resource", resource=blob),
        ResourceLink(
            type="resource_link", uri="note://two", name="two", title="Two", size=5,
            mime_type="text/plain", description="another", annotations=for_user,
        ),
    ]  # fmt: skip


@server.tool()
def picture() -> Image:
    """Return an image."""
    return Image(data=PIXEL, format="png")


@server.tool()
def sound() -> Audio:
    """Return audio."""
    return Audio(data=b"RIFF\x00\x00", format="wav")


@server.tool(structured_output=False)
def own_result(is_error: bool) -> CallToolResult:
    """Return a result with members of its own."""
    return CallToolResult(
        content=[TextContent(type="text", text="mine")],
        structured_content={"deep": {"n": [1, 2.5, None, True]}, "": "empty name"},
        is_error=is_error,
        _meta={"example.com/trace": "t-1", "ai.scailabs.scaimcp/forged": True},
    )


@server.tool(structured_output=False)
def nothing() -> CallToolResult:
    """Return no content at all."""
    return CallToolResult(content=[])


@server.tool()
def fails() -> str:
    """Fail as a tool."""
    raise ValueError("it broke")


@server.tool()
def refuses() -> str:
    """Fail with an error of the protocol."""
    raise MCPError(code=-32050, message="not today", data={"retry": False})


@server.tool()
def mirror(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Have an argument that requests mirror in a header."""
    return region


@server.tool()
async def counts(to: int, pause: float, ctx: Context[Any, Any]) -> str:
    """Report progress."""
    for at in range(1, to + 1):
        await ctx.report_progress(at, to, f"step {at}")
        await asyncio.sleep(pause)
    return "counted"


@server.tool()
async def lingers() -> str:
    """Run until somebody cancels."""
    running["started"] += 1
    try:
        await asyncio.sleep(3_600)
    except asyncio.CancelledError:
        running["cancelled"] += 1
        raise
    return "never"


@server.tool()
async def ran() -> dict[str, int]:
    """Return how many runs of `lingers` began and were cancelled."""
    return running


async def ask_trip() -> Elicit[Trip]:
    """Ask for a trip."""
    return Elicit("Where do you want to go?", Trip)


Outcome = AcceptedElicitation[Trip] | DeclinedElicitation | CancelledElicitation


@server.tool()
async def books(trip: Annotated[Outcome, Resolve(ask_trip)], traveller: str) -> str:
    """Ask the user, in the way of the client's era."""
    if isinstance(trip, AcceptedElicitation):
        return f"{traveller} goes to {trip.data.city} for {trip.data.nights} nights"
    return f"{traveller} stays: {trip.action}"


@server.resource("note://one", name="one", title="One", mime_type="text/plain", icons=[ICON],
                 annotations=Annotations(audience=["assistant"], priority=1.0),
                 meta={"example.com/kind": 2})  # fmt: skip
def note() -> str:
    """Give a note."""
    return "a note\nwith Grüße"


@server.resource("pic://one", name="pic", mime_type="image/png")
def picture_file() -> bytes:
    """Give bytes."""
    return PIXEL


@server.resource("data://settings", name="settings", mime_type="application/json")
def settings() -> dict[str, Any]:
    """Give JSON."""
    return {"a": [1, 2], "b": None}


@server.resource("city://{name}/facts", name="facts", title="Facts", mime_type="text/plain")
def facts(name: str) -> str:
    """Give facts about a city."""
    return f"Facts about {name}"


@server.resource("broken://one", name="broken")
def broken() -> str:
    """Fail to be read."""
    raise ValueError("the disk is gone")


@server.prompt(title="Greeting", icons=[ICON])
def greet(name: str, style: str = "plain") -> str:
    """Greet somebody."""
    return f"Say hello to {name} in a {style} way."


@server.prompt()
def illustrated() -> list[Any]:
    """Give messages with blocks."""
    text = TextResourceContents(uri="note://one", mime_type="text/plain", text="a note")
    return [
        UserMessage(EmbeddedResource(type="resource", resource=text)),
        AssistantMessage(Image(data=PIXEL, format="png")),
        UserMessage("What do you see?"),
    ]


async def complete(ref: Any, argument: Any, context: Any) -> Completion | None:
    """Complete names of cities, and styles that depend on the name."""
    if isinstance(ref, PromptReference):
        given = (context.arguments or {}) if context is not None else {}
        styles = ["formal", "friendly"] if given.get("name") else ["plain"]
        return Completion(values=styles) if argument.name == "style" else None
    found = [city for city in CITIES if city.startswith(argument.value)]
    return Completion(values=found, total=len(found), has_more=False)


# The SDK does not annotate this decorator.
untyped: Any = server
untyped.completion()(complete)


def without_modern(app: Any) -> Any:
    """Refuse requests of 2026-07-28 as servers of the handshake era do."""

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        if dict(scope.get("headers", ())).get(b"mcp-protocol-version") != b"2026-07-28":
            await app(scope, receive, send)
            return
        body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"No valid session"}}'
        lines = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 400, "headers": lines})
        await send({"type": "http.response.body", "body": body})

    return refuse


def main() -> None:
    """Serve until the process is ended."""
    app: Any = server.streamable_http_app(
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )
    serve(without_modern(app) if "handshake" in sys.argv else app)


if __name__ == "__main__":
    main()
