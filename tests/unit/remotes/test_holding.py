"""Calls that wait for a user's answer, without a server. Spec: remote-servers 8 (held calls)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from scaimcp.errors import ProtocolError
from scaimcp.remotes.calls.holding import HeldCall, Holds, Put
from scaimcp.remotes.failures import RemoteFailure
from scaimcp.telemetry import metrics
from scaimcp.types import RequestContext, Secret
from scaimcp.upstream.errors import ElicitationLostError, RemoteBusyError
from tests.fakes.callers import TOKEN, caller
from tests.waiting import until

FORM = frozenset({"form"})
QUESTION = b'{"message":"Who?"}'
CONTEXT = RequestContext("req_1", caller(), Secret(TOKEN))
ANSWER = Raw(b'{"action":"accept"}')


class Server:
    """Asks as often as it is told, then answers with what it heard."""

    def __init__(self, questions: int = 1, failure: Exception | None = None) -> None:
        self.questions = questions
        self.failure = failure
        self.heard: list[bytes] = []
        self.contexts: list[RequestContext] = []
        self.is_cancelled = False
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def __call__(self, context: RequestContext) -> Raw:
        self.contexts.append(context)
        try:
            for _ in range(self.questions):
                assert context.asker is not None
                reply = await context.asker.ask(QUESTION)
                if reply is None:
                    raise RemoteFailure("ElicitationLostError", "nobody")
                self.heard.append(reply.result)
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        if self.failure is not None:
            raise self.failure
        return Raw(b'{"content":[]}')


async def asked(holds: Holds, server: Server, context: RequestContext = CONTEXT) -> Put:
    """Start a call and wait for its first question."""
    held = holds.start(context, FORM, server)
    assert await held.outcome() is None
    return holds.put(held)


def answers(put: Put, answer: Raw = ANSWER) -> dict[str, Raw]:
    return dict.fromkeys(msgspec.json.decode(put.requests), answer)


def resumed(holds: Holds, put: Put, context: RequestContext = CONTEXT) -> HeldCall:
    """Bring the answer to a question."""
    found = holds.resumed(put.hold, answers(put), context)
    assert isinstance(found, HeldCall)
    return found


def lost(holds: Holds, hold: str) -> None:
    with pytest.raises(ElicitationLostError):
        holds.resumed(hold, {}, CONTEXT)


async def test_an_answer_lets_the_call_go_on() -> None:
    holds, server = Holds(), Server()
    put = await asked(holds, server)
    request = msgspec.json.decode(put.requests)["question_1"]
    assert request == {"method": "elicitation/create", "params": {"message": "Who?"}}
    assert holds.waiting == 1
    assert await resumed(holds, put).outcome() == Raw(b'{"content":[]}')
    assert server.heard == [bytes(ANSWER)]
    assert holds.waiting == 0
    lost(holds, put.hold)


async def test_each_question_has_a_state_of_its_own() -> None:
    holds, server = Holds(), Server(2)
    first = await asked(holds, server)
    held = resumed(holds, first)
    assert await held.outcome() is None
    second = holds.put(held)
    assert first.hold != second.hold
    with pytest.raises(ProtocolError) as caught:
        holds.resumed(first.hold, answers(first), CONTEXT)
    assert caught.value.number == -32602
    assert await resumed(holds, second).outcome() is not None


async def test_an_answer_counts_once_while_the_call_still_runs() -> None:
    holds, server = Holds(), Server()
    server.go_on.clear()
    put = await asked(holds, server)
    held = resumed(holds, put)
    with pytest.raises(ProtocolError):
        holds.resumed(put.hold, answers(put), CONTEXT)
    server.go_on.set()
    assert await held.outcome() is not None


async def test_without_an_answer_the_question_is_put_again_and_its_time_goes_on() -> None:
    holds, server = Holds(seconds=0.1), Server()
    put = await asked(holds, server)
    again = holds.resumed(put.hold, {"consent": ANSWER}, CONTEXT)
    assert isinstance(again, Put)
    assert again.hold != put.hold
    assert holds.waiting == 1
    await until(lambda: server.is_cancelled)
    lost(holds, again.hold)


async def test_an_answer_that_is_no_object_is_refused() -> None:
    holds, server = Holds(), Server()
    put = await asked(holds, server)
    with pytest.raises(ProtocolError):
        holds.resumed(put.hold, answers(put, Raw(b'"yes"')), CONTEXT)
    assert holds.waiting == 1
    await holds.aclose()


async def test_a_call_that_nobody_comes_back_for_is_given_up() -> None:
    holds, server = Holds(seconds=0.02), Server()
    put = await asked(holds, server)
    await until(lambda: server.is_cancelled)
    assert holds.waiting == 0
    lost(holds, put.hold)


async def test_a_result_without_the_answer_is_kept_until_the_time_is_over() -> None:
    class Impatient(Server):
        async def __call__(self, context: RequestContext) -> Raw:
            assert context.asker is not None
            asking = asyncio.ensure_future(context.asker.ask(QUESTION))
            await self.go_on.wait()
            asking.cancel()
            return Raw(b"{}")

    holds = Holds(seconds=0.2)
    for comes_back in (True, False):
        server = Impatient()
        server.go_on.clear()
        held = holds.start(CONTEXT, FORM, server)
        assert await held.outcome() is None
        put = holds.put(held)
        server.go_on.set()
        await until(lambda held=held: held._task.done())  # type: ignore[misc]
        assert holds.waiting == 1
        if comes_back:
            assert await resumed(holds, put).outcome() == Raw(b"{}")
        await until(lambda: holds.waiting == 0)
    lost(holds, put.hold)


async def test_a_question_that_is_withdrawn_as_its_answer_comes_needs_none() -> None:
    class Withdrawing(Server):
        async def __call__(self, context: RequestContext) -> Raw:
            assert context.asker is not None
            self.asking = asyncio.ensure_future(context.asker.ask(QUESTION))
            await self.go_on.wait()
            return Raw(b"{}")

    holds, server = Holds(), Withdrawing()
    server.go_on.clear()
    put = await asked(holds, server)
    server.asking.cancel()
    held = resumed(holds, put)
    server.go_on.set()
    assert await held.outcome() == Raw(b"{}")


async def test_a_question_that_is_gone_before_it_is_put_is_not_put() -> None:
    telling = asyncio.Event()

    async def progress(value: float, total: float | None, message: str | None) -> None:
        telling.set()
        await server.go_on.wait()

    class Busy(Server):
        async def __call__(self, context: RequestContext) -> Raw:
            tell: Any = context.progress
            assert context.asker is not None
            telling_it = asyncio.ensure_future(tell(1.0, None, None))
            await telling.wait()
            asking = asyncio.ensure_future(context.asker.ask(QUESTION))
            await asyncio.sleep(0.01)
            asking.cancel()
            self.go_on.set()
            await telling_it
            await asyncio.sleep(0.01)
            return Raw(b"{}")

    holds, server = Holds(), Busy()
    server.go_on.clear()
    held = holds.start(msgspec.structs.replace(CONTEXT, progress=progress), FORM, server)
    assert await held.outcome() == Raw(b"{}")


async def test_another_process_does_not_know_the_call() -> None:
    holds, server = Holds(), Server()
    put = await asked(holds, server)
    lost(Holds(), put.hold)
    replica, call, number = put.hold.split("/")
    lost(holds, f"{replica}/{call}x/{number}")
    lost(holds, f"{replica}x/{call}/{number}")
    await holds.aclose()
    assert server.is_cancelled


async def test_more_than_the_most_are_given_up() -> None:
    holds = Holds(most=2)
    servers = [Server() for _ in range(3)]
    puts = [await asked(holds, one) for one in servers[:2]]
    held = holds.start(CONTEXT, FORM, servers[2])
    assert await held.outcome() is None
    with pytest.raises(RemoteBusyError) as caught:
        holds.put(held)
    assert "may have been carried out" in caught.value.for_caller()
    await until(lambda: servers[2].is_cancelled)
    assert await resumed(holds, puts[0]).outcome() is not None
    assert holds.waiting == 1
    await holds.aclose()


async def test_the_gauge_counts_what_waits() -> None:
    def value() -> float:
        metrics.held_calls.flush()
        (family,) = metrics.REMOTE_HELD.collect()
        return family.samples[0].value

    holds, before = Holds(), value()
    puts = [await asked(holds, Server()) for _ in range(3)]
    assert value() == before + 3
    assert await resumed(holds, puts[0]).outcome() is not None
    assert value() == before + 2
    await holds.aclose()
    assert value() == before


async def test_a_failure_reaches_whoever_waits() -> None:
    holds = Holds()
    put = await asked(holds, Server(failure=RemoteFailure("ConnectError", "gone")))
    with pytest.raises(RemoteFailure) as caught:
        await resumed(holds, put).outcome()
    assert caught.value.code == "ConnectError"


async def test_whoever_waits_and_leaves_ends_the_call() -> None:
    holds, server = Holds(), Server(0)
    server.go_on.clear()
    held = holds.start(CONTEXT, FORM, server)
    waiting = asyncio.ensure_future(held.outcome())
    await until(lambda: bool(server.contexts))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: server.is_cancelled)


async def test_a_closed_process_holds_nothing_and_lets_what_runs_finish() -> None:
    holds = Holds()
    waiting, running, asking = Server(), Server(), Server(2)
    put = await asked(holds, waiting)
    running.go_on.clear()
    going_on = resumed(holds, await asked(holds, running))
    unheld = holds.start(CONTEXT, FORM, Server())
    assert await unheld.outcome() is None
    late = resumed(holds, await asked(holds, asking))
    holds.close()
    with pytest.raises(ElicitationLostError):
        holds.put(unheld)
    await until(lambda: waiting.is_cancelled)
    lost(holds, put.hold)
    with pytest.raises(RemoteFailure):
        await late.outcome()
    with pytest.raises(RemoteFailure):
        await holds.start(CONTEXT, FORM, Server()).outcome()
    running.go_on.set()
    assert await going_on.outcome() is not None
    await holds.aclose()


async def test_who_waits_when_the_process_ends_hears_that_the_call_is_lost() -> None:
    holds, server = Holds(), Server(0)
    server.go_on.clear()
    held = holds.start(CONTEXT, FORM, server)
    waiting = asyncio.ensure_future(held.outcome())
    await until(lambda: bool(server.contexts))
    await holds.aclose()
    with pytest.raises(ElicitationLostError):
        await waiting


async def test_progress_goes_to_the_request_that_waits_and_to_no_other() -> None:
    told: dict[str, list[float]] = {"first": [], "second": []}

    def context(name: str) -> RequestContext:
        async def progress(value: float, total: float | None, message: str | None) -> None:
            told[name].append(value)

        return msgspec.structs.replace(CONTEXT, progress=progress)

    class Steps(Server):
        async def __call__(self, context: RequestContext) -> Raw:
            tell: Any = context.progress
            assert context.asker is not None
            await tell(1.0, None, None)
            asking = asyncio.ensure_future(context.asker.ask(QUESTION))
            await self.go_on.wait()
            await tell(2.0, None, None)
            await asking
            await tell(3.0, None, None)
            return Raw(b"{}")

    holds, server = Holds(), Steps()
    server.go_on.clear()
    put = await asked(holds, server, context("first"))
    server.go_on.set()
    await asyncio.sleep(0.01)
    assert await resumed(holds, put, context("second")).outcome() == Raw(b"{}")
    assert told == {"first": [1.0], "second": [3.0]}
    plain = Server()
    put = await asked(holds, plain)
    assert plain.contexts[0].progress is None
    assert await resumed(holds, put).outcome() is not None


async def test_a_call_that_was_never_begun_has_no_outcome() -> None:
    with pytest.raises(AssertionError):
        await HeldCall("x", CONTEXT, FORM).outcome()
