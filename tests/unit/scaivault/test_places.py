"""Places in objects. Spec: scaivault 1 (path check, masked)."""

from __future__ import annotations

from typing import Any

import pytest

from scaimcp.scaivault.places import changed_at, fits, found_at


@pytest.mark.parametrize(
    ("where", "holder", "found"),
    [
        ("path", {"path": "a", "x": 1}, [("path", "a")]),
        ("path", {}, []),
        ("paths[]", {"paths": ["a", "b"]}, [("paths[0]", "a"), ("paths[1]", "b")]),
        ("paths[]", {"paths": "a"}, [("paths", "a")]),
        ("paths[]", {"paths": None}, [("paths", None)]),
        ("rules[].glob", {"rules": [{"glob": "a"}, {}]}, [("rules[0].glob", "a")]),
        ("rules[].glob", {"rules": ["a"]}, [("rules[0]", "a")]),
        ("map{}", {"map": {"a": 1, "b": 2}}, [("map[0]", "a"), ("map[1]", "b")]),
        ("map{}", {"map": ["a"]}, [("map[0]", "a")]),
        ("map{}", {"map": 7}, [("map", 7)]),
        ("config.*_path", {"config": {"a_path": "x", "b": 1}}, [("config.a_path", "x")]),
        ("config.*_path", {"config": {"A_PATH": "x"}}, [("config.A_PATH", "x")]),
        ("config.*_path", {"config": {"b": {"a_path": "x"}}}, [("config.b.a_path", "x")]),
        ("config.*_path", {"config": {"b": [{"a_path": "x"}, 1]}}, [("config.b[0].a_path", "x")]),
        ("config.*_path", {"config": "x"}, [("config", "x")]),
    ],
)
def test_what_stands_at_a_place_is_found(
    where: str, holder: dict[str, Any], found: list[tuple[str, Any]]
) -> None:
    assert list(found_at(where, holder)) == found


def test_long_names_are_shortened() -> None:
    assert next(found_at("config.*_path", {"config": {"x" * 99 + "_path": 1}}))[0] == (
        "config." + "x" * 64
    )


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ("path", {"path": 1, "x": 1}, {"path": "!", "x": 1}),
        ("path", {"path": None}, {"path": None}),
        ("paths[]", {"paths": [1, 2]}, {"paths": ["!", "!"]}),
        ("paths[]", {"paths": 1}, {"paths": "!"}),
        ("rules[].glob", {"rules": [{"glob": 1}, 7]}, {"rules": [{"glob": "!"}, "!"]}),
        ("rules[].glob", {"rules": {"glob": 1}}, {"rules": {"glob": "!"}}),
        ("rules[].glob", {"rules": "x"}, {"rules": "!"}),
        ("rules[].glob", {"rules": None}, {"rules": None}),
        ("c.*_path", {"c": {"a_path": 1, "b": 1}}, {"c": {"a_path": "!", "b": 1}}),
        ("c.*_path", {"c": {"b": {"a_path": 1}}}, {"c": {"b": {"a_path": "!"}}}),
        ("c.*_path", {"c": {"b": [{"a_path": 1}]}}, {"c": {"b": [{"a_path": "!"}]}}),
        ("c.*_path", {"c": [1]}, {"c": "!"}),
        ("missing", {"x": 1}, {"x": 1}),
    ],
)  # fmt: skip
def test_what_stands_at_a_place_is_changed(where: str, before: Any, after: Any) -> None:
    copy = repr(before)
    assert changed_at(where, before, lambda _: "!") == after
    assert repr(before) == copy


def test_a_star_stands_for_the_begin_of_a_name() -> None:
    assert fits("*_path", "root_path")
    assert not fits("*_path", "path")
    assert fits("path", "path")
    assert not fits("path", "PATH")
