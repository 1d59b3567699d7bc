"""Sessions: conversations the platform keeps, with one model each. Spec: scaigrid 10."""

from collections.abc import Iterable
from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.errors import PlatformError, conflict, not_found, refuse
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.inference import complete, find_model, may_use
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row, TableSpec

SESSION_FIELDS = fields("model:str*, title:str(<=200), system_prompt:text, metadata:map")
CHANGES = SESSION_FIELDS.partial("model") + fields("status:enum(active,closed)")
SEE_ALL = "accounting:view_tenant"
ORDERED_PAGE = fields("@page, order:enum(asc,desc)=asc")
show_message = view("id role content author_type author_id model usage reply_to created_at")
_session = view(
    "id model title system_prompt metadata status message_count user_id created_at updated_at"
)


def check_chat_model(call: Call, name: str, field: str = "model") -> str:
    """Return the slug of a chat model the caller may use, whether or not it answers right now.

    Args:
        call: the request.
        name: slug or id.
        field: what a fault names.

    Raises:
        PlatformError: `MODEL_NOT_FOUND`, `MODEL_ACCESS_DENIED`, `VALIDATION_ERROR` for a model of
            another modality.
    """
    model = find_model(call, name)
    base = find_model(call, model["base_slug"]) if "base_slug" in model else model
    if not may_use(call, base):
        raise PlatformError("MODEL_ACCESS_DENIED", f"Access to the model {name} is denied.")
    if base["modality"] != "chat":
        refuse(field, f"is of modality {base['modality']}, not chat")
    return str(model["slug"])


def messages_of(call: Call, parent_id: str) -> list[Row]:
    """Return the messages of a session or room, oldest first."""
    return call.table("messages").find(parent_id=parent_id)


def list_messages_of(call: Call, parent_id: str) -> Reply:
    """Answer a page of messages in the order the query asks for."""
    newest_first = call.query["order"] == "desc"
    return shape_a(call, messages_of(call, parent_id), show_message, newest_first=newest_first)


def add_message(call: Call, parent_id: str, message: Row) -> Row:
    """Store one message of a session or room."""
    absent: Row = {"model": None, "usage": None, "reply_to": None}
    return call.table("messages").insert({"parent_id": parent_id, **absent, **message})


def delete_messages(call: Call, parent_id: str) -> None:
    """Remove every message of a session or room."""
    for row in messages_of(call, parent_id):
        call.table("messages").delete(row["id"])


def _show(call: Call, row: Row) -> Row:
    return _session({**row, "message_count": len(messages_of(call, row["id"]))})


def _readable(call: Call) -> Row:
    """Return a session of the caller or, for those who see the whole tenant, of anyone in it."""
    row = call.find("sessions", call.params["session_id"], "SESSION")
    if row["user_id"] != call.user_id and not call.holds(SEE_ALL):
        raise not_found("SESSION")
    return row


def _own(call: Call) -> Row:
    return call.own("sessions", call.params["session_id"], "SESSION")


def list_sessions(call: Call) -> Reply:
    """List the caller's sessions, or the tenant's."""
    wanted = {name: call.query[name] for name in ("status",) if name in call.query}
    if call.query["scope"] == "tenant":
        call.require(SEE_ALL)
    else:
        wanted["user_id"] = call.user_id
    return shape_a(call, call.rows("sessions", **wanted), lambda row: _show(call, row))


def create_session(call: Call) -> Row:
    """Open a session."""
    tenant_id = call.tenant_id
    row: Row = {
        "title": None,
        "system_prompt": None,
        "metadata": {},
        **call.body,
        "model": check_chat_model(call, call.body["model"]),
        "status": "active",
        "tenant_id": tenant_id,
        "user_id": call.user_id,
        "updated_at": call.now(),
    }
    return _show(call, call.created("sessions", row))


def get_session(call: Call) -> Row:
    """Return one session."""
    return _show(call, _readable(call))


def update_session(call: Call) -> Row:
    """Change the given fields; a closed session may be opened again."""
    changes = {**call.body, "updated_at": call.now()}
    return _show(call, call.table("sessions").update(_own(call)["id"], changes))


def delete_session(call: Call) -> None:
    """Remove a session with its messages."""
    row = _own(call)
    delete_messages(call, row["id"])
    call.table("sessions").delete(row["id"])


def list_messages(call: Call) -> Reply:
    """List the messages of a session."""
    return list_messages_of(call, _readable(call)["id"])


def refuse_streaming(body: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Find fault with a request for a stream."""
    if body["stream"]:
        yield "stream", "is not offered here: only whole answers are"


async def send(call: Call) -> Row:
    """Let the model answer; a question that fails leaves no trace in the session."""
    session = _open(call)
    content = call.body["content"]
    prompt = session["system_prompt"]
    turn = [{"role": "system", "content": prompt}] if prompt else []
    turn += [{"role": m["role"], "content": m["content"]} for m in messages_of(call, session["id"])]
    turn.append({"role": "user", "content": content})
    options = {name: call.body[name] for name in ("max_tokens",) if name in call.body}
    done = await complete(call, session["model"], turn, options)
    # Meanwhile it may have been closed or removed.
    session = _open(call)
    asked = {"role": "user", "content": content, "author_type": "user", "author_id": call.user_id}
    question = add_message(call, session["id"], asked)
    answer = add_message(
        call,
        session["id"],
        {
            "role": "assistant",
            "content": done.message.get("content") or "",
            "author_type": "model",
            "author_id": done.model,
            "model": done.model,
            "usage": done.usage,
            "reply_to": question["id"],
        },
    )
    call.table("sessions").update(session["id"], {"updated_at": call.now()})
    return {
        "message": show_message(answer),
        "model": done.model,
        "finish_reason": done.finish_reason,
        "usage": done.usage,
    }


def _open(call: Call) -> Row:
    row = _own(call)
    if row["status"] == "closed":
        raise conflict("The session is closed.", "SESSION_CLOSED")
    return row


SESSIONS, SESSION, USE = "/v1/sessions", "/v1/sessions/{session_id}", "models:use"

FAMILY = Family(
    tables=(TableSpec("sessions", "ses_", ("user_id", "tenant_id")),),
    endpoints=(
        Endpoint(
            "GET",
            SESSIONS,
            USE,
            list_sessions,
            query=fields("@page, status:enum(active,closed), scope:enum(own,tenant)=own"),
        ),
        Endpoint(
            "POST",
            SESSIONS,
            USE,
            create_session,
            body=json_body(SESSION_FIELDS),
            audit="session.create",
        ),
        Endpoint("GET", SESSION, USE, get_session),
        Endpoint(
            "PATCH", SESSION, USE, update_session, body=json_body(CHANGES), audit="session.update"
        ),
        Endpoint("DELETE", SESSION, USE, delete_session, audit="session.delete"),
        Endpoint("GET", f"{SESSION}/messages", USE, list_messages, query=ORDERED_PAGE),
        Endpoint(
            "POST",
            f"{SESSION}/messages",
            USE,
            send,
            body=json_body(
                "content:text*, stream:bool=false, max_tokens:int(>=1)", refuse_streaming
            ),
            audit="session.message_create",
        ),
    ),
)
