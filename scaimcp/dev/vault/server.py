"""Run the stand-in vault with uvicorn on a loopback port of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from scaimcp.dev.serving import serve_standin
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
    async with serve_standin(app, LOOPBACK, port) as (url, bound):
        yield Served(url, bound, app.vault)
