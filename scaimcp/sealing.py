"""Sealed values: what the gateway hands out and reads back, opaque to everyone else.

AES-256-GCM under a key derived from ``STATE_KEYS`` with HKDF-SHA256, info
``scaimcp/<label>/v1``. Layout before base64url: ``01`` format, 1-byte length + key id, 12-byte
nonce, ciphertext with tag. Spec: register, Keys and sealed values.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scaimcp.settings import KeyRing

_FORMAT = 1
_NONCE = 12


class Sealer:
    """Seals and opens byte strings for one label; the ring's first key writes, all read."""

    def __init__(self, ring: KeyRing, label: str) -> None:
        self._label = label.encode()
        self._ciphers = {
            key_id: AESGCM(_derive(key, label))
            for key_id, key in zip(ring.ids, ring.keys, strict=True)
        }
        self._primary = ring.ids[0]
        encoded = self._primary.encode()
        self._head = bytes((_FORMAT, len(encoded))) + encoded

    def seal(self, plain: bytes, bound: bytes = b"") -> str:
        """Return `plain` sealed, as URL-safe text without padding.

        Args:
            plain: what to seal.
            bound: what must be given again to open it, such as whom it belongs to.
        """
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._primary].encrypt(nonce, plain, self._label + bound)
        return _encode(self._head + nonce + sealed)

    def open(self, text: str, bound: bytes = b"") -> bytes | None:
        """Return what was sealed, or None for anything this ring did not seal with `bound`."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            # One value has one spelling: base64 itself would let some characters vary.
            if raw[0] != _FORMAT or _encode(raw) != text:
                return None
            end = 2 + raw[1]
            cipher = self._ciphers.get(raw[2:end].decode("ascii"))
            if cipher is None:
                return None
            aad = self._label + bound
            return cipher.decrypt(raw[end : end + _NONCE], raw[end + _NONCE :], aad)
        except (binascii.Error, InvalidTag, IndexError, ValueError):
            return None


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _derive(key: bytes, label: str) -> bytes:
    info = f"scaimcp/{label}/v1".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key)
