"""The tables that the bench prints, as Markdown. Pure but for `facts`."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from bench.goals import Findings, Goal, median, of
from bench.load import Record
from bench.vault import Vault

_LIBRARIES = ("uvicorn", "hypercorn", "aiohttp", "uvloop", "httptools", "msgspec")
# Above this share of a core the figures say more about the neighbours than about the gateway.
_QUIET_CORES = 0.1


class Facts(msgspec.Struct, frozen=True):
    """The machine and the versions that a result belongs to."""

    processor: str
    cores: int
    kernel: str
    python: str
    libraries: dict[str, str]
    load_before: float


def facts() -> Facts:
    """Return the facts of this machine."""
    return Facts(
        processor=processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        cores=os.cpu_count() or 1,
        kernel=platform.release(),
        python=platform.python_version(),
        libraries={name: version(name) for name in _LIBRARIES},
        load_before=os.getloadavg()[0],
    )


def processor(cpuinfo: str) -> str:
    """Return the processor's name out of ``/proc/cpuinfo``."""
    names = [line for line in cpuinfo.splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else "unknown processor"


def machine_lines(known: Facts, records: Sequence[Record]) -> list[str]:
    """Return machine, versions and how quiet it was."""
    libraries = ", ".join(f"{name} {number}" for name, number in known.libraries.items())
    others = median([record.other_cores for record in records]) or 0.0
    most = max((record.other_cores for record in records), default=0.0)
    quiet = "a quiet machine" if others <= _QUIET_CORES else "a shared machine"
    return [
        f"{known.cores} × {known.processor}, Linux {known.kernel}, Python {known.python}",
        libraries,
        f"{quiet}: other work used {others:.2f} cores (median; at most {most:.2f}), "
        f"load average at the start {known.load_before:.2f}",
    ]


def goal_table(goals: Iterable[Goal]) -> list[str]:
    """Return the goals beside the measured values."""
    lines = ["| goal | at most | measured | |", "|---|---|---|---|"]
    for goal in goals:
        measured = "–" if goal.measured is None else f"{_number(goal.measured)} {goal.unit}"
        most = f"{_number(goal.most)} {goal.unit}"
        lines.append(f"| {goal.what} | {most} | {measured} | {goal.verdict} |")
    return lines


def run_table(records: Sequence[Record]) -> list[str]:
    """Return one row per group and peer: medians over the rounds."""
    lines = [
        "| load | peer | CPU ms per answer (min–max) | answers/s | p50 / p99 ms | PSS MiB "
        "| platform requests per answer |",
        "|---|---|---|---|---|---|---|",
    ]
    for group, peer in dict.fromkeys((record.group, record.peer) for record in records):
        rows = of(records, group, peer)
        if rows:
            lines.append(f"| {group} | {peer} | {_cells(rows)} |")
    return lines


def whole(known: Facts, findings: Findings, goals: Iterable[Goal]) -> str:
    """Return the report."""
    listed = f"tools/list: {findings.tools} tools, {findings.list_bytes:,} bytes"
    vault = findings.vault
    memory = findings.memory
    grown = ""
    if memory is not None and memory.calls:
        grown = f"; growth measured over {memory.calls:,} calls, {memory.errors} errors"
    return "\n".join(
        [
            *machine_lines(known, findings.records),
            *([listed + grown] if findings.tools else []),
            *([_vault_line(vault)] if vault else []),
            "",
            *goal_table(goals),
            "",
            *run_table(findings.records),
        ]
    )


def _vault_line(vault: Vault) -> str:
    least, most = min(vault.starts), max(vault.starts)
    return (
        f"scaivault-mcp: {len(vault.starts)} starts of {least:.2f} to {most:.2f} s; "
        f"{vault.tools} tools called in the session"
    )


def _cells(rows: Sequence[Record]) -> str:
    cpu = [row.cpu_ms for row in rows]
    answers = [row.answers for row in rows]
    p50, p99 = median([a.p50_ms for a in answers]), median([a.p99_ms for a in answers])
    cells = [
        f"{median(cpu):.3f} ({min(cpu):.3f}–{max(cpu):.3f})",
        f"{median([a.rps for a in answers]):,.0f}",
        f"{p50:.2f} / {p99:.1f}",
        f"{median([row.pss_mib for row in rows]):.0f}",
        f"{median([row.platform_calls for row in rows]):.2f}",
    ]
    return " | ".join(cells)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
