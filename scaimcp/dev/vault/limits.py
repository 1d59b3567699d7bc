"""Rate limits: a token bucket per identity and category. Spec: scaivault 7 (rate limit)."""

import math

from scaimcp.dev.vault.errors import Refusal

PER_MINUTE = {
    "secret_read": 1000,
    "secret_write": 100,
    "secret_delete": 100,
    "list": 100,
    "audit": 50,
    "policy": 50,
    "policy_test": 200,
    "pki_issue": 50,
    "pki_admin": 20,
    "acme": 30,
    "subscription": 20,
    "poll": 240,
    "federation": 20,
    "dynamic_generate": 100,
    "dynamic_admin": 20,
    "lease": 100,
    "identity": 100,
    "whoami": 300,
}


class Limits:
    """The buckets of one vault.

    Args:
        scale: factor on every figure; None does not count.
    """

    def __init__(self, scale: float | None) -> None:
        self.scale = scale
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, who: str, category: str | None, now: float) -> None:
        """Take one token of an identity of one tenant at `now`.

        Raises:
            Refusal: 429 `rate_limited` with Retry-After for an empty bucket.
        """
        if self.scale is None or category is None:
            return
        size = PER_MINUTE[category] * self.scale
        tokens, since = self._buckets.get((who, category), (size, now))
        tokens = min(size, tokens + (now - since) * size / 60)
        if tokens < 1:
            wait = math.ceil((1 - tokens) * 60 / size)
            details = {"category": category, "limit": size}
            raise Refusal(429, "rate_limited", "Too many requests.", details, retry_after=wait)
        self._buckets[who, category] = (tokens - 1, now)
