"""The catalogue's notation for arguments, turned into JSON Schema.

One argument is written as in the tool tables: ``model:str*``, ``limit:int(1–100)=25``,
``roles:list<enum(a,b)>(≤6)*``, ``members:list<{type:enum(user,bot)*, id:id*}>(≤50)``.

======== =========================================================================
``str``   1–256 characters, ``text`` 1–65,536, ``id`` 1–128, ``ts`` 10–40, ``money`` 1–32
``int``   integer, ``num`` number, ``bool`` boolean; ranges ``(1–5)``, ``(≥1)``, ``(≤9)``
``enum``  ``enum(a,b)``, strings only
``map``   open object of at most 64 members
``list``  ``list<T>(n–m)``; ``{a:T*, b:T}`` is a closed object
``*``     required; ``=x`` the default that the gateway sends
======== =========================================================================

Spec: core-tools, "Reading a row", and section 4.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_LENGTHS = {"str": (1, 256), "text": (1, 65_536), "id": (1, 128), "ts": (10, 40), "money": (1, 32)}
_RANGE = re.compile(r"\(([^()]*)\)")
_HEAD = re.compile(r"\s*([a-z][a-z0-9_]*)\s*:\s*")
_WORD = re.compile(r"[a-z]+")
MAP_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "maxProperties": 64,
    "additionalProperties": True,
}


class Argument(msgspec.Struct, frozen=True):
    """One argument; ``kind`` is the notation's type word (``id``, ``text``, ``map`` …)."""

    name: str
    kind: str
    schema: dict[str, Any]
    is_required: bool


class NotationError(ValueError):
    """A line of the catalogue that cannot be read; raised at import, never while serving."""


class _Reader:
    """A cursor over one line of notation."""

    def __init__(self, text: str, descriptions: Mapping[str, str]) -> None:
        self.text = text
        self.at = 0
        self.descriptions = descriptions

    def take(self, mark: str) -> bool:
        """Step over `mark` if it is next."""
        if self.text.startswith(mark, self.at):
            self.at += len(mark)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> str:
        """Step over what `pattern` matches here and return it, or fail."""
        found = pattern.match(self.text, self.at)
        if found is None:
            raise NotationError(f"cannot read {self.text!r} at {self.at}")
        self.at = found.end()
        return found.group(found.lastindex or 0)

    def range(self) -> tuple[float | None, float | None]:
        """Read ``(a–b)``, ``(≥a)``, ``(≤b)``; (None, None) when there is none."""
        found = _RANGE.match(self.text, self.at)
        if found is None:
            return None, None
        self.at = found.end()
        body = found[1]
        if body.startswith("≥"):
            return _number(body[1:]), None
        if body.startswith("≤"):
            return None, _number(body[1:])
        low, _, high = body.partition("–")
        return _number(low), _number(high)

    def argument(self, prefix: str) -> Argument:
        """Read ``name:type[*][=default]``."""
        name = self.match(_HEAD)
        path = f"{prefix}{name}"
        kind, schema = self.type(path)
        is_required = self.take("*")
        if self.take("="):
            schema["default"] = self.default(schema["type"])
        description = self.descriptions.get(path)
        if description is None:
            raise NotationError(f"no description for {path!r} in {self.text!r}")
        ordered = {"type": schema.pop("type"), "description": description, **schema}
        return Argument(name, kind, ordered, is_required)

    def type(self, path: str) -> tuple[str, dict[str, Any]]:
        """Read one type and return its word and JSON Schema."""
        if self.take("{"):
            return "object", self.record(path)
        word = self.match(_WORD)
        if word == "list":
            return word, self.list(path)
        if word == "enum":
            values = self.match(_RANGE).split(",")
            return word, {"type": "string", "enum": [value.strip() for value in values]}
        if word == "map":
            return word, dict(MAP_SCHEMA)
        if word == "bool":
            return word, {"type": "boolean"}
        low, high = self.range()
        if word in ("int", "num"):
            schema: dict[str, Any] = {"type": "integer" if word == "int" else "number"}
            return word, schema | _bounds("minimum", low, "maximum", high)
        if word not in _LENGTHS:
            raise NotationError(f"unknown type {word!r} in {self.text!r}")
        if (low, high) == (None, None):
            low, high = _LENGTHS[word]
        return word, {"type": "string"} | _bounds("minLength", low, "maxLength", high)

    def list(self, path: str) -> dict[str, Any]:
        """Read ``<T>(n–m)`` behind the word ``list``."""
        if not self.take("<"):
            raise NotationError(f"list without <type> in {self.text!r}")
        _, items = self.type(path)
        if not self.take(">"):
            raise NotationError(f"list without > in {self.text!r}")
        low, high = self.range()
        return {"type": "array", "items": items} | _bounds("minItems", low, "maxItems", high)

    def record(self, path: str) -> dict[str, Any]:
        """Read ``a:T*, b:T}`` and return a closed object."""
        fields = [self.argument(f"{path}.")]
        while self.take(","):
            fields.append(self.argument(f"{path}."))
        if not self.take("}"):
            raise NotationError(f"object without }} in {self.text!r}")
        return object_schema(fields)

    def default(self, type_: str) -> Any:
        """Read the default behind ``=``."""
        word = self.match(re.compile(r"[^,}\s]+"))
        return word if type_ == "string" else msgspec.json.decode(word)


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def _bounds(low_key: str, low: float | None, high_key: str, high: float | None) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    if low is not None:
        bounds[low_key] = low
    if high is not None:
        bounds[high_key] = high
    return bounds


def object_schema(fields: list[Argument] | tuple[Argument, ...]) -> dict[str, Any]:
    """Return the closed object schema of `fields`; ``required`` is left out when empty."""
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field.name: field.schema for field in fields},
    }
    required = [field.name for field in fields if field.is_required]
    if required:
        schema["required"] = required
    schema["additionalProperties"] = False
    return schema


def arg(notation: str, description: str, nested: Mapping[str, str] | None = None) -> Argument:
    """Read one argument of the catalogue.

    Args:
        notation: for example ``messages:list<{role:enum(user)*, content:text*}>(1–256)*``.
        description: published text of the argument, 10–200 characters.
        nested: descriptions of the members of nested objects, by member name.

    Raises:
        NotationError: the line cannot be read, or a nested member has no description.
    """
    name = notation.partition(":")[0]
    descriptions = {name: description}
    for member, text in (nested or {}).items():
        descriptions[f"{name}.{member}"] = text
    reader = _Reader(notation, descriptions)
    argument = reader.argument("")
    if reader.at != len(notation):
        raise NotationError(f"trailing text in {notation!r} at {reader.at}")
    return argument
