"""What tells two answers apart; a comparison that sees nothing would prove nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.foreign.comparing import ABSENT, Comparison, Meant, differences, steady

MEANT = Meant("because", "tools/list .*", "/a/[^/]+/title", through="absent")


@pytest.mark.parametrize(
    ("direct", "through", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, [("/a", 1, 1.0)]),
        ({"a": True}, {"a": 1}, [("/a", True, 1)]),
        ({"a": None}, {}, [("/a", None, ABSENT)]),
        ({}, {"a": None}, [("/a", ABSENT, None)]),
        ({"a/b": {"~": 1}}, {"a/b": {"~": 2}}, [("/a~1b/~0", 1, 2)]),
        ([1, [2]], [1, [3]], [("/1/0", 2, 3)]),
        ([1], [1, 2], [("", [1], [1, 2])]),
        ({"_meta": {"x": 1}}, {}, [("/_meta/x", 1, ABSENT)]),
        ({}, {"_meta": {}}, []),
        ({"a": {"x": 1}}, {}, [("/a", {"x": 1}, ABSENT)]),
    ],
)
def test_differences_are_found(direct: Any, through: Any, found: list[Any]) -> None:
    assert [tuple(one) for one in differences(direct, through)] == found


def test_only_what_is_meant_is_left_out_and_it_is_remembered() -> None:
    comparison = Comparison([MEANT])
    direct: Any = {"a": {"b": {"title": "T"}}}
    through: Any = {"a": {"b": {}}}
    assert comparison.unexplained("tools/list one", direct, direct) == []
    assert comparison.seen == set()
    assert comparison.missing == ["because"]
    assert comparison.unexplained("tools/list one", direct, through) == []
    assert comparison.seen == {MEANT}
    assert comparison.missing == []
    assert comparison.unexplained("prompts/list one", direct, through) != []
    assert comparison.unexplained("tools/list one", through, direct) != []


def test_what_never_repeats_is_steady() -> None:
    one = ["at 10:02:03 AM", "id 1b4e28ba-2fa1-11d2-883f-0016d3cca427", {"n": 1}]
    other = ["at 9:59:59 PM", "id 00000000-2fa1-11d2-883f-0016d3cca427", {"n": 1}]
    assert steady(one) == steady(other)
    assert steady("10 apples") == "10 apples"
