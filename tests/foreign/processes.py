"""Start servers that nobody here wrote, each a process of its own on a free loopback port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.node import node, node_environment, package_file
from tests.foreign.inherited import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
LISTEN = Path(__file__).with_name("listen.mjs")
EVERYTHING = "@modelcontextprotocol/server-everything/dist/index.js"
MODERN = "2026-07-28"
HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")


@dataclass(frozen=True)
class Kind:
    """A server as it is started.

    ``revisions`` are those that it is asked in, newest first: all that it speaks, or the newest
    and one more where another server of the same make is asked in all.
    """

    name: str
    revisions: tuple[str, ...]
    path: str = "/mcp"
    transport: str = "streamable_http"
    words: tuple[str, ...] = ()

    @property
    def is_node(self) -> bool:
        return not self.words[0].startswith("tests.")

    def command(self) -> Sequence[str | Path]:
        if self.is_node:
            return [node(), "--import", LISTEN.as_uri(), package_file(EVERYTHING), *self.words]
        return [sys.executable, "-m", *self.words]


KINDS = (
    Kind("everything", HANDSHAKE, words=("streamableHttp",)),
    Kind("everything-sse", ("2025-11-25", "2024-11-05"), "/sse", "sse", ("sse",)),
    Kind("sdk", (MODERN, *HANDSHAKE), words=("tests.foreign.sdk_server",)),
    Kind(
        "sdk-handshake",
        ("2025-11-25", "2025-03-26"),
        words=("tests.foreign.sdk_server", "handshake"),
    ),
    Kind("fastmcp", (MODERN, *HANDSHAKE), words=("tests.foreign.fast_server",)),
)


@dataclass(frozen=True)
class Foreign:
    """A running server."""

    kind: Kind
    url: str


@contextmanager
def started(kind: Kind) -> Iterator[Foreign]:
    """Start a server; what it says on standard error is shown if it ends by itself."""
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="scaimcp-foreign-"))
        errors = stack.enter_context((Path(home) / "said").open("w+b"))
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=128))
        port = listening.getsockname()[1]
        process = subprocess.Popen(
            kind.command(),
            cwd=ROOT,
            env=_environment(kind, home, {VARIABLE: str(listening.fileno())}),
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
        )
        # The program has it now; a program that ends refuses connections.
        listening.close()
        try:
            yield Foreign(kind, f"http://127.0.0.1:{port}{kind.path}")
            errors.seek(0)
            assert process.poll() is None, errors.read().decode()
        finally:
            process.kill()
            process.wait()


def _environment(kind: Kind, home: str, more: Mapping[str, str]) -> dict[str, str]:
    if kind.is_node:
        return node_environment(home, more)
    kept = ("PATH", "LANG")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"HOME": home, **more}


def wait_answering(url: str) -> None:
    """Wait until a server answers a request; its socket takes connections from the start."""
    host, port = url.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as line:
        line.sendall(b"GET /nothing HTTP/1.1\r\nhost: " + host.encode() + b"\r\n\r\n")
        began = time.monotonic()
        assert line.recv(1), f"{url} hung up after {time.monotonic() - began:.1f} s"


@contextmanager
def all_started() -> Iterator[dict[str, Foreign]]:
    """Start one server of every kind; they start at the same time."""
    with ExitStack() as stack:
        running = {kind.name: stack.enter_context(started(kind)) for kind in KINDS}
        for foreign in running.values():
            wait_answering(foreign.url)
        yield running
