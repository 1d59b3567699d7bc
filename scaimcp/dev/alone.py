"""Run a stand-in as a command of its own."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import uvloop


class Place(Protocol):
    """Where a running stand-in can be reached."""

    @property
    def url(self) -> str:
        """The base URL without a trailing slash."""
        ...

    @property
    def port(self) -> int:
        """The port that is bound."""
        ...


class Announcement(NamedTuple):
    """What a stand-in says of itself once it serves.

    Attributes:
        notice: what it is, and what it is not.
        bearers: bearers to try it with, by whose they are.
        ready_file: written as JSON {url, port} for others who wait; None writes none.
        hint: what to try first; ``{url}`` becomes the base URL.
    """

    notice: str
    bearers: Mapping[str, str]
    ready_file: str | None
    hint: str = ""


def serve_alone(
    served: AbstractAsyncContextManager[Place], announcement: Announcement, where: str
) -> None:
    """Serve until SIGINT or SIGTERM; exit with a reason if nothing can listen.

    Args:
        served: serves for the length of its context.
        announcement: printed once it does.
        where: how the reason names the place.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(served, announcement))
        except OSError as problem:
            sys.exit(f"cannot listen on {where}: {problem}")


async def _serve(served: AbstractAsyncContextManager[Place], announcement: Announcement) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with served as place:
        _announce(place, announcement)
        await stop.wait()


def _announce(place: Place, announcement: Announcement) -> None:
    lines = [announcement.notice, f"Listening on {place.url}"]
    width = max(map(len, announcement.bearers))
    lines += [f"  {name:{width}}  {bearer}" for name, bearer in announcement.bearers.items()]
    if announcement.hint:
        lines.append(announcement.hint.format(url=place.url))
    print("\n".join(lines), flush=True)
    if announcement.ready_file:
        ready = msgspec.json.encode({"url": place.url, "port": place.port})
        Path(announcement.ready_file).write_bytes(ready)
