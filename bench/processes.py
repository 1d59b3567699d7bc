"""Start the bench's processes, wait until they answer, end them: each by its own id."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from scaimcp.settings import PREFIX, environment

# Whatever begins like this is told by the bench alone, or by nobody.
_OWN_NAMES = (PREFIX, "PYTHON", "SCAIGRID", "SCAIVAULT", "MCP_", "PORT", "LOG_LEVEL")
READY_SECONDS = 30.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.005
_LOG_TAIL = 2_000


class BenchError(Exception):
    """The bench cannot go on; the message says what to mend."""


def announce(ready_file: Path, url: str) -> None:
    """Write `url` so that a reader sees all of it or no file."""
    work = ready_file.with_name(f"{ready_file.name}.new")
    work.write_text(url, encoding="utf-8")
    work.replace(ready_file)


def clean_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a measured process.

    Settings of the caller's shell do not reach it, and neither do Python's own switches: without
    byte code files, for example, every start would compile the whole gateway.
    """
    kept = {name: value for name, value in environment().items() if not name.startswith(_OWN_NAMES)}
    return {**kept, **more}


@contextmanager
def running(
    command: Sequence[str], log: Path, more: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for as long as the block lasts; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=clean_environment(more or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end and wait; kill it when it does not."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def python(module: str, *arguments: str) -> list[str]:
    """Return the command line of a module under this Python."""
    return [sys.executable, "-m", module, *arguments]


def wait_for_file(path: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    """Return what a process wrote into its ready file.

    Raises:
        BenchError: the process ended or took too long.
    """
    for _ in _attempts(process, log):
        # Whoever writes a file in place makes it empty first.
        if path.exists() and (text := path.read_text(encoding="utf-8")):
            return text
    raise _late(log)


def wait_for_listener(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something listens on a loopback port.

    Raises:
        BenchError: the process ended or took too long.
    """
    for _ in _attempts(process, log):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise _late(log)


def wait_for_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until ``/readyz`` below `url` answers 200.

    Raises:
        BenchError: the process ended or took too long.
    """
    for _ in _attempts(process, log):
        if status_of(url, "/readyz") == 200:
            return
    raise _late(log)


def status_of(url: str, path: str) -> int:
    """Return the status of a GET, 0 without an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def exchange(
    url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """Return the body of one GET, or of one POST of `body`.

    Raises:
        BenchError: the status is not 200.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        verb = "GET" if body is None else "POST"
        connection.request(verb, parts.path or "/", body, dict(headers or {}))
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise BenchError(f"{verb} {url} answered {response.status}: {answer[:200]!r}")
    return answer


def _attempts(process: subprocess.Popen[bytes], log: Path) -> Iterator[None]:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"process ended with {process.returncode}: {_tail(log)}")
        yield
        time.sleep(_POLL_SECONDS)


def _late(log: Path) -> BenchError:
    return BenchError(f"not ready within {READY_SECONDS:.0f} s: {_tail(log)}")


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LOG_TAIL))
        return file.read().decode("utf-8", "replace").strip()
