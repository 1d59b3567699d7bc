"""Remote servers as a source of tools, resources and prompts. Spec: remote-servers 8."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from scaimcp.auth.permissions import holds
from scaimcp.errors import GatewayError, ProtocolError, ToolError
from scaimcp.remotes.calls.bridging import (
    HeaderPaths,
    cached,
    header_paths,
    mirrored,
    opened,
    passed,
)
from scaimcp.remotes.calls.calling import RemoteCaller
from scaimcp.remotes.calls.offers import (
    NOBODY,
    NOTHING,
    PERMISSION,
    CallerOffers,
    Offer,
    RemoteServer,
    denied,
    unavailable,
)
from scaimcp.remotes.calls.rounds import Rounds, whole
from scaimcp.remotes.calls.snapshot import Snapshots
from scaimcp.remotes.consent.checking import Consent, ConsentCall
from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.failures import RemoteFailure, failure
from scaimcp.remotes.rules.naming import parse_resource
from scaimcp.types import ContentKind, Listing, RequestContext, Snapshot, Tool, ToolResult
from scaimcp.upstream.errors import UpstreamError
from scaimcp.upstream.request import Ask, call_tool, complete, get_prompt, read_resource
from scaimcp.upstream.wire import joined

_INVALID_PARAMS = -32602
_INTERNAL_ERROR = -32603
_NOT_FOUND = -32002
_OWN_REFUSAL = -31000
_METHOD_NOT_FOUND = -32601
_encode = msgspec.json.Encoder().encode


class RemoteSource:
    """What the servers of a caller's tenant offer.

    Args:
        snapshots: what is known of the tenants' servers.
        caller: sends what was let through.
        consent: asks the caller's user where a server wants that.
        rounds: sends calls in which servers may ask users.
    """

    name = "remote"

    def __init__(
        self, snapshots: Snapshots, caller: RemoteCaller, consent: Consent, rounds: Rounds
    ) -> None:
        self._snapshots = snapshots
        self._caller = caller
        self._consent = consent
        self._rounds = rounds
        self._headers: dict[bytes, HeaderPaths] = {}

    # -- tools -----------------------------------------------------------------------------------

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        """Return the caller's tools if nobody has to be asked for them, else None."""
        seen = self._known(context)
        return None if seen is None else seen.tools

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return the caller's tools."""
        return (await self._seen(context)).tools

    def mark_stale(self, context: RequestContext) -> None:
        """Nothing to do: every change raises the tenant's version."""

    def unsupported(self, tool: Tool) -> bool:
        """What a server does not have it does not list."""
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        """Call an admitted tool.

        Raises:
            ToolError: the call failed, or its user has to agree elsewhere.
            InputNeeded: the client is to ask its user.
            ProtocolError: the arguments are no object, or too large.
        """
        given = self._object(arguments)
        await self._check_trusted(context)
        tool = await self._latest(tool, context)
        offer: Offer = tool.record
        asked = ConsentCall(context, offer.server.row, offer.name, offer.definition_hash, given)
        return await self.run(asked, offer.server, tool.input_schema)

    async def run(
        self, asked: ConsentCall, server: RemoteServer, input_schema: dict[str, Any]
    ) -> ToolResult:
        """Call a tool that is in service, if its user agrees.

        Args:
            asked: the call; its arguments are an object.
            server: the server, with its credentials.
            input_schema: of the definition in service.

        Raises:
            ToolError: the call failed, or its user has to agree elsewhere.
            InputNeeded: the client is to ask its user.
            ProtocolError: what the client brought back does not serve here.
        """
        context, given = asked.context, asked.arguments
        agreed = await self._consent.check(asked)
        if agreed.arguments is not None:
            given = agreed.arguments
        ask = msgspec.structs.replace(
            call_tool(asked.tool, given),
            param_headers=mirrored(self._paths(asked.definition_hash, input_schema), given),
        )
        if context.dialogue is None and context.asker is None:
            fields = _members(await self._caller.send(server, ask, context))
        else:
            fields = await self._rounds.send(asked, agreed, server, ask)
        return passed(fields, server.prefix)

    def _paths(self, definition_hash: bytes, input_schema: dict[str, Any]) -> HeaderPaths:
        known = self._headers.get(definition_hash)
        if known is None:
            if len(self._headers) >= _REMEMBERED:
                self._headers.clear()
            known = self._headers[definition_hash] = header_paths(input_schema)
        return known

    # -- resources and prompts -------------------------------------------------------------------

    async def listing(self, context: RequestContext, kind: ContentKind) -> Listing:
        """Return what the caller may list of a kind."""
        return (await self._seen(context)).listings[kind]

    async def read(self, context: RequestContext, uri: str) -> ToolResult | None:
        """Read a resource; None for URIs that are none of ours.

        Raises:
            GatewayError: refused, or the server failed.
        """
        if not uri.startswith("scailink://remote/"):
            return None
        found, seen = parse_resource(uri), await self._allowed(context)
        server = seen.servers.get((found.scope, found.slug)) if found is not None else None
        if found is None or server is None:
            return None
        server = await self._checked(server, context)
        fields = await self._asked(server, read_resource(found.name), context)
        return passed(cached(fields), server.prefix)

    async def prompt(
        self, context: RequestContext, name: str, arguments: bytes
    ) -> ToolResult | None:
        """Get a prompt; None for names that are none of ours.

        Raises:
            GatewayError: refused, or the server failed.
        """
        if not name.startswith(("remote.", "r_")):
            return None
        seen = await self._allowed(context, is_ours=name.startswith("remote."))
        offer = seen.prompts.get(name)
        if offer is None:
            refused = seen.refusal(Kind.PROMPT, name)
            if refused is not None:
                raise _own(refused)
            return None
        given = self._object(arguments)
        server = await self._checked(offer.server, context)
        ask = get_prompt(offer.name, given)
        fields = await self._asked(server, ask, context, offer.definition_hash, given)
        return passed(fields, server.prefix)

    async def complete(
        self, context: RequestContext, reference: dict[str, Any], params: dict[str, Raw]
    ) -> Raw | None:
        """Complete an argument; None where the reference is none of ours, or cannot.

        Args:
            context: who asks.
            reference: ``ref`` as the client sent it, checked.
            params: the other parameters, encoded.

        Raises:
            GatewayError: refused, or the server failed.
        """
        key = "name" if reference["type"] == "ref/prompt" else "uri"
        meant = await self._meant(context, key, reference[key])
        if meant is None:
            return None
        server, name = meant
        server = await self._checked(server, context)
        if "completions" not in (server.state.upstream_capabilities or {}):
            return None
        fields = {"ref": _encode({**reference, key: name}), **params}
        try:
            found = _members(await self._caller.send(server, complete(joined(fields)), context))
        except RemoteFailure as error:
            if error.members.get("jsonrpc_code") == _METHOD_NOT_FOUND:
                return None
            raise _content_failure(error) from None
        return found.get("completion")

    async def _meant(
        self, context: RequestContext, key: str, name: str
    ) -> tuple[RemoteServer, str] | None:
        seen = await self._seen(context)
        if key == "name":
            offer = seen.prompts.get(name)
            return (offer.server, offer.name) if offer is not None else None
        found = parse_resource(name)
        server = seen.servers.get((found.scope, found.slug)) if found is not None else None
        return (server, found.name) if server is not None and found is not None else None

    async def _asked(
        self,
        server: RemoteServer,
        ask: Ask,
        context: RequestContext,
        definition_hash: bytes = b"",
        given: bytes = b"",
    ) -> dict[str, Raw]:
        """Send a read or a prompt, which need no consent, but whose server may ask as well."""
        try:
            if context.dialogue is None and context.asker is None:
                return _members(await self._caller.send(server, ask, context))
            asked = ConsentCall(
                context, server.row, ask.name or "", definition_hash, given, ask.method
            )
            agreed = await self._consent.check(asked)
            return await self._rounds.send(asked, agreed, server, ask)
        except RemoteFailure as error:
            raise _content_failure(error) from None
        except ToolError as error:
            raise _own(error) from None

    # -- who may what ----------------------------------------------------------------------------

    def _known(self, context: RequestContext) -> CallerOffers | None:
        caller = context.caller
        if not holds(caller.grants, PERMISSION, is_guarded=True):
            return NOBODY
        if not caller.tenant_id:
            return NOTHING
        offers = self._snapshots.known(caller.tenant_id)
        return None if offers is None else offers.seen_by(caller.user_id)

    async def _seen(self, context: RequestContext) -> CallerOffers:
        seen = self._known(context)
        if seen is not None:
            return seen
        offers = await self._snapshots.current(context.caller.tenant_id)
        return offers.seen_by(context.caller.user_id)

    async def _allowed(self, context: RequestContext, *, is_ours: bool = True) -> CallerOffers:
        seen = await self._seen(context)
        if seen is NOBODY and is_ours:
            raise _own(denied())
        return seen

    async def _checked(self, server: RemoteServer, context: RequestContext) -> RemoteServer:
        """Return a server as it is now, if what it has may be read."""
        _demand_served(server)
        try:
            await self._check_trusted(context)
        except RemoteFailure as error:
            raise _content_failure(error) from None
        seen = await self._seen(context)
        now = seen.servers.get((server.row.scope_key, server.row.slug))
        if now is None:
            raise _own(_gone())
        _demand_served(now)
        return now

    async def _latest(self, tool: Tool, context: RequestContext) -> Tool:
        """Return a tool as it is now; it may come from a list that an outage made old."""
        seen = await self._seen(context)
        latest = seen.tools.by_name.get(tool.name)
        if latest is None:
            raise seen.refusal(Kind.TOOL, tool.name) or _gone()
        return latest

    async def _check_trusted(self, context: RequestContext) -> None:
        if not await self._snapshots.is_trusted(context.caller.tenant_id):
            raise RemoteFailure(
                "DatabaseError", "The registry cannot be read; nothing was called.", retry_after=5
            )

    def _object(self, arguments: bytes) -> bytes:
        given = arguments.strip()
        if not given or given == b"null":
            return b"{}"
        if not given.startswith(b"{"):
            raise ProtocolError(_INVALID_PARAMS, "params.arguments must be an object")
        if len(given) > self._caller.rules.argument_bytes:
            raise ProtocolError(_INVALID_PARAMS, "params.arguments is too large")
        return given


_REMEMBERED = 4_096


def _members(raw: Raw) -> dict[str, Raw]:
    try:
        return whole(*opened(raw))
    except UpstreamError as error:
        raise failure(error) from None


def _demand_served(server: RemoteServer) -> None:
    if not server.is_active:
        raise _own(unavailable(server))
    if server.is_locked:
        raise _own(ToolError("TOOL_LOCKED", "The server is locked; nothing of it is read."))


def _gone() -> ToolError:
    return ToolError("TOOL_NOT_FOUND", "There is no such tool.")


def _own(error: ToolError) -> ProtocolError:
    """Return a refusal of our own in a place where results cannot carry it."""
    return ProtocolError(
        _OWN_REFUSAL, error.message, code=error.code, members=error.members, http_status=200
    )


def _content_failure(error: RemoteFailure) -> GatewayError:
    """Return a failed read or prompt: MCP's own number where it is the client's fault."""
    is_theirs = error.members.get("jsonrpc_code") in (_INVALID_PARAMS, _NOT_FOUND)
    failed = ProtocolError(
        _INVALID_PARAMS if is_theirs else _INTERNAL_ERROR,
        error.message,
        code=error.code,
        members=error.members,
        retry_after=error.retry_after,
        http_status=400 if is_theirs else 200,
    )
    failed.message_chars = error.message_chars
    return failed
