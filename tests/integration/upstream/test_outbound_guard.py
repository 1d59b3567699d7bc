"""The guarded client connects to checked addresses only, over TLS it can trust."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

import aiohttp
import pytest

from scaimcp.errors import EndpointForbidden
from scaimcp.upstream.client import ModernSession
from scaimcp.upstream.errors import UpstreamError
from scaimcp.upstream.request import Ask, Target
from tests.integration.rawserver import Clock, RawServer, eventually, reply, reset, serve_raw
from tests.integration.upstream.support import AllowAll, guarded
from tests.serving.certificate import make_certificate

ASK = Ask("tools/call", seconds=5.0)


class Names:
    """A resolver whose answers the test sets."""

    def __init__(self, **answers: Sequence[str]) -> None:
        self.answers = dict(answers)
        self.asked = 0
        self.release = threading.Event()
        self.release.set()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        assert self.release.wait(10)
        if host not in self.answers:
            raise OSError(host)
        return self.answers[host]


def port_of(server: RawServer) -> int:
    return int(server.url.rpartition(":")[2])


async def code(http: aiohttp.ClientSession, url: str, ask: Ask = ASK) -> str:
    """Call a tool and return the class name of the failure."""
    with pytest.raises(UpstreamError) as caught:
        await ModernSession(http).request(Target(url), ask)
    return caught.value.code


@pytest.mark.row(16)
async def test_a_name_is_judged_with_every_address_before_anything_connects() -> None:
    policy = AllowAll("10.0.0.5")
    names = Names(mixed=("127.0.0.1", "10.0.0.5"))
    async with serve_raw() as server, guarded(policy, lookup=names) as http:
        port = port_of(server)
        assert await code(http.session, f"http://mixed:{port}/") == "EndpointForbiddenError"
        assert policy.asked == [("mixed", port, ("127.0.0.1", "10.0.0.5"))]
        assert server.connections == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:7f00:1]"])
async def test_an_address_in_the_url_is_judged_too(host: str) -> None:
    policy = AllowAll("127.0.0.1", "::1", "::ffff:7f00:1", "::ffff:127.0.0.1")
    async with serve_raw() as server, guarded(policy) as http:
        url = f"http://{host}:{port_of(server)}/"
        assert await code(http.session, url) == "EndpointForbiddenError"
        assert policy.asked
        assert server.connections == 0


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "0x7f000001", "localhost"])
async def test_no_other_notation_of_an_address_passes_unjudged(host: str) -> None:
    async with serve_raw() as server, guarded(AllowAll("127.0.0.1", "::1")) as http:
        url = f"http://{host}:{port_of(server)}/"
        assert await code(http.session, url) == "EndpointForbiddenError"
        assert server.connections == 0


@pytest.mark.row(17)
async def test_a_name_that_turns_private_is_refused_at_the_next_connection() -> None:
    policy, names = AllowAll("10.0.0.5"), Names(host=("127.0.0.1",))
    async with serve_raw() as server, guarded(policy, lookup=names) as http:
        url = f"http://host:{port_of(server)}/"
        server.plays = [reply(404)]
        assert await code(http.session, url) == "RemoteClientError"
        names.answers["host"] = ("10.0.0.5",)
        # The connection leads to a checked address, so it may serve on.
        server.plays = [reply(404), reset()]
        assert await code(http.session, url) == "RemoteClientError"
        assert await code(http.session, url) == "ConnectError"
        assert await code(http.session, url) == "EndpointForbiddenError"
        assert (server.connections, names.asked) == (1, 2)


async def test_a_connection_serves_ten_minutes_and_no_longer() -> None:
    clock = Clock()
    async with serve_raw() as server, guarded(monotonic=clock) as http:
        server.default = reply(404)
        for seconds, connections in ((0, 1), (599, 1), (2, 2), (599, 2)):
            clock.now += seconds
            await code(http.session, f"{server.url}/")
            assert server.connections == connections


async def test_a_connection_that_was_closed_while_the_loop_was_busy_is_not_used_again() -> None:
    with KeepAlive() as server:
        async with guarded() as http:
            assert await code(http.session, server.url) == "RemoteClientError"
            # The loop stands still here, as under load: it cannot have seen the end.
            server.close_first.set()
            assert server.is_first_closed.wait(10)
            assert await code(http.session, server.url) == "RemoteClientError"
    assert server.connections == 2


class KeepAlive:
    """A server in a thread of its own; closes its first connection when told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.connections = 0
        self.close_first = threading.Event()
        self.is_first_closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close_first.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.connections += 1
                    connection.recv(65_536)
                    connection.sendall(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                    self.close_first.wait(10)
                self.is_first_closed.set()


@pytest.mark.row(19)
async def test_a_host_without_address_is_a_dns_error() -> None:
    async with guarded(lookup=Names(empty=())) as http:
        assert await code(http.session, "http://nowhere.example/") == "DNSError"
        assert await code(http.session, "http://empty/") == "DNSError"


@pytest.mark.row(19)
async def test_a_closed_port_is_a_connect_error() -> None:
    async with serve_raw() as server:
        url = f"{server.url}/"
    async with guarded() as http:
        assert await code(http.session, url) == "ConnectError"


async def test_lookups_of_one_host_are_shared_and_one_that_hangs_does_not_hold_the_end() -> None:
    names = Names(host=("127.0.0.1",))
    names.release.clear()
    async with guarded(AllowAll(), lookup=names) as http:
        checks = [asyncio.get_running_loop().create_task(http.check("host", 1)) for _ in range(5)]
        await eventually(lambda: names.asked == 1)
        checks[0].cancel()
        names.release.set()
        await asyncio.gather(*checks[1:])
        assert names.asked == 1
        names.release.clear()
        ask = Ask("tools/call", seconds=0.05)
        assert await code(http.session, "http://host:1/", ask) == "TimeoutError"
        assert await code(http.session, "http://nowhere:1/", ask) == "TimeoutError"
    names.release.set()


async def test_a_host_can_be_checked_without_connecting() -> None:
    policy = AllowAll("10.0.0.5")
    names = Names(good=("127.0.0.1",), bad=("10.0.0.5",))
    async with guarded(policy, lookup=names) as http:
        await http.check("good", 443)
        with pytest.raises(EndpointForbidden) as caught:
            await http.check("bad", 443)
        assert (caught.value.code, caught.value.address) == (
            "SCAILINK_ENDPOINT_FORBIDDEN",
            "10.0.0.5",
        )
        with pytest.raises(OSError, match="none"):
            await http.check("none", 443)


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve_raw() as server, serve_raw() as proxy, guarded() as http:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        server.default = reply(404)
        assert await code(http.session, f"{server.url}/") == "RemoteClientError"
        assert proxy.connections == 0


async def test_cookies_are_neither_kept_nor_sent() -> None:
    async with serve_raw() as server, guarded() as http:
        server.default = reply(404, b"", "Set-Cookie: a=1; Path=/")
        await code(http.session, f"{server.url}/")
        await code(http.session, f"{server.url}/")
        assert [request.headers.get("cookie") for request in server.seen] == [None, None]


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, str]:
    """A server's context for ``localhost`` and the file that makes it trusted."""
    make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context, str(tmp_path / "cert.pem")


async def test_the_name_of_the_url_is_what_the_certificate_must_bear(
    tls: tuple[ssl.SSLContext, str],
) -> None:
    context, bundle = tls
    seen: list[str | None] = []
    context.sni_callback = lambda _, name, __: seen.append(name)  # type: ignore[assignment,misc]
    names = Names(localhost=("127.0.0.1",), other=("127.0.0.1",))
    async with (
        serve_raw(context) as server,
        guarded(lookup=names, ca_bundle=bundle) as http,
    ):
        server.default = reply(404)
        port = port_of(server)
        assert await code(http.session, f"https://localhost:{port}/") == "RemoteClientError"
        assert await code(http.session, f"https://other:{port}/") == "TLSError"
        assert seen == ["localhost", "other"]
        assert len(server.seen) == 1


@pytest.mark.row(19)
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    tls: tuple[ssl.SSLContext, str],
) -> None:
    async with serve_raw(tls[0]) as server, guarded() as http:
        assert await code(http.session, f"https://localhost:{port_of(server)}/") == "TLSError"
        assert server.seen == []


async def test_a_server_without_tls_is_a_tls_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 X\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, guarded() as http:
        assert await code(http.session, f"https://127.0.0.1:{port}/") == "TLSError"


async def test_tls_below_1_2_is_not_spoken(tls: tuple[ssl.SSLContext, str]) -> None:
    context, bundle = tls
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with serve_raw(context) as server, guarded(ca_bundle=bundle) as http:
        # The server may close before its alert is read; then it looks like a refused connection.
        failure = await code(http.session, f"https://127.0.0.1:{port_of(server)}/")
        assert failure in ("TLSError", "ConnectError")
        assert server.seen == []
