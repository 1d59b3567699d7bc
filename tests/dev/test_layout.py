from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from scaimcp.dev.binaries import Account, can_enter
from scaimcp.dev.layout import (
    MAX_SOCKET_PATH,
    POSTGRES_SOCKET,
    data_directory,
    own_directory,
    prepare_layout,
    temporary_directory,
)
from scaimcp.dev.processes import DevelopmentError
from tests.dev.helpers import IS_ROOT

needs_root = pytest.mark.skipif(not IS_ROOT, reason="changes owners")


def _nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_everything_lies_in_a_private_data_directory(open_dir: Path) -> None:
    layout = prepare_layout(open_dir, None)
    assert layout.postgres_sockets == open_dir / "run" / "postgres"
    assert layout.postgres_data == open_dir / "postgres"
    assert layout.remove == ()
    private = (layout.postgres_sockets, layout.valkey_data, open_dir / "run")
    assert {_mode(path) for path in private} == {0o700}


@pytest.mark.parametrize("name", ["x" * 90, "with space", "ünï"])
def test_sockets_move_where_their_path_would_not_do(open_dir: Path, name: str) -> None:
    data = open_dir / name
    data.mkdir()
    layout = prepare_layout(data, None)
    socket = layout.postgres_sockets / POSTGRES_SOCKET
    assert len(os.fsencode(socket)) <= MAX_SOCKET_PATH
    assert not str(socket).startswith(str(open_dir))
    assert layout.remove == (socket.parents[1],)
    assert layout.valkey_socket.parent == socket.parents[1]
    assert _mode(socket.parents[1]) == 0o700
    layout.postgres_sockets.rmdir()
    socket.parents[1].rmdir()


def test_a_link_in_the_place_of_a_directory_is_refused(open_dir: Path) -> None:
    (open_dir / "link").symlink_to("/tmp")
    with pytest.raises(DevelopmentError, match="is not ours"):
        own_directory(open_dir / "link")


@needs_root
def test_a_directory_of_somebody_else_is_refused(open_dir: Path) -> None:
    foreign = open_dir / "foreign"
    foreign.mkdir()
    os.chown(foreign, 54_321, 54_321)
    with pytest.raises(DevelopmentError, match="is not ours"):
        own_directory(foreign)


@needs_root
def test_the_account_gets_a_socket_directory_nobody_else_can_enter(open_dir: Path) -> None:
    layout = prepare_layout(open_dir, _nobody())
    facts = layout.postgres_sockets.stat()
    assert (facts.st_uid, facts.st_mode & 0o777) == (_nobody().uid, 0o700)
    assert can_enter(layout.postgres_sockets, _nobody())
    assert layout.shared == open_dir


@needs_root
def test_files_of_the_account_move_when_it_cannot_enter(open_dir: Path) -> None:
    base, closed = open_dir / "base", open_dir / "closed"
    base.mkdir(mode=0o755)
    closed.mkdir(mode=0o700)
    layout = prepare_layout(closed, _nobody(), [open_dir / "missing", base])
    assert base in layout.postgres_data.parents
    assert can_enter(layout.shared, _nobody())
    assert layout.valkey_data.parent == closed
    layout.postgres_data.mkdir()
    assert prepare_layout(closed, _nobody(), [base]).postgres_data.exists()


@needs_root
def test_a_new_data_directory_does_not_find_the_data_of_a_deleted_one(open_dir: Path) -> None:
    base, closed = open_dir / "base", open_dir / "closed"
    base.mkdir(mode=0o755)
    closed.mkdir(mode=0o700)
    layout = prepare_layout(closed, _nobody(), [base])
    layout.postgres_data.mkdir()
    (closed / "postgres.location").unlink()
    assert not prepare_layout(closed, _nobody(), [base]).postgres_data.exists()


def test_a_temporary_directory_is_private_or_only_passable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = temporary_directory(None)
    shared = temporary_directory(Account(54_321, 54_321))
    assert (_mode(plain), _mode(shared)) == (0o700, 0o711)
    plain.rmdir()
    shared.rmdir()


def test_a_temporary_directory_avoids_a_place_the_account_cannot_enter(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = open_dir / "closed"
    closed.mkdir(mode=0o700)
    monkeypatch.setattr("tempfile.tempdir", str(closed))
    directory = temporary_directory(Account(54_321, 54_321))
    assert closed not in directory.parents
    directory.rmdir()


def test_an_existing_data_directory_keeps_its_mode(open_dir: Path) -> None:
    existing = open_dir / "existing"
    existing.mkdir(mode=0o750)
    assert data_directory(existing, None) == existing.resolve()
    assert _mode(existing) == 0o750


def test_a_new_data_directory_is_made_with_its_parents(open_dir: Path) -> None:
    made = data_directory(open_dir / "a" / "b", None)
    assert _mode(made) == 0o700
    assert _mode(data_directory(open_dir / "c", Account(os.geteuid(), os.getegid()))) == 0o711


def test_a_file_in_the_place_of_the_data_directory_is_a_clear_error(open_dir: Path) -> None:
    (open_dir / "file").touch()
    with pytest.raises(DevelopmentError, match="cannot make the data directory"):
        data_directory(open_dir / "file" / "below", None)
