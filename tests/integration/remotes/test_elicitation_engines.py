"""Questions through real processes of both engines, until SIGTERM. Spec: remote-servers 8, 12."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from scaimcp.dev.platform import SEED_LOGINS, api_key, serve_platform
from scaimcp.migrating import migrate
from scaimcp.types import Secret
from tests.integration.remotes.askers import HandshakeTools, Log, server_of
from tests.integration.remotes.elicit import ACCEPTED, BOTH, say, streamed
from tests.integration.remotes.servers import KEK, allowed
from tests.integration.upstream import support
from tests.serving.process import Gateway, Launcher
from tests.waiting import until
from tests.world import CAPABILITIES, MODERN, Client

SERVERS = "/v1/modules/scailink/remote-servers"
both = pytest.mark.parametrize("engine", ["uvicorn", "hypercorn"])


@pytest.fixture
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="scaimcp-asking-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest_asyncio.fixture
async def launch(database_url: str, redis_url: str, place: Path) -> AsyncIterator[Launcher]:
    await asyncio.to_thread(migrate, Secret(database_url))
    async with serve_platform(None) as platform:
        launcher = Launcher(platform, database_url, redis_url, place)
        yield launcher
        await launcher.aclose()


async def registered(
    launch: Launcher, http: aiohttp.ClientSession, url: str, engine: str
) -> tuple[Gateway, Client, str]:
    """Start a gateway with one server; return it, a modern client and the tool's name."""
    gateway = await launch(
        SERVER_ENGINE=engine,
        ENCRYPTION_LOCAL_KEK=KEK,
        REMOTE_ALLOWED_PLAINTEXT_HOSTS="127.0.0.1",
        REMOTE_ALLOWED_PRIVATE=allowed(url),
        SERVER_DRAIN_SECONDS="10",
    )
    token = api_key(SEED_LOGINS["tenant_admin"])
    client = Client(http, gateway.url, token, MODERN)
    body = {
        "name": f"Asks {engine}", "endpoint_url": f"{url}/mcp", "auth_type": "none",
        "is_tenant_shared": True,
    }  # fmt: skip
    row = (await client.send(body, path=SERVERS)).json["data"]
    assert row["status"] == "active", row
    return gateway, client, f"{row['name_prefix']}ask"


@both
async def test_users_are_asked_until_the_process_ends(launch: Launcher, engine: str) -> None:
    log = Log()
    app = server_of(HandshakeTools(log)).streamable_http_app(transport_security=support.OPEN)
    async with (
        support.serving(support.without_modern(app)) as url,
        aiohttp.ClientSession() as http,
    ):
        gateway, modern, name = await registered(launch, http, url, engine)
        plain = modern.using(revision="2025-11-25")
        answer = await plain.initialize(capabilities=BOTH)
        client = plain.using(headers={"mcp-session-id": answer.headers["mcp-session-id"]})
        params = {"name": name, "arguments": {}}
        async with streamed(client, "tools/call", params) as stream:
            await say(client, await stream.question(), ACCEPTED)
            done = await stream.answer()
            assert done["result"]["content"][0]["text"] == "accept name='Ada'"
        meta = {"_meta": {CAPABILITIES: BOTH}}
        asked = (await modern.call(name, {}, params=meta)).reply.result
        back = {
            "inputResponses": dict.fromkeys(asked["inputRequests"], ACCEPTED),
            "requestState": asked["requestState"],
        }
        done = (await modern.call(name, {}, params={**meta, **back})).reply.result
        assert done["content"][0]["text"] == "accept name='Ada'"
        held = (await modern.call(name, {}, params=meta)).reply.result
        assert held["resultType"] == "input_required"
        async with streamed(client, "tools/call", params) as stream:
            await stream.question()
            gateway.send()
            ended = await stream.answer()
        assert "ElicitationLostError" in ended["result"]["content"][0]["text"]
        assert await gateway.ended() == 0
        await until(lambda: log.cancelled == ["ask", "ask"])
