"""How long guards are known, and what happens when they cannot be loaded. Spec: scaivault 3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from scaimcp.errors import GatewayError
from scaimcp.postgres import DatabaseUnavailable
from scaimcp.scaivault.guards import Guards
from scaimcp.scaivault.profile import GuardProfile, described
from scaimcp.scaivault.profiles import FRESH_SECONDS, GuardProfiles
from scaimcp.versions.notices import Notice


class Table:
    """One tenant's row in memory; counts readings, and fails or waits when told to."""

    def __init__(self) -> None:
        self.profile: Any = described(GuardProfile(enabled=True, read_only=False))
        self.reads = 0
        self.is_away = False
        self.begun = asyncio.Event()
        self.gate: asyncio.Event | None = None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        if self.is_away:
            raise DatabaseUnavailable("OSError")
        yield self

    async def fetchrow(self, statement: str, tenant_id: str) -> Any:
        assert "scaivault_guard_profiles" in statement
        assert tenant_id == "tnt_a"
        self.reads += 1
        self.begun.set()
        row = {"profile": msgspec.json.encode(self.profile).decode(), "version": 1}
        if self.gate is not None:
            await self.gate.wait()
        return {**row, "updated_by": "usr_1", "updated_at": None}


class Desk:
    """Profiles over one table, with a clock that stands still."""

    def __init__(self, operator: Guards | None = None) -> None:
        self.now = 1_000.0
        self.table = Table()
        database: Any = self.table
        self.profiles = GuardProfiles(
            database, operator or Guards(), self.announce, monotonic=lambda: self.now
        )

    async def announce(self, notice: Notice) -> None:
        raise AssertionError("nothing is written here")

    async def is_read_only(self) -> bool:
        return (await self.profiles.current("tnt_a")).guards.read_only

    async def refused(self) -> str:
        with pytest.raises(GatewayError) as failure:
            await self.profiles.current("tnt_a")
        return failure.value.code


async def test_guards_are_read_once_in_five_seconds() -> None:
    desk = Desk()
    assert desk.profiles.known("tnt_a") is None
    assert not await desk.is_read_only()
    desk.now += FRESH_SECONDS - 0.01
    assert not await desk.is_read_only()
    assert desk.table.reads == 1
    assert desk.profiles.known("tnt_a") is not None
    desk.now += 0.01
    assert desk.profiles.known("tnt_a") is None
    await desk.is_read_only()
    assert desk.table.reads == 2


@pytest.mark.parametrize("tenant", ["tnt_a", ""])
async def test_a_notice_drops_what_is_known(tenant: str) -> None:
    desk = Desk()
    await desk.is_read_only()
    desk.table.profile["read_only"] = True
    assert not await desk.is_read_only()
    desk.profiles.changed(tenant)
    assert await desk.is_read_only()
    desk.profiles.changed("tnt_b")
    assert desk.profiles.known("tnt_a") is not None


async def test_a_reading_that_a_notice_overtook_is_not_kept() -> None:
    desk = Desk()
    desk.table.gate = asyncio.Event()
    reading = asyncio.get_running_loop().create_task(desk.is_read_only())
    await desk.table.begun.wait()
    desk.table.profile["read_only"] = True
    desk.profiles.changed("tnt_a")
    desk.table.gate.set()
    assert await reading is False
    assert desk.profiles.known("tnt_a") is None
    assert await desk.is_read_only() is True


async def test_many_calls_at_once_share_one_reading() -> None:
    desk = Desk()
    desk.table.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(desk.is_read_only()) for _ in range(5)]
        await desk.table.begun.wait()
        desk.table.gate.set()
    assert [task.result() for task in tasks] == [False] * 5
    assert desk.table.reads == 1


async def test_without_the_database_nothing_is_believed_and_it_is_left_alone() -> None:
    desk = Desk()
    await desk.is_read_only()
    desk.table.is_away = True
    assert not await desk.is_read_only()
    desk.now += FRESH_SECONDS
    assert await desk.refused() == "GUARDS_UNAVAILABLE"
    desk.table.is_away = False
    assert await desk.refused() == "GUARDS_UNAVAILABLE"
    assert desk.table.reads == 1
    desk.now += 1.0
    assert not await desk.is_read_only()


@pytest.mark.parametrize(
    "stored", [{"enabled": True, "later": 1}, {"allowed_paths": ["App"]}, {"enabled": "yes"}]
)
async def test_a_profile_that_cannot_be_read_refuses(stored: Any) -> None:
    desk = Desk()
    desk.table.profile = stored
    assert await desk.refused() == "GUARDS_UNAVAILABLE"
    with pytest.raises(GatewayError) as failure:
        await desk.profiles.stored("tnt_a")
    assert (failure.value.code, failure.value.http_status) == ("GUARDS_UNAVAILABLE", 503)


async def test_both_layers_are_met() -> None:
    desk = Desk(Guards(read_only=True, denied=("infra",)))
    desk.table.profile["denied_paths"] = ["app/root"]
    held = await desk.profiles.current("tnt_a")
    assert held.is_enabled
    assert held.guards.read_only
    assert held.guards.denied == ("app/root", "infra")
