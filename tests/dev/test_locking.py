from __future__ import annotations

import os
from pathlib import Path

import pytest

from scaimcp.dev.locking import LOCK_NAME, DirectoryInUseError, DirectoryLock
from scaimcp.dev.processes import DevelopmentError
from tests.dev.helpers import is_gone, kill, read_line, run_python, wait_until

HOLDER = """
import os, sys, time
from pathlib import Path
from scaimcp.dev.locking import DirectoryLock
from scaimcp.dev.processes import GuardedGroup, ProcessSpec
lock = DirectoryLock(Path(sys.argv[1]))
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
spec = ProcessSpec(name="slow", argv=(sys.executable, "-c", code), environment={}, grace_seconds=1)
group = GuardedGroup([spec], keep_open=(lock.fileno(),))
print(os.getpid(), group.wait_report(10).pids["slow"], flush=True)
time.sleep(600)
"""


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    first = DirectoryLock(tmp_path)
    with pytest.raises(DirectoryInUseError) as refused:
        DirectoryLock(tmp_path)
    first.release()
    assert refused.value.pid == os.getpid()
    assert f"process {os.getpid()} uses the data directory {tmp_path}" in str(refused.value)


def test_a_released_directory_can_be_taken_again(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.release()
    lock.release()
    DirectoryLock(tmp_path).release()


def test_a_holder_that_has_not_written_its_id_is_another_process(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    (tmp_path / LOCK_NAME).write_text("")
    with pytest.raises(DirectoryInUseError, match="another process uses") as refused:
        DirectoryLock(tmp_path)
    lock.release()
    assert refused.value.pid is None


def test_the_guards_of_a_killed_owner_are_waited_for(tmp_path: Path) -> None:
    owner = run_python(HOLDER, str(tmp_path))
    owner_pid, slow_pid = map(int, read_line(owner).split())
    with pytest.raises(DirectoryInUseError) as refused:
        DirectoryLock(tmp_path)
    kill(owner)
    lock = DirectoryLock(tmp_path)
    assert is_gone(slow_pid)
    lock.release()
    assert refused.value.pid == owner_pid
    wait_until(lambda: is_gone(owner_pid))


def test_a_directory_that_is_missing_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DevelopmentError, match=r"cannot write to .*: No such file"):
        DirectoryLock(tmp_path / "missing")
