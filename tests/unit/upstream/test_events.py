"""The reader of server-sent events."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.upstream.errors import ResponseTooLargeError
from scaimcp.upstream.events import Event, EventReader


def read(*chunks: bytes) -> list[Event]:
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_ending_ends_lines(end: bytes) -> None:
    stream = end.join([b"event: endpoint", b"data: /messages", b"", b": ping", b"data:x", b"", b""])
    assert read(stream) == [Event("endpoint", b"/messages"), Event("message", b"x")]


def test_several_data_lines_are_joined_and_other_fields_ignored() -> None:
    stream = b"id: 7\nretry: 10\ndata: a\ndata\ndata:  b\nnonsense\n\n"
    assert read(stream) == [Event("message", b"a\n\n b")]


def test_an_event_without_data_and_an_unfinished_one_do_not_count() -> None:
    assert read(b"event: x\n\ndata: half") == []
    assert read(b"event: x\n\ndata: a\n\n") == [Event("message", b"a")]


def test_an_event_with_an_id_and_empty_data_does_not_count() -> None:
    # Servers that can resume begin each stream like this.
    reader = EventReader(1_000)
    events = [*reader.feed(b"id: 7\ndata:\n\n"), *reader.feed(b"data: {}\n\n")]
    assert [event.data for event in events] == [b"{}"]


def test_a_byte_order_mark_at_the_start_is_skipped() -> None:
    assert read(b"\xef\xbb\xbfdata: a\n\n") == [Event("message", b"a")]


STREAM = "event: a\r\ndata: één\r\n\r\n: c\rdata: 1\rdata: 2\r\rdata: x\n\n\n".encode()


@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_it_does_not_matter_where_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *cuts, len(STREAM)]
    chunks = [STREAM[one:other] for one, other in pairwise(edges)]
    assert read(*chunks) == read(STREAM)
    assert len(read(STREAM)) == 3


def test_an_event_over_its_limit_is_refused_before_it_is_whole() -> None:
    reader = EventReader(event_bytes=100)
    assert reader.feed(b"data: " + b"x" * 80) == []
    with pytest.raises(ResponseTooLargeError):
        reader.feed(b"x" * 20)


def test_many_small_lines_count_as_one_event() -> None:
    reader = EventReader(event_bytes=100)
    with pytest.raises(ResponseTooLargeError):
        reader.feed(b"data: x\n" * 20)


def test_a_stream_over_its_limit_is_refused_whatever_it_holds() -> None:
    reader = EventReader(stream_bytes=1_000)
    for _ in range(10):
        reader.feed(b":" + b"k" * 97 + b"\n\n")
    with pytest.raises(ResponseTooLargeError):
        reader.feed(b":\n")


def test_a_long_stream_is_counted_from_the_last_restart() -> None:
    reader = EventReader(stream_bytes=100)
    for _ in range(50):
        reader.restart()
        assert reader.feed(b"data: " + b"x" * 60 + b"\n\n") == [Event("message", b"x" * 60)]
