"""What a server asks is answered beside the request that it works on."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from scaimcp.deadline import Deadline
from scaimcp.errors import GatewayError
from scaimcp.upstream.answering import MOST_OPEN, Answering
from scaimcp.upstream.errors import ConnectError, ElicitationLostError
from scaimcp.upstream.request import QuestionRefused, call_tool, with_more
from scaimcp.upstream.wire import Message
from tests.waiting import until


class Asked:
    """A listener whose answers are given by the test, and everything that happens."""

    def __init__(self) -> None:
        self.questions: list[bytes] = []
        self.answers: list[asyncio.Future[bytes | None]] = []
        self.posted: list[Any] = []
        self.failures: list[GatewayError] = []
        self.broken: GatewayError | None = None
        self.is_slow = asyncio.Event()
        self.is_slow.set()

    async def notified(self, method: str, params: bytes) -> None:
        raise AssertionError(method)

    async def asked(self, method: str, params: bytes) -> bytes | None:
        self.questions.append(params)
        answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self.answers.append(answer)
        return await answer

    async def post(self, body: bytes) -> None:
        if self.broken is not None:
            raise self.broken
        await self.is_slow.wait()
        self.posted.append(msgspec.json.decode(body))

    def answering(self, deadline: Deadline) -> Answering:
        return Answering(self, deadline, self.post, self.failures.append)


def question(number: int) -> Message:
    return Message("elicitation/create", msgspec.Raw(b"%d" % number), msgspec.Raw(b'{"a":1}'))


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def put(asked: Asked, answering: Answering, *numbers: int) -> None:
    before = len(asked.questions)
    for number in numbers:
        answering.take(question(number))
    await until(lambda: len(asked.questions) == before + len(numbers))


async def test_answers_go_to_the_questions_they_belong_to(asked: Asked) -> None:
    with Deadline(5.0) as deadline:
        answering = asked.answering(deadline)
        await put(asked, answering, 1, 2)
        asked.answers[1].set_result(b'{"action":"accept"}')
        asked.answers[0].set_result(None)
        await until(lambda: len(asked.posted) == 2)
        await answering.end()
    assert asked.questions == [b'{"a":1}'] * 2
    by_id = {row["id"]: row for row in asked.posted}
    assert by_id[2]["result"] == {"action": "accept"}
    assert by_id[1]["error"]["code"] == -32601


async def test_a_refusal_reaches_the_server_as_it_is(asked: Asked) -> None:
    with Deadline(5.0) as deadline:
        answering = asked.answering(deadline)
        await put(asked, answering, 1)
        asked.answers[0].set_exception(QuestionRefused(b'{"code":-7,"message":"no"}'))
        await until(lambda: len(asked.posted) == 1)
        await answering.end()
    assert asked.posted[0]["error"] == {"code": -7, "message": "no"}


async def test_too_many_open_questions_are_refused(asked: Asked) -> None:
    with Deadline(5.0) as deadline:
        answering = asked.answering(deadline)
        await put(asked, answering, *range(MOST_OPEN))
        answering.take(question(99))
        await until(lambda: len(asked.posted) == 1)
        assert (asked.posted[0]["id"], asked.posted[0]["error"]["code"]) == (99, -32603)
        await answering.end()
    assert all(answer.cancelled() for answer in asked.answers)


async def answered_late(asked: Asked) -> None:
    """Answer two questions after longer than the request may take, and then say nothing more."""
    with Deadline(0.1) as deadline:
        answering = asked.answering(deadline)
        await put(asked, answering, 1, 2)
        asked.answers[0].set_result(None)
        await asyncio.sleep(0.15)
        asked.answers[1].set_result(None)
        await until(lambda: len(asked.posted) == 2)
        await answering.end()
        await asyncio.sleep(5)


async def test_the_deadline_stands_still_while_any_question_is_open(asked: Asked) -> None:
    with pytest.raises(TimeoutError):
        await answered_late(asked)
    assert len(asked.posted) == 2


@pytest.mark.parametrize("is_post", [False, True])
async def test_without_an_answer_the_request_is_given_up_once(asked: Asked, is_post: bool) -> None:
    with Deadline(5.0) as deadline:
        answering = asked.answering(deadline)
        await put(asked, answering, 1, 2)
        asked.broken = ConnectError("gone")
        for answer in asked.answers:
            if is_post:
                answer.set_result(b"{}")
            else:
                answer.set_exception(ElicitationLostError("nobody"))
        await until(lambda: bool(asked.failures))
        await answering.end()
    assert [error.code for error in asked.failures] == [
        "ConnectError" if is_post else "ElicitationLostError"
    ]


async def test_after_the_end_nothing_is_asked_and_nothing_fails(asked: Asked) -> None:
    with Deadline(5.0) as deadline:
        answering = asked.answering(deadline)
        await put(asked, answering, 1)
        asked.is_slow.clear()
        asked.answers[0].set_result(b"{}")
        ending = asyncio.get_running_loop().create_task(answering.end())
        await asyncio.sleep(0.01)
        assert not ending.done()
        asked.is_slow.set()
        await ending
        answering.take(question(2))
        await asyncio.sleep(0.01)
    assert [row["id"] for row in asked.posted] == [1]
    assert len(asked.questions) == 1
    assert not asked.failures


def check(more: dict[str, bytes], expected: bytes) -> None:
    assert with_more(call_tool("t", b"{}"), more).params == expected


def test_a_request_is_repeated_with_what_came_back() -> None:
    plain = b'{"name":"t","arguments":{}}'
    check({}, plain)
    check({"requestState": b'"s"'}, plain[:-1] + b',"requestState":"s"}')
