"""The guard and its owner, with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from scaimcp.dev import guard
from scaimcp.dev.processes import GUARD, GuardedGroup, ProcessSpec, Report, is_running
from tests.dev.helpers import is_gone, kill, read_line, run_python, wait_until

pytestmark = pytest.mark.slow

FOREVER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('up', flush=True); time.sleep(600)"
)
PARENT = (
    "import subprocess, sys, time;"
    "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(p.pid, flush=True); time.sleep(600)"
)
OWNER = """
import sys, time
from pathlib import Path
from scaimcp.dev.processes import GuardedGroup, ProcessSpec
code, log = sys.argv[1:]
argv = (sys.executable, "-c", code)
group = GuardedGroup([ProcessSpec(name="child", argv=argv, environment={}, log=Path(log))])
report = group.wait_report(10)
print(group.guard_pid, report.pids["child"], flush=True)
time.sleep(600)
"""


def _spec(name: str, code: str, **changes: object) -> ProcessSpec:
    values: dict[str, object] = {
        "name": name,
        "argv": (sys.executable, "-c", code),
        "environment": dict(os.environ),
    }
    return ProcessSpec(**(values | changes))  # type: ignore[arg-type] # built from parts


def _next(group: GuardedGroup) -> Report:
    report = group.wait_report(15)
    assert report is not None
    return report


def test_a_group_runs_and_stops(tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = GuardedGroup([_spec("a", FOREVER, log=log), _spec("b", FOREVER, log=tmp_path / "b")])
    started = _next(group)
    wait_until(lambda: log.read_text() == "up\n")
    group.stop()
    group.stop()
    assert started.kind == "started"
    assert set(started.pids) == {"a", "b"}
    assert all(is_gone(pid) for pid in started.pids.values())


def test_a_process_that_ends_is_reported_and_ends_the_others(tmp_path: Path) -> None:
    specs = [_spec("a", FOREVER, log=tmp_path / "a"), _spec("b", "raise SystemExit(7)")]
    group = GuardedGroup(specs)
    pids = _next(group).pids
    ended, last = _next(group), _next(group)
    group.stop()
    assert (ended.kind, ended.name, ended.code) == ("exited", "b", 7)
    assert last.kind == "gone"
    assert is_gone(pids["a"])


def test_a_signal_is_reported_as_a_negative_code(tmp_path: Path) -> None:
    group = GuardedGroup([_spec("a", FOREVER, log=tmp_path / "a")])
    os.kill(_next(group).pids["a"], signal.SIGKILL)
    ended = _next(group)
    group.stop()
    assert ended.code == -signal.SIGKILL


def test_a_missing_program_is_reported_by_name(tmp_path: Path) -> None:
    specs = [
        _spec("a", FOREVER, log=tmp_path / "a"),
        _spec("b", "", argv=("/nonexistent/program",)),
    ]
    group = GuardedGroup(specs)
    report = _next(group)
    group.stop()
    assert (report.kind, report.name) == ("failed", "b")
    assert "/nonexistent/program" in report.reason


def test_a_process_that_ignores_its_signal_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = GuardedGroup([_spec("a", STUBBORN, log=log, grace_seconds=0.2)])
    pid = _next(group).pids["a"]
    wait_until(lambda: log.read_text() == "up\n")
    group.stop()
    assert is_gone(pid)


def test_descendants_of_a_process_go_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = GuardedGroup([_spec("a", PARENT, log=log)])
    _next(group)
    wait_until(lambda: log.read_text().endswith("\n"))
    group.stop()
    wait_until(lambda: is_gone(int(log.read_text())))


def test_output_without_a_log_goes_to_the_group_output() -> None:
    reader, writer = os.pipe()
    group = GuardedGroup([_spec("a", "print('hello')")], output=writer)
    os.close(writer)
    with os.fdopen(reader) as output:
        assert output.read() == "hello\n"
    group.stop()


def test_directories_are_removed_when_all_has_ended(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    doomed.mkdir()
    group = GuardedGroup([_spec("a", FOREVER, log=doomed / "log")], remove=[doomed])
    _next(group)
    group.stop()
    assert not doomed.exists()


def test_no_report_comes_in_time_from_a_quiet_group(tmp_path: Path) -> None:
    group = GuardedGroup([_spec("a", FOREVER, log=tmp_path / "a")])
    _next(group)
    assert group.wait_report(0.01) is None
    group.stop()


def test_environment_values_never_appear_in_arguments(tmp_path: Path) -> None:
    secret = "very-secret-value"
    spec = _spec("a", FOREVER, log=tmp_path / "a", environment={"KEY": secret})
    group = GuardedGroup([spec])
    pid = _next(group).pids["a"]
    command = ["ps", "-ww", "-o", "args=", "-p", f"{group.guard_pid},{pid}"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    group.stop()
    assert len(listed.splitlines()) == 2
    assert secret not in listed


@pytest.mark.parametrize("code", [FOREVER, STUBBORN])
def test_a_killed_owner_leaves_no_process(tmp_path: Path, code: str) -> None:
    owner = run_python(OWNER.replace("log=", "grace_seconds=0.3, log="), code, str(tmp_path / "l"))
    guard_pid, child_pid = map(int, read_line(owner).split())
    kill(owner)
    wait_until(lambda: is_gone(guard_pid) and is_gone(child_pid))


def test_a_killed_guard_leaves_no_process(tmp_path: Path) -> None:
    group = GuardedGroup([_spec("a", FOREVER, log=tmp_path / "a")])
    pid = _next(group).pids["a"]
    os.kill(group.guard_pid, signal.SIGKILL)
    assert _next(group).kind == "gone"
    group.stop()
    wait_until(lambda: is_gone(pid))


def test_a_guard_that_does_not_end_is_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    group = GuardedGroup([_spec("a", STUBBORN, log=log, grace_seconds=0.3)])
    pid = _next(group).pids["a"]
    wait_until(lambda: log.read_text() == "up\n")
    os.kill(group.guard_pid, signal.SIGSTOP)
    group.stop(timeout=0.05)
    wait_until(lambda: is_gone(pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_the_guard_ignores_signals_of_the_terminal(tmp_path: Path, number: int) -> None:
    group = GuardedGroup([_spec("a", FOREVER, log=tmp_path / "a")])
    pid = _next(group).pids["a"]
    os.kill(group.guard_pid, number)
    assert group.wait_report(0.1) is None
    assert is_running(pid)
    group.stop()


def test_a_terminated_guard_stops_its_processes(tmp_path: Path) -> None:
    group = GuardedGroup([_spec("a", FOREVER, log=tmp_path / "a")])
    pid = _next(group).pids["a"]
    os.kill(group.guard_pid, signal.SIGTERM)
    assert _next(group).kind == "gone"
    assert is_gone(pid)
    group.stop()


def test_a_guard_without_an_order_ends_at_once() -> None:
    result = subprocess.run(
        [sys.executable, "-I", str(GUARD)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, b"")


def test_a_guard_ignores_further_input(tmp_path: Path) -> None:
    order = {"processes": [_spec("a", FOREVER, log=tmp_path / "a").to_wire()], "remove": []}
    process = subprocess.Popen(
        [sys.executable, "-I", str(GUARD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    pid = json.loads(process.stdout.readline())["pids"]["a"]
    process.stdin.write(b"more\n")
    assert is_running(pid)
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()
    assert is_gone(pid)


def test_a_directory_still_written_to_is_removed_in_the_end(tmp_path: Path) -> None:
    doomed = tmp_path / "doomed"
    (doomed / "inner").mkdir(parents=True)
    begun = threading.Event()

    def write() -> None:
        begun.set()
        for number in range(2_000):
            try:
                (doomed / "inner" / str(number)).touch()
            except OSError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    guard.remove([str(doomed)])
    writer.join()
    guard.remove([str(doomed)])
    assert not doomed.exists()


def test_a_foreign_process_counts_as_running() -> None:
    assert is_running(1)
    assert is_running(os.getpid())


def test_an_ended_process_does_not_count_as_running() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not is_running(process.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a death signal")
@pytest.mark.parametrize(("generations", "code"), [(1, 0), (2, 1)])
def test_a_child_goes_on_only_while_its_guard_is_its_parent(generations: int, code: int) -> None:
    arm: Callable[[], None] | None = guard.death_signal_setter(signal.SIGTERM)
    assert arm is not None
    pid = os.fork()
    if pid == 0:
        if generations == 1:
            arm()
            os._exit(0)
        grandchild = os.fork()
        if grandchild == 0:  # as if the guard had died between fork and request
            arm()
            os._exit(0)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
