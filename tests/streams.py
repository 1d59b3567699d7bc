"""Requests whose answer is read while it arrives, or abandoned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec

from tests.world import MODERN, Client

SECONDS = 5.0


class Stream:
    """An answer on its way."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments = 0

    async def event(self) -> Any:
        """Return the next message, None at the end of the stream."""
        async with asyncio.timeout(SECONDS):
            while line := await self.response.content.readline():
                if line.startswith(b"data: "):
                    return msgspec.json.decode(line[6:])
                self.comments += line.startswith(b":")
        return None

    async def rest(self) -> list[Any]:
        """Return every further message."""
        found = []
        while (event := await self.event()) is not None:
            found.append(event)
        return found

    async def comment(self) -> None:
        """Wait for the next comment."""
        async with asyncio.timeout(SECONDS):
            while not (await self.response.content.readline()).startswith(b":"):
                continue
        self.comments += 1


@asynccontextmanager
async def opened(
    client: Client, method: str, params: Any = None, *, message_id: Any = 1, headers: Any = None
) -> AsyncIterator[Stream]:
    """Send a request; leaving the context before the end closes the connection."""
    lines: dict[str, str] = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {client.token}",
        **client.headers,
    }
    if client.revision is not None:
        lines["mcp-protocol-version"] = client.revision
    if client.revision == MODERN:
        lines["mcp-method"] = method
        if "name" in (params or {}):
            lines["mcp-name"] = params["name"]
    lines |= headers or {}
    body = msgspec.json.encode(client.request(method, params, message_id))
    async with client.http.post(f"{client.url}/mcp", data=body, headers=lines) as response:
        try:
            yield Stream(response)
        finally:
            response.close()


def listening(client: Client, *kinds: str, message_id: Any = 1, headers: Any = None) -> Any:
    """Open ``subscriptions/listen`` for `kinds`."""
    params = {"notifications": dict.fromkeys(kinds, True)}
    return opened(client, "subscriptions/listen", params, message_id=message_id, headers=headers)
