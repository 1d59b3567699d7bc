"""Order, failures and deadlines of the supervisor, with tables of tiny children."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from scaimcp.dev.locking import DirectoryLock
from scaimcp.dev.processes import DevelopmentError
from scaimcp.dev.readiness import Completed, Facts, ReadyFile
from scaimcp.dev.stack import Stack, StackError, start_stack
from scaimcp.dev.supervisor import Child, ChildEndedError, Fact, Setup, Supervisor
from tests.dev.helpers import is_gone

pytestmark = pytest.mark.slow

SERVE = """
import json, os, signal, sys, time
def end(*_):
    print("ends", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
with open(sys.argv[1] + ".part", "w") as file: json.dump({"url": os.environ["VALUE"]}, file)
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""

ReadyCall = Callable[[Facts, Mapping[str, int]], None]


class Bench:
    """A directory, its lock, and what a run has said."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lock = DirectoryLock(directory)
        self.lines: list[str] = []
        self.facts: Facts = {}
        self.pids: dict[str, int] = {}
        self.stack: Stack | None = None

    def server(self, name: str, value: str | Fact = "v", after: tuple[str, ...] = ()) -> Child:
        path = self.directory / name
        return Child(
            name=name,
            argv=(sys.executable, "-c", SERVE, str(path)),
            ready=ReadyFile(path, field="url", fact=name),
            environment={"VALUE": value},
            after=after,
        )

    def step(self, code: str, after: tuple[str, ...] = ()) -> Child:
        argv = (sys.executable, "-c", code)
        return Child(name="step", argv=argv, ready=Completed(), environment={}, after=after)

    async def run(self, *children: Child, on_ready: ReadyCall | None = None) -> None:
        await self.supervise(children, on_ready or self.stop_when_ready)

    async def supervise(
        self, children: tuple[Child, ...], on_ready: ReadyCall, seconds: float = 30
    ) -> None:
        setup = Setup(
            start_stack=self._start,
            children=children,
            environment=dict(os.environ),
            directory=self.directory,
            lock=self.lock,
            on_ready=on_ready,
            log=self.lines.append,
            start_seconds=seconds,
        )
        await Supervisor(setup).run()

    def stop_when_ready(self, facts: Facts, pids: Mapping[str, int]) -> None:
        self.facts, self.pids = dict(facts), dict(pids)
        os.kill(os.getpid(), signal.SIGTERM)

    def assert_nothing_is_left(self) -> None:
        assert self.stack is not None
        pids = [*self.pids.values(), *self.stack.pids.values(), self.stack.group.guard_pid]
        assert all(is_gone(pid) for pid in pids)
        self.lock.release()
        DirectoryLock(self.directory).release()

    def _start(self) -> Stack:
        self.stack = start_stack(self.directory / "stack", durable=False)
        return self.stack


@pytest.fixture
def bench(open_dir: Path) -> Iterator[Bench]:
    bench = Bench(open_dir)
    yield bench
    bench.lock.release()


async def test_children_start_after_what_they_need_and_stop_in_reverse(bench: Bench) -> None:
    first = bench.server("first")
    second = bench.server("second", Fact("database_url"), after=("step", "first"))
    step = bench.step("print('step done')", after=("stack",))
    await bench.run(first, step, second)
    assert bench.facts["second"] == bench.facts["database_url"]
    assert bench.facts["redis_url"].startswith("unix:///")
    assert set(bench.pids) == {"first", "second", "postgres", "redis"}
    expected = ["step     | step done", "second   | ends", "first    | ends"]
    assert bench.lines == expected
    bench.assert_nothing_is_left()


async def test_a_step_that_fails_stops_everything(bench: Bench) -> None:
    with pytest.raises(ChildEndedError, match=r"step ended unexpectedly \(exit code 3\)"):
        await bench.run(bench.step("raise SystemExit(3)"), bench.server("a"))
    assert "a        | ends" in bench.lines
    bench.assert_nothing_is_left()


async def test_a_child_that_ends_before_it_is_ready_stops_everything(bench: Bench) -> None:
    dying = Child(
        name="dying",
        argv=(sys.executable, "-c", "print('why')"),
        ready=ReadyFile(bench.directory / "never", field="url", fact="x"),
        environment={},
    )
    with pytest.raises(ChildEndedError, match=r"dying ended unexpectedly \(exit code 0\)"):
        await bench.run(dying)
    assert bench.lines == ["dying    | why"]
    bench.assert_nothing_is_left()


async def test_a_child_that_dies_later_stops_everything(bench: Bench) -> None:
    def kill_one(_facts: Facts, pids: Mapping[str, int]) -> None:
        bench.pids = dict(pids)
        os.kill(pids["a"], signal.SIGKILL)

    with pytest.raises(ChildEndedError, match=r"a ended unexpectedly \(SIGKILL\)"):
        await bench.run(bench.server("a"), bench.server("b"), on_ready=kill_one)
    assert bench.lines == ["b        | ends"]
    bench.assert_nothing_is_left()


async def test_a_database_that_dies_stops_everything(bench: Bench) -> None:
    def kill_postgres(_facts: Facts, pids: Mapping[str, int]) -> None:
        os.kill(pids["postgres"], signal.SIGKILL)

    with pytest.raises(ChildEndedError, match=r"postgres ended unexpectedly \(SIGKILL\)"):
        await bench.run(bench.server("a"), on_ready=kill_postgres)
    bench.assert_nothing_is_left()


async def test_a_killed_guard_is_noticed(bench: Bench) -> None:
    def kill_guard(_facts: Facts, _pids: Mapping[str, int]) -> None:
        assert bench.stack is not None
        os.kill(bench.stack.group.guard_pid, signal.SIGKILL)

    with pytest.raises(ChildEndedError, match="the guard process of stack was killed"):
        await bench.run(on_ready=kill_guard)


async def test_a_program_that_is_missing_is_named(bench: Bench) -> None:
    child = Child(name="x", argv=("/nonexistent/x",), ready=Completed(), environment={})
    with pytest.raises(ChildEndedError, match=r"x could not be started: .*nonexistent"):
        await bench.run(child)
    bench.assert_nothing_is_left()


async def test_a_stack_that_does_not_start_stops_the_rest(bench: Bench) -> None:
    bench.directory.joinpath("stack").mkdir()
    holder = DirectoryLock(bench.directory / "stack")
    with pytest.raises(DevelopmentError, match=f"process {os.getpid()} uses"):
        await bench.run(bench.server("a"))
    holder.release()
    assert bench.stack is None
    assert StackError.__mro__[1] is DevelopmentError


async def test_what_is_late_is_named(bench: Bench) -> None:
    late = Child(
        name="late",
        argv=(sys.executable, "-c", "import time; time.sleep(600)"),
        ready=ReadyFile(bench.directory / "never", field="url", fact="x"),
        environment={},
    )
    with pytest.raises(ChildEndedError, match=r"not ready after 1 s: late$"):
        await bench.supervise((bench.server("a"), late), bench.stop_when_ready, 1.0)
    bench.assert_nothing_is_left()


async def test_a_mistake_of_our_own_is_not_hidden(bench: Bench) -> None:
    def fail(_facts: Facts, _pids: Mapping[str, int]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup) as raised:
        await bench.run(bench.server("a"), on_ready=fail)
    assert raised.group_contains(ZeroDivisionError)
    bench.assert_nothing_is_left()


async def test_output_goes_on_while_a_child_stops(bench: Bench) -> None:
    """More than a pipe holds is written in the end: nobody may wait for a reader."""
    chatty = bench.server("chatty")
    code = SERVE.replace('print("ends"', 'print(("x" * 99 + "\\n") * 5_000 + "ends"')
    chatty = Child(
        name="chatty",
        argv=(sys.executable, "-c", code, chatty.argv[-1]),
        ready=chatty.ready,
        environment=chatty.environment,
        stop_seconds=20,
    )
    async with asyncio.timeout(20):
        await bench.run(chatty)
    assert len(bench.lines) == 5_001
    bench.assert_nothing_is_left()


async def test_a_child_that_does_not_stop_is_killed(bench: Bench) -> None:
    server = bench.server("a")
    code = SERVE.replace("signal.signal(signal.SIGTERM, end)", "signal.signal(15, signal.SIG_IGN)")
    stubborn = Child(
        name="a",
        argv=(sys.executable, "-c", code, server.argv[-1]),
        ready=server.ready,
        environment=server.environment,
        stop_seconds=0.2,
    )
    await bench.run(stubborn)
    bench.assert_nothing_is_left()
