"""A relay before a store, so that a test can take the store away while the gateway runs."""

from __future__ import annotations

import asyncio
from types import TracebackType
from urllib.parse import parse_qs, urlsplit


class Relay:
    """Passes bytes on to the store at `url` until it is shut; `relayed` is the URL to use."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []
        self.relayed = ""

    async def __aenter__(self) -> Relay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        if self._url.scheme == "unix":
            self.relayed = f"redis://127.0.0.1:{port}/0"
        else:
            user = self._url.netloc.rpartition("@")[0]
            at = f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"
            self.relayed = f"{self._url.scheme}://{at}{self._url.path}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.shut()

    async def shut(self) -> None:
        """Cut every connection and take no more."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._url.scheme == "unix":
            return await asyncio.open_unix_connection(self._url.path)
        sockets = parse_qs(self._url.query).get("host")
        if sockets is not None:
            return await asyncio.open_unix_connection(f"{sockets[0]}/.s.PGSQL.5432")
        return await asyncio.open_connection(self._url.hostname, self._url.port)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await self._connect()
        self._writers += [writer, back]
        loop = asyncio.get_running_loop()
        pumps = (_pump(reader, back), _pump(there, writer))
        self._pumps += [loop.create_task(pump) for pump in pumps]


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        return
    finally:
        sink.close()
