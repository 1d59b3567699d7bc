"""The buffer of audit rows: what is written, when, and what is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from scaimcp.audit.buffer import AuditBuffer, BufferRules, CallRow, open_buffer
from scaimcp.audit.store import AuditRow, storable
from scaimcp.postgres import Database, DatabaseUnavailable
from scaimcp.telemetry.metrics import AUDIT_DROPPED

COLUMNS = AuditRow.__struct_fields__


class Store:
    """A database that keeps what is inserted, unless it is away."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, Any]]] = []
        self.tried = 0
        self.is_away = False
        self.is_slow: asyncio.Event | None = None
        self.came = asyncio.Event()

    @property
    def ids(self) -> list[str]:
        return [row["request_id"] for batch in self.batches for row in batch]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Store]:
        self.tried += 1
        self.came.set()
        if self.is_away:
            raise DatabaseUnavailable("ConnectionRefusedError")
        if self.is_slow is not None:
            await self.is_slow.wait()
        yield self

    async def execute(self, statement: str, *columns: list[Any]) -> None:
        assert "unnest" in statement
        rows = zip(*columns, strict=True)
        self.batches.append([dict(zip(COLUMNS, row, strict=True)) for row in rows])


def row(number: int = 1, **changed: Any) -> CallRow:
    given: dict[str, Any] = {
        "at": asyncio.get_running_loop().time(),
        "tenant_id": "ten_1",
        "actor_id": "usr_1",
        "actor_type": "user",
        "action": "remote_call.tool",
        "resource_type": "remote_server",
        "resource_id": "rs_1",
        "status": "SUCCESS",
        "request_id": f"req_{number}",
        "ip_address": "192.0.2.1",
        "user_agent": "tests",
        "describe": lambda: {"name": "search"},
        **changed,
    }
    return CallRow(**given)


def buffer(store: Store, **rules: Any) -> AuditBuffer:
    return AuditBuffer(cast(Database, store), BufferRules(**rules))


def opened(store: Store, **rules: Any) -> Any:
    return open_buffer(cast(Database, store), BufferRules(**{"every": 0.01, **rules}))


def dropped() -> float:
    return float(AUDIT_DROPPED._value.get())


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - a condition has no event
            await asyncio.sleep(0.005)


async def test_rows_are_written_together_and_in_order() -> None:
    store = Store()
    async with opened(store) as kept:
        for number in range(5):
            kept.add(row(number))
        await until(lambda: store.ids)
    assert store.ids == [f"req_{number}" for number in range(5)]
    assert len(store.batches) == 1
    assert json.loads(store.batches[0][0]["data"]) == {"name": "search"}


async def test_a_full_batch_does_not_wait_for_its_time() -> None:
    store = Store()
    async with opened(store, every=60.0, batch=3) as kept:
        for number in range(7):
            kept.add(row(number))
        await until(lambda: len(store.ids) == 7)
    assert [len(batch) for batch in store.batches] == [3, 3, 1]


async def test_the_age_of_a_row_counts_from_the_end_of_its_call() -> None:
    store = Store()
    now = asyncio.get_running_loop().time()
    async with opened(store) as kept:
        kept.add(row(at=now - 40.0))
    assert 40.0 <= store.batches[0][0]["age"] < 50.0


async def test_an_orderly_end_writes_what_waits() -> None:
    store = Store()
    async with opened(store, every=60.0) as kept:
        kept.add(row())
    assert store.ids == ["req_1"]


async def test_the_end_waits_for_what_is_being_written_and_writes_nothing_twice() -> None:
    store = Store()
    store.is_slow = asyncio.Event()
    async with opened(store) as kept:
        kept.add(row())
        await store.came.wait()
        asyncio.get_running_loop().call_later(0.05, store.is_slow.set)
    assert store.ids == ["req_1"]


async def test_an_end_without_a_database_takes_its_time_and_not_more() -> None:
    store = Store()
    store.is_slow = asyncio.Event()
    before = dropped()
    started = asyncio.get_running_loop().time()
    async with opened(store, every=60.0, farewell=0.05) as kept:
        kept.add(row())
    assert asyncio.get_running_loop().time() - started < 5
    assert (store.ids, dropped() - before) == ([], 1)


async def test_an_end_while_the_database_is_away_counts_what_is_lost() -> None:
    store = Store()
    store.is_away = True
    before = dropped()
    async with opened(store) as kept:
        kept.add(row(1))
        await store.came.wait()
        kept.add(row(2))
    assert dropped() - before == 2
    assert len(kept) == 0


async def test_rows_outlast_a_short_outage() -> None:
    store = Store()
    store.is_away = True
    before = dropped()
    async with opened(store) as kept:
        kept.add(row(1))
        await until(lambda: store.tried > 3)
        kept.add(row(2))
        store.is_away = False
        await until(lambda: len(store.ids) == 2)
    assert store.ids == ["req_1", "req_2"]
    assert dropped() == before


async def test_a_batch_that_is_never_taken_does_not_hold_up_the_rest() -> None:
    store = Store()
    store.is_away = True
    before = dropped()
    async with opened(store, patience=0.05) as kept:
        kept.add(row(1))
        await until(lambda: dropped() > before)
        store.is_away = False
        kept.add(row(2))
        await until(lambda: store.ids)
    assert store.ids == ["req_2"]
    assert dropped() - before == 1


async def test_what_finds_no_room_is_dropped_and_counted() -> None:
    store = Store()
    before = dropped()
    kept = buffer(store, most=3)
    for number in range(5):
        kept.add(row(number))
    assert len(kept) == 3
    await kept.flush()
    assert store.ids == ["req_0", "req_1", "req_2"]
    assert dropped() - before == 2


async def test_arguments_that_wait_are_weighed() -> None:
    store = Store()
    async with opened(store, every=60.0, most_bytes=100) as kept:
        assert not kept.is_heavy
        kept.add(row(1, weight=60))
        assert not kept.is_heavy
        kept.add(row(2, weight=60))
        assert kept.is_heavy
        await until(lambda: len(store.ids) == 2)
        assert not kept.is_heavy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("plain", "plain"),
        ("ünï", "ünï"),
        ("a\0b", "a\ufffdb"),
        ("ü\0", "ü\ufffd"),
        ("half \ud800", "half ?"),
    ],
)
def test_texts_are_stored_as_far_as_the_database_can(
    text: str | None, expected: str | None
) -> None:
    assert storable(text) == expected


async def test_a_row_that_cannot_be_told_is_written_without_data() -> None:
    store = Store()
    async with opened(store) as kept:
        kept.add(row(1, describe=lambda: {"name": object()}))
        kept.add(row(2))
    assert [json.loads(one["data"]) for one in store.batches[0]] == [{}, {"name": "search"}]


async def test_odd_letters_of_others_do_not_spoil_a_batch() -> None:
    store = Store()
    odd = row(user_agent="a\0b", describe=lambda: {"name": "x\ud800\0", "n": 1, "none": None})
    async with opened(store) as kept:
        kept.add(odd)
    (stored,) = store.batches[0]
    assert stored["user_agent"] == "a\ufffdb"
    assert json.loads(stored["data"]) == {"name": "x?\ufffd", "n": 1, "none": None}
