"""The ScaiVault tools, resources and prompts as the one source of this command's gateway.

Spec: scaivault 4, 5, 6.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw

from scaimcp.errors import ProtocolError
from scaimcp.scaivault import prompts
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.completion import Completions
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.execution import VaultTools, mask_error
from scaimcp.scaivault.guards import Guards, has_group
from scaimcp.scaivault.paths import read_path
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.resources import Resources, Who, templates
from scaimcp.scaivault.schemas import hints_of, input_schema
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import (
    ContentKind,
    JsonObject,
    Listed,
    Listing,
    ModuleView,
    RequestContext,
    Snapshot,
    Tool,
    ToolResult,
)
from scaimcp.vaultserver.identity import TokenHolder

NAME = "scaivault"
_INVALID_PARAMS = -32602
_URI_CHARS = 512
_MODULES = ModuleView(frozenset(), NAME)
_encode = msgspec.json.encode
_log = get_logger("scaimcp.vaultserver")


class Vault(msgspec.Struct, frozen=True):
    """What the transports share of ScaiVault.

    Args:
        tools: calls them.
        resources: lists and reads.
        completions: completes arguments.
        holder: whose token it is.
        guards: what holds, for the whole life of the process.
    """

    tools: VaultTools
    resources: Resources
    completions: Completions
    holder: TokenHolder
    guards: Guards


class VaultSource:
    """Offers everything of ScaiVault to whoever is connected.

    Args:
        vault: the way to it.
        monotonic: clock for how long a call took, in seconds.
    """

    name = NAME

    def __init__(self, vault: Vault, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._vault = vault
        self._monotonic = monotonic
        tools = tuple(_tool(record) for record in TOOLS if has_group(record, vault.guards))
        self._snapshot = Snapshot(NAME, tools, {tool.name: tool for tool in tools}, _MODULES)
        self._listings = {
            "resourceTemplates": _listing("uriTemplate", templates(vault.guards)),
            "prompts": _listing("name", prompts.listed(vault.guards)),
        }

    # -- tools -----------------------------------------------------------------------------------

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        """Return the tools, which never change."""
        return self._snapshot

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return the tools."""
        return self._snapshot

    def mark_stale(self, context: RequestContext) -> None:
        """Nothing to do: nothing here ever changes."""

    def unsupported(self, tool: Tool) -> bool:
        """A tool without a route says so itself."""
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        """Call a tool, and log that it was called.

        Raises:
            VaultError: the call was refused, or failed.
        """
        vault, record, started = self._vault, tool.record, self._monotonic()
        code = "cancelled"
        try:
            identity = vault.holder.identity(context.request_id)
            result = await vault.tools.call(record, arguments or b"{}", identity, vault.guards)
            code = "ok"
        except VaultError as error:
            code = error.code
            raise
        else:
            return result
        finally:
            spent = round((self._monotonic() - started) * 1000)
            _log.info("call", **_logged(record, arguments), code=code, ms=spent)

    # -- resources and prompts -------------------------------------------------------------------

    async def listing(self, context: RequestContext, kind: ContentKind) -> Listing:
        """Return templates or prompts; resources have pages of their own."""
        return self._listings.get(kind, Listing(NAME))

    async def resources(self, context: RequestContext, cursor: str | None) -> JsonObject:
        """Return one page of ``resources/list``: its own members of the result.

        Raises:
            ProtocolError: -32602.
        """
        try:
            page = await self._vault.resources.page(self._who(context), cursor)
        except VaultError as error:
            raise self._refused(error) from None
        following = {} if page.next_cursor is None else {"nextCursor": page.next_cursor}
        return {"resources": page.resources, **following}

    async def read(self, context: RequestContext, uri: str) -> ToolResult | None:
        """Read a resource.

        Raises:
            ProtocolError: -32602.
        """
        try:
            entry = await self._vault.resources.read(uri, self._who(context))
        except VaultError as error:
            refused = self._refused(error)
            if error.code == "INVALID_ARGUMENTS":
                # No resource has this URI, which MCP wants told in these words.
                refused.data = {"uri": uri[:_URI_CHARS]}
            raise refused from None
        members = {"contents": [entry], "ttlMs": 0, "cacheScope": "private"}
        return _passed(members)

    async def prompt(
        self, context: RequestContext, name: str, arguments: bytes
    ) -> ToolResult | None:
        """Make a prompt's text; None for a name that is not there.

        Raises:
            ProtocolError: -32602.
        """
        try:
            made = prompts.get(name, arguments, self._vault.guards)
        except VaultError as error:
            raise self._refused(error) from None
        return None if made is None else _passed(made)

    async def complete(
        self, context: RequestContext, reference: dict[str, Any], params: dict[str, Raw]
    ) -> Raw | None:
        """Return suggestions for an argument.

        Raises:
            ProtocolError: -32602.
        """
        argument = msgspec.json.decode(params["argument"])
        try:
            who = self._who(context)
            found = await self._vault.completions.complete(reference, argument, who)
        except VaultError as error:
            raise self._refused(error) from None
        return None if found is None else Raw(_encode(found))

    def _who(self, context: RequestContext) -> Who:
        return Who(self._vault.holder.identity(context.request_id), self._vault.guards)

    def _refused(self, error: VaultError) -> ProtocolError:
        """Return a refusal of resources, prompts and completion. Spec: scaivault 5, 6."""
        if self._vault.guards.mask_values:
            mask_error(error)
        refused = ProtocolError(
            _INVALID_PARAMS,
            error.message,
            code=error.code,
            members=error.members,
            details=error.details,
            retry_after=error.retry_after,
        )
        refused.request_id = error.request_id
        return refused


def _tool(record: ToolRecord) -> Tool:
    return Tool(
        name=record.name,
        title=record.name.removeprefix("scaivault_").replace("_", " ").capitalize(),
        description=record.description,
        input_schema=input_schema(record),
        output_schema=None,
        annotations=hints_of(record),
        meta={},
        domain=NAME,
        record=record,
    )


def _listing(key: str, definitions: list[JsonObject]) -> Listing:
    return Listing(NAME, tuple([Listed(key, each[key], each) for each in definitions]))


def _passed(members: JsonObject) -> ToolResult:
    return ToolResult(None, fields={name: Raw(_encode(value)) for name, value in members.items()})


def _logged(record: ToolRecord, arguments: bytes) -> dict[str, str]:
    """Return what the log may tell of a call: of its arguments a path that is one, no more."""
    told: dict[str, str] = {"tool": record.name, "class": record.tool_class}
    try:
        given = msgspec.json.decode(arguments or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return told
    path = given.get("path") if isinstance(given, dict) else None
    if isinstance(path, str) and read_path(path) is not None:
        told["path"] = path
    return told
