"""Find every difference between what a server says and what comes through the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

ABSENT = type("Absent", (), {"__repr__": lambda self: "absent"})()
# What two runs of the same call never have in common, and what stands for it.
VOLATILE = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"\d{1,2}:\d\d:\d\d( [AP]M)?"), "<time>"),
    # The same time of day inside a blob of server-everything: the tail of its base64.
    (re.compile(r"(?<=^UmVzb3VyY2Ug)[A-Za-z0-9+/=]+$"), "<blob>"),
)


class Difference(NamedTuple):
    """Where two values differ; `ABSENT` stands for a member that is not there."""

    pointer: str
    direct: Any
    through: Any


class Meant(NamedTuple):
    """A difference that is meant.

    Args:
        reason: why, in one line.
        what: names of comparisons, as a pattern that matches whole.
        pointer: where, as a pattern that matches whole.
        direct: pattern for what the server says, as text; `ABSENT` reads ``absent``.
        through: pattern for what comes through the gateway.
    """

    reason: str
    what: str
    pointer: str
    direct: str = ".*"
    through: str = ".*"

    def covers(self, what: str, difference: Difference) -> bool:
        """Tell whether this explains a difference of the comparison `what`."""
        return all(
            re.fullmatch(pattern, text, re.DOTALL)
            for pattern, text in (
                (self.what, what),
                (self.pointer, difference.pointer),
                (self.direct, str(difference.direct)),
                (self.through, str(difference.through)),
            )
        )


def steady(value: Any) -> Any:
    """Return a value in which what never repeats is replaced."""
    if isinstance(value, dict):
        return {name: steady(item) for name, item in value.items()}
    if isinstance(value, list):
        return [steady(item) for item in value]
    if isinstance(value, str):
        for pattern, instead in VOLATILE:
            value = pattern.sub(instead, value)
    return value


def differences(direct: Any, through: Any, pointer: str = "") -> Iterator[Difference]:
    """Yield what differs, deepest first; numbers are alike only if JSON writes them alike."""
    if isinstance(direct, dict) and isinstance(through, dict):
        for name in {**direct, **through}:
            escaped = name.replace("~", "~0").replace("/", "~1")
            yield from differences(
                direct.get(name, ABSENT), through.get(name, ABSENT), f"{pointer}/{escaped}"
            )
    elif isinstance(direct, list) and isinstance(through, list) and len(direct) == len(through):
        for index, (one, other) in enumerate(zip(direct, through, strict=True)):
            yield from differences(one, other, f"{pointer}/{index}")
    elif type(direct) is not type(through) or direct != through:
        yield from _spread(direct, through, pointer)


def _spread(direct: Any, through: Any, pointer: str) -> Iterator[Difference]:
    """Take apart ``_meta`` where only one side has it, so that each member counts."""
    if pointer.endswith("/_meta") and ABSENT in (direct, through):
        yield from differences(
            {} if direct is ABSENT else direct, {} if through is ABSENT else through, pointer
        )
    else:
        yield Difference(pointer, direct, through)


@dataclass
class Comparison:
    """Compares, and remembers which of the known differences there were.

    Args:
        meant: what may differ.
    """

    meant: Sequence[Meant]
    seen: set[Meant] = field(default_factory=set)

    @property
    def missing(self) -> list[str]:
        """The reasons that did not come up."""
        return [one.reason for one in self.meant if one not in self.seen]

    def unexplained(self, what: str, direct: Any, through: Any) -> list[Difference]:
        """Return the differences that nobody meant."""
        return [one for one, why in self.judged(what, direct, through) if why is None]

    def judged(
        self, what: str, direct: Any, through: Any
    ) -> Iterator[tuple[Difference, Meant | None]]:
        """Yield every difference with what is known of it, None for nothing."""
        for difference in differences(steady(direct), steady(through)):
            covering = [one for one in self.meant if one.covers(what, difference)]
            self.seen.update(covering)
            yield difference, covering[0] if covering else None
