"""Keys that wrap data keys: the `KeyWrapper` Protocol and the ring of local keys.

``wrapped_dek``: ``01`` format, 1-byte kind, 1-byte length + key id, then by kind; local (``01``):
12-byte nonce, 32 encrypted bytes, 16-byte tag. Spec: remote-servers 4.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scaimcp.credentials.errors import CredentialCorrupt, KeyUnavailable
from scaimcp.settings import KeyRing

DEK_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_FORMAT = 1
_LOCAL = 1
_LOCAL_BODY = NONCE_BYTES + DEK_BYTES + TAG_BYTES
_KEY_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")

Entropy = Callable[[int], bytes]


class KeyWrapper(Protocol):
    """Whoever holds the keys that wrap data keys (DEKs): a local ring, or a key service.

    A wrapped DEK is whole: it names its format, kind and key, see `read_header`. The key id in
    the additional data is `primary_key_id` when wrapping, the one in the header when unwrapping.
    """

    async def primary_key_id(self) -> str:
        """Return the id of the key that wraps."""
        ...

    async def has_key(self, key_id: str) -> bool:
        """Say whether the key called `key_id` can unwrap."""
        ...

    async def wrap(self, dek: bytearray, aad: bytes) -> bytes:
        """Return `dek` wrapped by the primary key.

        Raises:
            KeyUnavailable: the key cannot be used now.
        """
        ...

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        """Return the DEK; the caller overwrites it after use.

        Raises:
            KeyUnavailable: the key is not known here, or another kind of holder has it.
            CredentialCorrupt: altered, or wrapped with other additional data.
        """
        ...

    async def ping(self) -> None:
        """Ask whether the holder answers.

        Raises:
            KeyUnavailable: it does not.
        """
        ...


class Header(msgspec.Struct, frozen=True):
    """What the front of a wrapped DEK says; ``body`` is the rest."""

    kind: int
    key_id: str
    body: bytes


class LocalKeys:
    """A `KeyWrapper` over a ring of keys in memory: the first wraps, all unwrap.

    Args:
        ring: the keys.
        entropy: source of nonces; tests with fixed vectors pass their own.
    """

    def __init__(self, ring: KeyRing, entropy: Entropy = os.urandom) -> None:
        self._ciphers = {
            key_id: AESGCM(key) for key_id, key in zip(ring.ids, ring.keys, strict=True)
        }
        self._primary = ring.ids[0]
        self._entropy = entropy

    def __repr__(self) -> str:
        return f"LocalKeys({', '.join(self._ciphers)})"

    async def primary_key_id(self) -> str:
        """Return the id of the ring's first key."""
        return self._primary

    async def has_key(self, key_id: str) -> bool:
        """Say whether the ring holds `key_id`."""
        return key_id in self._ciphers

    async def wrap(self, dek: bytearray, aad: bytes) -> bytes:
        """Return `dek` wrapped by the first key under a new nonce."""
        nonce = self._entropy(NONCE_BYTES)
        encoded = self._primary.encode("ascii")
        head = bytes((_FORMAT, _LOCAL, len(encoded))) + encoded
        return head + nonce + self._ciphers[self._primary].encrypt(nonce, dek, aad)

    async def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        """Return the DEK, see `KeyWrapper.unwrap`."""
        header = read_header(wrapped)
        cipher = self._ciphers.get(header.key_id)
        if header.kind != _LOCAL or cipher is None:
            raise KeyUnavailable(header.key_id)
        if len(header.body) != _LOCAL_BODY:
            raise CredentialCorrupt
        dek = bytearray(DEK_BYTES)
        try:
            cipher.decrypt_into(header.body[:NONCE_BYTES], header.body[NONCE_BYTES:], aad, dek)
        except InvalidTag:
            raise CredentialCorrupt from None
        return dek

    async def ping(self) -> None:
        """Do nothing: memory always answers."""


@lru_cache(4_096)
def read_header(wrapped: bytes) -> Header:
    """Read the front of a wrapped DEK, whoever wrapped it.

    Raises:
        CredentialCorrupt: cut short, another format, no key id.
    """
    end = 3 + wrapped[2] if len(wrapped) > 2 else 0
    key_id = wrapped[3:end].decode("latin-1")
    if wrapped[:1] != bytes((_FORMAT,)) or not _KEY_ID.fullmatch(key_id) or len(wrapped) < end:
        raise CredentialCorrupt
    return Header(wrapped[1], key_id, wrapped[end:])


def new_key(key_id: str = "") -> str:
    """Return a new key as the setting takes it: ``[key_id:]base64``.

    Without `key_id` the key's id follows from its bytes.

    Raises:
        ValueError: `key_id` is malformed.
    """
    if key_id and not _KEY_ID.fullmatch(key_id):
        raise ValueError("takes up to 32 of a-z 0-9 . _ -, beginning with a letter or digit")
    encoded = base64.b64encode(os.urandom(32)).decode()
    return f"{key_id}:{encoded}" if key_id else encoded


def wipe(secret: bytearray) -> None:
    """Overwrite `secret` in place: best effort, Python may have made copies."""
    secret[:] = bytes(len(secret))
