"""The envelope: the contract's vector, and everything that must not open."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from scaimcp.credentials.envelope import Place, RowId, Sealed, rewrap, seal, unseal
from scaimcp.credentials.errors import CredentialCorrupt, CredentialFailure, KeyUnavailable
from scaimcp.credentials.keys import LocalKeys
from scaimcp.settings import KeyRing
from scaimcp.telemetry.metrics import UNSEAL_FAILURES
from scaimcp.types import Secret
from tests.unit.credentials.support import PLACE, Spy, drawn, elsewhere, keys

VALUE = "ntn_example"
CIPHERTEXT = "0101000102030405060708090a0b2976b844a09da376fd2df22c3f00fc5ff46a5c6e2f7868428dcf19"
WRAPPED = (
    "010107323032362d31310c0d0e0f10111213141516172616b0058149ec21205f55053153389a15bc6ec39f26"
    "4e53548e3ab3f0526f21559aba9c22d81133804bcdf19fee21dc"
)
KEK = KeyRing(("2026-11",), (bytes(range(0xFF, 0xDF, -1)),))
DEK = bytes(range(32))
DATA_NONCE, WRAP_NONCE = bytes(range(0x0C)), bytes(range(0x0C, 0x18))
OTHER_PLACES = [
    {"tenant_id": "ten_other"},
    {"server_id": "rs_01jz8xq5k2m3n4p5q6r7s8t9vb"},
    {"field": "x-api-key"},
    {"origin": "https://mcp.notion.example.com:8443"},
    {"origin": "http://mcp.notion.example.com:443"},
]


async def refused(holder: LocalKeys, place: Place, sealed: Sealed) -> CredentialFailure:
    with pytest.raises(CredentialFailure) as caught:
        await unseal(holder, place, sealed)
    return caught.value


def failures(reason: str) -> float:
    return float(UNSEAL_FAILURES.labels(reason)._value.get())


async def test_the_contracts_vector_comes_out_byte_for_byte() -> None:
    holder = LocalKeys(KEK, drawn(WRAP_NONCE))
    sealed = await seal(holder, PLACE, Secret(VALUE), drawn(DEK, DATA_NONCE))
    assert sealed.ciphertext.hex() == CIPHERTEXT
    assert sealed.wrapped_dek.hex() == WRAPPED
    assert sealed.kek_id == "2026-11"


async def test_the_contracts_vector_opens() -> None:
    sealed = Sealed(bytes.fromhex(CIPHERTEXT), bytes.fromhex(WRAPPED), "2026-11")
    assert (await unseal(LocalKeys(KEK), PLACE, sealed)).reveal() == VALUE


@given(
    st.text(max_size=300),
    st.builds(
        Place, *[st.text(min_size=1, max_size=40, alphabet=st.characters(codec="utf-8"))] * 4
    ),
)
async def test_what_was_sealed_opens_in_its_place(value: str, place: Place) -> None:
    text = value.encode("utf-8", "ignore").decode()
    sealed = await seal(keys("a"), place, Secret(text))
    assert await unseal(keys("b", "a"), place, sealed) == Secret(text)


async def test_sealing_twice_shares_neither_key_nor_nonce() -> None:
    spy = Spy("a")
    one, two = [await seal(spy, PLACE, Secret(VALUE)) for _ in range(2)]
    assert one.ciphertext[2:14] != two.ciphertext[2:14]
    assert one.wrapped_dek[4:16] != two.wrapped_dek[4:16]
    assert len(set(spy.wrapped)) == 2


async def test_the_data_key_is_overwritten_after_every_use() -> None:
    spy = Spy("a")
    sealed = await seal(spy, PLACE, Secret(VALUE))
    await unseal(spy, PLACE, sealed)
    await rewrap(spy, PLACE, sealed.wrapped_dek, "a")
    await refused(spy, elsewhere(origin="https://evil.example:443"), sealed)
    # Sealed, opened, unwrapped and wrapped, and the failed try.
    assert len(spy.wrapped) == len(spy.buffers) == 5
    assert set(spy.wrapped) == {spy.wrapped[0]} != {bytes(32)}
    assert {bytes(buffer) for buffer in spy.buffers} == {bytes(32)}


@pytest.mark.row(4)
@pytest.mark.parametrize("changed", OTHER_PLACES, ids=str)
async def test_a_row_that_was_moved_does_not_open(changed: dict[str, str]) -> None:
    sealed = await seal(keys("a"), PLACE, Secret(VALUE))
    assert isinstance(await refused(keys("a"), elsewhere(**changed), sealed), CredentialCorrupt)


async def test_words_of_a_place_do_not_run_together() -> None:
    place = Place("ab", "c", "d", "e")
    sealed = await seal(keys("a"), place, Secret(VALUE))
    for moved in (
        Place("a", "bc", "d", "e"),
        Place("ab", "cd", "", "e"),
        Place("ab", "c", "de", ""),
    ):
        assert isinstance(await refused(keys("a"), moved, sealed), CredentialCorrupt)


async def test_ciphertext_and_data_key_of_two_rows_do_not_mix() -> None:
    one, two = [await seal(keys("a"), PLACE, Secret(VALUE)) for _ in range(2)]
    mixed = Sealed(one.ciphertext, two.wrapped_dek, "a")
    assert isinstance(await refused(keys("a"), PLACE, mixed), CredentialCorrupt)


@pytest.mark.row(4)
async def test_no_byte_can_be_changed() -> None:
    sealed = await seal(keys("a"), PLACE, Secret(VALUE))
    for at in range(len(sealed.ciphertext)):
        changed = bytearray(sealed.ciphertext)
        changed[at] ^= 1
        altered = msgspec.structs.replace(sealed, ciphertext=bytes(changed))
        assert isinstance(await refused(keys("a"), PLACE, altered), CredentialCorrupt), at
    for at in range(len(sealed.wrapped_dek)):
        changed = bytearray(sealed.wrapped_dek)
        changed[at] ^= 1
        altered = msgspec.structs.replace(sealed, wrapped_dek=bytes(changed))
        # The second byte names who wrapped it: another holder is not a damaged row.
        kind = KeyUnavailable if at == 1 else CredentialCorrupt
        assert isinstance(await refused(keys("a"), PLACE, altered), kind), at


async def test_nothing_that_was_cut_short_or_made_longer_opens() -> None:
    sealed = await seal(keys("a"), PLACE, Secret(VALUE))
    for name in ("ciphertext", "wrapped_dek"):
        whole: bytes = getattr(sealed, name)
        for wrong in [*(whole[:end] for end in range(len(whole))), whole + b"\0"]:
            altered = msgspec.structs.replace(sealed, **{name: wrong})
            assert isinstance(await refused(keys("a"), PLACE, altered), CredentialCorrupt), wrong


@given(st.binary(max_size=90), st.binary(max_size=90))
async def test_arbitrary_bytes_are_refused_and_nothing_else_happens(a: bytes, b: bytes) -> None:
    assert (await refused(keys("a"), PLACE, Sealed(a, b, "a"))).health_name


async def test_an_empty_value_is_a_value() -> None:
    sealed = await seal(keys("a"), PLACE, Secret(""))
    assert (await unseal(keys("a"), PLACE, sealed)).reveal() == ""


async def test_bytes_that_are_no_text_are_corrupt() -> None:
    class Bytes(str):
        def encode(self, *_: Any) -> bytes:
            return b"\xff\xfe"

    sealed = await seal(keys("a"), PLACE, Secret(Bytes()))
    failure = await refused(keys("a"), PLACE, sealed)
    assert isinstance(failure, CredentialCorrupt)
    assert failure.__cause__ is None


@pytest.mark.row(3)
async def test_a_key_that_is_not_loaded_is_told_apart_from_damage() -> None:
    sealed = await seal(keys("old"), PLACE, Secret(VALUE))
    failure = await refused(keys("new"), PLACE, sealed)
    assert isinstance(failure, KeyUnavailable)
    assert (failure.code, failure.http_status, failure.retry_after) == (
        "SCAILINK_KEY_UNAVAILABLE",
        503,
        5,
    )
    assert (failure.health_name, failure.key_id) == ("KeyUnavailableError", "old")
    assert "old" not in failure.message


async def test_damage_is_no_reason_to_come_back_later() -> None:
    failure = await refused(keys("a"), PLACE, Sealed(b"", b"", "a"))
    assert (failure.code, failure.http_status, failure.retry_after) == ("INTERNAL_ERROR", 500, None)
    assert failure.health_name == "CredentialCorruptError"


async def test_another_key_under_the_same_name_does_not_open() -> None:
    sealed = await seal(keys("a"), PLACE, Secret(VALUE))
    other = LocalKeys(KeyRing(("a",), (bytes(range(32)),)))
    assert isinstance(await refused(other, PLACE, sealed), CredentialCorrupt)


async def test_the_column_beside_it_must_name_the_same_key() -> None:
    sealed = await seal(keys("a"), PLACE, Secret(VALUE))
    renamed = msgspec.structs.replace(sealed, kek_id="b")
    assert isinstance(await refused(keys("a", "b"), PLACE, renamed), CredentialCorrupt)


async def test_rewrapping_changes_the_key_and_leaves_the_ciphertext_valid() -> None:
    sealed = await seal(keys("old"), PLACE, Secret(VALUE))
    wrapped, key_id = await rewrap(keys("new", "old"), PLACE, sealed.wrapped_dek, "old")
    assert key_id == "new"
    moved = Sealed(sealed.ciphertext, wrapped, key_id)
    assert (await unseal(keys("new"), PLACE, moved)).reveal() == VALUE
    assert isinstance(await refused(keys("old"), PLACE, moved), KeyUnavailable)


async def test_rewrapping_does_not_need_to_know_the_origin() -> None:
    sealed = await seal(keys("old"), PLACE, Secret(VALUE))
    row = RowId(PLACE.tenant_id, PLACE.server_id, PLACE.field)
    wrapped, _ = await rewrap(keys("new", "old"), row, sealed.wrapped_dek, "old")
    assert await unseal(keys("new"), PLACE, Sealed(sealed.ciphertext, wrapped, "new"))


@pytest.mark.parametrize(
    ("names", "kek_id", "kind"),
    [(("new",), "old", KeyUnavailable), (("new", "old"), "new", CredentialCorrupt)],
)
async def test_what_does_not_open_is_not_rewrapped(
    names: tuple[str, ...], kek_id: str, kind: type[CredentialFailure]
) -> None:
    sealed = await seal(keys("old"), PLACE, Secret(VALUE))
    before = failures(kind.reason)
    with pytest.raises(kind):
        await rewrap(keys(*names), PLACE, sealed.wrapped_dek, kek_id)
    assert failures(kind.reason) == before + 1


async def test_each_failure_is_counted_and_logged_with_its_place() -> None:
    sealed = await seal(keys("old"), PLACE, Secret(VALUE))
    before = failures("key_unavailable"), failures("corrupt")
    with capture_logs() as logs:
        await refused(keys("new"), PLACE, sealed)
        await refused(keys("old"), elsewhere(field="x-api-key"), sealed)
    assert (failures("key_unavailable"), failures("corrupt")) == (before[0] + 1, before[1] + 1)
    common = {
        "event": "remote_unseal_failed",
        "component": "scaimcp.credentials",
        "log_level": "error",
        "tenant_id": PLACE.tenant_id,
        "server_id": PLACE.server_id,
        "key_id": "old",
    }
    assert logs == [
        {**common, "field": "authorization", "reason": "key_unavailable"},
        {**common, "field": "x-api-key", "reason": "corrupt"},
    ]


async def test_neither_value_nor_key_shows_anywhere() -> None:
    spy = Spy("a")
    with capture_logs() as logs:
        sealed = await seal(spy, PLACE, Secret(VALUE))
        opened = await unseal(spy, PLACE, sealed)
        failure = await refused(spy, elsewhere(field="x"), sealed)
    trace = "".join(traceback.format_exception(failure))
    shown = f"{logs} {sealed!r} {sealed} {opened!r} {failure!r} {spy!r} {trace}"
    for secret in (VALUE, spy.wrapped[0].hex(), repr(spy.wrapped[0]), repr(sealed.ciphertext)):
        assert secret not in shown
    assert repr(sealed) == "Sealed(kek_id='a')"
    with pytest.raises(TypeError):
        pickle.dumps(opened)
