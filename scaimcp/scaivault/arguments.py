"""Read and check the arguments of a call, before anything is sent. Pure.

Nothing is coerced: ``"50"`` is no integer and ``true`` is none either. Spec: scaivault 1
(cross-field rules), 2.2 (steps 3 and 4), 10.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from scaimcp.jsontext import depth_exceeds
from scaimcp.scaivault.crossing import cross_faults
from scaimcp.scaivault.errors import MARKER, invalid_arguments, invalid_path, marker_refused
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
from scaimcp.scaivault.values import FORMS, PATH_FORMS

Fault = tuple[str, str]
_MOST_DEPTH = 32
_encode = msgspec.json.encode


def read_arguments(record: ToolRecord, arguments: bytes) -> dict[str, Any]:
    """Return the arguments of a call, with the defaults of those that were left out.

    Args:
        record: the tool.
        arguments: JSON as the client sent it; b"" and ``null`` for none.

    Raises:
        VaultError: INVALID_ARGUMENTS, MASK_MARKER_REFUSED or INVALID_PATH, in this order.
    """
    given = _object(arguments)
    found = list(_member_faults(record.arguments, given, ""))
    if found:
        raise invalid_arguments(found)
    if _holds_marker(given):
        raise marker_refused()
    complete = _completed(record.arguments, given)
    crossed = cross_faults(record, complete, given)
    if crossed:
        raise invalid_arguments(crossed)
    for name in _bad_paths(record.arguments, given, ""):
        raise invalid_path(name)
    return complete


def _object(arguments: bytes) -> dict[str, Any]:
    if not arguments.strip() or arguments.strip() == b"null":
        return {}
    if depth_exceeds(arguments, _MOST_DEPTH):
        raise invalid_arguments([("arguments", "nested too deep")])
    try:
        given = json.loads(
            arguments, object_pairs_hook=_once, parse_constant=_refused, parse_float=_finite
        )
        # Half of a surrogate pair decodes, but can be sent nowhere.
        _encode(given)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise invalid_arguments([("arguments", "must be one JSON object")])
    return given


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; of two members with one name, a guard and ScaiVault might each see one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member is given twice")
    return found


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(digits: str) -> float:
    """Return a number; one too large for a double would be sent on as null."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError("too large")
    return number


def _completed(members: tuple[Member, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Return the members that were given or have a default, in published order."""
    complete: dict[str, Any] = {}
    for member in members:
        if member.name in given:
            complete[member.name] = _filled(member.shape, given[member.name])
        elif member.default is not None:
            complete[member.name] = member.default
    return complete


def _filled(shape: Shape, value: Any) -> Any:
    if not isinstance(shape, Record):
        return value
    return {**value, **_completed(shape.members, value)}


def _holds_marker(value: Any) -> bool:
    if isinstance(value, str):
        return MARKER in value
    if isinstance(value, dict):
        return any(MARKER in key or _holds_marker(inner) for key, inner in value.items())
    return isinstance(value, list) and any(_holds_marker(inner) for inner in value)


# -- faults of shape -----------------------------------------------------------------------------


def _member_faults(
    members: tuple[Member, ...], given: dict[str, Any], at: str, *, takes_scalars: bool = False
) -> Iterator[Fault]:
    known = {member.name: member for member in members}
    for name, value in given.items():
        member = known.get(name)
        if member is not None:
            yield from _faults(member.shape, value, at + name)
        elif not takes_scalars:
            yield _shown(at + name), "is not known"
        elif not _is_scalar(value):
            yield _shown(at + name), "must be a string, a number or a boolean"
    for member in members:
        if member.is_required and member.name not in given:
            yield at + member.name, "is required"


def _shown(name: str) -> str:
    """Return a name of the client's own, short enough for a message."""
    return name[:64]


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str | int | float) or value is None


def _faults(shape: Shape, value: Any, at: str) -> Iterator[Fault]:
    return _CHECKS[type(shape)](shape, value, at)


def _text(shape: Text, value: Any, at: str) -> Iterator[Fault]:
    if not isinstance(value, str) or not shape.least <= len(value) <= shape.most:
        yield at, f"must be a string of {shape.least} to {shape.most} characters"


def _form(shape: Form, value: Any, at: str) -> Iterator[Fault]:
    rule = FORMS[shape.form]
    # Paths have a step and a code of their own.
    if isinstance(value, str) and shape.form in PATH_FORMS:
        return
    if not isinstance(value, str) or len(value) > rule.most or not rule.fits(value):
        yield at, f"must be {rule.words}"


def _enum(shape: Enum, value: Any, at: str) -> Iterator[Fault]:
    if value not in shape.values:
        yield at, f"must be one of {', '.join(shape.values)}"


def _numbers(shape: Numbers, value: Any, at: str) -> Iterator[Fault]:
    if not _is_integer(value) or value not in shape.values:
        yield at, f"must be one of {', '.join(map(str, shape.values))}"


def _integer(shape: Integer, value: Any, at: str) -> Iterator[Fault]:
    most = value if shape.most is None and _is_integer(value) else shape.most
    if not _is_integer(value) or not shape.least <= value <= most:
        words = f" to {shape.most}" if shape.most is not None else ""
        yield at, f"must be an integer from {shape.least}{words}"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _boolean(_: Boolean, value: Any, at: str) -> Iterator[Fault]:
    if not isinstance(value, bool):
        yield at, "must be true or false"


def _many(shape: Many, value: Any, at: str) -> Iterator[Fault]:
    if not isinstance(value, list) or not shape.least <= len(value) <= shape.most:
        yield at, f"must be an array of {shape.least} to {shape.most} items"
        return
    for number, item in enumerate(value):
        yield from _faults(shape.item, item, f"{at}[{number}]")


def _record(shape: Record, value: Any, at: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield at, "must be an object"
        return
    yield from _member_faults(shape.members, value, f"{at}.", takes_scalars=shape.takes_scalars)


def _open(shape: Open, value: Any, at: str) -> Iterator[Fault]:
    if not isinstance(value, dict):
        yield at, "must be an object"
        return
    if len(value) < shape.least or (shape.most is not None and len(value) > shape.most):
        yield at, f"must have {shape.least} to {shape.most} members"
    encoded = _encode(value)
    if len(encoded) > shape.most_bytes:
        yield at, f"must be at most {shape.most_bytes} bytes of JSON"
    elif depth_exceeds(encoded, shape.depth):
        yield at, f"must not be nested deeper than {shape.depth}"
    elif shape.takes_scalars_only and not all(_is_scalar(inner) for inner in value.values()):
        yield at, "must hold strings, numbers and booleans only"


def _glob_map(shape: GlobMap, value: Any, at: str) -> Iterator[Fault]:
    if not isinstance(value, dict) or not shape.least <= len(value) <= shape.most:
        yield at, f"must be an object of {shape.least} to {shape.most} members"
        return
    for number, (glob, target) in enumerate(value.items()):
        if not FORMS["glob"].fits(glob):
            yield f"{at}[{number}]", f"its name must be {FORMS['glob'].words}"
        if not isinstance(target, str) or len(target) > shape.most_chars:
            yield f"{at}[{number}]", f"must be a string of at most {shape.most_chars} characters"


_CHECKS: dict[type[Any], Callable[[Any, Any, str], Iterator[Fault]]] = {
    Text: _text,
    Form: _form,
    Enum: _enum,
    Numbers: _numbers,
    Integer: _integer,
    Boolean: _boolean,
    Many: _many,
    Record: _record,
    Open: _open,
    GlobMap: _glob_map,
}


# -- paths, which have a code of their own -------------------------------------------------------


def _bad_paths(members: tuple[Member, ...], given: dict[str, Any], at: str) -> Iterator[str]:
    """Yield the names of arguments that should be paths or prefixes and are not."""
    for member in members:
        if member.name not in given:
            continue
        value, shape = given[member.name], member.shape
        if isinstance(shape, Record):
            yield from _bad_paths(shape.members, value, f"{at}{member.name}.")
        elif isinstance(shape, Form) and shape.form in PATH_FORMS:
            if not FORMS[shape.form].fits(value):
                yield at + member.name
        elif isinstance(shape, Open) and shape.takes_scalars_only:
            yield from _bad_hidden_paths(value, f"{at}{member.name}.")
    known = {member.name for member in members}
    others = {name: value for name, value in given.items() if name not in known}
    if at:
        yield from _bad_hidden_paths(others, at)


def _bad_hidden_paths(value: dict[str, Any], at: str) -> Iterator[str]:
    for name, inner in value.items():
        if not _is_path_member(name, inner):
            yield _shown(at + name)


def _is_path_member(name: str, value: Any) -> bool:
    """Tell whether a member named like a path is one; all others are right."""
    if not name.lower().endswith("_path"):
        return True
    return isinstance(value, str) and FORMS["path"].fits(value)
