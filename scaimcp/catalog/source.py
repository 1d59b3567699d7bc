"""The platform catalogue as a tool source: snapshot, call, explain.

Spec: core-tools 5–7, scaigrid 4.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from scaimcp.auth.permissions import holds
from scaimcp.auth.verifier import Verifier
from scaimcp.catalog import specials
from scaimcp.catalog.arguments import ArgumentCheck, compile_arguments
from scaimcp.catalog.contributed import Contribution
from scaimcp.catalog.definition import ToolDefinition
from scaimcp.catalog.manifests import Manifests
from scaimcp.catalog.modules import LIST_SECONDS, ModuleDirectory, ModuleState
from scaimcp.catalog.registry import Registry, snapshot
from scaimcp.catalog.reshape import Caps, to_result
from scaimcp.catalog.translate import TranslationFault, path_faults, to_request
from scaimcp.errors import PlatformFailure, ProtocolError, ToolError
from scaimcp.scaigrid.client import PlatformClient, Trace
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.types import RequestContext, Snapshot, Tool, ToolResult

_UNSUPPORTED_SECONDS = 600.0
_SNAPSHOTS = 512
_CHECKS = 4096
_MODULE_SWITCHES = frozenset({"modules_enable", "modules_disable"})
_decode_arguments = msgspec.json.Decoder(dict[str, Any]).decode


class CatalogServices(msgspec.Struct, frozen=True):
    """What the catalogue works with. ``changed`` is told of a tenant whose modules changed."""

    platform: PlatformClient
    verifier: Verifier
    modules: ModuleDirectory
    manifests: Manifests
    changed: Callable[[RequestContext, str], Awaitable[None]]


class CatalogSource:
    """Core tools and module tools, each translated into one REST call."""

    name = "platform"

    def __init__(
        self,
        registry: Registry,
        services: CatalogServices,
        caps: Caps,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._services = services
        self._caps = caps
        self._monotonic = monotonic
        self._snapshots: dict[Any, Snapshot] = {}
        self._checks: dict[int, tuple[ToolDefinition, ArgumentCheck]] = {}
        self._unsupported: dict[str, float] = {}

    @property
    def builtin(self) -> Registry:
        """The tools that need no manifest: built-in ones and those of installed modules."""
        return self._registry

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return what the caller's tenant is offered.

        Args:
            context: who asks.
            max_age: seconds that the known module states may be old.
        """
        state = self._services.modules.known(context.caller, max_age)
        if state is None:
            state = await self._services.modules.state(context, max_age)
        contributions = await self._services.manifests.contributions(context, state)
        return self._built(state, contributions)

    def mark_stale(self, context: RequestContext) -> None:
        """A client connects anew: the next list reads the module states again."""
        self._services.modules.mark_stale(context.caller.tenant_id)

    def _built(self, state: ModuleState, contributions: tuple[Contribution, ...]) -> Snapshot:
        key = (state.view, tuple(contribution.serial for contribution in contributions))
        built = self._snapshots.get(key)
        if built is None:
            registry = self._registry
            if contributions:
                tools = [tool for contribution in contributions for tool in contribution.tools]
                reasons = {n: r for c in contributions for n, r in c.dropped.items()}
                registry = registry.extended(tools, reasons)
            if len(self._snapshots) >= _SNAPSHOTS:
                self._snapshots.clear()
            built = snapshot(registry, state.view, key, self._caps.chars)
            self._snapshots[key] = built
        return built

    def unsupported(self, tool: Tool) -> bool:
        """Tell whether the platform said lately that it has no endpoint for `tool`."""
        return self._unsupported.get(_template(tool.record), 0.0) > self._monotonic()

    async def call(self, tool: Tool, arguments: bytes, context: RequestContext) -> ToolResult:
        """Check the arguments, send the request, shape the answer.

        Args:
            tool: from a snapshot of this source, already admitted.
            arguments: JSON of the arguments; b"" for none.
            context: who calls.

        Raises:
            ToolError: any failure of core-tools 7.
            AuthenticationLost: the platform no longer accepts the bearer.
        """
        definition: ToolDefinition = tool.record
        checked = self._checked(definition, arguments)
        try:
            return await self._perform(definition, checked, context)
        except TranslationFault as faults:
            raise invalid_arguments(faults.faults) from None
        except PlatformFailure as failure:
            raise self._translated(definition, failure, context) from None

    def _checked(self, definition: ToolDefinition, arguments: bytes) -> dict[str, Any]:
        known = self._checks.get(id(definition))
        if known is None:
            if len(self._checks) >= _CHECKS:
                self._checks.clear()
            known = (definition, compile_arguments(definition.input_schema, definition.rules))
            self._checks[id(definition)] = known
        checked, faults = known[1].check(read_arguments(arguments))
        faults = faults or path_faults(definition, checked)
        if faults:
            raise invalid_arguments(faults)
        return checked

    async def _perform(
        self, definition: ToolDefinition, arguments: dict[str, Any], context: RequestContext
    ) -> ToolResult:
        services = self._services
        if definition.name == "me_get":
            return specials.me_result(await specials.fresh_caller(services.verifier, context))
        if definition.name == "modules_list":
            return await self._modules_list(definition, arguments, context)
        if definition.resolves_model:
            model = await specials.model_id(services.platform, arguments["model_id"], context)
            arguments = {**arguments, "model_id": model}
        request = to_request(definition, arguments, context.caller.tenant_slug)
        trace = Trace(context.request_id, context.traceparent, context.client_ip)
        answer = await services.platform.request(request, context.bearer, trace)
        if definition.name in _MODULE_SWITCHES:
            tenant_id = arguments.get("tenant_id") or context.caller.tenant_id
            services.modules.drop(tenant_id)
            await services.changed(context, tenant_id)
        return to_result(definition, arguments, answer, self._caps)

    async def _modules_list(
        self, definition: ToolDefinition, arguments: dict[str, Any], context: RequestContext
    ) -> ToolResult:
        """Answer from the platform where the caller may read it, else from what is known."""
        if holds(context.caller.grants, "modules:use"):
            request = to_request(definition, {}, "")
            trace = Trace(context.request_id, context.traceparent, context.client_ip)
            try:
                answer = await self._services.platform.request(request, context.bearer, trace)
            except PlatformFailure as failure:
                if failure.status != 403:
                    raise
            else:
                return specials.filtered_modules(answer, arguments, definition, self._caps)
        state = await self._services.modules.state(context, LIST_SECONDS)
        return specials.modules_result(state, arguments.get("status"), self._caps)

    def _translated(
        self, definition: ToolDefinition, failure: PlatformFailure, context: RequestContext
    ) -> ToolError:
        """Return the failure as the caller gets it; codes pass unchanged but for two."""
        services = self._services
        if isinstance(failure, AuthenticationLost):
            services.verifier.forget(context.caller.key)
        elif failure.code == "AUTHZ_PERMISSION_DENIED":
            services.verifier.forget(context.caller.key)
            permission = definition.permission or "a permission"
            return ToolError(
                "PERMISSION_DENIED", f"The platform refused {definition.name}: {permission}."
            )
        elif failure.code == "MODULE_NOT_ENABLED":
            services.modules.drop(context.caller.tenant_id)
        elif failure.code == "NOT_SUPPORTED":
            self._unsupported[_template(definition)] = self._monotonic() + _UNSUPPORTED_SECONDS
        elif failure.code == "VALIDATION_ERROR":
            names = _argument_names(definition)
            failure.details = tuple(
                {**d, "field": _renamed(str(d.get("field", "")), names)} for d in failure.details
            )
        return failure


def read_arguments(raw: bytes) -> dict[str, Any]:
    """Return the arguments of a call; absent and null count as none.

    Raises:
        ProtocolError: the arguments are no JSON object (-32602).
    """
    if not raw or raw == b"null":
        return {}
    try:
        return _decode_arguments(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ProtocolError(-32602, "params.arguments must be an object") from None


def invalid_arguments(faults: list[dict[str, str]]) -> ToolError:
    """Return the refusal that names every fault."""
    fields = ", ".join(dict.fromkeys(fault["field"] for fault in faults[:5]))
    return ToolError(
        "INVALID_ARGUMENTS", f"The arguments do not fit: {fields}.", details=tuple(faults)
    )


def _template(definition: ToolDefinition) -> str:
    request = definition.request
    return f"{request.method} {request.path}" if request is not None else ""


def _argument_names(definition: ToolDefinition) -> dict[str, str]:
    """Return wire name → argument name, where they differ."""
    request = definition.request
    if request is None:
        return {}
    names = {field: argument for argument, field in request.files}
    if request.page is not None:
        names |= {request.page[0]: "limit", request.page[1]: "cursor"}
    names |= {"batch": {"input_file_base64": "requests"}, "persona": {"model": "persona_slug"}}.get(
        request.body, {}
    )
    return names


def _renamed(field: str, names: dict[str, str]) -> str:
    head = re.match(r"[A-Za-z0-9_]*", field)
    first = head[0] if head else ""
    return names.get(first, first) + field[len(first) :]
