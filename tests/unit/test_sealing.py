"""Sealed values: round trip, rotation, and everything that must not open."""

from __future__ import annotations

import base64
import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing

ALPHABET = string.ascii_letters + string.digits + "-_"


def ring(*names: str) -> KeyRing:
    return KeyRing(names, tuple(hashlib.sha256(name.encode()).digest() for name in names))


SEALER = Sealer(ring("new", "old"), "cursor")


@given(st.binary(max_size=300))
def test_what_was_sealed_opens_and_is_url_safe(plain: bytes) -> None:
    sealed = SEALER.seal(plain)
    assert set(sealed) <= set(ALPHABET)
    assert SEALER.open(sealed) == plain


def test_sealing_twice_gives_two_values() -> None:
    assert SEALER.seal(b"same") != SEALER.seal(b"same")


def test_the_sealed_text_names_format_and_key_and_hides_the_rest() -> None:
    raw = base64.urlsafe_b64decode(SEALER.seal(b"plain text") + "==")
    assert raw[:5] == b"\x01\x03new"
    assert len(raw) == 5 + 12 + len(b"plain text") + 16
    assert b"plain" not in raw


def test_rotation_writes_with_the_first_key_and_reads_with_all() -> None:
    before = Sealer(ring("old"), "cursor").seal(b"x")
    assert SEALER.open(before) == b"x"
    assert Sealer(ring("new"), "cursor").open(SEALER.seal(b"x")) == b"x"
    assert Sealer(ring("new"), "cursor").open(before) is None


def test_a_value_of_another_label_does_not_open() -> None:
    assert Sealer(ring("new"), "session").open(SEALER.seal(b"x")) is None


def test_the_same_id_with_another_key_does_not_open() -> None:
    other = KeyRing(("new",), (hashlib.sha256(b"other").digest(),))
    assert Sealer(other, "cursor").open(SEALER.seal(b"x")) is None


def test_no_character_can_be_changed() -> None:
    sealed = SEALER.seal(b"twelve bytes")
    for at in range(len(sealed)):
        for replacement in ("A", "B", "-", "/", "+", "=", "\n", "é"):
            if sealed[at] != replacement:
                changed = sealed[:at] + replacement + sealed[at + 1 :]
                assert SEALER.open(changed) is None, (at, replacement)


def test_no_part_can_be_cut_off_or_added() -> None:
    sealed = SEALER.seal(b"x")
    for end in range(len(sealed)):
        assert SEALER.open(sealed[:end]) is None
    for tail in ("A", "AA", "=", "==", " "):
        assert SEALER.open(sealed + tail) is None


def test_one_value_has_one_spelling() -> None:
    raw = base64.urlsafe_b64decode(SEALER.seal(b"") + "==")
    texts = [base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()]
    assert [SEALER.open(text) for text in texts if set(text) - set(ALPHABET)] == [
        None for text in texts if set(text) - set(ALPHABET)
    ]


@pytest.mark.parametrize("text", ["", "AQ", "AQMA", "Ag", "AQNuZXc", "AP____", "\ud800", "ü" * 40])
def test_foreign_text_opens_as_nothing(text: str) -> None:
    assert SEALER.open(text) is None


@given(st.text(max_size=80))
def test_any_text_is_answered_quietly(text: str) -> None:
    assert SEALER.open(text) is None


@given(st.binary(max_size=60))
def test_any_bytes_behind_a_right_head_are_answered_quietly(tail: bytes) -> None:
    raw = b"\x01\x03new" + tail
    assert SEALER.open(base64.urlsafe_b64encode(raw).rstrip(b"=").decode()) is None
