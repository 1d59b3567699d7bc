"""Audit rows of calls, which are too many for a transaction each: kept shortly, written together.

A row waits about a second in memory. A process that is killed loses what waits, one that stops
writes it first. While the database is away rows wait longer; what finds no room, or cannot be
written for a minute, is lost and counted. Where the connection breaks while a batch is being
committed, its rows may be there twice. Spec: register (Audit); remote-servers 10.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import islice

import msgspec

from scaimcp.audit.store import AuditRow, record_many, storable
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import AUDIT_DROPPED
from scaimcp.types import JsonObject

_log = get_logger("scaimcp.audit")


class BufferRules(msgspec.Struct, frozen=True):
    """Sizes and times, in seconds.

    Args:
        most: rows that wait.
        most_bytes: of arguments that wait with their rows to be hashed.
        batch: rows a transaction.
        every: pause between two writings, and after one that failed.
        patience: how long one batch is tried.
        farewell: how long a process that stops goes on writing.
    """

    most: int = 10_000
    most_bytes: int = 16 * 1024 * 1024
    batch: int = 500
    every: float = 1.0
    patience: float = 60.0
    farewell: float = 3.0


class CallRow(msgspec.Struct, frozen=True, gc=False):
    """A row that waits: everything of its call but the bearer.

    Args:
        at: when the call ended, on the monotonic clock.
        describe: returns ``data``, without secrets; called when the row is written, in a thread.
        weight: bytes that `describe` keeps in memory.
    """

    at: float
    tenant_id: str
    actor_id: str
    actor_type: str
    action: str
    resource_type: str
    resource_id: str
    status: str
    request_id: str
    ip_address: str | None
    user_agent: str | None
    describe: Callable[[], JsonObject]
    weight: int = 0


class AuditBuffer:
    """Takes rows from calls, never waits and never fails; `run` writes them.

    Args:
        database: where the audit log is.
        rules: sizes and times; the usual ones without.
    """

    def __init__(self, database: Database, rules: BufferRules | None = None) -> None:
        self._database = database
        self.rules = rules or BufferRules()
        self._waiting: deque[CallRow] = deque()
        self._bytes = 0
        self._dropped = 0
        self._hurry = asyncio.Event()
        self._is_closing = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_heavy(self) -> bool:
        """Whether rows should bring nothing to be hashed any more: memory is short."""
        return self._bytes >= self.rules.most_bytes

    def add(self, row: CallRow) -> None:
        """Take a row, or drop it where there is no room."""
        if len(self._waiting) >= self.rules.most:
            self._dropped += 1
            return
        self._waiting.append(row)
        if row.weight:
            self._bytes += row.weight
            if self._bytes >= self.rules.most_bytes:
                self._hurry.set()
        if len(self._waiting) == self.rules.batch:
            self._hurry.set()

    async def run(self) -> None:
        """Write rows until `close` is called."""
        while not self._is_closing:
            await self._pause()
            await self._write_all(self.rules.patience)

    def close(self) -> None:
        """Make `run` return once it has written what it is writing."""
        self._is_closing = True
        self._hurry.set()

    async def flush(self) -> None:
        """Write everything that waits, within the rules' farewell; what is left is dropped."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.rules.farewell):
                await self._write_all(0.0)
        self._dropped += len(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        self._tell_dropped("stopped")

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.rules.every):
                await self._hurry.wait()
        if not self._is_closing:
            self._hurry.clear()

    async def _write_all(self, patience: float) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, self.rules.batch))
            failure = await self._write(batch, patience)
            if failure is None:
                self._forget(batch)
                continue
            if not self._is_closing:
                self._forget(batch)
                self._dropped += len(batch)
                self._tell_dropped(failure)
            break
        self._tell_dropped("no room")

    async def _write(self, batch: Sequence[CallRow], patience: float) -> str | None:
        """Write a batch, again and again while patience lasts; return why it was not, or None."""
        described = await asyncio.to_thread(_described, batch)
        ends = time.monotonic() + patience
        while True:
            try:
                async with self._database.transaction() as connection:
                    await record_many(connection, _rows(batch, described))
                return None
            except DatabaseUnavailable as error:
                if time.monotonic() >= ends or self._is_closing:
                    return error.message
            await self._pause()

    def _forget(self, batch: Sequence[CallRow]) -> None:
        for row in batch:
            self._waiting.popleft()
            self._bytes -= row.weight

    def _tell_dropped(self, reason: str) -> None:
        if self._dropped:
            AUDIT_DROPPED.inc(self._dropped)
            _log.error("audit rows dropped", count=self._dropped, reason=reason)
            self._dropped = 0


@asynccontextmanager
async def open_buffer(
    database: Database, rules: BufferRules | None = None
) -> AsyncIterator[AuditBuffer]:
    """Open a buffer that is written until the block ends, and emptied then."""
    buffer = AuditBuffer(database, rules)
    writer = asyncio.get_running_loop().create_task(buffer.run(), name="audit rows")
    try:
        yield buffer
    finally:
        buffer.close()
        await asyncio.wait((writer,), timeout=buffer.rules.farewell)
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        await buffer.flush()


def _described(batch: Sequence[CallRow]) -> list[str]:
    return [_described_one(row) for row in batch]


def _described_one(row: CallRow) -> str:
    try:
        return _encoded(row.describe())
    except (ValueError, TypeError, RuntimeError, msgspec.MsgspecError) as error:
        # One row that cannot be told must not cost all that wait with it.
        _log.error("audit row without data", action=row.action, reason=type(error).__name__)
        return "{}"


def _rows(batch: Sequence[CallRow], described: Sequence[str]) -> list[AuditRow]:
    """Return rows as they are written now."""
    now = time.monotonic()
    return [
        AuditRow(
            now - row.at,
            row.tenant_id,
            row.actor_id,
            row.actor_type,
            row.action,
            row.resource_type,
            row.resource_id,
            row.status,
            row.request_id,
            row.ip_address,
            storable(row.user_agent),
            data,
        )
        for row, data in zip(batch, described, strict=True)
    ]


def _encoded(data: JsonObject) -> str:
    stored = {
        name: storable(value) if isinstance(value, str) else value for name, value in data.items()
    }
    return msgspec.json.encode(stored).decode()
