"""Bodies and pages of REST requests, below any server. Spec: remote-servers 1 (Body, List)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from starlette.requests import Request

from scaimcp.errors import RequestRefused
from scaimcp.rest.bodies import parse_object, read_bytes, read_object
from scaimcp.rest.paging import DEFAULT, MOST, Cursors, limit_of
from scaimcp.sealing import Sealer
from scaimcp.settings import KeyRing
from tests.fakes.callers import caller

RING = KeyRing(("one",), (hashlib.sha256(b"one").digest(),))


class Place(msgspec.Struct, frozen=True):
    """Where a page ended."""

    id: str


def request(*chunks: bytes | None, query: str = "", **headers: str) -> Request:
    """A request whose body comes in `chunks`; None for a client that leaves."""
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        chunk = waiting.pop(0)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "query_string": query.encode(), "headers": lines}
    return Request(scope, receive)


def refused(error: Any) -> tuple[int, str]:
    return error.value.http_status, error.value.code


# --- bodies -----------------------------------------------------------------------------------


async def test_a_body_in_pieces_is_one_object() -> None:
    given = request(b'{"a":', b"[1,", b"2]}", content_type="application/json; charset=utf-8")
    assert await read_object(given) == {"a": [1, 2]}


async def test_a_body_that_grows_too_large_is_refused_on_the_way() -> None:
    with pytest.raises(RequestRefused) as caught:
        await read_bytes(request(b"x" * 60, b"x" * 60), 100)
    assert refused(caught) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_body_announced_too_large_is_not_read() -> None:
    with pytest.raises(RequestRefused) as caught:
        await read_bytes(request(content_length="101"), 100)
    assert refused(caught) == (413, "PAYLOAD_TOO_LARGE")


async def test_a_client_that_leaves_has_sent_no_body() -> None:
    with pytest.raises(RequestRefused) as caught:
        await read_bytes(request(b"{", None))
    assert refused(caught) == (400, "INVALID_JSON")


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/json5"])
async def test_other_media_types_are_refused(media_type: str | None) -> None:
    headers = {} if media_type is None else {"content_type": media_type}
    with pytest.raises(RequestRefused) as caught:
        await read_object(request(b"{}", **headers))
    assert refused(caught) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"null", b"[]", b'"x"', b"\xff{}", b'{"a":1}{}', b'{"a":Infinity}',
        b'{"a":1,"a":1}', b'{"o":[{"a":1,"a":2}]}', b'{"a":"\\udc00"}', b'{"\\ud800":1}',
        b'{"a":' * 17 + b"1" + b"}" * 17,
    ],
)  # fmt: skip
def test_what_is_not_one_clear_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestRefused) as caught:
        parse_object(body)
    assert refused(caught) == (400, "INVALID_JSON")


def test_escapes_that_make_whole_characters_are_read() -> None:
    assert parse_object(b'{"a":"\\u00fc\\ud83d\\ude42"}') == {"a": "ü🙂"}
    assert parse_object(b'{"a":' * 16 + b"1" + b"}" * 16)


# --- pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("query", "limit"), [("", DEFAULT), ("limit=1", 1), ("limit=200", MOST)])
def test_the_limit_is_taken(query: str, limit: int) -> None:
    assert limit_of(request(query=query)) == limit


@pytest.mark.parametrize("given", ["0", "201", "-1", "1.0", "", "ten", "٣", "0001"])
def test_other_limits_are_refused(given: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        limit_of(request(query=f"limit={given}"))
    assert refused(caught) == (422, "VALIDATION_ERROR")


def test_a_cursor_leads_to_its_place() -> None:
    cursors = Cursors(Sealer(RING, "cursor"))
    text = cursors.seal(caller(), ("list", None), Place("rs_1"))
    asked = request(query=f"cursor={text}")
    assert cursors.open(asked, caller(), ("list", None), Place) == Place("rs_1")
    assert cursors.open(request(), caller(), ("list", None), Place) is None


@pytest.mark.parametrize(
    ("who", "filters"),
    [
        ({"user_id": "usr_2"}, ("list", None)),
        ({"tenant_id": "tnt_2"}, ("list", None)),
        ({}, ("list", "active")),
        ({}, ("other", None)),
    ],
)
def test_a_cursor_serves_nobody_and_nothing_else(who: dict[str, str], filters: Any) -> None:
    cursors = Cursors(Sealer(RING, "cursor"))
    text = cursors.seal(caller(), ("list", None), Place("rs_1"))
    with pytest.raises(RequestRefused) as caught:
        cursors.open(request(query=f"cursor={text}"), caller(**who), filters, Place)
    assert refused(caught) == (422, "VALIDATION_ERROR")


def test_a_cursor_of_an_older_form_is_refused() -> None:
    sealer = Sealer(RING, "cursor")
    bound = msgspec.msgpack.encode(("tnt_acme", "usr_1", ("list",)))
    text = sealer.seal(msgspec.msgpack.encode(1), bound)
    with pytest.raises(RequestRefused) as caught:
        Cursors(sealer).open(request(query=f"cursor={text}"), caller(), ("list",), Place)
    assert refused(caught) == (422, "VALIDATION_ERROR")
