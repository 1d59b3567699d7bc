"""Start a table of children in the order their dependencies allow, watch them, stop them in order.

The table is data (`Child`); nothing here knows what a gateway is. Every child has a guard of its
own, so none outlives this process (`scaimcp.dev.processes`).
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from scaimcp.dev.locking import DirectoryLock
from scaimcp.dev.output import LinePump
from scaimcp.dev.processes import DevelopmentError, GuardedGroup, ProcessSpec, Report
from scaimcp.dev.readiness import Completed, Facts, Readiness
from scaimcp.dev.stack import Stack

STACK = "stack"
START_SECONDS = 60.0
GUARD_SECONDS = 5.0
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Fact:
    """Stands for a value that is known only once what provides it is ready."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One process of the set-up.

    Attributes:
        environment: Added to the inherited one; a `Fact` is looked up when the child starts.
        after: Names that must be ready before it starts; ``stack`` means the embedded servers.
        ready: When it is ready; `Completed` makes it a step that has to end with exit code 0.
        stop_seconds: How long it may take to stop before it is killed.
    """

    name: str
    argv: tuple[str, ...]
    ready: Readiness
    environment: Mapping[str, str | Fact]
    after: tuple[str, ...] = ()
    stop_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the supervisor runs.

    Attributes:
        start_stack: Starts the embedded servers; blocks for at most some hundred milliseconds.
        children: In starting order; stopped in reverse, the stack last.
        environment: What every child inherits.
        directory: Working directory of every child.
        lock: Held by every guard until its child is gone.
        on_ready: Called once with facts and process ids by name when everything is ready.
        log: Takes the children's output, one line a call.
    """

    start_stack: Callable[[], Stack]
    children: Sequence[Child]
    environment: Mapping[str, str]
    directory: Path
    lock: DirectoryLock
    on_ready: Callable[[Facts, Mapping[str, int]], None]
    log: Callable[[str], None]
    start_seconds: float = START_SECONDS


class ChildEndedError(DevelopmentError):
    """A process that should run has ended, or could not be started."""


class _StopRequested(Exception):
    """Ctrl-C or a termination signal."""


class Supervisor:
    """Runs one `Setup` until a signal comes or a child ends."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._facts: Facts = {}
        self._pids: dict[str, int] = {}
        self._groups: dict[str, GuardedGroup] = {}
        self._pumps: list[LinePump] = []
        self._stack: Stack | None = None
        self._ready = {name: asyncio.Event() for name in (STACK, *(c.name for c in setup.children))}

    async def run(self) -> None:
        """Start everything, wait for a signal, stop everything in order.

        Raises:
            DevelopmentError: A child or a server ended or did not become ready; all others have
                been stopped.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, stop.set)
        try:
            await self._run_until(stop)
        except ExceptionGroup as failures:
            stopped, _ = failures.split(_StopRequested)
            ours, foreign = failures.split((_StopRequested, DevelopmentError))
            if foreign is not None or ours is None:
                raise
            if stopped is None:
                raise _first(ours) from None
        finally:
            await self._stop_all()

    async def _run_until(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_raise_on(stop))
            for child in self._setup.children:
                tasks.create_task(self._run_child(child, tasks))
            # After the children: one that needs no server starts while this one blocks.
            tasks.create_task(self._run_stack())
            tasks.create_task(self._announce())

    async def _run_stack(self) -> None:
        # Blocking on purpose: nothing else can be done yet, and an interrupted start in a thread
        # would have to be waited for anyway. Signals are seen right after.
        self._stack = stack = self._setup.start_stack()
        self._facts |= {"database_url": stack.database_url, "redis_url": stack.redis_url}
        self._pids |= stack.pids
        self._ready[STACK].set()
        _raise_ended(await _next_report(stack.group), STACK)

    async def _run_child(self, child: Child, tasks: asyncio.TaskGroup) -> None:
        for name in child.after:
            await self._ready[name].wait()
        await child.ready.prepare(self._facts)
        group = self._groups[child.name] = self._launch(child)
        report = await _next_report(group)
        if report.kind != "started":
            _raise_ended(report, child.name)
        if isinstance(child.ready, Completed):
            await self._await_completion(child, group)
            return
        self._pids[child.name] = report.pids[child.name]
        tasks.create_task(_watch(child.name, group))
        await child.ready.wait(self._facts)
        self._ready[child.name].set()

    async def _await_completion(self, child: Child, group: GuardedGroup) -> None:
        report = await _next_report(group)
        if report.kind != "exited" or report.code != 0:
            _raise_ended(report, child.name)
        self._ready[child.name].set()

    def _launch(self, child: Child) -> GuardedGroup:
        added = {
            name: self._facts[value.name] if isinstance(value, Fact) else value
            for name, value in child.environment.items()
        }
        spec = ProcessSpec(
            name=child.name,
            argv=child.argv,
            environment={**self._setup.environment, **added},
            directory=self._setup.directory,
            grace_seconds=child.stop_seconds,
        )
        pump = LinePump(child.name, self._setup.log)
        self._pumps.append(pump)
        try:
            return GuardedGroup([spec], keep_open=(self._setup.lock.fileno(),), output=pump.writer)
        finally:
            pump.release_writer()

    async def _announce(self) -> None:
        try:
            async with asyncio.timeout(self._setup.start_seconds):
                for event in self._ready.values():
                    await event.wait()
        except TimeoutError:
            late = ", ".join(name for name, event in self._ready.items() if not event.is_set())
            seconds = self._setup.start_seconds
            raise ChildEndedError(f"not ready after {seconds:.0f} s: {late}") from None
        self._setup.on_ready(self._facts, self._pids)

    async def _stop_all(self) -> None:
        for child in reversed(self._setup.children):
            if (group := self._groups.get(child.name)) is not None:
                group.request_stop()
                await _until_gone(group, child.stop_seconds + GUARD_SECONDS)
                group.stop(GUARD_SECONDS)
        for pump in self._pumps:
            pump.close()
        if self._stack is not None:
            self._stack.stop()


async def _raise_on(stop: asyncio.Event) -> NoReturn:
    await stop.wait()
    raise _StopRequested


async def _watch(name: str, group: GuardedGroup) -> NoReturn:
    _raise_ended(await _next_report(group), name)


def _raise_ended(report: Report, name: str) -> NoReturn:
    """Say why `name`, a child or the stack, is no longer there."""
    if report.kind == "exited":
        how = f"exit code {report.code}"
        if report.code < 0:
            how = signal.Signals(-report.code).name
        raise ChildEndedError(f"{report.name} ended unexpectedly ({how}); stopping the others")
    if report.kind == "failed":
        raise ChildEndedError(f"{report.name} could not be started: {report.reason}")
    raise ChildEndedError(f"the guard process of {name} was killed; stopping the others")


def _first(failures: ExceptionGroup[Exception]) -> Exception:
    """Return the first single failure of a group."""
    error: Exception = failures
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _next_report(group: GuardedGroup) -> Report:
    """Return the group's next report without blocking the loop."""
    loop = asyncio.get_running_loop()
    while (report := group.poll_report()) is None:
        readable = asyncio.Event()
        loop.add_reader(group.fileno(), readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(group.fileno())
    return report


async def _until_gone(group: GuardedGroup, seconds: float) -> None:
    """Wait for the end of the guard while the loop goes on forwarding output."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            report = await _next_report(group)
            while report.kind != "gone":
                report = await _next_report(group)
