"""What the reader gets: tables, facts, one line of JSON per row; and what processes inherit."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.__main__ import keep
from bench.goals import Findings, Goal, goals
from bench.processes import announce, clean_environment, python, status_of
from bench.report import Facts, facts, goal_table, machine_lines, processor, run_table, whole
from bench.single import Memory
from tests.unit.bench.records import record

FACTS = Facts("A Processor", 2, "6.1", "3.11.7", {"uvicorn": "0.54"}, 0.5)


def test_goals_stand_beside_what_was_measured() -> None:
    table = goal_table([Goal("a", "ms", 0.25, 0.2), Goal("b", "MiB", 110, None)])
    assert table[2:] == ["| a | 0.25 ms | 0.20 ms | ok |", "| b | 110 MiB | – | – |"]


def test_runs_are_told_as_medians_with_their_range() -> None:
    rows = [record("direct", cpu, number=n) for n, cpu in enumerate((0.3, 0.1, 0.2))]
    (line,) = run_table(rows)[2:]
    assert line == (
        "| models_get c=16 | direct | 0.200 (0.100–0.300) | 500 | 2.00 / 5.0 | 50 | 1.00 |"
    )


def test_runs_without_a_good_answer_have_no_row() -> None:
    assert run_table([record("direct", 0.1, ok=0, errors=1)])[2:] == []


@pytest.mark.parametrize(("cores", "words"), [(0.05, "a quiet machine"), (0.8, "a shared machine")])
def test_a_shared_machine_is_called_that(cores: float, words: str) -> None:
    lines = machine_lines(FACTS, [record("direct", 0.1, other_cores=cores)])
    assert lines[-1].startswith(words)


def test_the_report_holds_facts_goals_and_runs() -> None:
    findings = Findings((record("direct", 0.1),), 153, 262_846, Memory(50.0, 51.0, 52.0, 200_000))
    text = whole(FACTS, findings, goals(findings))
    assert "2 × A Processor, Linux 6.1, Python 3.11.7" in text
    assert "tools/list: 153 tools, 262,846 bytes; growth measured over 200,000 calls" in text
    assert "| growth after 200,000 calls | 5 MiB | 1 MiB | ok |" in text


def test_the_facts_name_this_machine() -> None:
    known = facts()
    assert known.cores >= 1
    assert "msgspec" in known.libraries


def test_a_processor_without_a_name_is_unknown() -> None:
    assert processor("model name\t: X 2.1GHz\nmodel name\t: X") == "X 2.1GHz"
    assert processor("Features: fp") == "unknown processor"


def test_results_are_kept_as_lines_of_json_that_name_their_kind(tmp_path: Path) -> None:
    path = keep(tmp_path / "results", [FACTS, record("direct", 0.1)])
    first, second = map(msgspec.json.decode, path.read_bytes().splitlines())
    assert (first["kind"], second["kind"]) == ("facts", "record")
    assert second["row"]["answers"]["p99_ms"] == 5.0


def test_a_measured_process_inherits_no_settings_and_no_switches_of_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SCAIMCP_LOG_LEVEL", "PYTHONDONTWRITEBYTECODE", "SCAIGRID_HOST", "KEPT"):
        monkeypatch.setenv(name, "x")
    env = clean_environment({"SCAIMCP_PUBLIC_URL": "u"})
    assert {n for n in env if n.startswith(("SCAIMCP", "PYTHON", "SCAIGRID"))} == {
        "SCAIMCP_PUBLIC_URL"
    }
    assert env["KEPT"] == "x"


def test_a_ready_file_is_complete_as_soon_as_it_is_there(tmp_path: Path) -> None:
    announce(tmp_path / "ready", "http://127.0.0.1:1")
    assert [file.name for file in tmp_path.iterdir()] == ["ready"]


def test_modules_run_under_this_python() -> None:
    assert python("scaimcp", "serve")[1:] == ["-m", "scaimcp", "serve"]


def test_nobody_listening_is_no_status() -> None:
    assert status_of("http://127.0.0.1:1", "/readyz") == 0
