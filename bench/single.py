"""Figures that are measured once or a few times: memory, and how long a start takes."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.load import Record, Timing, call_model, call_models, list_tools, measure, memory_of
from bench.peers import Peer, Stores, start_gateway
from bench.processes import python, running, wait_for_file

_SETTLING_CALLS = 20_000
_LONGEST_SETTLING = 20.0


class Memory(msgspec.Struct, frozen=True):
    """Memory of one gateway process in MiB.

    ``idle`` is after a start and ten answers of each kind, ``settled`` after `_SETTLING_CALLS`
    calls, ``after`` when ``calls`` more were answered; the growth is between the last two.
    """

    idle: float
    settled: float | None = None
    after: float | None = None
    calls: int = 0
    errors: int = 0

    @property
    def growth(self) -> float | None:
        """Return the growth in MiB, None where it was not measured."""
        if self.after is None or self.settled is None:
            return None
        return self.after - self.settled


def memory(gateway: Peer, upstream: Peer, calls: int, longest: float) -> Memory:
    """Measure the memory of a gateway that has just been started.

    Args:
        gateway: the fresh gateway; no other process of its kind should run, since shared pages
            count by share.
        upstream: the platform behind it.
        calls: how many calls the growth is measured over, 0 for the idle figure only.
        longest: seconds after which fewer calls have to do.
    """
    few = Timing(5.0, 0.0, answers=10)
    for load in (list_tools(1), call_model(1), call_models(1)):
        measure(gateway, load, few, upstream)
    idle = memory_of(gateway)
    if not calls:
        return Memory(idle)
    settling = Timing(_LONGEST_SETTLING, 0.0, answers=_SETTLING_CALLS)
    measure(gateway, call_model(16), settling, upstream)
    settled = memory_of(gateway)
    record: Record = measure(gateway, call_model(16), Timing(longest, 0.0, answers=calls), upstream)
    answers = record.answers
    return Memory(idle, settled, memory_of(gateway), answers.ok, answers.errors)


def cold_start(folder: Path, upstream: str, stores: Stores, times: int) -> float:
    """Return the seconds from the start of ``scaimcp serve`` to ``/readyz``, the median."""
    seconds = []
    for _ in range(times):
        with ExitStack() as stack:
            began = time.monotonic()
            start_gateway(stack, folder, "gateway/uvicorn", upstream, stores)
            seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def warm_dev_start(folder: Path, times: int) -> float:
    """Return the seconds from the start of ``scaimcp dev`` to its ready file.

    The first start makes the database and does not count.
    """
    seconds = []
    # Beside `folder`, not below it: the servers run as another user where we are root.
    with tempfile.TemporaryDirectory(prefix="scaimcp-bench-dev-") as data:
        Path(data).chmod(0o755)
        ready, log = folder / "dev.ready", folder / "dev.log"
        arguments = ("dev", "--port", "0", "--data-dir", f"{data}/data")
        command = [*python("scaimcp", *arguments), "--ready-file", str(ready)]
        for _ in range(times + 1):
            began = time.monotonic()
            with running(command, log) as process:
                wait_for_file(ready, process, log)
                seconds.append(time.monotonic() - began)
    return statistics.median(seconds[1:])
