"""What ScaiVault's answers become, as data. Spec: scaivault 2.6, 8."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.scaivault.answers import (
    Answer,
    UpstreamFailure,
    failed_answer,
    longest_pause,
    retry_after,
    shape_mismatch,
    timed_out,
    tries_left,
    unreachable,
)

NOW = 1_777_000_000.0
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
WRITES = METHODS[1:]


def answered(status: int, error: Any, **headers: str) -> UpstreamFailure:
    body = msgspec.json.encode({"error": error})
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failed_answer(status, body, named, NOW)


def test_a_code_passes_in_lower_case_with_message_and_id() -> None:
    error = {"code": "Secret_Not_Found", "message": "None here.", "request_id": "req_1"}
    found = answered(404, error)
    assert (found.code, found.message, found.request_id) == (
        "secret_not_found", "None here.", "req_1",
    )  # fmt: skip
    assert (found.status, found.is_coded, found.cause) == (404, True, "answer")
    assert (found.details, found.members, found.retry_after) == ((), {}, None)


@pytest.mark.parametrize(
    "code", ["", None, 7, "a b", "a/b", "ä", "x" * 65, "1a", ["a"], "<b>", "a\n"]
)
def test_a_code_that_is_none_leaves_the_status(code: Any) -> None:
    found = answered(409, {"code": code, "message": "secret text"})
    assert (found.code, found.is_coded) == ("UPSTREAM_ERROR", False)
    assert "409" in found.message
    assert "secret text" not in found.message


@pytest.mark.parametrize(
    "body", [b"", b"<html>x</html>", b"[]", b"7", b'{"error":"x"}', b'{"error":[]}', b"{", b"\xff"]
)
def test_a_body_that_is_no_envelope_is_not_quoted(body: bytes) -> None:
    found = failed_answer(404, body, {}, NOW)
    assert (found.code, found.message) == ("UPSTREAM_ERROR", "ScaiVault answered with status 404.")


@pytest.mark.parametrize("status", [302, 304, 199, 600])
def test_what_is_neither_success_nor_error_keeps_no_code(status: int) -> None:
    assert answered(status, {"code": "not_found"}).code == "UPSTREAM_ERROR"


def test_messages_are_one_short_line_without_tokens() -> None:
    long = "x\ny " + "Bearer skt_abcdefgh0123456789 " + "z" * 900
    message = answered(400, {"code": "invalid_request", "message": long}).message
    assert "\n" not in message
    assert "skt_" not in message
    assert len(message) <= 500


@pytest.mark.parametrize("message", [None, "", 7, []])
def test_a_missing_message_is_replaced(message: Any) -> None:
    found = answered(400, {"code": "invalid_request", "message": message})
    assert found.message == "ScaiVault answered invalid_request."


def test_a_conflict_of_versions_says_what_to_do() -> None:
    found = answered(409, {"code": "version_conflict", "message": "y" * 600})
    assert found.message.endswith(" Read again, then decide.")
    assert len(found.message) <= 500


@pytest.mark.parametrize(
    "fields",
    [
        [{"field": "name", "message": "is taken"}, {"field": 7, "message": 8}, 9],
        {"name": "is taken"},
    ],
)
def test_fields_of_422_become_details(fields: Any) -> None:
    found = answered(422, {"code": "validation_error", "details": {"fields": fields}})
    assert found.details == ({"field": "name", "message": "is taken"},)
    assert found.members == {}


def test_other_details_pass_as_they_are() -> None:
    details = {"failed_condition": "ip_ranges"}
    assert answered(403, {"code": "access_denied", "details": details}).members == {
        "details": details
    }
    assert answered(422, {"code": "validation_error", "details": {"fields": 7}}).members
    assert answered(403, {"code": "access_denied", "details": {"x": "y" * 5_000}}).members == {}
    assert answered(403, {"code": "access_denied", "details": []}).members == {}


@pytest.mark.parametrize(
    ("stated", "header", "shown"),
    [("req_1", "req_2", "req_1"), (7, "req_2", "req_2"), ("a b", "", ""), (None, "x" * 129, "")],
)
def test_the_request_id_is_scaivaults(stated: Any, header: str, shown: str) -> None:
    error = {"code": "internal_error", "request_id": stated}
    assert answered(500, error, X_Request_ID=header).request_id == shown


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7), (" 12 ", 12), ("0", 0), ("99999999999", 86_400), ("-1", None), ("1.5", None),
        ("", None), ("soon", None), ("Fri, 24 Apr 2026 03:06:50 GMT", 10),
        ("Fri, 24 Apr 2020 03:06:50 GMT", 0), ("Fri, 24 Apr 99999 03:06:50 GMT", None),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 86_400),
    ],
)  # fmt: skip
def test_a_wait_is_seconds_or_a_date(value: str, seconds: int | None) -> None:
    assert retry_after(value, NOW) == seconds


@given(st.text())
def test_no_header_breaks_the_reading_of_a_wait(value: str) -> None:
    seconds = retry_after(value, NOW)
    assert seconds is None or 0 <= seconds <= 86_400


def test_only_429_and_503_state_a_wait() -> None:
    shown = {
        status: answered(status, {"code": "x"}, Retry_After="4").retry_after
        for status in (429, 503, 500, 403)
    }
    assert shown == {429: 4, 503: 4, 500: None, 403: None}


@given(st.integers(300, 599), st.binary(max_size=200))
def test_any_answer_becomes_one_failure(status: int, body: bytes) -> None:
    found = failed_answer(status, body, {}, NOW)
    assert found.status == status
    assert found.message


# -- second tries ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_short_wait_is_kept_twice_whatever_the_method(method: str) -> None:
    short = answered(429, {"code": "rate_limited"}, Retry_After="10")
    assert [tries_left(method, short, done) for done in range(3)] == [True, True, False]
    for wait in ("11", ""):
        long = answered(429, {"code": "rate_limited"}, Retry_After=wait)
        assert not tries_left(method, long, 0)


@pytest.mark.parametrize("method", METHODS)
def test_what_was_never_sent_may_be_sent_once_more(method: str) -> None:
    unsent = unreachable(method, is_sent=False)
    assert [tries_left(method, unsent, done) for done in range(2)] == [True, False]


@pytest.mark.parametrize("method", WRITES)
def test_a_write_is_never_sent_twice(method: str) -> None:
    failures = [
        timed_out(method),
        unreachable(method, is_sent=True),
        shape_mismatch(200),
        *(answered(status, {"code": "x"}) for status in range(300, 600) if status != 429),
    ]
    assert not any(tries_left(method, failure, 0) for failure in failures)


def test_a_get_is_tried_as_often_as_the_contract_says() -> None:
    expected = {500: 1, 502: 1, 503: 2, 504: 1}
    for status in (s for s in range(300, 600) if s != 429):
        failure = answered(status, {"code": "x"})
        tries = sum(tries_left("GET", failure, done) for done in range(5))
        assert tries == expected.get(status, 0), status
    for failure in (timed_out("GET"), unreachable("GET", is_sent=True)):
        assert [tries_left("GET", failure, done) for done in range(2)] == [True, False]
    assert not tries_left("GET", shape_mismatch(200), 0)


def test_pauses_double() -> None:
    failure = answered(503, {"code": "x"})
    assert [longest_pause(failure, done) for done in range(3)] == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("method", METHODS)
def test_only_writes_may_have_been_applied(method: str) -> None:
    is_write = method != "GET"
    for failure in (timed_out(method), unreachable(method, is_sent=True)):
        assert ("may or may not have been applied" in failure.message) == is_write
    assert "applied" not in unreachable(method, is_sent=False).message


def test_an_answer_is_json_or_nothing() -> None:
    assert Answer(200, b'{"a":1}').decoded() == {"a": 1}
    assert Answer(204, b"").decoded() is None
    for body in (b"", b"{", b"[" * 9_000, b"\xff", b'"\\ud800"'):
        with pytest.raises(UpstreamFailure) as caught:
            Answer(200, body).decoded()
        assert caught.value.code == "UPSTREAM_SHAPE_MISMATCH"
