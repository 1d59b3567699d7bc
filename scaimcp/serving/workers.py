"""Several gateway processes on the same sockets, started again when one ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from scaimcp.settings import Settings, environment
from scaimcp.telemetry.logs import get_logger

_POLL_SECONDS = 0.2
_FAST_END_SECONDS = 5.0
_MARGIN_SECONDS = 5.0
_log = get_logger("scaimcp.serving")


def run_workers(
    settings: Settings, listeners: list[socket.socket], metrics: list[socket.socket]
) -> int:
    """Run the workers until SIGTERM or SIGINT; return the exit code.

    A worker that ends by itself is replaced; one that never came up ends the server.
    """
    with tempfile.TemporaryDirectory(prefix="scaimcp-metrics-") as folder:
        return _Workers(settings, listeners, metrics, folder).run()


class _Workers:
    def __init__(
        self,
        settings: Settings,
        listeners: list[socket.socket],
        metrics: list[socket.socket],
        folder: str,
    ) -> None:
        self._settings = settings
        descriptors = [listener.fileno() for listener in listeners]
        own = [listener.fileno() for listener in metrics]
        self._command = [sys.executable, "-m", "scaimcp", "serve"]
        self._command += ["--sockets", ",".join(map(str, descriptors)), "--metrics-folder", folder]
        if own:
            self._command += ["--metrics-sockets", ",".join(map(str, own))]
        self._inherited = (*descriptors, *own)
        self._env = environment() | {"PROMETHEUS_MULTIPROC_DIR": folder}
        self._is_stopping = False
        self._processes: list[tuple[subprocess.Popen[bytes], float]] = []

    def run(self) -> int:
        """Start, watch, stop."""
        with self._signals():
            self._processes = [self._start() for _ in range(self._settings.server_workers)]
            code = self._watch()
            self._stop()
        return code

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: int, frame: FrameType | None) -> None:
            self._is_stopping = True

        kept = {n: signal.signal(n, stop) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def _start(self) -> tuple[subprocess.Popen[bytes], float]:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            self._command, env=self._env, pass_fds=self._inherited
        )
        return process, time.monotonic()

    def _watch(self) -> int:
        while not self._is_stopping:
            time.sleep(_POLL_SECONDS)
            for place, (process, started) in enumerate(self._processes):
                code = process.poll()
                if code is None or self._is_stopping:
                    continue
                _log.error("worker ended", pid=process.pid, exit_code=code)
                if time.monotonic() - started < _FAST_END_SECONDS:
                    return code or 1
                self._processes[place] = self._start()
        return 0

    def _stop(self) -> None:
        running = [process for process, _ in self._processes if process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self._settings.server_drain_seconds + _MARGIN_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
