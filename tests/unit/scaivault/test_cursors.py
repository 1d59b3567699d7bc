"""Cursors fit the listing that they were given out for, and no other. Spec: scaivault 2.3, 2.7."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.cursors import MOST_CHARS, Cursors, Position, binding, process_ring
from scaimcp.scaivault.errors import VaultError
from tests.unit.scaivault.samples import record_of


def cursors_of(name: str) -> Cursors:
    return Cursors(process_ring(hashlib.sha256(name.encode()).digest()))


CURSORS = cursors_of("one process")
LIST = record_of("S4")
BOUND = binding(LIST, {"prefix": "app", "limit": 50}, ("app",))
POSITION = Position(entry=1, cursor="infra/hidden", page=3, page_size=50, begin="x")


def refused(cursor: str, bound: bytes, cursors: Cursors = CURSORS) -> VaultError:
    with pytest.raises(VaultError) as caught:
        cursors.open(cursor, bound)
    return caught.value


def sealed(position: Position = POSITION, bound: bytes = BOUND) -> str:
    cursor = CURSORS.seal(position, bound)
    assert cursor is not None
    return cursor


@given(st.builds(Position))
def test_a_cursor_opens_where_it_was_sealed(position: Position) -> None:
    assert CURSORS.open(sealed(position), BOUND) == position


def test_without_a_cursor_a_listing_begins() -> None:
    assert CURSORS.open(None, BOUND) == Position()


def test_a_cursor_hides_what_it_holds() -> None:
    assert "hidden" not in sealed()
    assert sealed() != sealed()


@pytest.mark.parametrize("at", range(0, len(sealed()), 7))
def test_an_altered_cursor_is_refused(at: int) -> None:
    cursor = sealed()
    other = "A" if cursor[at] != "A" else "B"
    error = refused(cursor[:at] + other + cursor[at + 1 :], BOUND)
    assert error.code == "INVALID_ARGUMENTS"
    assert [detail["field"] for detail in error.details] == ["cursor"]


@pytest.mark.parametrize("cursor", ["", "x", "é", "=" * 9, "A" * 2_048])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    assert refused(cursor, BOUND).code == "INVALID_ARGUMENTS"


@pytest.mark.parametrize(
    "bound",
    [
        binding(record_of("S7"), {"prefix": "app"}, ("app",)),
        binding(LIST, {"prefix": "app/x"}, ("app",)),
        binding(LIST, {"prefix": "app", "more": 1}, ("app",)),
        binding(LIST, {"prefix": "app"}, ("app", "b")),
        binding(LIST, {"prefix": "app"}, ()),
        binding(LIST, {"prefix": "app"}, ("app",), "tnt_b"),
        b"",
    ],
)
def test_a_cursor_of_another_listing_is_refused(bound: bytes) -> None:
    assert refused(sealed(), bound).code == "INVALID_ARGUMENTS"


def test_a_cursor_of_another_process_is_refused() -> None:
    assert refused(sealed(), BOUND, cursors_of("another")).code == "INVALID_ARGUMENTS"


@pytest.mark.parametrize(
    "arguments",
    [
        {"prefix": "app"},
        {"prefix": "app", "limit": 7},
        {"limit": 7, "cursor": "abc", "prefix": "app"},
    ],
)
def test_limit_and_cursor_are_no_filters(arguments: dict[str, Any]) -> None:
    assert CURSORS.open(sealed(), binding(LIST, arguments, ("app",))) == POSITION


def test_filters_know_no_order_at_any_depth() -> None:
    one = binding(LIST, {"a": {"x": 1, "y": 2}, "b": 1}, ())
    assert one == binding(LIST, {"b": 1, "a": {"y": 2, "x": 1}}, ())


def test_a_cursor_that_no_client_could_send_is_not_given_out() -> None:
    assert CURSORS.seal(Position(cursor="x" * MOST_CHARS), BOUND) is None
    cursor = CURSORS.seal(Position(cursor="x" * 1_400), BOUND)
    assert cursor is not None
    assert len(cursor) <= MOST_CHARS
