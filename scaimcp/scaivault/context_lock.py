"""The lock to one tenant or partner, held against what ScaiVault says of the token.

Until that has succeeded nothing else is sent. Spec: scaivault 2.4, 3 (tenant).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from scaimcp.scaivault.answers import shape_mismatch
from scaimcp.scaivault.client import VaultClient
from scaimcp.scaivault.errors import tenant_locked
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.requests import VaultRequest
from scaimcp.types import Secret

FRESH_SECONDS = 300.0
_MOST_ENTRIES = 10_000
_WHOAMI = VaultRequest("GET", "/v1/auth/whoami")
TENANT_HEADER = "X-Tenant-ID"


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """On whose behalf a call runs.

    Args:
        token: bearer for ScaiVault; goes to its origin only.
        key: SHA-256 of the token, under which caches keep what they know of it.
        tenant_id: the tenant that the gateway has confirmed, which the token must belong to; ""
            in the stand-alone command.
        request_id: sent along as ``X-Request-ID``.
        renewed: returns the identity of a token that has changed since, None where none has.
    """

    token: Secret
    key: bytes
    tenant_id: str = ""
    request_id: str = ""
    renewed: Callable[[], Identity | None] | None = None


class Holder(msgspec.Struct, frozen=True):
    """Whose a token is, as ScaiVault says; "" for what it does not say."""

    tenant_id: str
    partner_id: str
    identity_id: str = ""


class _Entry:
    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.holder: Holder | None = None
        self.until = 0.0


class ContextLock:
    """Knows whose tokens are, for five minutes each.

    Args:
        client: asks ScaiVault.
        most_entries: tokens that are known at a time.
    """

    def __init__(self, client: VaultClient, most_entries: int = _MOST_ENTRIES) -> None:
        self._client = client
        self._most_entries = most_entries
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()

    async def check(self, identity: Identity, guards: Guards, until: float) -> dict[str, str]:
        """Return the headers that every request of a call carries for its lock.

        Args:
            identity: who calls.
            guards: the locks.
            until: when the call ends, on the monotonic clock.

        Raises:
            VaultError: TENANT_LOCKED, or why ScaiVault did not say whose the token is.
        """
        if not (guards.tenant_id or guards.partner_id or identity.tenant_id):
            return {}
        return lock_headers(await self.holder(identity, until), identity, guards)

    async def holder(self, identity: Identity, until: float) -> Holder:
        """Return whose a token is; ScaiVault is asked at most every five minutes.

        Raises:
            UpstreamFailure: why ScaiVault did not say.
        """
        entry = self._entry(identity.key)
        async with entry.asking:
            if entry.holder is None or self._client.timing.monotonic() >= entry.until:
                headers = {"X-Request-ID": identity.request_id} if identity.request_id else {}
                answer = await self._client.request(_WHOAMI, identity.token, headers, until)
                entry.holder = read_holder(answer.decoded())
                entry.until = self._client.timing.monotonic() + FRESH_SECONDS
            return entry.holder

    def _entry(self, key: bytes) -> _Entry:
        entry = self._entries.setdefault(key, _Entry())
        self._entries.move_to_end(key)
        while len(self._entries) > self._most_entries:
            self._entries.popitem(last=False)
        return entry


def read_holder(whoami: Any) -> Holder:
    """Return whose a token is.

    Raises:
        UpstreamFailure: the answer is no object.
    """
    if not isinstance(whoami, dict):
        raise shape_mismatch()
    told = [whoami.get(name) for name in ("tenant_id", "partner_id", "identity_id")]
    return Holder(*[text if isinstance(text, str) else "" for text in told])


def lock_headers(holder: Holder, identity: Identity, guards: Guards) -> dict[str, str]:
    """Return the headers that a lock adds.

    In the gateway the tenant is always the token's own, so no header is ever sent there.

    Raises:
        VaultError: TENANT_LOCKED.
    """
    if guards.partner_id and holder.partner_id != guards.partner_id:
        raise tenant_locked()
    if identity.tenant_id:
        wanted = {identity.tenant_id, guards.tenant_id or identity.tenant_id}
        if wanted != {holder.tenant_id}:
            raise tenant_locked()
        return {}
    if not guards.tenant_id or holder.tenant_id == guards.tenant_id:
        return {}
    if not holder.tenant_id:
        raise tenant_locked()
    return {TENANT_HEADER: guards.tenant_id}
