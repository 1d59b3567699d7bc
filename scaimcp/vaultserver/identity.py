"""The one ScaiVault token that every client of this process acts with. Spec: scaivault 2.1, 4."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import partial

from scaimcp.errors import SettingsError
from scaimcp.scaivault.context_lock import Identity
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import Secret
from scaimcp.vaultserver.environment import FILE_BYTES, token_in

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_log = get_logger("scaimcp.vaultserver")


def read_file(path: str) -> bytes:
    """Return at most one byte more of a file than a token file may have.

    Raises:
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return file.read(FILE_BYTES + 1)


class TokenHolder:
    """Gives out the identity of the configured token.

    Args:
        token: as the start has found it.
        path: its file, read again when its time of change differs; "" without one.
    """

    def __init__(self, token: Secret, path: str = "") -> None:
        self._token = token
        self._path = path
        self._changed_at = _changed_at(path)
        self._has_warned = False

    def identity(self, request_id: str) -> Identity:
        """Return the identity of one request."""
        if self._path and _changed_at(self._path) != self._changed_at:
            self._read()
        return self._of(self._token, request_id)

    def is_open_to_others(self) -> bool:
        """Tell whether the group or others may use the token's file."""
        try:
            return bool(self._path) and bool(os.stat(self._path).st_mode & _OTHERS)
        except OSError:
            return False

    def _of(self, token: Secret, request_id: str) -> Identity:
        key = hashlib.sha256(token.reveal().encode()).digest()
        renewed = partial(self._renewed, token, request_id) if self._path else None
        return Identity(token=token, key=key, request_id=request_id, renewed=renewed)

    def _renewed(self, used: Secret, request_id: str) -> Identity | None:
        """Return the identity of another token than the one that was refused, None without."""
        self._read()
        return None if self._token == used else self._of(self._token, request_id)

    def _read(self) -> None:
        """Take the token in the file; where there is none the last one stays in use."""
        changed_at = _changed_at(self._path)
        try:
            self._token = token_in(read_file(self._path))
        except (OSError, SettingsError, ValueError):
            if not self._has_warned:
                _log.warning("the token file cannot be used; the last token stays in use")
            self._has_warned = True
        else:
            self._has_warned = False
        self._changed_at = changed_at


def _changed_at(path: str) -> int:
    """Return a file's time of change in nanoseconds; 0 where there is no file."""
    try:
        return os.stat(path).st_mtime_ns if path else 0
    except OSError:
        return 0
