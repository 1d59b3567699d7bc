"""One owner for a data directory, by an advisory lock that dies with its holders."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from scaimcp.dev.processes import POLL_SECONDS, DevelopmentError, is_running

LOCK_NAME = "lock"
RELEASE_SECONDS = 15.0


class DirectoryInUseError(DevelopmentError):
    """Another process holds the data directory.

    Attributes:
        directory: The directory asked for.
        pid: The holder's process id; None when it has not written it yet.
    """

    def __init__(self, directory: Path, pid: int | None) -> None:
        self.directory = directory
        self.pid = pid
        holder = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{holder} uses the data directory {directory}; "
            "stop it, or choose another one with --data-dir or --ephemeral"
        )


class DirectoryLock:
    """Exclusive use of a directory until `release`, or until all who hold the descriptor are gone.

    Guards inherit the descriptor, so that nobody else starts on the directory while the servers of
    a killed owner are still shutting down; a start in that moment waits for them.

    Raises:
        DirectoryInUseError: A living process holds the directory.
        DevelopmentError: The directory is not writable.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / LOCK_NAME
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DevelopmentError(f"cannot write to {directory}: {error.strerror}") from None
        try:
            self._acquire()
        except DirectoryInUseError:
            self.release()
            raise
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def fileno(self) -> int:
        """Return the descriptor to hand to guards."""
        return self._descriptor

    def release(self) -> None:
        """Close our end; the lock falls when the last guard has closed its own. Repeatable."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _acquire(self) -> None:
        deadline = time.monotonic() + RELEASE_SECONDS
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            holder = self._holder()
            # A holder that is gone has guards which are stopping its servers: wait for them.
            if holder is None or is_running(holder) or time.monotonic() > deadline:
                raise DirectoryInUseError(self.directory, holder)
            time.sleep(POLL_SECONDS)

    def _holder(self) -> int | None:
        text = os.pread(self._descriptor, 32, 0).strip()
        return int(text) if text.isdigit() else None
