"""Every guard case and every bad input of ScaiVault's contract is held by a test.

A test says which it holds by a mark (``guard`` or ``badinput``), by its name (``test_g42_…``), or
by rows of data whose first cell is the number. Spec: scaivault 2.7, 10.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests/unit/scaivault", "tests/integration/scaivault")
GUARDS = {f"G{number:02}" for number in range(1, 65)}
BAD_INPUT = {f"B{number:02}" for number in range(1, 24)}
LETTERS = {"guard": "G", "badinput": "B"}
NUMBER = re.compile(r"[GB]\d\d")
IN_NAME = re.compile(r"_([gb]\d\d)(?=_)")
_UNIT, _REAL = "tests/unit/scaivault/", "tests/integration/scaivault/"
_START = f"{_REAL}test_command_start.py::test_a_start_that_cannot_be_is_one_line_without_the_value"
# Tests of whole tables of their own, which are not sorted by number.
ELSEWHERE = {
    "G03": (f"{_UNIT}test_guard_settings.py::test_a_guard_that_cannot_be_read_ends_the_start",
            _START),
    "G04": (f"{_UNIT}test_guard_settings.py::test_a_slip_in_a_guards_name_ends_the_start", _START),
    "G08": (f"{_UNIT}test_guard_settings.py::test_guards_that_leave_nothing_give_a_warning",),
    "G41": (f"{_UNIT}test_guard_settings.py::test_a_guard_that_cannot_be_read_ends_the_start",
            _START),
    "B14": (f"{_REAL}test_command_stdio.py::test_a_line_of_two_mebibytes_is_refused_and_skipped",
            f"{_REAL}test_command_http.py::test_a_body_of_unknown_length_is_cut_off"),
    "B15": (f"{_REAL}test_command_stdio.py::test_a_bad_line_is_answered_and_the_next_one_is_served",
            f"{_REAL}test_command_stdio.py::test_what_comes_before_initialize_is_refused",
            f"{_REAL}test_command_http.py::test_bad_messages_are_answered_on_the_stream"),
    "B16": (f"{_REAL}test_command_http.py::test_an_unknown_connection_is_refused",
            f"{_REAL}test_command_http.py::test_only_post_is_served",
            f"{_REAL}test_command_http.py::test_a_wrong_bearer_is_refused",
            f"{_REAL}test_command_http.py::test_a_foreign_origin_is_refused"),
    "B17": (_START,),
    "B18": (_START,),
    "B19": (_START,),
    "B20": (_START,
            f"{_REAL}test_command_start.py::test_a_token_file_that_is_too_large_is_refused",
            f"{_REAL}test_command_stdio.py::test_a_changed_token_file_is_read_again"),
}  # fmt: skip


def trees() -> list[tuple[str, ast.Module]]:
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8")))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


@cache
def held() -> dict[str, set[str]]:
    """Return where each number is held, importing nothing."""
    found: dict[str, set[str]] = defaultdict(set)
    for file, tree in trees():
        for node in ast.walk(tree):
            for number in _numbers(node):
                found[number].add(file)
    return found


def _numbers(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value} if NUMBER.fullmatch(node.value) else set()
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return set()
    named = {number.upper() for number in IN_NAME.findall(node.name)}
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Attribute):
            letter = LETTERS.get(mark.func.attr, "")
            if letter and ast.unparse(mark.func.value) == "pytest.mark":
                named |= {f"{letter}{ast.literal_eval(cell):02}" for cell in mark.args}
    return named


@cache
def all_tests() -> set[str]:
    """Return every test as ``file::name``."""
    return {
        f"{file}::{node.name}"
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("numbers", [GUARDS, BAD_INPUT], ids=["guards", "bad input"])
def test_every_number_of_the_contract_is_held_by_a_test(numbers: set[str]) -> None:
    assert sorted(numbers - set(held()) - set(ELSEWHERE)) == []


def test_no_number_is_none_of_the_contract() -> None:
    assert sorted(set(held()) - GUARDS - BAD_INPUT) == []


def test_the_tests_that_are_named_here_exist() -> None:
    named = {test for group in ELSEWHERE.values() for test in group}
    assert sorted(named - all_tests()) == []
