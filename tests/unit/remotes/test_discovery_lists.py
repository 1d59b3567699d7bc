"""What managers are told about a server and its lists."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.rules.definitions import Dropped, Reading
from scaimcp.remotes.watching.discovery_lists import (
    Found,
    list_notes,
    read_definitions,
    told_capabilities,
    told_info,
)
from scaimcp.upstream.lists import Listed
from scaimcp.upstream.request import Handshake


def shaken(**more: Any) -> Handshake:
    return Handshake("modern", "2026-07-28", **more)


def test_names_and_instructions_are_kept_as_plain_text() -> None:
    info = {"name": "a\x00b", "version": "1", "icons": [1], "title": 7, "websiteUrl": "x" * 300}
    told = told_info(shaken(server_info=msgspec.json.encode(info), instructions="Be\nkind."))
    assert told == {
        "name": "ab", "version": "1", "websiteUrl": "x" * 200, "instructions": "Be kind.",
    }  # fmt: skip


@pytest.mark.parametrize("info", [b"", b"[1]", b"{broken", b'"\xff"'])
def test_what_cannot_be_read_is_nothing(info: bytes) -> None:
    assert told_info(shaken(server_info=info)) is None


def test_capabilities_are_kept_unless_they_are_huge() -> None:
    assert told_capabilities(shaken()) is None
    small = {"tools": msgspec.Raw(b'{"listChanged":true}')}
    assert told_capabilities(shaken(capabilities=small)) == {"tools": {"listChanged": True}}
    large = {f"c{i}\x07": msgspec.Raw(b"1" * 100) for i in range(400)}
    told = told_capabilities(shaken(capabilities=large))
    assert told is not None
    assert list(told) == [f"c{i}" for i in range(32)]


def test_capabilities_that_no_json_reader_takes_are_nothing() -> None:
    assert told_capabilities(shaken(capabilities={"a": msgspec.Raw(b"[" * 2_000)})) == {}


def test_notes_are_empty_where_all_went_well() -> None:
    found = Found(lists={Kind.TOOL: Listed()})
    assert list_notes(found, read_definitions(found, None)) == {}  # type: ignore[arg-type]


def test_notes_count_what_was_left_out() -> None:
    found = Found(
        lists={Kind.TOOL: Listed(surplus=3), Kind.PROMPT: Listed(is_cut=True, pages=50)},
        partial={Kind.RESOURCE: "TimeoutError"},
    )
    dropped = Dropped(Kind.TOOL, "x", "task_only")
    readings = {Kind.TOOL: Reading(dropped=(dropped,), truncated=2), Kind.PROMPT: Reading()}
    assert list_notes(found, readings) == {
        "truncated": {"tool": 5, "prompt": 1},
        "unfinished": {"prompt": 50},
        "partial": {"resource": "TimeoutError"},
        "dropped": [{"kind": "tool", "name": "x", "reason": "task_only"}],
    }
