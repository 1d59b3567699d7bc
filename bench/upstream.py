"""A platform that costs next to nothing: it answers the paths of the bench from memory.

``python -m bench.upstream --ready-file F`` listens on a free loopback port and writes its URL
into the file. No ASGI layer: an asyncio protocol on httptools, 15 µs a request. ``GET /counts``
tells how often each path was asked since the last time, so that the bench can show how many
requests one call costs the platform.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import httptools
import msgspec
import uvloop

from bench.answers import BEARER, Prepared, guarded, public, refused
from bench.processes import announce
from scaimcp.serving.sockets import describe, listening

_HEAD = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\nx-request-id: %b\r\ncontent-length: %d"
_OK, _UNAUTHORIZED, _NOT_FOUND = b"200 OK", b"401 Unauthorized", b"404 Not Found"
_NO_ID = b"req_00000000000000000000000000"
_COUNTS = b"/counts"


class Site:
    """What every connection shares: the answers and the counts."""

    def __init__(self, origin: str) -> None:
        self.counts: Counter[str] = Counter()
        self._public = public(origin)
        self._guarded = guarded()
        self._authorization = b"Bearer " + BEARER.encode()
        self._unauthorized = refused("AUTH_TOKEN_INVALID", "The token is not known.")
        self._not_found = refused("NOT_FOUND", "There is no such path.")

    def answer(self, path: bytes, authorization: bytes, request_id: bytes) -> bytes:
        """Return a whole HTTP answer.

        Args:
            path: as it travelled, still escaped; a query is ignored.
            authorization: value of the header, b"" for none.
            request_id: value of ``X-Request-Id``.
        """
        path = path.partition(b"?")[0]
        if path == _COUNTS:
            body = msgspec.json.encode(dict(self.counts))
            self.counts.clear()
            return response(_OK, body, request_id)
        self.counts[path.decode("latin-1")] += 1
        status, found = self._find(path, authorization)
        return response(status, found.body(request_id), request_id)

    def _find(self, path: bytes, authorization: bytes) -> tuple[bytes, Prepared]:
        found = self._public.get(path)
        if found is not None:
            return _OK, found
        if authorization != self._authorization:
            return _UNAUTHORIZED, self._unauthorized
        found = self._guarded.get(path)
        return (_OK, found) if found is not None else (_NOT_FOUND, self._not_found)


def response(status: bytes, body: bytes, request_id: bytes) -> bytes:
    """Join an HTTP answer."""
    return b"%b\r\n\r\n%b" % (_HEAD % (status, request_id, len(body)), body)


class Connection(asyncio.Protocol):
    """One connection: requests are answered in the callback that completes them."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = self._authorization = b""
        self._request_id = _NO_ID

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
        self._path = self._authorization = b""
        self._request_id = _NO_ID

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        if size == 13 and name.lower() == b"authorization":
            self._authorization = value
        elif size == 12 and name.lower() == b"x-request-id":
            self._request_id = value

    def on_message_complete(self) -> None:
        if self._transport is not None:
            answer = self._site.answer(self._path, self._authorization, self._request_id)
            self._transport.write(answer)


async def serve(listener: socket.socket, site: Site) -> None:
    """Serve until cancelled."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(site), sock=listener, backlog=2_048)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Run the light platform."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ready-file", type=Path, required=True)
    given = parser.parse_args()
    with listening(["127.0.0.1:0"]) as listeners:
        origin = describe(listeners[0], "http")
        announce(given.ready_file, origin)
        uvloop.run(serve(listeners[0], Site(origin)))


if __name__ == "__main__":
    main()
