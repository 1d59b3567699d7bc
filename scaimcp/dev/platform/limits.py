"""The four sliding rate-limit windows. Spec: scaigrid 8."""

import math
from collections import deque

from scaimcp.dev.platform.clock import Clock
from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.identity import Principal

WINDOW_SECONDS = 60
LIMITS = {"key": 60, "user": 120, "tenant": 1_000, "partner": 5_000}
Headers = tuple[tuple[bytes, bytes], ...]


def rate_headers(limit: int, remaining: int, reset: int) -> Headers:
    """Return the three headers of one window; `reset` in Unix seconds."""
    return (
        (b"x-scaigrid-ratelimit-limit", b"%d" % limit),
        (b"x-scaigrid-ratelimit-remaining", b"%d" % remaining),
        (b"x-scaigrid-ratelimit-reset", b"%d" % reset),
    )


class Limiter:
    """Count the requests of every key, user, tenant and partner.

    Attributes:
        enabled: the switch; nothing is counted and no header sent while it is off.
    """

    def __init__(self, clock: Clock, *, enabled: bool) -> None:
        self.enabled = enabled
        self._clock = clock
        self._seen: dict[tuple[str, str], deque[float]] = {}

    def clear(self) -> None:
        """Forget every request."""
        self._seen.clear()

    def take(self, principal: Principal) -> Headers:
        """Count one request and return the headers of the window with the least left.

        Raises:
            PlatformError: `RATE_LIMITED` when a window is full; the request is then not counted.
        """
        if not self.enabled:
            return ()
        now = self._clock.now()
        tightest: tuple[int, int, int] | None = None
        windows = [
            (LIMITS[kind], self._window(kind, name, now)) for kind, name in _names(principal)
        ]
        for limit, window in windows:
            reset = math.ceil((window[0] if window else now) + WINDOW_SECONDS)
            left = limit - len(window)
            if left <= 0:
                raise limited(limit, reset, max(1, math.ceil(window[0] + WINDOW_SECONDS - now)))
            if tightest is None or left - 1 < tightest[1]:
                tightest = (limit, left - 1, reset)
        for _, window in windows:
            window.append(now)
        return () if tightest is None else rate_headers(*tightest)

    def _window(self, kind: str, name: str, now: float) -> deque[float]:
        window = self._seen.setdefault((kind, name), deque())
        while window and window[0] <= now - WINDOW_SECONDS:
            window.popleft()
        return window


def limited(limit: int, reset: int, retry_after: int) -> PlatformError:
    """Return the 429 of a full window."""
    error = PlatformError("RATE_LIMITED", "Too many requests.", retry_after=retry_after)
    error.headers = rate_headers(limit, 0, reset)
    return error


def _names(principal: Principal) -> list[tuple[str, str]]:
    names = [("user", principal.user_id)]
    if principal.key is not None:
        names.insert(0, ("key", principal.key["id"]))
    if principal.tenant_id is not None:
        names.append(("tenant", principal.tenant_id))
    if principal.partner_id is not None:
        names.append(("partner", principal.partner_id))
    return names
