"""Where the embedded servers keep data and sockets.

Everything lies in the data directory, with two exceptions: sockets move below ``/tmp`` when their
path would be too long for the system, and PostgreSQL's files move to a directory of its own
account when we are root and that account cannot enter the data directory (such as ``/root``).
No permission of a directory we did not make is changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaimcp.dev.binaries import Account, can_enter
from scaimcp.dev.processes import DevelopmentError

MAX_SOCKET_PATH = 100  # bytes: macOS allows 103, Linux 107
POSTGRES_SOCKET = ".s.PGSQL.5432"
SAFE_IN_URL = re.compile(r"[A-Za-z0-9._/-]+")
SHORT_BASE = Path("/tmp")  # noqa: S108 - socket paths must be short; ownership is checked
ROOT_BASES = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 - ownership is checked
ROOT_NAME = "scaimcp-dev"
LOCATION_NAME = "postgres.location"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one data directory; all of them exist but the database and the sockets.

    Attributes:
        postgres_data: The cluster, made by ``initdb``.
        postgres_sockets: Directory of PostgreSQL's socket, as asyncpg's ``host``.
        shared: Directory the account can enter and only we can write, for copied programs.
        remove: Trees outside the data directory that go with the servers.
    """

    data: Path
    postgres_data: Path
    postgres_sockets: Path
    postgres_log: Path
    valkey_data: Path
    valkey_socket: Path
    valkey_log: Path
    shared: Path
    account: Account | None
    remove: tuple[Path, ...]


def temporary_directory(account: Account | None) -> Path:
    """Make a new directory for an ephemeral stack, where `account` can enter."""
    base = Path(tempfile.gettempdir())
    if account is not None and not can_enter(base, account):
        base = SHORT_BASE
    directory = Path(tempfile.mkdtemp(dir=base, prefix="scaimcp-"))
    if account is not None:
        directory.chmod(0o711)
    return directory


def own_directory(path: Path, mode: int = 0o700, account: Account | None = None) -> Path:
    """Make sure that `path` is a directory of ours, or of `account`, and nobody else's.

    Raises:
        DevelopmentError: It is a link, no directory, or belongs to someone else.
    """
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    entry = path.lstat()
    wanted = os.geteuid() if account is None else account.uid
    if not stat.S_ISDIR(entry.st_mode) or entry.st_uid not in {os.geteuid(), wanted}:
        raise DevelopmentError(f"{path} exists and is not ours; remove it")
    if account is not None:
        os.chown(path, account.uid, account.gid)
    path.chmod(mode)
    return path


def data_directory(path: Path, account: Account | None) -> Path:
    """Return `path` absolute, made if need be; an existing directory is left as it is.

    Raises:
        DevelopmentError: It cannot be made or is no directory.
    """
    try:
        if not path.is_dir():
            own_directory(path, 0o700 if account is None else 0o711)
    except OSError as error:
        raise DevelopmentError(f"cannot make the data directory {path}: {error.strerror}") from None
    return path.resolve()


def prepare_layout(
    data: Path, account: Account | None, root_bases: Sequence[Path] = ROOT_BASES
) -> Layout:
    """Make the directories below `data`, an absolute path the caller has locked.

    Args:
        data: The data directory, existing.
        account: PostgreSQL's account when we are root, otherwise None.
        root_bases: Where that account's files may go when it cannot enter `data`; the first
            directory it can enter is taken.
    """
    shared = data
    if account is not None and not can_enter(data, account):
        shared = _directory_of_account(data, account, root_bases)
    remove: tuple[Path, ...] = ()
    run = shared / "run"
    if not _fits(run / "postgres" / POSTGRES_SOCKET):
        run = SHORT_BASE / f"scaimcp-{os.geteuid()}-{_digest(data)}"
        remove = (run,)
    own_directory(run, 0o700 if account is None else 0o711)
    return Layout(
        data=data,
        postgres_data=shared / "postgres",
        postgres_sockets=own_directory(run / "postgres", account=account),
        postgres_log=data / "postgres.log",
        valkey_data=own_directory(data / "valkey"),
        valkey_socket=run / "valkey.sock",
        valkey_log=data / "valkey.log",
        shared=shared,
        account=account,
        remove=remove,
    )


def _directory_of_account(data: Path, account: Account, bases: Sequence[Path]) -> Path:
    """Return the directory that stands in for `data`; a note in `data` says where it is.

    Without the note `data` is new, so what an earlier one of that name left is deleted.
    """
    base = next((base for base in bases if base.is_dir() and can_enter(base, account)), SHORT_BASE)
    directory = own_directory(base / ROOT_NAME, 0o711) / _digest(data)
    own_directory(directory, 0o711)
    note = data / LOCATION_NAME
    if not note.exists():
        shutil.rmtree(directory / "postgres", ignore_errors=True)
        note.write_text(f"{directory}\n", encoding="utf-8")
    return directory


def _fits(socket: Path) -> bool:
    """Whether a socket path is short enough and needs no escaping in a URL."""
    return (
        len(os.fsencode(socket)) <= MAX_SOCKET_PATH
        and SAFE_IN_URL.fullmatch(str(socket)) is not None
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:10]
