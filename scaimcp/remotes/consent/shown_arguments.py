"""The arguments that a question shows, sealed for as long as it is open.

Spec: remote-servers 9; register, Keys and sealed values (short-lived).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from scaimcp.sealing import Sealer

LABEL = "short-lived"
MAX_BYTES = 64 * 1024
KEPT_BYTES = 4 * 1024


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """Arguments as JSON; only the beginning of it where ``is_complete`` is false."""

    text: str
    is_complete: bool


class ShownArguments:
    """Seals arguments for one question of one tenant."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Shown).decode

    def seal(self, tenant_id: str, approval_id: str, arguments: Mapping[str, Any]) -> bytes:
        """Return `arguments` sealed, for the column of the question's row."""
        text = msgspec.json.encode(arguments)
        shown = Shown(text.decode(), True)
        if len(text) > MAX_BYTES:
            shown = Shown(text[:KEPT_BYTES].decode(errors="ignore"), False)
        return self._sealer.seal(self._encode(shown), _bound(tenant_id, approval_id)).encode()

    def open(self, tenant_id: str, approval_id: str, sealed: bytes | None) -> Shown | None:
        """Return what was sealed; None once it is erased or the key is gone."""
        if sealed is None:
            return None
        try:
            plain = self._sealer.open(sealed.decode("ascii"), _bound(tenant_id, approval_id))
            return self._decode(plain) if plain is not None else None
        except (UnicodeDecodeError, msgspec.DecodeError):
            return None


def _bound(tenant_id: str, approval_id: str) -> bytes:
    # An approval's id has a fixed length, so the two cannot run into each other.
    return f"{approval_id}{tenant_id}".encode()
