"""Chat, generation, embeddings; usage rows and budgets."""

import math
from typing import Any

import pytest

from scaimcp.dev.platform.accounting import period_end
from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.deterministic import embed, tokens_of
from scaimcp.dev.platform.endpoint import Family
from scaimcp.dev.platform.store import Row
from tests.platform.conftest import Answer, Starter, World

ECHO = "scailabs/echo-1"
CHAT = "/v1/inference/chat"
TOOL = {"type": "function", "function": {"name": "get_time", "parameters": {}}}


async def chat(world: World, text: Any, **options: Any) -> Answer:
    messages = [{"role": "user", "content": text}]
    body = {"model": ECHO, "messages": messages, **options}
    return await world.as_("tenant_user").post(CHAT, body)


def budget(world: World, **changes: Any) -> Row:
    row = {
        "scope": "tenant",
        "scope_id": world.tenant_id("acme"),
        "tenant_id": world.tenant_id("acme"),
        "period": "daily",
        "cost_limit": None,
        "token_limit": None,
        "request_limit": None,
        "hard_action": "block",
        "soft_limit_pct": 0.5,
        "used_cost": "0",
        "used_tokens": 0,
        "used_requests": 0,
        "resets_at": period_end("daily", world.served.platform.clock.now()),
        **changes,
    }
    return world.served.platform.store["budgets"].insert(row)


async def test_chat_echoes_the_last_user_text(world: World) -> None:
    data = (await chat(world, "good morning")).data
    assert set(data) == {"id", "model", "created", "choices", "usage"}
    assert data["model"] == ECHO
    choice = data["choices"][0]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": "echo: good morning"},
        "finish_reason": "stop",
    }
    assert data["usage"] == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


async def test_text_parts_are_joined(world: World) -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "https://x.test/i.png"}},
        {"type": "text", "text": "b"},
    ]
    assert (await chat(world, parts)).data["choices"][0]["message"]["content"] == "echo: ab"


async def test_max_tokens_cuts_and_stop_ends(world: World) -> None:
    cut = (await chat(world, "abcdefgh", max_tokens=2)).data["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == ("echo: ab", "length")
    stopped = (await chat(world, "one two three", stop="two")).data["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("echo: one ", "stop")
    several = (await chat(world, "one two three", stop=["three", "two"])).data["choices"][0]
    assert several["message"]["content"] == "echo: one "


@pytest.mark.parametrize("tool", [TOOL, {"name": "get_time"}])
async def test_a_tool_is_called_when_asked_for_and_offered(world: World, tool: Any) -> None:
    choice = (await chat(world, 'call:get_time {"zone":"UTC"}', tools=[tool])).data["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    function = choice["message"]["tool_calls"][0]["function"]
    assert function == {"name": "get_time", "arguments": '{"zone":"UTC"}'}
    assert choice["message"]["content"] == ""
    bare = (await chat(world, "call:get_time", tools=[tool])).data["choices"][0]
    assert bare["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_a_tool_that_is_not_offered_is_only_echoed(world: World) -> None:
    for options in ({}, {"tools": [{"name": "other"}]}, {"tools": [TOOL], "tool_choice": "none"}):
        choice = (await chat(world, "call:get_time {}", **options)).data["choices"][0]
        assert choice["message"]["content"] == "echo: call:get_time {}"


async def test_a_conversation_without_a_user_is_answered(world: World) -> None:
    body = {"model": ECHO, "messages": [{"role": "system", "content": "be kind"}]}
    data = (await world.as_("tenant_user").post(CHAT, body)).data
    assert data["choices"][0]["message"]["content"] == "echo: "


async def test_generate_echoes_its_prompt(world: World) -> None:
    body = {"model": "scailabs/legacy-0", "prompt": "abcdefgh", "max_tokens": 3}
    data = (await world.as_("tenant_user").post("/v1/inference/generate", body)).data
    assert (data["text"], data["finish_reason"]) == ("echo: abcdef", "length")
    assert data["usage"]["completion_tokens"] == 3


async def test_chat_lists_every_fault(world: World) -> None:
    body = {"model": "", "messages": [{"role": "robot"}], "temperature": 3, "max_tokens": 0, "n": 1}
    answer = await world.as_("tenant_user").post(CHAT, body)
    assert answer.faults == {
        "model",
        "messages[0].role",
        "messages[0].content",
        "temperature",
        "max_tokens",
        "n",
    }
    streamed = await chat(world, [{"type": "audio"}], stream=True)
    assert streamed.faults == {"stream", "messages[0].content[0].type"}


@pytest.mark.parametrize(
    ("model", "status", "code"),
    [
        ("no/such", 404, "MODEL_NOT_FOUND"),
        ("scailabs/offline-1", 503, "MODEL_UNAVAILABLE"),
        ("scailabs/embed-det-1", 422, "VALIDATION_ERROR"),
    ],
)
async def test_a_model_that_cannot_answer_is_refused(
    world: World, model: str, status: int, code: str
) -> None:
    answer = await chat(world, "x", model=model)
    assert (answer.status, answer.code) == (status, code)
    assert world.rows("usage") == []
    assert [row["status"] for row in world.rows("audit")] == ["FAILURE"]


async def test_a_model_may_be_named_by_its_id(world: World) -> None:
    row = next(row for row in world.rows("models") if row["slug"] == ECHO)
    assert (await chat(world, "x", model=row["id"])).data["model"] == ECHO


async def test_a_viewer_may_not_infer(world: World) -> None:
    body = {"model": ECHO, "messages": [{"role": "user", "content": "x"}]}
    assert (await world.as_("tenant_viewer").post(CHAT, body)).code == "AUTHZ_PERMISSION_DENIED"


@pytest.mark.parametrize("path", ["/v1/inference/embed", "/v1/inference/embeddings"])
async def test_embeddings_are_unit_vectors_in_order(world: World, path: str) -> None:
    caller = world.as_("tenant_user")
    body = {"model": "scailabs/embed-det-1", "input": ["red fox", "blue sky", "red fox"]}
    data = (await caller.post(path, body)).data
    vectors = [row["embedding"] for row in data["data"]]
    assert [row["index"] for row in data["data"]] == [0, 1, 2]
    assert {len(vector) for vector in vectors} == {64}
    assert all(math.isclose(sum(v * v for v in vector), 1) for vector in vectors)
    assert vectors[0] == vectors[2] != vectors[1]
    assert data["usage"]["prompt_tokens"] == 6
    one = (await caller.post(path, {**body, "input": "red fox", "dimensions": 9})).data
    assert [len(row["embedding"]) for row in one["data"]] == [9]


def test_texts_that_share_words_are_closer() -> None:
    def closeness(one: str, two: str) -> float:
        return sum(a * b for a, b in zip(embed(one), embed(two), strict=True))

    assert closeness("the red fox runs", "A RED FOX, sleeping") > closeness(
        "the red fox runs", "quarterly tax report"
    )
    assert embed("!?") == embed("!?") != embed("?!")
    assert math.isclose(sum(v * v for v in embed("a b", 1)), 1)
    assert any(embed(f"a w{n}", 1) == [1.0] for n in range(50))
    assert tokens_of("") == 0


async def test_every_inference_call_writes_one_usage_row_with_its_cost(world: World) -> None:
    await chat(world, "x" * 4_000)
    row = world.rows("usage")[0]
    assert (row["model"], row["tokens_in"], row["tokens_out"]) == (ECHO, 1000, 1002)
    assert row["cost"] == "0.003004"
    assert row["user_id"] == world.user_id("tenant_user")
    assert row["tenant_id"] == world.tenant_id("acme")
    assert row["backend_id"].startswith("bkd_")
    assert [r["action"] for r in world.rows("audit")] == ["inference.chat"]


@pytest.mark.parametrize(
    "limit", [{"request_limit": 2}, {"token_limit": 2}, {"cost_limit": "0.000001"}]
)
async def test_a_used_up_budget_blocks(world: World, limit: dict[str, Any]) -> None:
    budget(world, **limit)
    statuses = [(await chat(world, "hello")).status for _ in range(3)]
    assert statuses[0] == 200
    refused = await chat(world, "hello")
    assert (refused.status, refused.code) == (429, "BUDGET_EXCEEDED")
    assert (
        await world.as_("other_tenant_user").post(
            CHAT, {"model": ECHO, "messages": [{"role": "user", "content": "x"}]}
        )
    ).status == 200


@pytest.mark.parametrize("action", ["notify", "throttle"])
async def test_other_budgets_only_tell(world: World, action: str) -> None:
    budget(world, request_limit=1, hard_action=action)
    assert [(await chat(world, "x")).status for _ in range(3)] == [200, 200, 200]


async def test_a_budget_starts_anew_with_its_period(world: World) -> None:
    row = budget(world, request_limit=1, scope="user", scope_id=world.user_id("tenant_user"))
    assert [(await chat(world, "x")).status for _ in range(2)] == [200, 429]
    await world.control.post("/clock", {"seconds": 86_400})
    assert (await chat(world, "x")).status == 200
    assert row["used_requests"] == 1
    assert row["resets_at"] > world.served.platform.clock.iso()


async def test_crossing_a_limit_writes_an_event(world: World) -> None:
    hook = {
        "tenant_id": world.tenant_id("acme"),
        "url": "https://hook.test/",
        "events": ["budget.soft_limit", "budget.hard_limit"],
        "status": "active",
        "max_retries": 0,
        "consecutive_failures": 0,
    }
    store = world.served.platform.store
    store["webhooks"].insert({**hook})
    store["webhooks"].insert({**hook, "events": ["*"]})
    store["webhooks"].insert({**hook, "events": ["model.create"]})
    store["webhooks"].insert({**hook, "status": "inactive"})
    budget(world, request_limit=4, hard_action="notify")
    for _ in range(5):
        await chat(world, "x")
    deliveries = [
        (row["event_type"], row["status"], row["attempts"]) for row in world.rows("deliveries")
    ]
    assert deliveries == [
        ("budget.soft_limit", "pending", 0),
        ("budget.soft_limit", "pending", 0),
        ("budget.hard_limit", "pending", 0),
        ("budget.hard_limit", "pending", 0),
    ]


@pytest.mark.parametrize(
    ("period", "end"),
    [
        ("daily", "2023-11-15T00:00:00.000Z"),
        ("weekly", "2023-11-20T00:00:00.000Z"),
        ("monthly", "2023-12-01T00:00:00.000Z"),
        ("total", None),
    ],
)
def test_periods_end_at_midnight(period: str, end: str | None) -> None:
    assert period_end(period, 1_700_000_000) == end


async def test_a_family_may_publish_models(world: World) -> None:
    def published(call: Call, name: str) -> Row | None:
        if name != "tenant/acme/poet":
            return None
        return {"slug": name, "base_slug": ECHO, "system_prompt": "Rhyme."}

    platform = world.served.platform
    platform.families = (*platform.families, Family(endpoints=(), models=published))
    data = (await chat(world, "x", model="tenant/acme/poet")).data
    assert data["model"] == "tenant/acme/poet"
    assert data["usage"]["prompt_tokens"] == 3
    row = world.rows("usage")[0]
    assert (row["model"], row["cost"]) == ("tenant/acme/poet", "0.000007")
    assert (await chat(world, "x", model="tenant/acme/other")).code == "MODEL_NOT_FOUND"


async def test_further_models_can_be_seeded(start: Starter) -> None:
    world = await start(inference_models=("llama-3", "vec-1=embedding"))
    rows = (await world.as_("tenant_user").get("/v1/models")).data["items"]
    assert [(r["slug"], r["modality"]) for r in rows[-2:]] == [
        ("llama-3", "chat"),
        ("vec-1", "embedding"),
    ]
    data = (await chat(world, "x", model="llama-3")).data
    assert data["choices"][0]["message"]["content"] == "echo: x"
