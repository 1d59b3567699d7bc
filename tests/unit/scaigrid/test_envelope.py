"""The platform's envelopes, waiting times and errors. Spec: scaigrid 5, 7, 8."""

from __future__ import annotations

import email.utils
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from scaimcp.errors import PlatformFailure
from scaimcp.scaigrid.envelope import (
    AUTHENTICATION_CODES,
    AuthenticationLost,
    failure,
    is_error,
    read_envelope,
    unavailable,
    waiting_time,
)


def fail(status: int, error: Any = None, /, meta: Any = None, **headers: str) -> PlatformFailure:
    body = msgspec.json.encode({"status": "error", "error": error, "meta": meta})
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return failure(status, read_envelope(body) if error is not None else None, CIMultiDict(lines))


def test_a_core_success_keeps_its_data_undecoded() -> None:
    envelope = read_envelope(b'{"status":"ok","data":{"a": 1.50},"meta":{"request_id":"r"}}')
    assert envelope is not None
    assert bytes(envelope.data) == b'{"a": 1.50}'
    assert envelope.meta == {"request_id": "r"}
    assert not is_error(200, envelope)


def test_a_module_success_has_no_status() -> None:
    envelope = read_envelope(b'{"data":[],"has_more":true,"next_cursor":"c","pagination":{}}')
    assert envelope is not None
    assert (envelope.status, envelope.has_more, envelope.next_cursor) == (None, True, "c")
    assert not is_error(200, envelope)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"null", b"7", b'"x"', b"{", b'{"data":}', b"\xff", b'{"data":1} x',
     b'{"data":"\xff"}'],
)  # fmt: skip
def test_what_is_no_json_object_is_no_envelope(body: bytes) -> None:
    envelope = read_envelope(body)
    # A payload is not looked into before somebody reads it.
    assert envelope is None or body == b'{"data":"\xff"}'


def test_deep_nesting_is_no_crash() -> None:
    read_envelope(b'{"data":' + b"[" * 200_000 + b"]" * 200_000 + b"}")
    assert read_envelope(b'{"meta":' + b"[" * 200_000 + b"]" * 200_000 + b"}") is None


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"data": 1}, False),
        (200, {"status": "ok", "data": 1, "error": None}, False),
        (200, {"data": 1, "error": "text"}, False),
        (200, {"status": "error", "data": 1}, True),
        (200, {"data": 1, "error": {"code": "X"}}, True),
        (200, {"error": {}}, True),
        (400, {"data": 1}, True),
        (500, {"status": "ok", "data": 1}, True),
    ],
)
def test_body_and_status_both_can_say_error(status: int, body: Any, expected: bool) -> None:
    envelope = read_envelope(msgspec.json.encode(body))
    assert envelope is not None
    assert is_error(status, envelope) is expected


CODES = [
    ("AUTH_INSUFFICIENT_SCOPE", 403), ("AUTHZ_PERMISSION_DENIED", 403), ("MODEL_NOT_FOUND", 404),
    ("VALIDATION_ERROR", 422), ("SLUG_CONFLICT", 409), ("MODEL_UNAVAILABLE", 503),
    ("BACKEND_ERROR", 502), ("BACKEND_TIMEOUT", 504), ("BACKEND_RATE_LIMITED", 429),
    ("RATE_LIMITED", 429), ("UPSTREAM_SHAPE_MISMATCH", 502), ("QUOTA_EXCEEDED", 429),
    ("MODULE_NOT_ENABLED", 403), ("INTERNAL_ERROR", 500), ("A_CODE_OF_TOMORROW", 418),
]  # fmt: skip


@pytest.mark.parametrize(("code", "status"), CODES)
def test_the_platforms_code_and_message_pass_unchanged(code: str, status: int) -> None:
    error = fail(status, {"code": code, "message": "Why."})
    assert type(error) is PlatformFailure
    assert (error.code, error.message, error.status) == (code, "Why.", status)


@pytest.mark.parametrize("code", sorted(AUTHENTICATION_CODES))
@pytest.mark.parametrize("status", [200, 401, 403])
def test_an_authentication_code_counts_whatever_the_status(code: str, status: int) -> None:
    error = fail(status, {"code": code, "message": "m"})
    assert isinstance(error, AuthenticationLost)
    assert (error.code, error.http_status, error.retryable) == (code, 401, False)


def test_the_status_does_not_override_the_code() -> None:
    error = fail(401, {"code": "BACKEND_ERROR", "message": "An upstream refused its key."})
    assert not isinstance(error, AuthenticationLost)
    assert (error.code, error.status) == ("BACKEND_ERROR", 401)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "AUTH_TOKEN_INVALID"),
        (404, "NOT_SUPPORTED"),
        (405, "NOT_SUPPORTED"),
        (429, "RATE_LIMITED"),
        (500, "PLATFORM_UNAVAILABLE"),
        (503, "PLATFORM_UNAVAILABLE"),
        (400, "PLATFORM_BAD_RESPONSE"),
        (403, "PLATFORM_BAD_RESPONSE"),
        (418, "PLATFORM_BAD_RESPONSE"),
    ],
)
@pytest.mark.parametrize(
    "error", [None, {}, "text", {"code": 7}, {"code": " \n"}, {"message": "x"}]
)
def test_without_a_readable_code_the_status_decides(status: int, code: str, error: Any) -> None:
    refusal = fail(status, error)
    assert (refusal.code, refusal.status) == (code, status)
    assert isinstance(refusal, AuthenticationLost) is (status == 401)
    assert refusal.retry_after == {"RATE_LIMITED": 5, "PLATFORM_UNAVAILABLE": 5}.get(code)


@pytest.mark.parametrize(
    ("status", "error", "headers", "expected"),
    [
        (502, {"code": "BACKEND_ERROR"}, {}, True),
        (503, {"code": "MODEL_UNAVAILABLE"}, {}, True),
        (504, {"code": "BACKEND_TIMEOUT"}, {}, True),
        (503, {"code": "MODEL_UNAVAILABLE", "retry_after": 2}, {}, False),
        (503, {"code": "MODEL_UNAVAILABLE"}, {"Retry_After": "2"}, False),
        (500, {"code": "INTERNAL_ERROR"}, {}, False),
        (429, {"code": "RATE_LIMITED"}, {}, False),
        (401, {"code": "SESSION_EXPIRED"}, {}, False),
        (502, None, {}, True),
        (503, None, {}, True),
        (503, None, {"Retry_After": "2"}, False),
        (500, None, {}, False),
        (501, None, {}, False),
    ],
)
def test_what_a_get_may_repeat(
    status: int, error: Any, headers: dict[str, str], expected: bool
) -> None:
    assert fail(status, error, **headers).retryable is expected


@pytest.mark.parametrize("message", [None, 7, "", " \n\t", {}])
def test_without_a_message_the_code_stands_in(message: Any) -> None:
    assert fail(400, {"code": "SOME_CODE", "message": message}).message == "SOME_CODE"


def test_message_and_code_are_cleaned_before_anyone_sees_them() -> None:
    error = fail(400, {"code": "X" * 900, "message": "key sgk_0123456789abcdef\nis\x00 bad " * 60})
    assert error.code == "X" * 64
    assert len(error.message) == 500
    assert "sgk_" not in error.message
    assert "\n" not in error.message
    assert fail(400, {"code": "A sgk_0123456789abcdef"}).message == "A [redacted]"


def test_details_are_cut_to_field_and_message() -> None:
    details = [
        {"field": "end", "message": "must be after start", "value": "secret"},
        {"field": "a\nb"},
        {"field": 7, "message": None},
        "text",
        {"message": "key sgk_0123456789abcdef"},
    ]
    assert fail(422, {"code": "VALIDATION_ERROR", "details": details}).details == (
        {"field": "end", "message": "must be after start"},
        {"field": "a b"},
        {"message": "key [redacted]"},
    )


@pytest.mark.parametrize("details", [None, "x", {}, 7])
def test_details_that_are_no_list_are_dropped(details: Any) -> None:
    assert fail(422, {"code": "VALIDATION_ERROR", "details": details}).details == ()


def test_at_most_twenty_details_pass() -> None:
    details = [{"field": str(number)} for number in range(30)]
    assert len(fail(422, {"code": "V", "details": details}).details) == 20


@pytest.mark.parametrize(
    ("meta", "headers", "expected"),
    [
        ({"request_id": "req_a"}, {"X_Request_Id": "req_b"}, "req_a"),
        ({}, {"X_Request_Id": "req_b"}, "req_b"),
        ({"request_id": 7}, {"X_Request_Id": "req_b"}, "req_b"),
        ({"request_id": "a b"}, {}, ""),
        ("text", {}, ""),
        (None, {}, ""),
    ],
)
def test_the_platforms_request_id_is_kept_where_it_is_wellformed(
    meta: Any, headers: dict[str, str], expected: str
) -> None:
    assert fail(400, {"code": "X"}, meta, **headers).request_id == expected


# --- waiting time -----------------------------------------------------------------------------


def wait(stated: Any = None, required: bool = True, **headers: str) -> int | None:
    lines = {name.replace("_", "-"): value for name, value in headers.items()}
    return waiting_time(stated, CIMultiDict(lines), required=required)


def reset(seconds: float) -> str:
    return str(int(time.time() + seconds))


def http_date(seconds: float) -> str:
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(7, 7), (7.2, 8), (0, 1), (-3, 1), (300, 300), (301, 300), (10**400, 300), (1e308, 300)],
)
def test_the_body_comes_first_and_is_kept_within_limits(stated: Any, expected: int) -> None:
    assert wait(stated, Retry_After="9", X_Scaigrid_Ratelimit_Reset=reset(50)) == expected


@pytest.mark.parametrize("stated", [None, "7", True, [], {}, float("nan")])
def test_then_the_header_in_seconds(stated: Any) -> None:
    assert wait(stated, Retry_After=" 9 ", X_Scaigrid_Ratelimit_Reset=reset(50)) == 9


def test_or_as_a_date() -> None:
    assert wait(Retry_After=http_date(30)) in (29, 30)
    assert wait(Retry_After=http_date(-30)) == 1
    assert wait(Retry_After=http_date(90_000)) == 300


@pytest.mark.parametrize(
    "header",
    ["", "soon", "-3", "²", "9" * 400, "Mon, 99 Foo 2026", ",",
     "Mon, 01 Jan 99999999999999999999 0:0:0 GMT", "Mon, 01 Jan 0001 00:00:00 +2300"],
)  # fmt: skip
def test_an_unreadable_header_counts_as_absent(header: str) -> None:
    waited = wait(Retry_After=header, X_Scaigrid_Ratelimit_Reset=reset(50))
    assert waited in (49, 50) or (header.startswith("Mon, 01 Jan 0001") and waited == 1)


def test_then_the_reset_time() -> None:
    assert wait(X_Scaigrid_Ratelimit_Reset=reset(20)) in (19, 20)
    assert wait(X_Scaigrid_Ratelimit_Reset=reset(-20)) == 1
    assert wait(X_Scaigrid_Ratelimit_Reset=reset(4000)) == 300


@pytest.mark.parametrize("header", ["", "x", "²", "-1", "1e9"])
def test_else_five_seconds(header: str) -> None:
    assert wait() == 5
    assert wait(X_Scaigrid_Ratelimit_Reset=header) == 5


def test_nothing_is_invented_where_nobody_needs_to_wait() -> None:
    assert wait(required=False) is None
    assert wait(required=False, X_Scaigrid_Ratelimit_Reset=reset(50)) is None
    assert wait(3, required=False) == 3
    assert wait(required=False, Retry_After="4") == 4


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (429, "RATE_LIMITED", 5),
        (200, "RATE_LIMITED", 5),
        (429, "BACKEND_RATE_LIMITED", 5),
        (429, "SOMETHING_NEW", 5),
        (429, "QUOTA_EXCEEDED", None),
        (429, "BUDGET_EXCEEDED", None),
        (403, "MODULE_NOT_ENABLED", None),
    ],
)
def test_only_limits_that_pass_soon_get_a_waiting_time(
    status: int, code: str, expected: int | None
) -> None:
    assert fail(status, {"code": code}).retry_after == expected
    assert fail(status, {"code": code, "retry_after": 40}).retry_after == 40


@given(
    st.one_of(st.none(), st.text(max_size=20), st.integers(), st.floats(), st.booleans()),
    st.text(max_size=40),
    st.text(max_size=40),
    st.booleans(),
)
def test_the_waiting_time_is_always_usable(
    stated: Any, header: str, reset_header: str, required: bool
) -> None:
    waited = wait(stated, required, Retry_After=header, X_Scaigrid_Ratelimit_Reset=reset_header)
    assert waited is None or 1 <= waited <= 300
    assert waited is not None or not required


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.integers(400, 599), JSON)
def test_any_error_body_becomes_a_failure_with_a_word_and_a_sentence(
    status: int, error: Any
) -> None:
    body = msgspec.json.encode({"error": error})
    refusal = failure(status, read_envelope(body), CIMultiDict())
    assert refusal.code
    assert refusal.message
    assert refusal.status == status


def test_no_connection_says_when_to_come_back() -> None:
    refusal = unavailable("gone")
    assert (refusal.code, refusal.status, refusal.retry_after) == ("PLATFORM_UNAVAILABLE", 0, 5)
    assert not refusal.retryable
