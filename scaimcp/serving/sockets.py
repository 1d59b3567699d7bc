"""Listening sockets, opened once and shared by all workers."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Iterator

from scaimcp.errors import SettingsError

_BACKLOG = 2_048
_PROBE_SECONDS = 1.0


@contextlib.contextmanager
def listening(binds: Iterable[str]) -> Iterator[list[socket.socket]]:
    """Open a socket per bind, inheritable by workers; close them behind.

    The files of Unix sockets are removed at the end, unless another server has taken them over.

    Args:
        binds: ``host:port`` (port 0 = free) or ``unix:/path``.

    Raises:
        SettingsError: an address cannot be had.
    """
    with contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []
        for bind in binds:
            is_unix = bind.startswith("unix:")
            try:
                listener = _unix(bind[5:]) if is_unix else _tcp(bind)
            except OSError as error:
                raise SettingsError(f"cannot listen on {bind}: {error.strerror}") from None
            stack.callback(listener.close)
            if is_unix:
                stack.callback(_remove, bind[5:], os.stat(bind[5:]).st_ino)
            opened.append(listener)
        yield opened


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
        _clear(path)
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return _shared(listener)


def _clear(path: str) -> None:
    """Remove the socket of a server that is gone.

    Raises:
        OSError: a living server listens there.
    """
    if not os.path.exists(path) or not stat.S_ISSOCK(os.stat(path).st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _remove(path: str, inode: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_ino == inode:
            os.unlink(path)


def _shared(listener: socket.socket) -> socket.socket:
    listener.setblocking(False)
    listener.set_inheritable(True)
    return listener


def adopt(descriptors: str) -> list[socket.socket]:
    """Return the sockets that the parent process opened.

    Args:
        descriptors: their numbers, by commas; "" for none.
    """
    return [socket.socket(fileno=int(number)) for number in descriptors.split(",") if number]


def describe(listener: socket.socket, scheme: str) -> str:
    """Return where a socket listens, as a URL or a path."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
