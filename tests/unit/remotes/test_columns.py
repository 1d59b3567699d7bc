"""Values into and out of columns."""

from __future__ import annotations

import msgspec
import pytest

from scaimcp.remotes.enumerations import ConsentTier, Kind, Transport
from scaimcp.remotes.stores.columns import (
    affected,
    columns,
    decoded,
    encoded,
    known,
    raw,
    sql,
    storable,
)


def test_a_statement_is_its_parts() -> None:
    assert sql("SELECT", "1") == "SELECT\n1"


def test_an_unknown_word_is_the_fallback() -> None:
    assert known(ConsentTier, "confirm", ConsentTier.LOCKED) is ConsentTier.CONFIRM
    assert known(ConsentTier, "AUTO", ConsentTier.LOCKED) is ConsentTier.LOCKED
    assert known(Transport, "", None) is None


@pytest.mark.parametrize("text", ["", "rs_1", "ä\u2028😀", "x" * 9999])
def test_what_can_be_stored_stays(text: str) -> None:
    assert storable(text) == text


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "a\udfff"])
def test_what_cannot_be_stored_is_empty(text: str) -> None:
    assert storable(text) == ""


def test_json_goes_and_comes_back() -> None:
    assert encoded(None) is None
    assert decoded(None) is None
    assert encoded({"z": "ä", "a": [None]}) == '{"z":"ä","a":[null]}'
    assert decoded('{"z":"ä","a":[null]}') == {"z": "ä", "a": [None]}
    assert raw('{"z": 1.0}') == msgspec.Raw(b'{"z": 1.0}')


def test_rows_become_columns() -> None:
    assert columns([(1, "a"), (2, "b")], 2) == [[1, 2], ["a", "b"]]
    assert columns([], 3) == [[], [], []]
    with pytest.raises(ValueError, match="zip"):
        columns([(1,)], 2)


def test_a_status_tells_its_count() -> None:
    assert affected("DELETE 3") == 3
    assert affected("INSERT 0 12") == 12


def test_kinds_are_in_the_order_of_lists() -> None:
    assert [kind.value for kind in Kind] == ["tool", "resource", "resource_template", "prompt"]
