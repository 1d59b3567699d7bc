"""The hook for module authors: a package installed beside the gateway brings tools.

Entry-point group ``scaimcp.modules``, entry-point name = module id, value = a class or object
with ``module_id`` and ``get_mcp_tools() -> list[McpToolDef]``. Spec: core-tools 9, form A.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import msgspec

from scaimcp.catalog.contributed import Contribution, RuleBroken, read_tools, whole_module
from scaimcp.telemetry.logs import get_logger

GROUP = "scaimcp.modules"
_log = get_logger("scaimcp.catalog")


class RestRequest(msgspec.Struct, frozen=True):
    """The REST call behind a module's tool.

    Args:
        method: GET, POST, PUT, PATCH or DELETE.
        path: below ``/v1/modules/{module_id}``, with ``{argument}`` places.
        query: arguments that go to the query.
        body: ``json`` or ``form``.
        files: base64 argument → form field.
        timeout_seconds: 1–600.
        result: ``object``, ``list``, ``text`` or ``audio``.
    """

    method: str
    path: str
    query: tuple[str, ...] = ()
    body: str = "json"
    files: dict[str, str] = {}
    timeout_seconds: float = 30.0
    result: str = "object"


class McpToolDef(msgspec.Struct, frozen=True):
    """One tool of a module; the rules are those of a manifest.

    ``handler`` belongs to a later form of the hook: a tool that has one is dropped.
    """

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    request: RestRequest | None = None
    required_permission: str = "modules:use"
    annotations: dict[str, bool] = {}
    output_schema: dict[str, Any] | None = None
    handler: Any = None


class McpModule(Protocol):
    """What an entry point leads to."""

    module_id: str

    def get_mcp_tools(self) -> list[McpToolDef]:
        """Return the module's tools."""
        ...


def installed() -> Iterable[EntryPoint]:
    """Return the entry points of installed modules."""
    return entry_points(group=GROUP)


def load_modules(points: Iterable[EntryPoint]) -> Contribution:
    """Load every module; one that fails is left out with its reason and never stops the start.

    Entry points are foreign code, so any exception of theirs counts as "this module failed", and
    so does an attempt to end the process.
    """
    tools: list[Any] = []
    dropped: dict[str, str] = {}
    for point in points:
        try:
            contribution = _load(point)
        except RuleBroken as broken:
            dropped[whole_module(point.name)] = str(broken)
            continue
        except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code may raise anything
            reason = f"The module failed to load ({type(error).__name__})."
            _log.error("module failed to load", module_id=point.name, exc_info=error)
            dropped[whole_module(point.name)] = reason
            continue
        tools += contribution.tools
        dropped |= contribution.dropped
    for name, reason in dropped.items():
        _log.warning("tool dropped", tool=name, reason=reason)
    return Contribution(tuple(tools), dropped)


def _load(point: EntryPoint) -> Contribution:
    loaded = point.load()
    module: McpModule = loaded() if isinstance(loaded, type) else loaded
    if module.module_id != point.name:
        raise ValueError("module_id differs from the entry point's name")
    definitions: list[bytes] = []
    dropped: dict[str, str] = {}
    for tool in module.get_mcp_tools():
        label = f"{point.name}/{tool.name}"
        if tool.handler is not None or tool.request is None:
            dropped[label] = "Only tools with a REST request are served, not tools with a handler."
            continue
        try:
            definitions.append(msgspec.json.encode(_as_manifest(tool, tool.request)))
        except (TypeError, ValueError, RecursionError):
            dropped[label] = "The definition holds values that JSON does not have."
    contribution = read_tools(definitions, point.name, "entry_point")
    return Contribution(contribution.tools, {**contribution.dropped, **dropped})


def _as_manifest(tool: McpToolDef, request: RestRequest) -> dict[str, Any]:
    call = msgspec.to_builtins(request)
    result = call.pop("result")
    entry = msgspec.to_builtins(tool)
    entry.pop("handler")
    return {**entry, "request": call, "result": result}
