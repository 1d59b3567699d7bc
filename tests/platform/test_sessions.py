"""Sessions and rooms."""

import asyncio
from typing import Any

import pytest

from tests.platform.conftest import Caller, World

ECHO = "scailabs/echo-1"


async def session(caller: Caller, **changes: Any) -> Any:
    return (await caller.post("/v1/sessions", {"model": ECHO, **changes})).data


async def room(caller: Caller, *members: tuple[str, str]) -> Any:
    wanted = [{"type": kind, "id": member} for kind, member in members]
    return (await caller.post("/v1/rooms", {"name": "r", "initial_members": wanted})).data


async def test_a_session_is_opened_changed_and_deleted(world: World) -> None:
    caller = world.as_("tenant_user")
    row = await session(caller, title="t", metadata={"a": 1})
    assert row["id"].startswith("ses_")
    assert (row["status"], row["message_count"], row["user_id"]) == (
        "active",
        0,
        world.user_id("tenant_user"),
    )
    path = f"/v1/sessions/{row['id']}"
    changed = (await caller.patch(path, {"title": "", "metadata": {}})).data
    assert (changed["title"], changed["metadata"], changed["model"]) == ("", {}, ECHO)
    assert (await caller.patch(path, {"model": ECHO})).faults == {"model"}
    assert (await caller.post("/v1/sessions", {"status": "active"})).faults == {"model", "status"}
    assert (await caller.delete(path)).status == 204
    assert (await caller.get(path)).code == "SESSION_NOT_FOUND"
    assert [r["action"] for r in world.rows("audit")] == [
        "session.create",
        "session.update",
        "session.update",
        "session.create",
        "session.delete",
    ]


async def test_a_session_keeps_its_conversation(world: World) -> None:
    caller = world.as_("tenant_user")
    row = await session(caller, system_prompt="be kind")
    path = f"/v1/sessions/{row['id']}/messages"
    first = (await caller.post(path, {"content": "one"})).data
    assert set(first) == {"message", "model", "finish_reason", "usage"}
    assert (first["model"], first["finish_reason"]) == (ECHO, "stop")
    assert first["message"]["content"] == "echo: one"
    assert (first["message"]["role"], first["message"]["author_type"]) == ("assistant", "model")
    second = (await caller.post(path, {"content": "two words", "max_tokens": 2})).data
    assert (second["message"]["content"], second["finish_reason"]) == ("echo: tw", "length")
    # The prompt, the first exchange and the new question.
    assert second["usage"]["prompt_tokens"] == 2 + 1 + 3 + 3
    listed = (await caller.get(path)).data["items"]
    assert [m["content"] for m in listed] == ["one", "echo: one", "two words", "echo: tw"]
    assert listed[1]["reply_to"] == listed[0]["id"]
    assert listed[0]["author_id"] == world.user_id("tenant_user")
    newest = await caller.get(f"{path}?order=desc&limit=1")
    assert newest.data["items"] == [listed[3]]
    cursor = newest.json["pagination"]["next_cursor"]
    after = (await caller.get(f"{path}?order=desc&limit=1&cursor={cursor}")).data["items"]
    assert after == [listed[2]]
    assert (await caller.get(f"/v1/sessions/{row['id']}")).data["message_count"] == 4
    assert len(world.rows("usage")) == 2
    await caller.delete(f"/v1/sessions/{row['id']}")
    assert not world.rows("messages")


async def test_a_closed_session_takes_no_message(world: World) -> None:
    caller = world.as_("tenant_user")
    path = f"/v1/sessions/{(await session(caller))['id']}"
    await caller.patch(path, {"status": "closed"})
    answer = await caller.post(f"{path}/messages", {"content": "x"})
    assert (answer.status, answer.code) == (409, "SESSION_CLOSED")
    assert len((await caller.get("/v1/sessions?status=closed")).data["items"]) == 1
    assert (await caller.get("/v1/sessions?status=active")).data["items"] == []
    await caller.patch(path, {"status": "active"})
    assert (await caller.post(f"{path}/messages", {"content": "x"})).status == 200


async def test_a_failed_question_leaves_no_trace(world: World) -> None:
    caller = world.as_("tenant_user")
    row = await session(caller, model="scailabs/offline-1")
    path = f"/v1/sessions/{row['id']}/messages"
    answer = await caller.post(path, {"content": "x"})
    assert (answer.status, answer.code) == (503, "MODEL_UNAVAILABLE")
    assert (await caller.get(path)).data["items"] == []
    streamed = await caller.post(path, {"content": "x", "stream": True, "n": 1})
    assert streamed.faults == {"n"}
    assert (await caller.post(path, {"content": "x", "stream": True})).faults == {"stream"}
    last = world.rows("audit")[1]
    assert (last["action"], last["status"], last["resource_type"], last["resource_id"]) == (
        "session.message_create",
        "FAILURE",
        "session",
        row["id"],
    )


async def test_a_session_needs_a_chat_model_the_caller_may_use(world: World) -> None:
    caller, admin = world.as_("tenant_user"), world.as_("super_admin")
    unknown = await caller.post("/v1/sessions", {"model": "no/such"})
    assert unknown.code == "MODEL_NOT_FOUND"
    wrong = await caller.post("/v1/sessions", {"model": "scailabs/tone-1"})
    assert wrong.faults == {"model"}
    legacy = (await admin.get("/v1/models/scailabs%2Flegacy-0")).data["id"]
    deny = {"subject_type": "tenant", "subject_id": world.tenant_id("acme"), "effect": "deny"}
    await admin.post(f"/v1/models/{legacy}/access", deny)
    refused = await caller.post("/v1/sessions", {"model": "scailabs/legacy-0"})
    assert refused.code == "MODEL_ACCESS_DENIED"
    homeless = await admin.post("/v1/sessions", {"model": ECHO})
    assert homeless.code == "AUTHZ_PERMISSION_DENIED"


async def test_a_session_talks_to_a_persona(world: World) -> None:
    caller = world.as_("tenant_user")
    row = await session(caller, model=await persona_model(world))
    said = await caller.post(f"/v1/sessions/{row['id']}/messages", {"content": "hi"})
    assert said.data["message"]["content"] == "echo: hi"
    assert said.data["model"] == row["model"]


async def test_sessions_are_private_but_for_those_who_see_the_tenant(world: World) -> None:
    owner, admin = world.as_("tenant_user"), world.as_("tenant_admin")
    row = await session(owner)
    path = f"/v1/sessions/{row['id']}"
    for name in ("group_member", "other_tenant_admin"):
        stranger = world.as_(name)
        assert (await stranger.get(path)).code == "SESSION_NOT_FOUND"
        assert (await stranger.get(f"{path}/messages")).code == "SESSION_NOT_FOUND"
        assert (await stranger.delete(path)).code == "SESSION_NOT_FOUND"
        assert (await stranger.get("/v1/sessions")).data["items"] == []
    assert (await owner.get("/v1/sessions?scope=tenant")).code == "AUTHZ_PERMISSION_DENIED"
    assert (await admin.get("/v1/sessions")).data["items"] == []
    listed = (await admin.get("/v1/sessions?scope=tenant")).data["items"]
    assert [found["id"] for found in listed] == [row["id"]]
    assert (await admin.get(path)).status == 200
    assert (await admin.patch(path, {"title": "x"})).code == "SESSION_NOT_FOUND"


async def persona_model(world: World) -> str:
    return f"tenant/acme/{persona(world)['slug']}"


def persona(world: World) -> Any:
    acme = world.tenant_id("acme")
    rows = [r for r in world.rows("personas") if r["tenant_id"] == acme]
    return next(row for row in rows if row["status"] == "active")


def bot(world: World, slug: str) -> str:
    tenant = world.tenant_id(slug)
    return str(next(row["id"] for row in world.rows("bots") if row["tenant_id"] == tenant))


async def test_a_room_is_opened_changed_and_deleted(world: World) -> None:
    owner = world.as_("tenant_user")
    member = world.user_id("group_member")
    row = await room(owner, ("user", member), ("user", member), ("bot", bot(world, "acme")))
    assert row["id"].startswith("room_")
    assert [(m["type"], m["role"]) for m in row["members"]] == [
        ("user", "owner"),
        ("user", "member"),
        ("bot", "member"),
    ]
    path = f"/v1/rooms/{row['id']}"
    changed = (await owner.patch(path, {"description": "d"})).data
    assert (changed["name"], changed["description"]) == ("r", "d")
    assert (await owner.patch(path, {"initial_members": []})).faults == {"initial_members"}
    faults = await owner.post("/v1/rooms", {"initial_members": [{"type": "cat"}]})
    assert faults.faults == {"name", "initial_members[0].type", "initial_members[0].id"}
    await owner.post(f"{path}/messages", {"content": "hello"})
    assert (await owner.delete(path)).status == 204
    assert (await owner.get(path)).code == "ROOM_NOT_FOUND"
    assert not world.rows("messages")
    assert [r["action"] for r in world.rows("audit") if r["status"] == "SUCCESS"] == [
        "room.create",
        "room.update",
        "room.message_create",
        "room.delete",
    ]


async def test_every_bot_of_a_room_answers(world: World) -> None:
    owner = world.as_("tenant_user")
    model = world.rows("models")[0]["id"]
    someone = persona(world)["id"]
    row = await room(owner, ("bot", someone), ("bot", bot(world, "acme")), ("bot", model))
    path = f"/v1/rooms/{row['id']}"
    silent = {"type": "bot", "id": model, "role": "observer"}
    assert (await owner.post(f"{path}/members", silent)).data["members"][-1] == silent
    sent = (await owner.post(f"{path}/messages", {"content": "hi"})).data
    assert (sent["message"]["content"], sent["message"]["author_type"]) == ("hi", "user")
    assert [reply["author_id"] for reply in sent["replies"]] == [someone, bot(world, "acme")]
    assert {reply["content"] for reply in sent["replies"]} == {"echo: hi"}
    assert {reply["reply_to"] for reply in sent["replies"]} == {sent["message"]["id"]}
    assert sent["replies"][0]["model"] == await persona_model(world)
    assert len(world.rows("usage")) == 2
    again = {"content": "again", "reply_to": sent["replies"][0]["id"]}
    replied = (await owner.post(f"{path}/messages", again)).data
    assert replied["message"]["reply_to"] == again["reply_to"]
    listed = (await owner.get(f"{path}/messages?limit=4")).data["items"]
    assert [m["content"] for m in listed] == ["hi", "echo: hi", "echo: hi", "again"]
    newest = (await owner.get(f"{path}/messages?limit=1&order=desc")).data["items"]
    assert newest[0]["author_id"] == bot(world, "acme")
    wrong = await owner.post(f"{path}/messages", {"content": "x", "reply_to": "msg_none"})
    assert wrong.code == "MESSAGE_NOT_FOUND"


async def test_a_bot_that_cannot_answer_fails_the_message(world: World) -> None:
    owner = world.as_("tenant_user")
    offline = next(r["id"] for r in world.rows("models") if r["slug"] == "scailabs/offline-1")
    row = await room(owner, ("bot", offline))
    path = f"/v1/rooms/{row['id']}/messages"
    assert (await owner.post(path, {"content": "x"})).code == "MODEL_UNAVAILABLE"
    assert (await owner.get(path)).data["items"] == []


async def test_members_must_be_within_reach(world: World) -> None:
    owner = world.as_("tenant_user")
    row = await room(owner)
    path = f"/v1/rooms/{row['id']}/members"
    tone = next(r["id"] for r in world.rows("models") if r["slug"] == "scailabs/tone-1")
    for kind, member, code in (
        ("user", world.user_id("other_tenant_user"), "USER_NOT_FOUND"),
        ("user", "usr_none", "USER_NOT_FOUND"),
        ("bot", bot(world, "globex"), "BOT_NOT_FOUND"),
        ("bot", "none", "BOT_NOT_FOUND"),
    ):
        assert (await owner.post(path, {"type": kind, "id": member})).code == code
        assert (await owner.delete(f"{path}/{member}")).code == "MEMBER_NOT_FOUND"
    assert (await owner.post(path, {"type": "bot", "id": tone})).faults == {"id"}


async def test_members_come_and_go(world: World) -> None:
    owner, member = world.as_("tenant_user"), world.as_("group_member")
    row = await room(owner)
    path = f"/v1/rooms/{row['id']}"
    me, other = world.user_id("tenant_user"), world.user_id("group_member")
    assert (await member.get(path)).code == "ROOM_NOT_FOUND"
    body = {"type": "user", "id": other}
    for _ in range(2):
        added = (await owner.post(f"{path}/members", body)).data
        assert [m["role"] for m in added["members"]] == ["owner", "member"]
    assert (await member.get(path)).status == 200
    assert len((await member.get("/v1/rooms")).data["items"]) == 1
    for refused in (
        await member.patch(path, {"name": "mine"}),
        await member.delete(path),
        await member.post(f"{path}/members", body),
        await member.delete(f"{path}/members/{me}"),
    ):
        assert refused.code == "AUTHZ_PERMISSION_DENIED"
    assert (await member.post(f"{path}/messages", {"content": "x"})).data["replies"] == []
    await owner.post(f"{path}/members", {**body, "role": "observer"})
    read_only = await member.post(f"{path}/messages", {"content": "x"})
    assert read_only.code == "AUTHZ_PERMISSION_DENIED"
    left = await member.delete(f"{path}/members/{other}")
    assert (left.status, len(left.data["members"])) == (200, 1)
    assert (await member.get("/v1/rooms")).data["items"] == []
    assert (await owner.delete(f"{path}/members/{me}")).code == "CONFLICT"
    demoted = await owner.post(f"{path}/members", {"type": "user", "id": me})
    assert demoted.code == "CONFLICT"
    removal = [r for r in world.rows("audit") if r["action"] == "room.member_remove"]
    assert {r["resource_id"] for r in removal} == {row["id"]}


@pytest.mark.parametrize("what", ["", "/messages"])
async def test_rooms_are_seen_by_members_and_administrators(world: World, what: str) -> None:
    row = await room(world.as_("tenant_user"))
    path = f"/v1/rooms/{row['id']}{what}"
    assert (await world.as_("tenant_admin").get(path)).status == 200
    assert (await world.as_("other_tenant_admin").get(path)).code == "ROOM_NOT_FOUND"
    assert (await world.as_("tenant_viewer").get(path)).code == "AUTHZ_PERMISSION_DENIED"
    empty = (await world.as_("other_tenant_admin").get("/v1/rooms")).data["items"]
    assert empty == []


async def test_messages_sent_at_once_are_all_kept(world: World) -> None:
    caller = world.as_("tenant_user")
    path = f"/v1/sessions/{(await session(caller))['id']}/messages"
    answers = await asyncio.gather(*(caller.post(path, {"content": str(n)}) for n in range(5)))
    assert {answer.data["message"]["content"] for answer in answers} == {
        f"echo: {n}" for n in range(5)
    }
    assert len((await caller.get(path)).data["items"]) == 10
