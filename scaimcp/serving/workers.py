"""Several gateway processes on the same sockets, started again when one ends."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from scaimcp.serving.engines import Listeners, ignore_further_signals, on_ending
from scaimcp.settings import Settings, environment
from scaimcp.telemetry.logs import get_logger

_POLL_SECONDS = 0.1
_MARGIN_SECONDS = 5.0
_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_log = get_logger("scaimcp.serving")


def run_workers(settings: Settings, listeners: Listeners) -> int:
    """Run the workers until SIGTERM or SIGINT; return the exit code.

    A worker that ends is replaced. One that never served ends the server with its exit code, as
    long as no worker has served.
    """
    with tempfile.TemporaryDirectory(prefix="scaimcp-metrics-") as folder:
        return _Workers(settings, listeners, folder).run()


class _Worker:
    """One worker process; its end of `line` closes with either process."""

    def __init__(self, command: list[str], env: dict[str, str], shared: tuple[int, ...]) -> None:
        self.line, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self.process = subprocess.Popen(  # noqa: S603 - our own command line
                [*command, "--parent", str(number)], env=env, pass_fds=(*shared, number)
            )
        self.has_served = False

    def look(self) -> int | None:
        """Note whether it serves; return its exit code once it has ended."""
        if not self.has_served and select.select([self.line], [], [], 0)[0]:
            with suppress(ConnectionError):
                self.has_served = bool(self.line.recv(1))
        return self.process.poll()


class _Workers:
    def __init__(self, settings: Settings, listeners: Listeners, folder: str) -> None:
        self._listeners = listeners
        self._count = settings.server_workers
        self._grace = settings.server_drain_seconds + _MARGIN_SECONDS
        self._folder = folder
        main = [listener.fileno() for listener in listeners.main]
        own = [listener.fileno() for listener in listeners.metrics]
        self._command = [sys.executable, "-m", "scaimcp", "serve"]
        self._command += ["--sockets", _words(main), "--metrics-sockets", _words(own)]
        self._command += ["--metrics-folder", folder]
        self._shared = (*main, *own)
        self._env = environment() | {"PROMETHEUS_MULTIPROC_DIR": folder}
        self._is_stopping = False
        self._workers: list[_Worker] = []
        self._has_served = False
        self._pause = _PAUSE_SECONDS
        self._next_start = 0.0

    def run(self) -> int:
        """Start, watch, stop."""
        on_ending(self._end)
        try:
            self._workers = [self._start() for _ in range(self._count)]
            code = self._watch()
            self._stop()
        finally:
            ignore_further_signals()
        return code

    def _end(self) -> None:
        self._is_stopping = True

    def _start(self) -> _Worker:
        return _Worker(self._command, self._env, self._shared)

    def _watch(self) -> int:
        while not self._is_stopping:
            time.sleep(_POLL_SECONDS)
            # All are heard first: one that serves keeps the server, whichever died beside it.
            ended = [(worker, worker.look()) for worker in self._workers]
            self._has_served |= any(worker.has_served for worker in self._workers)
            for worker, code in ended:
                if code is None or self._is_stopping:
                    continue
                if not self._has_served:
                    return code if code > 0 else 1
                self._lose(worker, code)
            self._fill()
        return 0

    def _lose(self, worker: _Worker, code: int) -> None:
        """Forget a worker that ended; pause longer each time one never served."""
        _log.error("worker ended", pid=worker.process.pid, exit_code=code)
        worker.line.close()
        self._workers.remove(worker)
        forget_gauges(self._folder, worker.process.pid)
        if worker.has_served:
            self._pause = _PAUSE_SECONDS
            return
        self._next_start = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)

    def _fill(self) -> None:
        if len(self._workers) < self._count and time.monotonic() >= self._next_start:
            worker = self._start()
            self._workers.append(worker)
            _log.info("worker started", pid=worker.process.pid)

    def _stop(self) -> None:
        # Nobody accepts any more once the workers have closed theirs: say so to new clients.
        for listener in (*self._listeners.main, *self._listeners.metrics):
            listener.close()
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + self._grace
        for worker in self._workers:
            try:
                worker.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.line.close()


def forget_gauges(folder: str, pid: int) -> None:
    """Remove what a process that is gone says of the present; what it counted stays."""
    for kind in ("livesum", "liveall", "livemax", "livemin", "livemostrecent"):
        Path(folder, f"gauge_{kind}_{pid}.db").unlink(missing_ok=True)


def _words(numbers: list[int]) -> str:
    return ",".join(map(str, numbers))
