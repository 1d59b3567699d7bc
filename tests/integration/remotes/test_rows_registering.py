"""Bad input and faults while servers are registered: rows 5 to 29 of docs/faults-remote.md.

What each refusal says is in test_rest_bodies.py; here it is what it leaves behind, and what the
network and the database do meanwhile.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.remotes.serving import RemoteServices
from scaimcp.remotes.watching.probing import Probed
from tests.integration.rawserver import serve_raw
from tests.integration.remotes import registry as rows
from tests.integration.remotes.rest import ROOT, Registry, Rest, body, open_registry
from tests.integration.remotes.servers import Upstream
from tests.serving.certificate import make_certificate
from tests.world import MODERN, serve_at

SECRET = "ntn_never_stored"
MOVING = "moving.example.com"
INVALID, FORBIDDEN = "SCAILINK_ENDPOINT_INVALID", "SCAILINK_ENDPOINT_FORBIDDEN"


class Names:
    """What names resolve to in the gateway; every other one has no address."""

    def __init__(self) -> None:
        self.known: dict[str, Sequence[str]] = {}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return self.known[host]


def remotes(registry: Registry) -> RemoteServices:
    services = registry.world.app.services
    assert services is not None
    assert services.remotes is not None
    return services.remotes


def resolving(registry: Registry) -> Names:
    """Have the gateway resolve names by a table."""
    names = Names()
    remotes(registry).parts.http._resolver._lookup = names
    return names


@pytest_asyncio.fixture(scope="module")
async def registry(database_url: str, redis_url: str) -> AsyncIterator[Registry]:
    async with open_registry(
        database_url,
        redis_url,
        REMOTE_ALLOWED_PRIVATE="127.0.0.1:*",
        REMOTE_ALLOWED_PLAINTEXT_HOSTS=f"127.0.0.1,{MOVING}",
        REMOTE_MAX_SERVERS_PER_TENANT="100",
    ) as opened:
        yield opened


@pytest_asyncio.fixture
async def owner(registry: Registry) -> Rest:
    await registry.fresh()
    return registry.as_("owner")


@pytest.fixture
def names(registry: Registry) -> Names:
    return resolving(registry)


async def stored(registry: Registry) -> list[int]:
    """How many rows there are of servers, their state and their credentials."""
    tables = ("remote_servers", "remote_server_state", "remote_credentials")
    return [(await registry.fetch(f"SELECT count(*) FROM {table}"))[0][0] for table in tables]


async def failed(registry: Registry, server_id: str) -> tuple[Any, ...]:
    columns = "status, last_health_status, consecutive_failures"
    statement = f"SELECT {columns} FROM remote_server_state WHERE server_id = $1"
    return tuple((await registry.fetch(statement, server_id))[0])


# --- refused: nothing is stored, nobody is asked ----------------------------------------------

GOOD = "https://mcp.example.com/mcp"
REFUSED: dict[str, tuple[Any, int, str]] = {
    "5 no json": (b"{", 400, "INVALID_JSON"),
    "5 an array": (b"[]", 400, "INVALID_JSON"),
    "5 a key twice": (b'{"name":"a","name":"b"}', 400, "INVALID_JSON"),
    "6 too large": (b'{"name":"' + b"x" * 300 * 1024 + b'"}', 413, "PAYLOAD_TOO_LARGE"),
    "7 an unknown field": (body(GOOD, consent_teir="auto"), 422, "VALIDATION_ERROR"),
    "7 a boolean as text": (body(GOOD, is_tenant_shared="true"), 422, "VALIDATION_ERROR"),
    "8 empty": (body(GOOD, ""), 422, "VALIDATION_ERROR"),
    "8 long": (body(GOOD, "x" * 101), 422, "VALIDATION_ERROR"),
    "8 punctuation": (body(GOOD, "!?"), 422, "VALIDATION_ERROR"),
    "8 right to left": (body(GOOD, "a\u202eb"), 422, "VALIDATION_ERROR"),
    "14 http": (body("http://mcp.example.com/mcp"), 422, INVALID),
    "14 ftp": (body("ftp://mcp.example.com/mcp"), 422, INVALID),
    "14 relative": (body("/mcp"), 422, INVALID),
    "14 user": (body("https://u:p@mcp.example.com/"), 422, INVALID),
    "14 fragment": (body("https://mcp.example.com/#f"), 422, INVALID),
    "14 backslash": (body("https://mcp.example.com\\mcp"), 422, INVALID),
    "15 loopback 6": (body("https://[::1]/mcp"), 422, FORBIDDEN),
    "15 hexadecimal": (body("https://0x7f.1/mcp"), 422, FORBIDDEN),
    "15 one number": (body("https://2130706433/mcp"), 422, FORBIDDEN),
    "15 localhost": (body("https://localhost/mcp"), 422, FORBIDDEN),
    "15 one label": (body("https://db/mcp"), 422, FORBIDDEN),
    "15 internal": (body("https://x.internal/mcp"), 422, FORBIDDEN),
    "21 a key in the URL": (body(f"{GOOD}?api_key={SECRET}"), 422, INVALID),
    "22 no bearer": (body(GOOD, auth_type="bearer"), 422, "VALIDATION_ERROR"),
    "23 a header of ours": (
        body(GOOD, auth_type="api_key_header", credentials={"x-scaigrid-user": SECRET}),
        422,
        "VALIDATION_ERROR",
    ),
    "25 one header twice": (
        body(GOOD, auth_type="api_key_header", credentials={"X-K": SECRET, "x-k": SECRET}),
        422,
        "VALIDATION_ERROR",
    ),
}


@pytest.mark.row(5, 6, 7, 8, 14, 15, 21, 22, 23, 25)
@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_is_neither_stored_nor_contacted(
    registry: Registry, owner: Rest, names: Names, case: str
) -> None:
    given, status, code = REFUSED[case]
    names.known["mcp.example.com"] = ["127.0.0.1"]
    before = await stored(registry)
    reply = await owner.post(body=given)
    assert (reply.status, reply.word) == (status, code)
    assert SECRET.encode() not in reply.content
    assert await stored(registry) == before
    assert names.asked == []


# --- names that are taken ---------------------------------------------------------------------


@pytest.mark.row(11)
async def test_a_repeat_meets_the_row_whatever_key_it_brings(
    registry: Registry, owner: Rest
) -> None:
    """There are no idempotency keys yet: a repeat is told apart by its name."""
    url, key = registry.closed(), {"idempotency-key": "once"}
    first = await owner.send("POST", "", body(url, "repeated"), key)
    again = await owner.send("POST", "", body(url, "repeated"), key)
    other = await owner.send("POST", "", body(url, "repeated otherwise"), key)
    assert [reply.status for reply in (first, again, other)] == [201, 409, 201]
    assert again.word == "SLUG_CONFLICT"
    assert again.json["error"]["details"][0]["id"] == first.json["data"]["id"]
    assert "idempotency-replayed" not in again.headers


@pytest.mark.row(13)
async def test_twenty_at_once_never_make_more_than_a_hundred(registry: Registry) -> None:
    await registry.fresh()
    manager, url = registry.as_("manager"), registry.closed()
    # One through the gateway, which knows the tenant; the others as rows.
    first = await manager.registered(url, "number 0", is_tenant_shared=True)
    services = registry.world.app.services
    assert services is not None
    there = await registry.fetch(
        "SELECT count(*) FROM remote_servers WHERE tenant_id = $1", first["tenant_id"]
    )
    for n in range(95 - there[0][0]):
        await rows.put(services.database, rows.shared(first["tenant_id"], f"row{n}"))
    replies = await asyncio.gather(
        *(manager.post(body=body(url, f"late {n}", is_tenant_shared=True)) for n in range(20))
    )
    assert sorted(reply.status for reply in replies) == [201] * 5 + [409] * 15
    assert {reply.word for reply in replies if reply.status == 409} == {"QUOTA_EXCEEDED"}
    there = await registry.fetch(
        "SELECT count(*) FROM remote_servers WHERE tenant_id = $1", first["tenant_id"]
    )
    assert there[0][0] == 100
    await registry.fetch("DELETE FROM remote_servers RETURNING id")


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.row(16)
@pytest.mark.parametrize("answers", [["10.0.0.5"], ["93.184.216.34", "10.0.0.5"]])
async def test_a_name_that_leads_inside_is_refused_over_rest(
    registry: Registry, owner: Rest, names: Names, answers: list[str]
) -> None:
    names.known["mcp.example.com"] = answers
    before = await stored(registry)
    reply = await owner.post(body=body(GOOD, f"inside {len(answers)}"))
    assert (reply.status, reply.word) == (422, FORBIDDEN)
    assert not any(answer.encode() in reply.content for answer in answers)
    assert await stored(registry) == before
    # Judged once, and never looked up again to connect.
    assert names.asked == ["mcp.example.com"]


@pytest.mark.row(17)
async def test_a_name_that_turns_private_fails_its_checks_and_calls(
    registry: Registry, owner: Rest, names: Names
) -> None:
    async with serve_raw() as raw:
        upstream = Upstream(raw)
        play = raw.default

        async def once(writer: Any) -> None:
            await play(writer)
            writer.close()

        raw.default = once
        names.known[MOVING] = ["127.0.0.1"]
        url = upstream.url.replace("127.0.0.1", MOVING)
        server = await owner.registered(url, "moving")
        assert server["status"] == "active"
        connected = raw.connections
        names.known[MOVING] = ["10.0.0.5"]
        called = await owner.client.call(f"{server['name_prefix']}search")
        assert called.code == "EndpointForbiddenError"
        for n in (1, 2, 3):
            probed = await probe(registry, server)
            assert probed == Probed("failed", "EndpointForbiddenError")
            expected = "error" if n == 3 else "active"
            assert await failed(registry, server["id"]) == (expected, probed.error_class, n)
        assert raw.connections == connected
        actions = [action for action, _ in await registry.audited(server["id"])]
        assert "remote_endpoint.refuse" in actions


async def probe(registry: Registry, server: dict[str, Any]) -> Probed:
    await registry.fetch(
        "UPDATE remote_server_state SET next_check_at = now(), last_call_ok_at = NULL"
        " WHERE server_id = $1 RETURNING 1",
        server["id"],
    )
    return await remotes(registry).parts.prober.probe(server["tenant_id"], server["id"])


METADATA = ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16"]


@pytest.mark.row(18)
async def test_metadata_is_closed_though_every_private_address_is_open(
    database_url: str, redis_url: str
) -> None:
    async with open_registry(
        database_url, redis_url, REMOTE_ALLOWED_PRIVATE="0.0.0.0/0:*,::/0:*"
    ) as opened:
        owner, names = opened.as_("owner"), resolving(opened)
        for host in METADATA:
            reply = await owner.post(body=body(f"https://{host}/mcp", "metadata"))
            assert (reply.status, reply.word) == (422, FORBIDDEN), host
            names.known["mcp.example.com"] = [host.strip("[]")]
            reply = await owner.post(body=body(GOOD, "metadata"))
            assert (reply.status, reply.word) == (422, FORBIDDEN), host
        found = await opened.fetch("SELECT 1 FROM remote_servers WHERE name = 'metadata'")
        assert found == []


# --- servers that cannot be reached -----------------------------------------------------------


async def unreached(registry: Registry, owner: Rest, url: str, error_class: str) -> None:
    """Register a server; it must be there, in error."""
    reply = await owner.post(body=body(url, f"unreached {error_class}"))
    assert reply.status == 201, reply.content
    data = reply.json["data"]
    assert (data["status"], data["status_reason"]) == ("error", None)
    assert (data["last_health_status"], data["consecutive_failures"]) == (error_class, 1)
    assert await failed(registry, data["id"]) == ("error", error_class, 1)


@pytest.mark.row(19)
async def test_a_name_without_an_address_is_registered_in_error(
    registry: Registry, owner: Rest, names: Names
) -> None:
    await unreached(registry, owner, "https://nowhere.example.com/mcp", "DNSError")
    assert "nowhere.example.com" in names.asked


@pytest.mark.row(19)
async def test_a_closed_port_is_registered_in_error(registry: Registry, owner: Rest) -> None:
    await unreached(registry, owner, registry.closed(), "ConnectError")


@pytest.mark.row(19)
async def test_a_bad_certificate_is_registered_in_error(
    registry: Registry, owner: Rest, tmp_path: Path
) -> None:
    make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    async with serve_raw(context) as raw:
        await unreached(registry, owner, f"{raw.url}/mcp", "TLSError")
        assert raw.seen == []


# --- gateways behind gateways -----------------------------------------------------------------


@pytest.mark.row(20)
@pytest.mark.parametrize("path", ["/mcp", "/", "/mcp/c/cfg_1", "/v1/modules?x=1"])
async def test_every_address_of_the_gateway_itself_is_refused(
    registry: Registry, owner: Rest, path: str
) -> None:
    before = await stored(registry)
    reply = await owner.post(body=body(f"{registry.world.url}{path}", "myself"))
    assert (reply.status, reply.word) == (422, FORBIDDEN)
    assert await stored(registry) == before


@pytest.mark.row(20)
async def test_a_chain_of_gateways_ends_at_the_third(registry: Registry, owner: Rest) -> None:
    """The gateway stands behind a relay, so that it does not know itself, and calls itself."""
    seen: list[tuple[str, int]] = []
    async with relay(registry, seen) as url:
        token = owner.client.token
        server = await owner.registered(
            f"{url}?disclosure=search",
            "loop",
            auth_type="bearer",
            credentials={"authorization": token},
        )
        assert server["status"] == "active", server["last_error_message"]
        again = f"{server['name_prefix']}tools_call"
        given: dict[str, Any] = {"name": "me_get", "arguments": {}}
        client = owner.client.using(revision=MODERN)
        codes = []
        for _ in range(4):
            seen.clear()
            reply = (await client.call(given["name"], given["arguments"])).reply
            seen.sort()
            codes.append([status for _, status in seen])
            assert [hops for hops, _ in seen] == [str(n + 1) for n in range(len(seen))]
            assert reply.result["isError"] is (len(seen) == 3)
            given = {"name": again, "arguments": given}
        assert codes == [[], [200], [200, 200], [200, 200, 508]]


@asynccontextmanager
async def relay(registry: Registry, seen: list[tuple[str, int]]) -> AsyncIterator[str]:
    """Pass MCP requests on to the gateway; note hops and status of every call."""
    world = registry.world

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for word in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{word}.complete"})
            return
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        hops = headers["x-scaimcp-hops"]
        kept = {n: value for n, value in headers.items() if n not in ("host", "connection")}
        url = f"{world.mcp_url}?{scope['query_string'].decode()}"
        async with world.http.post(url, data=body, headers=kept) as answer:
            content = await answer.read()
            if headers.get("mcp-method") == "tools/call":
                seen.append((hops, answer.status))
            lines = [(b"content-type", answer.headers["content-type"].encode())]
            start = {"type": "http.response.start", "status": answer.status, "headers": lines}
        await send(start)
        await send({"type": "http.response.body", "body": content})

    async with serve_at(world.place(), app) as origin:
        yield f"{origin}/mcp"


# --- ids --------------------------------------------------------------------------------------

READS = ("", "/capabilities", "/changes", "/pins", "/changes/chg_x")
STRANGE = ("rs_x%2Fy", "..%2f..%2Fme", "%2F", "%252F", "%00", "rs_x.y", "%F0%9F%98%80", "x" * 3000)


@pytest.mark.row(29)
@pytest.mark.parametrize("strange", STRANGE, ids=lambda text: text[:12])
async def test_a_malformed_id_is_the_404_of_a_foreign_one(
    registry: Registry, owner: Rest, strange: str
) -> None:
    other = registry.as_("other_owner")
    foreign = (await other.registered(registry.closed(), f"{strange[:9]}f"))["id"]
    for path in READS:
        bodies = set()
        for server_id in (foreign, strange, "rs_00000000000000000000000000"):
            where = f"{ROOT}/{server_id}{path}"
            reply = await owner.get(where)
            assert (reply.status, reply.word) == (404, "SCAILINK_SERVER_NOT_FOUND"), where
            bodies.add(reply.content.replace(reply.headers["x-request-id"].encode(), b""))
        assert len(bodies) == 1
    for verb in ("refresh", "disable", "enable"):
        reply = await owner.post(f"/{strange}/{verb}")
        assert (reply.status, reply.word) == (404, "SCAILINK_SERVER_NOT_FOUND")
    for method, given in (("PATCH", {"name": "x"}), ("DELETE", None)):
        reply = await owner.send(method, f"/{strange}", given)
        assert (reply.status, reply.word) == (404, "SCAILINK_SERVER_NOT_FOUND")
    alias = await owner.get(f"/v1/modules/scailink/registrations/{strange}")
    assert (alias.status, alias.word) == (404, "SCAILINK_SERVER_NOT_FOUND")


@pytest.mark.row(29)
async def test_a_slash_in_any_other_id_is_no_other_path(registry: Registry, owner: Rest) -> None:
    server = await owner.registered(registry.closed(), "slashed")
    path = f"/{server['id']}"
    for method, where, code in (
        ("GET", f"{path}/changes/chg_1%2Fx", "SCAILINK_CHANGE_NOT_FOUND"),
        ("DELETE", f"{path}/credentials/x%2fy", "SCAILINK_CREDENTIAL_NOT_FOUND"),
        ("GET", "/v1/modules/scailink/approvals/apr_1%2Fx", "SCAILINK_APPROVAL_NOT_FOUND"),
    ):
        reply = await owner.send(method, where)
        assert (reply.status, reply.word) == (404, code), where
    # What is no path at all still is none.
    assert (await owner.get(f"{path}/nothing/there")).word == "NOT_FOUND"


# --- credentials ------------------------------------------------------------------------------


@pytest.mark.row(34)
async def test_the_last_of_several_headers_takes_the_server_out_of_service(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream() as upstream:
        keys = {"auth_type": "api_key_header", "credentials": {"x-a": "1", "x-b": "2"}}
        server = await owner.registered(upstream.url, "stripped", **keys)
        for field, status in (("x-a", "active"), ("x-b", "error")):
            reply = await owner.delete(f"/{server['id']}/credentials/{field}")
            assert (reply.status, reply.content) == (204, b"")
            assert (await owner.get(f"/{server['id']}")).json["data"]["status"] == status
        assert (await failed(registry, server["id"]))[1] == "CredentialMissingError"
        asked = len(upstream.seen)
        called = await owner.client.call(f"{server['name_prefix']}search")
        assert called.code == "REMOTE_SERVER_UNAVAILABLE"
        assert len(upstream.seen) == asked


@pytest.mark.row(52)
async def test_a_new_value_revives_a_server_that_refused_the_old_one(
    registry: Registry, owner: Rest
) -> None:
    async with registry.upstream(token="ntn_1") as upstream:
        bearer = {"auth_type": "bearer", "credentials": {"authorization": "ntn_1"}}
        server = await owner.registered(upstream.url, "rotated elsewhere", **bearer)
        upstream.token = "ntn_2"
        for n in (1, 2, 3):
            assert await probe(registry, server) == Probed("failed", "AuthenticationError")
            status = "error" if n == 3 else "active"
            assert await failed(registry, server["id"]) == (status, "AuthenticationError", n)
        given = {"value": "ntn_2"}
        put = await owner.put(f"/{server['id']}/credentials/authorization", given)
        assert put.status == 200
        assert await registry.has_job(f"discover-now:{server['id']}")
        # What the job does.
        await remotes(registry).parts.discoverer.discover(
            server["tenant_id"], server["id"], source="discovery", seconds=10
        )
        assert await failed(registry, server["id"]) == ("active", "ok", 0)
        assert not (await owner.client.call(f"{server['name_prefix']}search")).is_error


# --- the database goes away -------------------------------------------------------------------


@pytest.mark.row(68)
async def test_a_registration_whose_connection_ends_is_503_and_leaves_nothing(
    registry: Registry, owner: Rest
) -> None:
    services = registry.world.app.services
    assert services is not None
    given = body(registry.closed(), "failing over")
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    async with services.database.transaction() as connection:
        # The insert waits behind this one, and then its connection is gone.
        await connection.execute("LOCK TABLE remote_servers IN ACCESS EXCLUSIVE MODE")
        task = asyncio.get_running_loop().create_task(owner.post(body=given))
        pids: list[int] = []
        async with asyncio.timeout(10):
            while not pids:
                pids = [row["pid"] for row in await connection.fetch(waiting)]
        for pid in pids:
            await connection.fetchval("SELECT pg_terminate_backend($1)", pid)
        reply = await task
    assert (reply.status, reply.word) == (503, "SERVICE_UNAVAILABLE")
    assert reply.headers["retry-after"] == "5"
    assert await registry.fetch("SELECT 1 FROM remote_servers WHERE name = 'failing over'") == []
    assert (await owner.post(body=given)).status == 201
