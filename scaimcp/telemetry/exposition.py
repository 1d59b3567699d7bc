"""Serve ``/metrics`` of a process without a web server, such as the worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socket import AF_INET6, gaierror, getaddrinfo
from socketserver import TCPServer
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from scaimcp.telemetry import metrics
from scaimcp.telemetry.logs import get_logger

_PATH = "/metrics"
_POLL_SECONDS = 0.1
_log = get_logger("scaimcp.telemetry")


class _Silent(WSGIRequestHandler):
    # A client that says nothing must not keep everybody else waiting.
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""


class _Server(WSGIServer):
    def server_bind(self) -> None:
        """Bind without asking DNS for a name, which may take long and serves nothing here."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Take no notice of a client that breaks off."""


class _Server6(_Server):
    address_family = AF_INET6


@contextmanager
def served_metrics(bind: str | None) -> Iterator[int]:
    """Serve the metrics of this process as long as the block runs; yield the port, 0 for none.

    A port that cannot be had is logged and leaves the process without: it has other work to do.

    Args:
        bind: ``host:port``; None serves nothing.
    """
    server = _opened(bind) if bind is not None else None
    if server is None:
        yield 0
        return
    thread = Thread(target=server.serve_forever, args=(_POLL_SECONDS,), name="metrics", daemon=True)
    thread.start()
    port = int(server.server_address[1])
    _log.info("metrics served", address=bind, port=port)
    try:
        yield port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _opened(bind: str) -> WSGIServer | None:
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    try:
        family = getaddrinfo(host, int(port))[0][0]
        kind = _Server6 if family == AF_INET6 else _Server
        return make_server(host, int(port), _answer, kind, _Silent)
    except (OSError, gaierror, ValueError) as error:
        _log.warning("metrics not served", address=bind, reason=type(error).__name__)
        return None


def _answer(environ: dict[str, Any], start: Any) -> list[bytes]:
    is_found = environ["PATH_INFO"] == _PATH and environ["REQUEST_METHOD"] in ("GET", "HEAD")
    body = metrics.render() if is_found else b""
    status = "200 OK" if is_found else "404 Not Found"
    start(status, [("Content-Type", metrics.CONTENT_TYPE), ("Content-Length", str(len(body)))])
    return [body]
