"""What the module offers a caller: one rule for lists, calls and refusals. Pure.

Spec: scaivault 3 (listing, enabling, sgk_ keys).
"""

from __future__ import annotations

from functools import cache

import msgspec

from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.errors import VaultError, failed, guards_unavailable, read_only
from scaimcp.scaivault.guards import Guards, has_group, is_refused
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.schemas import hints_of, input_schema
from scaimcp.types import ModuleView, Snapshot, Tool

MODULE = "scaivault"
API_KEY_PREFIX = "sgk_"
_META = "ai.scailabs.scaimcp/"
_ACTIVE = ModuleView(frozenset({MODULE}), MODULE)
_OFF = ModuleView(frozenset(), MODULE)
_REMEDIES = {
    "module_enabled": (
        f"Ask someone with {MODULE}:guards.manage to set enabled at"
        f" /v1/modules/scaimcp/{MODULE}/guards, and see that the platform has the module on."
    ),
    "READ_ONLY": f"Ask someone with {MODULE}:guards.manage, or whoever manages this gateway.",
    "VAULT_TOKEN_UNSUPPORTED": "Sign in, and use that access token.",
}


class Standing(msgspec.Struct, frozen=True):
    """How a caller stands towards the module.

    Args:
        is_on: the tenant has it.
        guards: the effective ones, None where they cannot be loaded.
        has_key: the caller holds an API key, which ScaiVault does not take.
    """

    is_on: bool
    guards: Guards | None
    has_key: bool = False

    @property
    def refusal(self) -> VaultError | None:
        """Why nothing can be called, None where something can."""
        if self.guards is None:
            return guards_unavailable()
        if not self.is_on:
            return failed("MODULE_NOT_ENABLED", "This tenant has not enabled ScaiVault.")
        if self.has_key:
            return failed(
                "VAULT_TOKEN_UNSUPPORTED",
                "ScaiVault tools need a ScaiKey access token; an API key cannot be used.",
            )
        return None


def permission_of(record: ToolRecord) -> str:
    """Return the permission key that a tool needs."""
    return f"{MODULE}:{record.permission}"


@cache
def tools_of(result_chars: int) -> tuple[Tool, ...]:
    """Return all tools as clients see them, in published order."""
    return tuple(_tool(record, result_chars) for record in TOOLS)


def snapshot(standing: Standing, result_chars: int) -> Snapshot:
    """Return what a caller is offered, before permissions are looked at.

    What READ_ONLY refuses is not listed and yet found, so that a call says why.

    Args:
        standing: the caller's.
        result_chars: most characters of a result, as tools publish it.
    """
    guards = standing.guards
    tools = tools_of(result_chars)
    existing = [tool for tool in tools if guards is None or has_group(tool.record, guards)]
    is_bare = guards is None or standing.has_key
    by_name = {tool.name: tool for tool in existing}
    return Snapshot(
        (MODULE, standing),
        () if is_bare else tuple(tool for tool in existing if _is_listed(tool, guards)),
        by_name,
        _ACTIVE if standing.is_on or guards is None else _OFF,
        withheld=lambda name: _refusal(by_name.get(name), standing),
        is_failing=guards is None,
        remedies=_REMEDIES,
    )


def _is_listed(tool: Tool, guards: Guards | None) -> bool:
    return guards is not None and not is_refused(tool.record, guards)


def _refusal(tool: Tool | None, standing: Standing) -> VaultError | None:
    """Return why a tool that exists is not listed although the caller has the permission."""
    if tool is None:
        return None
    if standing.refusal is not None:
        return standing.refusal
    return None if _is_listed(tool, standing.guards) else read_only(tool.name)


def _tool(record: ToolRecord, result_chars: int) -> Tool:
    words = record.name.removeprefix(f"{MODULE}_").replace("_", " ")
    permission = permission_of(record)
    return Tool(
        name=record.name,
        title=words[:1].upper() + words[1:],
        description=record.description,
        input_schema=input_schema(record),
        output_schema=None,
        annotations=hints_of(record),
        meta={
            f"{_META}module_id": MODULE,
            f"{_META}required_permission": permission,
            "anthropic/maxResultSizeChars": result_chars,
        },
        permission=permission,
        module_id=MODULE,
        domain=MODULE,
        record=record,
    )
