"""Secrets do not escape. Errors carry stable words. Ids sort by time."""

from __future__ import annotations

import copy
import pickle
import re
import time

import msgspec
import pytest

from scaimcp.errors import (
    GatewayError,
    PlatformFailure,
    ProtocolError,
    RequestRefused,
    SettingsError,
    ToolError,
)
from scaimcp.ids import new_id
from scaimcp.types import Caller, Grants, RequestContext, Secret

PLAIN = "sgk_very_secret_indeed_0123456789abcdef"
SECRET = Secret(PLAIN)


@pytest.mark.parametrize(
    "shown",
    [repr(SECRET), str(SECRET), f"{SECRET}", f"{SECRET:>80}", f"{SECRET!r}", repr([SECRET])],
)  # fmt: skip
def test_a_secret_does_not_print(shown: str) -> None:
    assert PLAIN not in shown
    assert "***" in shown


def test_a_secret_gives_its_value_only_on_demand() -> None:
    assert SECRET.reveal() == PLAIN
    assert not hasattr(SECRET, "__dict__")


def test_a_secret_is_neither_pickled_nor_copied_nor_serialised() -> None:
    for attempt in (pickle.dumps, copy.copy, msgspec.json.encode, msgspec.msgpack.encode):
        with pytest.raises(TypeError):
            attempt(SECRET)


def test_secrets_compare_by_value_and_only_with_secrets() -> None:
    assert Secret(PLAIN) == SECRET
    assert Secret("other") != SECRET
    assert SECRET != PLAIN
    assert len({SECRET, Secret(PLAIN), PLAIN}) == 2


def test_a_request_context_prints_no_bearer() -> None:
    caller = Caller(b"k" * 32, "usr_1", "tnt_1", "acme", "", Grants(None, None))
    assert PLAIN not in repr(RequestContext("req_1", caller, SECRET))


def test_an_error_carries_code_message_and_at_most_twenty_details() -> None:
    details = tuple({"field": str(number)} for number in range(25))
    error = GatewayError("SOME_CODE", "A sentence.", retry_after=3, details=details)
    assert (error.code, error.message, str(error)) == ("SOME_CODE", "A sentence.", "A sentence.")
    assert (error.http_status, error.retry_after, error.retryable) == (500, 3, False)
    assert error.details == details[:20]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RequestRefused("A", "m"), 500),
        (RequestRefused("A", "m", http_status=413), 413),
        (ToolError("A", "m"), 200),
        (PlatformFailure("A", "m", status=404), 200),
        (ProtocolError(-32602, "m"), 400),
        (SettingsError("m"), 500),
    ],
)
def test_every_error_has_its_status(error: GatewayError, status: int) -> None:
    assert error.http_status == status
    assert isinstance(error, GatewayError)


def test_a_protocol_error_has_number_and_data() -> None:
    error = ProtocolError(-32602, "m", code="X", data={"a": 1}, http_status=200)
    assert (error.number, error.data, error.code, error.http_status) == (-32602, {"a": 1}, "X", 200)


def test_an_id_is_a_prefix_and_a_uuid7_in_crockford_base32() -> None:
    before = time.time_ns() // 1_000_000
    made = new_id("req_")
    after = time.time_ns() // 1_000_000
    assert re.fullmatch(r"req_[0-7][0-9a-hjkmnp-tv-z]{25}", made)
    value = 0
    for character in made[4:]:
        value = value * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(character)
    assert before <= value >> 80 <= after
    assert value >> 76 & 0xF == 7
    assert value >> 62 & 0b11 == 0b10


def test_ids_are_unique_and_sort_by_time() -> None:
    made = [new_id("rs_") for _ in range(2_000)]
    assert len(set(made)) == 2_000
    assert [name[:13] for name in made] == sorted(name[:13] for name in made)
