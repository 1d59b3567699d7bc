"""The only maker of HTTP clients: pooled, no redirects, no cookies, one TLS context.

Remote servers get a client of their own: it connects only to addresses that an `AddressPolicy`
has checked. Spec: remote-servers 5.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import select
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

CONNECT_SECONDS = 5.0
CONNECTION_AGE_SECONDS = 600.0
# Of a small document, such as metadata or a token. Spec: mcp-configs 4.
FETCH_SECONDS = 10.0
FETCH_BYTES = 1024 * 1024
_CLEARED = 1_024
_KEEPALIVE_SECONDS = 60.0
# More than LIMITS_INFLIGHT calls never run; above this the pool would only queue.
_CONNECTIONS = 2_048
# Lookups of remote hosts block threads; they must not take those of the platform's.
_LOOKUP_THREADS = 16
_HEADER_LINE_BYTES = 64 * 1024
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class AddressPolicy(Protocol):
    """Judges where a connection may go."""

    def check(self, host: str, port: int, addresses: Sequence[str]) -> None:
        """Allow a connection to any of `addresses`, or refuse all.

        Args:
            host: host of the URL, a name or an IP literal without brackets.
            port: port of the URL.
            addresses: every address the host has, without scope.

        Raises:
            EndpointForbidden: one of them is off limits.
        """
        ...


Lookup = Callable[[str, int], Sequence[str]]
"""Returns every address of a host; blocks; raises OSError for a host without one."""


@asynccontextmanager
async def open_http(
    user_agent: str, *, ca_bundle: str | None = None, connect_seconds: float = CONNECT_SECONDS
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client for calls to the platform, or to another server that the operator names.

    Args:
        user_agent: value of ``User-Agent`` on every request.
        ca_bundle: file of certificates trusted beside the system's; None for none.
        connect_seconds: time for a new connection.

    Raises:
        OSError: the file of certificates cannot be read, or holds none (`ssl.SSLError`).
    """
    context = ssl.create_default_context()
    if ca_bundle is not None:
        context.load_verify_locations(cafile=ca_bundle)
    connector = _Connector(ssl=context, ttl_dns_cache=30)
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        trust_env=False,
    ) as session:
        # aiohttp sends PUT and DELETE once more when a connection breaks; nothing but GET may be
        # repeated here, and the platform client does that itself. Spec: scaigrid 1.
        session._retry_connection = False
        yield session


class Fetched(NamedTuple):
    """A small answer, read whole."""

    status: int
    body: bytes


class FetchFailed(Exception):
    """There is no whole answer; `reason` is a stable word for logs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def fetch(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: str | None = None,
    seconds: float = FETCH_SECONDS,
) -> Fetched:
    """Send one request and read the answer, which may be a redirect but follows none.

    Args:
        session: client to send it with.
        method: HTTP method.
        url: whole URL.
        headers: further header lines.
        body: encoded body, None for none.
        seconds: for everything together.

    Raises:
        FetchFailed: no connection, no whole answer in time, or more than `FETCH_BYTES`.
    """
    try:
        async with (
            asyncio.timeout(seconds),
            session.request(
                method, url, headers=headers, data=body, allow_redirects=False
            ) as answer,
        ):
            chunks = bytearray()
            async for chunk in answer.content.iter_any():
                chunks += chunk
                if len(chunks) > FETCH_BYTES:
                    raise FetchFailed("too_large")
            return Fetched(answer.status, bytes(chunks))
    except TimeoutError:
        raise FetchFailed("timeout") from None
    except (aiohttp.ClientError, OSError, ValueError):
        # What aiohttp says may quote the URL.
        raise FetchFailed("connect") from None


class GuardedHttp:
    """A client for remote servers.

    ``session`` sends requests; failures to connect that the policy caused are
    `EndpointForbidden`. Redirects have to be switched off per request.
    """

    def __init__(self, session: aiohttp.ClientSession, resolver: GuardedResolver) -> None:
        self.session = session
        self._resolver = resolver

    async def check(self, host: str, port: int) -> None:
        """Resolve and judge a host without connecting, as before a registration.

        Raises:
            EndpointForbidden: the policy refuses one of its addresses.
            OSError: the host has none.
        """
        await self._resolver.checked(host, port)


@asynccontextmanager
async def open_guarded_http(
    policy: AddressPolicy,
    user_agent: str,
    *,
    ca_bundle: str | None = None,
    lookup: Lookup | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[GuardedHttp]:
    """Open a client for remote servers.

    Args:
        policy: judges the addresses of every new connection.
        user_agent: value of ``User-Agent`` on every request.
        ca_bundle: file of certificates trusted beside the system's; None for none.
        lookup: resolves host names, None for the system's resolver.
        monotonic: clock for the age of connections, in seconds.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_bundle is not None:
        context.load_verify_locations(cafile=ca_bundle)
    threads = ThreadPoolExecutor(_LOOKUP_THREADS, "lookup")
    resolver = GuardedResolver(policy, lookup or _system_lookup, threads)
    connector = _GuardedConnector(policy, resolver, context, monotonic)
    try:
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent, "Accept-Encoding": "gzip"},
            # Lookup, wait for a place, TCP and TLS together.
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
            max_field_size=_HEADER_LINE_BYTES,
            trust_env=False,
        ) as session:
            session._retry_connection = False
            yield GuardedHttp(session, resolver)
    finally:
        # A lookup that hangs must not hold up the end of the process.
        threads.shutdown(wait=False, cancel_futures=True)


class GuardedResolver(AbstractResolver):
    """Resolves names and has every answer judged before anything connects.

    aiohttp calls it for each new connection, since no answer is cached; lookups of one host that
    run at the same time are shared.
    """

    def __init__(self, policy: AddressPolicy, lookup: Lookup, threads: ThreadPoolExecutor) -> None:
        self._policy = policy
        self._lookup = lookup
        self._threads = threads
        self._running: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return checked addresses in aiohttp's form.

        Raises:
            EndpointForbidden: the policy refuses one of them.
            OSError: the host has none.
        """
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=_NUMERIC,
            )
            for address in await self.checked(host, port)
        ]

    async def checked(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of `host`, each of which the policy allows.

        Raises:
            EndpointForbidden: the policy refuses one of them.
            OSError: the host has none.
        """
        key = (host, port)
        running = self._running.get(key)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._threads, self._lookup, host, port)
            self._running[key] = running
            running.add_done_callback(lambda done: self._forget(key, done))
        addresses = await asyncio.shield(running)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        self._policy.check(host, port, addresses)
        return addresses

    def _forget(self, key: tuple[str, int], done: asyncio.Future[Sequence[str]]) -> None:
        del self._running[key]
        if not done.cancelled():
            # Read, so that a failure that nobody waits for any more is not reported.
            done.exception()

    async def close(self) -> None:
        """Do nothing: the threads belong to the client."""


class _Known:
    """When a connection was made, and what tells whether something has arrived on it."""

    __slots__ = ("_waiting", "born")

    def __init__(self, born: float, transport: Any) -> None:
        self.born = born
        self._waiting = select.poll()
        if transport is not None:
            self._waiting.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def has_news(self) -> bool:
        """Tell whether something has arrived while nothing was asked: that can only be the end."""
        return bool(self._waiting.poll(0))


class _Connector(aiohttp.TCPConnector):
    """Reuses no connection that is too old, or whose end has arrived.

    A busy loop may not have read that end yet, and a request that is sent into a closed
    connection is lost: most are never sent twice.

    Args:
        most_age: seconds.
        monotonic: clock, in seconds.
        more: aiohttp's own.
    """

    def __init__(
        self,
        *,
        most_age: float = math.inf,
        monotonic: Callable[[], float] = time.monotonic,
        **more: Any,
    ) -> None:
        super().__init__(limit=_CONNECTIONS, keepalive_timeout=_KEEPALIVE_SECONDS, **more)
        self._most_age = most_age
        self._monotonic = monotonic
        self._known: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Any:
        """Return a new connection, or one that still waits for a request."""
        while True:
            connection = await super().connect(req, traces, timeout)
            known, now = self._known.get(connection.protocol), self._monotonic()
            if known is None:
                self._known[connection.protocol] = _Known(now, connection.transport)
                return connection
            if now - known.born <= self._most_age and not known.has_news():
                return connection
            connection.close()


class _GuardedConnector(_Connector):
    """Connects to checked addresses only."""

    def __init__(
        self,
        policy: AddressPolicy,
        resolver: GuardedResolver,
        context: ssl.SSLContext,
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(
            most_age=CONNECTION_AGE_SECONDS,
            monotonic=monotonic,
            ssl=context,
            use_dns_cache=False,
            resolver=resolver,
        )
        self._policy = policy
        # IP literals and ports that the policy allows: neither changes while the process lives.
        self._cleared: set[tuple[str, int]] = set()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Any:
        """Return a connection that leads where it may."""
        # aiohttp resolves no IP literal, so the resolver never sees one.
        place = (req.url.raw_host or "", req.url.port or 0)
        if place not in self._cleared and (address := _literal(place[0])) is not None:
            self._policy.check(*place, (address,))
            if len(self._cleared) >= _CLEARED:
                self._cleared.clear()
            self._cleared.add(place)
        return await super().connect(req, traces, timeout)


@lru_cache(1_024)
def _literal(host: str) -> str | None:
    """Return the address that an IP literal names, None for a host name."""
    if not (host[-1:].isdigit() or ":" in host):
        return None
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        return None


def _system_lookup(host: str, port: int) -> Sequence[str]:
    # No AI_ADDRCONFIG: an answer of a family that this machine lacks is judged as well.
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(row[4][0]).partition("%")[0] for row in found))
