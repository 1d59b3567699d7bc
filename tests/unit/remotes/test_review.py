"""What is served, held and removed, decided without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from scaimcp.remotes.enumerations import CapabilityState, Kind, ToolChanges
from scaimcp.remotes.models import Capability, CapabilityKey, Pin
from scaimcp.remotes.rules.definitions import Prefix, Reading, read
from scaimcp.remotes.rules.review import Before, Plan, plan

NOW = datetime(2026, 11, 20, tzinfo=UTC)
PREFIX = Prefix("tenant", "one-123456")
AUTO, REVIEW = ToolChanges.AUTO, ToolChanges.REVIEW


def tool(name: str, text: str = "Does it.", **more: Any) -> dict[str, Any]:
    return {"name": name, "description": text, "inputSchema": {"type": "object"}, **more}


def reading(*items: dict[str, Any], kind: Kind = Kind.TOOL) -> dict[Kind, Reading]:
    return {kind: read(kind, [msgspec.json.encode(item) for item in items], PREFIX)}


def stored(*items: dict[str, Any], kind: Kind = Kind.TOOL) -> list[Capability]:
    """Rows as a discovery under ``auto`` writes them."""
    planned = plan(Before(AUTO, has_catalog=False), reading(*items, kind=kind), lambda: "chg_0")
    return [
        Capability(
            "rs_1", w.kind, w.name, w.ordinal, w.alias, msgspec.Raw(w.definition),
            w.definition_hash, w.upstream_hash, w.state, w.reason, w.findings, NOW, NOW,
        )
        for w in planned.writes
    ]  # fmt: skip


def pinned(*rows: Capability) -> list[Pin]:
    return [
        Pin("rs_1", r.kind, r.name, r.definition, r.definition_hash, "scaimcp", NOW) for r in rows
    ]


def decide(before: Before, *items: dict[str, Any], kind: Kind = Kind.TOOL) -> Plan:
    numbers = iter(range(100))
    return plan(before, reading(*items, kind=kind), lambda: f"chg_{next(numbers)}")


def states(planned: Plan) -> dict[str, tuple[CapabilityState, str | None]]:
    return {write.name: (write.state, write.reason) for write in planned.writes}


SERVED = (CapabilityState.ADVERTISED, None)


@pytest.mark.parametrize("mode", [AUTO, REVIEW])
def test_nothing_changed_is_nothing_visible(mode: ToolChanges) -> None:
    rows = stored(tool("a"))
    planned = decide(Before(mode, True, rows, pinned(*rows)), tool("a"))
    assert (planned.is_visible, planned.noted, planned.changes) == (False, (), ())
    assert states(planned) == {"a": SERVED}


def test_a_first_discovery_is_visible_and_writes_no_change_down() -> None:
    planned = decide(Before(AUTO, False), tool("a"))
    assert (planned.is_visible, planned.noted, planned.pins) == (True, (), ())


def test_the_baseline_is_pinned_once() -> None:
    planned = decide(Before(REVIEW, False), tool("a"), tool("b"))
    assert [pin.name for pin in planned.pins] == ["a", "b"]
    rows = stored(tool("a"))
    again = decide(Before(REVIEW, False, rows, pinned(*rows)), tool("a"), tool("b"))
    assert again.pins == ()
    assert states(again) == {"a": SERVED, "b": (CapabilityState.HELD, "new_definition")}


@pytest.mark.row(47)
def test_a_held_tool_is_not_visible_and_its_pin_is_what_is_kept() -> None:
    rows = stored(tool("a"))
    planned = decide(Before(REVIEW, True, rows, pinned(*rows)), tool("a", "Else."))
    assert planned.is_visible
    [write] = planned.writes
    assert write.definition_hash == rows[0].definition_hash != write.upstream_hash
    assert [(c.id, c.change, c.change_class) for c in planned.changes] == [
        ("chg_0", "changed", "breaking")
    ]
    assert planned.noted[0].decision == "held"


def test_icons_are_no_change_and_yet_served() -> None:
    rows = stored(tool("a"))
    icons = [{"src": "https://x.example/i.png"}]
    planned = decide(Before(REVIEW, True, rows, pinned(*rows)), tool("a", icons=icons))
    assert states(planned) == {"a": SERVED}
    assert planned.noted == ()
    assert b"icons" in planned.writes[0].definition
    assert planned.is_visible


def test_a_rejected_definition_says_so() -> None:
    rows = stored(tool("a"))
    [other] = stored(tool("a", "Else."))
    rejected = {(CapabilityKey(Kind.TOOL, "a"), other.definition_hash)}
    planned = decide(Before(REVIEW, True, rows, pinned(*rows), rejected), tool("a", "Else."))
    assert states(planned) == {"a": (CapabilityState.HELD, "rejected_definition")}


def test_white_space_alone_is_served_and_noted_under_review_only() -> None:
    rows = stored(tool("a"))
    for mode, count in ((REVIEW, 1), (AUTO, 0)):
        planned = decide(Before(mode, True, rows, pinned(*rows)), tool("a", "Does  it."))
        assert states(planned) == {"a": SERVED}
        assert [note.change_class for note in planned.noted] == ["cosmetic"] * count


def test_what_is_gone_is_removed_and_what_was_not_listed_stays() -> None:
    rows = stored(tool("a"), tool("b")) + stored({"name": "p"}, kind=Kind.PROMPT)
    planned = decide(Before(AUTO, True, rows), tool("a"))
    assert planned.removed == (CapabilityKey(Kind.TOOL, "b"),)
    assert planned.removed_names == ["b"]
    assert CapabilityKey(Kind.TOOL, "b") in planned.settled


def test_removed_resources_settle_nothing() -> None:
    one = {"uri": "note://1", "name": "one"}
    planned = decide(Before(REVIEW, True, stored(one, kind=Kind.RESOURCE)), kind=Kind.RESOURCE)
    assert planned.removed == (CapabilityKey(Kind.RESOURCE, "note://1"),)
    assert planned.settled == frozenset()


def test_resources_are_never_held() -> None:
    one = {"uri": "note://1", "name": "one"}
    planned = decide(Before(REVIEW, True), one, kind=Kind.RESOURCE)
    assert states(planned) == {"note://1": SERVED}


def test_prompts_are_held_like_tools() -> None:
    planned = decide(Before(REVIEW, True), {"name": "p"}, kind=Kind.PROMPT)
    assert states(planned) == {"p": (CapabilityState.HELD, "new_definition")}


def test_a_change_that_was_seen_before_is_not_told_again() -> None:
    rows = stored(tool("a"))
    [other] = stored(tool("a", "Else."))
    seen = msgspec.structs.replace(
        rows[0], state=CapabilityState.HELD, upstream_hash=other.definition_hash
    )
    planned = decide(Before(REVIEW, True, [seen], pinned(*rows)), tool("a", "Else."))
    assert planned.noted == ()
    assert len(planned.changes) == 1
    assert not planned.is_visible
