"""No input reaches a denied path, and no layer of guards widens another. Spec: scaivault 2.3, 3."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from scaimcp.scaivault.arguments import read_arguments
from scaimcp.scaivault.catalogue import TOOLS
from scaimcp.scaivault.errors import VaultError
from scaimcp.scaivault.guards import (
    Guards,
    check_arguments,
    glob_passes,
    has_group,
    is_refused,
    meet,
    passes,
    row_passes,
    window,
)
from scaimcp.scaivault.paths import glob_matches, read_glob, read_path
from scaimcp.scaivault.records import ToolRecord
from tests.unit.scaivault.drawing import GLOBS, GUARDS, LIKE_PATHS, PATHS, guarded_globs
from tests.unit.scaivault.samples import SAMPLES, record_of

# Thousands of examples: for the whole run, not for `make check`.
pytestmark = pytest.mark.slow

WITH_PATH = [
    record
    for record in TOOLS
    if any(check.kind == "path" and check.where == "path" for check in record.checks)
]


GLOB_ARGUMENTS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "AP3": lambda globs: {
        "rules": [{"path_pattern": glob, "permissions": ["read"]} for glob in globs]
    },
    "FE3": lambda globs: {"path_mapping": dict.fromkeys(globs, "x"), "config": {}},
    "SU3": lambda globs: {"paths": globs},
}


def is_below(entry: str, path: str) -> bool:
    """Tell the same as `covers`, in other words, so that one slip does not hide another."""
    above, segments = entry.split("/"), path.split("/")
    return len(above) <= len(segments) and all(
        one == other for one, other in zip(above, segments, strict=False)
    )


def is_reachable(path: str, guards: Guards) -> bool:
    """Tell what the contract says of a path that is one."""
    if any(is_below(entry, path) for entry in guards.denied):
        return False
    return guards.allowed is None or any(is_below(entry, path) for entry in guards.allowed)


def taken(record: ToolRecord, arguments: dict[str, Any], guards: Guards) -> dict[str, Any] | None:
    """Return the arguments as they would be sent, None where the call is refused."""
    try:
        complete = read_arguments(record, json.dumps(arguments).encode())
        check_arguments(record, complete, guards)
    except VaultError:
        return None
    return complete


@pytest.mark.parametrize("record", WITH_PATH, ids=lambda record: record.code)
@given(guards=GUARDS, path=LIKE_PATHS)
def test_whatever_is_sent_as_a_path_is_one_and_is_reachable(
    record: ToolRecord, guards: Guards, path: str
) -> None:
    sent = taken(record, {**SAMPLES[record.code], "path": path}, guards)
    if sent is not None:
        assert sent["path"] == path
        assert read_path(path) == path
        assert is_reachable(path, guards)


@given(GUARDS, PATHS)
def test_a_path_passes_exactly_where_the_contract_says_so(guards: Guards, path: str) -> None:
    assert passes(path, guards) == is_reachable(path, guards)
    is_sent = taken(record_of("S1"), {"path": path}, guards) is not None
    assert is_sent == is_reachable(path, guards)


@given(GUARDS, LIKE_PATHS, st.sampled_from(["root_credentials_path", "other_path", "X_PATH"]))
def test_whatever_is_sent_as_a_path_inside_settings_is_reachable(
    guards: Guards, path: str, name: str
) -> None:
    config = {"plugin": "redis", "connection_url": "redis://db", "root_credentials_path": "a"}
    arguments = {"name": "e", "type": "database", "config": {**config, name: path}}
    sent = taken(record_of("DY3"), arguments, guards)
    if sent is not None:
        assert is_reachable(path, guards)
        assert is_reachable(sent["config"]["root_credentials_path"], guards)


Drawn = tuple[Guards, str, str]


@given(guarded_globs())
def test_a_drawn_glob_matches_its_path(drawn: Drawn) -> None:
    _, glob, path = drawn
    assert read_glob(glob) == glob
    assert glob_matches(glob, path)


@given(guarded_globs())
def test_no_glob_that_passes_matches_a_path_out_of_reach(drawn: Drawn) -> None:
    guards, glob, path = drawn
    if glob_passes(glob, guards):
        assert is_reachable(path, guards)


def test_many_of_the_drawn_globs_pass() -> None:
    found = find(guarded_globs(), lambda drawn: glob_passes(drawn[1], drawn[0]))
    assert is_reachable(found[2], found[0])
    wide = find(guarded_globs(), lambda drawn: "*" in drawn[1] and glob_passes(drawn[1], drawn[0]))
    assert is_reachable(wide[2], wide[0])


@pytest.mark.parametrize("code", ["AP3", "FE3", "SU3"])
@given(drawn=guarded_globs(), others=st.lists(GLOBS | LIKE_PATHS, max_size=2), at=st.integers(0, 2))
def test_no_pattern_that_is_sent_matches_a_path_out_of_reach(
    code: str, drawn: Drawn, others: list[str], at: int
) -> None:
    guards, glob, path = drawn
    globs = [*others[:at], glob, *others[at:]]
    sent = taken(record_of(code), {**SAMPLES[code], **GLOB_ARGUMENTS[code](globs)}, guards)
    if sent is not None:
        assert is_reachable(path, guards)
        assert all(glob_passes(one, guards) for one in globs)


@given(GUARDS, PATHS | st.just(""), PATHS)
def test_a_window_lists_what_is_reachable_and_nothing_twice(
    guards: Guards, prefix: str, path: str
) -> None:
    asked = window(prefix, guards)
    assert list(asked) == sorted(set(asked))
    covering = [entry for entry in asked if not entry or is_below(entry, path)]
    assert len(covering) <= 1
    is_listed = bool(covering) and row_passes(record_of("S4"), {"path": path}, guards)
    is_wanted = not prefix or is_below(prefix, path)
    assert is_listed == (is_wanted and is_reachable(path, guards))


@given(GUARDS, LIKE_PATHS)
def test_a_window_holds_no_denied_prefix(guards: Guards, prefix: str) -> None:
    for entry in window(prefix, guards):
        assert not any(is_below(denied, entry) for denied in guards.denied)
        if guards.allowed is not None:
            assert any(is_below(allowed, entry) for allowed in guards.allowed)


@given(GUARDS, st.lists(LIKE_PATHS | st.none() | st.integers(), max_size=5))
def test_a_row_that_is_shown_is_reachable(guards: Guards, paths: list[Any]) -> None:
    for path in paths:
        if guards.is_limited and row_passes(record_of("S4"), {"path": path}, guards):
            assert is_reachable(path, guards)


@given(GUARDS, GUARDS, PATHS, GLOBS, st.sampled_from(TOOLS))
def test_a_meeting_never_widens(
    operator: Guards, tenant: Guards, path: str, glob: str, record: ToolRecord
) -> None:
    met = meet(operator, tenant)
    for layer in (operator, tenant):
        assert passes(path, met) <= passes(path, layer)
        assert glob_passes(glob, met) <= glob_passes(glob, layer)
        assert has_group(record, met) <= has_group(record, layer)
        assert is_refused(record, met) >= is_refused(record, layer)
        assert met.mask_values >= layer.mask_values


@given(GUARDS, GUARDS, PATHS)
def test_a_meeting_reaches_what_both_reach(operator: Guards, tenant: Guards, path: str) -> None:
    met = meet(operator, tenant)
    assert passes(path, met) == (passes(path, operator) and passes(path, tenant))


@given(GUARDS, GUARDS, GUARDS)
def test_meetings_know_no_order(one: Guards, two: Guards, three: Guards) -> None:
    assert meet(one, two) == meet(two, one)
    assert meet(one, one) == meet(one, Guards())
    left, right = meet(meet(one, two), three), meet(one, meet(two, three))
    assert left == right
