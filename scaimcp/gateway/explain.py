"""Why is this tool missing for me? The checks of admission, told one by one.

Spec: core-tools 8.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from scaimcp.errors import GatewayError
from scaimcp.gateway.admission import first_failure, missing_module
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.search import similar
from scaimcp.gateway.sources import LIST_SECONDS, ToolSource
from scaimcp.gateway.view import View
from scaimcp.types import RequestContext, Snapshot, Tool

_SUGGESTIONS = 3
_MOST_HIDDEN = 200
_Checks = list[dict[str, Any]]


class Explainer:
    """Explains the catalogue to the caller, about the caller only."""

    def __init__(
        self, gateway: Gateway, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._gateway = gateway
        self._monotonic = monotonic

    async def explain(self, context: RequestContext, name: str, view: View) -> dict[str, Any]:
        """Return every check of one tool up to the first failure and what would mend it."""
        visible = await self._gateway.callable_tools(context)
        snapshots = await self._gateway.snapshots(context, LIST_SECONDS)
        checks: _Checks = []
        is_callable = is_listed = False
        found = _find(name, snapshots, self._gateway.sources)
        if found is None:
            checks += _missing(name, snapshots)
        else:
            tool, snapshot, source = found
            checks += _checks(tool, snapshot, context)
            checks += _policy(name, snapshot, checks)
            is_callable = all(check["is_ok"] for check in checks)
            if is_callable:
                is_listed = view.lists(tool)
                checks.append(_disclosure(is_listed))
                checks.append(_support(source.unsupported(tool)))
        failed = [check["check"] for check in checks if not check["is_ok"]]
        names = [tool.name for tool in visible.tools if tool.name != name]
        return {
            "tool": name,
            "is_listed": is_listed,
            "is_callable": is_callable,
            "first_failure": failed[0] if failed else None,
            "checks": checks,
            "suggestions": similar(name, names, _SUGGESTIONS) if failed else [],
            "caller": self._caller(context, snapshots),
        }

    async def overview(self, context: RequestContext, view: View) -> dict[str, Any]:
        """Return how many tools are visible and hidden, and why, for up to 200 hidden ones."""
        snapshots = await self._gateway.snapshots(context, LIST_SECONDS)
        hidden: list[dict[str, str]] = []
        visible = 0
        for snapshot in snapshots:
            for tool in snapshot.tools:
                failure = first_failure(tool, context.caller.grants, snapshot.modules)
                if failure is None and view.lists(tool):
                    visible += 1
                else:
                    hidden.append({"tool": tool.name, "first_failure": failure or "disclosure"})
        return {
            "visible_count": visible,
            "hidden_count": len(hidden),
            "hidden": hidden[:_MOST_HIDDEN],
            "caller": self._caller(context, snapshots),
        }

    def _caller(self, context: RequestContext, snapshots: list[Snapshot]) -> dict[str, Any]:
        caller = context.caller
        age = self._monotonic() - caller.confirmed_at
        return {
            "user_id": caller.user_id,
            "tenant_id": caller.tenant_id or None,
            "roles": sorted(caller.grants.roles),
            "permissions_source": caller.grants.source,
            "modules_source": snapshots[0].modules.source,
            "identity_age_seconds": max(0, round(age)),
        }


def _find(
    name: str, snapshots: list[Snapshot], sources: tuple[ToolSource, ...]
) -> tuple[Tool, Snapshot, ToolSource] | None:
    for snapshot, source in zip(snapshots, sources, strict=True):
        tool = snapshot.by_name.get(name)
        if tool is not None:
            return tool, snapshot, source
    return None


def _missing(name: str, snapshots: list[Snapshot]) -> _Checks:
    """Tell an unknown name from one that a rule kept out of the catalogue.

    A reason stands under ``module/name``, or ``module/prefix_*`` for all tools of a module.
    """
    for snapshot in snapshots:
        refused = snapshot.withheld(name) if snapshot.withheld is not None else None
        if refused is not None:
            return _withheld(refused)
        for label, reason in snapshot.dropped.items():
            module_id, _, dropped = label.partition("/")
            stem = dropped.removesuffix("*")
            if dropped == name or (stem != dropped and name.startswith(stem)):
                return [
                    _passed("exists", f"The module {module_id} is to bring it."),
                    _failed("loaded", reason, f"Ask the author of {module_id} to mend it."),
                ]
    return [_failed("exists", "There is no tool of this name.", "Check the spelling.")]


def _policy(name: str, snapshot: Snapshot, checks: _Checks) -> _Checks:
    """Tell why a source refuses a tool that the caller is entitled to, if it does."""
    refused = snapshot.withheld(name) if snapshot.withheld is not None else None
    if refused is None or not all(check["is_ok"] for check in checks):
        return []
    remedy = snapshot.remedies.get(refused.code, "Ask whoever manages this gateway.")
    return [_failed("gateway_policy", refused.message, remedy)]


def _withheld(refused: GatewayError) -> _Checks:
    """Tell why a source keeps a name back; whoever lacks the permission learns no more."""
    if refused.code == "PERMISSION_DENIED":
        remedy = "Ask an administrator for a role that holds it."
        return [_failed("permission", refused.message, remedy)]
    return [
        _passed("exists", "A remote server has it."),
        _failed("loaded", refused.message, "Ask whoever manages the server."),
    ]


def _checks(tool: Tool, snapshot: Snapshot, context: RequestContext) -> _Checks:
    origin = f"a tool of the module {tool.module_id}" if tool.module_id else "a core tool"
    if tool.definition is not None:
        origin = "a tool of a remote server"
    checks: _Checks = [_passed("exists", f"It is {origin}."), _passed("loaded", "It is loaded.")]
    failure = first_failure(tool, context.caller.grants, snapshot.modules)
    checks.append(_module(tool, snapshot, failure == "module_enabled", context))
    if failure != "module_enabled":
        checks.append(_permission(tool, failure == "permission", context))
    if failure not in ("module_enabled", "permission"):
        checks.append(_role(tool, failure == "role"))
    return checks


def _module(
    tool: Tool, snapshot: Snapshot, is_failed: bool, context: RequestContext
) -> dict[str, Any]:
    tenant = context.caller.tenant_slug or context.caller.tenant_id
    whom = f"tenant {tenant}" if tenant else "this caller"
    if not is_failed:
        owner = tool.module_id or "The catalogue"
        return _passed("module_enabled", f"{owner} is enabled for {whom}.")
    module = missing_module(tool, snapshot.modules)
    usual = f"Ask someone with modules:manage to call modules_enable with module_id {module}."
    remedy = snapshot.remedies.get("module_enabled", usual)
    return _failed("module_enabled", f"{module} is not enabled for {whom}.", remedy)


def _permission(tool: Tool, is_failed: bool, context: RequestContext) -> dict[str, Any]:
    source = context.caller.grants.source
    if not is_failed:
        detail = f"{tool.permission} is held" if tool.permission else "No permission is needed"
        return _passed("permission", f"{detail} (source: {source}).")
    return _failed(
        "permission",
        f"{tool.permission} is missing (source: {source}).",
        f"Ask an administrator for a role that holds {tool.permission}.",
    )


def _role(tool: Tool, is_failed: bool) -> dict[str, Any]:
    if not is_failed:
        return _passed("role", "The role suffices.")
    roles = " or ".join(tool.roles)
    return _failed("role", f"It needs the role {roles}.", f"Use an identity with {roles}.")


def _disclosure(is_listed: bool) -> dict[str, Any]:
    if is_listed:
        return _passed("disclosure", "The endpoint's URL lists it.")
    return _failed(
        "disclosure",
        "The endpoint's URL does not list it; it can be called all the same.",
        "Call it by name, or change disclosure and toolsets in the URL.",
    )


def _support(is_unsupported: bool) -> dict[str, Any]:
    if not is_unsupported:
        return _passed("platform_support", "The platform has not refused its endpoint.")
    return _failed(
        "platform_support",
        "The platform answered lately that it has no such endpoint.",
        "Ask the platform's operator whether this version offers it.",
    )


def _passed(check: str, detail: str) -> dict[str, Any]:
    return {"check": check, "is_ok": True, "detail": detail}


def _failed(check: str, detail: str, remedy: str) -> dict[str, Any]:
    return {"check": check, "is_ok": False, "detail": detail, "remedy": remedy}
