"""Write what a discovery has found: catalogue, pins, changes, state, in one transaction.

Spec: remote-servers 6 (store, changes), 7, 10.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from scaimcp.ids import new_id
from scaimcp.remotes.enumerations import Kind
from scaimcp.remotes.models import (
    Capability,
    CapabilityFilter,
    CapabilityKey,
    RegisteredServer,
    ServerState,
)
from scaimcp.remotes.rules.definitions import LIMITS, SHOWN_NAME, Prefix, Reading
from scaimcp.remotes.rules.health import Ok, Source, next_discovery
from scaimcp.remotes.rules.review import HELD_KINDS, Before, Noted, Plan, plan
from scaimcp.remotes.stores import capability_store, change_store
from scaimcp.remotes.stores.discovery_store import taken_aliases
from scaimcp.remotes.stores.state_store import write_notes
from scaimcp.remotes.watching.discovery_lists import (
    Found,
    list_notes,
    read_definitions,
    told_capabilities,
    told_info,
)
from scaimcp.remotes.watching.recording import (
    Recorded,
    Watcher,
    audit,
    observed,
    raised,
    write_outcome,
)
from scaimcp.telemetry.logs import get_logger
from scaimcp.telemetry.metrics import REMOTE_FINDINGS, REMOTE_TOOL_CHANGES

BASELINE_BY = "scaimcp"
_log = get_logger("scaimcp.remotes")


class Wish(msgspec.Struct, frozen=True):
    """Why a discovery was made, and the id of the request or job, for the audit log."""

    source: Source
    job: str


class CatalogWriter:
    """Writes under a lease that the transaction holds; nobody else writes the state meanwhile.

    Args:
        interval: seconds between two discoveries.
        health_interval: seconds between two checks.
    """

    def __init__(self, interval: int, health_interval: int) -> None:
        self._interval = interval
        self._health_interval = health_interval

    async def store_failure(
        self, connection: Any, now: RegisteredServer, wish: Wish, found: Found
    ) -> Recorded:
        """Write down why there is no result; every stored definition stays."""
        if found.error is None:
            raise AssertionError("a discovery without an error cannot fail")
        outcome = observed(found.error, wish.source, now.state.read_at)
        more = self._dates(now.state)
        by = Watcher(wish.job, self._health_interval)
        recorded = _written(await write_outcome(connection, now, outcome, by, **more))
        return await raised(connection, now, recorded) if "bump" in recorded.effects else recorded

    async def store_lists(
        self,
        connection: Any,
        now: RegisteredServer,
        wish: Wish,
        found: Found,
        readings: Mapping[Kind, Reading],
    ) -> Recorded:
        """Store what was listed and checked, and that the server lives."""
        readings = await self._without_taken(connection, now, found, readings)
        stored = await _stored(connection, now)
        unseen = out_of_sight(stored, found, readings)
        planned = await self._planned(connection, now, stored, unseen, readings)
        await self._store_plan(connection, now, planned, unseen, readings.keys(), wish.job)
        state = now.state
        more: dict[str, Any] = {
            "has_catalog": True,
            **self._dates(state),
            **_era(state, found),
        }
        outcome = Ok(wish.source, state.read_at)
        by = Watcher(wish.job, self._health_interval)
        recorded = _written(await write_outcome(connection, now, outcome, by, **more))
        await _store_notes(connection, recorded.state, found, readings)
        _log_dropped(now, readings, wish.job)
        if planned.is_visible or "bump" in recorded.effects:
            return await raised(connection, now, recorded)
        return recorded

    async def _without_taken(
        self,
        connection: Any,
        now: RegisteredServer,
        found: Found,
        readings: Mapping[Kind, Reading],
    ) -> Mapping[Kind, Reading]:
        """Drop the definitions whose alias another server of the tenant already has."""
        row = now.row
        aliases = [
            definition.alias
            for reading in readings.values()
            for definition in reading.kept
            if definition.alias is not None
        ]
        taken = await taken_aliases(connection, row.tenant_id, row.id, aliases)
        if not taken:
            return readings
        return read_definitions(found, Prefix(row.scope_key, row.slug), taken)

    async def _planned(
        self,
        connection: Any,
        now: RegisteredServer,
        stored: Sequence[Capability],
        unseen: frozenset[CapabilityKey],
        readings: Mapping[Kind, Reading],
    ) -> Plan:
        place = (now.row.tenant_id, now.row.id)
        before = Before(
            now.row.tool_changes,
            now.state.has_catalog,
            [row for row in stored if CapabilityKey(row.kind, row.name) not in unseen],
            await change_store.list_pins(connection, *place),
            await change_store.rejected_hashes(connection, *place),
        )
        # Beside, since comparing large definitions takes its time.
        return await asyncio.to_thread(plan, before, readings, lambda: new_id("chg_"))

    async def _store_plan(
        self,
        connection: Any,
        now: RegisteredServer,
        planned: Plan,
        unseen: frozenset[CapabilityKey],
        listed: Iterable[Kind],
        job: str,
    ) -> None:
        place = (now.row.tenant_id, now.row.id)
        stay = [CapabilityKey(write.kind, write.name) for write in planned.writes]
        stay += unseen
        await capability_store.store_capabilities(connection, *place, planned.writes)
        await capability_store.delete_unseen(connection, *place, list(listed), stay)
        if planned.pins:
            await change_store.write_pins(connection, *place, BASELINE_BY, planned.pins)
        if planned.changes:
            await change_store.record_changes(connection, *place, planned.changes)
        if planned.settled:
            await change_store.supersede_changes(connection, *place, planned.settled)
        for noted in planned.noted:
            await self._tell_change(connection, now, noted, job)
        if planned.removed:
            count = len(planned.removed)
            data = {"class": "removed", "count": count, "names": planned.removed_names}
            await audit(connection, now, "remote_tool.change", job, data)
        _count_findings(planned)

    async def _tell_change(
        self, connection: Any, now: RegisteredServer, noted: Noted, job: str
    ) -> None:
        verb = "hold" if noted.decision == "held" else "change"
        await audit(connection, now, f"remote_tool.{verb}", job, noted.data)
        REMOTE_TOOL_CHANGES.labels(noted.change_class, noted.decision).inc()
        log = _log.warning if noted.change_class == "risk" else _log.info
        log(
            "remote_tool_change_detected",
            job_id=job,
            tenant_id=now.row.tenant_id,
            server_id=now.row.id,
            decision=noted.decision,
            **noted.data,
        )

    def _dates(self, state: ServerState) -> dict[str, Any]:
        """Return when this discovery was and when the next will be; one that failed was one too."""
        at = state.read_at
        after = next_discovery(at, self._interval, state.server_id)
        return {"last_discovery_at": at, "next_discovery_at": after}


def _written(recorded: Recorded | None) -> Recorded:
    if recorded is None:
        raise AssertionError("the state was locked and yet written by somebody else")
    return recorded


async def _stored(connection: Any, now: RegisteredServer) -> Sequence[Capability]:
    row = now.row
    page = await capability_store.list_capabilities(
        connection, row.tenant_id, row.id, CapabilityFilter()
    )
    return page.items


def out_of_sight(
    stored: Sequence[Capability], found: Found, readings: Mapping[Kind, Reading]
) -> frozenset[CapabilityKey]:
    """Return the stored definitions that may stand on pages which nobody read; they stay.

    Of each kind the first in the order of the rows, as far as they fit beside what was read: a
    server with endless pages must not fill the table.
    """
    unseen: set[CapabilityKey] = set()
    for kind, reading in readings.items():
        if found.lists[kind].is_whole:
            continue
        read = {definition.name for definition in reading.kept}
        dropped = {one.name for one in reading.dropped}
        names = [
            row.name
            for row in stored
            if row.kind is kind and row.name not in read and row.name[:SHOWN_NAME] not in dropped
        ]
        room = LIMITS[kind] - len(read)
        unseen.update(CapabilityKey(kind, name) for name in names[:room])
    return frozenset(unseen)


def _era(state: ServerState, found: Found) -> dict[str, Any]:
    """Return what to remember of the era; the day of a legacy one counts from asking for both."""
    handshake = found.handshake
    if handshake is None:
        return {}
    is_asked = found.asked_era is None or handshake.era != found.asked_era
    return {
        "protocol_era": handshake.era,
        "protocol_version": handshake.version,
        "era_checked_at": state.read_at if is_asked else state.era_checked_at,
    }


async def _store_notes(
    connection: Any, state: ServerState, found: Found, readings: Mapping[Kind, Reading]
) -> None:
    handshake = found.handshake
    after = msgspec.structs.replace(
        state,
        server_info=told_info(handshake) if handshake else state.server_info,
        upstream_capabilities=(
            told_capabilities(handshake) if handshake else state.upstream_capabilities
        ),
        list_notes=list_notes(found, readings),
    )
    if after != state and await write_notes(connection, after) is None:
        raise AssertionError("the state was locked and yet written by somebody else")


def _log_dropped(now: RegisteredServer, readings: Mapping[Kind, Reading], job: str) -> None:
    reasons = Counter(one.reason for reading in readings.values() for one in reading.dropped)
    if reasons:
        _log.info(
            "remote_definition_dropped",
            job_id=job,
            tenant_id=now.row.tenant_id,
            server_id=now.row.id,
            reasons=dict(reasons),
        )


def _count_findings(planned: Plan) -> None:
    new = {(one.data["kind"], one.data["name"]) for one in planned.noted}
    for write in planned.writes:
        if write.kind in HELD_KINDS and (write.kind.value, write.name) in new:
            for finding in write.findings:
                REMOTE_FINDINGS.labels(finding["rule"], finding["severity"]).inc()
