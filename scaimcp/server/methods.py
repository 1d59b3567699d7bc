"""The methods of MCP: from checked parameters to an encoded result.

Each method takes a `Call` and returns the bytes of a result object; errors are raised. Which
method exists in which revision is one table at the end. Spec: MCP of all served revisions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from msgspec import UNSET

from scaimcp.errors import InputNeeded, ProtocolError, RequestRefused, ToolError
from scaimcp.gateway.gateway import Gateway, Visible
from scaimcp.gateway.view import CALL_TOOL, GATEWAY_TOOLS, View
from scaimcp.remotes.rules.naming import NameStyle
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.sealing import Sealer
from scaimcp.server import headers as header_rules
from scaimcp.server.call import Call, Cursors
from scaimcp.server.contents import ContentMethods
from scaimcp.server.dialogue import in_dialogue
from scaimcp.server.envelope import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    encode,
)
from scaimcp.server.rendering import Page, Parts, Renderer, tools_array
from scaimcp.server.revisions import SUPPORTED, Revision, negotiate
from scaimcp.server.session import Sessions
from scaimcp.server.subscriptions import ALL_ANNOUNCED, ANNOUNCED
from scaimcp.types import Tool

INSTRUCTIONS = (
    "ScaiGrid as tools: inference, models, sessions, rooms, accounting, administration and the "
    "modules of your tenant. The list holds exactly what this token may call; tools_explain says "
    "why another tool is missing."
)
_DISCOVER_TTL_MS = 3_600_000
# Encoded pages kept per set of tools: five revisions in a few views. Toolsets are the client's
# own words, so without a bound they could fill the memory.
_LISTINGS = 16
_SCHEMAS = 4_096

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Methods:
    """Answers MCP requests from the gateway.

    ``instructions`` is what the model reads about this server.
    """

    instructions = INSTRUCTIONS

    def __init__(
        self,
        gateway: Gateway,
        renderer: Renderer,
        sessions: Sessions,
        cursors: Sealer,
        *,
        surfaces: frozenset[str],
        page_size: int,
    ) -> None:
        self._gateway = gateway
        self._renderer = renderer
        self._sessions = sessions
        self._cursors = Cursors(cursors)
        self._surfaces = surfaces
        self._page_size = page_size
        self._contents = ContentMethods(gateway.contents, renderer, self._cursors, page_size)
        self._param_headers: dict[int, tuple[Any, header_rules.ParamHeaders]] = {}

    def answer(self, method: str, call: Call) -> Awaitable[Parts]:
        """Return the running `method`; awaiting it gives the encoded result object.

        Not a coroutine itself: every one on the way to the platform costs each call.

        Raises:
            ProtocolError: a JSON-RPC error.
            RequestRefused: an HTTP refusal.
        """
        served = _TABLE.get(method)
        if served is None or not served.exists_in(call.revision, self._surfaces):
            raise ProtocolError(METHOD_NOT_FOUND, "Method not found", http_status=404)
        if served.is_counted and self._gateway.is_limited:
            return self._counted(served, call)
        return served.run(self, call)

    async def _counted(self, served: Served, call: Call) -> Parts:
        await self._count(call)
        return await served.run(self, call)

    async def _count(self, call: Call) -> None:
        wait = await self._gateway.admit(call.context)
        if wait is not None:
            raise RequestRefused(
                "RATE_LIMITED",
                "The gateway's own limit is reached.",
                http_status=429,
                retry_after=wait,
            )

    async def initialize(self, call: Call) -> Parts:
        """Settle the revision and hand out what the client declared, sealed."""
        params = call.params
        if params.protocol_version is UNSET:
            raise ProtocolError(INVALID_PARAMS, "params.protocolVersion is required")
        revision = negotiate(params.protocol_version)
        call.new_session = self._sessions.issue(
            call.context.caller,
            call.path,
            revision.name,
            params.client_info if params.client_info is not UNSET else {},
            params.capabilities if params.capabilities is not UNSET else {},
        )
        self._gateway.connected(call.context)
        members = encode(
            {
                "protocolVersion": revision.name,
                "capabilities": self._capabilities(revision),
                "serverInfo": self._renderer.info,
                "instructions": self.instructions,
            }
        )
        return self._renderer.result(members[1:-1], call.context.request_id, revision)

    async def discover(self, call: Call) -> Parts:
        """Say which revisions and capabilities are served."""
        self._gateway.connected(call.context)
        members = encode(
            {
                "supportedVersions": SUPPORTED,
                "capabilities": self._capabilities(call.revision),
                "instructions": self.instructions,
                "ttlMs": _DISCOVER_TTL_MS,
                "cacheScope": "private",
            }
        )
        return self._renderer.result(members[1:-1], call.context.request_id, call.revision)

    def _capabilities(self, revision: Revision) -> dict[str, Any]:
        announced = self.announced(revision)
        capabilities: dict[str, Any] = {
            surface: {"listChanged": True} if surface in announced else {}
            for surface in ("tools", "resources", "prompts")
            if surface in self._surfaces
        }
        if revision.has_annotations and self._surfaces & {"resources", "prompts"}:
            capabilities["completions"] = {}
        return capabilities

    def announced(self, revision: Revision) -> frozenset[str]:
        """Return the surfaces of which a client hears when they change.

        Only a modern client can be told: the others have no open stream.
        """
        if not revision.is_modern:
            return frozenset()
        return ANNOUNCED if self._gateway.contents.is_empty else ALL_ANNOUNCED

    async def ping(self, call: Call) -> Parts:
        """Answer at once, with the empty object that MCP demands here."""
        return (b"{}}",)

    async def list_tools(self, call: Call) -> Parts:
        """Return one page of the tools that the caller may call."""
        visible = await self._gateway.callable_tools(call.context)
        cursor, caller, start = call.params.cursor, call.context.caller, 0
        if isinstance(cursor, str):
            start = self._cursors.open(cursor, caller, _digest(visible, call.view))
        page = self._page(call, visible, start)
        if page.next_start is None:
            return page.result(call.context.request_id)
        digest = _digest(visible, call.view)
        return page.result(
            call.context.request_id, self._cursors.seal(caller, digest, page.next_start)
        )

    def _page(self, call: Call, visible: Visible, start: int) -> Page:
        """Return an encoded page, built once for all who see the same tools in the same view."""
        style: NameStyle = (
            call.style(self._renderer.name_style) if visible.has_aliases else "dotted"
        )
        key = (call.revision.name, call.view, start, style)
        page: Page | None = visible.listings.get(key)
        if page is None:
            tools = [tool for tool in visible.tools if call.view.lists(tool)]
            end = start + self._page_size
            array = tools_array(tools[start:end], call.revision, call.view.dialect, style)
            following = end if end < len(tools) else None
            page = self._renderer.page("tools", array, call.revision, following, visible)
            if len(visible.listings) >= _LISTINGS:
                visible.listings.clear()
            visible.listings[key] = page
        return page

    async def call_tool(self, call: Call) -> Parts:
        """Call one tool; failures of the call are results with ``isError``."""
        name = call.params.name
        if name is UNSET:
            raise ProtocolError(INVALID_PARAMS, "params.name is required")
        arguments = bytes(call.params.arguments)
        context, check = call.context, None
        if name in GATEWAY_TOOLS:
            # They show other tools, by the names that this client's lists show.
            view = msgspec.structs.replace(call.view, names=call.style(self._renderer.name_style))
            context = msgspec.structs.replace(context, view=view)
        if call.revision.is_modern:
            context = in_dialogue(context, call.params)
            check = partial(self._check_param_headers, call)
        try:
            result = await self._gateway.call_tool(context, name, arguments, check)
        except AuthenticationLost:
            raise
        except InputNeeded as needed:
            return self._renderer.input_required(needed, context.request_id)
        except ToolError as error:
            # What tools_call did not find is the outcome of a call that took place.
            is_unknown = error.code == "TOOL_NOT_FOUND" and name != CALL_TOOL
            if is_unknown and call.revision.is_modern:
                raise _unknown_tool(error) from None
            if call.context.answer is not None:
                call.context.answer.failed(error.code)
            return self._renderer.call_error(error, call.context.request_id, call.revision)
        return self._renderer.call_result(result, call.context.request_id, call.revision)

    def _check_param_headers(self, call: Call, tool: Tool) -> None:
        """Hold ``Mcp-Param-*`` headers against the arguments of a tool that declares some."""
        schema = tool.input_schema
        known = self._param_headers.get(id(schema))
        if known is None:
            if len(self._param_headers) >= _SCHEMAS:
                self._param_headers.clear()
            known = self._param_headers[id(schema)] = (schema, header_rules.declared(schema))
        if known[1]:
            arguments = _read_object(bytes(call.params.arguments))
            header_rules.check_params(known[1], arguments, call.headers)

    async def list_resources(self, call: Call) -> Parts:
        """List resources."""
        return await self._contents.list(call, "resources")

    async def list_templates(self, call: Call) -> Parts:
        """List resource templates."""
        return await self._contents.list(call, "resourceTemplates")

    async def list_prompts(self, call: Call) -> Parts:
        """List prompts."""
        return await self._contents.list(call, "prompts")

    async def read_resource(self, call: Call) -> Parts:
        """Read one resource."""
        return await self._contents.read(call)

    async def get_prompt(self, call: Call) -> Parts:
        """Get one prompt."""
        return await self._contents.prompt(call)

    async def complete(self, call: Call) -> Parts:
        """Complete an argument."""
        return await self._contents.complete(call)


def _unknown_tool(error: ToolError) -> ProtocolError:
    return ProtocolError(INVALID_PARAMS, error.message, code=error.code, details=error.details)


def _read_object(arguments: bytes) -> dict[str, Any]:
    """Return arguments for the header check; what is no object is refused by the call itself."""
    try:
        return _decode_object(arguments or b"{}")
    except msgspec.DecodeError:
        return {}


def _digest(visible: Visible, view: View) -> bytes:
    """Return what a cursor's position depends on; equal in every process."""
    toolsets = sorted(view.toolsets) if view.toolsets is not None else None
    options = (view.names, view.disclosure, view.dialect, toolsets)
    names = [tool.name for tool in visible.tools]
    return hashlib.sha256(msgspec.msgpack.encode((options, names))).digest()[:16]


class Served(msgspec.Struct, frozen=True):
    """A method of the table: its code, its surface, the era that has it."""

    run: Callable[[Methods, Call], Awaitable[Parts]]
    surface: str | None = None
    era: str = "both"
    is_counted: bool = False

    def exists_in(self, revision: Revision, surfaces: frozenset[str]) -> bool:
        """Tell whether a client of `revision` may use the method here."""
        if self.era != "both" and (self.era == "modern") != revision.is_modern:
            return False
        if self.surface == "completion":
            return revision.has_annotations and bool(surfaces & {"resources", "prompts"})
        return self.surface is None or self.surface in surfaces


_TABLE: dict[str, Served] = {
    "initialize": Served(Methods.initialize, era="handshake"),
    "ping": Served(Methods.ping, era="handshake"),
    "server/discover": Served(Methods.discover, era="modern"),
    "tools/list": Served(Methods.list_tools, "tools", is_counted=True),
    "tools/call": Served(Methods.call_tool, "tools"),
    "resources/list": Served(Methods.list_resources, "resources", is_counted=True),
    "resources/templates/list": Served(Methods.list_templates, "resources", is_counted=True),
    "resources/read": Served(Methods.read_resource, "resources", is_counted=True),
    "prompts/list": Served(Methods.list_prompts, "prompts", is_counted=True),
    "prompts/get": Served(Methods.get_prompt, "prompts", is_counted=True),
    "completion/complete": Served(Methods.complete, "completion", is_counted=True),
}
METHOD_NAMES = frozenset(_TABLE) | {"subscriptions/listen", "notifications/cancelled"}
