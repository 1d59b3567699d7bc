"""Batches of inference calls."""

import asyncio
import io
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
from aiohttp import web

from tests.platform.conftest import Answer, Caller, Starter, World

PATH = "/v1/inference/batch"
ECHO = "scailabs/echo-1"
NOON = 1_800_000_000.0


class Upstream:
    """A service whose answers wait until they are let go."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.set()
        await self.go.wait()
        message = {"role": "assistant", "content": "late"}
        return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}]})


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    service = Upstream()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", service.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield service
    await runner.cleanup()


def line(number: int, url: str = "generate", **body: Any) -> dict[str, Any]:
    body = body or {"model": ECHO, "prompt": f"p{number}"}
    return {
        "custom_id": f"c{number}",
        "method": "POST",
        "url": f"/v1/inference/{url}",
        "body": body,
    }


def encoded(*lines: Any) -> str:
    texts = [entry if isinstance(entry, bytes) else msgspec.json.encode(entry) for entry in lines]
    return b64encode(b"\n".join(texts) + b"\n").decode()


async def post(caller: Caller, *lines: Any, **further: Any) -> Answer:
    return await caller.post(PATH, {"input_file_base64": encoded(*lines), **further})


async def finished(caller: Caller, batch_id: str) -> Mapping[str, Any]:
    for _ in range(3):
        row = (await caller.get(f"{PATH}/{batch_id}")).data
    return dict(row)


async def content(world: World, url: str) -> list[Any]:
    answer = await world.anyone.get(url.removeprefix(world.served.url))
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [msgspec.json.decode(text) for text in answer.content.splitlines()]


async def test_a_batch_really_runs_its_lines(start: Starter) -> None:
    world = await start(frozen_at=NOON)
    caller = world.as_("tenant_user")
    chat = {"model": ECHO, "messages": [{"role": "user", "content": "hi"}]}
    embed = {"model": "scailabs/embed-det-1", "input": "hi", "dimensions": 8}
    lines = [line(1), line(2, "chat", **chat), b"", line(3, "embed", **embed)]
    made = (await post(caller, *lines, metadata={"a": 1})).data
    assert made["id"].startswith("bat_")
    assert (made["status"], made["completed_at"], made["metadata"]) == (
        "validating",
        None,
        {"a": 1},
    )
    assert made["endpoint_completion_window"] == "24h"
    path = f"{PATH}/{made['id']}"
    running = (await caller.get(path)).data
    assert running["status"] == "in_progress"
    assert running["request_counts"] == {"total": 3, "completed": 0, "failed": 0}
    done = (await caller.get(path)).data
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
    assert done["completed_at"] is not None
    assert done["error_file_url"] is None
    assert (await caller.get(path)).data == done
    output = await content(world, done["output_file_url"])
    assert [(entry["custom_id"], entry["error"]) for entry in output] == [
        ("c1", None),
        ("c2", None),
        ("c3", None),
    ]
    bodies = [entry["response"]["body"] for entry in output]
    assert bodies[0]["text"] == "echo: p1"
    assert bodies[1]["choices"][0]["message"]["content"] == "echo: hi"
    assert len(bodies[2]["data"][0]["embedding"]) == 8
    assert {row["user_id"] for row in world.rows("usage")} == {world.user_id("tenant_user")}
    assert len(world.rows("usage")) == 3
    assert [row["action"] for row in world.rows("audit")] == [
        "batch.create",
        "inference.generate",
        "inference.chat",
        "inference.embed",
    ]


async def test_a_batch_is_completed_by_the_clock(start: Starter) -> None:
    world = await start(frozen_at=NOON)
    caller = world.as_("tenant_user")
    made = (await post(caller, line(1))).data
    await world.control.post("/clock", {"seconds": 2})
    listed = (await caller.get(PATH)).data["items"]
    assert [(row["id"], row["status"]) for row in listed] == [(made["id"], "completed")]
    assert (await caller.get(f"{PATH}?status=completed")).data["items"] == listed
    assert (await caller.get(f"{PATH}?status=failed")).data["items"] == []
    assert (await caller.get(f"{PATH}?status=odd")).faults == {"status"}


async def test_lines_that_fail_are_reported_apart(world: World) -> None:
    caller = world.as_("tenant_user")
    lines = [
        line(1),
        line(2, model="scailabs/offline-1", prompt="x"),
        line(3, model=ECHO, prompt="x", temperature=9),
        {**line(4), "body": [1]},
        line(5, "chat", model=ECHO, messages=[{"role": "user", "content": "x"}], stream=True),
    ]
    done = await finished(caller, (await post(caller, *lines)).data["id"])
    assert done["status"] == "completed"
    assert done["request_counts"] == {"total": 5, "completed": 1, "failed": 4}
    errors = await content(world, done["error_file_url"])
    assert [entry["error"]["code"] for entry in errors] == [
        "MODEL_UNAVAILABLE",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
        "VALIDATION_ERROR",
    ]
    fields = [d["field"] for e in errors[1:] for d in e["error"]["details"]]
    assert fields == ["temperature", "body", "stream"]
    assert {entry["response"] for entry in errors} == {None}
    failures = [row for row in world.rows("audit") if row["status"] == "FAILURE"]
    assert len(failures) == 4


async def test_faulty_lines_fail_the_whole_batch(world: World) -> None:
    caller = world.as_("tenant_user")
    lines = [
        line(1),
        line(1),
        b"{",
        b"[]",
        {"custom_id": "x"},
        {**line(6), "url": "/v1/models"},
        {**line(7), "method": "GET"},
    ]
    done = await finished(caller, (await post(caller, *lines)).data["id"])
    assert (done["status"], done["output_file_url"]) == ("failed", None)
    errors = await content(world, done["error_file_url"])
    found = {
        entry["line"]: {detail["field"] for detail in entry["error"]["details"]} for entry in errors
    }
    assert found == {
        2: {"custom_id"},
        3: {"line"},
        4: {"line"},
        5: {"url", "body"},
        6: {"url"},
        7: {"method"},
    }
    assert not world.rows("usage")


async def test_an_earlier_output_can_be_named_as_input(world: World) -> None:
    caller, other = world.as_("tenant_user"), world.as_("tenant_admin")
    first = await finished(caller, (await post(caller, line(1))).data["id"])
    url = first["output_file_url"]
    for name in (url, f"scaigrid://file/{url.rpartition('/')[2]}"):
        made = (await caller.post(PATH, {"input_file_url": name})).data
        done = await finished(caller, made["id"])
        # An answer file is no file of calls, so that its lines are faulty rather than unreadable.
        assert done["status"] == "failed"
        errors = await content(world, done["error_file_url"])
        assert {d["field"] for d in errors[0]["error"]["details"]} >= {"url", "body", "response"}
    foreign = (await other.post(PATH, {"input_file_url": url})).data
    done = await finished(other, foreign["id"])
    assert (await content(world, done["error_file_url"]))[0]["line"] is None


@pytest.mark.parametrize("url", ["https://files.test/a.jsonl", "scaidrive://a/b.jsonl"])
async def test_an_outside_file_cannot_be_read(world: World, url: str) -> None:
    caller = world.as_("tenant_user")
    made = (await caller.post(PATH, {"input_file_url": url})).data
    assert made["status"] == "validating"
    assert (await finished(caller, made["id"]))["status"] == "failed"


async def test_exactly_one_input_is_needed(world: World) -> None:
    caller = world.as_("tenant_user")
    both = {"input_file_url": "https://a.test/", "input_file_base64": encoded(line(1))}
    for body in (None, {}, both, {"input_file_url": "ftp://a.test/"}):
        assert (await caller.post(PATH, body)).faults == {"input_file_url"}
    for text in ("!", b64encode(b"\xff").decode(), b64encode(b" \n").decode()):
        answer = await caller.post(PATH, {"input_file_base64": text})
        assert answer.faults == {"input_file_base64"}
    large = io.BytesIO(b'{"input_file_base64":"%s"}' % b64encode(b" " * 10_000_000))
    kind = {"Content-Type": "application/json"}
    answer = await caller.post(PATH, data=large, headers=kind)
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert (await post(caller, line(1), endpoint_completion_window="2h")).status == 422


async def test_a_batch_is_cancelled_before_its_end_only(start: Starter) -> None:
    world = await start(frozen_at=NOON)
    caller = world.as_("tenant_user")
    for looks in (0, 1):
        path = f"{PATH}/{(await post(caller, line(1))).data['id']}"
        for _ in range(looks):
            await caller.get(path)
        for _ in range(2):
            assert (await caller.post(f"{path}/cancel")).data["status"] == "cancelling"
        ended = (await caller.get(path)).data
        assert (ended["status"], ended["output_file_url"]) == ("cancelled", None)
        answer = await caller.post(f"{path}/cancel")
        assert (answer.status, answer.code) == (409, "CONFLICT")
    assert not world.rows("usage")
    last = world.rows("audit")[-1]
    assert (last["action"], last["status"]) == ("batch.cancel", "FAILURE")


async def test_a_batch_is_its_owners_alone(world: World) -> None:
    made = (await post(world.as_("tenant_user"), line(1))).data
    for name in ("tenant_admin", "other_tenant_admin", "super_admin"):
        caller = world.as_(name)
        assert (await caller.get(f"{PATH}/{made['id']}")).code == "BATCH_NOT_FOUND"
        assert (await caller.post(f"{PATH}/{made['id']}/cancel")).code == "BATCH_NOT_FOUND"
        assert (await caller.get(PATH)).data["items"] == []
    assert (await world.as_("tenant_viewer").get(PATH)).code == "AUTHZ_PERMISSION_DENIED"
    homeless = await post(world.as_("super_admin"), line(1))
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_an_answer_file_lives_for_a_day(world: World) -> None:
    caller = world.as_("tenant_user")
    done = await finished(caller, (await post(caller, line(1))).data["id"])
    path = done["output_file_url"].removeprefix(world.served.url)
    assert (await world.anyone.get(path)).status == 200
    await world.control.post("/clock", {"seconds": 24 * 3600 + 1})
    assert (await world.anyone.get(path)).code == "FILE_NOT_FOUND"
    assert (await world.anyone.get(f"{PATH}/files/none")).code == "FILE_NOT_FOUND"


async def test_the_end_of_a_batch_is_an_event(world: World) -> None:
    caller = world.as_("tenant_user")
    hook = {"url": "https://hook.test/", "events": ["batch.completed"]}
    made = (await world.as_("tenant_admin").post("/v1/webhooks", hook)).data
    batch = await finished(caller, (await post(caller, line(1))).data["id"])
    (delivery,) = world.rows("deliveries")
    assert (delivery["webhook_id"], delivery["event_type"]) == (made["id"], "batch.completed")
    assert delivery["payload"] == {"batch_id": batch["id"], "status": "completed"}


@pytest.mark.parametrize("cancel", [False, True])
async def test_a_batch_that_runs_is_not_run_twice_and_can_be_cancelled(
    start: Starter, upstream: Upstream, cancel: bool
) -> None:
    world = await start(frozen_at=NOON, inference_url=upstream.url, inference_models=("llama-3",))
    caller = world.as_("tenant_user")
    await world.as_("tenant_admin").post(
        "/v1/webhooks", {"url": "https://hook.test/", "events": ["*"]}
    )
    lines = [line(number, model="llama-3", prompt="x") for number in (1, 2)]
    path = f"{PATH}/{(await post(caller, *lines)).data['id']}"
    await caller.get(path)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(caller.get(path))
        await asyncio.wait_for(upstream.asked.wait(), 5)
        assert (await caller.get(path)).data["status"] == "in_progress"
        if cancel:
            assert (await caller.post(f"{path}/cancel")).data["status"] == "cancelling"
            assert (await caller.get(path)).data["status"] == "cancelling"
        upstream.go.set()
    ended = first.result().data
    assert ended["status"] == ("cancelled" if cancel else "completed")
    # What was answered before the end is kept and paid.
    answered = 1 if cancel else 2
    assert ended["request_counts"] == {"total": 2, "completed": answered, "failed": 0}
    assert len(world.rows("usage")) == answered
    assert len(await content(world, ended["output_file_url"])) == answered
    assert (await caller.get(path)).data == ended
    assert len(world.rows("deliveries")) == 1
