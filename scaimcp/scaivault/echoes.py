"""Refusals in which ScaiVault repeats a secret it was given. Pure.

Its own words pass, but not those that a caller has just written into a secret. Spec: scaivault 2.5
(everywhere), 8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from scaimcp.scaivault.answers import UpstreamFailure
from scaimcp.scaivault.errors import MARKER
from scaimcp.scaivault.masking import is_kept
from scaimcp.scaivault.records import ToolRecord
from scaimcp.scaivault.secret_names import names_secret
from scaimcp.telemetry.redaction import MESSAGE_CHARS

# A shorter text occurs anywhere, and says next to nothing.
_LEAST = 4
# So much of the beginning of a value counts as the value: messages are cut.
_BEGINNING = 12
# Messages are made one line before they get here.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def hide_echoes(error: UpstreamFailure, record: ToolRecord, arguments: bytes) -> None:
    """Take the secrets among a call's arguments out of what ScaiVault says of the call.

    Args:
        error: is changed.
        record: the tool.
        arguments: as the client sent them; they were good enough to be sent on.
    """
    if not error.is_coded:
        return
    wanted = frozenset(sent_values(record, json.loads(arguments.strip() or b"{}")))
    if _repeats(error.message, wanted) or _is_cut_in(error.message, wanted):
        error.message = f"ScaiVault answered {error.code}, in words that repeat a secret value."
        error.args = (error.message,)
    error.members = _without_below(error.members, wanted)
    error.details = tuple(_without_below(detail, wanted) for detail in error.details)


def sent_values(record: ToolRecord, arguments: Any) -> Iterator[str]:
    """Yield by what to know each secret among arguments.

    Secrets are what would be masked in the tool's result, and what is named like one.
    """
    for where in (*record.mask.hidden, *record.mask.dropped):
        steps = where.replace("[]", ".[]").split(".")
        for value in _at(arguments, steps, record.mask.kept):
            yield from _beginnings(value)
    for value in _named(arguments):
        yield from _beginnings(value)


def _at(value: Any, steps: list[str], kept: tuple[str, ...]) -> Iterator[Any]:
    """Yield what stands where a mask says."""
    if not steps:
        yield value
    elif steps[0] == "[]":
        for item in value if isinstance(value, list) else ():
            yield from _at(item, steps[1:], kept)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key == steps[0] or (steps[0] == "*" and not is_kept(key, kept)):
                yield from _at(inner, steps[1:], kept)


def _named(value: Any) -> Iterator[Any]:
    """Yield what stands under names of secrets; a path or glob is no such name."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if names_secret(key) and "/" not in key:
            yield inner
    for inner in _inside(value):
        yield from _named(inner)


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _beginnings(value: Any) -> Iterator[str]:
    for inner in _inside(value):
        yield from _beginnings(inner)
    for line in _CONTROL.split(_text(value)):
        if len(line) >= _LEAST:
            yield line[:_BEGINNING]
            yield json.dumps(line, ensure_ascii=False)[1:-1][:_BEGINNING]


def _text(value: Any) -> str:
    """Return a text or number as a message may show it; "" for what tells nothing."""
    is_told = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value) if is_told else ""


def _repeats(value: Any, wanted: frozenset[str]) -> bool:
    text = _text(value)
    return any(part in text for part in wanted)


def _is_cut_in(message: str, wanted: frozenset[str]) -> bool:
    """Tell whether a message was cut in the middle of a value."""
    return len(message) >= MESSAGE_CHARS and any(
        message.endswith(part[:length]) for part in wanted for length in range(_LEAST, len(part))
    )


def _without_below(members: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    """Return an object whose members' names are our own."""
    return {name: _without(inner, wanted) for name, inner in members.items()}


def _without(value: Any, wanted: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {
            MARKER if _repeats(key, wanted) else key: _without(inner, wanted)
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_without(item, wanted) for item in value]
    return MARKER if _repeats(value, wanted) else value
