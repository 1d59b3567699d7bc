"""Calls in flight per caller. Spec: core-tools 7."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from scaimcp.errors import ToolError
from scaimcp.gateway.limits import InFlight, NoLimits
from tests.fakes.callers import caller

OTHER = caller(token="sgk_" + "b" * 40)


def test_one_call_too_many_is_refused_and_others_are_not_touched() -> None:
    places = InFlight(2)
    with ExitStack() as running:
        running.enter_context(places.call(caller()))
        running.enter_context(places.call(caller()))
        with pytest.raises(ToolError) as error, places.call(caller()):
            raise AssertionError
        with places.call(OTHER):
            pass
    assert (error.value.code, error.value.retry_after) == ("GATEWAY_BUSY", 1)
    with places.call(caller()), places.call(caller()):
        pass


def test_a_place_is_free_again_when_its_call_fails() -> None:
    places = InFlight(1)
    for _ in range(3):
        with pytest.raises(KeyError), places.call(caller()):
            raise KeyError
    with places.call(caller()):
        pass


async def test_without_limits_nothing_is_refused() -> None:
    assert await NoLimits().take(caller()) is None
