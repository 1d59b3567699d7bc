"""What a client of 2026-07-28 declares and brings back. Spec: MCP 2026-07-28, elicitation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from scaimcp.errors import InputNeeded, ProtocolError
from scaimcp.server.dialogue import in_dialogue, modes_of
from scaimcp.server.envelope import CLIENT_CAPABILITIES, Message, Params, read_params
from scaimcp.server.rendering import Renderer
from scaimcp.types import RequestContext, Secret
from tests.fakes.callers import TOKEN, caller

CONTEXT = RequestContext("req_1", caller(), Secret(TOKEN))


def params(capabilities: Any = None, **more: Any) -> Params:
    meta = {} if capabilities is None else {"_meta": {CLIENT_CAPABILITIES: capabilities}}
    return read_params(Message(params=msgspec.Raw(msgspec.json.encode({**meta, **more}))))


@pytest.mark.parametrize(
    "capabilities", [None, {}, {"sampling": {}}, [], "elicitation", {"elicitation": None}]
)
def test_a_client_that_declares_and_brings_nothing_costs_nothing(capabilities: Any) -> None:
    assert in_dialogue(CONTEXT, params(capabilities)) is CONTEXT


@pytest.mark.parametrize(
    ("declared", "modes"),
    [
        ({}, {"form"}),
        ({"form": {}}, {"form"}),
        ({"url": {}}, {"url"}),
        ({"form": {}, "url": {}, "voice": {}}, {"form", "url"}),
        ({"voice": {}}, set()),
        (True, set()),
        (None, set()),
    ],
)
def test_modes_are_those_that_are_declared(declared: Any, modes: set[str]) -> None:
    assert modes_of(declared) == modes


def test_the_declared_modes_reach_the_call() -> None:
    context = in_dialogue(CONTEXT, params({"elicitation": {"form": {}}}))
    assert context.dialogue is not None
    assert context.dialogue.modes == {"form"}
    assert (context.dialogue.state, context.dialogue.responses) == (None, {})
    assert context.caller is CONTEXT.caller


def test_answers_and_state_reach_the_call_without_a_capability() -> None:
    given = params({}, requestState="v1.x", inputResponses={"consent": {"action": "accept"}})
    dialogue = in_dialogue(CONTEXT, given).dialogue
    assert dialogue is not None
    assert dialogue.state == "v1.x"
    assert dialogue.responses == {"consent": msgspec.Raw(b'{"action":"accept"}')}
    assert dialogue.modes == frozenset()


def test_null_is_nothing() -> None:
    dialogue = in_dialogue(CONTEXT, params({}, requestState=None, inputResponses=None)).dialogue
    assert dialogue is not None
    assert (dialogue.state, dialogue.responses) == (None, {})


@pytest.mark.parametrize(
    "given",
    [{"requestState": 1}, {"requestState": ["x"]}, {"inputResponses": []}, {"inputResponses": "x"}],
)
def test_wrong_types_are_invalid_params(given: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError) as caught:
        in_dialogue(CONTEXT, params({}, **given))
    assert caught.value.number == -32602


def test_a_call_that_waits_is_rendered_as_input_required() -> None:
    needed = InputNeeded(b'{"consent":{}}', 'v1."x')
    body = b"".join(Renderer("gw", "1").input_required(needed, "req_1"))
    result = msgspec.json.decode(body[:-1])
    assert result["resultType"] == "input_required"
    assert result["inputRequests"] == {"consent": {}}
    assert result["requestState"] == 'v1."x'
    assert result["_meta"]["ai.scailabs.scaimcp/request_id"] == "req_1"


def test_a_state_alone_is_rendered_without_requests() -> None:
    body = b"".join(Renderer("gw", "1").input_required(InputNeeded(b"", "v1.x"), "req_1"))
    result = msgspec.json.decode(body[:-1])
    assert "inputRequests" not in result
    assert result["requestState"] == "v1.x"
