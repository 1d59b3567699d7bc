"""Run the stand-in vault with uvicorn on a loopback port of its own."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import uvicorn

from scaimcp.dev.vault.app import VaultApp, create_vault
from scaimcp.dev.vault.config import VaultConfig
from scaimcp.dev.vault.state import Vault

LOOPBACK = "127.0.0.1"


class Served(NamedTuple):
    """A running vault: its base URL without a trailing slash, its port, and its state."""

    url: str
    port: int
    vault: Vault


@asynccontextmanager
async def serve_vault(
    config: VaultConfig | VaultApp | None = None, port: int = 0
) -> AsyncIterator[Served]:
    """Serve a stand-in vault for the length of the context, in the running loop.

    Args:
        config: how it is started, or an application made before; None takes every default.
        port: of 127.0.0.1; 0 picks a free one.
    """
    app = config if isinstance(config, VaultApp) else create_vault(config)
    # The protocol is named because asyncio sets TCP_NODELAY only where it is.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, port))
        listener.listen()
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                # Dropped connections are ordered, and uvicorn would report each as an error.
                log_level="critical",
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        # Started piece by piece: `serve` would take over the signals of the process.
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=[listener])
        bound = int(listener.getsockname()[1])
        try:
            yield Served(f"http://{LOOPBACK}:{bound}", bound, app.vault)
        finally:
            await server.shutdown(sockets=[listener])
    finally:
        listener.close()
