"""Serve an ASGI application on the listening socket that a program inherits."""

from __future__ import annotations

import os
import socket
from typing import Any

import uvicorn

VARIABLE = "FOREIGN_LISTEN_FD"


def inherited() -> socket.socket:
    """Return the socket that the test listens on for this program."""
    return socket.socket(fileno=int(os.environ[VARIABLE]))


def serve(app: Any) -> None:
    """Serve until the process is ended."""
    config = uvicorn.Config(app, log_level="critical", lifespan="on", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[inherited()])
