"""The few platform tools that the gateway answers in part by itself.

Spec: core-tools 5 ("Model by slug") and 6 (`me_get`, `modules_list`), scaigrid 4.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from scaimcp.auth.verifier import Verifier
from scaimcp.catalog import rawjson
from scaimcp.catalog.capping import cap_list, cap_members
from scaimcp.catalog.definition import ToolDefinition
from scaimcp.catalog.modules import ModuleState
from scaimcp.catalog.reshape import Caps, to_result
from scaimcp.catalog.translate import escape
from scaimcp.errors import PlatformFailure
from scaimcp.scaigrid.client import PlatformAnswer, PlatformClient, PlatformRequest, Trace
from scaimcp.types import Caller, RequestContext, ToolResult

ME_SECONDS = 5.0
_ME_FIELDS = (
    "user",
    "tenant",
    "partner",
    "roles",
    "custom_roles",
    "groups",
    "permissions",
    "module_permissions",
    "auth",
)


class _Model(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(pattern=r"^(?!\.{1,2}$)[A-Za-z0-9._:-]{1,128}$")]


async def fresh_caller(verifier: Verifier, context: RequestContext) -> Caller:
    """Return the identity, asked anew unless it was confirmed within the last five seconds.

    Raises:
        RequestRefused: the bearer is no longer one that the platform is asked about.
        AuthenticationLost: the platform no longer accepts the bearer.
        ToolError: the platform cannot be asked.
    """
    trace = Trace(context.request_id, context.traceparent, context.client_ip)
    return await verifier.confirm(context.bearer.reveal(), trace, max_age=ME_SECONDS)


def me_result(caller: Caller, caps: Caps) -> ToolResult:
    """Return ``me_get``: the platform's own words and where the permissions came from."""
    fields = rawjson.members(rawjson.compact(bytes(caller.profile)))
    fields["permissions_source"] = rawjson.encode(caller.grants.source)
    return ToolResult(cap_members(rawjson.ordered(fields, _ME_FIELDS), caps.chars, (), False))


def modules_result(state: ModuleState, status: str | None, caps: Caps) -> ToolResult:
    """Return ``modules_list`` for a caller who may not read it at the platform.

    Rows hold only ``module_id`` and ``status``; what is merely known to be enabled is ``active``.
    """
    if state.rows:
        rows = [(row.module_id, row.status) for row in state.rows]
    else:
        rows = [(module_id, "active") for module_id in sorted(state.view.active)]
    kept = [
        rawjson.encode({"module_id": module_id, "status": word})
        for module_id, word in rows
        if status is None or word == status
    ]
    return _module_page(kept, state.view.source, caps)


def filtered_modules(
    answer: PlatformAnswer, arguments: dict[str, Any], definition: ToolDefinition, caps: Caps
) -> ToolResult:
    """Return ``modules_list`` from the platform's rows; ``status`` is filtered here."""
    whole = to_result(definition, arguments, answer, Caps(1 << 40, caps.binary_bytes))
    page = msgspec.json.decode(whole.text or b"{}", type=dict[str, msgspec.Raw])
    rows = rawjson.elements(bytes(page["items"]))
    status = arguments.get("status")
    if status is not None:
        wanted = rawjson.encode(status)
        rows = [row for row in rows if rawjson.members(row).get("status") == wanted]
    return _module_page(rows, "platform", caps)


def _module_page(rows: list[bytes], source: str, caps: Caps) -> ToolResult:
    rest = [("has_more", b"false"), ("modules_source", rawjson.encode(source))]
    return ToolResult(cap_list(rows, rest, caps.chars, has_limit=False))


async def model_id(platform: PlatformClient, model: str, context: RequestContext) -> str:
    """Return the id of a model given by slug or id; only a slug with ``/`` is looked up.

    Raises:
        ToolError: the platform does not know the model, or cannot be asked.
    """
    if "/" not in model:
        return model
    request = PlatformRequest("GET", f"/v1/models/{escape(model)}")
    trace = Trace(context.request_id, context.traceparent, context.client_ip)
    answer = await platform.request(request, context.bearer, trace)
    try:
        return msgspec.json.decode(answer.data, type=_Model).id
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise PlatformFailure(
            "PLATFORM_BAD_RESPONSE", "The platform's answer about the model has no id."
        ) from None
