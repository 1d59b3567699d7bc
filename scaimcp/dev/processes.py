"""The owner's side of the guard: start processes whose life is tied to this one.

Each `GuardedGroup` has a guard process (`scaimcp.dev.guard`) that holds the reading end of a pipe.
When this process ends in whatever way, the pipe closes and the guard stops the group.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

GUARD = Path(__file__).with_name("guard.py")
READ_BYTES = 65_536
POLL_SECONDS = 0.01


class DevelopmentError(Exception):
    """Something the developer can mend: shown as one message, without a traceback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process to start under a guard.

    Attributes:
        environment: The whole environment of the process.
        log: File that takes its output, emptied first; None sends it to the group's output.
        stop_signal: How it is asked to end.
        death_signal: What Linux sends it when the guard is killed.
        grace_seconds: How long it may take to end before it is killed.
        account: User and group id to run as; None keeps the caller's.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path = Path("/")
    log: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    grace_seconds: float = 10.0
    account: tuple[int, int] | None = None

    def to_wire(self) -> dict[str, Any]:
        """Return the form the guard reads."""
        uid, gid = self.account or (None, None)
        return {
            "name": self.name,
            "argv": self.argv,
            "cwd": str(self.directory),
            "env": dict(self.environment),
            "log": None if self.log is None else str(self.log),
            "stop_signal": int(self.stop_signal),
            "death_signal": int(self.death_signal),
            "grace_seconds": self.grace_seconds,
            "uid": uid,
            "gid": gid,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What became of a group.

    Attributes:
        kind: ``started``, ``exited`` (a process ended by itself), ``failed`` (could not be
            started) or ``gone`` (the guard has ended and with it the group).
        name: The process meant; empty for ``started`` and ``gone``.
        code: Exit code of an ``exited`` process, negative for a signal.
    """

    kind: Literal["started", "exited", "failed", "gone"]
    name: str = ""
    code: int = 0
    reason: str = ""
    pids: Mapping[str, int] = field(default_factory=dict)


def is_running(pid: int) -> bool:
    """Whether a process with this id exists, whoever it belongs to."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class GuardedGroup:
    """Processes that start together, end together and never outlive this process.

    Args:
        specs: What to start; the end of one ends all.
        remove: Directory trees the guard deletes when the processes are gone.
        keep_open: File descriptors the guard holds as long as it lives, such as a lock.
        output: File descriptor for the output of processes without a log; None: standard error.
    """

    def __init__(
        self,
        specs: Sequence[ProcessSpec],
        *,
        remove: Sequence[Path] = (),
        keep_open: Sequence[int] = (),
        output: int | None = None,
    ) -> None:
        self.pids: Mapping[str, int] = {}
        self._specs = tuple(specs)
        self._received = b""
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd="/",
            # Ctrl-C reaches the whole foreground group: the owner decides the order, not the tty.
            start_new_session=True,
            pass_fds=tuple(keep_open),
            bufsize=0,
        )
        if self._guard.stdin is None or self._guard.stdout is None:
            raise AssertionError("pipes were asked for")
        self._control = self._guard.stdin
        self._reports = self._guard.stdout
        os.set_blocking(self._reports.fileno(), False)
        order = {"processes": [s.to_wire() for s in specs], "remove": [str(p) for p in remove]}
        with contextlib.suppress(BrokenPipeError):  # a guard that died is reported as gone
            self._control.write(msgspec.json.encode(order) + b"\n")

    @property
    def guard_pid(self) -> int:
        """Process id of the guard itself."""
        return self._guard.pid

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when `poll_report` may have news."""
        return self._reports.fileno()

    def poll_report(self) -> Report | None:
        """Return the next report without waiting; None when there is none yet."""
        while b"\n" not in self._received:
            try:
                chunk = os.read(self._reports.fileno(), READ_BYTES)
            except BlockingIOError:
                return None
            if not chunk:
                return Report("gone")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return self._take(msgspec.json.decode(line))

    def wait_report(self, timeout: float) -> Report | None:
        """Return the next report, waiting at most `timeout` seconds for it."""
        deadline = time.monotonic() + timeout
        while (report := self.poll_report()) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            select.select([self.fileno()], [], [], left)
        return report

    def request_stop(self) -> None:
        """Tell the guard to stop its processes; returns at once, may be repeated."""
        self._control.close()

    def stop(self, timeout: float = 30.0) -> None:
        """Stop everything and wait until it is gone. May be repeated."""
        self.request_stop()
        if self._reports.closed:
            return
        try:
            self._guard.wait(timeout)
        except subprocess.TimeoutExpired:
            self._guard.kill()
            self._guard.wait()
        report = self.poll_report()
        while report is not None and report.kind != "gone":  # unread reports may name processes
            report = self.poll_report()
        self._reports.close()
        if self._guard.returncode != 0:
            self._sweep()

    def _take(self, message: dict[str, Any]) -> Report:
        if "pids" in message:
            self.pids = message["pids"]
            return Report("started", pids=self.pids)
        if "failed" in message:
            return Report("failed", message["failed"], reason=message["reason"])
        return Report("exited", message["exited"], code=message["code"])

    def _sweep(self) -> None:
        """End what a killed guard left behind; on Linux the death signal has done it already."""
        left = {s.name: s for s in self._specs if s.name in self.pids}
        for name, spec in left.items():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pids[name], spec.stop_signal)
        grace = max((spec.grace_seconds for spec in left.values()), default=0.0)
        deadline = time.monotonic() + grace
        while any(is_running(self.pids[name]) for name in left) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        for name in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pids[name], signal.SIGKILL)
