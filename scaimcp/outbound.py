"""The only maker of HTTP clients: pooled, no redirects, no cookies, one TLS context."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

CONNECT_SECONDS = 5.0
_KEEPALIVE_SECONDS = 60.0
# More than LIMITS_INFLIGHT calls never run; above this the pool would only queue.
_CONNECTIONS = 2_048


@asynccontextmanager
async def open_http(user_agent: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client for calls to the platform.

    Args:
        user_agent: value of ``User-Agent`` on every request.
    """
    connector = aiohttp.TCPConnector(
        limit=_CONNECTIONS,
        ssl=ssl.create_default_context(),
        keepalive_timeout=_KEEPALIVE_SECONDS,
        ttl_dns_cache=30,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        trust_env=False,
    ) as session:
        # aiohttp sends PUT and DELETE once more when a connection breaks; nothing but GET may be
        # repeated here, and the platform client does that itself. Spec: scaigrid 1.
        session._retry_connection = False
        yield session
