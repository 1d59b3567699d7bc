"""Medians, ratios and verdicts."""

from __future__ import annotations

import pytest

from bench.goals import Findings, Goal, added, cpu_of, errors_of, goals, median, ratio_of
from bench.load import Record
from bench.remotes import Discovery, Remotes
from bench.single import Memory
from tests.unit.bench.records import record

CALL, LIST = "models_get c=16", "tools/list c=16"
ONE, MANY = "models_get c=1", "models_get c=64"


def verdicts(findings: Findings) -> dict[str, str]:
    return {goal.what: goal.verdict for goal in goals(findings)}


def whole() -> Findings:
    rows = []
    for engine, cpu, floor in (("uvicorn", 0.2, 0.125), ("hypercorn", 0.6, 0.5)):
        rows += [record(f"gateway/{engine}", cpu), record(f"forward/{engine}", floor)]
        rows += [
            record(f"gateway/{engine}", 0.3, group=LIST),
            record(f"bytes/{engine}", 0.1, group=LIST),
        ]
    for group in (ONE, MANY):
        rows += [
            record("gateway/uvicorn", 0.3, group=group, p50_ms=0.9, p99_ms=50.0),
            record("direct", 0.01, group=group, p50_ms=0.1, p99_ms=2.0),
        ]
    rows += remote_rows()
    found = Remotes(Discovery(1_000, 61.0, p99_before=2.0, p99_meanwhile=2.5), 4.0)
    memory = Memory(60.0, 61.0, 63.5, 200_000)
    return Findings(tuple(rows), 153, 262_846, memory, 1.2, 4.5, found)


def remote_rows() -> list[Record]:
    rows = []
    for kind, cpu, crowded in (("modern", 0.2, 0.21), ("legacy", 0.3, 0.36), ("stream", 0.2, 0.2)):
        group = f"remote, {kind} c=16"
        rows += [
            record("remote/uvicorn", cpu, group=group),
            record("remote/hypercorn", 2 * cpu, group=group),
            record("crowded/uvicorn", crowded, group=group),
        ]
    listed = "tools/list, 1,000 remote"
    rows.append(record("listing/uvicorn", 0.9, group=f"{listed} c=16"))
    rows.append(record("listing/uvicorn", 0.9, group=f"{listed} c=1", p50_ms=21.0))
    return rows


def test_each_goal_is_judged_by_its_own_figures() -> None:
    judged = {what: verdict for what, verdict in verdicts(whole()).items() if verdict != "–"}
    assert judged == {
        "tools/call, uvicorn: CPU": "ok",
        "tools/call, uvicorn: to the floor": "ok",
        "tools/call, hypercorn: CPU": "over",
        "tools/call, hypercorn: to the floor": "ok",
        "tools/list, uvicorn: to the same bytes": "over",
        "tools/list, hypercorn: to the same bytes": "over",
        "added latency, p50 at c=1": "over",
        "added latency, p99 at c=64": "over",
        "idle memory (PSS)": "ok",
        "growth after 200,000 calls": "ok",
        "cold start of scaimcp serve": "ok",
        "scaimcp dev, warm": "over",
        "remote tools/call, modern, uvicorn: CPU": "ok",
        "remote tools/call, modern, hypercorn: CPU": "ok",
        "the same in the crowd, modern": "ok",
        "remote tools/call, legacy, uvicorn: CPU": "over",
        "remote tools/call, legacy, hypercorn: CPU": "over",
        "the same in the crowd, legacy": "over",
        "remote tools/call, stream, uvicorn: CPU": "ok",
        "remote tools/call, stream, hypercorn: CPU": "ok",
        "the same in the crowd, stream": "ok",
        "tools/list, 1,000 remote: CPU": "ok",
        "tools/list, 1,000 remote: whole page at c=1": "over",
        "1,000 definitions in a process": "ok",
        "discovery of the crowd": "over",
        "p99 of a gateway meanwhile": "ok",
    }


def test_what_was_not_measured_has_no_verdict() -> None:
    assert set(verdicts(Findings((), 153, 1)).values()) == {"–"}


def test_a_value_at_the_limit_is_within_it() -> None:
    assert Goal("x", "ms", 1.0, 1.0).verdict == "ok"


def test_ratios_are_taken_within_a_round_before_the_median() -> None:
    # The machine was three times slower in the second round: the ratio does not see it.
    rows = [
        record("gateway/uvicorn", 0.2, number=0), record("forward/uvicorn", 0.1, number=0),
        record("gateway/uvicorn", 0.6, number=1), record("forward/uvicorn", 0.3, number=1),
        record("gateway/uvicorn", 0.2, number=2), record("forward/uvicorn", 0.1, number=2),
    ]  # fmt: skip
    assert ratio_of(rows, CALL, "gateway/uvicorn", "forward/uvicorn") == pytest.approx(2.0)
    assert cpu_of(rows, CALL, "gateway/uvicorn") == 0.2


def test_a_round_without_its_counterpart_does_not_count() -> None:
    rows = [record("gateway/uvicorn", 0.9, number=1), record("forward/uvicorn", 0.1, number=0)]
    assert ratio_of(rows, CALL, "gateway/uvicorn", "forward/uvicorn") is None


def test_a_floor_that_used_no_measurable_cpu_gives_no_ratio() -> None:
    rows = [record("gateway/uvicorn", 0.9), record("forward/uvicorn", 0.0)]
    assert ratio_of(rows, CALL, "gateway/uvicorn", "forward/uvicorn") is None


def test_added_latency_is_the_difference_to_the_direct_call() -> None:
    rows = [
        record("gateway/uvicorn", 0.3, group=ONE, p50_ms=0.75),
        record("direct", 0.1, group=ONE, p50_ms=0.25),
    ]
    assert added(rows, ONE, lambda row: row.answers.p50_ms) == 0.5


def test_runs_without_a_good_answer_are_no_figures() -> None:
    rows = [record("gateway/uvicorn", 0.0, ok=0, errors=5)]
    assert cpu_of(rows, CALL, "gateway/uvicorn") is None


def test_bad_answers_are_told_with_where_they_came_from() -> None:
    rows = [record("direct", 0.1), record("gateway/uvicorn", 0.1, errors=2)]
    (told,) = errors_of(rows)
    assert told.startswith("models_get c=16, gateway/uvicorn: 2 bad answers of 1002")


def test_growth_needs_both_figures() -> None:
    assert Memory(50.0).growth is None
    assert Memory(50.0, 60.0, 62.5).growth == 2.5


def test_the_median_of_nothing_is_nothing() -> None:
    assert median([]) is None
