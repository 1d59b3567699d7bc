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
from scaimcp.catalog.modules import LIST_SECONDS, ModuleDirectory, ModuleState, scope_of
from scaimcp.catalog.registry import Registry, snapshot
from scaimcp.catalog.reshape import Caps, to_result
from scaimcp.catalog.translate import TranslationFault, path_faults, rest_of, stand_in, to_request
from scaimcp.errors import PlatformFailure, ProtocolError, ToolError
from scaimcp.scaigrid.client import PlatformClient, Trace
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.types import RequestContext, Snapshot, Tool, ToolResult

_UNSUPPORTED_SECONDS = 600.0
_SNAPSHOTS = 512
_CHECKS = 4096
_MODULE_SWITCHES = frozenset({"modules_enable", "modules_disable"})
_SPECIAL = _MODULE_SWITCHES | {"me_get", "modules_list"}
# Body field → argument, by kind of body.
_WIRE_NAMES = {"batch": {"input_file_base64": "requests"}, "persona": {"model": "persona_slug"}}
_decode_arguments = msgspec.json.Decoder(dict[str, Any]).decode


class CatalogServices(msgspec.Struct, frozen=True):
    """What the catalogue works with.

    ``changed`` is told whose modules changed: a tenant's id, the scope of a user without one, or
    "" where it may be any tenant's.
    """

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

    def known(self, context: RequestContext, max_age: float) -> Snapshot | None:
        """Return the snapshot if neither modules nor manifests have to be read for it."""
        state = self._services.modules.known(context.caller, max_age)
        if state is None:
            return None
        contributions = self._services.manifests.known(context.caller, state)
        return self._built(state, contributions) if contributions is not None else None

    async def snapshot(self, context: RequestContext, max_age: float) -> Snapshot:
        """Return what the caller's tenant is offered.

        Args:
            context: who asks.
            max_age: seconds that the known module states may be old.
        """
        state = self._services.modules.known(context.caller, max_age)
        if state is None:
            state = await self._services.modules.state(context, max_age)
        services = self._services
        contributions = await services.manifests.contributions(
            context, state, services.verifier.forget
        )
        return self._built(state, contributions)

    def mark_stale(self, context: RequestContext) -> None:
        """A client connects anew: the next list reads the module states again."""
        self._services.modules.mark_stale(scope_of(context.caller))

    def _built(self, state: ModuleState, contributions: tuple[Contribution, ...]) -> Snapshot:
        key = (state.view, tuple([contribution.serial for contribution in contributions]))
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
            if definition.resolves_model or definition.name in _SPECIAL:
                return await self._perform(definition, checked, context)
            request = to_request(definition, checked, context.caller.tenant_slug)
            trace = Trace(context.request_id, context.traceparent, context.client_ip)
            answer = await self._services.platform.request(request, context.bearer, trace)
            return to_result(definition, checked, answer, self._caps)
        except TranslationFault as faults:
            raise invalid_arguments(faults.faults) from None
        except PlatformFailure as failure:
            raise self._translated(definition, checked, failure, context) from None

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
        """Call one of the few tools that take more than one request, or none."""
        services = self._services
        if definition.name == "me_get":
            caller = await specials.fresh_caller(services.verifier, context)
            return specials.me_result(caller, self._caps)
        if definition.name == "modules_list":
            return await self._modules_list(definition, arguments, context)
        sent = arguments
        if definition.resolves_model:
            model = await specials.model_id(services.platform, arguments["model_id"], context)
            sent = {**arguments, "model_id": model}
        request = to_request(definition, sent, context.caller.tenant_slug)
        trace = Trace(context.request_id, context.traceparent, context.client_ip)
        try:
            answer = await services.platform.request(request, context.bearer, trace)
        except PlatformFailure as failure:
            # Without a status the platform may have done it all the same.
            if definition.name in _MODULE_SWITCHES and not failure.status:
                await self._switched(arguments, context)
            raise
        if definition.name in _MODULE_SWITCHES:
            await self._switched(arguments, context)
        return to_result(definition, arguments, answer, self._caps)

    async def _switched(self, arguments: dict[str, Any], context: RequestContext) -> None:
        """A module was switched: what is known of the modules it concerns does not count."""
        scope = arguments.get("tenant_id") or scope_of(context.caller)
        if arguments.get("scope") == "partner":
            self._services.modules.drop_all()
            await self._services.changed(context, "")
        self._services.modules.drop(scope)
        await self._services.changed(context, scope)

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
        self,
        definition: ToolDefinition,
        arguments: dict[str, Any],
        failure: PlatformFailure,
        context: RequestContext,
    ) -> ToolError:
        """Return the failure as the caller gets it; codes pass unchanged but for two."""
        services = self._services
        if isinstance(failure, AuthenticationLost):
            services.verifier.forget(context.caller.key)
        elif failure.code == "AUTHZ_PERMISSION_DENIED":
            services.verifier.forget(context.caller.key)
            permission = definition.permission or "a permission"
            refusal = ToolError(
                "PERMISSION_DENIED", f"The platform refused {definition.name}: {permission}."
            )
            refusal.request_id = failure.request_id
            return refusal
        elif failure.code == "MODULE_NOT_ENABLED":
            services.modules.drop(scope_of(context.caller))
        elif failure.code == "NOT_SUPPORTED":
            self._unsupported[_template(definition)] = self._monotonic() + _UNSUPPORTED_SECONDS
        elif failure.code == "VALIDATION_ERROR":
            rename = _renaming(definition, arguments)
            failure.details = tuple(
                {**detail, "field": rename(detail["field"])} if "field" in detail else detail
                for detail in failure.details
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
    request = rest_of(definition)
    return f"{request.method} {request.path}"


def _renaming(definition: ToolDefinition, arguments: dict[str, Any]) -> Callable[[str], str]:
    """Return how the platform's field names become those of the caller's arguments."""
    request = rest_of(definition)
    if request.body == "config":
        return lambda field: f"config.{field}"
    names = dict(_WIRE_NAMES.get(request.body, {}))
    for argument, field in request.files:
        is_given = argument in arguments
        names[field] = argument if is_given else stand_in(definition, argument) or argument
    if request.page is not None:
        names |= dict(zip(request.page, ("limit", "cursor"), strict=True))

    def rename(field: str) -> str:
        first = re.split(r"\W", field, maxsplit=1)[0]
        return names.get(first, first) + field[len(first) :]

    return rename
