"""The goals, and what was measured beside them. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

import msgspec

from bench.load import Record
from bench.plan import VAULT_CALLS, vault_group
from bench.remote_upstream import KINDS
from bench.remotes import Remotes
from bench.single import Memory
from bench.vault import GUARDED, OPEN, Vault

LEAST_TOOLS = 150
_CALL, _LIST = "models_get c=16", "tools/list c=16"


class Findings(msgspec.Struct, frozen=True):
    """Everything a run of the bench found out; None = not measured."""

    records: tuple[Record, ...]
    tools: int
    list_bytes: int
    memory: Memory | None = None
    cold_start: float | None = None
    dev_start: float | None = None
    remotes: Remotes | None = None
    vault: Vault | None = None


class Goal(msgspec.Struct, frozen=True):
    """One row of the table; ``measured`` is None where this run did not measure it."""

    what: str
    unit: str
    most: float
    measured: float | None

    @property
    def verdict(self) -> str:
        """Return ok, over, or – for what was not measured."""
        if self.measured is None:
            return "–"
        return "ok" if self.measured <= self.most else "over"


def goals(findings: Findings) -> list[Goal]:
    """Return the goals with the measured values."""
    records = findings.records
    rows: list[Goal] = []
    for engine, cpu, ratio in (("uvicorn", 0.25, 1.8), ("hypercorn", 0.50, 1.3)):
        gateway, floor = f"gateway/{engine}", f"forward/{engine}"
        rows += [
            Goal(f"tools/call, {engine}: CPU", "ms", cpu, cpu_of(records, _CALL, gateway)),
            Goal(
                f"tools/call, {engine}: to the floor",
                "×",
                ratio,
                ratio_of(records, _CALL, gateway, floor),
            ),
        ]
    for engine in ("uvicorn", "hypercorn"):
        measured = ratio_of(records, _LIST, f"gateway/{engine}", f"bytes/{engine}")
        rows.append(Goal(f"tools/list, {engine}: to the same bytes", "×", 1.4, measured))
    memory = findings.memory
    return [
        *rows,
        Goal("added latency, p50 at c=1", "ms", 0.6, added(records, "models_get c=1", _p50)),
        Goal("added latency, p99 at c=64", "ms", 40, added(records, "models_get c=64", _p99)),
        Goal("idle memory (PSS)", "MiB", 110, memory.idle if memory else None),
        Goal("growth after 200,000 calls", "MiB", 5, memory.growth if memory else None),
        Goal("cold start of scaimcp serve", "s", 1.5, findings.cold_start),
        Goal("scaimcp dev, warm", "s", 4, findings.dev_start),
        *_remote_goals(findings),
        *_vault_goals(findings),
    ]


def _remote_goals(findings: Findings) -> list[Goal]:
    records = findings.records
    rows: list[Goal] = []
    for kind in KINDS:
        group = f"remote, {kind} c=16"
        crowded = ratio_of(records, group, "crowded/uvicorn", "remote/uvicorn")
        rows += [
            Goal(f"remote tools/call, {kind}, {engine}: CPU", "ms", most, measured)
            for engine, most in (("uvicorn", 0.25), ("hypercorn", 0.50))
            for measured in [cpu_of(records, group, f"remote/{engine}")]
        ]
        rows.append(Goal(f"the same in the crowd, {kind}", "×", 1.1, crowded))
    listing, one = "tools/list, 1,000 remote c=16", "tools/list, 1,000 remote c=1"
    first = median([_p50(record) for record in of(records, one, "listing/uvicorn")])
    found = findings.remotes
    watched = found.discovery if found else None
    slower = watched.p99_meanwhile / watched.p99_before if watched else None
    return [
        *rows,
        Goal("tools/list, 1,000 remote: CPU", "ms", 1, cpu_of(records, listing, "listing/uvicorn")),
        Goal("tools/list, 1,000 remote: whole page at c=1", "ms", 20, first),
        Goal("1,000 definitions in a process", "MiB", 5, found.definitions_mib if found else None),
        Goal("discovery of the crowd", "s", 60, watched.seconds if watched else None),
        Goal("p99 of a gateway meanwhile", "×", 1.3, slower),
    ]


def _vault_goals(findings: Findings) -> list[Goal]:
    found = findings.vault
    loaded = found.loaded_mib if found else None
    return [
        Goal(
            "scaivault-mcp answers initialize, median",
            "s",
            0.6,
            found.median_start if found else None,
        ),
        Goal("the slowest of these starts", "s", 0.6, max(found.starts) if found else None),
        Goal("scaivault-mcp after a session (RSS)", "MiB", 70, found.rss_mib if found else None),
        Goal("the most it ever held there", "MiB", 70, found.peak_mib if found else None),
        Goal("the most under load, streamable HTTP", "MiB", 70, loaded),
        *(
            Goal(f"guards add to {tool}: CPU", "ms", 0.2, _guards_add(findings.records, tool))
            for tool in VAULT_CALLS
        ),
    ]


def _guards_add(records: Sequence[Record], tool: str) -> float | None:
    pairs = _pairs(records, vault_group(tool), GUARDED, OPEN)
    return median([guarded.cpu_ms - plain.cpu_ms for guarded, plain in pairs])


def of(records: Iterable[Record], group: str, peer: str) -> list[Record]:
    """Return the good runs of one peer in one group, by round."""
    found = [r for r in records if (r.group, r.peer) == (group, peer) and r.answers.ok]
    return sorted(found, key=lambda record: record.round)


def median(values: Sequence[float]) -> float | None:
    """Return the median, None of nothing."""
    return statistics.median(values) if values else None


def cpu_of(records: Iterable[Record], group: str, peer: str) -> float | None:
    """Return the CPU per answer in ms."""
    return median([record.cpu_ms for record in of(records, group, peer)])


def ratio_of(records: Sequence[Record], group: str, peer: str, floor: str) -> float | None:
    """Return CPU per answer of `peer` to that of `floor`, compared within each round."""
    pairs = _pairs(records, group, peer, floor)
    return median([mine.cpu_ms / other.cpu_ms for mine, other in pairs if other.cpu_ms])


def added(
    records: Sequence[Record], group: str, latency: Callable[[Record], float]
) -> float | None:
    """Return what the gateway adds to the direct call, compared within each round; ms."""
    pairs = _pairs(records, group, "gateway/uvicorn", "direct")
    return median([latency(mine) - latency(other) for mine, other in pairs])


def errors_of(records: Iterable[Record]) -> list[str]:
    """Return a line for each run with bad answers; a bench with any of them proves nothing."""
    return [
        f"{record.group}, {record.peer}: {record.answers.errors} bad answers of "
        f"{record.answers.ok + record.answers.errors}; {record.answers.sample}"
        for record in records
        if record.answers.errors or not record.answers.ok
    ]


def _pairs(
    records: Sequence[Record], group: str, peer: str, other: str
) -> list[tuple[Record, Record]]:
    others = {record.round: record for record in of(records, group, other)}
    mine = of(records, group, peer)
    return [(record, others[record.round]) for record in mine if record.round in others]


def _p50(record: Record) -> float:
    return record.answers.p50_ms


def _p99(record: Record) -> float:
    return record.answers.p99_ms
