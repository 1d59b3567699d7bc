"""JSON Schema and annotations of a tool, in the plain subset that every client takes. Pure.

No ``$ref``, ``anyOf`` or ``oneOf``; every property has a description. Spec: scaivault 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scaimcp.scaivault.paths import MOST_CHARS
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.shapes import (
    Boolean,
    Enum,
    Form,
    GlobMap,
    Integer,
    Many,
    Member,
    Numbers,
    Open,
    Record,
    Shape,
    Text,
)
from scaimcp.scaivault.values import FORMS

_HINTS = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
Schema = dict[str, Any]


def input_schema(record: ToolRecord) -> Schema:
    """Return the schema of a tool's arguments."""
    return _members(record.arguments, is_closed=True)


def hints_of(record: ToolRecord) -> dict[str, bool]:
    """Return the four hints, all of them always."""
    return {name: digit == "1" for name, digit in zip(_HINTS, record.hints, strict=True)}


def _members(members: tuple[Member, ...], *, is_closed: bool) -> Schema:
    schema: Schema = {"type": "object", "properties": {m.name: _member(m) for m in members}}
    required = [member.name for member in members if member.is_required]
    if required:
        schema["required"] = required
    if is_closed:
        schema["additionalProperties"] = False
    return schema


def _member(member: Member) -> Schema:
    schema = {**_shape(member.shape), "description": member.description}
    if member.default is not None:
        schema["default"] = member.default
    return schema


def _shape(shape: Shape) -> Schema:
    return _WRITERS[type(shape)](shape)


def _text(shape: Text) -> Schema:
    least: Schema = {"minLength": shape.least} if shape.least else {}
    return {"type": "string", **least, "maxLength": shape.most}


def _form(shape: Form) -> Schema:
    rule = FORMS[shape.form]
    schema: Schema = {"type": "string", "maxLength": rule.most}
    if rule.pattern:
        schema["pattern"] = rule.pattern
    return schema


def _integer(shape: Integer) -> Schema:
    most: Schema = {"maximum": shape.most} if shape.most is not None else {}
    return {"type": "integer", "minimum": shape.least, **most}


def _many(shape: Many) -> Schema:
    least: Schema = {"minItems": shape.least} if shape.least else {}
    return {"type": "array", "items": _shape(shape.item), **least, "maxItems": shape.most}


def _open(shape: Open) -> Schema:
    schema: Schema = {"type": "object", "additionalProperties": True}
    if shape.least:
        schema["minProperties"] = shape.least
    if shape.most is not None:
        schema["maxProperties"] = shape.most
    return schema


def _glob_map(shape: GlobMap) -> Schema:
    return {
        "type": "object",
        "minProperties": shape.least,
        "maxProperties": shape.most,
        "propertyNames": {"maxLength": MOST_CHARS},
        "additionalProperties": {"type": "string", "maxLength": shape.most_chars},
    }


_WRITERS: dict[type[Any], Callable[[Any], Schema]] = {
    Text: _text,
    Form: _form,
    Enum: lambda shape: {"type": "string", "enum": list(shape.values)},
    Numbers: lambda shape: {"type": "integer", "enum": list(shape.values)},
    Integer: _integer,
    Boolean: lambda _: {"type": "boolean"},
    Many: _many,
    Record: lambda shape: _members(shape.members, is_closed=not shape.takes_scalars),
    Open: _open,
    GlobMap: _glob_map,
}
