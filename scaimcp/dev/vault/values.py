"""Durations and times as ScaiVault writes them."""

import re
from datetime import datetime

from scaimcp.dev.platform.clock import iso
from scaimcp.dev.vault.errors import refuse

DURATION = re.compile(r"([1-9][0-9]{0,5})([smhd])")
UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DAY = 86400


def duration(text: str) -> int:
    """Return the seconds of "90d".

    Raises:
        Refusal: 400 `invalid_duration`.
    """
    match = DURATION.fullmatch(text)
    if match is None:
        refuse(400, "invalid_duration", "A duration is a number and one of s, m, h, d.")
    return int(match[1]) * UNIT[match[2]]


def instant(text: str) -> float:
    """Return the Unix seconds of an RFC 3339 time with a zone.

    Raises:
        Refusal: 400 `invalid_request`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        refuse(400, "invalid_request", "A time is RFC 3339 with a zone.")
    return moment.timestamp()


def stamp(seconds: float | None) -> str | None:
    """Return Unix seconds as a time; None stays None."""
    return None if seconds is None else iso(seconds)
