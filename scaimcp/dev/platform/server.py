"""Run the stand-in platform with uvicorn on a port of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from scaimcp.dev.platform.answer import TRANSPORT
from scaimcp.dev.platform.app import PlatformApp, create_platform
from scaimcp.dev.platform.config import PlatformConfig
from scaimcp.dev.platform.state import Platform
from scaimcp.dev.serving import serve_standin


class StandInProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the transport in reach of faults that drop connections."""

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self.scope[TRANSPORT] = self.transport  # type: ignore[literal-required] # a key of our own


class Served(NamedTuple):
    """A running platform: its base URL without a trailing slash, its port, and its state."""

    url: str
    port: int
    platform: Platform


@asynccontextmanager
async def serve_platform(
    config: PlatformConfig | PlatformApp | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Served]:
    """Serve a stand-in platform for the length of the context, in the running loop.

    Args:
        config: how it is started, or an application made before; None takes every default.
        host: address to bind.
        port: 0 picks a free one.
    """
    app = config if isinstance(config, PlatformApp) else create_platform(config)
    served = serve_standin(app, host, port, protocol=StandInProtocol, lifespan="on")
    async with served as (url, bound):
        yield Served(url, bound, app.platform)
