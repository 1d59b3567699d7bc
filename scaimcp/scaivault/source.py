"""ScaiVault as a source of tools, resources and prompts of the gateway. Spec: scaivault 3.

The caller's own bearer goes to ScaiVault's origin and nowhere else; it is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Protocol

import msgspec
from msgspec import Raw

from scaimcp.auth.permissions import holds
from scaimcp.errors import ProtocolError
from scaimcp.scaivault import prompts
from scaimcp.scaivault.accounting import Books
from scaimcp.scaivault.completion import Completions, kind_of
from scaimcp.scaivault.context_lock import Identity
from scaimcp.scaivault.errors import VaultError, failed, guards_unavailable
from scaimcp.scaivault.execution import VaultTools
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.offers import (
    API_KEY_PREFIX,
    MODULE,
    Standing,
    permission_of,
    snapshot,
)
from scaimcp.scaivault.profiles import GuardProfiles, TenantGuards
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.resources import (
    SCHEME,
    Resources,
    Who,
    guards_resource,
    parse_uri,
    templates,
)
from scaimcp.types import (
    ContentKind,
    Grants,
    JsonObject,
    Listed,
    Listing,
    RequestContext,
    Snapshot,
    Tool,
    ToolResult,
)

READ = f"{MODULE}:read"
_INVALID_PARAMS = -32602
_SNAPSHOTS = 512
_URI_CHARS = 512
# The same ages as the other sources'. Spec: scaigrid 4.
_CALL_SECONDS = 60.0
_LIST_SECONDS = 5.0
_KEYS: dict[ContentKind, str] = {
    "resources": "uri",
    "resourceTemplates": "uriTemplate",
    "prompts": "name",
}
_encode = msgspec.json.Encoder().encode
_argument = msgspec.json.Decoder(dict[str, Any]).decode


class ModuleSwitch(Protocol):
    """Tells whether the platform says that the module is not active for a tenant."""

    def known(self, context: RequestContext, max_age: float) -> bool | None:
        """Return whether it is switched off; None where the platform has to be asked."""
        ...

    async def is_off(self, context: RequestContext, max_age: float) -> bool:
        """Return whether it is switched off, known for at most `max_age` seconds."""
        ...


class VaultParts(msgspec.Struct, frozen=True):
    """What the source works with."""

    profiles: GuardProfiles
    switch: ModuleSwitch
    tools: VaultTools
    resources: Resources
    completions: Completions
    books: Books


class VaultSource:
    """The module ``scaivault``.

    Args:
        parts: what it works with.
        result_chars: most characters of a result, as tools publish it.
    """

    name = MODULE

    def __init__(self, parts: VaultParts, result_chars: int) -> None:
        self._parts = parts
        self._snapshot: Callable[[Standing], Snapshot] = lru_cache(_SNAPSHOTS)(
            partial(snapshot, result_chars=result_chars)
        )

    # -- tools -----------------------------------------------------------------------------------

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        """Return the caller's tools if neither platform nor database has to be asked."""
        tenant_id = context.caller.tenant_id
        if not tenant_id:
            return self._snapshot(_nobody(context))
        held = self._parts.profiles.known(tenant_id)
        is_off = self._parts.switch.known(context, max_age) if held is not None else None
        if held is None or is_off is None:
            return None
        return self._snapshot(_standing(context, held, is_off=is_off))

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return the caller's tools."""
        return self._snapshot(await self._stands(context, max_age))

    def mark_stale(self, context: RequestContext) -> None:
        """Nothing to do: a change of the profile is told to every process."""

    def unsupported(self, tool: Tool) -> bool:
        """Routes that a ScaiVault lacks are told by each call."""
        return False

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        """Call an admitted tool under the guards that hold now.

        Raises:
            VaultError: every refusal and failure.
        """
        record: ToolRecord = tool.record
        with self._parts.books.call(record, arguments, context):
            who = await self._who(context)
            return await self._parts.tools.call(record, arguments, who.identity, who.guards)

    # -- resources and prompts -------------------------------------------------------------------

    async def listing(self, context: RequestContext, kind: ContentKind) -> Listing:
        """Return what the caller may list of a kind; no other server is waited for."""
        standing = await self._stands(context, _LIST_SECONDS)
        definitions: list[JsonObject] = []
        if standing.refusal is None and standing.guards is not None:
            definitions = _definitions(kind, standing.guards, context.caller.grants)
        key = _KEYS[kind]
        items = tuple(Listed(key, entry[key], entry) for entry in definitions)
        identity = (MODULE, kind, tuple(item.name for item in items))
        return Listing(identity, items, is_failing=standing.guards is None)

    async def read(self, context: RequestContext, uri: str) -> ToolResult | None:
        """Read a resource; None for URIs that are none of ours.

        Raises:
            ProtocolError: refused, or ScaiVault failed.
        """
        if not uri.startswith(SCHEME):
            return None
        try:
            contents = await self._read(context, uri)
        except VaultError as error:
            told = _told(error)
            if error.code == "INVALID_ARGUMENTS":
                # No resource has this URI, which MCP wants told in these words.
                told.data = {"uri": uri[:_URI_CHARS]}
            raise told from None
        return ToolResult(None, fields={"contents": Raw(_encode([contents]))})

    async def _read(self, context: RequestContext, uri: str) -> JsonObject:
        target = parse_uri(uri)
        if target.kind is None:
            who = await self._who(context)
            _demand_read(context)
            return await self._parts.resources.read(uri, who)
        named = _encode({target.kind.argument: target.name})
        with self._parts.books.call(target.kind.record, named, context):
            return await self._parts.resources.read(uri, await self._who(context))

    async def prompt(
        self, context: RequestContext, name: str, arguments: bytes
    ) -> ToolResult | None:
        """Get a prompt; None for names that are none of ours.

        Raises:
            ProtocolError: refused, or an argument does not fit.
        """
        if not prompts.is_prompt(name):
            return None
        try:
            who = await self._who(context)
            _demand_read(context)
            found = prompts.get(name, arguments, who.guards)
        except VaultError as error:
            raise _told(error) from None
        if found is None:
            return None
        return ToolResult(None, fields={key: Raw(_encode(part)) for key, part in found.items()})

    async def complete(
        self, context: RequestContext, reference: dict[str, Any], params: dict[str, Raw]
    ) -> Raw | None:
        """Return suggestions; None where the reference is none of ours.

        Raises:
            ProtocolError: ScaiVault failed.
        """
        if kind_of(reference) is None:
            return None
        standing = await self._stands(context, _LIST_SECONDS)
        if standing.refusal is not None or standing.guards is None:
            return None
        who = _asking(context, standing.guards)
        try:
            found = await self._parts.completions.complete(
                reference, _argument(params["argument"]), who
            )
        except VaultError as error:
            raise _told(error) from None
        return None if found is None else Raw(_encode(found))

    # -- who may what ----------------------------------------------------------------------------

    async def _who(self, context: RequestContext) -> Who:
        """Return the caller, if anything of the module can be called.

        Raises:
            VaultError: GUARDS_UNAVAILABLE, MODULE_NOT_ENABLED, VAULT_TOKEN_UNSUPPORTED.
        """
        standing = await self._stands(context, _CALL_SECONDS)
        if standing.guards is None:
            raise guards_unavailable()
        if standing.refusal is not None:
            raise standing.refusal
        return _asking(context, standing.guards)

    async def _stands(self, context: RequestContext, max_age: float) -> Standing:
        tenant_id = context.caller.tenant_id
        if not tenant_id:
            return _nobody(context)
        try:
            held = await self._parts.profiles.current(tenant_id)
        except VaultError:
            return Standing(is_on=False, guards=None, has_key=_has_key(context))
        is_off = self._parts.switch.known(context, max_age)
        if is_off is None:
            is_off = await self._parts.switch.is_off(context, max_age)
        return _standing(context, held, is_off=is_off)


def _standing(context: RequestContext, held: TenantGuards, *, is_off: bool) -> Standing:
    return Standing(held.is_enabled and not is_off, held.guards, _has_key(context))


def _nobody(context: RequestContext) -> Standing:
    """Return how callers without a tenant stand: profiles belong to tenants."""
    return Standing(is_on=False, guards=Guards(read_only=True, mask_values=True), has_key=False)


def _has_key(context: RequestContext) -> bool:
    return context.bearer.reveal().startswith(API_KEY_PREFIX)


def _asking(context: RequestContext, guards: Guards) -> Who:
    caller = context.caller
    identity = Identity(
        token=context.bearer,
        key=caller.key,
        tenant_id=caller.tenant_id,
        request_id=context.request_id,
    )
    return Who(identity, guards, partial(_may, caller.grants))


def _may(grants: Grants, record: ToolRecord) -> bool:
    return holds(grants, permission_of(record))


def _demand_read(context: RequestContext) -> None:
    if not holds(context.caller.grants, READ):
        raise failed("PERMISSION_DENIED", f"This needs {READ}.")


def _definitions(kind: ContentKind, guards: Guards, grants: Grants) -> list[JsonObject]:
    if kind == "resourceTemplates":
        return templates(guards, partial(_may, grants))
    if not holds(grants, READ):
        return []
    return [guards_resource()] if kind == "resources" else prompts.listed(guards)


def _told(error: VaultError) -> ProtocolError:
    """Return a refusal in a place where results cannot carry it. Spec: scaivault 5."""
    told = ProtocolError(
        _INVALID_PARAMS,
        error.message,
        code=error.code,
        members=error.members,
        retry_after=error.retry_after,
        details=error.details,
    )
    if error.request_id:
        told.request_id = error.request_id
    return told
