"""``python -m bench``: measure the gateway against its goals. See README.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import proc, report, single, vault
from bench.floors import KINDS
from bench.goals import Findings, errors_of, goals
from bench.load import FOLDER, Record, Timing, build_program, measure
from bench.peers import (
    ENGINES,
    Peer,
    Stores,
    save_list,
    start_floor,
    start_gateway,
    start_nginx,
    start_upstream,
)
from bench.plan import FULL, GROUPS, QUICK, VAULT_GROUPS, Group, Schedule, present, runs
from bench.processes import BenchError
from bench.remotes import start_remotes
from scaimcp.dev.stack import start_stack
from scaimcp.migrating import migrate
from scaimcp.types import Secret

RESULTS = FOLDER / "results"
_FILL = Timing(0.3, 0.0)
_REMOTE = ("remote/uvicorn", "remote/hypercorn", "crowded/uvicorn", "listing/uvicorn")
# Of the time for everything, this much may go into the memory run.
_GROWTH_SHARE = 0.4


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; the exit code tells whether it ran and every answer was good."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, no long runs")
    parser.add_argument("--only", default="", help="only groups whose name holds this text")
    parser.add_argument("--rounds", type=int, help="rounds instead of the usual number")
    given = parser.parse_args(arguments)
    schedule = QUICK if given.quick else FULL
    if given.rounds:
        schedule = msgspec.structs.replace(schedule, rounds=given.rounds, vault_rounds=given.rounds)
    groups = tuple(group for group in GROUPS if given.only in group.name)
    vault_groups = tuple(group for group in VAULT_GROUPS if given.only in group.name)
    if given.only:
        schedule = msgspec.structs.replace(schedule, growth_calls=0, with_dev=False)
    try:
        return run(schedule, groups, vault_groups)
    except BenchError as error:
        say(f"bench: {error}")
        return 1


def run(schedule: Schedule, groups: Sequence[Group], vault_groups: Sequence[Group]) -> int:
    """Measure, print the tables, keep the results."""
    build_program()
    known = report.facts()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="scaimcp-bench-") as place:
        findings = Findings((), 0, 0)
        if groups:
            findings = _with_stores(schedule, groups, Path(place))
        if vault_groups:
            findings = _with_vault(schedule, vault_groups, Path(place), findings)
    reached = goals(findings)
    print(report.whole(known, findings, reached))
    kept = keep(RESULTS, [known, *findings.records, *reached])
    say(f"{time.monotonic() - began:.0f} s; results in {kept.relative_to(FOLDER.parent)}")
    bad = errors_of(findings.records)
    for line in bad:
        say(line)
    return 1 if bad else 0


def keep(folder: Path, rows: Sequence[msgspec.Struct]) -> Path:
    """Write one line of JSON per row; return the file."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.jsonl"
    lines = [msgspec.json.encode({"kind": type(row).__name__.lower(), "row": row}) for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def say(line: str) -> None:
    """Tell the reader at the terminal how far it is; the report alone goes to standard output."""
    print(line, file=sys.stderr, flush=True)


def _with_stores(schedule: Schedule, groups: Sequence[Group], folder: Path) -> Findings:
    with start_stack() as embedded:
        migrate(Secret(embedded.database_url))
        stores = Stores(embedded.database_url, embedded.redis_url)
        return _measure_all(schedule, groups, folder, stores)


def _with_vault(
    schedule: Schedule, groups: Sequence[Group], folder: Path, findings: Findings
) -> Findings:
    """Measure ``scaivault-mcp``; return the findings with what was found."""
    say("scaivault-mcp")
    once = vault.measure_once(folder, schedule.vault_starts)
    own = msgspec.structs.replace(schedule, rounds=schedule.vault_rounds)
    end = time.monotonic() + schedule.total_seconds
    with ExitStack() as stack:
        upstream, *commands = vault.start_commands(stack, folder)
        records = _rounds(own, groups, {peer.name: peer for peer in commands}, upstream, end)
        loaded = proc.resident(commands[-1].pid).peak
    once = msgspec.structs.replace(once, loaded_mib=loaded)
    return msgspec.structs.replace(findings, records=(*findings.records, *records), vault=once)


def _measure_all(
    schedule: Schedule, groups: Sequence[Group], folder: Path, stores: Stores
) -> Findings:
    end = time.monotonic() + schedule.total_seconds
    with ExitStack() as stack:
        upstream = start_upstream(stack, folder)
        gateway = start_gateway(stack, folder, "gateway/uvicorn", upstream.url, stores)
        say("memory")
        memory = single.memory(
            gateway, upstream, schedule.growth_calls, schedule.total_seconds * _GROWTH_SHARE
        )
        list_bytes, tools = save_list(folder, gateway)
        peers = {peer.name: peer for peer in (upstream, gateway)}
        _start_others(stack, folder, peers, stores)
        remotes = None
        if any(entry.peer in _REMOTE for group in groups for entry in group.entries):
            say("remote servers")
            more, remotes = start_remotes(stack, folder, upstream, stores, schedule.crowd)
            peers.update({peer.name: peer for peer in more})
        records = _rounds(schedule, groups, peers, upstream, end)
        say("starts")
        cold = single.cold_start(folder, upstream.url, stores, schedule.starts)
    dev = single.warm_dev_start(folder, 1) if schedule.with_dev else None
    return Findings(tuple(records), tools, list_bytes, memory, cold, dev, remotes)


def _start_others(stack: ExitStack, folder: Path, peers: dict[str, Peer], stores: Stores) -> None:
    upstream = peers["direct"].url
    started = [start_gateway(stack, folder, "gateway/hypercorn", upstream, stores)]
    started += [start_floor(stack, folder, k, e, upstream) for k in KINDS for e in ENGINES]
    nginx = start_nginx(stack, folder, upstream)
    if nginx is None:
        say("nginx is not installed: its rows are left out")
    else:
        started.append(nginx)
    peers.update({peer.name: peer for peer in started})


def _rounds(
    schedule: Schedule,
    groups: Sequence[Group],
    peers: dict[str, Peer],
    upstream: Peer,
    end: float,
) -> list[Record]:
    here = present(groups, frozenset(peers))
    for _, _, entry in runs(here, 1):
        measure(peers[entry.peer], entry.load, _FILL, upstream)
    timing = Timing(schedule.seconds, schedule.warm_seconds)
    records: list[Record] = []
    for number, group, entry in runs(here, schedule.rounds):
        if time.monotonic() > end:
            say("out of time: the remaining runs are left out")
            break
        record = measure(peers[entry.peer], entry.load, timing, upstream)
        record = msgspec.structs.replace(record, group=group.name, round=number)
        records.append(record)
        say(
            f"{number} {group.name:28} {entry.peer:18} {record.cpu_ms:.3f} ms "
            f"{record.answers.rps:>8,.0f}/s p50 {record.answers.p50_ms:.2f} "
            f"p99 {record.answers.p99_ms:.1f} others {record.other_cores:.2f}"
        )
    return records


if __name__ == "__main__":
    sys.exit(main())
