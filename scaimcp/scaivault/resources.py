"""Resources of ScaiVault, without transport: templates, lists, reads by the tools' own code.

A read runs the matching tool: same guards, same masks, same bytes. Spec: scaivault 5.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, TypeGuard

import msgspec

from scaimcp.scaivault.arguments import read_arguments
from scaimcp.scaivault.catalogue import BY_NAME
from scaimcp.scaivault.context_lock import Identity
from scaimcp.scaivault.cursors import Cursors, Position
from scaimcp.scaivault.errors import (
    VaultError,
    failed,
    invalid_arguments,
    invalid_path,
    tenant_locked,
)
from scaimcp.scaivault.execution import VaultTools
from scaimcp.scaivault.guards import Guards, check_arguments, check_tool, has_group
from scaimcp.scaivault.kinds import KINDS, TEMPLATES, ResourceKind
from scaimcp.scaivault.paths import read_id, read_path
from scaimcp.scaivault.records import GROUPS, ToolRecord
from scaimcp.types import JsonObject

SCHEME = "scaivault://"
GUARDS_URI = "scaivault://guards"
JSON = "application/json"
PAGE = 100
May = Callable[[ToolRecord], bool]
"""Tells whether the caller may call a tool."""
# Nothing is decoded, so what would have to be is no part of a URI here.
_REFUSED = re.compile(r"[%?#@\\\s\x00-\x1f\x7f]")
# A token that may not list one thing may still list the other.
_PASSED_OVER = frozenset(
    {
        "TOOL_NOT_FOUND",
        "PERMISSION_DENIED",
        "PATH_DENIED",
        "NOT_SUPPORTED",
        "access_denied",
        "insufficient_scope",
    }
)
_GUARDS = {
    "uri": GUARDS_URI,
    "name": "guards",
    "title": "Guards of ScaiVault",
    "description": "Whose token is used and what the tools may touch.",
    "mimeType": JSON,
}
_STAGES = ("secrets", "policies")
_encode = msgspec.json.encode


def everyone(record: ToolRecord) -> bool:
    """Refuse nobody: the stand-alone command asks for no permission."""
    return True


class Who(msgspec.Struct, frozen=True):
    """On whose behalf something is listed or read, and what holds for them."""

    identity: Identity
    guards: Guards
    may: May = everyone


def demand(record: ToolRecord, who: Who) -> None:
    """Refuse what the matching tool refuses before it looks at arguments.

    Raises:
        VaultError: TOOL_NOT_FOUND, READ_ONLY or PERMISSION_DENIED.
    """
    if not has_group(record, who.guards):
        raise failed("TOOL_NOT_FOUND", "There is no such resource: its tool group is off.")
    check_tool(record, who.guards)
    if not who.may(record):
        raise failed("PERMISSION_DENIED", f"This needs scaivault:{record.permission}.")


class ResourcePage(msgspec.Struct, frozen=True):
    """One page of ``resources/list``.

    Args:
        resources: definitions, ready for the wire.
        next_cursor: None on the last page.
    """

    resources: list[JsonObject]
    next_cursor: str | None = None


class Target(msgspec.Struct, frozen=True):
    """What a URI names; `kind` is None for the guards.

    Args:
        kind: of the resource.
        tenant: as the URI has it, "" where its kind has none.
        name: path or id.
    """

    kind: ResourceKind | None
    tenant: str = ""
    name: str = ""


def parse_uri(uri: str) -> Target:
    """Return what a URI names.

    Raises:
        VaultError: INVALID_PATH where it breaks the grammar of paths, INVALID_ARGUMENTS where it
            is no URI of a known kind.
    """
    kind_name, _, rest = uri.removeprefix(SCHEME).partition("/")
    kind = KINDS.get(kind_name)
    if not uri.startswith(SCHEME) or (kind is None and uri != GUARDS_URI):
        raise _no_such_uri()
    if kind is None:
        return Target(None)
    tenant = ""
    if kind.has_tenant:
        tenant, _, rest = rest.partition("/")
    if not rest or (kind.has_tenant and not tenant):
        raise _no_such_uri()
    if _REFUSED.search(rest) or _REFUSED.search(tenant):
        raise invalid_path("uri") if kind.has_tenant else _no_such_uri()
    return Target(kind, tenant, rest)


def _no_such_uri() -> VaultError:
    return invalid_arguments([("uri", "is no URI of a ScaiVault resource")])


def templates(guards: Guards, may: May = everyone) -> list[JsonObject]:
    """Return the templates whose tool exists and may be called, ready for the wire."""
    return [
        template
        for kind, template in TEMPLATES
        if has_group(kind.record, guards) and may(kind.record)
    ]


def guards_resource() -> JsonObject:
    """Return the definition of ``scaivault://guards``."""
    return dict(_GUARDS)


class Resources:
    """Lists and reads.

    Args:
        tools: runs the matching tools.
        cursors: seals where lists go on.
    """

    def __init__(self, tools: VaultTools, cursors: Cursors) -> None:
        self._tools = tools
        self._cursors = cursors

    # -- reading ---------------------------------------------------------------------------------

    async def read(self, uri: str, who: Who) -> JsonObject:
        """Return the one entry of ``contents``: ``uri``, ``mimeType``, ``text``.

        Raises:
            VaultError: as the matching tool; TENANT_LOCKED for another tenant's URI.
        """
        target = parse_uri(uri)
        if target.kind is None:
            text = await self._guards(who)
        else:
            text = await self._by_tool(target.kind, target, who)
        return {"uri": uri, "mimeType": JSON, "text": text.decode()}

    async def _by_tool(self, kind: ResourceKind, target: Target, who: Who) -> bytes:
        demand(kind.record, who)
        given = _encode({kind.argument: target.name})
        check_arguments(kind.record, read_arguments(kind.record, given), who.guards)
        if kind.has_tenant and target.tenant != await self.tenant(who):
            raise tenant_locked()
        result = await self._tools.call(kind.record, given, who.identity, who.guards)
        return result.text or b""

    async def tenant(self, who: Who) -> str:
        """Return the tenant of URIs: the locked one, else the token's own.

        Raises:
            VaultError: TENANT_LOCKED, or why ScaiVault did not say whose the token is.
        """
        known = who.guards.tenant_id or who.identity.tenant_id
        return known or (await self._tools.holder(who.identity, who.guards)).tenant_id

    async def _guards(self, who: Who) -> bytes:
        identity, guards = who.identity, who.guards
        holder = await self._tools.holder(identity, guards)
        groups = None if guards.groups is None else [g for g in GROUPS if g in guards.groups]
        return _encode(
            {
                "identity": holder.identity_id or None,
                "tenant": guards.tenant_id or identity.tenant_id or holder.tenant_id or None,
                "read_only": guards.read_only,
                "mask_values": guards.mask_values,
                "allowed_paths": guards.allowed,
                "tool_groups": groups,
            }
        )

    # -- listing ---------------------------------------------------------------------------------

    async def page(self, who: Who, cursor: str | None = None) -> ResourcePage:
        """Return one page: the guards, then secrets, then access policies.

        Raises:
            VaultError: INVALID_ARGUMENTS for a cursor that is none of this list; why ScaiVault
                could not be asked.
        """
        bound = _bound(who.identity, who.guards)
        here = self._cursors.open(cursor, bound)
        found = [guards_resource()] if cursor is None else []
        tenant = ""
        while here.entry < len(_STAGES) and len(found) < PAGE:
            tenant = tenant or await self.tenant(who)
            more, here = await self._stage(here, PAGE - len(found), who, tenant)
            found += more
        if here.entry >= len(_STAGES):
            return ResourcePage(found)
        return ResourcePage(found, self._cursors.seal(here, bound))

    async def _stage(
        self, here: Position, limit: int, who: Who, tenant: str
    ) -> tuple[list[JsonObject], Position]:
        """Return definitions of one kind, and where the list goes on."""
        kind = KINDS[_STAGES[here.entry]]
        rows, cursor = await self.rows(kind, {}, who, (limit, here.cursor))
        names = [row.get("path" if kind.has_tenant else "id") for row in rows]
        listed = [_listed(kind, tenant, name) for name in names if is_name(name, kind)]
        return listed, Position(here.entry, cursor) if cursor else Position(here.entry + 1)

    async def rows(
        self, kind: ResourceKind, filters: JsonObject, who: Who, place: tuple[int, str]
    ) -> tuple[list[JsonObject], str]:
        """Return one page of the list tool of a kind, and the cursor behind it, "" at the end.

        Args:
            kind: whose list tool is called; what may not be listed is an empty list.
            filters: arguments of the list tool.
            who: on whose behalf.
            place: most rows, and the cursor, "" for the first page.

        Raises:
            VaultError: as the list tool, but for refusals to list.
        """
        record, (limit, cursor) = BY_NAME[kind.lister], place
        given = {**filters, "limit": limit, **({"cursor": cursor} if cursor else {})}
        try:
            demand(record, who)
            result = await self._tools.call(record, _encode(given), who.identity, who.guards)
        except VaultError as error:
            if error.code in _PASSED_OVER:
                return [], ""
            raise
        page: dict[str, Any] = msgspec.json.decode(result.text or b"{}")
        rows = [row for row in page.get("items", ()) if isinstance(row, dict)]
        return rows, str(page.get("next_cursor") or "")


def is_name(name: Any, kind: ResourceKind) -> TypeGuard[str]:
    """Tell whether what a row is called can stand in a URI of its kind."""
    reader = read_path if kind.has_tenant else read_id
    return isinstance(name, str) and reader(name) is not None


def _listed(kind: ResourceKind, tenant: str, name: str) -> JsonObject:
    where = f"{tenant}/{name}" if kind.has_tenant else name
    return {"uri": f"{SCHEME}{kind.name}/{where}", "name": name, "mimeType": JSON}


def _bound(identity: Identity, guards: Guards) -> bytes:
    """Return what a cursor of the list belongs to: one tenant under the same guards."""
    groups = None if guards.groups is None else sorted(guards.groups)
    facts = (identity.tenant_id, guards.allowed, guards.denied, groups, guards.tenant_id)
    return hashlib.sha256(b"resources" + _encode(facts)).digest()
