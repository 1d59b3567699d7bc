"""Tools that modules bring themselves: what they may look like, checked one by one. Pure.

A tool that breaks a rule is dropped alone, with its reason. Spec: core-tools 3, 4 and 9.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from scaimcp.auth.permissions import CORE_PERMISSIONS
from scaimcp.catalog.arguments import SchemaError, compile_arguments
from scaimcp.catalog.definition import (
    PLACE,
    SENSITIVE_ARGUMENTS,
    Hints,
    RestRequest,
    Result,
    ResultKind,
    ToolDefinition,
)

MAX_TOOLS = 64
MAX_BYTES = 1024 * 1024
MAX_DEPTH = 16
_SCHEMA_BYTES = 6 * 1024
# Reasons kept of one module; a manifest of a million empty tools must not cost memory.
_MAX_REASONS = 4 * MAX_TOOLS
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
_MODULE_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+\Z")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_HINTS = frozenset({"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"})
_KINDS: dict[str, ResultKind] = {
    "object": "object",
    "list": "list",
    "text": "manifest_text",
    "audio": "audio",
}


class McpRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The REST call of a module's tool; `path` is below ``/v1/modules/{module_id}``."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    query: tuple[str, ...] = ()
    body: Literal["json", "form"] = "json"
    files: dict[str, str] = {}
    timeout_seconds: float = 30.0


class McpTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool of a manifest, as it is written there."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    request: McpRequest
    required_permission: str = "modules:use"
    annotations: dict[str, bool] = {}
    output_schema: dict[str, Any] | None = None
    result: Literal["object", "list", "text", "audio"] = "object"


class Manifest(msgspec.Struct, frozen=True):
    """A module's manifest; tools stay raw so that one bad tool costs only itself."""

    manifest_version: Literal[1]
    module_id: str
    tools: list[msgspec.Raw]


class Contribution(msgspec.Struct, frozen=True):
    """What a module brings: usable tools, and the reasons of those that were dropped.

    ``serial`` differs for every reading of a manifest, so it can stand for the whole in a key.
    """

    tools: tuple[ToolDefinition, ...] = ()
    dropped: dict[str, str] = {}
    serial: int = 0


class RuleBroken(ValueError):
    """A tool that breaks a rule of the catalogue; the text is the reason shown."""


def prefix(module_id: str) -> str:
    """Return the name prefix of a module: its id without a leading ``scai``, as one word."""
    stem = module_id if module_id == "scaivault" else module_id.removeprefix("scai")
    return re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_") + "_"


def whole_module(module_id: str) -> str:
    """Return the label under which the reason stands when none of a module's tools is usable."""
    return f"{module_id}/{prefix(module_id)}*"


def read_manifest(raw: bytes, module_id: str) -> Contribution:
    """Read form B.

    Args:
        raw: JSON of the manifest, at most 1 MiB.
        module_id: the module that serves it.

    Raises:
        RuleBroken: the manifest as a whole cannot be used.
    """
    if len(raw) > MAX_BYTES:
        raise RuleBroken("The manifest is larger than 1 MiB.")
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except _UNREADABLE:
        raise RuleBroken("The manifest cannot be read.") from None
    if manifest.module_id != module_id:
        raise RuleBroken("The manifest names another module.")
    return read_tools([bytes(tool) for tool in manifest.tools], module_id, "manifest")


def read_tools(tools: list[bytes], module_id: str, origin: str) -> Contribution:
    """Check tools one by one; what breaks a rule is dropped with its reason.

    Raises:
        RuleBroken: the tools together are larger than a module may bring.
    """
    if sum(map(len, tools)) > MAX_BYTES:
        raise RuleBroken("The tools are larger than 1 MiB together.")
    kept: dict[str, ToolDefinition] = {}
    dropped: dict[str, str] = {}
    for position, raw in enumerate(tools):
        if len(dropped) >= _MAX_REASONS:
            break
        label = _label(raw, module_id, position)
        try:
            if position >= MAX_TOOLS:
                raise RuleBroken(f"A module may bring at most {MAX_TOOLS} tools.")
            definition = _read_tool(raw, module_id, origin)
            if definition.name in kept:
                raise RuleBroken("The name is used twice in this module.")
        except RuleBroken as reason:
            dropped[label] = str(reason)
            continue
        kept[definition.name] = definition
    return Contribution(tuple(kept.values()), dropped)


class _Named(msgspec.Struct):
    name: str


def _label(raw: bytes, module_id: str, position: int) -> str:
    """Return ``module/name``, or ``module/#position`` where no name can be read."""
    try:
        return f"{module_id}/{msgspec.json.decode(raw, type=_Named).name[:64]}"
    except _UNREADABLE:
        return f"{module_id}/#{position + 1}"


def _read_tool(raw: bytes, module_id: str, origin: str) -> ToolDefinition:
    try:
        if _depth(msgspec.json.decode(raw)) > MAX_DEPTH:
            raise RuleBroken(f"The definition is nested deeper than {MAX_DEPTH} levels.")
        tool = msgspec.json.decode(raw, type=McpTool)
    except _UNREADABLE as error:
        raise RuleBroken(f"The definition cannot be read: {error}.") from None
    _check_words(tool, module_id)
    _check_permission(tool.required_permission, module_id)
    _check_schema(tool.input_schema)
    _check_request(tool.request, tool.input_schema)
    if unknown := tool.annotations.keys() - _HINTS:
        raise RuleBroken(f"The annotations hold unknown hints: {', '.join(sorted(unknown))[:80]}.")
    if tool.output_schema is not None and tool.output_schema.get("type") != "object":
        raise RuleBroken("The output schema is not that of an object.")
    return _definition(tool, module_id, origin)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _check_words(tool: McpTool, module_id: str) -> None:
    if not _MODULE_ID.match(module_id):
        raise RuleBroken("The module id is malformed.")
    if not _NAME.match(tool.name) or not 3 <= len(tool.name) <= 48:
        raise RuleBroken("The name is not snake case of 3 to 48 characters.")
    if not tool.name.startswith(prefix(module_id)):
        raise RuleBroken(f"The name does not start with {prefix(module_id)}.")
    if tool.name.startswith(("tools_", "scaimcp_")):
        raise RuleBroken("The prefix is the gateway's own.")
    if not 2 <= len(tool.title.split()) <= 5:
        raise RuleBroken("The title is not 2 to 5 words.")
    if not 60 <= len(tool.description) <= 300:
        raise RuleBroken("The description is not 60 to 300 characters.")


def _check_permission(permission: str, module_id: str) -> None:
    module, _, key = permission.partition(":")
    is_own = module == module_id and bool(key)
    if permission and permission not in CORE_PERMISSIONS and not is_own:
        raise RuleBroken("The permission is neither a core permission nor one of this module.")


def _check_request(request: McpRequest, schema: dict[str, Any]) -> None:
    path = PLACE.sub("x", request.path)
    if not _PATH.match(path) or not {".", ".."}.isdisjoint(path.split("/")):
        raise RuleBroken("The path is not relative to the module.")
    properties = schema.get("properties", {})
    places = set(PLACE.findall(request.path))
    if {*places, *request.query, *request.files} - properties.keys():
        raise RuleBroken("The request uses arguments that the schema does not declare.")
    if places - set(schema.get("required", ())):
        raise RuleBroken("An argument in the path is not required.")
    if request.files and request.method in ("GET", "DELETE"):
        raise RuleBroken("A request without a body has no files.")
    if any(properties[name]["type"] != "string" for name in request.files):
        raise RuleBroken("A file argument is no string.")
    if not 1 <= request.timeout_seconds <= 600:
        raise RuleBroken("timeout_seconds is not between 1 and 600.")


def _check_schema(schema: dict[str, Any]) -> None:
    if schema.get("type") != "object" or schema.get("additionalProperties") is not False:
        raise RuleBroken("The input schema is not a closed object.")
    if len(msgspec.json.encode(schema)) > _SCHEMA_BYTES:
        raise RuleBroken("The input schema is larger than 6 KiB.")
    try:
        compile_arguments(schema)
    except SchemaError as error:
        raise RuleBroken(f"The input schema breaks a rule: {error}.") from None


def _definition(tool: McpTool, module_id: str, origin: str) -> ToolDefinition:
    hints = tool.annotations
    names = set(tool.input_schema.get("properties", {}))
    return ToolDefinition(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema={"properties": {}, **tool.input_schema},
        hints=Hints(
            hints.get("readOnlyHint", False),
            hints.get("destructiveHint", True),
            hints.get("idempotentHint", False),
            hints.get("openWorldHint", True),
        ),
        permission=tool.required_permission,
        result=Result(_KINDS[tool.result]),
        output_schema=tool.output_schema or {"type": "object"},
        request=RestRequest(
            tool.request.method,
            f"/v1/modules/{module_id}{tool.request.path}",
            query=tool.request.query,
            body="multipart" if tool.request.files or tool.request.body == "form" else "json",
            files=tuple(tool.request.files.items()),
            timeout_seconds=tool.request.timeout_seconds,
        ),
        module_id=module_id,
        origin=origin,
        sensitive=SENSITIVE_ARGUMENTS & names,
    )
