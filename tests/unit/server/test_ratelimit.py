"""Wording of the RateLimit fields, and which limit they speak of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.redis import nearest
from scaimcp.server.ratelimit import LIMIT_FIELDS, limit_lines
from scaimcp.types import Allowance

TWO = (("token", 60), ("user", 300))
SECOND = 1_000_000
# The structured field that the draft asks for: a list of strings with integer parameters.
ITEM = r'"[a-z]+"(;[a-z]+=[0-9]{1,15})*'
LIST = re.compile(rf"{ITEM}(, {ITEM})*\Z")


@pytest.mark.parametrize(
    ("allowance", "policy", "left"),
    [
        (
            Allowance(TWO, "token", 59, 1),
            b'"token";q=60;w=60, "user";q=300;w=60',
            b'"token";r=59;t=1',
        ),
        (Allowance((("tenant", 7),), "tenant", 0, 9), b'"tenant";q=7;w=60', b'"tenant";r=0;t=9'),
        (
            Allowance(TWO, "user", 0, 4, is_refused=True),
            b'"token";q=60;w=60, "user";q=300;w=60',
            b'"user";r=0;t=4',
        ),
    ],
)
def test_the_fields_are_worded_as_the_draft_says(
    allowance: Allowance, policy: bytes, left: bytes
) -> None:
    lines = limit_lines(allowance)
    assert lines == ((b"ratelimit-policy", policy), (b"ratelimit", left))
    assert {name for name, _ in lines} == LIMIT_FIELDS
    assert all(LIST.match(value.decode()) for _, value in lines)


def test_the_policy_is_worded_once() -> None:
    lines = [limit_lines(Allowance(TWO, "token", number, 1)) for number in (3, 4)]
    assert lines[0][0][1] is lines[1][0][1]


@pytest.mark.parametrize(
    ("policy", "micros", "expected"),
    [
        # After the first request of an idle caller one place is taken, for one interval.
        ((("token", 60),), [SECOND], ("token", 59, 1)),
        ((("token", 6),), [10 * SECOND], ("token", 5, 10)),
        # Half an interval later half of it is left.
        ((("token", 6),), [5 * SECOND], ("token", 5, 5)),
        ((("token", 6),), [60 * SECOND], ("token", 0, 10)),
        # The fewest places, wherever that limit stands.
        (TWO, [SECOND, SECOND // 5], ("token", 59, 1)),
        (TWO, [SECOND, 59 * SECOND], ("user", 5, 1)),
        # As many places: the one that takes longer to give another.
        ((("user", 60), ("tenant", 6)), [55 * SECOND, 10 * SECOND], ("tenant", 5, 10)),
    ],
)
def test_the_nearest_limit_is_the_one_that_would_refuse_first(
    policy: tuple[tuple[str, int], ...], micros: list[int], expected: tuple[str, int, int]
) -> None:
    assert nearest(policy, micros) == Allowance(policy, *expected)


def test_nothing_is_near_without_a_limit() -> None:
    with pytest.raises(ValueError, match="no limit"):
        nearest((), [])


@given(st.integers(1, 10_000_000), st.floats(0, 1))
def test_what_is_left_fits_into_its_window(most: int, share: float) -> None:
    interval = 60_000_000 // most
    # One place at least is taken: the request itself.
    micros = interval + int(share * (most - 1) * interval)
    allowance = nearest((("token", most),), [micros])
    assert 0 <= allowance.remaining < most
    assert 1 <= allowance.window_seconds <= max(1, -(-interval // SECOND))
