"""``/v1/modules/scaimcp``: the catalogue over REST, and why a tool is missing.

Spec: core-tools 8.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.errors import RequestRefused
from scaimcp.gateway.explain import Explainer
from scaimcp.gateway.gateway import Gateway
from scaimcp.gateway.sources import LIST_SECONDS
from scaimcp.gateway.view import EXPLAIN, SEARCH_TOOLS, UnknownOption, parse_view
from scaimcp.rest.access import REFUSALS, Access, demand, id_of
from scaimcp.rest.responses import success
from scaimcp.rest.routes import ETAG, Parameter, RestRoute
from scaimcp.types import RequestContext, Tool

ROOT = "/v1/modules/scaimcp"
_NAME_CHARS = 256


class CatalogueEntry(msgspec.Struct, frozen=True):
    """One tool of the REST catalogue. ``module_id`` is null for core tools."""

    name: str
    description: str
    input_schema: dict[str, Any]
    required_permission: str
    module_id: str | None


class CallerFacts(msgspec.Struct, frozen=True):
    """What is known of the caller."""

    user_id: str
    tenant_id: str | None
    roles: list[str]
    permissions_source: str
    modules_source: str
    identity_age_seconds: int


class CheckFact(msgspec.Struct, frozen=True):
    """One check and what would mend it."""

    check: str
    is_ok: bool
    detail: str
    remedy: str | None = None


class HiddenTool(msgspec.Struct, frozen=True):
    """A tool that the caller does not see, with the first failing check."""

    tool: str
    first_failure: str


class Explanation(msgspec.Struct, frozen=True):
    """Answer with ``tool``: every check up to the first failure."""

    tool: str
    is_listed: bool
    is_callable: bool
    first_failure: str | None
    checks: list[CheckFact]
    suggestions: list[str]
    caller: CallerFacts


class Overview(msgspec.Struct, frozen=True):
    """Answer without ``tool``: how many tools are visible and hidden."""

    visible_count: int
    hidden_count: int
    hidden: list[HiddenTool]
    caller: CallerFacts


class CatalogueResource:
    """Serves the catalogue to administrators and explanations to everyone."""

    def __init__(self, access: Access, gateway: Gateway, explainer: Explainer) -> None:
        self._access = access
        self._gateway = gateway
        self._explainer = explainer

    def routes(self) -> tuple[RestRoute, ...]:
        """Return the routes of this resource."""
        return (
            RestRoute(
                "GET",
                f"{ROOT}/tools",
                "listCatalogue",
                "List every tool, whether this caller may call it or not.",
                self.tools,
                list[CatalogueEntry],
                parameters=(Parameter("module_id", "query", "Only tools of this module."),),
                errors=(304, *REFUSALS),
                headers=(ETAG,),
            ),
            RestRoute(
                "GET",
                f"{ROOT}/explain",
                "explainTool",
                "Say why a tool is missing for this caller, or how many are.",
                self.explain,
                (Explanation, Overview),
                parameters=(
                    Parameter("tool", "query", "Name of the tool; absent for an overview."),
                    Parameter("disclosure", "query", "As in the URL of the MCP endpoint."),
                    Parameter("toolsets", "query", "As in the URL of the MCP endpoint."),
                ),
                errors=(422, *REFUSALS),
            ),
        )

    async def tools(self, request: Request) -> Response:
        """Return the catalogue; ``If-None-Match`` spares an unchanged one."""
        context = await self._access.context(request)
        demand(context, "scaimcp:access")
        entries = await self._entries(context, request.query_params.get("module_id"))
        digest = hashlib.sha256(msgspec.json.encode(entries)).hexdigest()[:32]
        etag = f'"{digest}"'
        headers = {"etag": etag, "cache-control": "private, no-cache"}
        if _has(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        response = success(entries, id_of(request))
        response.headers.update(headers)
        return response

    async def _entries(
        self, context: RequestContext, module_id: str | None
    ) -> list[CatalogueEntry]:
        """Core tools, ``tools_explain`` and module tools, enabled or not, in published order."""
        snapshots = await self._gateway.snapshots(context, LIST_SECONDS)
        tools = [tool for snapshot in snapshots for tool in snapshot.tools]
        listed = [t for t in tools if t.domain != "remote" and t.name not in SEARCH_TOOLS]
        listed.sort(key=_rank)
        return [_entry(t) for t in listed if module_id is None or t.module_id == module_id]

    async def explain(self, request: Request) -> Response:
        """Explain one tool, or count."""
        context = await self._access.context(request)
        try:
            view = parse_view(request.scope["query_string"])
        except UnknownOption as error:
            raise RequestRefused("VALIDATION_ERROR", str(error), http_status=422) from None
        name = request.query_params.get("tool")
        if name is None:
            return success(await self._explainer.overview(context, view), id_of(request))
        if not 1 <= len(name) <= _NAME_CHARS:
            raise RequestRefused(
                "VALIDATION_ERROR",
                "tool must have 1 to 256 characters.",
                http_status=422,
                details=({"field": "tool", "message": "must have 1 to 256 characters"},),
            )
        return success(await self._explainer.explain(context, name, view), id_of(request))


def _has(condition: str, etag: str) -> bool:
    """Tell whether ``If-None-Match`` names `etag`, compared weakly."""
    tags = {tag.strip().removeprefix("W/") for tag in condition.split(",")}
    return not tags.isdisjoint({etag, "*"})


def _rank(tool: Tool) -> int:
    if tool.name == EXPLAIN:
        return 1
    return 0 if tool.module_id is None else 2


def _entry(tool: Tool) -> CatalogueEntry:
    return CatalogueEntry(
        tool.name, tool.description, tool.input_schema, tool.permission, tool.module_id
    )
