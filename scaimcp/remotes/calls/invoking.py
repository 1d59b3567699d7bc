"""Run one tool by hand: the only way to the tools of a locked server.

The person who does it consents by doing it. Spec: remote-servers 1 (invoke), 9.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from scaimcp.audit import store as audit
from scaimcp.credentials import store as credentials
from scaimcp.errors import InputNeeded, ProtocolError, RequestRefused, ToolError
from scaimcp.postgres import Database
from scaimcp.remotes import refusals
from scaimcp.remotes.calls.offers import RemoteServer
from scaimcp.remotes.consent.approvals import Approvals
from scaimcp.remotes.consent.checking import INVOKE, ConsentCall, bound, owned_binding
from scaimcp.remotes.consent.consent_events import consent_event, count_consent
from scaimcp.remotes.enumerations import CapabilityState, Kind, Status
from scaimcp.remotes.models import Capability, RegisteredServer
from scaimcp.remotes.rights import USE, Actor, View, actor_of, denied, view_of
from scaimcp.remotes.stores import capability_store, store
from scaimcp.types import Dialogue, RequestContext, ToolResult

Run = Callable[[ConsentCall, RemoteServer, dict[str, Any]], Awaitable[ToolResult]]
"""Sends a call that is let through, as `RemoteSource.run` does."""
# Whoever uses REST shows forms and addresses by themselves.
_MODES = frozenset({"form", "url"})


class Invocation(msgspec.Struct, frozen=True):
    """What somebody wants to run.

    Args:
        server_id: of a server that they can see.
        tool: the upstream's own name, or the alias.
        arguments: as they are sent.
        definition_hash: of the definition that they were shown.
        responses: answers to what the upstream asked, encoded each.
        state: what came with the upstream's questions.
    """

    server_id: str
    tool: str
    arguments: dict[str, Any]
    definition_hash: bytes
    responses: dict[str, msgspec.Raw] = {}
    state: str | None = None


class Completed(msgspec.Struct, frozen=True, tag_field="result_type", tag="complete"):
    """The upstream's result as it came; a failure is a result with ``isError``."""

    result: dict[str, Any]
    duration_ms: int


class Wanting(msgspec.Struct, frozen=True, tag_field="result_type", tag="input_required"):
    """The upstream wants input first: repeat the request with the answers and the state."""

    input_requests: msgspec.Raw
    request_state: str


class Invoker:
    """Runs tools by hand.

    Args:
        database: where servers and definitions are.
        approvals: says who is a person.
        run: sends the call.
    """

    def __init__(self, database: Database, approvals: Approvals, run: Run) -> None:
        self._database = database
        self._approvals = approvals
        self._run = run

    def admit(self, context: RequestContext) -> None:
        """Refuse whoever can run nothing at all.

        Raises:
            RequestRefused: 403.
        """
        actor = actor_of(context.caller)
        if not actor.tenant_id or not actor.use:
            raise denied(USE)
        self._approvals.demand_person(context)

    async def invoke(
        self, context: RequestContext, given: Invocation, failed: Callable[[ToolError], bytes]
    ) -> Completed | Wanting:
        """Run one tool once.

        Args:
            context: who does it.
            given: what to run.
            failed: encodes the ``error`` object of a failed call.

        Raises:
            RequestRefused: 403, 404, 409; 422 for a state that does not serve here.
        """
        self.admit(context)
        dialogue = Dialogue(_MODES, given.state, given.responses)
        context = msgspec.structs.replace(context, dialogue=dialogue)
        call, server, schema = await self._prepared(context, given)
        started = time.monotonic()
        try:
            result = _fields(await self._run(call, server, schema))
        except InputNeeded as needed:
            return Wanting(msgspec.Raw(needed.requests or b"{}"), needed.state)
        except ProtocolError as error:
            raise RequestRefused("VALIDATION_ERROR", error.message, http_status=422) from None
        except ToolError as error:
            block = {"type": "text", "text": failed(error).decode()}
            result = {"content": [block], "isError": True}
        return Completed(result, round((time.monotonic() - started) * 1000))

    async def _prepared(
        self, context: RequestContext, given: Invocation
    ) -> tuple[ConsentCall, RemoteServer, dict[str, Any]]:
        """Read server and definition as they are now, and note who runs it."""
        actor = actor_of(context.caller)
        async with self._database.transaction() as connection:
            found = await store.get_server(connection, actor.visibility, given.server_id)
            if found is None:
                raise refusals.server_not_found()
            _check_server(actor, found)
            row = found.row
            tool = await capability_store.find_capability(
                connection, row.tenant_id, row.id, Kind.TOOL, given.tool
            )
            definition = _checked(tool, given.definition_hash)
            arguments = msgspec.json.encode(given.arguments)
            call = ConsentCall(
                context, row, definition.name, definition.definition_hash, arguments, INVOKE
            )
            await self._note(connection, call)
            fields = await credentials.read_fields(connection, row.tenant_id, row.id)
        schema = msgspec.json.decode(definition.definition)["inputSchema"]
        return call, RemoteServer(row, found.state, fields), schema

    async def _note(self, connection: Any, call: ConsentCall) -> None:
        _, binding = bound(call)
        owned = owned_binding(call, binding)
        event = consent_event("consume", call.context.request_id, owned, INVOKE)
        await audit.record(connection, event, call.context)
        count_consent(INVOKE, "consumed")


def _check_server(actor: Actor, found: RegisteredServer) -> None:
    """Refuse another user's personal server, and one that is not in service."""
    if view_of(actor, found.row) is View.GOVERNANCE:
        raise denied(USE)
    status = found.state.status
    if status is not Status.ACTIVE or found.row.transport is None or found.row.auth_type is None:
        raise refusals.state_conflict(f"The server is {status}.")


def _checked(tool: Capability | None, definition_hash: bytes) -> Capability:
    """Return the definition if it is in service and the one that was shown."""
    if tool is None:
        raise RequestRefused("TOOL_NOT_FOUND", "The server has no such tool.", http_status=404)
    if tool.state is not CapabilityState.ADVERTISED:
        raise RequestRefused(
            "TOOL_HELD", "The tool waits for a decision on its definition.", http_status=409
        )
    if tool.definition_hash != definition_hash:
        raise RequestRefused(
            "SCAILINK_CHANGE_STALE",
            "The tool's definition is another one than was shown.",
            http_status=409,
        )
    return tool


def _fields(result: ToolResult) -> dict[str, Any]:
    fields: Mapping[str, Any] = result.fields or {}
    return (
        {**fields, "_meta": msgspec.Raw(b"{" + result.meta + b"}")} if result.meta else {**fields}
    )
