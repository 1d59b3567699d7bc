"""Questions to clients of 2026-07-28, from servers of both eras. Spec: remote-servers 8."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.integration.remotes.elicit import (
    ACCEPTED,
    CANCELLED,
    DECLINED,
    FORM,
    Answerer,
    Asking,
    code,
    start_asking,
    text,
)
from tests.waiting import until
from tests.world import CAPABILITIES, MODERN

HANDSHAKE = ("legacy", "sse")


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
    yield
    asking.holds.seconds, asking.holds.most = 120.0, 64
    for held in tuple(asking.holds._asked.values()):
        asking.holds._expire(held)
    assert asking.holds.waiting == 0


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
    async with asking.sdk_client(MODERN, callback) as client:
        result = await client.call_tool(asking.name(era, "ask"), {})
    assert result.content[0].text == said  # type: ignore[union-attr]
    assert callback.messages == ["Who?"]


@pytest.mark.parametrize(
    ("era", "said"),
    [("modern", "second=decline two"), ("legacy", "accept decline"), ("sse", "accept decline")],
)
async def test_a_call_may_ask_twice(asking: Asking, era: str, said: str) -> None:
    callback = Answerer(ACCEPTED, DECLINED)
    async with asking.sdk_client(MODERN, callback) as client:
        result = await client.call_tool(asking.name(era, "twice"), {})
    assert result.content[0].text == said  # type: ignore[union-attr]
    assert callback.messages == ["First?", "Second?"]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_reads_and_prompts_ask_too(asking: Asking, era: str) -> None:
    callback = Answerer(ACCEPTED)
    async with asking.sdk_client(MODERN, callback) as client:
        read = await client.read_resource(asking.uri(era, "ask://x"))
        prompt = await client.get_prompt(asking.name(era, "greet"))
    assert callback.messages == ["Who reads?", "Who is greeted?"]
    said = {
        "modern": ("x who=accept read", "Hello who=accept greet"),
        "legacy": ("x accept", "Hello accept"),
    }
    assert read.contents[0].text == said[era][0]  # type: ignore[union-attr]
    assert prompt.messages[0].content.text == said[era][1]  # type: ignore[union-attr]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_page_is_offered_to_a_client_that_opens_pages(asking: Asking, era: str) -> None:
    callback = Answerer({"action": "accept"})
    async with asking.sdk_client(MODERN, callback) as client:
        result = await client.call_tool(asking.name(era, "page"), {})
    assert result.content[0].text in ("accept", "page=accept")  # type: ignore[union-attr]
    assert callback.questions[0].url == "https://example.com/pay"  # type: ignore[union-attr]


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_questions_that_come_at_once_are_all_answered(asking: Asking, era: str) -> None:
    callback = Answerer(ACCEPTED)
    async with asking.sdk_client(MODERN, callback) as client:
        result = await client.call_tool(asking.name(era, "at_once"), {})
    assert result.content[0].text in ("accept accept", "one=accept two=accept")  # type: ignore[union-attr]
    assert sorted(callback.messages) == ["One?", "Two?"]


async def test_a_round_that_only_wants_time_passes(asking: Asking) -> None:
    async with asking.sdk_client(MODERN, Answerer(ACCEPTED)) as client:
        result = await client.call_tool(asking.name("modern", "later"), {})
    assert result.content[0].text == "done"  # type: ignore[union-attr]


# -- what is asked, and of whom ------------------------------------------------------------------


@pytest.mark.parametrize("era", HANDSHAKE)
async def test_the_question_passes_unchanged_and_the_state_is_sealed(
    asking: Asking, era: str
) -> None:
    result = (await asking.call(era, "ask")).result
    ((_, request),) = result["inputRequests"].items()
    assert request["method"] == "elicitation/create"
    assert request["params"]["message"] == "Who?"
    assert request["params"]["requestedSchema"]["required"] == ["name"]
    assert "_meta" not in request["params"]
    assert result["requestState"].startswith("v1.")
    assert asking.holds.waiting == 1


@pytest.mark.parametrize("era", HANDSHAKE)
@pytest.mark.parametrize("modes", [{}, {"elicitation": {"url": {}}}, {"sampling": {}}])
async def test_a_server_that_asks_for_what_the_client_cannot_show_is_refused(
    asking: Asking, era: str, modes: Any
) -> None:
    reply = await asking.call(era, "ask", modes=modes)
    assert reply.result["isError"] is True
    assert asking.holds.waiting == 0


@pytest.mark.parametrize("tool", ["ask", "page"])
async def test_a_modern_server_is_told_what_the_client_can_show(asking: Asking, tool: str) -> None:
    other = {"elicitation": {"url": {}}} if tool == "ask" else FORM
    assert (await asking.call("modern", tool, modes=other)).result["isError"] is True
    assert (await asking.call("modern", tool, modes={})).result["isError"] is True


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_sampling_is_refused(asking: Asking, era: str) -> None:
    reply = await asking.call(era, "sample")
    assert reply.result["isError"] is True
    if era == "modern":
        assert code(reply) in ("UnsupportedInputRequest", "McpError")


async def test_a_page_of_a_form_only_client_is_refused(asking: Asking) -> None:
    assert (await asking.call("legacy", "page", modes=FORM)).result["isError"] is True
    assert asking.holds.waiting == 0


# -- coming back ---------------------------------------------------------------------------------


async def test_without_an_answer_the_question_is_asked_again(asking: Asking) -> None:
    asked = await asking.call("legacy", "ask")
    again = await asking.call("legacy", "ask", requestState=asked.result["requestState"])
    (first,), (second,) = asked.result["inputRequests"], again.result["inputRequests"]
    assert first != second
    assert asking.holds.waiting == 1
    assert text(await asking.again("legacy", "ask", again)) == "accept name='Ada'"
    assert asking.logs["legacy"].started == ["ask"]


async def test_an_answer_counts_once(asking: Asking) -> None:
    asked = await asking.call("legacy", "twice")
    second = await asking.again("legacy", "twice", asked)
    replayed = await asking.again("legacy", "twice", asked)
    assert replayed.error["code"] == -32602
    assert text(await asking.again("legacy", "twice", second, DECLINED)) == "accept decline"
    assert code(await asking.again("legacy", "twice", second)) == "ElicitationLostError"


async def test_an_answer_that_is_no_object_is_refused_and_the_call_waits_on(
    asking: Asking,
) -> None:
    asked = await asking.call("legacy", "ask")
    assert (await asking.again("legacy", "ask", asked, 5)).error["code"] == -32602
    assert text(await asking.again("legacy", "ask", asked)) == "accept name='Ada'"


async def test_another_call_does_not_get_the_answer(asking: Asking) -> None:
    asked = await asking.call("legacy", "ask")
    state = {"requestState": asked.result["requestState"], "inputResponses": {}}
    for tool, arguments in (("twice", {}), ("ask", {"x": 1})):
        reply = await asking.call("legacy", tool, arguments=arguments, **state)
        assert code(reply) == "ElicitationLostError"
        assert "may have been carried out" in text(reply)
    assert text(await asking.again("legacy", "ask", asked)) == "accept name='Ada'"


async def test_foreign_and_altered_states_are_invalid(asking: Asking) -> None:
    await asking.fleet.world.grant("tenant_user", "scailink:remote.use")
    asked = await asking.call("legacy", "ask")
    foreign = await asking.again("legacy", "ask", asked, role="tenant_user")
    assert foreign.error["code"] == -32602
    state = asked.result["requestState"]
    altered = await asking.call("legacy", "ask", requestState=state[:-8] + "AAAAAAAA")
    assert altered.error["code"] == -32602
    params = {"uri": asking.uri("legacy", "ask://x"), "requestState": state}
    other = await asking.fleet.client().rpc("resources/read", params)
    assert other.error["code"] == -32602
    assert text(await asking.again("legacy", "ask", asked)) == "accept name='Ada'"


async def test_a_read_that_waits_belongs_to_its_address(asking: Asking) -> None:
    client = asking.fleet.client()
    meta = {"_meta": {CAPABILITIES: FORM}}
    params = {"uri": asking.uri("legacy", "ask://x"), **meta}
    asked = (await client.rpc("resources/read", params)).result
    more = {"requestState": asked["requestState"], "inputResponses": {}}
    other = {**params, "uri": asking.uri("legacy", "ask://y"), **more}
    refused = await client.rpc("resources/read", other)
    assert (refused.error["code"], refused.word) == (-32603, "ElicitationLostError")
    answers = dict.fromkeys(asked["inputRequests"], ACCEPTED)
    read = await client.rpc("resources/read", {**params, **more, "inputResponses": answers})
    assert read.result["contents"][0]["text"] == "x accept"


async def test_a_call_through_tools_call_is_held_as_well(asking: Asking) -> None:
    client = asking.fleet.client()
    params = {"_meta": {CAPABILITIES: FORM}}
    arguments = {"name": asking.name("legacy", "ask"), "arguments": {}}
    asked = (await client.call("tools_call", arguments, params=params)).reply.result
    answers = dict.fromkeys(asked["inputRequests"], ACCEPTED)
    back = {"requestState": asked["requestState"], "inputResponses": answers, **params}
    reply = (await client.call("tools_call", arguments, params=back)).reply
    assert text(reply) == "accept name='Ada'"


# -- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", HANDSHAKE)
async def test_a_client_that_never_comes_back_ends_the_call_at_the_server(
    asking: Asking, era: str
) -> None:
    asking.holds.seconds = 0.2
    asked = await asking.call(era, "ask")
    await until(lambda: asking.logs[era].cancelled == ["ask"])
    assert asking.holds.waiting == 0
    reply = await asking.again(era, "ask", asked)
    assert code(reply) == "ElicitationLostError"
    assert "may have been carried out" in text(reply)


async def test_a_call_more_than_the_most_is_given_up(asking: Asking) -> None:
    asking.holds.most = 2
    kept = [await asking.call("legacy", "ask") for _ in range(2)]
    refused = await asking.call("legacy", "ask")
    assert code(refused) == "RemoteBusyError"
    assert "may have been carried out" in text(refused)
    await until(lambda: asking.logs["legacy"].cancelled == ["ask"])
    assert text(await asking.again("legacy", "ask", kept[0])) == "accept name='Ada'"
    third = await asking.call("legacy", "ask")
    assert third.result["resultType"] == "input_required"


async def test_sixty_four_calls_wait_and_the_next_does_not(asking: Asking) -> None:
    asking.holds.most = 64
    world, name = asking.fleet.world, asking.name("legacy", "ask")
    await world.grant("tenant_user", "scailink:remote.use")
    params = {"_meta": {CAPABILITIES: FORM}}
    clients = [asking.fleet.client(MODERN, role) for role in ("tenant_admin", "tenant_user")]
    held = await asyncio.gather(
        *(clients[at % 2].call(name, {}, params=params) for at in range(64))
    )
    assert {one.reply.result["resultType"] for one in held} == {"input_required"}
    assert asking.holds.waiting == 64
    refused = await asking.call("sse", "ask")
    assert code(refused) == "RemoteBusyError"
    assert asking.holds.waiting == 64


async def test_calls_side_by_side_over_one_stream_are_asked_each_for_itself(
    asking: Asking,
) -> None:
    """Over HTTP+SSE nothing tells which call a question belongs to."""
    tools = ("ask", "twice", "ask")
    asked = await asyncio.gather(*(asking.call("sse", tool) for tool in tools))
    messages = [
        request["params"]["message"]
        for reply in asked
        for request in reply.result["inputRequests"].values()
    ]
    assert messages == ["Who?", "First?", "Who?"]
    answers = [DECLINED, ACCEPTED, ACCEPTED]
    done = [
        await asking.again("sse", tool, reply, answer)
        for tool, reply, answer in zip(tools, asked, answers, strict=True)
    ]
    assert (text(done[0]), text(done[2])) == ("decline None", "accept name='Ada'")
    assert text(await asking.again("sse", "twice", done[1])) == "accept accept"


async def test_a_client_that_leaves_while_its_answer_is_worked_on_ends_the_call(
    asking: Asking,
) -> None:
    log = asking.logs["legacy"]
    asked = await asking.call("legacy", "slowly")
    running = asyncio.get_running_loop().create_task(asking.again("legacy", "slowly", asked))
    await until(lambda: "slowly" in log.started)
    running.cancel()
    await asyncio.wait([running])
    await until(lambda: "slowly" in log.cancelled)
    assert code(await asking.again("legacy", "slowly", asked)) == "ElicitationLostError"


async def test_a_result_that_came_without_the_answer_is_fetched(asking: Asking) -> None:
    asked = await asking.call("legacy", "impatient")
    asking.logs["legacy"].go_on.set()
    held = next(iter(asking.holds._asked.values()))
    await until(held._task.done)
    assert asking.holds.waiting == 1
    assert text(await asking.again("legacy", "impatient", asked)) == "did without"
    assert asking.holds.waiting == 0


async def test_progress_goes_to_the_request_that_waits(asking: Asking) -> None:
    def values(reply: Any) -> list[float]:
        steps = [one["params"] for one in reply.events[:-1]]
        return [step["progress"] for step in steps if step["progressToken"] == "mine"]

    meta: Any = {"_meta": {CAPABILITIES: FORM, "progressToken": "mine"}}
    asked = await asking.call("legacy", "steps", **meta)
    assert 1.0 in values(asked)
    answered = await asking.again("legacy", "steps", asked, **meta)
    assert max(values(answered)) >= 3.0
    assert 1.0 not in values(answered)
    assert text(answered) == "accept"
