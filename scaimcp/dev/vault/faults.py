"""Failures queued by the control surface. Spec: scaivault 7 (test controls)."""

import re
from typing import Any, Literal

import msgspec


class Fault(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What the next matching requests get.

    Attributes:
        path: regular expression for the whole path without the query.
        method: None meets every method.
        count: how many requests it meets.
        skip: how many matching requests pass before it.
        delay_ms: wait first; alone, the request then runs as ever.
        status: refuse with this status and `code`; without a code the body is plain text.
        details: `error.details` of the refusal.
        retry_after: the header as sent, seconds or a date.
        redirect: answer 302 with this location, or with `status`.
        body: instead of the answer send HTML, nothing, half of its JSON, or close the connection
            in its middle.
        answer: JSON sent with status 200 instead of the answer.
        extra: fields put into the JSON object, over those of the same name: `{"path": "app/b"}`
            makes a wrong path.
        extra_rows: fields put into each row of a list.
    """

    path: str
    method: str | None = None
    count: int = 1
    skip: int = 0
    delay_ms: int = 0
    status: int | None = None
    code: str | None = None
    message: str = "A queued failure."
    details: dict[str, Any] | None = None
    retry_after: str | None = None
    redirect: str | None = None
    body: Literal["html", "empty", "cut", "drop"] | None = None
    answer: Any = msgspec.UNSET
    extra: dict[str, Any] | None = None
    extra_rows: dict[str, Any] | None = None


class Faults:
    """The queue; the first that matches is used up first."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Queue one."""
        self._queue.append(fault)

    def clear(self) -> None:
        """Take all back."""
        self._queue.clear()

    def __len__(self) -> int:
        """Return how many wait for a request."""
        return len(self._queue)

    def take(self, method: str, path: str) -> Fault | None:
        """Return what this request gets; None leaves it alone."""
        for fault in self._queue:
            if fault.method not in (None, method) or not re.fullmatch(fault.path, path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            fault.count -= 1
            if fault.count <= 0:
                self._queue.remove(fault)
            return fault
        return None
