"""Tools for stored conversations and shared rooms. Data only. Spec: core-tools 1."""

from __future__ import annotations

from scaimcp.catalog.definition import PAGE, ToolDefinition, tool
from scaimcp.catalog.notation import arg
from scaimcp.catalog.results import DELETED, an, list_of, message

MODEL_SECONDS = 120.0

SESSION_ID = arg(
    "session_id:id*", "Identifier of the session, for example ses_01J8, from sessions_list."
)
ROOM_ID = arg("room_id:id*", "Identifier of the room, for example room_01J8, from rooms_list.")
ORDER = arg(
    "order:enum(asc,desc)=asc",
    "asc for the oldest message first, desc for the newest; asc when left out.",
)
CONTENT = arg("content:text*", "Text of the message, 1 to 65,536 characters.")

TOOLS: tuple[ToolDefinition, ...] = (
    tool(
        "sessions_list",
        "List chat sessions",
        "List stored chat sessions page by page; use it to find a conversation to read or to go "
        "on with; returns model, title, status and message count of each session.",
        "GET /v1/sessions",
        (
            *PAGE,
            arg(
                "status:enum(active,closed)",
                "Only sessions with this status; both when left out.",
            ),
            arg(
                "scope:enum(own,tenant)=own",
                "own for the caller's sessions, tenant for everyone's, which needs "
                "accounting:view_tenant; own when left out.",
            ),
        ),
        permission="models:use",
        hints="R I",
        result=list_of("Session"),
    ),
    tool(
        "sessions_create",
        "Start a chat session",
        "Start a conversation that the platform stores; use it instead of inference_chat when the "
        "history shall be kept between calls; returns the session for sessions_send_message.",
        "POST /v1/sessions",
        (
            arg(
                "model:str*",
                "Slug of a model with modality chat from models_list, for example "
                "scailabs/echo-1; cannot be changed later.",
            ),
            arg(
                "title:str(≤200)",
                "Short title shown in lists, up to 200 characters; untitled when left out.",
            ),
            arg(
                "system_prompt:text",
                "Instructions that the model follows in the whole session; none when left out.",
            ),
            arg(
                "metadata:map",
                'Your own labels, at most 64 keys, for example {"ticket": "4711"}; none when left '
                "out.",
            ),
        ),
        permission="models:use",
        hints="",
        result=an("Session"),
    ),
    tool(
        "sessions_get",
        "Get a chat session",
        "Read one stored chat session; use it to check its model, instructions or status, and "
        "sessions_list_messages for its messages; returns all of the session's fields.",
        "GET /v1/sessions/{session_id}",
        (SESSION_ID,),
        permission="models:use",
        hints="R I",
        result=an("Session"),
    ),
    tool(
        "sessions_update",
        "Update a chat session",
        "Change title, instructions, labels or status of one chat session; use it to rename, to "
        "close or to reopen a conversation; returns the session as it is now.",
        "PATCH /v1/sessions/{session_id}",
        (
            SESSION_ID,
            arg(
                "title:str(≤200)",
                "New title, up to 200 characters; unchanged when left out.",
            ),
            arg(
                "system_prompt:text",
                "New instructions for the replies to come; unchanged when left out.",
            ),
            arg(
                "metadata:map",
                "New labels that replace the old ones, at most 64 keys; unchanged when left out.",
            ),
            arg(
                "status:enum(active,closed)",
                "closed refuses further messages, active accepts them; unchanged when left out.",
            ),
        ),
        permission="models:use",
        hints="I",
        result=an("Session"),
    ),
    tool(
        "sessions_delete",
        "Delete a chat session",
        "Delete one chat session with all its messages for good; use it only when the history is "
        "no longer needed, or sessions_update to close it; returns a confirmation with its "
        "identifier.",
        "DELETE /v1/sessions/{session_id}",
        (SESSION_ID,),
        permission="models:use",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "sessions_send_message",
        "Send a session message",
        "Send a user message to a stored chat session and wait for the model's reply; use it to go "
        "on with a conversation whose history the platform keeps; returns the reply text, the "
        "finish reason and token usage.",
        "POST /v1/sessions/{session_id}/messages",
        (
            SESSION_ID,
            CONTENT,
            arg(
                "max_tokens:int(1–1000000)",
                "Upper limit of tokens in the reply; the model's own limit when left out.",
            ),
        ),
        permission="models:use",
        hints="O",
        result=message("session_id, message_id, model, content, finish_reason, usage"),
        body="chat",
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "sessions_list_messages",
        "List session messages",
        "Read the messages of one chat session page by page; use it to see what was said so far; "
        "returns role, text, author and time of each message.",
        "GET /v1/sessions/{session_id}/messages",
        (SESSION_ID, *PAGE, ORDER),
        permission="models:use",
        hints="R I",
        result=list_of("Message"),
    ),
    tool(
        "rooms_list",
        "List rooms",
        "List the rooms in which people and bots talk, page by page; use it to find the room for a "
        "message; returns name, members and status of each room.",
        "GET /v1/rooms",
        PAGE,
        permission="models:use",
        hints="R I",
        result=list_of("Room"),
    ),
    tool(
        "rooms_create",
        "Create a room",
        "Open a room in which several people and bots can talk; use it for conversations with more "
        "than one partner, and sessions_create for those with a single model; returns the new "
        "room.",
        "POST /v1/rooms",
        (
            arg("name:str*", "Name of the room, for example Release planning."),
            arg(
                "description:str(≤2000)",
                "What the room is for, up to 2,000 characters; not set when left out.",
            ),
            arg(
                "initial_members:list<{type:enum(user,bot)*, id:id*}>(≤50)",
                "Members besides the caller, at most 50; none when left out.",
                {
                    "type": "Whether the member is a user or a bot.",
                    "id": "Identifier of that user or bot, for example usr_01J8 or bot_01J8.",
                },
            ),
        ),
        permission="models:use",
        hints="",
        result=an("Room"),
    ),
    tool(
        "rooms_get",
        "Get a room",
        "Read one room; use it to see who its members are and which roles they have, and "
        "rooms_list_messages for its messages; returns all of the room's fields.",
        "GET /v1/rooms/{room_id}",
        (ROOM_ID,),
        permission="models:use",
        hints="R I",
        result=an("Room"),
    ),
    tool(
        "rooms_update",
        "Update a room",
        "Change name or description of one room; use it to rename a room, and rooms_add_member or "
        "rooms_remove_member to change who is in it; returns the room as it is now.",
        "PATCH /v1/rooms/{room_id}",
        (
            ROOM_ID,
            arg("name:str", "New name of the room; unchanged when left out."),
            arg(
                "description:str(≤2000)",
                "New description, up to 2,000 characters; unchanged when left out.",
            ),
        ),
        permission="models:use",
        hints="I",
        result=an("Room"),
    ),
    tool(
        "rooms_delete",
        "Delete a room",
        "Delete one room with all its messages for good; use it only when nobody needs the "
        "conversation any more; returns a confirmation with the room's identifier.",
        "DELETE /v1/rooms/{room_id}",
        (ROOM_ID,),
        permission="models:use",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "rooms_add_member",
        "Add a room member",
        "Add a user or a bot to one room; use it to let someone else read and write there; returns "
        "the room with its members.",
        "POST /v1/rooms/{room_id}/members",
        (
            ROOM_ID,
            arg("type:enum(user,bot)*", "Whether the new member is a user or a bot."),
            arg("id:id*", "Identifier of that user or bot, for example usr_01J8 or bot_01J8."),
            arg(
                "role:enum(owner,member,observer)=member",
                "What the member may do: owner manages, member writes, observer only reads; member "
                "when left out.",
            ),
        ),
        permission="models:use",
        hints="I",
        result=an("Room"),
    ),
    tool(
        "rooms_remove_member",
        "Remove a room member",
        "Remove a user or a bot from one room; use it when someone shall no longer take part, as "
        "their messages stay; returns a confirmation with the member's identifier.",
        "DELETE /v1/rooms/{room_id}/members/{member_id}",
        (
            ROOM_ID,
            arg(
                "member_id:id*",
                "Identifier of the user or bot to remove, from the members of rooms_get.",
            ),
        ),
        permission="models:use",
        hints="D I",
        result=DELETED,
    ),
    tool(
        "rooms_send_message",
        "Send a room message",
        "Post a message in one room and wait for the bots in it; use it to talk to all members at "
        "once; returns the posted message and the replies of the room's bots.",
        "POST /v1/rooms/{room_id}/messages",
        (
            ROOM_ID,
            CONTENT,
            arg(
                "reply_to:id",
                "Identifier of the message that this one answers, for example msg_01J8; a new "
                "thread of talk when left out.",
            ),
        ),
        permission="models:use",
        hints="O",
        result=message("room_id, message_id, content, replies"),
        timeout_seconds=MODEL_SECONDS,
    ),
    tool(
        "rooms_list_messages",
        "List room messages",
        "Read the messages of one room page by page; use it to catch up with a conversation; "
        "returns text, author, time and the answered message of each message.",
        "GET /v1/rooms/{room_id}/messages",
        (ROOM_ID, *PAGE, ORDER),
        permission="models:use",
        hints="R I",
        result=list_of("Message"),
    ),
)
