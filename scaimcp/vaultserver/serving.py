"""Listens for HTTP and ends as the contract wants. Spec: scaivault 4 (address, end)."""

from __future__ import annotations

import resource
import socket

from scaimcp.serving.stage import Stage
from scaimcp.serving.uvicorn_engine import serve
from scaimcp.telemetry.logs import get_logger
from scaimcp.vaultserver.edge import Edge
from scaimcp.vaultserver.environment import Config
from scaimcp.vaultserver.http import StreamableHttp
from scaimcp.vaultserver.signals import ending
from scaimcp.vaultserver.sse import HttpWithSse
from scaimcp.vaultserver.wiring import Parts, open_parts

END_SECONDS = 10.0
_BACKLOG = 128
_log = get_logger("scaimcp.vaultserver")


class CannotListen(Exception):
    """The address cannot be had; exit code 1."""


async def serve_http(config: Config) -> None:
    """Serve until a signal comes.

    Raises:
        CannotListen: the address cannot be had.
        SettingsError: the file of certificates cannot be used.
    """
    stop = ending()
    _leave_no_core()
    async with open_parts(config) as parts:
        listener = _listen(config.host, config.port)
        transport = transport_of(config, parts)
        if not config.is_loopback:
            _log.warning("plain HTTP beyond this machine; put a proxy with TLS in front")

        def started() -> None:
            _log.info("listening", transport=config.transport, host=config.host, port=config.port)

        stage = Stage(stop, transport.drain, END_SECONDS, started)
        await serve(Edge(config, transport.routes()), [listener], stage)


def transport_of(config: Config, parts: Parts) -> StreamableHttp | HttpWithSse:
    """Return the transport that was chosen."""
    return HttpWithSse(parts) if config.transport == "sse" else StreamableHttp(parts)


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind, socket.IPPROTO_TCP)
    except OSError as error:
        raise CannotListen(error.strerror or "unknown address") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise CannotListen(error.strerror or "unknown error") from None
    listener.setblocking(False)
    return listener


def _leave_no_core() -> None:
    """Let a crash leave no memory behind that may hold secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
