"""Keys, places and wrappers for tests of sealed credentials."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from scaimcp.credentials.envelope import Place
from scaimcp.credentials.keys import LocalKeys
from scaimcp.settings import KeyRing

PLACE = Place(
    "ten_acme",
    "rs_01jz8xq5k2m3n4p5q6r7s8t9va",
    "authorization",
    "https://mcp.notion.example.com:443",
)


def ring(*names: str) -> KeyRing:
    """A ring of keys that follow from their names."""
    return KeyRing(names, tuple(hashlib.sha256(name.encode()).digest() for name in names))


def keys(*names: str) -> LocalKeys:
    return LocalKeys(ring(*names))


def elsewhere(**changed: Any) -> Place:
    return msgspec.structs.replace(PLACE, **changed)


def drawn(*values: bytes) -> Callable[[int], bytes]:
    """Entropy that gives `values` one after the other, each of the length asked for."""
    left = list(values)

    def draw(length: int) -> bytes:
        value = left.pop(0)
        assert len(value) == length
        return value

    return draw


class Spy(LocalKeys):
    """Keeps the very buffers that held a DEK, to see what became of them."""

    def __init__(self, *names: str) -> None:
        super().__init__(ring(*names))
        self.wrapped: list[bytes] = []
        self.buffers: list[bytearray] = []

    async def wrap(self, dek: bytearray, aad: bytes) -> bytes:
        self.wrapped.append(bytes(dek))
        self.buffers.append(dek)
        return await super().wrap(dek, aad)

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        dek = await super().unwrap(wrapped, aad)
        self.wrapped.append(bytes(dek))
        self.buffers.append(dek)
        return dek
