"""Every row of docs/faults-remote.md and every invariant has tests that bear its mark."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "faults-remote.md").read_text(encoding="utf-8")
ROWS, SECOND_STEP, INVARIANTS = re.split(r"^## .+$", PAGE, flags=re.MULTILINE)
# Where remote servers' code reads this machine's clock; all else counts by the database's.
WALL_CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
LOCAL_TIME = {
    "remotes/watching/followup.py": "when a job that must pause begins",
    "remotes/consent/state_sealing.py": "expiry in a value that is not stored",
    "jobs/remotes.py": "when a tick's jobs begin",
    "upstream/errors.py": "a Retry-After that is a date",
}
# Wholly of the second step: these need no test, and may have one of what happens now.
LATER = {11}


def first_cells(table: str, form: str) -> list[str]:
    return re.findall(rf"^\| ({form}) \|", table, flags=re.MULTILINE)


@cache
def marked() -> dict[tuple[str, Any], list[str]]:
    """Return the tests by mark, ``("row", 14)`` or ``("invariant", "I1")``, importing nothing."""
    found: dict[tuple[str, Any], list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.row(" not in text and "mark.invariant(" not in text:
            continue
        for test in ast.walk(ast.parse(text)):
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
                for mark in marks_of(test):
                    found[mark].append(f"{path.relative_to(ROOT)}::{test.name}")
    return found


def marks_of(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, Any]]:
    for decorator in test.decorator_list:
        if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute):
            word = decorator.func.attr
            if word in ("row", "invariant") and ast.unparse(decorator.func.value) == "pytest.mark":
                for argument in decorator.args:
                    yield word, ast.literal_eval(argument)


def test_the_page_has_every_row_once_and_in_order() -> None:
    assert first_cells(ROWS, r"\d+") == [str(n) for n in range(1, 71)]
    assert first_cells(INVARIANTS, r"I\d") == [f"I{n}" for n in range(1, 8)]
    assert {int(n) for n in first_cells(SECOND_STEP, r"\d+")} >= LATER


def test_every_row_has_a_test() -> None:
    missing = [n for n in range(1, 71) if ("row", n) not in marked() and n not in LATER]
    assert missing == []


def test_every_invariant_has_a_test() -> None:
    missing = [n for n in range(1, 8) if ("invariant", f"I{n}") not in marked()]
    assert missing == []


def test_no_mark_names_what_is_not_on_the_page() -> None:
    known = {("row", n) for n in range(1, 71)} | {("invariant", f"I{n}") for n in range(1, 8)}
    assert {mark: tests for mark, tests in marked().items() if mark not in known} == {}


def test_marks_stand_on_tests_only() -> None:
    wrong = [one for tests in marked().values() for one in tests if "::test_" not in one]
    assert wrong == []


@pytest.mark.row(66)
def test_leases_and_due_times_know_the_clock_of_the_database_only() -> None:
    package = ROOT / "scaimcp"
    found = {
        path.relative_to(package).as_posix()
        for folder in ("remotes", "jobs", "upstream", "credentials", "versions")
        for path in (package / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in WALL_CLOCKS
    }
    assert found == set(LOCAL_TIME)
