"""Guard process: owns a few processes and stops them when its own owner goes away.

Runs as ``python -I guard.py`` and imports nothing of the project, so it starts in some 30 ms. Its
standard input is a pipe whose other end only the owner holds: one line of JSON says what to start,
and end of file means stop, however the owner ended (`kill -9` included). Secrets travel in that
line, never in the arguments. On standard output it reports, one JSON object a line:

* ``{"pids": {name: pid}}`` once all processes run,
* ``{"failed": name, "reason": text}`` when one could not be started,
* ``{"exited": name, "code": n}`` when one ended by itself (negative: the signal that ended it).

The end of one process stops the others. Output of processes without a log file goes to the guard's
standard error. Should the guard itself be killed, Linux delivers each process its death signal; on
other systems the owner sweeps up (`scaimcp.dev.processes`).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

PR_SET_PDEATHSIG = 1
REMOVE_SECONDS = 2.0
STDERR = 2


@dataclass(frozen=True)
class Running:
    """A started process and how to end it."""

    name: str
    process: subprocess.Popen[bytes]
    stop_signal: int
    grace_seconds: float


def death_signal_setter(number: int) -> Callable[[], None] | None:
    """Return what a child runs before ``exec`` to receive `number` when the guard dies.

    None where the system has no such request (only Linux does).
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    guard = os.getpid()

    def arm() -> None:
        libc.prctl(PR_SET_PDEATHSIG, number)
        if os.getppid() != guard:  # the guard died before the request was in place
            os._exit(1)

    return arm


def start(spec: dict[str, Any]) -> Running:
    """Start one process as described by `ProcessSpec.to_wire`.

    Raises:
        OSError: The program is missing or may not be run.
        subprocess.SubprocessError: The child failed before ``exec``.
    """
    identity: dict[str, Any] = {}
    if spec["uid"] is not None:
        identity = {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}
    with contextlib.ExitStack() as stack:
        output: Any = STDERR
        if spec["log"] is not None:
            output = stack.enter_context(Path(spec["log"]).open("wb"))
        process = subprocess.Popen(
            spec["argv"],
            cwd=spec["cwd"],
            env=spec["env"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
            # The guard has one thread, so running Python between fork and exec is safe here.
            preexec_fn=death_signal_setter(spec["death_signal"]),  # noqa: PLW1509
            **identity,
        )
    return Running(spec["name"], process, spec["stop_signal"], spec["grace_seconds"])


def stop(children: Sequence[Running]) -> None:
    """Ask every process to end, then kill what is left of it and its process group."""
    for child in children:
        if child.process.poll() is None:
            child.process.send_signal(child.stop_signal)
    begun = time.monotonic()
    for child in children:
        left = child.grace_seconds - (time.monotonic() - begun)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(max(left, 0.0))
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait()


def remove(paths: Sequence[str]) -> None:
    """Delete directory trees; repeats for a while, since others may still write into them."""
    deadline = time.monotonic() + REMOVE_SECONDS
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        while Path(path).exists() and time.monotonic() < deadline:
            time.sleep(0.02)
            shutil.rmtree(path, ignore_errors=True)


def report(message: dict[str, Any]) -> None:
    """Send one report to the owner, who may no longer be there to read it."""
    with contextlib.suppress(BrokenPipeError):
        os.write(1, json.dumps(message).encode() + b"\n")


def wake_on_signals() -> int:
    """Turn signals into bytes on a pipe (the signal's number) and return the pipe's reading end.

    Handlers, not SIG_IGN: an ignored signal would stay ignored in the children.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _handle)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _handle(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the wake-up pipe carries the news."""


def wait(children: Sequence[Running], wake: int) -> Running | None:
    """Block until a process ends by itself (returned) or the guard shall stop (None)."""
    while True:
        for child in children:
            if child.process.poll() is not None:
                return child
        readable, _, _ = select.select([0, wake], [], [])
        if 0 in readable and not os.read(0, 4096):
            return None
        if wake in readable and signal.SIGTERM in os.read(wake, 4096):
            return None


def main() -> int:
    """Start what the first input line says, watch it, stop it. Returns the exit code."""
    wake = wake_on_signals()
    line = sys.stdin.buffer.readline()
    if not line:  # the owner died before it said what to start
        return 0
    order = json.loads(line)
    children: list[Running] = []
    try:
        for spec in order["processes"]:
            try:
                children.append(start(spec))
            except (OSError, subprocess.SubprocessError) as error:
                report({"failed": spec["name"], "reason": str(error)})
                return 1
        report({"pids": {child.name: child.process.pid for child in children}})
        ended = wait(children, wake)
        if ended is not None:
            report({"exited": ended.name, "code": ended.process.returncode})
        return 0
    finally:
        stop(children)
        remove(order["remove"])


if __name__ == "__main__":
    sys.exit(main())
