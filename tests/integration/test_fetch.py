"""Small documents, fetched whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from scaimcp.outbound import FETCH_BYTES, FetchFailed, fetch, open_http
from tests.integration.rawserver import Play, reply, reset, serve_raw, waiting


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_http("scaimcp/test") as session:
        yield session


async def reason(http: aiohttp.ClientSession, play: Play, seconds: float = 10.0) -> str:
    async with serve_raw() as server:
        server.default = play
        with pytest.raises(FetchFailed) as caught:
            await fetch(http, "GET", server.url, headers={}, seconds=seconds)
    return caught.value.reason


async def test_an_answer_comes_whole_with_its_status(http: aiohttp.ClientSession) -> None:
    async with serve_raw() as server:
        server.default = reply(404, b"x" * FETCH_BYTES)
        answer = await fetch(
            http, "POST", f"{server.url}/a?b", headers={"accept": "a/b"}, body="c=d"
        )
    assert (answer.status, len(answer.body)) == (404, FETCH_BYTES)
    (seen,) = server.seen
    assert (seen.method, seen.target, seen.body) == ("POST", "/a?b", b"c=d")
    assert seen.headers["accept"] == "a/b"


async def test_a_redirect_is_an_answer(http: aiohttp.ClientSession) -> None:
    async with serve_raw() as server:
        server.default = reply(302, b"", "location: http://127.0.0.1:1/")
        answer = await fetch(http, "GET", server.url, headers={})
    assert answer.status == 302


async def test_more_than_fits_is_no_answer(http: aiohttp.ClientSession) -> None:
    assert await reason(http, reply(200, b"x" * (FETCH_BYTES + 1))) == "too_large"


async def test_what_does_not_come_in_time_is_no_answer(http: aiohttp.ClientSession) -> None:
    release = asyncio.Event()
    assert await reason(http, waiting(release, reply(200, b"")), 0.05) == "timeout"
    release.set()


async def test_a_broken_connection_is_no_answer(http: aiohttp.ClientSession) -> None:
    assert await reason(http, reset()) == "connect"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "no url", "http://[::1", "ftp://a/"])
async def test_an_address_that_leads_nowhere_is_no_answer(
    http: aiohttp.ClientSession, url: str
) -> None:
    with pytest.raises(FetchFailed) as caught:
        await fetch(http, "GET", url, headers={})
    assert caught.value.reason == "connect"
    assert url not in str(caught.value)
