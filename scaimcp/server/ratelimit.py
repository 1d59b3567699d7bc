"""``RateLimit-Policy`` and ``RateLimit`` as draft-ietf-httpapi-ratelimit-headers words them. Pure.

Spec: register, Headers (own limits).
"""

from __future__ import annotations

from functools import cache

from scaimcp.server.asgi import HeaderLines
from scaimcp.types import Allowance

POLICY, SERVICE_LIMIT = b"ratelimit-policy", b"ratelimit"
LIMIT_FIELDS = frozenset({POLICY, SERVICE_LIMIT})
_WINDOW_SECONDS = 60


def limit_lines(allowance: Allowance) -> HeaderLines:
    """Return both fields: every limit that is set, and what the nearest one leaves.

    ``t`` is the draft's effective window: within it the client can use no more than ``r``. So it
    ends when the next place is free, in a refusal together with ``Retry-After``.
    """
    left = f'"{allowance.nearest}";r={allowance.remaining};t={allowance.window_seconds}'
    return ((POLICY, _policy(allowance.policy)), (SERVICE_LIMIT, left.encode()))


@cache
def _policy(policy: tuple[tuple[str, int], ...]) -> bytes:
    """Word the limits once for the whole life of the process: settings do not change."""
    items = (f'"{name}";q={most};w={_WINDOW_SECONDS}' for name, most in policy)
    return ", ".join(items).encode()
