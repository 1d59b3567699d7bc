"""Rotation and check of the key that wraps credentials. Spec: remote-servers 4 and 11."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from scaimcp.cli.main import main
from scaimcp.credentials import store
from scaimcp.credentials.envelope import RowId
from scaimcp.credentials.errors import CredentialCorrupt, KeyUnavailable
from scaimcp.credentials.rotation import Pace, check, rotate
from scaimcp.postgres import Database
from scaimcp.remotes.models import ServerRow
from tests.integration.remotes.registry import execute, migrated, until
from tests.integration.remotes.sealed_rows import (
    Notes,
    counts,
    fetch,
    fill,
    new_server,
    place,
    sealed_values,
    set_values,
    values_of,
)
from tests.unit.credentials.support import keys, ring

OLD, BOTH, NEW = keys("old"), keys("new", "old"), keys("new")
VERSIONS = "SELECT row_version, count(*) FROM remote_credentials GROUP BY 1 ORDER BY 1"
AUDIT = (
    "SELECT tenant_id, actor_type, resource_id, status, data FROM audit_events WHERE action = $1"
)


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as opened:
        yield opened


@pytest_asyncio.fixture(autouse=True)
async def empty(database: Database) -> None:
    await execute(database, "DELETE FROM remote_servers")
    await execute(database, "DELETE FROM audit_events")


def text(*names: str) -> str:
    """Keys as the setting has them."""
    made = ring(*names)
    return "\n".join(
        f"{key_id}:{msgspec.json.encode(key).decode()[1:-1]}"
        for key_id, key in zip(made.ids, made.keys, strict=True)
    )


@pytest.fixture
def environment(database_url: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    made = {
        "SCAIMCP_DATABASE_URL": database_url,
        "SCAIMCP_ENCRYPTION_LOCAL_KEK": text("new", "old"),
        "SCAIMCP_LOG_LEVEL": "error",
    }
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


async def command(*arguments: str) -> int:
    """Run ``scaimcp keys``, which has an event loop of its own."""
    return await asyncio.to_thread(main, ["keys", *arguments])


def table(said: str) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in said.splitlines()}


async def damage(database: Database, column: str, row: ServerRow, field: str) -> None:
    await execute(
        database,
        f"UPDATE remote_credentials SET {column} = set_byte({column}, length({column}) - 1,"
        f" 255 - get_byte({column}, length({column}) - 1)) WHERE server_id = $1 AND field = $2",
        row.id,
        field,
    )


# --- rotation ---------------------------------------------------------------------------------


async def test_every_data_key_is_wrapped_anew_and_every_ciphertext_stays(
    database: Database,
) -> None:
    rows = await fill(database, OLD, 3, 5)
    await fill(database, NEW, 1, 2, "ten_b")
    kept = "SELECT server_id, field, ciphertext, created_at, rotated_at, rotated_by"
    kept += " FROM remote_credentials ORDER BY 1, 2"
    before = await fetch(database, kept)
    notes = Notes()
    tally = await rotate(database, BOTH, notes, Pace(batch=4))
    assert (tally.primary, tally.done, tally.remaining) == ("new", {"old": 15}, {})
    assert await fetch(database, kept) == before
    assert await counts(database) == {"new": 17}
    assert notes.batches == [{"old": 4}, {"old": 4}, {"old": 4}, {"old": 3}]
    for row in rows:
        assert await values_of(database, NEW, row) == {f"f{n}": f"v{n}" for n in range(5)}
    assert await fetch(database, VERSIONS) == [(1, 2), (2, 15)]


async def test_repeating_it_changes_nothing(database: Database) -> None:
    await fill(database, OLD, 1, 3)
    await rotate(database, BOTH, Notes(), Pace())
    notes = Notes()
    tally = await rotate(database, BOTH, notes, Pace())
    assert (tally.done, tally.remaining, notes.batches) == ({}, {}, [])
    assert await fetch(database, VERSIONS) == [(2, 3)]


async def test_calls_and_new_credentials_go_on_meanwhile(database: Database) -> None:
    rows = await fill(database, OLD, 8, 5)
    wanted = {f"f{n}": f"v{n}" for n in range(5)}
    ended = asyncio.Event()
    reads = 0

    async def call(row: ServerRow) -> None:
        nonlocal reads
        while not ended.is_set():
            assert await values_of(database, BOTH, row) == wanted
            reads += 1

    async def write() -> None:
        while not ended.is_set():
            await set_values(database, BOTH, rows[0], f0="v0")
            # A replica that has not seen the new order of keys yet.
            await set_values(database, OLD, rows[1], f1="v1")

    async with asyncio.TaskGroup() as group:
        for row in rows[:3]:
            group.create_task(call(row))
        writing = group.create_task(write())
        tally = await rotate(database, BOTH, Notes(), Pace(batch=2, max_per_second=80))
        ended.set()
        await writing
    assert reads > 0
    assert tally.done["old"] >= 38
    # What the late replica wrote behind the last pass is found by the check, and goes next time.
    await rotate(database, BOTH, Notes(), Pace())
    found = await check(database, NEW, Notes())
    assert (found.done, found.remaining, found.missing) == ({"new": 40}, {}, {})


async def test_stopped_half_way_it_keeps_whole_batches_and_goes_on_later(
    database: Database,
) -> None:
    await fill(database, OLD, 4, 5)
    reached = asyncio.Event()

    class Halting(Notes):
        async def rotated(self, connection: Any, counts: Mapping[str, int]) -> None:
            await super().rotated(connection, counts)
            if len(self.batches) == 3:
                reached.set()
                await asyncio.Event().wait()

    async def run() -> None:
        await rotate(database, BOTH, Halting(), Pace(batch=4))

    async with asyncio.TaskGroup() as group:
        running = group.create_task(run())
        async with asyncio.timeout(20):
            await reached.wait()
        running.cancel()
    assert await counts(database) == {"new": 8, "old": 12}
    found = await check(database, BOTH, Notes())
    assert (found.done, found.remaining) == ({"new": 8, "old": 12}, {"old": 12})
    tally = await rotate(database, BOTH, Notes(), Pace(batch=4))
    assert tally.done == {"old": 12}
    assert await fetch(database, VERSIONS) == [(2, 20)]


async def test_killed_half_way_it_goes_on_later(
    database: Database, environment: dict[str, str]
) -> None:
    await fill(database, OLD, 4, 10)
    pace = ("--batch", "4", "--max-per-second", "20")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scaimcp", "keys", "rotate", *pace),
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.DEVNULL,
    )

    async def has_begun() -> bool:
        return "new" in await counts(database)

    await until(has_begun)
    process.send_signal(signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    stopped = await counts(database)
    assert stopped["new"] % 4 == 0
    assert stopped["new"] + stopped["old"] == 40
    assert await command("rotate") == 0
    assert await fetch(database, VERSIONS) == [(2, 40)]
    assert (await check(database, NEW, Notes())).done == {"new": 40}


async def test_run_twice_at_once_no_row_is_rotated_twice(database: Database) -> None:
    await fill(database, OLD, 6, 10)
    both = asyncio.Barrier(2)

    class Meeting(Notes):
        async def rotated(self, connection: Any, counts: Mapping[str, int]) -> None:
            await super().rotated(connection, counts)
            if len(self.batches) <= 2:
                await both.wait()

    notes = Meeting()
    one, two = await asyncio.gather(
        *(rotate(database, BOTH, notes, Pace(batch=3)) for _ in range(2))
    )
    assert one.done["old"] + two.done["old"] == 60 == notes.sum()["old"]
    assert min(one.done["old"], two.done["old"]) >= 3
    assert (one.remaining, two.remaining) == ({}, {})
    assert await fetch(database, VERSIONS) == [(2, 60)]


async def test_a_row_that_somebody_holds_is_waited_for(database: Database) -> None:
    (row,) = await fill(database, OLD, 1, 3)
    fields = await sealed_values(BOTH, row, {"f1": "newer"})
    notes = Notes()

    async def others_done() -> bool:
        return bool(notes.batches)

    async with asyncio.TaskGroup() as group:
        async with database.transaction() as connection:
            await store.put_fields(connection, row.tenant_id, row.id, fields, "usr_1")
            rotating = group.create_task(rotate(database, BOTH, notes, Pace()))
            await until(others_done)
        tally = await rotating
    assert (tally.done, tally.remaining) == ({"old": 2}, {})
    assert await values_of(database, NEW, row) == {"f0": "v0", "f1": "newer", "f2": "v2"}


async def test_a_row_that_is_held_for_long_is_told(database: Database) -> None:
    await fill(database, OLD, 1, 2)
    async with database.transaction() as connection:
        await store.lock_wrapped(connection, "new", store.START, 1)
        tally = await rotate(database, BOTH, Notes(), Pace())
    assert (tally.done, tally.remaining, tally.missing) == ({"old": 1}, {"old": 1}, {})


async def test_a_pace_is_kept(database: Database) -> None:
    await fill(database, OLD, 3, 10)
    started = time.monotonic()
    tally = await rotate(database, BOTH, Notes(), Pace(batch=10, max_per_second=40))
    assert tally.done == {"old": 30}
    assert time.monotonic() - started >= 0.5


async def test_no_batch_is_larger_than_a_second_allows(database: Database) -> None:
    await fill(database, OLD, 1, 5)
    notes = Notes()
    await rotate(database, BOTH, notes, Pace(max_per_second=3))
    assert notes.batches == [{"old": 3}, {"old": 2}]


async def test_a_dry_run_counts_and_writes_nothing(database: Database) -> None:
    await fill(database, OLD, 1, 3)
    (lost,) = await fill(database, keys("lost"), 1, 1, "ten_b")
    (bad,) = await fill(database, OLD, 1, 1, "ten_c")
    await damage(database, "wrapped_dek", bad, "f0")
    every = "SELECT * FROM remote_credentials ORDER BY tenant_id, server_id, field"
    before, notes = await fetch(database, every), Notes()
    tally = await rotate(database, BOTH, notes, Pace(batch=2, is_dry=True))
    assert (tally.done, tally.missing, tally.corrupt) == ({"old": 3}, {"lost": 1}, {"old": 1})
    assert tally.remaining == {"old": 4, "lost": 1}
    assert (notes.batches, notes.damaged) == ([], [])
    assert await fetch(database, every) == before
    assert lost.tenant_id == "ten_b"


# --- missing keys and damaged rows --------------------------------------------------------------


async def test_a_missing_key_stops_its_own_rows_only(database: Database) -> None:
    (fine,) = await fill(database, OLD, 1, 2)
    (lost,) = await fill(database, keys("lost"), 1, 3, "ten_b")
    tally = await rotate(database, BOTH, Notes(), Pace(batch=2))
    assert (tally.done, tally.missing, tally.remaining) == ({"old": 2}, {"lost": 3}, {"lost": 3})
    assert await values_of(database, NEW, fine) == {"f0": "v0", "f1": "v1"}
    with pytest.raises(KeyUnavailable):
        await values_of(database, BOTH, lost)
    again = await rotate(database, keys("new", "lost"), Notes(), Pace())
    assert (again.done, again.remaining) == ({"lost": 3}, {})


async def test_a_damaged_row_is_told_once_and_kept(database: Database) -> None:
    good, bad = await fill(database, OLD, 2, 2)
    await damage(database, "wrapped_dek", bad, "f1")
    statement = "SELECT * FROM remote_credentials WHERE server_id = $1 AND field = 'f1'"
    before, notes = await fetch(database, statement, bad.id), Notes()
    tally = await rotate(database, BOTH, notes, Pace(batch=1))
    assert (tally.done, tally.corrupt, tally.remaining) == ({"old": 3}, {"old": 1}, {"old": 1})
    assert notes.damaged == [RowId("ten_a", bad.id, "f1")]
    assert await fetch(database, statement, bad.id) == before
    assert len(await values_of(database, NEW, good)) == 2


async def test_a_damaged_row_is_told_once_however_many_passes_it_takes(
    database: Database,
) -> None:
    bad, held = await fill(database, OLD, 2, 1)
    await damage(database, "wrapped_dek", bad, "f0")
    notes = Notes()
    fields = await sealed_values(BOTH, held, {"f0": "v0"})

    async def has_told() -> bool:
        return bool(notes.damaged)

    async with asyncio.TaskGroup() as group:
        async with database.transaction() as connection:
            await store.put_fields(connection, held.tenant_id, held.id, fields, "usr_1")
            rotating = group.create_task(rotate(database, BOTH, notes, Pace()))
            await until(has_told)
        tally = await rotating
    assert len(notes.damaged) == 1
    assert (tally.corrupt, tally.remaining) == ({"old": 1}, {"old": 1})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE remote_servers SET endpoint_origin = 'https://evil.example:443' WHERE id = $1",
        "UPDATE remote_credentials SET field = 'x-other' WHERE server_id = $1",
        "UPDATE remote_credentials SET kek_id = 'old' WHERE server_id = $1",
    ],
)
async def test_a_row_that_was_moved_is_damaged(database: Database, statement: str) -> None:
    (row,) = await fill(database, NEW, 1, 1)
    await execute(database, statement, row.id)
    notes = Notes()
    found = await check(database, BOTH, notes)
    assert (found.done.total(), found.corrupt.total(), len(notes.damaged)) == (0, 1, 1)


@pytest.mark.row(4)
async def test_a_row_that_was_moved_to_another_server_opens_nowhere(database: Database) -> None:
    row = await new_server(database, "ten_a")
    other = await new_server(database, "ten_a", "two")
    await set_values(database, NEW, row, f0="v0")
    await execute(
        database,
        "UPDATE remote_credentials SET server_id = $2 WHERE server_id = $1",
        row.id,
        other.id,
    )
    with pytest.raises(CredentialCorrupt):
        await values_of(database, NEW, other)


# --- check ------------------------------------------------------------------------------------


async def test_a_check_opens_every_row_in_pages(database: Database) -> None:
    await fill(database, OLD, 2, 3)
    await fill(database, NEW, 1, 2, "ten_b")
    found = await check(database, BOTH, Notes(), batch=3)
    assert (found.done, found.remaining) == ({"old": 6, "new": 2}, {"old": 6})
    assert await fetch(database, VERSIONS) == [(1, 8)]


async def test_a_check_of_nothing_finds_nothing(database: Database) -> None:
    found = await check(database, BOTH, Notes())
    assert (found.done, found.missing, found.corrupt, found.remaining) == ({}, {}, {}, {})


# --- the command ------------------------------------------------------------------------------


@pytest.mark.usefixtures("environment")
async def test_rotate_then_check_is_the_runbook(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = await fill(database, OLD, 1, 3)
    assert await command("check") == 3
    assert table(capsys.readouterr().out)["old"] == ["3", "0", "0", "3"]
    assert await command("rotate", "--dry-run") == 3
    said = capsys.readouterr().out
    assert "WOULD ROTATE" in said
    assert table(said)["old"] == ["3", "0", "0", "3"]
    assert await command("rotate", "--batch", "2") == 0
    said = capsys.readouterr().out
    assert table(said)["old"] == ["3", "0", "0", "0"]
    assert table(said)["new"] == ["0", "0", "0", "0", "primary"]
    monkeypatch.setenv("SCAIMCP_ENCRYPTION_LOCAL_KEK", text("new"))
    assert await command("check") == 0
    said = capsys.readouterr().out
    assert table(said)["new"] == ["3", "0", "0", "0", "primary"]
    assert row.id not in said
    assert "ten_a" not in said
    batches = await fetch(database, AUDIT, "kek.rotate")
    assert sorted(msgspec.json.decode(data)["rows"]["old"] for *_, data in batches) == [1, 2]
    assert {found[:4] for found in batches} == {("", "system", "", "SUCCESS")}


async def test_a_missing_key_is_four(
    database: Database, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await fill(database, OLD, 1, 2)
    await fill(database, keys("lost"), 1, 1, "ten_b")
    for arguments in (("check",), ("rotate", "--dry-run"), ("rotate",), ("check",)):
        assert await command(*arguments) == 4
        assert table(capsys.readouterr().out)["lost"] == ["0", "1", "0", "1"]
    assert await counts(database) == {"new": 2, "lost": 1}
    assert environment["SCAIMCP_LOG_LEVEL"] == "error"


@pytest.mark.usefixtures("environment")
async def test_a_damaged_value_fails_the_check_and_is_audited(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = await fill(database, NEW, 1, 2)
    await damage(database, "ciphertext", row, "f1")
    assert await command("check") == 1
    said = capsys.readouterr()
    assert table(said.out)["new"] == ["1", "0", "1", "0", "primary"]
    assert "remote_unseal_failed" in said.err
    ((tenant, actor, server_id, status, data),) = await fetch(
        database, AUDIT, "remote_credential.corrupt"
    )
    assert (tenant, actor, server_id, status) == ("ten_a", "system", row.id, "FAILURE")
    assert msgspec.json.decode(data) == {"field": "f1", "kek_id": "new"}
    assert await counts(database) == {"new": 2}


@pytest.mark.usefixtures("environment")
async def test_a_data_key_that_does_not_open_remains_and_is_three(database: Database) -> None:
    (row,) = await fill(database, OLD, 1, 2)
    await damage(database, "wrapped_dek", row, "f0")
    assert await command("rotate") == 3
    assert await counts(database) == {"new": 1, "old": 1}
    assert len(await fetch(database, AUDIT, "remote_credential.corrupt")) == 1


async def test_no_value_and_no_key_reaches_output_log_or_audit(
    database: Database, environment: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    row = await new_server(database, "ten_a")
    await set_values(database, OLD, row, a="ntn_hidden_value", b="ntn_hidden_value")
    await damage(database, "ciphertext", row, "b")
    environment["SCAIMCP_LOG_LEVEL"] = "debug"
    for action in ("check", "rotate", "check"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "scaimcp", "keys", action),
            env={**os.environ, **environment},
        )
        assert await process.wait() in (0, 1, 3)
    said = "".join(capfd.readouterr())
    assert "remote_credential_opened" in said
    assert "kek_rotated" in said
    said += str(await fetch(database, "SELECT * FROM audit_events"))
    assert "ntn_hidden_value" not in said
    secrets = environment["SCAIMCP_ENCRYPTION_LOCAL_KEK"].split("\n")
    assert not [key for key in secrets if key.partition(":")[2] in said]
    assert place(row, "a").origin not in said
