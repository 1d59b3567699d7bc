"""What the gateway knows of each tenant's remote servers, in memory.

A snapshot is trusted for five seconds, then its version is compared with the database's; a notice
makes it stale at once. While the database is away it goes on serving lists for five minutes.
Spec: remote-servers 12.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from scaimcp.credentials import store as credential_store
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.remotes.calls.offers import RemoteServer, TenantOffers, UnreadOffers, tenant_offers
from scaimcp.remotes.stores import capability_store, store
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import catalog_lag
from scaimcp.versions.store import read_version

_log = get_logger("scaimcp.remotes")


class SnapshotRules(msgspec.Struct, frozen=True):
    """Times in seconds.

    Args:
        trusted: how long a snapshot counts as checked.
        early: from this age on a request has it checked again, and does not wait for that.
        kept: how long lists are served while it cannot be checked.
        wait: how long a request waits for the database.
        pause: how long the database is left alone after a failure.
        tenants: how many tenants are remembered.
    """

    trusted: float = 5.0
    early: float = 2.5
    kept: float = 300.0
    wait: float = 3.0
    pause: float = 1.0
    tenants: int = 1_000


RULES = SnapshotRules()


class _Entry:
    """What is known of one tenant.

    ``noticed`` counts the notices, ``seen`` those that came before the last good reading;
    ``is_slow`` tells that somebody waited for the running reading in vain.
    """

    __slots__ = (
        "checked_at",
        "failed_at",
        "is_slow",
        "noticed",
        "offers",
        "refreshing",
        "seen",
        "tenant_id",
    )

    def __init__(self, tenant_id: str) -> None:
        self.tenant_id = tenant_id
        self.offers: TenantOffers | None = None
        self.checked_at = float("-inf")
        self.failed_at = float("-inf")
        self.is_slow = False
        self.noticed = 0
        self.seen = 0
        self.refreshing: asyncio.Task[None] | None = None

    @property
    def is_stale(self) -> bool:
        return self.seen < self.noticed


class Snapshots:
    """The tenants' snapshots.

    Args:
        database: where rows and versions are read.
        rules: times and sizes.
        monotonic: clock, in seconds.
    """

    def __init__(
        self,
        database: Database,
        rules: SnapshotRules = RULES,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._rules = rules
        self._monotonic = monotonic
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def known(self, tenant_id: str) -> TenantOffers | None:
        """Return what is known if nobody has to be asked first, else None."""
        entry = self._entries.get(tenant_id)
        if entry is None:
            return None
        now = self._monotonic()
        age = now - entry.checked_at
        if not entry.is_stale and age < self._rules.trusted:
            if age >= self._rules.early:
                self._entries.move_to_end(tenant_id)
                self._begin(entry, now)
            catalog_lag.see(age)
            return entry.offers
        if self._is_away(entry, now):
            return self._left(entry, now)
        return None

    async def current(self, tenant_id: str) -> TenantOffers:
        """Return what the tenant has; without the database what is still known, or nothing."""
        known = self.known(tenant_id)
        if known is not None:
            return known
        entry = self._entries.get(tenant_id)
        if entry is None:
            entry = self._entries[tenant_id] = _Entry(tenant_id)
            while len(self._entries) > self._rules.tenants:
                self._entries.popitem(last=False)
        self._entries.move_to_end(tenant_id)
        await self._checked(entry)
        return self._left(entry, self._monotonic())

    async def is_trusted(self, tenant_id: str) -> bool:
        """Tell whether calls may rely on the snapshot, which is checked first where it is due.

        While that cannot be done they go on until the last check is too old.
        """
        entry = self._entries.get(tenant_id)
        if entry is None:
            return False
        if entry.is_stale or not self._is_young(entry):
            await self._checked(entry)
        return self._is_young(entry)

    def changed(self, tenant_id: str, version: int = 0) -> None:
        """Take a notice: the tenant's version rose to `version`, 0 when it is not known.

        An empty tenant stands for all of them: notices were missed.
        """
        entries = [self._entries.get(tenant_id)] if tenant_id else list(self._entries.values())
        for entry in entries:
            if entry is None or (version and entry.offers and version <= entry.offers.version):
                continue
            entry.noticed += 1
            entry.failed_at = float("-inf")

    async def aclose(self) -> None:
        """End the readings that run."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _is_young(self, entry: _Entry) -> bool:
        return self._monotonic() - entry.checked_at < self._rules.trusted

    async def _checked(self, entry: _Entry) -> None:
        """Wait until the entry was read after everything that was told until now, or cannot be."""
        now, noticed = self._monotonic(), entry.noticed
        if self._is_away(entry, now):
            return
        ends = now + self._rules.wait
        # A reading that runs may have begun before the last notice; the one after it has not.
        for _ in range(2):
            task = self._begin(entry, self._monotonic())
            if task is None:
                return
            await asyncio.wait((task,), timeout=max(ends - self._monotonic(), 0.0))
            entry.is_slow = not task.done()
            if entry.seen >= noticed or entry.is_slow:
                return

    def _is_away(self, entry: _Entry, now: float) -> bool:
        """Tell whether the database is not to be waited for now."""
        return entry.is_slow or now - entry.failed_at < self._rules.pause

    def _left(self, entry: _Entry, now: float) -> TenantOffers:
        if entry.offers is None or now - entry.checked_at > self._rules.kept:
            return UnreadOffers(entry.tenant_id)
        catalog_lag.see(now - entry.checked_at)
        return entry.offers

    def _begin(self, entry: _Entry, now: float) -> asyncio.Task[None] | None:
        """Have the entry read anew; None while the database is left alone."""
        if entry.refreshing is not None:
            return entry.refreshing
        if now - entry.failed_at < self._rules.pause:
            return None
        task = asyncio.get_running_loop().create_task(self._refresh(entry), name="remote snapshot")
        entry.refreshing = task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _refresh(self, entry: _Entry) -> None:
        started, noticed = self._monotonic(), entry.noticed
        try:
            entry.offers = await self._read(entry.tenant_id, entry.offers)
        except DatabaseUnavailable as error:
            entry.failed_at = self._monotonic()
            _log.warning("remote servers not read", reason=error.message)
        else:
            # What was true when the reading began may not be true at its end.
            entry.checked_at = started
            entry.seen = noticed
            entry.failed_at = float("-inf")
        finally:
            entry.refreshing = None
            entry.is_slow = False

    async def _read(self, tenant_id: str, known: TenantOffers | None) -> TenantOffers:
        """Return `known` where its version still holds or is the higher one, else read all."""
        async with self._database.transaction() as connection:
            version = await read_version(connection, tenant_id)
            if known is not None and version <= known.version:
                return known
            servers = await store.tenant_servers(connection, tenant_id)
            if not servers:
                return TenantOffers(tenant_id, version)
            fields = await credential_store.read_many(
                connection, tenant_id, [server.row.id for server in servers]
            )
            advertised = await capability_store.advertised_capabilities(connection, tenant_id)
            withheld = await capability_store.withheld_names(connection, tenant_id)
        found = [
            RemoteServer(server.row, server.state, fields.get(server.row.id, ()))
            for server in servers
        ]
        return tenant_offers(tenant_id, version, found, advertised, withheld)
