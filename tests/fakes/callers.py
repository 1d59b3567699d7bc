"""Callers, contexts and a clock for tests of decisions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from scaimcp.auth.permissions import of_roles
from scaimcp.types import Caller, Grants, RequestContext, Secret

TOKEN = "sgk_" + "a" * 40
SERVICE_TOKEN = "sgk_" + "s" * 40


class Clock:
    """Time that moves only when told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def key_of(token: str) -> bytes:
    """Return the key under which a bearer is known."""
    return hashlib.sha256(token.encode()).digest()


def grants(*roles: str, more: Iterable[str] = ()) -> Grants:
    """Return what roles hold, with further permissions of either kind."""
    core, module = of_roles(roles)
    return Grants(core | set(more), module | set(more), frozenset(roles))


UNRESOLVED_OPEN = Grants(None, None, source="unresolved", fallback_open=True)
UNRESOLVED_CLOSED = Grants(None, None, source="unresolved", fallback_open=False)


def caller(held: Grants | None = None, *, token: str = TOKEN, **more: Any) -> Caller:
    """Return a caller of the tenant acme."""
    fields: dict[str, Any] = {
        "key": key_of(token),
        "user_id": "usr_1",
        "tenant_id": "tnt_acme",
        "tenant_slug": "acme",
        "partner_id": "prt_north",
        "grants": held if held is not None else grants("tenant_admin"),
        "confirmed_at": 1000.0,
    }
    return Caller(**{**fields, **more})


def homeless(held: Grants | None = None, **more: Any) -> Caller:
    """Return a caller without a tenant."""
    return caller(held, tenant_id="", tenant_slug="", **more)


def context(who: Caller | None = None, *, token: str = TOKEN, **more: Any) -> RequestContext:
    """Return the context of one request."""
    return RequestContext("req_test", who or caller(token=token), Secret(token), **more)
