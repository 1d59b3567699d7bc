"""Protected-resource metadata, as clients without a token find it."""

import pytest

from scaimcp.app import create_app
from scaimcp.settings import load
from tests.world import Client, World, gateway_environment, listener, serve_app, start_world

FORMS = ["/.well-known/oauth-protected-resource", "/.well-known/oauth-protected-resource/mcp"]
DISCOVER = "/v1/scailink/auth/discover"


@pytest.mark.parametrize("path", FORMS)
async def test_both_forms_name_the_endpoint_and_the_platforms_authorization_server(
    world: World, path: str
) -> None:
    reply = await world.as_(None).get(path)
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    document = reply.json
    assert document["resource"] == f"{world.url}/mcp"
    assert document["bearer_methods_supported"] == ["header"]
    assert document["resource_name"] == "ScaiMCP"
    assert document["authorization_servers"] == [world.platform.url]


@pytest.mark.parametrize("path", FORMS)
async def test_pages_of_any_origin_may_read_it(world: World, path: str) -> None:
    origin = {"origin": "https://client.example"}
    reply = await world.as_(None).get(path, headers=origin)
    assert reply.headers["access-control-allow-origin"] == "*"
    preflight = await world.as_(None).send(
        None,
        path=path,
        method="OPTIONS",
        headers={**origin, "access-control-request-method": "GET", "content-type": None},
    )
    assert (preflight.status, preflight.content) == (204, b"")
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "GET" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "*"


@pytest.mark.parametrize("path", FORMS)
async def test_it_is_read_only_and_bound_to_the_gateways_host(world: World, path: str) -> None:
    assert (await world.as_(None).send({}, path=path)).status == 405
    reply = await world.as_(None).get(path, headers={"host": "evil.example"})
    assert (reply.status, reply.word) == (421, "MISDIRECTED_REQUEST")


async def test_the_challenge_leads_to_it(world: World) -> None:
    challenge = (await world.as_(None).rpc("tools/list")).headers["www-authenticate"]
    address = challenge.partition('resource_metadata="')[2].partition('"')[0]
    assert address == f"{world.url}{FORMS[1]}"
    assert (await world.as_(None).get(FORMS[1])).status == 200


async def test_the_platform_is_asked_once_without_a_credential(
    database_url: str, redis_url: str
) -> None:
    async with start_world(database_url, redis_url) as served:
        for path in (*FORMS, *FORMS):
            await served.as_(None).get(path)
        calls = await served.calls(DISCOVER)
        assert len(calls) == 1
        assert "authorization" not in calls[0]["headers"]


async def test_the_operators_issuer_goes_first(database_url: str, redis_url: str) -> None:
    async with start_world(
        database_url, redis_url, AUTH_ISSUER="https://login.example/realms/scai"
    ) as served:
        document = (await served.as_(None).get(FORMS[0])).json
        assert document["authorization_servers"] == ["https://login.example/realms/scai"]
        assert await served.calls(DISCOVER) == []


@pytest.mark.parametrize(
    "rule",
    [
        {"http_status": 404, "code": "NOT_FOUND"},
        {"http_status": 500, "code": ""},
        {"body": "html"},
        {"body": "empty"},
        {"body": "truncated"},
        {"drop": "before_headers"},
        {"redirect_to": "https://elsewhere.example/"},
    ],
    ids=str,
)
async def test_without_any_source_the_document_names_no_server_and_is_not_kept(
    database_url: str, redis_url: str, rule: dict[str, object]
) -> None:
    async with start_world(database_url, redis_url) as served:
        await served.fault({"path": DISCOVER, **rule})
        reply = await served.as_(None).get(FORMS[1])
        assert reply.status == 200
        assert "authorization_servers" not in reply.json
        assert reply.headers["cache-control"] == "public, max-age=10"
        asked = len(await served.calls(DISCOVER))
        await served.as_(None).get(FORMS[1])
        assert len(await served.calls(DISCOVER)) == asked


async def test_a_platform_that_is_not_there_leaves_the_document_bare(
    database_url: str, redis_url: str
) -> None:
    closed = listener()
    dead = f"http://127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    opened = listener()
    port = opened.getsockname()[1]
    app = create_app(load(gateway_environment(port, dead, database_url, redis_url)))
    async with start_world(database_url, redis_url) as world, serve_app(app, opened):
        client = Client(world.http, f"http://127.0.0.1:{port}", "sgk_" + "0" * 40)
        reply = await client.get(FORMS[0])
        assert reply.status == 200
        assert "authorization_servers" not in reply.json
        refused = await client.rpc("tools/list")
        assert (refused.status, refused.word) == (503, "PLATFORM_UNAVAILABLE")
