"""Questions to handshake clients, without a socket. Spec: remote-servers 8 (elicitation)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from scaimcp.server.asking import ClientAsker, Questions
from scaimcp.server.envelope import Message, read_message
from scaimcp.server.exchange import Exchange
from scaimcp.types import Caller, Reply
from tests.fakes.callers import caller
from tests.unit.server.channel import Channel
from tests.waiting import until

SESSION = b"sealed"
PARAMS = b'{"message":"Who?"}'


class Asked:
    """One request whose user is asked."""

    def __init__(self, seconds: float = 120.0) -> None:
        self.caller: Caller = caller()
        self.channel = Channel()
        self.exchange = Exchange(self.channel.send, "req_1")
        self.questions = Questions(seconds)

    def ask(self) -> asyncio.Task[Reply | None]:
        asker = ClientAsker(
            self.questions, self.exchange, self.caller, SESSION, frozenset({"form"})
        )
        return asyncio.get_running_loop().create_task(asker.ask(PARAMS))

    async def question(self, number: int = 1) -> Any:
        await until(lambda: len(self.channel.sent) > number)
        return self.channel.events[number - 1]

    def say(self, answer: Any, who: Caller | None = None, session: bytes | None = SESSION) -> None:
        self.questions.answered(who or self.caller, session, message(answer))


def message(body: Any) -> Message:
    return read_message(msgspec.json.encode({"jsonrpc": "2.0", **body}))


async def test_an_answer_finds_its_question() -> None:
    asked = Asked()
    running = asked.ask()
    question = await asked.question()
    assert (question["method"], question["params"]) == ("elicitation/create", {"message": "Who?"})
    asked.say({"id": question["id"], "result": {"action": "accept"}})
    assert await running == Reply(b'{"action":"accept"}')
    assert len(asked.questions) == 0


async def test_ids_are_never_the_same() -> None:
    asked = Asked()
    running = [asked.ask(), asked.ask()]
    first, second = await asked.question(1), await asked.question(2)
    assert first["id"] != second["id"]
    asked.say({"id": second["id"], "result": {"n": 2}})
    asked.say({"id": first["id"], "result": {"n": 1}})
    assert [await one for one in running] == [Reply(b'{"n":1}'), Reply(b'{"n":2}')]


async def test_only_caller_session_and_id_together_count() -> None:
    asked = Asked()
    running = asked.ask()
    number = (await asked.question())["id"]
    yes = {"id": number, "result": {"action": "accept"}}
    asked.say(yes, caller(token="sgk_" + "o" * 40))
    asked.say(yes, session=b"other")
    asked.say(yes, session=None)
    for wrong in ("ask_x", 1, None, ["a"]):
        asked.say({"id": wrong, "result": {}})
    asked.say({"result": {}})
    assert len(asked.questions) == 1
    asked.say({"id": number, "result": {"action": "decline"}})
    asked.say(yes)
    assert await running == Reply(b'{"action":"decline"}')
    asked.say(yes)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"error": {"code": -1, "message": "no"}}, {"code": -1, "message": "no"}),
        ({"error": {"code": -1}, "result": {}}, {"code": -1}),
        ({"error": 5}, None),
        ({"result": []}, None),
        ({"result": "yes"}, None),
    ],
)
async def test_an_error_and_a_malformed_answer_are_no_answer(answer: Any, error: Any) -> None:
    asked = Asked()
    running = asked.ask()
    asked.say({"id": (await asked.question())["id"], **answer})
    reply = await running
    assert reply is not None
    assert reply.result == b""
    found = msgspec.json.decode(reply.error)
    assert found == error if error is not None else found["code"] == -32603


async def test_a_question_without_an_answer_in_time_is_withdrawn() -> None:
    asked = Asked(0.01)
    assert await asked.ask() is None
    question, withdrawn = asked.channel.events
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == question["id"]
    assert len(asked.questions) == 0


async def test_a_question_that_needs_no_answer_any_more_is_withdrawn() -> None:
    asked = Asked()
    running = asked.ask()
    question = await asked.question()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asked.channel.events[-1]["params"]["requestId"] == question["id"]
    assert len(asked.questions) == 0


async def test_a_process_that_ends_waits_for_nobody() -> None:
    asked = Asked()
    running = [asked.ask(), asked.ask()]
    number = (await asked.question(2))["id"]
    asked.say({"id": number, "result": {}})
    asked.questions.close()
    assert sorted([await one is None for one in running]) == [False, True]
    assert await asked.ask() is None
    assert len(asked.channel.events) == 2


async def test_after_the_answer_nothing_is_written_on_the_stream() -> None:
    asked = Asked()
    await asked.exchange.event(b"{}")
    await asked.exchange.json(200, b'{"result":1}')
    before = len(asked.channel.sent)
    await asked.exchange.notify("notifications/progress", {})
    assert len(asked.channel.sent) == before
