"""The ring of local keys behind the `KeyWrapper` Protocol, and how a wrapped key reads."""

from __future__ import annotations

import base64
import re

import pytest

from scaimcp.credentials.errors import CredentialCorrupt, KeyUnavailable
from scaimcp.credentials.keys import (
    Header,
    KeyWrapper,
    LocalKeys,
    new_key,
    read_header,
    wipe,
)
from scaimcp.settings import load, parse_keys
from tests.unit.credentials.support import keys, ring

AAD = b"bound to this"
DEK = bytes(range(32))


async def test_the_first_key_wraps_and_every_key_unwraps() -> None:
    holder: KeyWrapper = keys("new", "old")
    assert await holder.primary_key_id() == "new"
    assert [await holder.has_key(name) for name in ("new", "old", "gone")] == [True, True, False]
    by_old = await keys("old").wrap(bytearray(DEK), AAD)
    by_new = await holder.wrap(bytearray(DEK), AAD)
    assert read_header(by_new).key_id == "new"
    assert await holder.unwrap(by_old, AAD) == await holder.unwrap(by_new, AAD) == DEK
    await holder.ping()


async def test_the_ring_of_the_setting_is_used_as_it_is() -> None:
    text = f"{new_key('2026-11')}\n{new_key('2025-01')}"
    configured = load({"SCAIMCP_ENCRYPTION_LOCAL_KEK": text}).encryption_local_kek
    assert configured is not None
    holder = LocalKeys(configured)
    assert await holder.primary_key_id() == "2026-11"
    assert repr(holder) == "LocalKeys(2026-11, 2025-01)"


async def test_a_wrapped_key_names_format_kind_and_key() -> None:
    wrapped = await keys("a-key").wrap(bytearray(DEK), AAD)
    assert wrapped[:8] == b"\x01\x01\x05a-key"
    assert len(wrapped) == 8 + 12 + 32 + 16
    assert read_header(wrapped) == Header(1, "a-key", wrapped[8:])


async def test_wrapping_twice_gives_two_values() -> None:
    holder = keys("a")
    assert await holder.wrap(bytearray(DEK), AAD) != await holder.wrap(bytearray(DEK), AAD)


async def test_other_additional_data_do_not_unwrap() -> None:
    wrapped = await keys("a").wrap(bytearray(DEK), AAD)
    with pytest.raises(CredentialCorrupt):
        await keys("a").unwrap(wrapped, AAD + b".")


@pytest.mark.parametrize("kind", [0, 2, 3, 255])
async def test_a_key_that_another_kind_of_holder_wrapped_is_unavailable(kind: int) -> None:
    wrapped = bytearray(await keys("a").wrap(bytearray(DEK), AAD))
    wrapped[1] = kind
    with pytest.raises(KeyUnavailable) as caught:
        await keys("a").unwrap(bytes(wrapped), AAD)
    assert caught.value.key_id == "a"


async def test_a_key_service_may_wrap_in_any_length() -> None:
    service = b"\x01\x02\x03kms" + (300).to_bytes(2, "big") + bytes(300)
    assert read_header(service).kind == 2
    with pytest.raises(KeyUnavailable):
        await keys("kms").unwrap(service, AAD)


@pytest.mark.parametrize(
    "wrapped",
    [
        b"",
        b"\x01",
        b"\x01\x01",
        b"\x01\x01\x01",
        b"\x01\x01\x00" + bytes(60),
        b"\x02\x01\x01a" + bytes(60),
        b"\x01\x01\x02a",
        b"\x01\x01\x01A" + bytes(60),
        b"\x01\x01\x02a\xff" + bytes(60),
        b"\x01\x01\x21" + b"a" * 33 + bytes(60),
        b"\x01\x01\x01a" + bytes(59),
        b"\x01\x01\x01a" + bytes(61),
    ],
)
async def test_what_has_another_form_is_corrupt(wrapped: bytes) -> None:
    with pytest.raises(CredentialCorrupt):
        await keys("a").unwrap(wrapped, AAD)


def test_a_new_key_is_one_that_the_setting_takes() -> None:
    plain, named = new_key(), new_key("2026-11.b_2")
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", plain)
    parsed = parse_keys(f"{named},{plain}")
    assert parsed.ids[0] == "2026-11.b_2"
    assert re.fullmatch(r"[0-9a-f]{8}", parsed.ids[1])
    assert parsed.keys[1] == base64.b64decode(plain)
    assert new_key() != new_key()


@pytest.mark.parametrize("key_id", ["UPPER", "-a", "a" * 33, "a:b", "a,b", "ключ", "a\n"])
def test_a_malformed_id_makes_no_key(key_id: str) -> None:
    with pytest.raises(ValueError, match="takes up to 32 of"):
        new_key(key_id)


def test_wiping_overwrites_in_place() -> None:
    secret = bytearray(DEK)
    same = secret
    wipe(secret)
    assert same == bytes(32)
    wipe(empty := bytearray())
    assert empty == b""


def test_a_ring_does_not_print_its_keys() -> None:
    holder = keys("a")
    assert ring("a").keys[0].hex() not in f"{holder!r} {holder} {vars(holder)}"
