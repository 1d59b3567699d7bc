"""The value types of the field notation. Spec: scaigrid 10 (types), 9 (ids, times, money)."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.platform.errors import Fault, PlatformError
from scaimcp.dev.platform.forms import Part

MAP_KEYS = 64
MAP_BYTES = 16 * 1024
ID = re.compile(r"[A-Za-z0-9._:-]+")
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]*")
MONEY = re.compile(r"\d{1,15}(\.\d{1,10})?")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class Node(Protocol):
    """One type: checks decoded JSON, and the text forms of queries and forms."""

    def accepts(self, value: object) -> bool:
        """Tell whether the JSON type fits, whatever the value."""

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Return the value as handlers see it; append a fault where it does not fit."""

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Do the same for the values of one query or form field."""


class ObjectFields(Protocol):
    """What an object type needs of a field set."""

    def check(self, value: Mapping[str, Any], faults: list[Fault], at: str = "") -> dict[str, Any]:
        """Return the accepted fields."""


def _one(values: Sequence[str | Part], at: str, faults: list[Fault]) -> str | None:
    """Return the only text of a field, or None after a fault."""
    if len(values) != 1:
        faults.append(Fault(at, "must be given once"))
        return None
    if isinstance(values[0], Part):
        faults.append(Fault(at, "must be text, not a file"))
        return None
    return values[0]


@dataclass(frozen=True, slots=True)
class Range:
    """Inclusive bounds; None is open."""

    low: float | None = None
    high: float | None = None

    def holds(self, value: float) -> bool:
        """Tell whether a number lies within."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        """Describe the bounds for a message."""
        if self.high is None:
            return f"at least {self.low:g}" if self.low is not None else "any"
        return f"{self.low:g}-{self.high:g}"


@dataclass(frozen=True, slots=True)
class Text:
    """A string of a kind and a length."""

    kind: str
    size: Range

    def accepts(self, value: object) -> bool:
        """Tell whether it is a string."""
        return isinstance(value, str)

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check length and form; a timestamp becomes UTC with milliseconds."""
        if not isinstance(value, str):
            faults.append(Fault(at, "must be a string"))
        elif not self.size.holds(len(value)):
            faults.append(Fault(at, f"must have {self.size} characters"))
        else:
            return FORMS.get(self.kind, _plain)(value, at, faults)
        return None

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Check the one value."""
        text = _one(values, at, faults)
        return None if text is None else self.check(text, at, faults)


def _plain(value: str, at: str, faults: list[Fault]) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        faults.append(Fault(at, "must be well-formed Unicode"))
    return value


def _matching(pattern: re.Pattern[str], what: str) -> Callable[[str, str, list[Fault]], str]:
    def check(value: str, at: str, faults: list[Fault]) -> str:
        if not pattern.fullmatch(value) or value in (".", ".."):
            faults.append(Fault(at, f"must be {what}"))
        return value

    return check


def _timestamp(value: str, at: str, faults: list[Fault]) -> str:
    if TIMESTAMP.fullmatch(value):
        try:
            return iso(datetime.fromisoformat(value.upper()).astimezone(UTC).timestamp())
        except (ValueError, OverflowError):
            pass
    faults.append(Fault(at, "must be an RFC 3339 timestamp"))
    return value


FORMS: dict[str, Callable[[str, str, list[Fault]], str]] = {
    "id": _matching(ID, "an id"),
    "slug": _matching(SLUG, "a slug"),
    "money": _matching(MONEY, "a decimal string"),
    "ts": _timestamp,
}


@dataclass(frozen=True, slots=True)
class Number:
    """An integer or any number, within bounds; booleans are neither."""

    integer: bool
    span: Range

    def accepts(self, value: object) -> bool:
        """Tell whether it is a number."""
        return isinstance(value, int if self.integer else int | float) and not isinstance(
            value, bool
        )

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check type and bounds."""
        if not self.accepts(value):
            faults.append(Fault(at, "must be an integer" if self.integer else "must be a number"))
        elif not self.span.holds(value):
            faults.append(Fault(at, f"must be {self.span}"))
        else:
            return value
        return None

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Read the one value as a JSON number."""
        text = _one(values, at, faults)
        if text is None:
            return None
        try:
            return self.check(msgspec.json.decode(text.encode()), at, faults)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return self.check(text, at, faults)


@dataclass(frozen=True, slots=True)
class Enum:
    """One of some strings, or a boolean."""

    choices: tuple[str | bool, ...]

    def accepts(self, value: object) -> bool:
        """Tell whether the type is that of the choices."""
        return isinstance(value, type(self.choices[0]))

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check that it is one of them, without taking 1 for true."""
        if self.accepts(value) and value in self.choices:
            return value
        names = ", ".join(
            str(choice).lower() if choice is True or choice is False else choice
            for choice in self.choices
        )
        faults.append(Fault(at, f"must be one of {names}"))
        return None

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Check the one value; booleans are `true` and `false`."""
        text = _one(values, at, faults)
        if text is None:
            return None
        if self.choices[0] is True and text in ("true", "false"):
            return text == "true"
        return self.check(text, at, faults)


class Any_:  # noqa: N801 - `Any` is taken by typing
    """Anything JSON can hold."""

    def accepts(self, value: object) -> bool:
        """Accept it."""
        return True

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Return it."""
        return value

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Return the one text."""
        return _one(values, at, faults)


class OpenMap:
    """An open object of at most 64 keys and 16 KiB."""

    def accepts(self, value: object) -> bool:
        """Tell whether it is an object."""
        return isinstance(value, dict)

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check kind and size."""
        if not isinstance(value, dict):
            faults.append(Fault(at, "must be an object"))
        elif len(value) > MAP_KEYS:
            faults.append(Fault(at, f"must have at most {MAP_KEYS} keys"))
        elif len(msgspec.json.encode(value)) > MAP_BYTES:
            faults.append(Fault(at, f"must have at most {MAP_BYTES} bytes"))
        return value

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Read the one value as JSON text."""
        text = _one(values, at, faults)
        if text is None:
            return None
        try:
            return self.check(msgspec.json.decode(text.encode()), at, faults)
        except (msgspec.DecodeError, UnicodeEncodeError):
            faults.append(Fault(at, "must be a JSON object"))
            return None


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one type; in a query or form, a repeated field."""

    item: Node
    size: Range

    def accepts(self, value: object) -> bool:
        """Tell whether it is a list."""
        return isinstance(value, list)

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check the length and every item."""
        if not isinstance(value, list):
            faults.append(Fault(at, "must be a list"))
            return None
        if not self.size.holds(len(value)):
            faults.append(Fault(at, f"must have {self.size} items"))
            return None
        return [self.item.check(item, f"{at}[{n}]", faults) for n, item in enumerate(value)]

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Check each repetition as an item."""
        if not self.size.holds(len(values)):
            faults.append(Fault(at, f"must have {self.size} items"))
            return None
        return [self.item.from_text([value], at, faults) for value in values]


@dataclass(frozen=True, slots=True)
class Obj:
    """An object of known fields."""

    inner: ObjectFields

    def accepts(self, value: object) -> bool:
        """Tell whether it is an object."""
        return isinstance(value, dict)

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check every field."""
        if not isinstance(value, dict):
            faults.append(Fault(at, "must be an object"))
            return None
        return self.inner.check(value, faults, f"{at}.")

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Refuse it: only JSON bodies hold objects."""
        faults.append(Fault(at, "cannot be given as text"))


@dataclass(frozen=True, slots=True)
class Union:
    """The first of several types whose JSON type fits."""

    nodes: tuple[Node, ...]

    def accepts(self, value: object) -> bool:
        """Tell whether any fits."""
        return any(node.accepts(value) for node in self.nodes)

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check against the type that fits."""
        for node in self.nodes:
            if node.accepts(value):
                return node.check(value, at, faults)
        faults.append(Fault(at, "has the wrong type"))
        return None

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Check as the first type."""
        return self.nodes[0].from_text(values, at, faults)


@dataclass(frozen=True, slots=True)
class File:
    """An uploaded file; one that is too large ends the request with 413."""

    size: Range

    def accepts(self, value: object) -> bool:
        """Tell whether it is a file part."""
        return isinstance(value, Part)

    def check(self, value: Any, at: str, faults: list[Fault]) -> Any:
        """Check kind and size.

        Raises:
            PlatformError: `PAYLOAD_TOO_LARGE`.
        """
        if not isinstance(value, Part):
            faults.append(Fault(at, "must be a file"))
            return None
        if not value.content:
            faults.append(Fault(at, "must not be empty"))
        if self.size.high is not None and len(value.content) > self.size.high:
            raise PlatformError(
                "PAYLOAD_TOO_LARGE", f"The file has more than {self.size.high:g} bytes."
            )
        return value

    def from_text(self, values: Sequence[str | Part], at: str, faults: list[Fault]) -> Any:
        """Check the one part."""
        if len(values) != 1:
            faults.append(Fault(at, "must be given once"))
            return None
        return self.check(values[0], at, faults)
