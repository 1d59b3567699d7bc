"""Questions to clients of the handshake era, from servers of both eras. Spec: remote-servers 8."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from scaimcp.server.attendant import PACE, Pace
from tests.integration.remotes.elicit import (
    ACCEPTED,
    BOTH,
    CANCELLED,
    DECLINED,
    FORM,
    Answerer,
    Asking,
    code,
    say,
    start_asking,
    streamed,
    text,
)
from tests.waiting import until
from tests.world import Client, Reply

ERAS = ("modern", "legacy", "sse")


@pytest_asyncio.fixture(scope="module")
async def asking(database_url: str, redis_url: str) -> AsyncIterator[Asking]:
    async with start_asking(database_url, redis_url) as started:
        yield started


@pytest_asyncio.fixture(autouse=True)
async def quiet(asking: Asking) -> AsyncIterator[None]:
    for log in asking.logs.values():
        log.started.clear()
        log.cancelled.clear()
        log.go_on.clear()
    questions = asking.services.questions
    yield
    questions.seconds = 120.0
    await until(lambda: not len(questions))
    assert asking.holds.waiting == 0


async def called(client: Client, asking: Asking, era: str, tool: str, **params: Any) -> Reply:
    """Call a tool whose question nobody answers."""
    return (await client.call(asking.name(era, tool), {}, params=params)).reply


def calling(asking: Asking, era: str, tool: str) -> dict[str, Any]:
    return {"name": asking.name(era, tool), "arguments": {}}


# -- with the official client --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("era", "answer", "said"),
    [
        ("modern", ACCEPTED, "who=accept theirs"),
        ("modern", DECLINED, "who=decline theirs"),
        ("modern", CANCELLED, "who=cancel theirs"),
        ("legacy", ACCEPTED, "accept name='Ada'"),
        ("legacy", DECLINED, "decline None"),
        ("legacy", CANCELLED, "cancel None"),
        ("sse", ACCEPTED, "accept name='Ada'"),
    ],
)
async def test_the_official_client_is_asked_and_its_answer_arrives(
    asking: Asking, era: str, answer: Any, said: str
) -> None:
    callback = Answerer(answer)
    async with asking.sdk_client("legacy", callback) as client:
        result = await client.call_tool(asking.name(era, "ask"), {})
    assert result.content[0].text == said  # type: ignore[union-attr]
    assert callback.messages == ["Who?"]


@pytest.mark.parametrize(
    ("era", "said"),
    [("modern", "second=decline two"), ("legacy", "accept decline"), ("sse", "accept decline")],
)
async def test_a_call_may_ask_twice(asking: Asking, era: str, said: str) -> None:
    callback = Answerer(ACCEPTED, DECLINED)
    async with asking.sdk_client("legacy", callback) as client:
        result = await client.call_tool(asking.name(era, "twice"), {})
    assert result.content[0].text == said  # type: ignore[union-attr]
    assert callback.messages == ["First?", "Second?"]


@pytest.mark.parametrize(
    ("era", "said"), [("modern", "one=accept two=accept"), ("legacy", "accept accept")]
)
async def test_questions_that_come_at_once_are_all_answered(
    asking: Asking, era: str, said: str
) -> None:
    callback = Answerer(ACCEPTED)
    async with asking.sdk_client("legacy", callback) as client:
        result = await client.call_tool(asking.name(era, "at_once"), {})
    assert result.content[0].text == said  # type: ignore[union-attr]
    assert sorted(callback.messages) == ["One?", "Two?"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_reads_and_prompts_ask_too(asking: Asking, era: str) -> None:
    callback = Answerer(ACCEPTED)
    async with asking.sdk_client("legacy", callback) as client:
        read = await client.read_resource(asking.uri(era, "ask://x"))
        prompt = await client.get_prompt(asking.name(era, "greet"))
    assert callback.messages == ["Who reads?", "Who is greeted?"]
    assert "accept" in read.contents[0].text  # type: ignore[union-attr]
    assert "accept" in prompt.messages[0].content.text  # type: ignore[union-attr]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_page_has_an_id_for_clients_that_want_one(asking: Asking, era: str) -> None:
    callback = Answerer({"action": "accept"})
    async with asking.sdk_client("legacy", callback) as client:
        result = await client.call_tool(asking.name(era, "page"), {})
    assert "accept" in result.content[0].text  # type: ignore[union-attr]
    (question,) = callback.questions
    assert question.url == "https://example.com/pay"  # type: ignore[union-attr]
    given = str(question.elicitation_id)  # type: ignore[union-attr]
    assert (given == "elicit_1") is (era == "legacy")
    assert given.startswith("elicit_")


async def test_a_round_that_only_wants_time_is_waited_for(asking: Asking) -> None:
    client = await asking.session()
    assert text(await called(client, asking, "modern", "later")) == "done"


# -- who is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("revision", "declared"),
    [("2025-11-25", {}), ("2025-03-26", BOTH), ("2025-06-18", {"sampling": {}})],
)
async def test_a_client_that_cannot_be_asked_is_not(
    asking: Asking, era: str, revision: str, declared: Any
) -> None:
    client = await asking.session(revision, declared)
    reply = await called(client, asking, era, "ask")
    assert reply.result["isError"] is True
    assert not reply.is_stream


async def test_a_client_without_a_session_is_not_asked(asking: Asking) -> None:
    reply = await called(asking.fleet.client("2025-11-25"), asking, "modern", "ask")
    assert code(reply) in ("InputRequiredError", "McpError")


async def test_a_client_that_reads_no_streams_is_not_asked(asking: Asking) -> None:
    client = await asking.session()
    name = asking.name("legacy", "ask")
    reply = (await client.call(name, {}, headers={"accept": "application/json"})).reply
    assert reply.result["isError"] is True


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize(
    ("revision", "declared"), [("2025-06-18", {"elicitation": {}}), ("2025-11-25", FORM)]
)
async def test_a_client_of_forms_gets_forms_only(
    asking: Asking, era: str, revision: str, declared: Any
) -> None:
    client = await asking.session(revision, declared)
    assert (await called(client, asking, era, "page")).result["isError"] is True
    async with streamed(client, "tools/call", calling(asking, era, "ask")) as stream:
        question = await stream.question()
        assert question["params"]["message"] == "Who?"
        assert (await say(client, question, ACCEPTED)).status == 202
        assert "accept" in (await stream.answer())["result"]["content"][0]["text"]


async def test_sessions_with_and_without_questions_are_not_mixed(asking: Asking) -> None:
    quiet = await asking.session(capabilities={})
    able = await asking.session(capabilities=FORM)
    for _ in range(2):
        assert (await called(quiet, asking, "legacy", "ask")).result["isError"] is True
        async with streamed(able, "tools/call", calling(asking, "legacy", "ask")) as stream:
            await say(able, await stream.question(), DECLINED)
            assert (await stream.answer())["result"]["content"][0]["text"] == "decline None"


async def test_sampling_is_refused(asking: Asking) -> None:
    client = await asking.session()
    reply = await called(client, asking, "modern", "sample")
    assert code(reply) in ("UnsupportedInputRequest", "McpError")
    assert (await called(client, asking, "legacy", "sample")).result["isError"] is True


async def test_consent_is_asked_for_on_the_page_as_before(asking: Asking) -> None:
    row = await asking.fleet.register(asking.urls["modern"], "careful", consent_tier="confirm")
    client = await asking.session()
    reply = (await client.call(f"remote.tenant.{row.slug}.ask", {})).reply
    assert code(reply) == "CONSENT_REQUIRED"
    assert not reply.is_stream


# -- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_an_answer_that_belongs_to_no_question_has_no_effect(
    asking: Asking, era: str
) -> None:
    client = await asking.session()
    other = await asking.session()
    await asking.fleet.world.grant("tenant_user", "scailink:remote.use")
    async with streamed(client, "tools/call", calling(asking, era, "ask")) as stream:
        question = await stream.question()
        assert (await say(other, question, ACCEPTED)).status == 202
        for wrong in ("ask_nobody", 7, None, {"a": 1}, [question["id"]]):
            assert (await say(client, {"id": wrong}, ACCEPTED)).status == 202
        bare = client.using(headers={})
        assert (await say(bare, question, ACCEPTED)).status == 202
        stranger = client.using(token=asking.fleet.world.tokens["tenant_user"])
        assert (await say(stranger, question, ACCEPTED)).status == 404
        assert len(asking.services.questions) == 1
        assert (await say(client, question, DECLINED)).status == 202
        assert (await say(client, question, ACCEPTED)).status == 202
        assert "decline" in (await stream.answer())["result"]["content"][0]["text"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"error": {"code": -1, "message": "not now"}}, "not now"),
        ({"result": 5}, "malformed"),
        ({"error": 5}, "malformed"),
    ],
)
async def test_a_client_that_answers_with_an_error_lets_the_server_know(
    asking: Asking, answer: Any, outcome: str
) -> None:
    client = await asking.session()
    async with streamed(client, "tools/call", calling(asking, "legacy", "ask")) as stream:
        question = await stream.question()
        await client.send({"jsonrpc": "2.0", "id": question["id"], **answer})
        ended = await stream.answer()
    assert ended["result"]["isError"] is True
    assert outcome in ended["result"]["content"][0]["text"]
    async with streamed(client, "tools/call", calling(asking, "modern", "ask")) as stream:
        question = await stream.question()
        await client.send({"jsonrpc": "2.0", "id": question["id"], **answer})
        ended = await stream.answer()
    assert "InputRequiredError" in ended["result"]["content"][0]["text"]


async def test_a_server_that_never_stops_asking_is_stopped(asking: Asking) -> None:
    callback = Answerer(ACCEPTED)
    async with asking.sdk_client("legacy", callback) as client:
        result = await client.call_tool(asking.name("modern", "endless"), {})
    assert "InputRequiredError" in result.content[0].text  # type: ignore[union-attr]
    assert len(callback.questions) == 8
    assert len(asking.logs["modern"].started) == 9


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
async def test_a_question_that_nobody_answers_in_time_ends_the_call(
    asking: Asking, era: str
) -> None:
    asking.services.questions.seconds = 0.2
    client = await asking.session()
    async with streamed(client, "tools/call", calling(asking, era, "ask")) as stream:
        question = await stream.question()
        withdrawn = await stream.next()
        ended = await stream.answer()
    assert withdrawn["method"] == "notifications/cancelled"
    assert withdrawn["params"]["requestId"] == question["id"]
    assert "ElicitationLostError" in ended["result"]["content"][0]["text"]
    assert "may have been carried out" in ended["result"]["content"][0]["text"]
    if era != "modern":
        await until(lambda: asking.logs[era].cancelled == ["ask"])


@pytest.mark.parametrize("era", ["legacy", "sse"])
async def test_a_client_that_leaves_ends_the_call_at_the_server(asking: Asking, era: str) -> None:
    client = await asking.session()
    async with streamed(client, "tools/call", calling(asking, era, "ask")) as stream:
        await stream.question()
    await until(lambda: asking.logs[era].cancelled == ["ask"])


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_call_is_cancelled_while_its_user_thinks(asking: Asking, era: str) -> None:
    client = await asking.session()
    params = calling(asking, era, "ask")
    async with streamed(client, "tools/call", params, message_id=9) as stream:
        await stream.question()
        note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9}}
        assert (await client.send(note)).status == 202
        await until(lambda: not len(asking.services.questions))
    if era == "legacy":
        await until(lambda: asking.logs[era].cancelled == ["ask"])


async def test_a_question_is_withdrawn_when_the_server_does_without(asking: Asking) -> None:
    client = await asking.session()
    async with streamed(client, "tools/call", calling(asking, "legacy", "impatient")) as stream:
        question = await stream.question()
        asking.logs["legacy"].go_on.set()
        withdrawn = await stream.next(lambda one: one.get("method") == "notifications/cancelled")
        assert withdrawn["params"]["requestId"] == question["id"]
        assert (await stream.answer())["result"]["content"][0]["text"] == "did without"


async def test_progress_and_signs_of_life_come_while_the_user_thinks(asking: Asking) -> None:
    dispatcher = asking.services.endpoint._dispatcher
    client = await asking.session()
    params = {**calling(asking, "legacy", "steps"), "_meta": {"progressToken": "mine"}}
    dispatcher._pace = Pace(0.01, 0.3, 0.05)
    try:
        async with streamed(client, "tools/call", params) as stream:
            question = await stream.question()
            meanwhile = await stream.next(lambda one: one.get("params", {}).get("progress") == 2.0)
            assert meanwhile["params"]["progressToken"] == "mine"
            line = b""
            async with asyncio.timeout(5):
                while not line.startswith(b": keep-alive"):
                    line = await stream.response.content.readline()
            await say(client, question, ACCEPTED)
            ended = await stream.answer()
            assert ended["result"]["content"][0]["text"] == "accept"
    finally:
        dispatcher._pace = PACE
