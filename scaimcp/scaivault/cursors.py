"""Cursors of listings: sealed, so that they show no hidden path and fit no other listing.

The layout is that of `scaimcp.sealing`. In the gateway the key is derived from ``STATE_KEYS``;
the stand-alone command makes one per process. Spec: scaivault 2.3 (cursors), 8 (lists).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from scaimcp.scaivault.errors import invalid_arguments
from scaimcp.scaivault.records import ToolRecord
from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing

LABEL = "scaivault-cursor"
MOST_CHARS = 2_048
# What may change from page to page of one listing.
_NOT_FILTERS = frozenset({"cursor", "limit"})


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a listing goes on.

    Args:
        entry: number of the prefix in the window.
        cursor: ScaiVault's own cursor there; "" for the prefix's first page.
        page: number of the page in lists that count pages; 0 in all others.
        page_size: rows of one such page, which must stay the same.
        begin: begin of a span of time that the first page has set; "" where the call says it.
    """

    entry: int = 0
    cursor: str = ""
    page: int = 0
    page_size: int = 0
    begin: str = ""


class Cursors:
    """Seals and opens positions.

    Args:
        ring: keys; see `process_ring` for a process of its own.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._sealer = Sealer(ring, LABEL)

    def seal(self, position: Position, bound: bytes) -> str | None:
        """Return a cursor, None where ScaiVault's own is so long that no client could send ours.

        Args:
            position: where to go on.
            bound: of `binding`.
        """
        sealed = self._sealer.seal(msgspec.msgpack.encode(position), bound)
        return sealed if len(sealed) <= MOST_CHARS else None

    def open(self, cursor: str | None, bound: bytes) -> Position:
        """Return the position in a cursor; the first one without a cursor.

        Raises:
            VaultError: INVALID_ARGUMENTS; it was altered, or belongs to another listing.
        """
        if cursor is None:
            return Position()
        plain = self._sealer.open(cursor, bound)
        if plain is None:
            raise invalid_arguments([("cursor", "is not a cursor of this listing")])
        return msgspec.msgpack.decode(plain, type=Position)


def binding(
    record: ToolRecord, arguments: Mapping[str, Any], window: tuple[str, ...], owner: str = ""
) -> bytes:
    """Return what a cursor is bound to.

    Args:
        record: the tool.
        arguments: complete ones; cursor and limit do not count.
        window: prefixes that the listing asks for; () for a tool without a prefix.
        owner: whose listing it is where several share the keys, such as a tenant's id.
    """
    filters = {name: arguments[name] for name in sorted(arguments.keys() - _NOT_FILTERS)}
    return hashlib.sha256(
        msgspec.json.encode([record.name, filters, window, owner], order="deterministic")
    ).digest()


def process_ring(key: bytes) -> KeyRing:
    """Return a ring of one random key of 32 bytes; cursors end with the process."""
    return KeyRing(("process",), (key,))
