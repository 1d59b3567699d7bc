"""The circuit breaker of the first step: five in a row within 30 s, ten seconds, one trial."""

from __future__ import annotations

import asyncio

import pytest

from scaimcp.upstream.breaker import Breaker
from scaimcp.upstream.errors import (
    AuthenticationError,
    CircuitOpenError,
    ConnectError,
    DNSError,
    McpError,
    PoolExhaustedError,
    RemoteBusyError,
    RemoteServerError,
    TLSError,
    UpstreamError,
    timed_out,
)
from tests.integration.rawserver import Clock

LOST = ConnectError("Lost.")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def call(breaker: Breaker, error: BaseException | None = None, server: str = "rs_1") -> None:
    try:
        with breaker.guard(server):
            if error is not None:
                raise error
    except CircuitOpenError:
        raise
    except (UpstreamError, asyncio.CancelledError, KeyError):
        pass


def fail(breaker: Breaker, times: int, error: BaseException = LOST) -> None:
    for _ in range(times):
        call(breaker, error)


def test_the_fifth_failure_in_a_row_opens_the_circuit_of_that_server_only(
    breaker: Breaker,
) -> None:
    fail(breaker, 4)
    call(breaker, LOST, "rs_2")
    fail(breaker, 1)
    with pytest.raises(CircuitOpenError) as caught:
        call(breaker)
    assert caught.value.retry_after == 10
    assert not caught.value.was_sent
    assert breaker.open_servers() == 1
    call(breaker, None, "rs_2")


@pytest.mark.parametrize(
    "error", [DNSError("x"), TLSError("x"), RemoteServerError("x", status=503)]
)
def test_every_failure_of_transport_counts(breaker: Breaker, error: UpstreamError) -> None:
    fail(breaker, 5, error)
    with pytest.raises(CircuitOpenError):
        call(breaker)


@pytest.mark.parametrize(
    "error",
    [
        None,
        McpError("x", jsonrpc_code=1),
        AuthenticationError("x", status=401),
        RemoteServerError("x", status=500),
    ],
)
def test_an_answer_of_any_kind_starts_the_row_anew(
    breaker: Breaker, error: UpstreamError | None
) -> None:
    fail(breaker, 4)
    call(breaker, error)
    fail(breaker, 4)
    call(breaker)


@pytest.mark.parametrize(
    "error",
    [
        timed_out(1),
        RemoteBusyError("x"),
        PoolExhaustedError("x"),
        asyncio.CancelledError(),
        KeyError("x"),
    ],
)
def test_deadlines_and_our_own_limits_say_nothing(breaker: Breaker, error: BaseException) -> None:
    fail(breaker, 50, error)
    assert breaker.open_servers() == 0
    fail(breaker, 4)
    fail(breaker, 3, error)
    fail(breaker, 1)
    with pytest.raises(CircuitOpenError):
        call(breaker)


def test_failures_spread_over_more_than_thirty_seconds_do_not_open(
    breaker: Breaker, clock: Clock
) -> None:
    for _ in range(20):
        fail(breaker, 1)
        clock.now += 7.6
    call(breaker)
    for _ in range(5):
        fail(breaker, 1)
        clock.now += 7.4
    with pytest.raises(CircuitOpenError):
        call(breaker)


def test_after_ten_seconds_one_trial_decides(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 9.9
    with pytest.raises(CircuitOpenError):
        call(breaker)
    clock.now += 0.2
    with breaker.guard("rs_1"), pytest.raises(CircuitOpenError):
        call(breaker)
    assert breaker.open_servers() == 0
    call(breaker)


def test_a_failed_trial_opens_for_ten_seconds_more(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 10
    fail(breaker, 1)
    clock.now += 9.9
    with pytest.raises(CircuitOpenError):
        call(breaker)
    clock.now += 0.2
    call(breaker)
    assert breaker.open_servers() == 0


def test_a_trial_that_says_nothing_leaves_room_for_the_next(breaker: Breaker, clock: Clock) -> None:
    fail(breaker, 5)
    clock.now += 10
    call(breaker, timed_out(1))
    call(breaker, asyncio.CancelledError())
    assert breaker.open_servers() == 1
    call(breaker)
    assert breaker.open_servers() == 0


def test_calls_that_were_running_when_it_opened_do_not_prolong_it(
    breaker: Breaker, clock: Clock
) -> None:
    breaker.admit("rs_1")
    fail(breaker, 5)
    clock.now += 5
    breaker.learn("rs_1", LOST, is_trial=False)
    clock.now += 5
    call(breaker)


def test_a_changed_server_starts_afresh(breaker: Breaker) -> None:
    fail(breaker, 5)
    breaker.forget("rs_1")
    breaker.forget("rs_1")
    call(breaker)
