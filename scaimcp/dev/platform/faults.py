"""Faults the control surface can order. Spec: scaigrid 12 (control surface)."""

import random
from typing import Any, Literal

import msgspec

from scaimcp.dev.platform.errors import invalid

EFFECTS = (
    "latency_ms",
    "http_status",
    "body",
    "rate_limited",
    "drop",
    "slow_bytes_per_second",
    "redirect_to",
    "me_omit",
    "me_flat",
)


class FaultRule(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One rule: which requests it meets, and one effect.

    Attributes:
        path: prefix of the path as sent.
        method: None meets every method.
        probability: share of the matching requests it strikes.
        count: how often it strikes at most; None is without end.
        seed: of the random source behind `probability` and `jitter_ms`.
        latency_ms: wait before the request is handled, with up to `jitter_ms` more.
        http_status: refuse with this status, `code` and `retry_after`.
        body: send an HTML page, nothing, half of the real answer, or 40 MiB, with status 200.
        rate_limited: refuse with 429 `RATE_LIMITED`, its headers and `retry_after`.
        drop: end the connection before the headers or in the middle of the body.
        slow_bytes_per_second: send the real answer at this pace.
        redirect_to: answer 302 with this location.
        me_omit: leave these fields out of `/v1/me`; dots reach into objects.
        me_flat: answer `/v1/me` with the flat profile.
    """

    path: str = "/"
    method: str | None = None
    probability: float = 1.0
    count: int | None = None
    seed: int = 0
    latency_ms: int | None = None
    jitter_ms: int = 0
    http_status: int | None = None
    code: str = "INTERNAL_ERROR"
    retry_after: int | None = None
    body: Literal["html", "empty", "truncated", "huge"] | None = None
    rate_limited: bool | None = None
    drop: Literal["before_headers", "mid_body"] | None = None
    slow_bytes_per_second: int | None = None
    redirect_to: str | None = None
    me_omit: list[str] | None = None
    me_flat: bool | None = None


class Faults:
    """The rules in force; the first that strikes decides."""

    def __init__(self) -> None:
        self._active: list[tuple[FaultRule, random.Random]] = []

    def __bool__(self) -> bool:
        """Whether any rule is set."""
        return bool(self._active)

    def replace(self, decoded: Any) -> list[FaultRule]:
        """Put a list of rules in force instead of the present ones.

        Raises:
            PlatformError: `VALIDATION_ERROR` for an unknown field, a wrong type, or a rule with
                none or several effects.
        """
        try:
            rules = msgspec.convert(decoded, list[FaultRule])
        except msgspec.ValidationError as problem:
            raise invalid(("rules", str(problem))) from None
        for number, rule in enumerate(rules):
            effects = [name for name in EFFECTS if getattr(rule, name) is not None]
            if len(effects) != 1:
                raise invalid((f"rules[{number}]", f"has {len(effects)} effects, not one"))
        self._active = [(rule, _source(rule.seed)) for rule in rules]
        return rules

    def clear(self) -> None:
        """Take every rule back."""
        self._active = []

    def strike(self, method: str, raw_path: str) -> tuple[FaultRule, float] | None:
        """Return the rule that meets this request and a random share of its jitter."""
        for rule, source in self._active:
            if rule.method not in (None, method) or not raw_path.startswith(rule.path):
                continue
            if rule.count == 0 or source.random() >= rule.probability:
                continue
            if rule.count is not None:
                rule.count -= 1
            return rule, source.random()
        return None


def _source(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose
