"""Suggestions for arguments of resource templates and prompts. Spec: scaivault 5.

They come from the list tools, so they show nothing that those would not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.kinds import KINDS, TEMPLATES, ResourceKind
from scaimcp.scaivault.paths import read_prefix
from scaimcp.scaivault.prompts import is_prompt
from scaimcp.scaivault.resources import SCHEME, Resources, Who, demand, is_name
from scaimcp.types import JsonObject

MOST_VALUES = 100
_MOST_PAGES = 5
_ROWS = 200
_PATHS = frozenset({"path", "prefix"})
_GUARDS_SAY_NO = frozenset(
    {
        "TOOL_NOT_FOUND",
        "PERMISSION_DENIED",
        "PATH_DENIED",
        "INVALID_PATH",
        "INVALID_ARGUMENTS",
        "TENANT_LOCKED",
        "MASK_MARKER_REFUSED",
    }
)


class Completions:
    """Completes arguments.

    Args:
        resources: ask the list tools.
    """

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def complete(
        self, reference: Mapping[str, Any], argument: Mapping[str, Any], who: Who
    ) -> JsonObject | None:
        """Return the object ``completion``; None where the reference is none of ours.

        A refusal by a guard is an empty list.

        Args:
            reference: ``ref`` of the request.
            argument: its ``argument``: ``name`` and ``value``.
            who: on whose behalf.

        Raises:
            VaultError: why ScaiVault could not be asked.
        """
        kind = kind_of(reference)
        if kind is None:
            return None
        name, typed = str(argument.get("name", "")), str(argument.get("value", ""))
        try:
            values, has_more = await self._values(kind, name, typed, who)
        except VaultError as error:
            if error.code not in _GUARDS_SAY_NO:
                raise
            values, has_more = [], False
        return {"values": values, "hasMore": has_more}

    async def _values(
        self, kind: ResourceKind, name: str, typed: str, who: Who
    ) -> tuple[list[str], bool]:
        demand(kind.record, who)
        if name == "tenant":
            tenant = await self._resources.tenant(who)
            return ([tenant] if tenant.startswith(typed) else []), False
        if name in _PATHS and kind.has_tenant:
            directory = typed.rpartition("/")[0]
            if read_prefix(directory) is None:
                return [], False
            return await self._matching(kind, {"prefix": directory}, who, typed)
        if name == "id" and not kind.has_tenant:
            return await self._matching(kind, {}, who, typed)
        return [], False

    async def _matching(
        self, kind: ResourceKind, filters: JsonObject, who: Who, typed: str
    ) -> tuple[list[str], bool]:
        """Return the paths that begin as was typed, or the ids of what so begins."""
        own, *others = ("path",) if kind.has_tenant else ("id", "name")
        found: list[str] = []
        cursor = ""
        for _ in range(_MOST_PAGES):
            rows, cursor = await self._resources.rows(kind, filters, who, (_ROWS, cursor))
            found += [
                row[own]
                for row in rows
                if is_name(row.get(own), kind)
                and any(str(row.get(field, "")).startswith(typed) for field in (own, *others))
            ]
            if len(found) > MOST_VALUES or not cursor:
                break
        return found[:MOST_VALUES], len(found) > MOST_VALUES or bool(cursor)


def kind_of(reference: Mapping[str, Any]) -> ResourceKind | None:
    """Return the kind of resource whose list completes a reference; None for others' references."""
    if reference.get("type") == "ref/prompt":
        return KINDS["secrets"] if is_prompt(str(reference.get("name"))) else None
    uri = str(reference.get("uri"))
    if not uri.startswith(SCHEME):
        return None
    return next((kind for kind, template in TEMPLATES if template["uriTemplate"] == uri), None)
