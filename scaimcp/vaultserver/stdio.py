"""The stdio transport: one JSON-RPC message a line. Spec: scaivault 4, MCP (stdio)."""

from __future__ import annotations

import asyncio
import os
import sys

from scaimcp.telemetry.logs import get_logger
from scaimcp.vaultserver.conversation import Conversation
from scaimcp.vaultserver.environment import Config
from scaimcp.vaultserver.pipes import LineReader, LineWriter
from scaimcp.vaultserver.places import Places
from scaimcp.vaultserver.signals import ending
from scaimcp.vaultserver.wiring import open_parts

END_SECONDS = 10.0
_STDIN, _STDOUT, _STDERR = 0, 1, 2
# Requests that are read but not answered; more are left in the pipe.
_MOST_OPEN = 256
_log = get_logger("scaimcp.vaultserver")


async def serve_stdio(config: Config) -> None:
    """Serve until the input ends, the output breaks or a signal comes.

    Raises:
        SettingsError: the file of certificates cannot be used.
    """
    loop = asyncio.get_running_loop()
    stop = ending()
    writer = LineWriter(protocol_only(), loop)
    async with open_parts(config) as parts, asyncio.TaskGroup() as group:
        talk = Conversation(parts, group, writer.write, Places())
        reader = LineReader(_STDIN, loop)
        room = asyncio.Semaphore(_MOST_OPEN)
        _log.debug("serving", transport="stdio")
        reading = group.create_task(_read(reader, talk, room))
        stopped = group.create_task(stop.wait())
        broken = group.create_task(writer.broken.wait())
        await asyncio.wait((reading, stopped, broken), return_when=asyncio.FIRST_COMPLETED)
        reading.cancel()
        _log.info("ending", running=len(talk.running))
        # Streams of news would never end by themselves.
        parts.subscriptions.close()
        if not broken.done() and talk.running:
            await asyncio.wait({*talk.running}, timeout=END_SECONDS)
        for task in (*talk.running, stopped, broken):
            task.cancel()


async def _read(reader: LineReader, talk: Conversation, room: asyncio.Semaphore) -> None:
    while True:
        line = await reader.next()
        if reader.is_ended:
            return
        if line is None:
            await talk.refuse_long()
            continue
        await room.acquire()
        await talk.take(line, room.release)


def protocol_only() -> int:
    """Return a descriptor of stdout for the protocol; whatever else is printed goes to stderr."""
    if sys.stdout is not None:
        sys.stdout.flush()
    own = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    return own
