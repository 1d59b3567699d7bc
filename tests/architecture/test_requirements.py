"""Every requirement on the protocol names its tests, and every protocol test a requirement."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]
PROTOCOL = sorted((ROOT / "tests" / "integration").glob("test_protocol_*.py"))


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the protocol or a contract demands, where it says so, and which tests show it."""

    id: str
    source: str
    text: str
    tests: list[str]


REQUIREMENTS = msgspec.json.decode(
    (ROOT / "tests" / "requirements.json").read_bytes(), type=list[Requirement]
)


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of a module's test functions, without importing it."""
    tree: Any = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


def missing(node_id: str) -> bool:
    """Tell whether a node id such as ``tests/a/test_b.py::test_c`` names no test."""
    path, _, name = node_id.partition("::")
    file = ROOT / path
    return not file.is_file() or name not in names_in(file)


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda r: r.id)
def test_a_requirement_is_complete_and_its_tests_exist(requirement: Requirement) -> None:
    assert requirement.source
    assert requirement.text
    assert requirement.tests
    assert [node_id for node_id in requirement.tests if missing(node_id)] == []


def test_every_requirement_has_an_id_of_its_own() -> None:
    counted = Counter(requirement.id for requirement in REQUIREMENTS)
    assert [each for each, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("path", PROTOCOL, ids=lambda path: path.stem)
def test_every_protocol_test_shows_a_requirement(path: Path) -> None:
    named = {node_id for requirement in REQUIREMENTS for node_id in requirement.tests}
    relative = path.relative_to(ROOT).as_posix()
    assert {name for name in names_in(path) if f"{relative}::{name}" not in named} == set()


def test_a_test_that_does_not_exist_is_noticed() -> None:
    assert missing("tests/integration/test_nothing.py::test_x")
    assert missing("tests/architecture/test_requirements.py::test_x")
    assert not missing(
        "tests/architecture/test_requirements.py::test_a_test_that_does_not_exist_is_noticed"
    )
    assert PROTOCOL
