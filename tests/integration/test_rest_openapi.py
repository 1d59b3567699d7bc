"""/openapi.json: valid, complete in both directions, and checked in as docs/openapi.json.

``SCAIMCP_TEST_WRITE_OPENAPI=1`` writes the file anew.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from starlette.routing import Route

from tests.world import World

CHECKED_IN = Path(__file__).parents[2] / "docs" / "openapi.json"
CONVERTER = re.compile(r":\w+}")
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}


async def document(world: World) -> Any:
    reply = await world.as_(None).get("/openapi.json")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    return reply.json


def operations(found: Any) -> dict[tuple[str, str], Any]:
    return {
        (path, method): operation
        for path, item in found["paths"].items()
        for method, operation in item.items()
    }


async def test_the_document_has_the_structure_of_openapi_3_1(world: World) -> None:
    found = await document(world)
    assert set(found) == {"openapi", "info", "paths", "components"}
    assert found["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(found["info"])
    for (path, method), operation in operations(found).items():
        assert path.startswith("/")
        assert method in METHODS
        assert operation["summary"].endswith(".")
        successes = [status for status in operation["responses"] if status.startswith("2")]
        assert len(successes) == 1, path
        for status, response in operation["responses"].items():
            assert status.isdigit()
            assert response["description"]
        for parameter in operation.get("parameters", ()):
            assert set(parameter) == {"name", "in", "description", "required", "schema"}
            assert parameter["in"] in ("query", "path", "header")
    ids = [operation["operationId"] for operation in operations(found).values()]
    assert len(ids) == len(set(ids))


async def test_every_schema_is_valid_and_every_reference_leads_somewhere(world: World) -> None:
    found = await document(world)
    schemas = found["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for name in references(found):
        assert name in schemas
    assert set(references(found)) == set(schemas)
    schemes = found["components"]["securitySchemes"]
    for operation in operations(found).values():
        for needed in operation["security"]:
            assert set(needed) <= set(schemes)


def references(value: Any) -> set[str]:
    """Return the names of all component schemas that are referred to."""
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(references(item) for item in value))
    return set()


async def test_every_route_is_described_and_every_description_is_a_route(world: World) -> None:
    described = set(operations(await document(world)))
    served = {
        (CONVERTER.sub("}", route.path), method.lower())
        for route in world.app._routes.router.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method not in ("HEAD", "OPTIONS")
    }
    assert described == served
    paths = [route.path for route in world.app._routes.router.routes if isinstance(route, Route)]
    # One route a path, else a 405 would name some of its methods only.
    assert len(set(paths)) == len(paths) == len(world.app._routes.router.routes)


async def test_a_405_names_every_method_of_the_path(world: World) -> None:
    found = await document(world)
    for path, item in found["paths"].items():
        concrete = re.sub(r"{\w+}", "x", path)
        reply = await world.as_("tenant_admin").send(b"", path=concrete, method="TRACE")
        assert reply.status == 405, path
        allowed = set(reply.headers["allow"].replace(" ", "").split(","))
        assert allowed >= {method.upper() for method in item}, path


async def test_what_is_changed_with_if_match_is_read_with_an_etag(world: World) -> None:
    found = await document(world)
    for (path, method), operation in operations(found).items():
        named = {parameter["name"] for parameter in operation.get("parameters", ())}
        if "If-Match" in named and "get" in found["paths"][path]:
            read = found["paths"][path]["get"]["responses"]["200"]
            assert "ETag" in read["headers"], (path, method)


@pytest.mark.parametrize(
    ("role", "path", "template"),
    [
        ("tenant_admin", "/v1/modules/scaimcp/tools", None),
        ("tenant_user", "/v1/modules/scaimcp/explain", None),
        ("tenant_user", "/v1/modules/scaimcp/explain?tool=models_create", None),
        ("tenant_user", "/v1/modules/scaimcp/explain?tool=me_get", None),
        (None, "/.well-known/oauth-protected-resource", None),
        (None, "/.well-known/oauth-protected-resource/mcp", None),
        (None, "/livez", None),
        (None, "/readyz", None),
        (None, "/openapi.json", None),
        ("tenant_user", "/v1/modules/scaimcp/tools", "403"),
        (None, "/v1/modules/scaimcp/tools", "401"),
        ("tenant_user", "/v1/modules/scaimcp/explain?tool=", "422"),
    ],
)
async def test_answers_fit_their_description(
    world: World, role: str | None, path: str, template: str | None
) -> None:
    found = await document(world)
    reply = await world.as_(role).get(path)
    assert str(reply.status) == (template or "200")
    operation = found["paths"][path.partition("?")[0]]["get"]
    content = operation["responses"][str(reply.status)]["content"]["application/json"]
    schema = {**content["schema"], "components": found["components"]}
    jsonschema.validate(reply.json, schema)


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ({"http_status": 401, "code": "AUTH_TOKEN_INVALID"}, 401),
        ({"http_status": 403, "code": "AUTHZ_PERMISSION_DENIED"}, 403),
        ({"rate_limited": True, "retry_after": 1}, 429),
        ({"body": "html"}, 502),
        ({"http_status": 500, "code": "INTERNAL_ERROR"}, 503),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/modules/scaimcp/tools", "/v1/modules/scaimcp/explain"])
async def test_every_way_to_refuse_a_bearer_is_described(
    world: World, rule: dict[str, Any], status: int, path: str
) -> None:
    world.forget()
    await world.fault({"path": "/v1/me", **rule})
    try:
        reply = await world.as_("tenant_admin").get(path)
    finally:
        await world.fault()
        world.forget()
    assert reply.status == status
    operation = (await document(world))["paths"][path]["get"]
    assert str(status) in operation["responses"]


async def test_public_operations_need_no_bearer_and_the_others_do(world: World) -> None:
    for (path, method), operation in operations(await document(world)).items():
        reply = await world.as_(None).send(b"", path=path, method=method.upper())
        assert (reply.status == 401) == bool(operation["security"]), path


async def test_the_checked_in_document_is_the_served_one(world: World) -> None:
    found = await document(world)
    if os.environ.get("SCAIMCP_TEST_WRITE_OPENAPI"):
        CHECKED_IN.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    assert json.loads(CHECKED_IN.read_text(encoding="utf-8")) == found
