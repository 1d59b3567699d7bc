"""Floors: the least an application can do on the same server, to hold the gateway against.

``python -m bench.floors KIND --engine uvicorn --ready-file F [--upstream URL] [--body FILE]``

* ``bare``: SHA-256 of the bearer, JSON-RPC decoded by msgspec, a fixed answer;
* ``forward``: the same, and one call to the platform whose answer becomes the result;
* ``bytes``: the same as ``bare``, with the bytes of the gateway's own tools/list as the answer.

They run under `scaimcp.serving`, so that server, event loop and tuning are the gateway's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec
import uvloop
from yarl import URL

from bench.answers import BEARER, MODEL
from bench.processes import announce
from scaimcp.outbound import open_http
from scaimcp.server.asgi import Receive, Scope, Send
from scaimcp.serving import hypercorn_engine, uvicorn_engine
from scaimcp.serving.lifespan import lifespan
from scaimcp.serving.sockets import describe, listening
from scaimcp.serving.stage import Stage

KINDS = ("bare", "forward", "bytes")
_DRAIN_SECONDS = 1.0


class Params(msgspec.Struct):
    """What a floor reads of a call."""

    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Message(msgspec.Struct):
    """A JSON-RPC request."""

    method: str
    id: msgspec.Raw = msgspec.Raw(b"null")
    params: Params = msgspec.field(default_factory=Params)


class Floor:
    """An ASGI application without routing, checks or error answers."""

    def __init__(self) -> None:
        self._known = hashlib.sha256(BEARER.encode()).digest()
        self._decode = msgspec.json.Decoder(Message).decode

    async def open(self, stack: AsyncExitStack) -> None:
        """Open what the floor needs; closed with `stack`."""

    async def answer(self, message: Message) -> bytes:
        """Return the body of the answer."""
        return result(message, b'{"content":[{"type":"text","text":"' + MODEL.encode() + b'"}]}')

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        bearer = next((v for k, v in scope["headers"] if k == b"authorization"), b"")
        is_known = hashlib.sha256(bearer[7:]).digest() == self._known
        body = (await receive())["body"]
        answer = await self.answer(self._decode(body)) if is_known else b"{}"
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(answer)).encode()),
        ]
        status = 200 if is_known else 401
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            await self.open(stack)
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


class ForwardFloor(Floor):
    """One outgoing call with the caller's bearer; its body passes unread."""

    def __init__(self, upstream: str) -> None:
        super().__init__()
        path = f"/v1/models/{MODEL.replace('/', '%2F')}"
        self._url = URL(upstream + path, encoded=True)
        self._headers = {"Authorization": f"Bearer {BEARER}", "Accept": "application/json"}
        self._http: aiohttp.ClientSession | None = None

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the gateway's own kind of HTTP client."""
        self._http = await stack.enter_async_context(open_http("bench"))

    async def answer(self, message: Message) -> bytes:
        """Return the platform's body as the call's result."""
        assert self._http is not None, "the lifespan has begun"
        async with self._http.get(self._url, headers=self._headers) as response:
            body = await response.read()
        return result(message, b'{"content":[],"structuredContent":' + body + b"}")


class BytesFloor(Floor):
    """Sends the same bytes every time."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    async def answer(self, message: Message) -> bytes:
        """Return the fixed bytes; the id in them is not the request's."""
        return self._body


def result(message: Message, encoded: bytes) -> bytes:
    """Join a JSON-RPC answer."""
    return b'{"jsonrpc":"2.0","id":' + bytes(message.id) + b',"result":' + encoded + b"}"


def build(kind: str, upstream: str, body: bytes) -> Floor:
    """Return the floor of `kind`."""
    if kind == "forward":
        return ForwardFloor(upstream)
    return BytesFloor(body) if kind == "bytes" else Floor()


async def serve(floor: Floor, engine: str, listeners: list[socket.socket]) -> None:
    """Serve until SIGTERM under one of the gateway's servers."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    stage = Stage(stop, _nothing, _DRAIN_SECONDS, _nothing)
    async with lifespan(floor):
        await _SERVERS[engine](floor, listeners, stage)


def _nothing() -> None:
    """Nothing outlives a request here, and nobody waits to be told of the start."""


_SERVERS = {"uvicorn": uvicorn_engine.serve, "hypercorn": hypercorn_engine.serve}


def main() -> None:
    """Run one floor until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--engine", choices=tuple(_SERVERS), required=True)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--upstream", default="")
    parser.add_argument("--body", type=Path)
    given = parser.parse_args()
    body = given.body.read_bytes() if given.body else b"{}"
    floor = build(given.kind, given.upstream, body)
    with listening(["127.0.0.1:0"]) as listeners:
        announce(given.ready_file, describe(listeners[0], "http"))
        uvloop.run(serve(floor, given.engine, listeners))


if __name__ == "__main__":
    main()
