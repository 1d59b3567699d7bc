"""The guards that hold for each tenant: the operator's layer met with the tenant's profile.

Read for every call; what is known counts for five seconds, or until a notice says that it has
changed. What cannot be loaded refuses every call. Spec: scaivault 3 (freshness, guard layers).
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from scaimcp.audit import store as audit
from scaimcp.errors import RequestRefused
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.scaivault import store
from scaimcp.scaivault.errors import VaultError, failed, guards_unavailable
from scaimcp.scaivault.guards import Guards, meet
from scaimcp.scaivault.profile import GuardProfile, ProfileInvalid, described
from scaimcp.scaivault.store import StoredProfile
from scaimcp.telemetry.logs import get_logger
from scaimcp.types import RequestContext
from scaimcp.versions.notices import Notice
from scaimcp.versions.store import raise_version

FRESH_SECONDS = 5.0
WAIT_SECONDS = 3.0
_PAUSE_SECONDS = 1.0
_TENANTS = 10_000
_log = get_logger("scaimcp.scaivault")


class TenantGuards(msgspec.Struct, frozen=True):
    """What holds for a tenant: whether it has the module, and the effective guards."""

    is_enabled: bool
    guards: Guards


class _Entry:
    """What is known of one tenant; `drops` counts the notices."""

    __slots__ = ("drops", "failed_at", "held", "read_at", "reading")

    def __init__(self) -> None:
        self.held: TenantGuards | None = None
        self.read_at = float("-inf")
        self.failed_at = float("-inf")
        self.drops = 0
        self.reading = asyncio.Lock()


class GuardProfiles:
    """Knows and changes the tenants' profiles.

    Args:
        database: where they are.
        operator: the layer above all of them.
        announce: tells every process, this one included, that a tenant's catalogue has changed.
        monotonic: clock, in seconds.
    """

    def __init__(
        self,
        database: Database,
        operator: Guards,
        announce: Callable[[Notice], Awaitable[None]],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self.operator = operator
        self._announce = announce
        self._monotonic = monotonic
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    def known(self, tenant_id: str) -> TenantGuards | None:
        """Return what holds if the database need not be asked, else None."""
        entry = self._entries.get(tenant_id)
        if entry is None or self._monotonic() - entry.read_at >= FRESH_SECONDS:
            return None
        return entry.held

    async def current(self, tenant_id: str) -> TenantGuards:
        """Return what holds for a tenant now.

        Raises:
            VaultError: GUARDS_UNAVAILABLE.
        """
        known = self.known(tenant_id)
        if known is not None:
            return known
        entry = self._entry(tenant_id)
        async with entry.reading:
            held = self.known(tenant_id)
            if held is None:
                held = await self._read(entry, tenant_id)
        if held is None:
            raise guards_unavailable()
        return held

    def changed(self, tenant_id: str) -> None:
        """Take a notice; an empty tenant stands for all: notices were missed."""
        entries = [self._entries.get(tenant_id)] if tenant_id else list(self._entries.values())
        for entry in entries:
            if entry is not None:
                entry.drops += 1
                entry.read_at = entry.failed_at = float("-inf")

    async def stored(self, tenant_id: str) -> StoredProfile:
        """Return a tenant's layer as it is stored now.

        Raises:
            GatewayError: 503; it cannot be read.
        """
        try:
            async with self._database.transaction() as connection:
                return await store.read(connection, tenant_id)
        except ProfileInvalid:
            raise _unreadable() from None

    async def replace(
        self, context: RequestContext, profile: GuardProfile, wanted: frozenset[int] | None
    ) -> StoredProfile:
        """Replace the layer of the caller's tenant, with an audit row of old and new.

        Args:
            context: who does it.
            profile: the new layer.
            wanted: versions one of which it must have, None for any.

        Raises:
            GatewayError: 412 where it has another version, 503 where the database fails.
        """
        tenant_id = context.caller.tenant_id
        try:
            async with self._database.transaction() as connection:
                old = await store.lock(connection, tenant_id)
                if wanted is not None and old.version not in wanted:
                    raise RequestRefused(
                        "PRECONDITION_FAILED",
                        "The guards have another version by now; read them again.",
                        http_status=412,
                    )
                new = await store.write(connection, tenant_id, profile, context.caller.user_id)
                event = audit.AuditEvent(
                    tenant_id,
                    "scaivault_guards.update",
                    "scaivault_guards",
                    tenant_id,
                    data={"old": described(old.profile), "new": described(new.profile)},
                )
                await audit.record(connection, event, context)
                version = await raise_version(connection, tenant_id)
        except ProfileInvalid:
            raise _unreadable() from None
        self.changed(tenant_id)
        await self._announce(Notice(tenant_id, version))
        return new

    def effective(self, profile: GuardProfile) -> Guards:
        """Return what both layers leave."""
        return meet(self.operator, profile.guards)

    def _entry(self, tenant_id: str) -> _Entry:
        entry = self._entries.setdefault(tenant_id, _Entry())
        self._entries.move_to_end(tenant_id)
        while len(self._entries) > _TENANTS:
            self._entries.popitem(last=False)
        return entry

    async def _read(self, entry: _Entry, tenant_id: str) -> TenantGuards | None:
        """Return what is stored now, None where it cannot be read or was not, a moment ago."""
        started, drops = self._monotonic(), entry.drops
        if started - entry.failed_at < _PAUSE_SECONDS:
            return None
        try:
            async with (
                asyncio.timeout(WAIT_SECONDS),
                self._database.transaction() as connection,
            ):
                profile = (await store.read(connection, tenant_id)).profile
        except (DatabaseUnavailable, ProfileInvalid, TimeoutError) as error:
            entry.failed_at = self._monotonic()
            _log.warning("guards not loaded", tenant_id=tenant_id, reason=type(error).__name__)
            return None
        held = TenantGuards(profile.enabled, self.effective(profile))
        # What was true when the reading began may not be true at its end.
        if entry.drops == drops:
            entry.held, entry.read_at = held, started
        return held


def _unreadable() -> VaultError:
    return failed(
        "GUARDS_UNAVAILABLE",
        "The stored guards cannot be read; a later version may have written them.",
        http_status=503,
    )
