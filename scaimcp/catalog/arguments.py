"""Check the arguments of a call against a tool's input schema.

A schema is compiled once into closures; a check then visits the given arguments, the required
names and the defaults, and nothing else. Only the JSON Schema subset of the catalogue is
understood, so no general validator with references and patterns sits on the path of a call.

Leniency: ``null`` for an optional argument is an absent one, ``5.0`` is an integer, an open map
may come as JSON text in a string. Numbers in strings are refused, booleans are no numbers.

Spec: core-tools 4 and 7.
"""

from __future__ import annotations

import copy
import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from scaimcp.catalog.definition import Rule
from scaimcp.catalog.schemarules import SchemaError, check_input_schema, is_open_map

__all__ = ["MAX_FAULTS", "MAX_MAP_BYTES", "ArgumentCheck", "SchemaError", "compile_arguments"]

MAX_FAULTS = 20
MAX_MAP_BYTES = 16_384
_MAX_NAME = 64
_INT64 = 2**63
_MAP_TOO_LARGE = f"must have at most {MAX_MAP_BYTES:,} bytes as JSON"
_NOT_TEXT = "must be Unicode text without lone surrogates"

# Path below the current value, then the message. Paths grow from the inside out, so that a value
# without faults costs no string at all.
_Fault = tuple[str, str]
_Read = Callable[[Any, list[_Fault]], Any]


class ArgumentCheck:
    """The compiled form of one input schema with the tool's conditions over several arguments."""

    __slots__ = ("_read", "_rules")

    def __init__(self, read: _Read, rules: tuple[Rule, ...]) -> None:
        self._read = read
        self._rules = rules

    def check(self, raw: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """Return the cleaned arguments and all faults.

        The arguments are meaningful only when there are no faults. `raw` is not changed; open
        maps are shared with it. A fault is ``{"field": "messages[0].role", "message": "must be
        one of …"}`` and never repeats a value. At most `MAX_FAULTS` are returned, and work stops
        there.
        """
        faults: list[_Fault] = []
        arguments: dict[str, Any] = self._read(raw, faults)
        for rule in self._rules:
            _apply_rule(rule, arguments, faults)
        if not faults:
            return arguments, []
        return arguments, [{"field": path, "message": text} for path, text in faults[:MAX_FAULTS]]


def compile_arguments(schema: Mapping[str, Any], rules: Sequence[Rule] = ()) -> ArgumentCheck:
    """Compile one tool's input schema, a closed object in the canonical dialect.

    Args:
        schema: what the tool publishes.
        rules: conditions over several top-level arguments, which no schema expresses.

    Raises:
        SchemaError: the schema is not in the subset; no other exception, whatever its author
            wrote.
    """
    check_input_schema(schema)
    return ArgumentCheck(_record(schema), tuple(rules))


def _compile(schema: Mapping[str, Any]) -> _Read:
    """Return the reader of one value; the schema is known to be in the subset."""
    return _COMPILERS[schema["type"]](schema)


def _object(schema: Mapping[str, Any]) -> _Read:
    return _open_map(schema["maxProperties"]) if is_open_map(schema) else _record(schema)


def _record(schema: Mapping[str, Any]) -> _Read:
    return _Record(schema.get("properties", {}), tuple(schema.get("required", ()))).read


class _Record:
    """The reader of a closed object."""

    __slots__ = ("_defaults", "_members", "_required")

    def __init__(
        self, properties: Mapping[str, Mapping[str, Any]], required: tuple[str, ...]
    ) -> None:
        self._members = {name: _compile(member) for name, member in properties.items()}
        self._required = required
        self._defaults = tuple(
            (name, member["default"])
            for name, member in properties.items()
            if "default" in member and name not in required
        )
        for name, default in self._defaults:
            faults: list[_Fault] = []
            self._members[name](default, faults)
            if faults:
                raise SchemaError(f"the default of {name} {faults[0][1]}")

    def read(self, value: Any, faults: list[_Fault]) -> Any:
        """Return the cleaned object, or what was given when it is none."""
        if not isinstance(value, dict):
            faults.append(("", "must be an object"))
            return value
        found: dict[str, Any] = {}
        for name, given in value.items():
            read = self._members.get(name)
            if read is None:
                faults.append((_shown(name), _unknown(name, self._members)))
            elif given is not None:
                count = len(faults)
                found[name] = read(given, faults)
                if len(faults) != count:
                    _prefix(faults, count, name)
            if len(faults) >= MAX_FAULTS:
                return found
        self._complete(found, faults)
        return found

    def _complete(self, found: dict[str, Any], faults: list[_Fault]) -> None:
        """Report what is missing and fill in the defaults."""
        faults.extend((name, "is required") for name in self._required if name not in found)
        for name, default in self._defaults:
            if name not in found:
                is_shared = isinstance(default, (str, int, float))
                found[name] = default if is_shared else copy.deepcopy(default)


def _array(schema: Mapping[str, Any]) -> _Read:
    """Return the reader of a list."""
    item = _compile(schema["items"])
    low, high = schema.get("minItems", 0), schema["maxItems"]
    wrong_size = f"must have {_between(low, high)} items"

    def read(value: Any, faults: list[_Fault]) -> Any:
        if not isinstance(value, list):
            faults.append(("", "must be a list"))
            return value
        if not low <= len(value) <= high:
            faults.append(("", wrong_size))
            return value
        found = []
        for index, given in enumerate(value):
            count = len(faults)
            found.append(item(given, faults))
            if len(faults) != count:
                _prefix(faults, count, f"[{index}]")
                if len(faults) >= MAX_FAULTS:
                    break
        return found

    return read


def _string(schema: Mapping[str, Any]) -> _Read:
    """Return the reader of a string, free or out of an enumeration."""
    if "enum" in schema:
        return _enum(schema["enum"])
    low, high = schema.get("minLength", 0), schema["maxLength"]
    wrong_size = f"must have {_between(low, high)} characters"

    def read(value: Any, faults: list[_Fault]) -> Any:
        if not isinstance(value, str):
            faults.append(("", "must be a string"))
        elif not low <= len(value) <= high:
            faults.append(("", wrong_size))
        elif not value.isascii() and not _is_text(value):
            faults.append(("", _NOT_TEXT))
        return value

    return read


def _enum(values: Sequence[str]) -> _Read:
    allowed = frozenset(values)
    refusal = f"must be one of {', '.join(values)}"

    def read(value: Any, faults: list[_Fault]) -> Any:
        if not isinstance(value, str) or value not in allowed:
            faults.append(("", refusal))
        return value

    return read


def _integer(schema: Mapping[str, Any]) -> _Read:
    low, high = schema.get("minimum", -_INT64), schema.get("maximum", _INT64 - 1)
    out_of_range = f"must be {_between(low, high, -_INT64, _INT64 - 1)}"

    def read(value: Any, faults: list[_Fault]) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            faults.append(("", "must be an integer"))
        elif not -_INT64 <= value < _INT64:
            faults.append(("", "must fit into 64 bits"))
        elif not low <= value <= high:
            faults.append(("", out_of_range))
        return value

    return read


def _number(schema: Mapping[str, Any]) -> _Read:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    out_of_range = f"must be {_between(low, high, -math.inf) or 'finite'}"

    def read(value: Any, faults: list[_Fault]) -> Any:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            faults.append(("", "must be a number"))
        elif not low <= value <= high or value in (math.inf, -math.inf):
            faults.append(("", out_of_range))
        return value

    return read


def _boolean(_schema: Mapping[str, Any]) -> _Read:
    def read(value: Any, faults: list[_Fault]) -> Any:
        if not isinstance(value, bool):
            faults.append(("", "must be true or false"))
        return value

    return read


def _open_map(high: int) -> _Read:
    """Return the reader of an open object, also given as JSON text."""
    too_many = f"must have at most {high} members"

    def read(value: Any, faults: list[_Fault]) -> Any:
        if isinstance(value, str):
            value, fault = _decode_map(value)
            if fault:
                faults.append(("", fault))
                return value
        if not isinstance(value, dict):
            faults.append(("", "must be an object, or JSON text of one"))
        elif len(value) > high:
            faults.append(("", too_many))
        elif fault := _map_fault(value):
            faults.append(("", fault))
        return value

    return read


def _decode_map(text: str) -> tuple[Any, str]:
    """Return the value of JSON text and "", or the text and why it cannot be read."""
    if len(text) > MAX_MAP_BYTES:
        return text, _MAP_TOO_LARGE
    try:
        return msgspec.json.decode(text), ""
    except (msgspec.DecodeError, UnicodeError):
        return text, "must be an object, or JSON text of one"
    except RecursionError:
        return text, "is nested too deeply"


def _map_fault(value: dict[str, Any]) -> str:
    """Return what is wrong with an open map's size or text, or ""."""
    try:
        size = len(msgspec.json.encode(value))
    except UnicodeError:
        return _NOT_TEXT
    except RecursionError:
        return "is nested too deeply"
    return _MAP_TOO_LARGE if size > MAX_MAP_BYTES else ""


def _is_text(value: str) -> bool:
    """Tell whether `value` has no lone surrogates, which no encoder accepts."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _apply_rule(rule: Rule, arguments: Mapping[str, Any], faults: list[_Fault]) -> None:
    given = sum(name in arguments for name in rule.arguments)
    if given == 1 or (given and rule.kind == "at_least_one"):
        return
    wording = "exactly" if rule.kind == "exactly_one" else "at least"
    message = f"{wording} one of {', '.join(rule.arguments)} must be given"
    faults.extend((name, message) for name in rule.arguments)


def _prefix(faults: list[_Fault], start: int, name: str) -> None:
    """Put `name` in front of the paths of the faults from `start` on."""
    for index in range(start, len(faults)):
        path, message = faults[index]
        mark = "." if path and not path.startswith("[") else ""
        faults[index] = (f"{name}{mark}{path}", message)


def _shown(name: str) -> str:
    """Return a foreign name in a form that can be sent back."""
    clean = name[:_MAX_NAME].encode("utf-8", "replace").decode()
    return "".join(mark if mark.isprintable() else "?" for mark in clean)


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    """Say that an argument is unknown, with up to three similar known ones."""
    if not known:
        return "is not an argument; none are taken"
    similar = difflib.get_close_matches(name[:_MAX_NAME], known, n=3)
    if similar:
        return f"is not an argument; similar: {', '.join(similar)}"
    return f"is not an argument; known: {', '.join(known)}"


def _between(low: float, high: float, lowest: float = 0, highest: float = math.inf) -> str:
    """Word a range; "" when it has no bounds of its own."""
    if low <= lowest:
        return "" if high >= highest else f"at most {high}"
    return f"at least {low}" if high >= highest else f"{low} to {high}"


_COMPILERS: Mapping[str, Callable[[Mapping[str, Any]], _Read]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
}
