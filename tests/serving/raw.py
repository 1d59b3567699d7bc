"""HTTP/1.1 by hand: every byte and every closed connection is seen."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from scaimcp.dev.platform import SEED_LOGINS, api_key

TOKEN = api_key(SEED_LOGINS["tenant_user"])
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


class Lost(Exception):
    """A request was sent and its connection ended without an answer."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_last(self) -> bool:
        """Whether the server said that it will close the connection."""
        return self.headers.get("connection", "") == "close"

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        """Read one answer.

        Raises:
            Lost: the connection ended first.
        """
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in lines[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Lost from error
        return Answer(int(lines[0].split(" ")[1]), headers, body)

    async def ask(self, data: bytes) -> Answer:
        try:
            await self.send(data)
        except ConnectionError as error:
            raise Lost from error
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            return

    async def is_closed(self) -> bool:
        """Wait for the server to close; false after some seconds."""
        try:
            async with asyncio.timeout(30):
                return await self.reader.read(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


def post(body: Any, *headers: str, token: str | None = TOKEN) -> bytes:
    """The bytes of a POST to /mcp."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        "POST /mcp HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        "accept: application/json, text/event-stream",
        "mcp-protocol-version: 2025-11-25",
        f"content-length: {len(content)}",
        *([f"authorization: Bearer {token}"] if token else []),
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def call(tool: str) -> bytes:
    """The bytes of a tool call without arguments."""
    return post({**CALL, "params": {"name": tool, "arguments": {}}})


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
