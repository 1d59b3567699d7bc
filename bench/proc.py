"""What Linux tells of processes: their tree, the CPU they used, the memory they hold."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_BUSY_FIELDS = 8
_IDLE = (3, 4)


class Stat(msgspec.Struct, frozen=True):
    """The read fields of ``/proc/PID/stat``.

    ``own`` is user and system time in seconds, ``children`` that of children which have ended
    and were waited for.
    """

    parent: int
    own: float
    children: float


def parse_stat(text: str) -> Stat:
    """Read ``/proc/PID/stat``; the program's name may hold blanks and brackets."""
    fields = text.rpartition(")")[2].split()
    user, system, child_user, child_system = map(int, fields[11:15])
    own, children = (user + system) / _TICKS, (child_user + child_system) / _TICKS
    return Stat(int(fields[1]), own, children)


class Resident(msgspec.Struct, frozen=True):
    """Resident memory of one process in MiB, shared pages counted whole: now, and at its peak."""

    now: float
    peak: float


def parse_resident(text: str) -> Resident:
    """Read ``/proc/PID/status``."""
    lines = (line.partition(":") for line in text.splitlines())
    found = {name: value for name, _, value in lines}
    now, peak = (int(found[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return Resident(now, peak)


def parse_memory(text: str) -> float:
    """Return the proportional set size of ``smaps_rollup`` in MiB."""
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def parse_busy(text: str) -> float:
    """Return the busy seconds of all cores out of ``/proc/stat``."""
    values = [int(word) for word in text.partition("\n")[0].split()[1 : 1 + _BUSY_FIELDS]]
    return (sum(values) - sum(values[place] for place in _IDLE)) / _TICKS


def descendants(root: int, parents: dict[int, int]) -> list[int]:
    """Return `root` and everything below it.

    Args:
        root: process id.
        parents: parent's id by process id.
    """
    found = [root]
    for pid in found:  # grows while it is read
        found.extend(child for child, parent in parents.items() if parent == pid)
    return found


def stats() -> dict[int, Stat]:
    """Return the stat of every process; those that end meanwhile are left out."""
    found: dict[int, Stat] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = parse_stat((entry / "stat").read_text())
    return found


def cpu_seconds(root: int, *, with_ended: bool = False) -> float:
    """Return the CPU that a process tree used; `with_ended` counts children gone by now."""
    known = stats()
    tree = descendants(root, {pid: stat.parent for pid, stat in known.items()})
    rows = [known[pid] for pid in tree if pid in known]
    return sum(row.own + (row.children if with_ended else 0.0) for row in rows)


def pss_mib(pids: Iterable[int]) -> float:
    """Return the memory of processes, shared pages counted by share."""
    return sum(parse_memory((PROC / str(pid) / "smaps_rollup").read_text()) for pid in pids)


def resident(pid: int) -> Resident:
    """Return the resident memory of one process."""
    return parse_resident((PROC / str(pid) / "status").read_text())


def busy_seconds() -> float:
    """Return the CPU that the whole machine used since it started."""
    return parse_busy((PROC / "stat").read_text())
