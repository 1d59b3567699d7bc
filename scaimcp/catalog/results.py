"""Constructors for `Result`: the shapes that tools answer with.

Field descriptions come from the glossary (`scaimcp.catalog.glossary`): an object's own
entry first, then the shared one. Spec: core-tools 6, scaigrid 9.
"""

from __future__ import annotations

from scaimcp.catalog.definition import Result
from scaimcp.catalog.glossary import FIELDS, OBJECTS

_LIST_FIELDS = ("items", "has_more", "next_cursor", "total_count")
_LIST_TYPES = (
    ("items", "array"),
    ("has_more", "boolean"),
    ("next_cursor", "string"),
    ("total_count", "integer"),
)
_USAGE_TYPES = (("content", "string"), ("usage", "object"), ("finish_reason", "string"))


def _describe(names: str, owner: str = "") -> tuple[tuple[str, str], ...]:
    own = OBJECTS.get(owner, {})
    fields = [name.strip().rstrip("?") for name in names.split(",") if name.strip()]
    return tuple((field, own.get(field) or FIELDS[field]) for field in fields)


def an(owner: str, more: str = "") -> Result:
    """The fields of object `owner` (scaigrid 9), then the comma-separated names in `more`."""
    return Result("object", tuple(OBJECTS[owner].items()) + _describe(more))


def fields(
    names: str,
    *,
    long_text: tuple[str, ...] = (),
    otherwise: tuple[tuple[str, str], ...] = (),
) -> Result:
    """Comma-separated top-level names from the shared glossary, in their published order."""
    return Result("object", _describe(names), long_text=long_text, otherwise=otherwise)


def list_of(owner: str, more: str = "") -> Result:
    """A page ``{items, has_more, next_cursor?, total_count?}`` of `owner`.

    `owner` only words the description of ``items``: an object's name or a phrase.
    """
    described = dict(_describe(",".join(_LIST_FIELDS) + ("," + more if more else "")))
    columns = ", ".join(OBJECTS[owner]) if owner in OBJECTS else ""
    described["items"] = f"{owner} rows: {columns}." if columns else f"Rows: {owner}."
    return Result("list", tuple(described.items()), ("items", "has_more"), _LIST_TYPES)


DELETED = Result(
    "deleted",
    (("deleted", FIELDS["deleted"]), ("id", "Identifier that was given for what is now deleted.")),
    ("deleted",),
    (("deleted", "boolean"), ("id", "string")),
)


def chat(names: str) -> Result:
    """A flat chat answer, from ``choices`` or ``text``; ``content`` is always a string."""
    return Result("chat", _describe(names), ("content",), _USAGE_TYPES, ("content",))


def message(names: str) -> Result:
    """A flat answer to a posted message, from ``data.message``."""
    return Result("message", _describe(names), ("content",), _USAGE_TYPES, ("content",))


EMBEDDINGS = Result(
    "embeddings",
    _describe("model, dimensions, embeddings, usage"),
    ("dimensions", "embeddings"),
    (("dimensions", "integer"), ("embeddings", "array"), ("usage", "object")),
)
IMAGES = Result("images", _describe("model, images"), ("images",), (("images", "array"),))


def audio(names: str, *, is_json: bool = False) -> Result:
    """Speech: metadata and one audio block, or base64 in the JSON; `is_json`: base64 comes in."""
    return Result(
        "audio_json" if is_json else "audio",
        _describe(names),
        ("mime_type", "size_bytes"),
        (("mime_type", "string"), ("size_bytes", "integer")),
    )


EXPORT = Result(
    "export",
    _describe("format, content, size_bytes"),
    ("format", "content", "size_bytes"),
    (("format", "string"), ("content", "string"), ("size_bytes", "integer")),
    ("content",),
)


def gateway(names: str, always: tuple[str, ...] = ()) -> Result:
    """An answer that the gateway itself makes."""
    return Result("gateway", _describe(names), always)
