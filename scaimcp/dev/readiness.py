"""When a child of `scaimcp dev` counts as ready: small polls without a client library."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

POLL_SECONDS = 0.02
ANSWER_SECONDS = 2.0

Facts = dict[str, str]
"""What is known about the running set-up, such as ``database_url``; children add to it."""


class Readiness(Protocol):
    """How to tell that a child is ready."""

    async def prepare(self, facts: Facts) -> None:
        """Clear what an earlier run left, before the child starts."""

    async def wait(self, facts: Facts) -> None:
        """Return once the child is ready; may add to `facts`. Cancelled when the child ends."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A child that is ready when it has ended with exit code 0."""

    async def prepare(self, facts: Facts) -> None:
        """Nothing to clear."""

    async def wait(self, facts: Facts) -> None:
        """Nothing to ask: the supervisor sees the end."""


@dataclass(frozen=True, slots=True)
class HttpOk:
    """Ready when a GET of `url` (plain http) is answered with 200."""

    url: str

    async def prepare(self, facts: Facts) -> None:
        """Nothing to clear."""

    async def wait(self, facts: Facts) -> None:
        """Poll until the answer is 200."""
        await _until(self._is_ok)

    async def _is_ok(self) -> bool:
        parts = urlsplit(self.url)
        request = (
            f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                streams = await asyncio.open_connection(parts.hostname, parts.port or 80)
                status = await _exchange(streams, request.encode())
                return status.split(b" ")[1:2] == [b"200"]
        return False


@dataclass(frozen=True, slots=True)
class RedisKey:
    """Ready when `key` exists on the server of ``facts["redis_url"]``, a ``unix://`` URL."""

    key: str

    async def prepare(self, facts: Facts) -> None:
        """Delete the key: an earlier run may have left it."""
        await self._ask(facts, "DEL")

    async def wait(self, facts: Facts) -> None:
        """Poll until the key is there."""

        async def exists() -> bool:
            return await self._ask(facts, "EXISTS") == b":1\r\n"

        await _until(exists)

    async def _ask(self, facts: Facts, command: str) -> bytes:
        parts = (command, self.key)
        words = "".join(f"${len(part.encode())}\r\n{part}\r\n" for part in parts)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                path = urlsplit(facts["redis_url"]).path
                streams = await asyncio.open_unix_connection(path)
                return await _exchange(streams, f"*{len(parts)}\r\n{words}".encode())
        return b""


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """Ready when a JSON file with the text field `field` exists; stored as fact `fact`."""

    path: Path
    field: str
    fact: str

    async def prepare(self, facts: Facts) -> None:
        """Delete the file of an earlier run."""
        self.path.unlink(missing_ok=True)

    async def wait(self, facts: Facts) -> None:
        """Poll until the file can be read, then take the field over."""

        async def is_complete() -> bool:
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError, KeyError):
                content = msgspec.json.decode(self.path.read_bytes(), type=dict[str, msgspec.Raw])
                facts[self.fact] = msgspec.json.decode(content[self.field], type=str)
                return True
            return False

        await _until(is_complete)


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await condition():
            return
        await asyncio.sleep(POLL_SECONDS)


async def _exchange(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
) -> bytes:
    """Send a request, return the first line of the answer, close."""
    reader, writer = streams
    try:
        writer.write(request)
        return await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
