"""Rooms: conversations of several users and bots. Spec: scaigrid 10.

A bot is a persona, a ScaiBot bot or a chat model, named by its id; each bot that is no observer
answers every message. Rooms are seen by their members, and by administrators of the tenant.
"""

from collections.abc import Callable, Iterable
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.endpoints.sessions import (
    ORDERED_PAGE,
    add_message,
    check_chat_model,
    delete_messages,
    list_messages_of,
    messages_of,
    show_message,
)
from scaimcp.dev.platform.errors import PlatformError, conflict, not_found
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.inference import complete
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row, TableSpec

ROOM_FIELDS = fields(
    "name:str*, description:str(<=2000), initial_members:list<{type:enum(user,bot)*, id:id*}>(<=50)"
)
MEMBER_FIELDS = "type:enum(user,bot)*, id:id*, role:enum(owner,member,observer)=member"
SEE_ALL = "admin:access"
Member = dict[str, str]
_room = view("id name description members status created_by created_at updated_at")


def _persona_model(call: Call, row: Row) -> str:
    tenant = call.table("tenants").get(row["tenant_id"])
    return f"tenant/{tenant['slug'] if tenant else ''}/{row['slug']}"


# Where bots are looked for, and the name of the model behind a found one.
BOT_TABLES: dict[str, Callable[[Call, Row], str]] = {
    "personas": _persona_model,
    "bots": lambda _, row: str(row["model_slug"]),
    "models": lambda _, row: str(row["slug"]),
}


def _bot_model(call: Call, bot_id: str) -> str:
    for table, name_of in BOT_TABLES.items():
        row = call.table(table).get(bot_id)
        if row is not None and ("tenant_id" not in row or call.sees_tenant(row["tenant_id"])):
            return name_of(call, row)
    raise not_found("BOT")


def _check_member(call: Call, kind: str, member_id: str) -> None:
    if kind == "user":
        call.find("users", member_id, "USER")
    else:
        check_chat_model(call, _bot_model(call, member_id), "id")


def _role(call: Call, room: Row) -> str | None:
    """Return the caller's part in a room; administrators are owners; None for others."""
    if call.holds(SEE_ALL):
        return "owner"
    roles = [m["role"] for m in room["members"] if (m["type"], m["id"]) == ("user", call.user_id)]
    return roles[0] if roles else None


def _visible(call: Call) -> Row:
    room = call.find("rooms", call.params["room_id"], "ROOM")
    if _role(call, room) is None:
        raise not_found("ROOM")
    return room


def _owned(call: Call) -> Row:
    room = _visible(call)
    if _role(call, room) != "owner":
        raise PlatformError("AUTHZ_PERMISSION_DENIED", "Only an owner may change the room.")
    return room


def _changed(call: Call, room: Row, **changes: object) -> Row:
    return call.table("rooms").update(room["id"], {**changes, "updated_at": call.now()})


def list_rooms(call: Call) -> Reply:
    """List the caller's rooms."""
    rooms = [room for room in call.rows("rooms") if _role(call, room) is not None]
    return shape_a(call, rooms, _room)


def create_room(call: Call) -> object:
    """Open a room; its maker is the owner."""
    tenant_id, body = call.tenant_id, call.body
    members: list[Member] = [{"type": "user", "id": call.user_id, "role": "owner"}]
    for wanted in body.get("initial_members", ()):
        _check_member(call, wanted["type"], wanted["id"])
        if not any((m["type"], m["id"]) == (wanted["type"], wanted["id"]) for m in members):
            members.append({**wanted, "role": "member"})
    row: Row = {
        "name": body["name"],
        "description": body.get("description"),
        "members": members,
        "status": "active",
        "tenant_id": tenant_id,
        "created_by": call.user_id,
        "updated_at": call.now(),
    }
    return _room(call.created("rooms", row))


def get_room(call: Call) -> object:
    """Return one room."""
    return _room(_visible(call))


def update_room(call: Call) -> object:
    """Change name or description."""
    return _room(_changed(call, _owned(call), **call.body))


def delete_room(call: Call) -> None:
    """Remove a room with its messages."""
    room = _owned(call)
    delete_messages(call, room["id"])
    call.table("rooms").delete(room["id"])


def add_member(call: Call) -> object:
    """Add a member, or give one another role."""
    room = _owned(call)
    member: Member = dict(call.body)
    _check_member(call, member["type"], member["id"])
    members = _without(room, member["type"], member["id"])
    _demand_owner([*members, member])
    return _room(_changed(call, room, members=[*members, member]))


def remove_member(call: Call) -> object:
    """Take a member out; everybody may take themselves out."""
    room, member_id = _visible(call), call.params["member_id"]
    call.resource_id = room["id"]
    if member_id != call.user_id:
        room = _owned(call)
    kinds = [member["type"] for member in room["members"] if member["id"] == member_id]
    if not kinds:
        raise not_found("MEMBER")
    members = _without(room, kinds[0], member_id)
    _demand_owner(members)
    return _room(_changed(call, room, members=members))


def _without(room: Row, kind: str, member_id: str) -> list[Member]:
    return [m for m in room["members"] if (m["type"], m["id"]) != (kind, member_id)]


def _demand_owner(members: Iterable[Member]) -> None:
    if not any(member["role"] == "owner" for member in members):
        raise conflict("A room needs an owner.")


def list_messages(call: Call) -> Reply:
    """List the messages of a room."""
    return list_messages_of(call, _visible(call)["id"])


async def send(call: Call) -> Row:
    """Store a message and let every bot answer it; when one cannot, nothing is stored."""
    room = _visible(call)
    if _role(call, room) == "observer":
        raise PlatformError("AUTHZ_PERMISSION_DENIED", "Observers only read.")
    reply_to = call.body.get("reply_to")
    if reply_to is not None and reply_to not in {m["id"] for m in messages_of(call, room["id"])}:
        raise not_found("MESSAGE")
    answers = [
        await _answer(call, room, member["id"])
        for member in room["members"]
        if member["type"] == "bot" and member["role"] != "observer"
    ]
    # Meanwhile the room may have been removed.
    room = _visible(call)
    message = add_message(
        call,
        room["id"],
        {
            "role": "user",
            "content": call.body["content"],
            "author_type": "user",
            "author_id": call.user_id,
            "reply_to": reply_to,
        },
    )
    replies = [
        add_message(call, room["id"], {**answer, "reply_to": message["id"]}) for answer in answers
    ]
    _changed(call, room)
    return {
        "message": show_message(message),
        "replies": [show_message(reply) for reply in replies],
    }


async def _answer(call: Call, room: Row, bot_id: str) -> Row:
    """Return what a bot says; to it, its own messages are the assistant's."""
    turn: list[dict[str, Any]] = [
        {
            "role": "assistant" if said["author_id"] == bot_id else "user",
            "content": said["content"],
        }
        for said in messages_of(call, room["id"])
    ]
    turn.append({"role": "user", "content": call.body["content"]})
    done = await complete(call, _bot_model(call, bot_id), turn)
    return {
        "role": "assistant",
        "content": done.message.get("content") or "",
        "author_type": "bot",
        "author_id": bot_id,
        "model": done.model,
        "usage": done.usage,
    }


ROOMS, ROOM, USE = "/v1/rooms", "/v1/rooms/{room_id}", "models:use"

FAMILY = Family(
    tables=(TableSpec("rooms", "room_", ("tenant_id",)),),
    endpoints=(
        Endpoint("GET", ROOMS, USE, list_rooms, query=fields("@page")),
        Endpoint("POST", ROOMS, USE, create_room, body=json_body(ROOM_FIELDS), audit="room.create"),
        Endpoint("GET", ROOM, USE, get_room),
        Endpoint(
            "PATCH",
            ROOM,
            USE,
            update_room,
            body=json_body(ROOM_FIELDS.partial("initial_members")),
            audit="room.update",
        ),
        Endpoint("DELETE", ROOM, USE, delete_room, audit="room.delete"),
        Endpoint(
            "POST",
            f"{ROOM}/members",
            USE,
            add_member,
            body=json_body(MEMBER_FIELDS),
            audit="room.member_add",
        ),
        Endpoint(
            "DELETE",
            f"{ROOM}/members/{{member_id}}",
            USE,
            remove_member,
            audit="room.member_remove",
        ),
        Endpoint("GET", f"{ROOM}/messages", USE, list_messages, query=ORDERED_PAGE),
        Endpoint(
            "POST",
            f"{ROOM}/messages",
            USE,
            send,
            body=json_body("content:text*, reply_to:id"),
            audit="room.message_create",
        ),
    ),
)
