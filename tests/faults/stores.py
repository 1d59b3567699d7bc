"""PostgreSQL and Valkey that a test may kill, and start again on the same address and data.

They are the embedded servers of `scaimcp dev`, each under a guard of its own, so that the death
of one leaves the other alone. What a killed process has written stays, as on a machine that goes
on: transactions that were committed, and nothing at all of Valkey, which keeps no file here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from scaimcp.dev import stack
from scaimcp.dev.binaries import find_postgres, readable_postgres, service_account
from scaimcp.dev.layout import Layout, data_directory, prepare_layout, temporary_directory
from scaimcp.dev.processes import GuardedGroup, ProcessSpec
from tests.dev.helpers import is_gone
from tests.waiting import until


class Store:
    """One server that can die and come back.

    Args:
        url: where it is reached, dead or alive.
        spec: how it is started.
        is_ready: tells whether the process with this id takes connections.
        prepare: takes away what stops a start after a death.
    """

    def __init__(
        self,
        url: str,
        spec: ProcessSpec,
        is_ready: Callable[[int], bool],
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.url = url
        self._spec = spec
        self._is_ready = is_ready
        self._prepare = prepare
        self._group: GuardedGroup | None = None

    async def start(self) -> None:
        """Start it, as an operator or Kubernetes would, and wait until it takes connections."""
        assert self._group is None
        await asyncio.to_thread(self._prepare)
        self._group = group = GuardedGroup((self._spec,))
        report = await asyncio.to_thread(group.wait_report, 30.0)
        assert report is not None, "the guard says nothing"
        assert report.kind == "started", report
        await until(lambda: self._is_ready(group.pids[self._spec.name]))

    async def kill(self) -> None:
        """Kill it with all its processes, as the end of a container does."""
        assert self._group is not None
        first = self._group.pids[self._spec.name]
        # Its children cannot be found any more once it is dead.
        os.kill(first, signal.SIGSTOP)
        family = [first, *_children(first)]
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await until(lambda: all(is_gone(pid) for pid in family))
        await self.stop()

    async def stop(self) -> None:
        """End what is left of it; may be repeated."""
        group, self._group = self._group, None
        if group is not None:
            await asyncio.to_thread(group.stop)


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in listed.stdout.split()]


class Stores:
    """Both of them."""

    def __init__(self, postgres: Store, redis: Store) -> None:
        self.postgres = postgres
        self.redis = redis


@asynccontextmanager
async def start_stores() -> AsyncIterator[Stores]:
    """Start both on a new data directory that goes at the end."""
    account = service_account()
    data = data_directory(temporary_directory(account), account)
    layout = prepare_layout(data, account)
    stores = _stores(layout)
    try:
        await asyncio.gather(stores.postgres.start(), stores.redis.start())
        yield stores
    finally:
        await stores.postgres.stop()
        await stores.redis.stop()
        for tree in (*layout.remove, layout.shared / "postgres", data):
            shutil.rmtree(tree, ignore_errors=True)


def _stores(layout: Layout) -> Stores:
    programs = find_postgres()
    if layout.account is not None:
        programs = readable_postgres(programs, layout.account, layout.shared)
    stack._initialise(layout, programs)
    # A commit is answered when it is written; only a machine's end could still lose it.
    spec = stack._postgres(layout, programs, durable=True)
    postgres = Store(
        f"postgresql://postgres@/postgres?host={layout.postgres_sockets}",
        replace(spec, argv=(*spec.argv, "-c", "fsync=off")),
        lambda pid: stack._postgres_ready(layout, pid),
        lambda: (layout.postgres_data / "postmaster.pid").unlink(missing_ok=True),
    )
    redis = Store(
        f"unix://{layout.valkey_socket}",
        stack._valkey(layout, durable=False),
        lambda pid: stack._valkey_ready(layout, pid),
        lambda: Path(layout.valkey_socket).unlink(missing_ok=True),
    )
    return Stores(postgres, redis)
