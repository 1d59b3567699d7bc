"""The platform client against a server that misbehaves. Spec: scaigrid 1, 5, 7, 8."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scaimcp.errors import PlatformFailure, ToolError
from scaimcp.outbound import open_http
from scaimcp.scaigrid import client as module
from scaimcp.scaigrid.client import (
    RESPONSE_BYTES,
    FilePart,
    PlatformAnswer,
    PlatformClient,
    PlatformRequest,
    Trace,
)
from scaimcp.scaigrid.envelope import AuthenticationLost
from scaimcp.telemetry import metrics
from scaimcp.types import Secret
from tests.integration.rawserver import (
    Clock,
    Play,
    RawServer,
    Writer,
    error,
    eventually,
    raw,
    reply,
    reset,
    serve_raw,
    waiting,
)

TOKEN = "sgk_0123456789abcdefghijklmnopqrstuvwxyz"
BEARER = Secret(TOKEN)
TRACE = Trace("req_1")
GET = PlatformRequest("GET", "/v1/models", timeout_seconds=5.0)
POST = PlatformRequest("POST", "/v1/models", body=b'{"a":1}', timeout_seconds=5.0)
WRITES = ["POST", "PUT", "PATCH", "DELETE"]


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RawServer]:
    async with serve_raw() as running:
        yield running


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_http("scaimcp/9.9") as session:
        yield session


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(http: aiohttp.ClientSession, server: RawServer, clock: Clock) -> PlatformClient:
    return PlatformClient(http, server.url, monotonic=clock)


async def fail(
    client: PlatformClient, request: PlatformRequest = GET, bearer: Secret | None = BEARER
) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await client.request(request, bearer, TRACE)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__dict__)
    assert TOKEN not in shown
    assert "127.0.0.1" not in shown
    return caught.value


def count(outcome: str) -> float:
    metrics.render()  # brings every count up to date
    return float(metrics.PLATFORM_REQUESTS.labels(outcome)._value.get())


# --- what is sent -----------------------------------------------------------------------------


async def test_a_get_carries_exactly_these_headers(
    client: PlatformClient, server: RawServer
) -> None:
    answer = await client.request(GET, BEARER, TRACE)
    assert (answer.status, answer.data) == (200, b'{"a":1}')
    seen = server.seen[0]
    assert (seen.method, seen.target, seen.body) == ("GET", "/v1/models", b"")
    assert seen.headers == {
        "host": server.url.removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": seen.headers["accept-encoding"],
        "authorization": f"Bearer {TOKEN}",
        "user-agent": "scaimcp/9.9",
        "x-request-id": "req_1",
    }
    assert len(seen.lines) == len(seen.headers)


async def test_a_post_adds_its_media_type_and_length(
    client: PlatformClient, server: RawServer
) -> None:
    await client.request(POST, BEARER, Trace("req_2", "00-ab-cd-01", "203.0.113.9"))
    headers = server.seen[0].headers
    assert server.seen[0].body == b'{"a":1}'
    assert (headers["content-type"], headers["content-length"]) == ("application/json", "7")
    assert (headers["traceparent"], headers["x-request-id"]) == ("00-ab-cd-01", "req_2")
    assert not {"x-forwarded-for", "cookie", "origin", "x-scaigrid-user"} & set(headers)
    assert not [name for name in headers if name.startswith("mcp-")]


async def test_the_client_address_travels_only_when_it_is_asked_for(
    http: aiohttp.ClientSession, server: RawServer
) -> None:
    forwarding = PlatformClient(http, f"{server.url}/base/", forward_client_ip=True)
    await forwarding.request(GET, BEARER, Trace("r", None, "203.0.113.9"))
    await forwarding.request(GET, BEARER, TRACE)
    assert server.seen[0].headers["x-forwarded-for"] == "203.0.113.9"
    assert server.seen[0].target == "/base/v1/models"
    assert "x-forwarded-for" not in server.seen[1].headers


@pytest.mark.parametrize(
    "token", ["eyJhbGciOiJSUzI1NiJ9.eyJleHAiOjF9.c2ln-_", "a", "A+/=~!#$%&'()*,:;<>?@[]^`{|}\"\\"]
)  # fmt: skip
async def test_the_bearer_travels_byte_for_byte(
    client: PlatformClient, server: RawServer, token: str
) -> None:
    await client.request(GET, Secret(token), TRACE)
    assert server.seen[0].headers["authorization"] == f"Bearer {token}"


async def test_without_a_bearer_there_is_no_authorization(
    client: PlatformClient, server: RawServer
) -> None:
    await client.request(GET, None, TRACE)
    assert "authorization" not in server.seen[0].headers


async def test_cookies_are_never_sent_back(client: PlatformClient, server: RawServer) -> None:
    server.plays = [reply(200, {"data": 1}, "Set-Cookie: session=1; Path=/")]
    await client.request(GET, BEARER, TRACE)
    await client.request(GET, BEARER, TRACE)
    assert "cookie" not in server.seen[1].headers


@pytest.mark.parametrize(
    "path", ["/v1/models/a%2Fb", "/v1/x/../y/./z", "/v1//x/", "/v1/%7Eabc%2e%2E", "/v1/a;b=c@d:e"]
)
async def test_the_path_is_sent_as_it_is(
    client: PlatformClient, server: RawServer, path: str
) -> None:
    await client.request(PlatformRequest("GET", path), BEARER, TRACE)
    await client.request(PlatformRequest("GET", path, "q=%20+&a=b%2Bc%3D"), BEARER, TRACE)
    assert [seen.target for seen in server.seen] == [path, f"{path}?q=%20+&a=b%2Bc%3D"]


async def test_a_form_carries_its_parts(client: PlatformClient, server: RawServer) -> None:
    parts = (
        FilePart("model", "wüst".encode()),
        FilePart("file", b"\x00\xffRIFF", "a.wav", "audio/wav"),
    )
    await client.request(PlatformRequest("POST", "/v1/audio", parts=parts), BEARER, TRACE)
    seen = server.seen[0]
    assert seen.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="model"' in seen.body
    assert "wüst".encode() in seen.body
    assert b'filename="a.wav"' in seen.body
    assert b"Content-Type: audio/wav" in seen.body
    assert b"\x00\xffRIFF" in seen.body


async def test_a_large_file_is_sent_in_pieces_and_without_a_warning(
    client: PlatformClient, server: RawServer
) -> None:
    part = FilePart("file", b"a" * 3_000_000, "a.wav", "audio/wav")
    await client.request(PlatformRequest("POST", "/v1/x", parts=(part,)), BEARER, TRACE)
    assert len(server.seen[0].body) > 3_000_000


async def test_a_raw_request_accepts_everything(client: PlatformClient, server: RawServer) -> None:
    server.plays = [reply(200, b"\x00\xff", content_type="audio/mpeg")]
    answer = await client.request(PlatformRequest("GET", "/x", is_raw=True), BEARER, TRACE)
    assert server.seen[0].headers["accept"] == "*/*"
    assert (answer.content_type, answer.body, answer.data) == ("audio/mpeg", b"\x00\xff", b"")
    assert answer.envelope is None


async def test_connections_are_kept_and_used_again(
    client: PlatformClient, server: RawServer
) -> None:
    for _ in range(5):
        await client.request(GET, BEARER, TRACE)
    assert server.connections == 1


# --- repeating --------------------------------------------------------------------------------


REPEATED: dict[str, Play] = {
    "reset": reset(),
    "closed": raw(b""),
    "cut in the head": raw(b"HTTP/1.1 200 OK\r\nContent-"),
    "cut in the body": raw(b'HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{"data":'),
    "502": error(502, "BACKEND_ERROR"),
    "503": error(503, "MODEL_UNAVAILABLE"),
    "504": error(504, "BACKEND_TIMEOUT"),
    "502 of a proxy": reply(502, b"<html>", content_type="text/html"),
    "503 of a proxy": reply(503),
    "504 of a proxy": reply(504, b"Gateway Timeout", content_type="text/plain"),
}
NOT_REPEATED: dict[str, tuple[Play, str]] = {
    "500": (error(500, "INTERNAL_ERROR"), "INTERNAL_ERROR"),
    "500 of a proxy": (reply(500), "PLATFORM_UNAVAILABLE"),
    "503 with a time": (error(503, "SERVICE_UNAVAILABLE", retry_after=3), "SERVICE_UNAVAILABLE"),
    "503 with a header": (error(503, "X_Y", "Retry-After: 3"), "X_Y"),
    "503 of a proxy with a header": (reply(503, b"", "Retry-After: 3"), "PLATFORM_UNAVAILABLE"),
    "401": (error(401, "AUTH_TOKEN_INVALID"), "AUTH_TOKEN_INVALID"),
    "404": (error(404, "MODEL_NOT_FOUND"), "MODEL_NOT_FOUND"),
    "429": (error(429, "RATE_LIMITED"), "RATE_LIMITED"),
    "no HTTP": (raw(b"SSH-2.0-x\r\n\r\n"), "PLATFORM_BAD_RESPONSE"),
    "html": (reply(200, b"<html>", content_type="text/html"), "PLATFORM_BAD_RESPONSE"),
}


@pytest.mark.parametrize("name", REPEATED)
async def test_a_get_is_repeated_once(client: PlatformClient, server: RawServer, name: str) -> None:
    server.plays = [REPEATED[name]]
    answer = await client.request(GET, BEARER, TRACE)
    assert answer.data == b'{"a":1}'
    assert len(server.seen) == 2
    assert 0.09 < server.seen[1].at - server.seen[0].at < 2.0
    assert server.seen[0].headers == server.seen[1].headers


@pytest.mark.parametrize("name", REPEATED)
async def test_and_only_once(client: PlatformClient, server: RawServer, name: str) -> None:
    server.default = REPEATED[name]
    refusal = await fail(client)
    assert isinstance(refusal, PlatformFailure)
    assert len(server.seen) == 2


@pytest.mark.parametrize("name", NOT_REPEATED)
async def test_nothing_else_is_repeated(
    client: PlatformClient, server: RawServer, name: str
) -> None:
    server.default, code = NOT_REPEATED[name]
    assert (await fail(client)).code == code
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize("name", REPEATED)
async def test_no_other_method_is_ever_repeated(
    client: PlatformClient, server: RawServer, name: str, method: str
) -> None:
    await client.request(GET, BEARER, TRACE)
    server.default = REPEATED[name]
    for body in (None, b"{}"):
        server.seen.clear()
        await fail(client, PlatformRequest(method, "/v1/x", body=body))
        assert [seen.method for seen in server.seen] == [method]


async def test_both_tries_share_one_deadline(client: PlatformClient, server: RawServer) -> None:
    server.plays = [error(503, "X_Y")]
    server.default = waiting(asyncio.Event(), reply())
    refusal = await fail(client, PlatformRequest("GET", "/x", timeout_seconds=0.5))
    assert refusal.code == "PLATFORM_TIMEOUT"
    assert len(server.seen) == 2


# --- unusable answers -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("request_", [GET, POST, PlatformRequest("GET", "/x", is_raw=True)])
async def test_a_redirect_is_never_followed(
    client: PlatformClient, server: RawServer, status: int, request_: PlatformRequest
) -> None:
    async with serve_raw() as elsewhere:
        body = b"" if status == 304 else b"{}"
        server.default = reply(status, body, f"Location: {elsewhere.url}/steal")
        refusal = await fail(client, request_)
        assert (refusal.code, len(server.seen)) == ("PLATFORM_BAD_RESPONSE", 1)
        assert elsewhere.seen == []


BAD = {
    "html": b"<html>secret page</html>",
    "cut JSON": b'{"status":"ok","data":{"a":',
    "no data": b'{"status":"ok"}',
    "a list": b"[1]",
    "text": b'"x"',
    "bad UTF-8": b"\xff\xfe",
    "a BOM": b'\xef\xbb\xbf{"data":1}',
}


@pytest.mark.parametrize("name", BAD)
async def test_what_is_no_envelope_is_a_bad_answer_and_never_quoted(
    client: PlatformClient, server: RawServer, name: str
) -> None:
    server.default = reply(200, BAD[name])
    refusal = await fail(client)
    assert refusal.code == "PLATFORM_BAD_RESPONSE"
    assert refusal.message == "The platform's answer cannot be read."
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "play", [reply(200), reply(204), reply(202, b"", content_type="text/html")]
)
async def test_an_empty_answer_is_success_without_data(
    client: PlatformClient, server: RawServer, play: Play
) -> None:
    server.default = play
    answer = await client.request(POST, BEARER, TRACE)
    assert (answer.body, answer.data, answer.envelope) == (b"", b"", None)


async def test_null_is_data(client: PlatformClient, server: RawServer) -> None:
    server.default = reply(200, {"data": None})
    assert (await client.request(GET, BEARER, TRACE)).data == b"null"


@pytest.mark.parametrize("status", [200, 400, 422])
async def test_the_platforms_own_error_passes_with_its_parts(
    client: PlatformClient, server: RawServer, status: int
) -> None:
    details = [{"field": "end", "message": "must be after start"}]
    server.default = error(
        status, "VALIDATION_ERROR", "X-Request-Id: req_p", details=details, retry_after=3
    )
    refusal = await fail(client, POST)
    assert isinstance(refusal, PlatformFailure)
    assert (refusal.code, refusal.message, refusal.status) == (
        "VALIDATION_ERROR",
        "Because.",
        status,
    )
    assert (refusal.retry_after, refusal.details) == (3, tuple(details))
    assert refusal.request_id == "req_p"


async def test_a_lost_authentication_has_a_type_of_its_own(
    client: PlatformClient, server: RawServer
) -> None:
    server.default = error(401, "SESSION_EXPIRED")
    before = count("unauthorized")
    assert isinstance(await fail(client), AuthenticationLost)
    assert count("unauthorized") == before + 1


RAW = PlatformRequest("GET", "/v1/export", is_raw=True, timeout_seconds=20.0)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a,b\n1,2\n", "text/csv"),
        (b'[{"a":1}]', "application/json"),
        (b'{"rows":[]}', "application/json"),
        (b"not json", "application/json"),
        (b'{"status":"error","error":{"code":"X"}}', "application/octet-stream"),
    ],
)
async def test_a_raw_answer_is_whatever_the_platform_sends(
    client: PlatformClient, server: RawServer, body: bytes, content_type: str
) -> None:
    server.default = reply(200, body, content_type=content_type)
    answer = await client.request(RAW, BEARER, TRACE)
    assert (answer.body, answer.content_type) == (body, content_type)


@pytest.mark.parametrize("status", [200, 404])
async def test_but_an_error_envelope_is_an_error_there_too(
    client: PlatformClient, server: RawServer, status: int
) -> None:
    server.default = error(status, "EXPORT_NOT_FOUND")
    assert (await fail(client, RAW)).code == "EXPORT_NOT_FOUND"


async def test_an_answer_of_32_mebibytes_passes(client: PlatformClient, server: RawServer) -> None:
    server.default = reply(200, bytes(RESPONSE_BYTES), content_type="audio/wav")
    assert len((await client.request(RAW, BEARER, TRACE)).body) == RESPONSE_BYTES


def chunked(total: int) -> Play:
    async def play(writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = bytes(1 << 20)
        for _ in range(total >> 20):
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"1\r\nx\r\n0\r\n\r\n")

    return play


def bomb() -> Play:
    content = gzip.compress(bytes(RESPONSE_BYTES + 1), 9)
    return reply(200, content, "Content-Encoding: gzip")


HUGE = {
    "declared": raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{" % (RESPONSE_BYTES + 1), then_close=False
    ),
    "chunked": chunked(RESPONSE_BYTES),
    "compressed": bomb(),
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
async def test_more_than_32_mebibytes_is_too_large(
    client: PlatformClient, server: RawServer, name: str
) -> None:
    server.plays = [HUGE[name]]
    refusal = await fail(client, RAW)
    assert refusal.code == "RESULT_TOO_LARGE"
    assert len(server.seen) == 1
    assert (await client.request(GET, BEARER, TRACE)).data == b'{"a":1}'


async def test_compressed_answers_are_read(client: PlatformClient, server: RawServer) -> None:
    server.default = reply(200, gzip.compress(b'{"data":[1]}'), "Content-Encoding: gzip")
    assert (await client.request(GET, BEARER, TRACE)).data == b"[1]"


# --- time -------------------------------------------------------------------------------------


async def drip(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(1000):
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("play", [drip, waiting(asyncio.Event(), reply())])
async def test_a_deadline_covers_the_whole_answer(
    client: PlatformClient, server: RawServer, method: str, play: Play
) -> None:
    server.default = play
    refusal = await fail(client, PlatformRequest(method, "/x", timeout_seconds=0.2))
    assert (refusal.code, refusal.http_status) == ("PLATFORM_TIMEOUT", 504)
    assert ("may have taken effect" in refusal.message) is (method == "POST")
    assert len(server.seen) == 1


async def test_a_cancelled_call_ends_the_platforms_call(
    client: PlatformClient, server: RawServer
) -> None:
    server.default = waiting(asyncio.Event(), reply())
    before = count("cancelled")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(client.request(POST, BEARER, TRACE))
        await eventually(lambda: len(server.seen) == 1)
        task.cancel()
    assert task.cancelled()
    await eventually(lambda: server.lost == 1)
    assert count("cancelled") == before + 1


# --- no connection ----------------------------------------------------------------------------


async def test_a_closed_port_is_unavailable(
    http: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    async with serve_raw() as gone:
        url = gone.url
    before = count("unavailable")
    refusal = await fail(PlatformClient(http, url))
    assert isinstance(refusal, PlatformFailure)
    assert (refusal.code, refusal.retry_after, refusal.status) == ("PLATFORM_UNAVAILABLE", 5, 0)
    assert count("unavailable") == before + 1
    logged = capsys.readouterr()
    assert TOKEN not in logged.out + logged.err


def certificate(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")
    return context


async def test_a_certificate_nobody_vouches_for_gets_no_bearer(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    async with serve_raw(certificate(tmp_path)) as untrusted:
        refusal = await fail(PlatformClient(http, untrusted.url))
        assert (refusal.code, refusal.retry_after) == ("PLATFORM_UNAVAILABLE", 5)
        assert untrusted.seen == []


async def test_a_server_without_tls_gets_no_bearer(http: aiohttp.ClientSession) -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        heard.append(await reader.read(4096))
        writer.write(b"HTTP/1.1 400 X\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        refusal = await fail(PlatformClient(http, f"https://127.0.0.1:{port}"))
    assert refusal.code == "PLATFORM_UNAVAILABLE"
    assert len(heard) == 1
    assert b"HTTP" not in heard[0]


# --- back-off ---------------------------------------------------------------------------------


async def ok(client: PlatformClient, bearer: Secret | None = BEARER) -> PlatformAnswer:
    return await client.request(GET, bearer, TRACE)


@pytest.mark.parametrize(("stated", "seconds"), [(12, 12), (60, 60), (300, 60), (None, 5)])
async def test_after_a_429_calls_of_that_bearer_fail_locally_until_then(
    client: PlatformClient, server: RawServer, clock: Clock, stated: int | None, seconds: int
) -> None:
    server.plays = [error(429, "RATE_LIMITED", **({"retry_after": stated} if stated else {}))]
    assert (await fail(client)).retry_after == (stated or 5)
    clock.now += 0.5
    refusal = await fail(client)
    assert (refusal.code, refusal.retry_after) == ("RATE_LIMITED", seconds)
    clock.now += seconds - 0.6
    assert (await fail(client)).retry_after == 1
    assert len(server.seen) == 1
    clock.now += 0.1
    await ok(client)
    assert len(server.seen) == 2
    assert not client._backoff


async def test_other_bearers_and_public_calls_go_on(
    client: PlatformClient, server: RawServer
) -> None:
    server.plays = [error(429, "RATE_LIMITED", retry_after=30)]
    await fail(client)
    await ok(client, Secret("another"))
    await ok(client, None)
    assert len(server.seen) == 3


@pytest.mark.parametrize("code", ["BACKEND_RATE_LIMITED", "QUOTA_EXCEEDED", "BUDGET_EXCEEDED"])
async def test_other_429s_start_no_back_off(
    client: PlatformClient, server: RawServer, code: str
) -> None:
    server.plays = [error(429, code, retry_after=30)]
    await fail(client)
    await ok(client)


async def test_a_public_call_starts_no_back_off(client: PlatformClient, server: RawServer) -> None:
    server.plays = [error(429, "RATE_LIMITED", retry_after=30)]
    await fail(client, bearer=None)
    await ok(client, None)
    await ok(client)


async def test_the_longest_of_several_waits_counts(
    client: PlatformClient, server: RawServer, clock: Clock
) -> None:
    release = asyncio.Event()
    server.plays = [
        waiting(release, error(429, "RATE_LIMITED", retry_after=seconds)) for seconds in (40, 3)
    ]
    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(fail(client)) for _ in range(2)]
        await eventually(lambda: len(server.seen) == 2)
        release.set()
    assert {call.result().retry_after for call in calls} == {40, 3}
    clock.now += 39
    assert (await fail(client)).retry_after == 1


async def test_the_table_of_waits_is_bounded_and_holds_no_bearer(client: PlatformClient) -> None:
    for number in range(module._BACKOFF_ENTRIES + 5):
        client._start_backoff(Secret(f"{TOKEN}{number}"), 60)
    assert len(client._backoff) == module._BACKOFF_ENTRIES
    kept: Any = next(iter(client._backoff))
    assert isinstance(kept, bytes)
    assert len(kept) == 32
