"""What passes of a server's question, and of an answer. Spec: remote-servers 8."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.remotes.consent.questions import MOST_BYTES, Question, answered, named, question
from scaimcp.types import Reply
from scaimcp.upstream.errors import ElicitationLostError, ProtocolError, ResponseTooLargeError
from scaimcp.upstream.request import QuestionRefused

PARAMS = b'{ "message":"\\u00e9 ?", "requestedSchema":{"type" : "object"},"vendor":[1.0] }'


class Somebody:
    """Answers everything with one reply."""

    def __init__(self, reply: Reply | None, *modes: str) -> None:
        self.modes = frozenset(modes)
        self.reply = reply
        self.asked: list[bytes] = []

    async def ask(self, params: bytes) -> Reply | None:
        self.asked.append(params)
        return self.reply


def test_a_question_passes_as_it_came() -> None:
    assert question(PARAMS) == Question(PARAMS, "form")
    assert question(b'{"mode":"url"}').mode == "url"


def test_its_meta_does_not() -> None:
    found = question(b'{"_meta":{"x":1}, "message": "a", "mode":"form","n":1.0}')
    assert found == Question(b'{"message":"a","mode":"form","n":1.0}', "form")


def test_a_question_of_64_kib_passes_and_a_larger_one_does_not() -> None:
    text = b'{"message":"%b"}' % (b"x" * (MOST_BYTES - 14))
    assert question(text).params == text
    with pytest.raises(ResponseTooLargeError):
        question(text + b" ")


@pytest.mark.parametrize("params", [b"", b"[]", b"5", b'{"mode":7}', b'{"mode":null}', b"{"])
def test_what_is_no_question_is_no_mcp(params: bytes) -> None:
    with pytest.raises(ProtocolError):
        question(params)


def test_questions_have_names() -> None:
    asked = {"a": Question(b'{"message":"x"}', "form"), 'b"': Question(b"{}", "url")}
    assert named(asked) == (
        b'{"a":{"method":"elicitation/create","params":{"message":"x"}},'
        b'"b\\"":{"method":"elicitation/create","params":{}}}'
    )


async def test_an_answer_passes_as_it_came() -> None:
    raw = b'{"action" : "accept","content":{"n":1.0}}'
    somebody = Somebody(Reply(raw), "form")
    assert await answered(somebody, PARAMS) == raw
    assert somebody.asked == [PARAMS]


async def test_a_mode_that_was_not_declared_is_refused_unasked() -> None:
    somebody = Somebody(Reply(b"{}"), "url")
    assert await answered(somebody, PARAMS) is None
    assert not somebody.asked


@pytest.mark.parametrize("params", [b"[]", b'{"message":"%b"}' % (b"x" * MOST_BYTES)])
async def test_a_malformed_question_is_refused_unasked(params: bytes) -> None:
    somebody = Somebody(Reply(b"{}"), "form")
    with pytest.raises(QuestionRefused) as caught:
        await answered(somebody, params)
    assert b"-32602" in caught.value.error
    assert not somebody.asked


async def test_an_error_of_the_client_is_passed_on() -> None:
    with pytest.raises(QuestionRefused) as caught:
        await answered(Somebody(Reply(error=b'{"code":1}'), "form"), PARAMS)
    assert caught.value.error == b'{"code":1}'


async def test_without_an_answer_the_call_is_lost() -> None:
    nobody: Any = Somebody(None, "form")
    with pytest.raises(ElicitationLostError) as caught:
        await answered(nobody, PARAMS)
    assert caught.value.was_sent
    assert "may have been carried out" in caught.value.for_caller()
