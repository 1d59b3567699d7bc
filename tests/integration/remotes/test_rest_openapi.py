"""Answers of the registry fit what the OpenAPI document says of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import jsonschema
import pytest_asyncio

from tests.integration.remotes.rest import ROOT, Registry, body, open_registry
from tests.world import Reply


@pytest_asyncio.fixture(scope="module")
async def registry(database_url: str, redis_url: str) -> AsyncIterator[Registry]:
    async with open_registry(database_url, redis_url) as opened:
        yield opened


class Described:
    """The document, to hold answers against."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def check(self, method: str, path: str, reply: Reply, status: int) -> None:
        """The answer has this status, and the form that is described for it."""
        assert reply.status == status, reply.content
        operation = self._document["paths"][f"{ROOT}{path}"][method]
        described = operation["responses"][str(status)]
        if status == 204:
            assert "content" not in described
            assert reply.content == b""
            return
        schema = described["content"]["application/json"]["schema"]
        components = {"components": self._document["components"]}
        jsonschema.validate(reply.json, {**schema, **components})


async def test_answers_fit_their_description(registry: Registry) -> None:
    document = (await registry.world.as_(None).get("/openapi.json")).json
    described = Described(document)
    owner, manager, user = (registry.as_(who) for who in ("owner", "manager", "user"))
    async with registry.upstream("search") as upstream:
        secret = {"auth_type": "bearer", "credentials": {"authorization": "x"}}
        made = await owner.post(body=body(upstream.url, "mine", **secret))
        described.check("post", "", made, 201)
        given = body(upstream.url, "ours", is_tenant_shared=True)
        ours = (await manager.post(body=given)).json["data"]["id"]
        mine = made.json["data"]["id"]
        one = "/{id}"
        for who in (owner, manager, user):
            described.check("get", "", await who.get("?scope=all"), 200)
            described.check("get", one, await who.get(f"/{ours}"), 200)
        described.check("get", one, await manager.get(f"/{mine}"), 200)
        described.check("get", one, await user.get(f"/{mine}"), 404)
        described.check("post", "", await user.post(body=given), 403)
        described.check("post", "", await manager.post(body=given), 409)
        described.check("post", "", await manager.post(body={}), 422)
        described.check("post", "", await manager.post(body=b"["), 400)
        stale = {"if-match": '"9"'}
        described.check("patch", one, await owner.send("PATCH", f"/{mine}", {}, stale), 412)
        described.check("patch", one, await owner.patch(f"/{mine}", {"description": "x"}), 200)
        for verb in ("refresh", "disable", "enable"):
            described.check("post", f"{one}/{verb}", await owner.post(f"/{mine}/{verb}"), 200)
        described.check("post", f"{one}/approve", await manager.post(f"/{mine}/approve"), 409)
        for path in ("capabilities", "changes", "pins"):
            described.check("get", f"{one}/{path}", await owner.get(f"/{mine}/{path}"), 200)
        field, path = f"/{mine}/credentials/authorization", f"{one}/credentials/{{field}}"
        described.check("put", path, await owner.put(field, {"value": "y"}), 200)
        described.check("delete", path, await owner.delete(field), 204)
        described.check("delete", path, await owner.delete(field), 404)
        described.check("delete", one, await owner.delete(f"/{mine}"), 204)


async def test_bodies_are_described(registry: Registry) -> None:
    document = (await registry.world.as_(None).get("/openapi.json")).json
    content = document["paths"][ROOT]["post"]["requestBody"]["content"]["application/json"]
    schema = {**content["schema"], "components": document["components"]}
    jsonschema.validate(body("https://mcp.example.com/", "one"), schema)
    for bad in ({"name": "one"}, body("https://mcp.example.com/", "one", transport="stdio")):
        assert list(jsonschema.Draft202012Validator(schema).iter_errors(bad))
