"""Rotate the key that wraps credentials, and check that every credential opens.

Both go over the rows of all tenants while the gateway runs. Spec: remote-servers 4.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from scaimcp.credentials import store
from scaimcp.credentials.envelope import RowId, rewrap, unseal
from scaimcp.credentials.errors import CredentialCorrupt, KeyUnavailable
from scaimcp.credentials.keys import KeyWrapper
from scaimcp.postgres import Database
from scaimcp.telemetry.logs import get_logger

BATCH = 200
# Rows that somebody else holds are passed over; two seconds are longer than any of us holds one.
_PASSES = 20
_PAUSE_SECONDS = 0.1
_log = get_logger("scaimcp.credentials")


class Journal(Protocol):
    """Takes down what rotation and check did, in the transaction of `connection`."""

    async def rotated(self, connection: Any, counts: Mapping[str, int]) -> None:
        """Take down how many rows left each key."""
        ...

    async def corrupt(self, connection: Any, row: RowId, key_id: str) -> None:
        """Take down a row that does not open."""
        ...


class Pace(msgspec.Struct, frozen=True):
    """How rotation goes.

    Args:
        batch: rows a transaction.
        max_per_second: rows a second at most, None without a limit.
        is_dry: tell what would happen and write nothing.
    """

    batch: int = BATCH
    max_per_second: int | None = None
    is_dry: bool = False


class Tally(msgspec.Struct):
    """Rows by key id.

    ``done``: rotated, or with `check` opened. ``missing``: their key is not loaded. ``corrupt``:
    they do not open. ``remaining``: rows that the primary key does not wrap, afterwards.
    """

    primary: str
    done: Counter[str] = msgspec.field(default_factory=Counter)
    missing: Counter[str] = msgspec.field(default_factory=Counter)
    corrupt: Counter[str] = msgspec.field(default_factory=Counter)
    remaining: Counter[str] = msgspec.field(default_factory=Counter)


async def rotate(database: Database, keys: KeyWrapper, journal: Journal, pace: Pace) -> Tally:
    """Wrap every DEK with the primary key that another key wraps.

    Each batch is a transaction of its own: safe to stop, to repeat and to run twice at once. Rows
    that cannot be opened stay as they are. A dry run counts in ``done`` what could be rotated.

    Raises:
        DatabaseUnavailable: the database failed; what was committed stays.
    """
    run = _Rotation(database, keys, journal, pace, await keys.primary_key_id())
    for _ in range(_PASSES):
        await run.go_over()
        run.tally.remaining = await _remaining(database, run.tally.primary)
        stuck = run.tally.missing.total() + run.tally.corrupt.total()
        if pace.is_dry or run.tally.remaining.total() <= stuck:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    tally = run.tally
    if not pace.is_dry:
        _log.info("kek_rotated", key_id=tally.primary, rows=dict(tally.done))
    return tally


async def check(
    database: Database, keys: KeyWrapper, journal: Journal, batch: int = BATCH
) -> Tally:
    """Open every credential and count by key; nothing is changed.

    Raises:
        DatabaseUnavailable: the database failed.
    """
    tally = Tally(await keys.primary_key_id())
    after = store.START
    while True:
        async with database.transaction() as connection:
            rows = await store.walk(connection, after, batch)
            for place, sealed in rows:
                try:
                    await unseal(keys, place, sealed)
                    tally.done[sealed.kek_id] += 1
                except KeyUnavailable:
                    tally.missing[sealed.kek_id] += 1
                except CredentialCorrupt:
                    tally.corrupt[sealed.kek_id] += 1
                    await journal.corrupt(connection, place, sealed.kek_id)
        if len(rows) < batch:
            break
        after = rows[-1][0]
    for counted in (tally.done, tally.missing, tally.corrupt):
        tally.remaining.update({k: n for k, n in counted.items() if k != tally.primary})
    return tally


async def _remaining(database: Database, primary: str) -> Counter[str]:
    async with database.transaction() as connection:
        counts = await store.count_by_key(connection)
    return Counter({key_id: n for key_id, n in counts.items() if key_id != primary})


class _Rotation:
    """One run of `rotate`: passes over the rows, batch by batch."""

    def __init__(
        self, database: Database, keys: KeyWrapper, journal: Journal, pace: Pace, primary: str
    ) -> None:
        self._database = database
        self._keys = keys
        self._journal = journal
        self._pace = pace
        self._limit = min(pace.batch, pace.max_per_second or pace.batch)
        self._told: set[RowId] = set()
        self._handled = 0
        self._started = time.monotonic()
        self.tally = Tally(primary)

    async def go_over(self) -> None:
        """Handle each row once that nobody else holds."""
        self.tally.missing.clear()
        self.tally.corrupt.clear()
        after = store.START
        while True:
            await self._wait()
            async with self._database.transaction() as connection:
                rows = await store.lock_wrapped(connection, self.tally.primary, after, self._limit)
                fresh = await self._rewrapped(connection, rows)
                done = await self._write(connection, fresh)
            # Counted behind the commit: a batch that was rolled back is not told as done.
            self.tally.done.update(done)
            self._handled += len(rows)
            if len(rows) < self._limit:
                return
            after = rows[-1].row

    async def _rewrapped(
        self, connection: Any, rows: tuple[store.WrappedRow, ...]
    ) -> list[store.Rewrapped]:
        fresh = []
        for read in rows:
            try:
                wrapped, key_id = await rewrap(self._keys, read.row, read.wrapped_dek, read.kek_id)
                fresh.append(store.Rewrapped(read, wrapped, key_id))
            except KeyUnavailable:
                self.tally.missing[read.kek_id] += 1
            except CredentialCorrupt:
                self.tally.corrupt[read.kek_id] += 1
                if not self._pace.is_dry and read.row not in self._told:
                    await self._journal.corrupt(connection, read.row, read.kek_id)
                    self._told.add(read.row)
        return fresh

    async def _write(self, connection: Any, fresh: list[store.Rewrapped]) -> Counter[str]:
        if self._pace.is_dry:
            return Counter(row.read.kek_id for row in fresh)
        done = Counter(await store.write_wrapped(connection, fresh)) if fresh else Counter[str]()
        if done:
            await self._journal.rotated(connection, done)
        return done

    async def _wait(self) -> None:
        if self._pace.max_per_second:
            due = self._started + self._handled / self._pace.max_per_second
            await asyncio.sleep(max(due - time.monotonic(), 0))
