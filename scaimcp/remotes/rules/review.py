"""What a discovery makes of the definitions it has read: served, held, gone. Pure.

Under ``auto`` everything that passed the checks is served. Under ``review`` a tool or prompt is
served as it was accepted; one that is new or says something else waits for a manager. Resources
are hashed and scanned only. Spec: remote-servers 6 (changes).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from scaimcp.remotes.enumerations import CapabilityState, Kind, ToolChanges
from scaimcp.remotes.models import (
    Capability,
    CapabilityKey,
    CapabilityWrite,
    NewChange,
    Pin,
    PinWrite,
)
from scaimcp.remotes.rules.changes import Change, compare
from scaimcp.remotes.rules.definitions import Definition, Reading

HELD_KINDS = frozenset({Kind.TOOL, Kind.PROMPT})
NEW_DEFINITION = "new_definition"
CHANGED_DEFINITION = "changed_definition"
REJECTED_DEFINITION = "rejected_definition"
_SHOWN_NAMES = 100


class Before(msgspec.Struct, frozen=True):
    """What is stored of a server when a discovery comes to its end.

    Args:
        tool_changes: the server's mode.
        has_catalog: some discovery has succeeded since the last change of the configuration.
        capabilities: all stored definitions.
        pins: what somebody accepted.
        rejected: definitions that somebody refused, each with its hash.
    """

    tool_changes: ToolChanges
    has_catalog: bool
    capabilities: Sequence[Capability] = ()
    pins: Sequence[Pin] = ()
    rejected: Collection[tuple[CapabilityKey, bytes]] = frozenset()


class Noted(msgspec.Struct, frozen=True):
    """A change for audit and metrics; ``decision`` is ``served`` or ``held``."""

    decision: str
    change_class: str
    data: dict[str, Any]


class Plan(msgspec.Struct, frozen=True):
    """What to store.

    Args:
        writes: every definition that was kept, for the fully listed kinds.
        pins: the baseline of a first discovery under ``review``.
        changes: what waits for a decision.
        settled: definitions whose pending change is over: gone, or as accepted.
        noted: changes for the audit log.
        removed: what went.
        is_visible: something advertised changed.
    """

    writes: tuple[CapabilityWrite, ...]
    pins: tuple[PinWrite, ...]
    changes: tuple[NewChange, ...]
    settled: frozenset[CapabilityKey]
    noted: tuple[Noted, ...]
    removed: tuple[CapabilityKey, ...]
    is_visible: bool

    @property
    def removed_names(self) -> list[str]:
        """The first names of what went, for the audit log."""
        return [key.name for key in self.removed[:_SHOWN_NAMES]]


def plan(
    before: Before, readings: Mapping[Kind, Reading], new_change_id: Callable[[], str]
) -> Plan:
    """Decide on every definition of the kinds that were listed.

    Args:
        before: what is stored.
        readings: each list that was read whole; kinds without one stay as they are.
        new_change_id: makes ids for changes.
    """
    planner = _Planner(before, new_change_id)
    for reading in readings.values():
        for definition in reading.kept:
            planner.take(definition)
    return planner.finished(readings.keys())


class _Planner:
    def __init__(self, before: Before, new_change_id: Callable[[], str]) -> None:
        self._before = before
        self._new_change_id = new_change_id
        self._stored = {CapabilityKey(c.kind, c.name): c for c in before.capabilities}
        self._pins = {CapabilityKey(p.kind, p.name): p for p in before.pins}
        # Pins make it no first discovery, also where the configuration has changed since: what
        # was accepted once is not replaced without a question.
        self._is_baseline = not before.has_catalog and not before.pins
        self._writes: dict[CapabilityKey, CapabilityWrite] = {}
        self._new_pins: list[PinWrite] = []
        self._changes: list[NewChange] = []
        self._settled: set[CapabilityKey] = set()
        self._noted: list[Noted] = []

    def take(self, new: Definition) -> None:
        key = CapabilityKey(new.kind, new.name)
        if new.kind not in HELD_KINDS:
            self._serve(key, new)
        elif self._before.tool_changes is ToolChanges.AUTO:
            self._settled.add(key)
            self._note_served(key, new)
            self._serve(key, new)
        else:
            self._review(key, new)

    def finished(self, listed: Collection[Kind]) -> Plan:
        removed = [
            key for key in sorted(self._stored) if key.kind in listed and key not in self._writes
        ]
        self._settled.update(key for key in removed if key.kind in HELD_KINDS)
        return Plan(
            tuple(self._writes.values()),
            tuple(self._new_pins),
            tuple(self._changes),
            frozenset(self._settled),
            tuple(self._noted),
            tuple(removed),
            self._shown_before(listed) != self._shown_after(),
        )

    def _review(self, key: CapabilityKey, new: Definition) -> None:
        pin = self._pins.get(key)
        if pin is None:
            self._review_new(key, new)
        elif pin.definition_hash == new.definition_hash:
            self._settled.add(key)
            self._serve(key, new)
        else:
            change = compare(new.kind, msgspec.json.decode(pin.definition), new.definition,
                             new.findings)  # fmt: skip
            if change.cls == "cosmetic":
                self._settled.add(key)
                self._note(key, new, "served", change.cls, pin.definition_hash)
                self._serve(key, new)
            else:
                self._hold_changed(key, new, pin, change)

    def _review_new(self, key: CapabilityKey, new: Definition) -> None:
        if self._is_baseline and all(finding.severity != "high" for finding in new.findings):
            self._new_pins.append(PinWrite(new.kind, new.name, _json(new), new.definition_hash))
            self._serve(key, new)
            return
        self._propose(key, new, "added", Change("added"), None)
        reason = self._reason(key, new, NEW_DEFINITION)
        self._writes[key] = _held(new, _json(new), new.definition_hash, reason)

    def _hold_changed(self, key: CapabilityKey, new: Definition, pin: Pin, change: Change) -> None:
        self._propose(key, new, "changed", change, pin.definition_hash)
        reason = self._reason(key, new, CHANGED_DEFINITION)
        self._writes[key] = _held(new, bytes(pin.definition), pin.definition_hash, reason)

    def _reason(self, key: CapabilityKey, new: Definition, otherwise: str) -> str:
        is_rejected = (key, new.definition_hash) in self._before.rejected
        return REJECTED_DEFINITION if is_rejected else otherwise

    def _propose(
        self, key: CapabilityKey, new: Definition, word: str, change: Change, old: bytes | None
    ) -> None:
        self._note(key, new, "held", change.cls, old)
        self._changes.append(
            NewChange(
                self._new_change_id(),
                new.kind,
                new.name,
                word,
                change.cls,
                old,
                new.definition_hash,
                _json(new),
                msgspec.to_builtins(change.diff),
                msgspec.to_builtins(new.findings),
            )
        )

    def _serve(self, key: CapabilityKey, new: Definition) -> None:
        self._writes[key] = CapabilityWrite(
            new.kind,
            new.name,
            new.ordinal,
            new.alias,
            _json(new),
            new.definition_hash,
            new.definition_hash,
            CapabilityState.ADVERTISED,
            None,
            msgspec.to_builtins(new.findings),
        )

    def _note_served(self, key: CapabilityKey, new: Definition) -> None:
        """Under ``auto`` a change is served and written down; a new definition is nothing new."""
        stored = self._stored.get(key)
        if stored is None or stored.definition_hash == new.definition_hash:
            return
        old = msgspec.json.decode(stored.definition)
        change = compare(new.kind, old, new.definition, new.findings)
        if change.cls != "cosmetic":
            self._note(key, new, "served", change.cls, stored.definition_hash)

    def _note(
        self, key: CapabilityKey, new: Definition, decision: str, cls: str, old: bytes | None
    ) -> None:
        """Write a change down once, when it is seen for the first time."""
        stored = self._stored.get(key)
        if stored is not None and stored.upstream_hash == new.definition_hash:
            return
        data = {
            "kind": new.kind.value,
            "name": new.name,
            "class": cls,
            "old_hash": None if old is None else old.hex(),
            "new_hash": new.definition_hash.hex(),
            "rules": sorted({finding.rule for finding in new.findings}),
        }
        self._noted.append(Noted(decision, cls, data))

    def _shown_before(self, listed: Collection[Kind]) -> dict[CapabilityKey, tuple[Any, ...]]:
        return {
            key: (bytes(row.definition), row.alias)
            for key, row in self._stored.items()
            if key.kind in listed and row.state is CapabilityState.ADVERTISED
        }

    def _shown_after(self) -> dict[CapabilityKey, tuple[Any, ...]]:
        return {
            key: (write.definition, write.alias)
            for key, write in self._writes.items()
            if write.state is CapabilityState.ADVERTISED
        }


def _held(new: Definition, served: bytes, served_hash: bytes, reason: str) -> CapabilityWrite:
    return CapabilityWrite(
        new.kind,
        new.name,
        new.ordinal,
        new.alias,
        served,
        served_hash,
        new.definition_hash,
        CapabilityState.HELD,
        reason,
        msgspec.to_builtins(new.findings),
    )


def _json(new: Definition) -> bytes:
    return msgspec.json.encode(new.definition)
