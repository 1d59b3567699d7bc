"""The application's start and end, run by us so that a failing start tells its own reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scaimcp.server.asgi import AsgiApp, AsgiMessage


@asynccontextmanager
async def lifespan(app: AsgiApp) -> AsyncIterator[None]:
    """Start the application, and end it behind.

    Raises:
        Exception: whatever the application raised while starting or ending.
    """
    inbox: asyncio.Queue[AsgiMessage] = asyncio.Queue()
    is_started = asyncio.Event()

    async def send(message: AsgiMessage) -> None:
        if message["type"] == "lifespan.startup.complete":
            is_started.set()

    async def run() -> None:
        await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, inbox.get, send)

    loop = asyncio.get_running_loop()
    running = loop.create_task(run(), name="lifespan")
    started = loop.create_task(is_started.wait(), name="started")
    inbox.put_nowait({"type": "lifespan.startup"})
    await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
    if not started.done():
        started.cancel()
        await running
        raise RuntimeError("the application ended while starting")
    try:
        yield
    finally:
        inbox.put_nowait({"type": "lifespan.shutdown"})
        await running
