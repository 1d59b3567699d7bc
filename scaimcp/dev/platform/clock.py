"""The platform's clock: the system's or a frozen one, shifted by the control surface."""

import time
from datetime import UTC, datetime
from functools import lru_cache


class Clock:
    """Tell the platform's time.

    Args:
        frozen_at: Unix seconds at which the clock stands still; None follows the system.
    """

    def __init__(self, frozen_at: float | None = None) -> None:
        self._frozen_at = frozen_at
        self._shift = 0.0

    def now(self) -> float:
        """Return Unix seconds."""
        base = time.time() if self._frozen_at is None else self._frozen_at
        return base + self._shift

    def iso(self) -> str:
        """Return now as a row's timestamp."""
        return iso(self.now())

    def shift(self, seconds: float) -> None:
        """Move the clock; negative seconds move it back."""
        self._shift += seconds

    def reset(self) -> None:
        """Take back every shift."""
        self._shift = 0.0


def iso(seconds: float) -> str:
    """Return Unix seconds as RFC 3339 UTC with milliseconds; such texts sort by time."""
    thousandths = int(seconds * 1000)
    return f"{_second(thousandths // 1000)}.{thousandths % 1000:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def seconds_of(timestamp: str) -> float:
    """Return the Unix seconds of a row's timestamp."""
    return datetime.fromisoformat(timestamp).timestamp()
