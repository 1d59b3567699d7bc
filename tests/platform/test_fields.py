"""The field notation and strict validation."""

from typing import Any

import pytest

from scaimcp.dev.platform.errors import Fault, PlatformError
from scaimcp.dev.platform.fields import Fields, fields
from scaimcp.dev.platform.forms import Part


def checked(spec: str, **values: Any) -> tuple[dict[str, Any], list[str]]:
    faults: list[Fault] = []
    accepted = fields(spec).check(values, faults)
    return accepted, [fault.field for fault in faults]


def from_text(spec: str, **values: list[str | Part]) -> tuple[dict[str, Any], list[str]]:
    faults: list[Fault] = []
    accepted = fields(spec).check_text(values, faults)
    return accepted, [fault.field for fault in faults]


@pytest.mark.parametrize(
    ("spec", "good", "bad"),
    [
        ("a:str", ["x", "é" * 256], ["", "x" * 257, 1, None, "\ud800"]),
        ("a:str(<=3)", ["", "abc"], ["abcd"]),
        ("a:str(≤3)", ["", "abc"], ["abcd"]),
        ("a:text", ["x" * 65_536], ["", "x" * 65_537]),
        ("a:id", ["usr_1", "a.b:c-d"], ["", ".", "..", "a/b", "ü", "x" * 129]),
        ("a:slug(1–8)", ["a", "0a.b_c-d"], ["", "A", "-a", "abcdefghi"]),
        ("a:int(1-5)", [1, 5], [0, 6, 1.0, "1", True]),
        ("a:int(≥1)", [1, 10**9], [0]),
        ("a:int", [-5, 5], [1.5]),
        ("a:num(0.25-4)", [0.25, 4, 1], [0.2, 4.1, "1", False]),
        ("a:bool", [True, False], [1, 0, "true"]),
        ("a:money", ["1", "0.25"], ["-1", "1.", "1e5", 1]),
        ("a:map", [{}, {"k": {"n": [1]}}], [[], "x", {str(n): 1 for n in range(65)}]),
        ("a:map", [{}], [{"k": "x" * 16_384}]),
        ("a:enum(x, y)", ["x", "y"], ["z", "X", 1]),
        ("a:list<str(1-2)>(1-2)", [["a"], ["a", "bb"]], [[], ["a", "b", "c"], ["abc"], "a"]),
        ("a:list<{b:int*}>", [[], [{"b": 1}]], [[{}], [{"b": 1, "c": 2}], [1]]),
        ("a:text or list<map>", ["x", [{}]], [1, "", [1]]),
        ("a", [1, None, "x", [{}]], []),
        ("a:any", [None], []),
    ],
)
def test_a_value_is_taken_or_refused(spec: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert checked(spec, a=value) == ({"a": value}, []), value
    for value in bad:
        assert checked(spec, a=value)[1], value


def test_every_fault_is_listed_with_its_place() -> None:
    spec = "a:int*, b:list<{role:enum(x)*, text:str*}>*, c:{d:str*}"
    _, faults = checked(spec, b=[{"role": "y"}, 5], c={"e": 1}, z=1)
    assert faults == ["z", "a", "b[0].role", "b[0].text", "b[1]", "c.e", "c.d"]


def test_an_object_must_be_an_object() -> None:
    assert checked("a:{b:int}", a=[])[1] == ["a"]
    assert from_text("a:{b:int}", a=["{}"])[1] == ["a"]


def test_defaults_fill_absent_fields_and_others_stay_absent() -> None:
    spec = "a:int=5, b:str=x, c:bool=false, d:num=1, e:enum(p,q)=q, f:str"
    assert checked(spec)[0] == {"a": 5, "b": "x", "c": False, "d": 1, "e": "q"}


def test_a_timestamp_becomes_utc() -> None:
    accepted, faults = checked("a:ts", a="2026-03-01T12:00:00+02:00")
    assert (accepted, faults) == ({"a": "2026-03-01T10:00:00.000Z"}, [])


@pytest.mark.parametrize(
    "text", ["2026-03-01", "2026-13-01T00:00:00Z", "now", "0001-01-01T00:00:00+14:00"]
)
def test_a_bad_timestamp_is_refused(text: str) -> None:
    assert checked("a:ts", a=text)[1] == ["a"]


def test_a_partial_set_requires_nothing_and_drops_what_is_named() -> None:
    spec = fields("slug:slug*, name:str*, kind:enum(a,b)=a").partial("slug")
    faults: list[Fault] = []
    assert spec.check({}, faults) == {}
    assert spec.check({"slug": "x"}, faults) == {}
    assert [fault.field for fault in faults] == ["slug"]


def test_sets_join_and_the_right_one_wins() -> None:
    joined: Fields = fields("a:int, b:int") + fields("a:str")
    faults: list[Fault] = []
    assert joined.check({"a": "x", "b": 1}, faults) == {"a": "x", "b": 1}
    assert not faults


def test_a_page_has_limit_and_cursor() -> None:
    assert from_text("@page")[0] == {"limit": 50}
    assert from_text("@page", limit=["101"])[1] == ["limit"]
    assert from_text("@page", limit=["5"], cursor=["x"])[0] == {"limit": 5, "cursor": "x"}


@pytest.mark.parametrize(
    ("spec", "values", "expected"),
    [
        ("a:int", ["7"], 7),
        ("a:num", ["0.5"], 0.5),
        ("a:bool", ["true"], True),
        ("a:bool", ["false"], False),
        ("a:str", ["x"], "x"),
        ("a:enum(x,y)", ["y"], "y"),
        ("a:map", ['{"k":1}'], {"k": 1}),
        ("a:list<enum(x,y)>", ["x", "y"], ["x", "y"]),
        ("a:text|list<text>", ["x"], "x"),
        ("a", ["x"], "x"),
    ],
)
def test_text_is_read_as_the_type(spec: str, values: list[str | Part], expected: Any) -> None:
    assert from_text(spec, a=values) == ({"a": expected}, [])


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ("a:int", ["x"]),
        ("a:int", ["1", "2"]),
        ("a:int", ["\ud800"]),
        ("a:bool", ["1"]),
        ("a:bool", []),
        ("a:str", ["a", "b"]),
        ("a:map", ["x"]),
        ("a:map", ["[]"]),
        ("a:map", ["{}", "{}"]),
        ("a:list<str>(1-1)", ["a", "b"]),
        ("a:str", [Part("f", "text/plain", b"x")]),
        ("a:file", ["x"]),
        ("a:file", []),
        ("a:file", [Part("f", "text/plain", b"")]),
    ],
)
def test_text_that_does_not_fit_is_refused(spec: str, values: list[str | Part]) -> None:
    assert from_text(spec, a=values)[1] == ["a"]


def test_unknown_and_missing_fields_of_a_query_are_faults() -> None:
    assert from_text("a:int*", b=["1"])[1] == ["b", "a"]


def test_a_file_is_taken_up_to_its_size() -> None:
    part = Part("f", "text/plain", b"xy")
    assert from_text("a:file(1-2)*", a=[part]) == ({"a": part}, [])
    assert from_text("a:file", a=[part]) == ({"a": part}, [])
    assert fields("a:file").entries["a"].node.accepts(part)
    with pytest.raises(PlatformError) as caught:
        from_text("a:file(1-1)*", a=[part])
    assert caught.value.code == "PAYLOAD_TOO_LARGE"


def test_a_union_of_types_is_accepted_within_a_union() -> None:
    assert (
        checked("a:list<int|str|bool|list<int>|{x:int}|map>", a=[1, "x", True, [1], {"x": 1}])[1]
        == []
    )


@pytest.mark.parametrize(
    "spec", ["a:what", "a:list", "a:{b", "a:int=x", ":int", "a:enum(x", "a:int*,,"]
)
def test_a_mistake_in_the_notation_is_found_at_import(spec: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        fields(spec)
