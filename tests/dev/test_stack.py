"""The embedded servers, for real: durability, locks, sudden deaths, root."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import redis

from scaimcp.dev import stack as stack_module
from scaimcp.dev.binaries import find_postgres, readable_postgres, service_account
from scaimcp.dev.locking import DirectoryInUseError, DirectoryLock
from scaimcp.dev.stack import Stack, StackError, start_stack
from tests.dev.helpers import IS_ROOT, is_gone, kill, read_line, run_python, wait_until

pytestmark = pytest.mark.slow

OWNER = """
import sys, time
from pathlib import Path
from scaimcp.dev.stack import start_stack
stack = start_stack(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
print(stack.group.guard_pid, *stack.pids.values(), stack.layout.data, flush=True)
time.sleep(600)
"""


def _query(url: str, *statements: str) -> Any:
    async def work() -> Any:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(work())


def _all_gone(stack: Stack) -> bool:
    return all(is_gone(pid) for pid in (stack.group.guard_pid, *stack.pids.values()))


@pytest.fixture(scope="module")
def initialised() -> Iterator[Path]:
    """A data directory with a row and a key, stopped; tests work on copies."""
    directory = Path(tempfile.mkdtemp(prefix="scaimcp-test-"))
    directory.chmod(0o711)
    with start_stack(directory / "data") as stack:
        create = "CREATE TABLE kept (value text)"
        _query(stack.database_url, create, "INSERT INTO kept VALUES ('row')", "SELECT 1")
        with redis.Redis.from_url(stack.redis_url) as client:
            client.set("kept", "key")
    yield directory / "data"
    shutil.rmtree(directory)


@pytest.fixture
def data(initialised: Path, open_dir: Path) -> Path:
    target = open_dir / "data"
    subprocess.run(["cp", "-a", initialised, target], check=True)
    return target


def test_rows_and_keys_survive_a_restart(data: Path) -> None:
    with start_stack(data) as stack:
        assert _query(stack.database_url, "SELECT value FROM kept") == "row"
        with redis.Redis.from_url(stack.redis_url) as client:
            assert client.get("kept") == b"key"
    assert _all_gone(stack)
    assert data.exists()


def test_an_ephemeral_stack_leaves_nothing() -> None:
    with start_stack() as stack:
        assert set(stack.pids) == {"postgres", "redis"}
        assert _query(stack.database_url, "SHOW fsync") == "off"
        assert stack.layout.data.exists()
    stack.stop()
    assert _all_gone(stack)
    assert not stack.layout.data.exists()


def test_a_durable_stack_syncs_and_listens_on_no_port(data: Path) -> None:
    with start_stack(data) as stack:
        assert _query(stack.database_url, "SHOW fsync") == "on"
        assert _query(stack.database_url, "SHOW listen_addresses") == ""
        with redis.Redis.from_url(stack.redis_url) as client:
            assert client.config_get("port") == {"port": "0"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_a_second_start_says_who_holds_the_directory(data: Path) -> None:
    with start_stack(data), pytest.raises(DirectoryInUseError) as refused:
        start_stack(data)
    assert refused.value.pid == os.getpid()


def test_a_lock_of_the_caller_stays_with_the_caller(data: Path) -> None:
    lock = DirectoryLock(data)
    with start_stack(data, lock=lock):
        pass
    with pytest.raises(DirectoryInUseError):
        DirectoryLock(data)
    lock.release()
    DirectoryLock(data).release()


@pytest.mark.parametrize("durable", [True, False])
def test_a_killed_owner_leaves_no_process_and_no_lock(data: Path, durable: bool) -> None:
    owner = run_python(OWNER, *([str(data)] if durable else []))
    *numbers, place = read_line(owner).split()
    kill(owner)
    wait_until(lambda: all(is_gone(int(pid)) for pid in numbers))
    if durable:
        with start_stack(data) as stack:
            assert _query(stack.database_url, "SELECT value FROM kept") == "row"
    else:
        wait_until(lambda: not Path(place).exists())


def test_a_killed_guard_leaves_no_process(data: Path) -> None:
    stack = start_stack(data)
    os.kill(stack.group.guard_pid, signal.SIGKILL)
    stack.stop()
    wait_until(lambda: _all_gone(stack))
    with start_stack(data) as again:
        assert _query(again.database_url, "SELECT value FROM kept") == "row"


def test_a_killed_guard_does_not_keep_ephemeral_data() -> None:
    stack = start_stack()
    os.kill(stack.group.guard_pid, signal.SIGKILL)
    stack.stop()
    wait_until(lambda: not stack.layout.data.exists())


def test_rows_survive_a_crash_of_the_server(data: Path) -> None:
    stack = start_stack(data)
    _query(stack.database_url, "INSERT INTO kept VALUES ('more')", "SELECT 1")
    os.kill(stack.pids["postgres"], signal.SIGKILL)
    report = stack.group.wait_report(15)
    stack.stop()
    assert report is not None
    assert (report.kind, report.name) == ("exited", "postgres")
    with start_stack(data) as again:
        assert _query(again.database_url, "SELECT count(*) FROM kept") == 2


@pytest.mark.parametrize("via_ps", [False, True])
def test_servers_that_lost_their_guard_are_ended_first(
    data: Path, via_ps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems without a death signal: both servers outlive their guard."""
    if via_ps:
        monkeypatch.setattr(stack_module, "PROC", Path("/nonexistent"))
    with start_stack(data) as stack:
        layout = stack.layout
    account = service_account()
    programs = find_postgres()
    if account is not None:
        programs = readable_postgres(programs, account, layout.shared)
    specs = (
        stack_module._postgres(layout, programs, True),
        stack_module._valkey(layout, True),
    )
    identity: dict[str, Any] = {}
    if account is not None:
        identity = {"user": account.uid, "group": account.gid, "extra_groups": []}
    orphans = [
        subprocess.Popen(
            spec.argv,
            cwd="/",
            env=dict(spec.environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **(identity if spec.name == "postgres" else {}),
        )
        for spec in specs
    ]
    wait_until(lambda: stack_module._postgres_ready(layout, orphans[0].pid))
    wait_until(lambda: stack_module._valkey_ready(layout, 0))
    with start_stack(data) as again:
        assert _query(again.database_url, "SELECT value FROM kept") == "row"
        assert [orphan.wait(10) for orphan in orphans] == [0, 0]


@pytest.mark.parametrize("pid", ["1", "999999999"])
def test_a_stale_pid_file_does_not_stop_the_start(data: Path, pid: str) -> None:
    (data / "postgres" / "postmaster.pid").write_text(f"{pid}\n{data / 'postgres'}\n")
    with start_stack(data) as stack:
        assert _query(stack.database_url, "SELECT value FROM kept") == "row"


def test_a_database_that_cannot_start_shows_the_end_of_its_log(data: Path) -> None:
    with (data / "postgres" / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(StackError, match="no_such_setting"):
        start_stack(data)
    DirectoryLock(data).release()


def test_a_valkey_that_cannot_start_shows_the_end_of_its_log(data: Path) -> None:
    broken = data / "valkey" / "appendonlydir" / "appendonly.aof.manifest"
    broken.write_text("nonsense\n")
    with pytest.raises(StackError, match="redis ended with code 1 while starting"):
        start_stack(data)


def test_an_initialisation_that_fails_is_told_and_leaves_no_half_database(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "INITDB", ("--no-such-option",))
    with pytest.raises(StackError, match=r"initdb failed: .*no-such-option"):
        start_stack(open_dir / "data")
    assert not (open_dir / "data" / "postgres").exists()


def test_a_server_that_never_answers_is_given_up(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack_module, "START_SECONDS", 0.3)
    monkeypatch.setattr(stack_module, "_valkey_ready", lambda _layout, _pid: False)
    with pytest.raises(StackError, match="not ready in 0 s"):
        start_stack(data)
    DirectoryLock(data).release()


def test_a_program_that_is_missing_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack_module, "find_valkey", lambda: Path("/nonexistent/valkey-server"))
    with pytest.raises(StackError, match=r"redis could not be started: .*nonexistent"):
        start_stack(data)


def test_a_guard_that_dies_while_starting_is_told(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scaimcp.dev.processes.GUARD", Path("/nonexistent/guard.py"))
    with pytest.raises(StackError, match="guard process of the servers ended"):
        start_stack(data)


@pytest.mark.skipif(not IS_ROOT, reason="about running as root")
def test_root_runs_postgres_as_nobody_and_outside_a_closed_directory(open_dir: Path) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    for _ in range(2):
        with start_stack(closed / "data") as stack:
            uid = Path(f"/proc/{stack.pids['postgres']}").stat().st_uid
            assert uid == service_account().uid  # type: ignore[union-attr] # root has one
            count = "CREATE TABLE IF NOT EXISTS t ()"
            _query(stack.database_url, count, "INSERT INTO t DEFAULT VALUES", "SELECT 1")
            rows = _query(stack.database_url, "SELECT count(*) FROM t")
            place = stack.layout.shared
    assert rows == 2
    assert closed not in place.parents
    assert closed.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(place)


@pytest.mark.skipif(not IS_ROOT, reason="about running as root")
def test_root_runs_a_copy_where_nobody_cannot_read_the_programs(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    programs = find_postgres()
    package = programs.parents[1]
    for source in (programs.parent, package.with_name(f"{package.name}.libs")):
        target = closed / source.relative_to(package.parent)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, copy_function=os.link)
    moved = closed / programs.relative_to(package.parent)
    monkeypatch.setattr(stack_module, "find_postgres", lambda: moved)
    with start_stack(open_dir / "data") as stack:
        program = Path(os.readlink(f"/proc/{stack.pids['postgres']}/exe"))
        assert open_dir / "data" in program.parents
        assert _query(stack.database_url, "SELECT 1") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_of_another_directory_does_not_serve_this_one(data: Path) -> None:
    assert not stack_module._serves(os.getpid(), data)
    assert not stack_module._serves(999_999_999, data)
