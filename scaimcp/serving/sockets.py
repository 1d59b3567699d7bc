"""Listening sockets, opened once and shared by all workers."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterable

from scaimcp.errors import SettingsError

_BACKLOG = 2_048


def open_sockets(binds: Iterable[str]) -> list[socket.socket]:
    """Open a socket per bind, inheritable by workers.

    Args:
        binds: ``host:port`` (port 0 = free) or ``unix:/path``.

    Raises:
        SettingsError: an address cannot be had.
    """
    opened: list[socket.socket] = []
    for bind in binds:
        try:
            opened.append(_unix(bind[5:]) if bind.startswith("unix:") else _tcp(bind))
        except OSError as error:
            for other in opened:
                other.close()
            raise SettingsError(f"cannot listen on {bind}: {error.strerror}") from None
    return opened


def _tcp(bind: str) -> socket.socket:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    info = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, _, _, address = info[0]
    # The protocol is named because asyncio sets TCP_NODELAY only on sockets that say they are TCP.
    listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return _shared(listener)


def _unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return _shared(listener)


def _shared(listener: socket.socket) -> socket.socket:
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def adopt(descriptors: Iterable[int]) -> list[socket.socket]:
    """Return the sockets that the parent process opened."""
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def describe(listener: socket.socket, scheme: str) -> str:
    """Return where a socket listens, as a URL or a path."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
