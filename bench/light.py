"""HTTP without an application layer: an asyncio protocol on httptools, 10 µs a request."""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import httptools
import uvloop

from bench.processes import announce
from scaimcp.serving.sockets import describe, listening


class Site(Protocol):
    """Answers requests; all connections share it."""

    def answer(self, path: bytes, authorization: bytes, request_id: bytes, body: bytes) -> bytes:
        """Return a whole HTTP answer.

        Args:
            path: as it travelled, still escaped, with its query.
            authorization: value of the header, b"" for none.
            request_id: value of ``X-Request-Id``, b"" for none.
            body: the whole body.
        """
        ...


class Connection(asyncio.Protocol):
    """One connection: requests are answered in the callback that completes them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = self._authorization = self._request_id = self._body = b""

    def connection_made(self, transport: Any) -> None:
        # uvloop's transports are no asyncio.Transport by class, only by their methods.
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError:
            raise
        except httptools.HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_message_begin(self) -> None:
        self._path = self._authorization = self._request_id = self._body = b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        if size == 13 and name.lower() == b"authorization":
            self._authorization = value
        elif size == 12 and name.lower() == b"x-request-id":
            self._request_id = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._transport is not None:
            answer = self._site.answer(
                self._path, self._authorization, self._request_id, self._body
            )
            self._transport.write(answer)


async def serve(listener: socket.socket, site: Site) -> None:
    """Serve until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(site), sock=listener, backlog=2_048)
    async with server:
        await server.serve_forever()


def main(open_site: Callable[[str], Site], description: str | None) -> None:
    """Listen on a free loopback port, write the URL into ``--ready-file``, serve.

    Args:
        open_site: makes the site of an origin.
        description: for ``--help``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    with listening(["127.0.0.1:0"]) as listeners:
        origin = describe(listeners[0], "http")
        announce(given.ready_file, origin)
        uvloop.run(serve(listeners[0], open_site(origin)))
