"""Field specifications in the contract's own notation, and strict validation against them.

`fields("slug:slug(1-64)*, description:str(<=2000), status:enum(active,disabled)=active, @page")`
parses once, at import; the result checks bodies, queries and forms. Spec: scaigrid 10, 12.

Types: `str` `text` `id` `slug` `int` `num` `bool` `money` `ts` `map` `any` `enum(a,b)`
`list<T>(n-m)` `{field, field}` `file(<=bytes)`; `T|U` is either. A range stands in brackets:
`(1-64)`, `(<=64)`, `(>=1)`, with the contract's signs understood too. `*` required, `=` default.
A field without a type takes anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from scaimcp.dev.platform.errors import Fault
from scaimcp.dev.platform.fieldtypes import (
    Any_,
    Enum,
    File,
    ListOf,
    Node,
    Number,
    Obj,
    OpenMap,
    Range,
    Text,
    Union,
)
from scaimcp.dev.platform.forms import Part

MISSING: Any = msgspec.UNSET
PAGE = "limit:int(1-100)=50, cursor:str(<=512)"
SCALARS: dict[str, Callable[[Range | None], Node]] = {
    "str": lambda size: Text("str", size or Range(1, 256)),
    "text": lambda size: Text("text", size or Range(1, 65_536)),
    "id": lambda size: Text("id", size or Range(1, 128)),
    "slug": lambda size: Text("slug", size or Range(1, 64)),
    "money": lambda _: Text("money", Range(1, 32)),
    "ts": lambda _: Text("ts", Range(1, 64)),
    "int": lambda span: Number(True, span or Range()),
    "num": lambda span: Number(False, span or Range()),
    "bool": lambda _: Enum((True, False)),
    "map": lambda _: OpenMap(),
    "any": lambda _: Any_(),
    "file": lambda size: File(size or Range(1, None)),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One named field; `default` is `MISSING` where an absent field stays absent."""

    name: str
    node: Node
    required: bool = False
    default: Any = MISSING


@dataclass(frozen=True, slots=True)
class Fields:
    """An ordered set of fields, checked as a whole so that every fault is found at once."""

    entries: dict[str, Field] = field(default_factory=dict)

    def __add__(self, other: "Fields") -> "Fields":
        """Return both sets as one; the right one wins."""
        return Fields({**self.entries, **other.entries})

    def partial(self, *dropped: str) -> "Fields":
        """Return the set for PUT or PATCH: nothing required, no defaults, `dropped` left out."""
        return Fields(
            {
                name: replace(entry, required=False, default=MISSING)
                for name, entry in self.entries.items()
                if name not in dropped
            }
        )

    def check(self, value: Mapping[str, Any], faults: list[Fault], at: str = "") -> dict[str, Any]:
        """Return the accepted fields with defaults filled in; append one fault per error.

        Args:
            value: a decoded JSON object.
            faults: where errors are collected.
            at: prefix of the field names in the faults, such as `messages[0].`.
        """
        accepted: dict[str, Any] = {}
        unknown = [name for name in value if name not in self.entries]
        faults.extend(Fault(at + name, "is not a known field") for name in unknown)
        for name, entry in self.entries.items():
            if name in value:
                accepted[name] = entry.node.check(value[name], at + name, faults)
            else:
                self._absent(entry, at, accepted, faults)
        return accepted

    def check_text(
        self, pairs: Mapping[str, list[str | Part]], faults: list[Fault]
    ) -> dict[str, Any]:
        """Do the same for a query or a form, where every value is text (or a file part)."""
        accepted: dict[str, Any] = {}
        unknown = [name for name in pairs if name not in self.entries]
        faults.extend(Fault(name, "is not a known field") for name in unknown)
        for name, entry in self.entries.items():
            if name in pairs:
                accepted[name] = entry.node.from_text(pairs[name], name, faults)
            else:
                self._absent(entry, "", accepted, faults)
        return accepted

    @staticmethod
    def _absent(entry: Field, at: str, accepted: dict[str, Any], faults: list[Fault]) -> None:
        if entry.required:
            faults.append(Fault(at + entry.name, "is required"))
        elif entry.default is not MISSING:
            accepted[entry.name] = entry.default


class _Parser:
    """Read the notation by recursive descent."""

    def __init__(self, source: str) -> None:
        replaced = source.replace("–", "-").replace("≤", "<=").replace("≥", ">=")
        self.source = replaced.replace(" or ", "|").replace("@page", PAGE)
        self.at = 0

    def fields(self, end: str = "") -> Fields:
        entries: dict[str, Field] = {}
        while self._peek() not in ("", end):
            entry = self._field()
            entries[entry.name] = entry
            self._take(",")
        return Fields(entries)

    def _field(self) -> Field:
        name = self._word("[]")
        node = self._union() if self._take(":") else Any_()
        required = self._take("*")
        default = MISSING
        if self._take("="):
            default = self._default(node)
        return Field(name, node, required, default)

    def _union(self) -> Node:
        nodes = [self._single()]
        while self._take("|"):
            nodes.append(self._single())
        return nodes[0] if len(nodes) == 1 else Union(tuple(nodes))

    def _single(self) -> Node:
        if self._take("{"):
            inner = self.fields("}")
            self._expect("}")
            return Obj(inner)
        word = self._word()
        if word == "list":
            self._expect("<")
            item = self._union()
            self._expect(">")
            return ListOf(item, _range(self._brackets()) or Range(0, 1000))
        brackets = self._brackets()
        if word == "enum":
            return Enum(tuple(choice.strip() for choice in brackets.split(",")))
        if word not in SCALARS:
            raise ValueError(f"unknown type {word!r} in {self.source!r}")
        return SCALARS[word](_range(brackets))

    def _default(self, node: Node) -> Any:
        start = self.at
        while self._peek(strip=False) not in ("", ",", "}"):
            self.at += 1
        faults: list[Fault] = []
        value = node.from_text([self.source[start : self.at].strip()], "default", faults)
        if faults:
            raise ValueError(f"{faults[0].message} in {self.source!r}")
        return value

    def _peek(self, *, strip: bool = True) -> str:
        while strip and self.source[self.at : self.at + 1].isspace():
            self.at += 1
        return self.source[self.at : self.at + 1]

    def _take(self, sign: str) -> bool:
        found = self._peek() == sign
        self.at += found
        return found

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise ValueError(f"expected {sign!r} at {self.at} in {self.source!r}")

    def _word(self, further: str = "") -> str:
        self._peek()
        start = self.at
        while (sign := self.source[self.at : self.at + 1]) and (
            sign.isalnum() or sign == "_" or sign in further
        ):
            self.at += 1
        if start == self.at:
            raise ValueError(f"expected a name at {start} in {self.source!r}")
        return self.source[start : self.at]

    def _brackets(self) -> str:
        if not self._take("("):
            return ""
        end = self.source.index(")", self.at)
        inner, self.at = self.source[self.at : end], end + 1
        return inner


def _range(text: str) -> Range | None:
    text = text.strip()
    if not text:
        return None
    if text.startswith(">="):
        return Range(float(text[2:]), None)
    if text.startswith("<="):
        return Range(0, float(text[2:]))
    low, _, high = text.partition("-")
    return Range(float(low), float(high))


def fields(source: str) -> Fields:
    """Parse a specification in the notation of this module; ValueError names a mistake in it."""
    return _Parser(source).fields()


NO_FIELDS = Fields()
