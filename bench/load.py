"""One run of the load generator, and what it cost whom."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import msgspec

from bench import proc, vault_upstream
from bench.answers import BEARER, MODEL
from bench.peers import Peer
from bench.processes import BenchError, exchange
from bench.remote_upstream import MARKER

FOLDER = Path(__file__).parent
PROGRAM = FOLDER / "loadgen"
_SOURCE = FOLDER / "loadgen.c"
_FLAGS = ("-O2", "-Wall", "-Wextra")
_MODEL_PATH = f"/v1/models/{MODEL.replace('/', '%2F')}"


class Load(msgspec.Struct, frozen=True):
    """What is sent to a peer.

    ``method`` is call, list or get; ``marker`` is in every good answer; ``is_modern`` sends the
    envelope of 2026-07-28, ``has_sessions`` opens an MCP session per connection.
    """

    method: str
    connections: int
    path: str = "/mcp"
    tool: str = ""
    arguments: str = "{}"
    marker: str = MODEL
    is_modern: bool = False
    has_sessions: bool = False
    checks_ids: bool = True


class Timing(msgspec.Struct, frozen=True):
    """How long a run lasts; ``answers`` ends it earlier, 0 = by time only."""

    seconds: float
    warm_seconds: float = 0.4
    answers: int = 0


class Answers(msgspec.Struct, frozen=True):
    """The report of the load generator; times in milliseconds unless named otherwise."""

    method: str
    connections: int
    seconds: float
    ok: int
    errors: int
    rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    answers: int
    reconnects: int
    setup_failures: int
    bytes_per_answer: float
    cpu_s: float
    sample: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One run: the answers, and CPU and memory of the peer's process tree.

    ``cpu_ms`` is per answer; ``platform_calls`` are requests that reached the platform, per
    answer; ``other_cores`` is what everything outside the bench used meanwhile.
    """

    group: str
    peer: str
    round: int
    cpu_ms: float
    pss_mib: float
    platform_calls: float
    other_cores: float
    answers: Answers


def get_model(connections: int) -> Load:
    """The platform call behind `call_model`, without a gateway."""
    return Load("get", connections, path=_MODEL_PATH)


def call_model(connections: int, *, is_modern: bool = False, has_sessions: bool = False) -> Load:
    """Call ``models_get``."""
    return Load(
        "call",
        connections,
        tool="models_get",
        arguments=f'{{"model":"{MODEL}"}}',
        is_modern=is_modern,
        has_sessions=has_sessions,
    )


def call_remote(tool: str, connections: int) -> Load:
    """Call a tool of a light remote server."""
    arguments = '{"q":"release notes","limit":5}'
    return Load("call", connections, tool=tool, arguments=arguments, marker=MARKER)


def call_vault(tool: str, arguments: str, connections: int) -> Load:
    """Call a ScaiVault tool of the command; every answer names a path of the light vault."""
    return Load(
        "call",
        connections,
        tool=f"scaivault_{tool}",
        arguments=arguments,
        marker=vault_upstream.MARKER,
    )


def call_models(connections: int) -> Load:
    """Call ``models_list``."""
    return Load("call", connections, tool="models_list")


def list_tools(connections: int, *, is_modern: bool = False, checks_ids: bool = True) -> Load:
    """List the whole catalogue."""
    return Load(
        "list",
        connections,
        marker='"models_get"',
        is_modern=is_modern,
        checks_ids=checks_ids,
    )


def build_program() -> None:
    """Compile the load generator where it is missing or older than its source.

    Raises:
        BenchError: there is no C compiler, or it refuses.
    """
    if PROGRAM.exists() and PROGRAM.stat().st_mtime >= _SOURCE.stat().st_mtime:
        return
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise BenchError("the load generator needs a C compiler (gcc or cc)")
    command = [compiler, *_FLAGS, "-o", str(PROGRAM), str(_SOURCE)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BenchError(f"the load generator does not compile:\n{result.stderr}")


def command_line(peer: Peer, load: Load, timing: Timing) -> list[str]:
    """Return the command of one run."""
    command = [str(PROGRAM), "-u", f"{peer.url}{load.path}", "-c", str(load.connections)]
    command += ["-d", f"{timing.seconds:.2f}", "-w", f"{timing.warm_seconds:.2f}"]
    command += ["-m", load.method, "-k", load.marker, "-H", f"Authorization: Bearer {BEARER}"]
    if load.method == "call":
        command += ["-t", load.tool, "-a", load.arguments]
    if timing.answers:
        command += ["-n", str(timing.answers)]
    switches = (("-M", load.is_modern), ("-s", load.has_sessions), ("-I", not load.checks_ids))
    return command + [switch for switch, is_on in switches if is_on]


def measure(peer: Peer, load: Load, timing: Timing, upstream: Peer) -> Record:
    """Run the load once; group and round are filled in by the caller.

    Raises:
        BenchError: the load generator failed.
    """
    counted = f"{upstream.url}/counts"
    exchange(counted)
    began, busy, ours = time.monotonic(), proc.busy_seconds(), _own_cpu()
    before = proc.cpu_seconds(peer.pid)
    answers = _generate(command_line(peer, load, timing))
    used = proc.cpu_seconds(peer.pid) - before
    lasted = time.monotonic() - began
    others = proc.busy_seconds() - busy - (_own_cpu() - ours)
    counts = msgspec.json.decode(exchange(counted), type=dict[str, int])
    total = max(1, answers.answers)
    return Record(
        group="",
        peer=peer.name,
        round=0,
        cpu_ms=used * 1000 / total,
        pss_mib=memory_of(peer),
        platform_calls=sum(counts.values()) / total,
        other_cores=max(0.0, others / lasted),
        answers=answers,
    )


def memory_of(peer: Peer) -> float:
    """Return the memory of a peer's process tree in MiB."""
    parents = {pid: stat.parent for pid, stat in proc.stats().items()}
    return proc.pss_mib(proc.descendants(peer.pid, parents))


def _own_cpu() -> float:
    return proc.cpu_seconds(os.getpid(), with_ended=True)


def _generate(command: list[str]) -> Answers:
    result = subprocess.run(command, capture_output=True, check=False)
    try:
        return msgspec.json.decode(result.stdout, type=Answers)
    except msgspec.DecodeError:
        raise BenchError(f"the load generator failed: {result.stderr.decode()[-500:]}") from None
