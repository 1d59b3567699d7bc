"""The module `demo-notes`, known to MCP clients by its manifest alone. Spec: core-tools 9."""

from typing import Any

from scaimcp.dev.platform.call import Call
from scaimcp.dev.platform.endpoint import Endpoint, Family, Reply, json_body
from scaimcp.dev.platform.fields import fields
from scaimcp.dev.platform.pages import shape_a, view
from scaimcp.dev.platform.store import Row, TableSpec

MODULE_ID = "demo-notes"
READ, WRITE = "demo-notes:notes.read", "demo-notes:notes.write"
_note = view("id title body created_by created_at")
READ_ONLY = {
    "readOnlyHint": True,
    "destructiveHint": False,
    "idempotentHint": True,
    "openWorldHint": False,
}
TOOLS: list[dict[str, Any]] = [
    {
        "name": "demo_notes_list",
        "title": "List demo notes",
        "description": "List the tenant's notes, oldest first, page by page; use it to find the id"
        " of a note before reading it; returns id, title, body and creation time of each note.",
        "input_schema": {
            "type": "object",
            "properties": {
                "limit": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 100,
                    "description": "Largest number of notes on one page; 50 when absent.",
                },
                "cursor": {
                    "type": "string",
                    "maxLength": 512,
                    "description": "The next_cursor of the page before; absent for the first page.",
                },
            },
            "additionalProperties": False,
        },
        "required_permission": READ,
        "annotations": READ_ONLY,
        "request": {"method": "GET", "path": "/notes", "query": ["limit", "cursor"]},
        "result": "list",
    },
    {
        "name": "demo_notes_get",
        "title": "Read a demo note",
        "description": "Read one note by its id; use it after demo_notes_list or demo_notes_create"
        " when the whole text is needed; returns title, body, author and creation time.",
        "input_schema": {
            "type": "object",
            "properties": {
                "note_id": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 128,
                    "description": "Id of the note, as demo_notes_list returns it.",
                }
            },
            "required": ["note_id"],
            "additionalProperties": False,
        },
        "required_permission": READ,
        "annotations": READ_ONLY,
        "request": {"method": "GET", "path": "/notes/{note_id}"},
        "result": "object",
    },
    {
        "name": "demo_notes_create",
        "title": "Write a demo note",
        "description": "Write a new note for the whole tenant; use it when something has to be kept"
        " for later readers; returns the stored note with its id.",
        "input_schema": {
            "type": "object",
            "properties": {
                "title": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 256,
                    "description": "Short heading of the note, one line.",
                },
                "body": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 65536,
                    "description": "Text of the note; absent for a note that is only a heading.",
                },
            },
            "required": ["title"],
            "additionalProperties": False,
        },
        "required_permission": WRITE,
        "annotations": {
            "readOnlyHint": False,
            "destructiveHint": False,
            "idempotentHint": False,
            "openWorldHint": False,
        },
        "request": {"method": "POST", "path": "/notes"},
        "result": "object",
    },
]


def list_notes(call: Call) -> Reply:
    """List the tenant's notes."""
    return shape_a(call, call.rows("notes"), _note)


def create_note(call: Call) -> object:
    """Write a note."""
    row: Row = {"body": "", **call.body, "tenant_id": call.tenant_id, "created_by": call.user_id}
    return _note(call.created("notes", row))


def get_note(call: Call) -> object:
    """Return one note."""
    return _note(call.find("notes", call.params["note_id"], "NOTE"))


FAMILY = Family(
    tables=(TableSpec("notes", "note_", ("tenant_id",)),),
    endpoints=(
        Endpoint("GET", "/notes", READ, list_notes, module=MODULE_ID, query=fields("@page")),
        Endpoint(
            "POST",
            "/notes",
            WRITE,
            create_note,
            module=MODULE_ID,
            body=json_body("title:str*, body:text"),
            audit="demo-notes.note.create",
        ),
        Endpoint("GET", "/notes/{note_id}", READ, get_note, module=MODULE_ID),
    ),
)
