"""What changed between two definitions, how much it matters, and what a definition hides. Pure.

Spec: remote-servers 6, with the classes and the one scan rule of the first step: every change but
``cosmetic`` and ``risk`` counts as ``breaking``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET

from scaimcp.remotes.rules.canonical import hashed_part
from scaimcp.remotes.rules.metaschema import subschemas

ChangeClass = Literal["cosmetic", "breaking", "risk", "added"]
Severity = Literal["high", "medium", "low"]

HEADER_KEYWORD = "x-mcp-header"
MAX_EXCERPT = 120
_MAX_FINDINGS = 50
_LEAD = 20

# Hint, its default, and the value that is worse.
_HINTS: tuple[tuple[str, bool, bool], ...] = (
    ("readOnlyHint", False, False),
    ("destructiveHint", True, True),
    ("openWorldHint", True, True),
)
_TEXT_MEMBERS = ("title", "description")
# Below these keywords a "description" is data, not text for people.
_DATA = frozenset({"default", "const", "enum", "examples"})
_SECRET = re.compile(
    r"passw|passphrase|secret|credential|(?:api|access|private|signing|encryption)[_-]?key"
    r"|(?:access|auth|bearer|refresh|session|api|id)[_-]?token"
    r"|(?:^|[_-])(?:token|auth|authorization|pwd|otp|pin|cvv|cvc|ssn|jwt|cookie)(?:[_-]|$)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

_TAGS_AND_DIRECTION = "\U000e0000-\U000e007f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_ZERO_WIDTH = "\u180e\u200b\u200c\u200d\u2060-\u2064\ufeff\U000e0100-\U000e01ef"
_EMOJI = "\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
_JOINED_EMOJI = re.compile(f"(?<=[{_EMOJI}\ufe0f])\u200d(?=[{_EMOJI}])")
_HIGH = re.compile(f"[{_TAGS_AND_DIRECTION}]")
_MEDIUM = re.compile(f"[{_ZERO_WIDTH}]")
_HIDDEN = re.compile(f"[{_TAGS_AND_DIRECTION}{_ZERO_WIDTH}]")


class Finding(msgspec.Struct, frozen=True):
    """Something in a definition that a person should look at.

    ``excerpt`` shows characters that cannot be seen as ``<U+202E>``.
    """

    rule: str
    severity: Severity
    pointer: str
    excerpt: str


class Difference(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a diff; on the wire ``before`` and ``after`` are ``from`` and ``to``."""

    pointer: str
    op: Literal["add", "remove", "replace"]
    before: Any = msgspec.field(default=UNSET, name="from")
    after: Any = msgspec.field(default=UNSET, name="to")


class Change(msgspec.Struct, frozen=True):
    """The class of a change and where the definitions differ."""

    cls: ChangeClass
    diff: tuple[Difference, ...] = ()


def compare(
    kind: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any],
    findings: Sequence[Finding] = (),
) -> Change:
    """Classify a change.

    Args:
        kind: ``tool``, ``prompt``, ``resource`` or ``resource_template``.
        old: the pinned definition, None where there was none.
        new: what the upstream lists now.
        findings: what was found in `new`; a high one that `old` did not have is a risk.
    """
    if old is None:
        return Change("added")
    before, after = hashed_part(kind, old), hashed_part(kind, new)
    diff = tuple(_differences(before, after, ""))
    if _is_riskier(before, after) or _has_new_high(kind, old, findings):
        return Change("risk", diff)
    return Change("cosmetic" if all(map(_is_cosmetic, diff)) else "breaking", diff)


def scan(kind: str, definition: Mapping[str, Any]) -> tuple[Finding, ...]:
    """Find characters in names, texts and schemas that people do not see and models read.

    At most 50 findings, high ones first.
    """
    found = []
    for pointer, text in texts(hashed_part(kind, definition)):
        if text.isascii():
            continue
        visible = _JOINED_EMOJI.sub("", text)
        # With a high one in the same text the medium ones need no line of their own.
        hit = _HIGH.search(visible) or _MEDIUM.search(visible)
        if hit is not None:
            severity: Severity = "high" if _HIGH.match(hit[0]) else "medium"
            excerpt = shown(visible[max(hit.start() - _LEAD, 0) :][:MAX_EXCERPT])
            found.append(Finding("hidden_characters", severity, shown(pointer), excerpt))
    found.sort(key=lambda finding: finding.severity != "high")
    return tuple(found[:_MAX_FINDINGS])


def shown(text: str) -> str:
    """Return the beginning of a text with hidden characters spelled out."""
    return _HIDDEN.sub(lambda hit: f"<U+{ord(hit[0]):04X}>", text)[:MAX_EXCERPT]


def texts(value: Any) -> Iterator[tuple[str, str]]:
    """Yield every string of a JSON value, names of members too, with its JSON pointer."""
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        pointer, node = waiting.pop()
        if isinstance(node, str):
            yield pointer, node
        elif isinstance(node, Mapping):
            for name, item in node.items():
                below = _below(pointer, name)
                yield below, name
                waiting.append((below, item))
        elif isinstance(node, list):
            waiting += [(f"{pointer}/{position}", item) for position, item in enumerate(node)]


def _below(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def _differences(old: Any, new: Any, pointer: str) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in {**old, **new}:
            yield from _member(old.get(name, UNSET), new.get(name, UNSET), _below(pointer, name))
    elif isinstance(old, list) and isinstance(new, list):
        for position in range(max(len(old), len(new))):
            yield from _member(
                old[position] if position < len(old) else UNSET,
                new[position] if position < len(new) else UNSET,
                f"{pointer}/{position}",
            )
    elif type(old) is not type(new) or old != new:
        yield Difference(pointer, "replace", old, new)


def _member(old: Any, new: Any, pointer: str) -> Iterator[Difference]:
    if old is UNSET:
        yield Difference(pointer, "add", after=new)
    elif new is UNSET:
        yield Difference(pointer, "remove", before=old)
    else:
        yield from _differences(old, new, pointer)


def _is_cosmetic(difference: Difference) -> bool:
    """Tell whether only white space inside a title or a description differs."""
    before, after = difference.before, difference.after
    *above, name = difference.pointer.split("/")
    if not (isinstance(before, str) and isinstance(after, str)) or name not in _TEXT_MEMBERS:
        return False
    return _DATA.isdisjoint(above) and before.split() == after.split()


def _is_riskier(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    hints_before, hints_after = _object(old, "annotations"), _object(new, "annotations")
    for hint, default, worse in _HINTS:
        before, after = hints_before.get(hint, default), hints_after.get(hint, default)
        if after is worse and before is not worse:
            return True
    if any(_is_secret(name) for name in Counter(_inputs(new)) - Counter(_inputs(old))):
        return True
    return not set(_headers(new)) <= set(_headers(old))


def _is_secret(name: str) -> bool:
    return _SECRET.search(_CAMEL.sub("_", name)) is not None


def _inputs(definition: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of everything a caller can pass, as often as they occur."""
    for _, node in subschemas(_object(definition, "inputSchema")):
        yield from _object(node, "properties")
    for argument in definition.get("arguments", ()):
        yield argument["name"]


def _headers(definition: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    for path, node in subschemas(_object(definition, "inputSchema")):
        if HEADER_KEYWORD in node:
            yield path, str(node[HEADER_KEYWORD]).lower()


def _object(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = value.get(name)
    return member if isinstance(member, Mapping) else {}


def _has_new_high(kind: str, old: Mapping[str, Any], findings: Sequence[Finding]) -> bool:
    known = set(scan(kind, old))
    return any(item.severity == "high" and item not in known for item in findings)
