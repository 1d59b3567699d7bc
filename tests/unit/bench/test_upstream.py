"""The light platform answers as the contract says, without a socket."""

from __future__ import annotations

from typing import Any

import httptools
import msgspec
import pytest

from bench.answers import BEARER, MODEL, guarded, prepared, public
from bench.light import Connection
from bench.upstream import Site
from scaimcp.auth.identity import read_profile
from scaimcp.scaigrid.envelope import read_envelope

ORIGIN = "http://127.0.0.1:9"
AUTHORIZED = b"Bearer " + BEARER.encode()


class Wire:
    """Takes what a connection writes."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True


def split(answer: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(body)
    return int(first.split()[1]), headers, msgspec.json.decode(body)


def get(site: Site, path: str, authorization: bytes = AUTHORIZED) -> tuple[int, Any]:
    status, _, body = split(site.answer(path.encode(), authorization, b"req_1", b""))
    return status, body


def connected() -> tuple[Connection, Wire]:
    connection, wire = Connection(Site(ORIGIN)), Wire()
    connection.connection_made(wire)
    return connection, wire


def test_a_prepared_body_is_the_envelope_around_the_requests_own_id() -> None:
    body = prepared({"status": "ok", "data": [1]}).body(b"req_7")
    assert msgspec.json.decode(body) == {
        "status": "ok",
        "data": [1],
        "meta": {"request_id": "req_7"},
    }


def test_an_at_sign_in_the_data_does_not_move_the_id() -> None:
    body = prepared({"data": "root@platform.test"}).body(b"req_7")
    assert msgspec.json.decode(body)["data"] == "root@platform.test"


def test_the_profile_is_a_super_admin_with_a_home_tenant_to_the_gateway() -> None:
    envelope = read_envelope(guarded()[b"/v1/me"].body(b"req_1"))
    assert envelope is not None
    caller = read_profile(
        bytes(envelope.data), b"key", token_role=None, fallback_open=False, confirmed_at=0.0
    )
    assert caller.tenant_slug == "acme"
    assert caller.grants.roles == {"super_admin"}
    assert caller.grants.module == frozenset({"*"})
    assert caller.grants.core is not None
    assert len(caller.grants.core) == 15


def test_every_module_is_active() -> None:
    _, body = get(Site(ORIGIN), "/v1/modules")
    assert {row["status"] for row in body["data"]} == {"active"}


def test_the_models_come_as_a_page_of_shape_a() -> None:
    _, body = get(Site(ORIGIN), "/v1/models")
    assert body["data"]["items"][0]["slug"] == MODEL
    assert body["pagination"] == {"has_more": False, "next_cursor": None, "total_count": 7}


def test_a_model_is_found_under_its_escaped_slug_only() -> None:
    site = Site(ORIGIN)
    status, body = get(site, "/v1/models/scailabs%2Fecho-1")
    assert (status, body["data"]["slug"]) == (200, MODEL)
    assert get(site, "/v1/models/scailabs/echo-1")[0] == 404


def test_a_query_does_not_matter() -> None:
    assert get(Site(ORIGIN), "/v1/models?limit=20")[0] == 200


def test_another_bearer_is_refused_in_the_platforms_envelope() -> None:
    status, body = get(Site(ORIGIN), "/v1/me", b"Bearer sgk_other")
    assert (status, body["error"]["code"]) == (401, "AUTH_TOKEN_INVALID")


@pytest.mark.parametrize("path", [path.decode() for path in public(ORIGIN)])
def test_public_paths_need_no_bearer(path: str) -> None:
    assert get(Site(ORIGIN), path, b"")[0] == 200


def test_the_counts_tell_each_path_once_and_begin_anew() -> None:
    site = Site(ORIGIN)
    for path in ("/v1/me", "/v1/me?x=1", "/v1/modules"):
        get(site, path)
    assert get(site, "/counts") == (200, {"/v1/me": 2, "/v1/modules": 1})
    assert get(site, "/counts") == (200, {})


def test_a_connection_answers_pipelined_requests_in_order_with_their_ids() -> None:
    connection, wire = connected()
    request = b"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nX-Request-Id: req_%d\r\n\r\n"
    both = request % (AUTHORIZED, 1) + request % (AUTHORIZED, 2)
    connection.data_received(both[:40])
    connection.data_received(both[40:])
    first = wire.written.index(b'"request_id":"req_1"')
    assert wire.written.index(b'"request_id":"req_2"') > first
    assert wire.written.count(b"HTTP/1.1 200 OK\r\n") == 2


def test_headers_of_one_request_do_not_reach_the_next() -> None:
    connection, wire = connected()
    connection.data_received(b"GET /v1/me HTTP/1.1\r\nAuthorization: %b\r\n\r\n" % AUTHORIZED)
    connection.data_received(b"GET /v1/me HTTP/1.1\r\n\r\n")
    assert b"HTTP/1.1 401" in wire.written


def test_what_is_no_http_closes_the_connection() -> None:
    connection, wire = connected()
    connection.data_received(b"nonsense\r\n\r\n")
    assert wire.is_closed


class Faulty:
    """A site with a fault."""

    def answer(self, path: bytes, authorization: bytes, request_id: bytes, body: bytes) -> bytes:
        raise LookupError


def test_a_fault_of_our_own_is_not_taken_for_bad_http() -> None:
    connection = Connection(Faulty())
    connection.connection_made(Wire())
    with pytest.raises(httptools.HttpParserCallbackError):
        connection.data_received(b"GET /health HTTP/1.1\r\n\r\n")


def test_nothing_is_written_once_the_connection_is_lost() -> None:
    connection, wire = connected()
    connection.connection_lost(None)
    connection.data_received(b"GET /health HTTP/1.1\r\n\r\n")
    connection.data_received(b"nonsense\r\n\r\n")
    assert wire.written == b""
