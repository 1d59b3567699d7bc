"""The OpenAPI 3.1 document of the REST surface, generated from the routes themselves."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from scaimcp.rest.responses import plain
from scaimcp.rest.routes import RestRoute

_REFERENCE = "#/components/schemas/{name}"
_CONVERTER = re.compile(r":\w+}")
_MEANINGS = {
    304: "Not modified.",
    400: "The body is not one JSON object.",
    401: "No bearer, or one that is not accepted; see WWW-Authenticate.",
    403: "The caller lacks the permission.",
    404: "Not found.",
    409: "The state of things forbids it; code and details say what.",
    412: "The version named by If-Match is not the current one.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "A parameter is not valid.",
    428: "If-Match is missing.",
    429: "Too many requests; see Retry-After.",
    502: "The platform's answer cannot be used.",
    503: "Not available now; see Retry-After.",
}


class ErrorDetail(msgspec.Struct, frozen=True):
    """One fault."""

    field: str
    message: str


class ErrorBody(msgspec.Struct, frozen=True):
    """What went wrong; ``code`` is stable."""

    code: str
    message: str
    retry_after: int | None = None
    details: list[ErrorDetail] = []


class Meta(msgspec.Struct, frozen=True):
    """Of every enveloped answer."""

    request_id: str


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """Every error below ``/v1``."""

    status: str
    error: ErrorBody
    meta: Meta


def document(routes: tuple[RestRoute, ...], version: str) -> dict[str, Any]:
    """Return the document of `routes`."""
    types = [kind for route in routes for kind in _described(route)]
    schemas, components = msgspec.json.schema_components(
        [*types, ErrorEnvelope, Meta], ref_template=_REFERENCE
    )
    described = iter(schemas)
    paths: dict[str, Any] = {}
    for route in routes:
        found = [next(described) for _ in _alternatives(route)]
        schema = found[0] if len(found) == 1 else {"anyOf": found}
        operation = _operation(route, schema)
        if route.body is not None:
            content = {"application/json": {"schema": next(described)}}
            operation["requestBody"] = {"required": True, "content": content}
        # How a parameter is matched is the router's affair.
        path = _CONVERTER.sub("}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ScaiMCP",
            "version": version,
            "description": "REST beside the MCP endpoint: catalogue, explanations, metadata.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _alternatives(route: RestRoute) -> tuple[Any, ...]:
    return route.data if isinstance(route.data, tuple) else (route.data,)


def _described(route: RestRoute) -> tuple[Any, ...]:
    return _alternatives(route) if route.body is None else (*_alternatives(route), route.body)


def _operation(route: RestRoute, schema: dict[str, Any]) -> dict[str, Any]:
    if route.is_enveloped:
        schema = {
            "type": "object",
            "properties": {
                "status": {"const": "ok"},
                "data": schema,
                "meta": {"$ref": _REFERENCE.format(name="Meta")},
            },
            "required": ["status", "data", "meta"],
        }
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "security": [{"bearer": []}] if route.needs_bearer else [],
        "responses": {
            str(route.status): _success(route, schema),
            **{str(status): _error(status, route) for status in route.errors},
        },
    }
    if route.parameters:
        operation["parameters"] = [
            {
                "name": parameter.name,
                "in": parameter.place,
                "description": parameter.description,
                "required": parameter.is_required,
                "schema": {"type": "string"},
            }
            for parameter in route.parameters
        ]
    return operation


def _success(route: RestRoute, schema: dict[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": "Success."}
    if route.status != 204:
        described["content"] = {route.media_type: {"schema": schema}}
    if route.headers:
        described["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in route.headers
        }
    return described


def _error(status: int, route: RestRoute) -> dict[str, Any]:
    described: dict[str, Any] = {"description": _MEANINGS[status]}
    if status >= 400 and route.is_enveloped:
        schema = {"$ref": _REFERENCE.format(name="ErrorEnvelope")}
        described["content"] = {"application/json": {"schema": schema}}
    return described


def openapi_route(routes: tuple[RestRoute, ...], version: str) -> RestRoute:
    """Return the route that serves the document, itself included."""

    async def serve(request: Request) -> Response:
        return plain(described)

    route = RestRoute(
        "GET",
        "/openapi.json",
        "openapi",
        "This document.",
        serve,
        dict[str, Any],
        is_enveloped=False,
        needs_bearer=False,
    )
    described = document((*routes, route), version)
    return route
