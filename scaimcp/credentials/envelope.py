"""The envelope: one data key (DEK) per credential, itself wrapped by the platform's key (KEK).

``ciphertext``: ``01`` format, ``01`` AES-256-GCM, 12-byte nonce, encrypted value, 16-byte tag. The
additional data bind a value to tenant, server, field and origin, so a row that is moved does not
open. Spec: remote-servers 4, with a vector.
"""

from __future__ import annotations

import os
from functools import lru_cache

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scaimcp.credentials.errors import CredentialCorrupt, CredentialFailure
from scaimcp.credentials.keys import (
    DEK_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    Entropy,
    KeyWrapper,
    read_header,
    wipe,
)
from scaimcp.telemetry.logs import get_logger, is_debugging
from scaimcp.telemetry.metrics import UNSEAL_FAILURES
from scaimcp.types import Secret

_HEAD = b"\x01\x01"
_BODY = len(_HEAD) + NONCE_BYTES
_DATA = b"scaimcp/credential/v1\0"
_DEK = b"scaimcp/dek/v1\0"
_log = get_logger("scaimcp.credentials")


class RowId(msgspec.Struct, frozen=True):
    """Which credential: one field (header name, lower-case) of one server of one tenant."""

    tenant_id: str
    server_id: str
    field: str


class Place(RowId, frozen=True):
    """Where a credential may be used: its row and the server's origin.

    ``origin`` is ``https://host:port``, the port always written out.
    """

    origin: str


class Sealed(msgspec.Struct, frozen=True):
    """A sealed value as stored; ``kek_id`` names the key that wraps its DEK."""

    ciphertext: bytes
    wrapped_dek: bytes
    kek_id: str

    def __repr__(self) -> str:
        return f"Sealed(kek_id={self.kek_id!r})"

    @property
    def value_bytes(self) -> int:
        """Length of the value, known without opening it."""
        return max(len(self.ciphertext) - _BODY - TAG_BYTES, 0)


async def seal(
    keys: KeyWrapper, place: Place, value: Secret, entropy: Entropy = os.urandom
) -> Sealed:
    """Seal `value` for `place` under a new DEK.

    Args:
        keys: wraps the DEK with its primary key.
        place: where the value may be opened again.
        value: any text.
        entropy: source of DEK and nonce; tests with fixed vectors pass their own.

    Raises:
        KeyUnavailable: the primary key cannot be used now.
    """
    key_id = await keys.primary_key_id()
    dek, nonce = bytearray(entropy(DEK_BYTES)), entropy(NONCE_BYTES)
    try:
        plain = value.reveal().encode()
        ciphertext = _HEAD + nonce + AESGCM(dek).encrypt(nonce, plain, _data_aad(place))
        wrapped = await keys.wrap(dek, _dek_aad(place, key_id))
    finally:
        wipe(dek)
    return Sealed(ciphertext, wrapped, key_id)


async def unseal(keys: KeyWrapper, place: Place, sealed: Sealed) -> Secret:
    """Open a sealed value. Call it for one outbound request and drop the result with it.

    Raises:
        KeyUnavailable: its key is not loaded.
        CredentialCorrupt: altered, or sealed for another place.
    """
    try:
        value = await _unsealed(keys, place, sealed)
    except CredentialFailure as error:
        error.field, error.key_id = place.field, sealed.kek_id
        _tell(place, sealed.kek_id, error)
        raise
    if is_debugging():
        _log.debug(
            "remote_credential_opened",
            tenant_id=place.tenant_id,
            server_id=place.server_id,
            field=place.field,
        )
    return value


async def rewrap(
    keys: KeyWrapper, row: RowId, wrapped_dek: bytes, kek_id: str
) -> tuple[bytes, str]:
    """Wrap a DEK anew with the primary key; the ciphertext stays valid.

    Returns:
        The new ``wrapped_dek`` and its key id.

    Raises:
        KeyUnavailable: the old or the primary key is not loaded.
        CredentialCorrupt: altered, or moved from another row.
    """
    try:
        primary = await keys.primary_key_id()
        dek = await _unwrapped(keys, row, wrapped_dek, kek_id)
        try:
            return await keys.wrap(dek, _dek_aad(row, primary)), primary
        finally:
            wipe(dek)
    except CredentialFailure as error:
        _tell(row, kek_id, error)
        raise


async def _unsealed(keys: KeyWrapper, place: Place, sealed: Sealed) -> Secret:
    data = sealed.ciphertext
    if not data.startswith(_HEAD) or len(data) < _BODY + TAG_BYTES:
        raise CredentialCorrupt
    dek = await _unwrapped(keys, place, sealed.wrapped_dek, sealed.kek_id)
    plain = bytearray(len(data) - _BODY - TAG_BYTES)
    try:
        AESGCM(dek).decrypt_into(data[len(_HEAD) : _BODY], data[_BODY:], _data_aad(place), plain)
        return Secret(plain.decode())
    except (InvalidTag, UnicodeDecodeError):
        # Without its cause: a decoding error carries the bytes.
        raise CredentialCorrupt from None
    finally:
        wipe(dek)
        wipe(plain)


async def _unwrapped(keys: KeyWrapper, row: RowId, wrapped: bytes, kek_id: str) -> bytearray:
    key_id = read_header(wrapped).key_id
    if key_id != kek_id:
        raise CredentialCorrupt
    return await keys.unwrap(wrapped, _dek_aad(row, key_id))


# Names of places, nothing secret: every call to a server needs the same ones.
@lru_cache(4_096)
def _data_aad(place: Place) -> bytes:
    return _DATA + _lp(place.tenant_id, place.server_id, place.field, place.origin)


@lru_cache(4_096)
def _dek_aad(row: RowId, key_id: str) -> bytes:
    return _DEK + _lp(key_id, row.tenant_id, row.server_id, row.field)


def _lp(*words: str) -> bytes:
    """Return each word behind its length in two bytes, so that no two lists read alike."""
    encoded = [word.encode() for word in words]
    return b"".join(len(word).to_bytes(2, "big") + word for word in encoded)


def _tell(row: RowId, key_id: str, error: CredentialFailure) -> None:
    UNSEAL_FAILURES.labels(error.reason).inc()
    _log.error(
        "remote_unseal_failed",
        tenant_id=row.tenant_id,
        server_id=row.server_id,
        field=row.field,
        key_id=key_id,
        reason=error.reason,
    )
