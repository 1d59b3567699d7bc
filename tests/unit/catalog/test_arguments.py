"""Arguments against input schemas: what passes, what is refused and how it is said.

Spec: core-tools 4 and 7.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaimcp.catalog.arguments import MAX_FAULTS, MAX_MAP_BYTES, compile_arguments
from scaimcp.catalog.builtin import CORE, GATEWAY, MODULES
from scaimcp.catalog.definition import Rule
from scaimcp.catalog.notation import arg, object_schema
from scaimcp.catalog.schemarules import SchemaError

TOOLS = {tool.name: tool for tool in (*CORE, *GATEWAY, *MODULES)}
CHECKS = {name: compile_arguments(tool.input_schema, tool.rules) for name, tool in TOOLS.items()}


NESTED = dict.fromkeys(("role", "content", "n", "tags", "deep"), "A member of it.")


def schema(*notations: str) -> dict[str, Any]:
    return object_schema([arg(text, "An argument.", NESTED) for text in notations])


def check(raw: dict[str, Any], *notations: str) -> dict[str, Any]:
    """Return the cleaned arguments, which must have no faults."""
    cleaned, faults = compile_arguments(schema(*notations)).check(raw)
    assert faults == []
    return cleaned


def faults(raw: dict[str, Any], *notations: str) -> dict[str, str]:
    """Return message by field."""
    found = compile_arguments(schema(*notations)).check(raw)[1]
    assert found
    assert all(set(fault) == {"field", "message"} for fault in found)
    return {fault["field"]: fault["message"] for fault in found}


MESSAGES = (
    "messages:list<{role:enum(system,user)*, content:text*, n:int(1–3), "
    "tags:list<str(1–3)>(≤2), deep:map}>(1–3)*"
)


# What passes


@pytest.mark.parametrize(
    ("notation", "value"),
    [
        ("a:str", "x"),
        ("a:str", "x" * 256),
        ("a:str(≤5)", ""),
        ("a:str(1–3)", "äöü"),
        ("a:str(1–1)", "😀"),
        ("a:ts", "2025-06-01T12:00:00Z"),
        ("a:int", -(2**63)),
        ("a:int", 2**63 - 1),
        ("a:int(≥1)", 1),
        ("a:int(0–5)", 5),
        ("a:num(0.25–4)", 0.25),
        ("a:num(0–2)", 1),
        ("a:bool", True),
        ("a:enum(x,y)", "y"),
        ("a:map", {}),
        ("a:map", {"k": [None, {"deep": 1.5}]}),
        ("a:list<str>(≤2)", []),
        ("a:list<id>(1–2)", ["x", "y"]),
        ("a:list<map>(≤2)", [{"k": 1}]),
    ],
)
def test_a_fitting_value_passes_unchanged(notation: str, value: Any) -> None:
    raw = {"a": value}
    cleaned = check(raw, notation)
    assert cleaned == raw
    assert type(cleaned["a"]) is type(value)


def test_nested_objects_pass() -> None:
    raw = {"messages": [{"role": "user", "content": "hi", "n": 2, "tags": ["a"], "deep": {"k": 1}}]}
    assert check(raw, MESSAGES) == raw


def test_no_arguments_pass_where_none_are_required() -> None:
    assert check({}, "a:str", "b:int") == {}
    assert CHECKS["me_get"].check({}) == ({}, [])


# Leniency


@pytest.mark.parametrize("notation", ["a:str", "a:int", "a:map", "a:list<str>(≤2)", "a:bool"])
def test_null_for_an_optional_argument_is_an_absent_one(notation: str) -> None:
    assert check({"a": None}, notation) == {}


def test_null_takes_the_default_like_an_absent_argument() -> None:
    assert check({"a": None}, "a:int(1–9)=3") == {"a": 3}


def test_null_for_an_optional_member_of_an_object_is_an_absent_one() -> None:
    raw = {"messages": [{"role": "user", "content": "hi", "n": None}]}
    assert check(raw, MESSAGES) == {"messages": [{"role": "user", "content": "hi"}]}


def test_null_for_a_required_argument_is_a_missing_one() -> None:
    assert faults({"a": None}, "a:str*") == {"a": "is required"}


def test_null_as_an_item_of_a_list_is_refused() -> None:
    assert faults({"a": ["x", None]}, "a:list<str>(≤2)") == {"a[1]": "must be a string"}


@pytest.mark.parametrize(("given", "expected"), [(5.0, 5), (-0.0, 0), (1e3, 1000)])
def test_a_whole_float_is_an_integer(given: float, expected: int) -> None:
    cleaned = check({"a": given}, "a:int")
    assert cleaned == {"a": expected}
    assert type(cleaned["a"]) is int


@pytest.mark.parametrize(
    ("text", "expected"), [("{}", {}), (' {"k": [1, null]} ', {"k": [1, None]})]
)
def test_an_open_map_may_come_as_json_text(text: str, expected: dict[str, Any]) -> None:
    assert check({"a": text}, "a:map") == {"a": expected}


def test_an_open_map_within_a_list_may_come_as_json_text() -> None:
    assert check({"a": ['{"k":1}', {"k": 2}]}, "a:list<map>(≤2)") == {"a": [{"k": 1}, {"k": 2}]}


def test_only_open_maps_may_come_as_json_text() -> None:
    assert faults({"messages": ['{"role":"user"}']}, MESSAGES) == {
        "messages[0]": "must be an object"
    }
    assert faults({"a": "[]"}, "a:list<str>(≤2)") == {"a": "must be a list"}


# Defaults


def test_defaults_are_filled_in_where_the_gateway_sends_them() -> None:
    cleaned = check({}, "a:int(1–9)=3", "b:enum(x,y)=y", "c:bool=false", "d:num(0–2)=0.5", "e:str")
    assert cleaned == {"a": 3, "b": "y", "c": False, "d": 0.5}


def test_a_given_value_wins_over_the_default() -> None:
    assert check({"c": True, "a": 9}, "a:int(1–9)=3", "c:bool=false") == {"a": 9, "c": True}


def test_a_default_that_can_be_changed_is_not_shared_between_calls() -> None:
    shape = schema("a:list<map>(≤2)")
    shape["properties"]["a"]["default"] = [{"k": []}]
    compiled = compile_arguments(shape)
    compiled.check({})[0]["a"][0]["k"].append("changed")
    assert compiled.check({})[0] == {"a": [{"k": []}]}


def test_the_given_arguments_are_not_changed() -> None:
    raw = {"messages": [{"role": "user", "content": "hi", "n": 2.0, "deep": "{}"}], "x": None}
    before = copy.deepcopy(raw)
    cleaned = check(raw, MESSAGES, "x:str")
    assert raw == before
    assert cleaned == {"messages": [{"role": "user", "content": "hi", "n": 2, "deep": {}}]}


# Refusals


@pytest.mark.parametrize(
    ("notation", "value", "message"),
    [
        ("a:str", 5, "must be a string"),
        ("a:str", ["x"], "must be a string"),
        ("a:str", "", "must have 1 to 256 characters"),
        ("a:str(≤5)", "abcdef", "must have at most 5 characters"),
        ("a:str(1–3)", "äöüß", "must have 1 to 3 characters"),
        ("a:str", "x\ud800", "must be Unicode text without lone surrogates"),
        ("a:enum(x,y)", "z", "must be one of x, y"),
        ("a:enum(x,y)", 1, "must be one of x, y"),
        ("a:enum(x,y)", ["x"], "must be one of x, y"),
        ("a:int", "5", "must be an integer"),
        ("a:int", 5.5, "must be an integer"),
        ("a:int", True, "must be an integer"),
        ("a:int", math.inf, "must be an integer"),
        ("a:int", math.nan, "must be an integer"),
        ("a:int", 2**63, "must fit into 64 bits"),
        ("a:int(≥1)", 1e300, "must fit into 64 bits"),
        ("a:int(≥1)", 0, "must be at least 1"),
        ("a:int(1–5)", 6, "must be 1 to 5"),
        ("a:int(≤5)", 6, "must be at most 5"),
        ("a:num(0–2)", "1", "must be a number"),
        ("a:num(0–2)", False, "must be a number"),
        ("a:num(0–2)", 2.001, "must be 0 to 2"),
        ("a:num(0–2)", math.nan, "must be 0 to 2"),
        ("a:num", math.inf, "must be finite"),
        ("a:num", math.nan, "must be finite"),
        ("a:num(≥0)", -1, "must be at least 0"),
        ("a:bool", 1, "must be true or false"),
        ("a:bool", "true", "must be true or false"),
        ("a:map", [], "must be an object, or JSON text of one"),
        ("a:map", "[]", "must be an object, or JSON text of one"),
        ("a:map", "{", "must be an object, or JSON text of one"),
        ("a:map", "\ud800", "must be an object, or JSON text of one"),
        ("a:map", 5, "must be an object, or JSON text of one"),
        ("a:map", {"k": "\ud800"}, "must be Unicode text without lone surrogates"),
        ("a:list<str>(≤2)", "x", "must be a list"),
        ("a:list<str>(≤2)", {"0": "x"}, "must be a list"),
        ("a:list<str>(≤2)", ["x", "y", "z"], "must have at most 2 items"),
        ("a:list<str>(1–2)", [], "must have 1 to 2 items"),
    ],
)
def test_an_unfitting_value_is_refused_with_a_reason(
    notation: str, value: Any, message: str
) -> None:
    assert faults({"a": value}, notation) == {"a": message}


def test_an_open_map_has_at_most_64_members() -> None:
    assert check({"a": dict.fromkeys(map(str, range(64)), 1)}, "a:map")
    many = dict.fromkeys(map(str, range(65)), 1)
    expected = {"a": "must have at most 64 members"}
    assert faults({"a": many}, "a:map") == expected
    assert faults({"a": msgspec.json.encode(many).decode()}, "a:map") == expected


def test_an_open_map_has_at_most_16_kib() -> None:
    frame = len('{"k":""}')
    assert check({"a": {"k": "x" * (MAX_MAP_BYTES - frame)}}, "a:map")
    expected = {"a": "must have at most 16,384 bytes as JSON"}
    assert faults({"a": {"k": "x" * (MAX_MAP_BYTES - frame + 1)}}, "a:map") == expected
    assert faults({"a": {"k": "ä" * (MAX_MAP_BYTES // 2)}}, "a:map") == expected
    assert faults({"a": " " * (MAX_MAP_BYTES + 1)}, "a:map") == expected


def test_a_map_nested_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    expected = {"a": "is nested too deeply"}
    assert faults({"a": {"k": deep}}, "a:map") == expected
    assert faults({"a": '{"k":' + "[" * 8000 + "]" * 8000 + "}"}, "a:map") == expected


def test_unknown_arguments_are_refused_by_name_with_similar_ones() -> None:
    found = faults({"modle": "x", "zzz": 1}, "model:str", "limit:int")
    assert found == {
        "modle": "is not an argument; similar: model",
        "zzz": "is not an argument; known: model, limit",
    }


def test_unknown_members_of_objects_are_refused_by_path() -> None:
    raw = {"messages": [{"role": "user", "content": "hi", "rolle": 1}]}
    assert faults(raw, MESSAGES) == {"messages[0].rolle": "is not an argument; similar: role"}


def test_a_null_does_not_make_an_unknown_argument_known() -> None:
    assert faults({"b": None}, "a:str") == {"b": "is not an argument; known: a"}


def test_a_tool_without_arguments_says_so() -> None:
    assert CHECKS["me_get"].check({"x": 1})[1] == [
        {"field": "x", "message": "is not an argument; none are taken"}
    ]


def test_a_foreign_name_is_cut_and_cleaned_before_it_is_sent_back() -> None:
    assert list(faults({"x\n\ud800" + "y" * 100: 1}, "a:str")) == ["x??" + "y" * 61]


def test_all_faults_are_returned_at_once_with_their_paths() -> None:
    raw = {
        "messages": [
            {"role": "robot", "n": 0},
            {"content": "", "role": "user", "tags": ["", "x", "y"]},
        ],
        "other": 1,
    }
    assert faults(raw, MESSAGES, "model:str*") == {
        "messages[0].role": "must be one of system, user",
        "messages[0].content": "is required",
        "messages[0].n": "must be 1 to 3",
        "messages[1].content": "must have 1 to 65536 characters",
        "messages[1].tags": "must have at most 2 items",
        "other": "is not an argument; known: messages, model",
        "model": "is required",
    }


def test_a_fault_deep_within_lists_has_its_full_path() -> None:
    raw = {"messages": [{"role": "user", "content": "hi", "tags": ["a", "toolong"]}]}
    assert faults(raw, MESSAGES) == {"messages[0].tags[1]": "must have 1 to 3 characters"}


def test_at_most_twenty_faults_are_returned() -> None:
    compiled = compile_arguments(schema("a:list<int>(≤1000)", "b:str*"))
    _, found = compiled.check({"a": ["x"] * 1000})
    assert len(found) == MAX_FAULTS
    assert found[19]["field"] == "a[19]"
    assert len(compiled.check({f"x{index}": 1 for index in range(1000)})[1]) == MAX_FAULTS


def test_a_message_never_repeats_a_value() -> None:
    secret = "hunter2-hunter2"
    values: list[Any] = [secret, [secret], {secret: secret}, {"k": secret * 2000}, [[secret]]]
    notations = (
        "a:int",
        "a:num(0–1)",
        "a:bool",
        "a:enum(x)",
        "a:str(1–3)",
        "a:list<int>(≤9)",
        "a:map",
    )
    for notation in notations:
        compiled = compile_arguments(schema(notation))
        for value in values:
            for fault in compiled.check({"a": value})[1]:
                assert secret not in fault["message"] + fault["field"]


# Conditions over several arguments


@pytest.mark.parametrize(
    ("kind", "raw", "is_ok"),
    [
        ("exactly_one", {"a": "x"}, True),
        ("exactly_one", {"b": "x", "a": None}, True),
        ("exactly_one", {}, False),
        ("exactly_one", {"a": "x", "b": "x"}, False),
        ("at_least_one", {"a": "x", "b": "x"}, True),
        ("at_least_one", {"b": "x"}, True),
        ("at_least_one", {"a": None}, False),
    ],
)
def test_a_condition_over_arguments_is_checked(kind: Any, raw: dict[str, Any], is_ok: bool) -> None:
    compiled = compile_arguments(schema("a:str", "b:str"), [Rule(kind, ("a", "b"))])
    _, found = compiled.check(raw)
    words = "exactly" if kind == "exactly_one" else "at least"
    message = f"{words} one of a, b must be given"
    expected = [{"field": "a", "message": message}, {"field": "b", "message": message}]
    assert found == ([] if is_ok else expected)


def test_a_condition_is_reported_together_with_other_faults() -> None:
    rules = [Rule("exactly_one", ("a", "b"))]
    compiled = compile_arguments(schema("a:str", "b:str", "c:int*"), rules)
    assert [fault["field"] for fault in compiled.check({})[1]] == ["c", "a", "b"]


# Schemas outside the subset


def test_a_schema_outside_the_subset_is_refused_when_compiled() -> None:
    with pytest.raises(SchemaError, match="closed object"):
        compile_arguments({"type": "string", "maxLength": 5})


@pytest.mark.parametrize("default", [0, 10, "x", None])
def test_a_default_that_does_not_fit_is_refused_when_compiled(default: Any) -> None:
    shape = schema("a:int(1–9)")
    shape["properties"]["a"]["default"] = default
    with pytest.raises(SchemaError, match="the default of a must be"):
        compile_arguments(shape)


def test_numbers_without_bounds_may_be_large() -> None:
    assert check({"a": [10**400, 1.5]}, "a:list<num>(≤2)") == {"a": [10**400, 1.5]}


# Any JSON value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.text(st.characters(categories=["Cs", "L"]), max_size=3)
    | st.sampled_from(["{}", '{"a":1}', "[]", "user", "chat", "tenant", "1024x1024", "csv"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["role", "content", "type", "id", "x"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def value_for(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Generate values that often, but not always, fit `node`."""
    kind = node["type"]
    fitting: st.SearchStrategy[Any]
    if "enum" in node:
        fitting = st.sampled_from(node["enum"])
    elif kind == "string":
        low = node.get("minLength", 0)
        fitting = st.text(min_size=low, max_size=low + 4)
    elif kind == "array":
        fitting = st.lists(value_for(node["items"]), min_size=node.get("minItems", 0), max_size=3)
    elif kind == "object":
        properties = {
            name: value_for(member) for name, member in node.get("properties", {}).items()
        }
        fitting = st.fixed_dictionaries({}, optional=properties)
    elif kind == "boolean":
        fitting = st.booleans()
    else:
        numbers = st.integers(node.get("minimum", 0) // 1, node.get("maximum", 9) // 1)
        fitting = numbers | numbers.map(float)
    return st.one_of(fitting, fitting, fitting, JSON)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Generate a tool's name and arguments near its schema."""
    name = draw(st.sampled_from(sorted(TOOLS)))
    properties = TOOLS[name].input_schema["properties"]
    required = TOOLS[name].input_schema.get("required", ())
    arguments = draw(
        st.fixed_dictionaries(
            {key: value_for(properties[key]) for key in required},
            optional={
                key: value_for(member) for key, member in properties.items() if key not in required
            },
        )
    )
    if draw(st.integers(0, 9)) == 0:
        arguments |= draw(st.dictionaries(st.text(max_size=5), JSON, max_size=2))
    return name, arguments


@given(calls())
def test_what_passes_conforms_to_the_schema_and_nothing_raises(
    call: tuple[str, dict[str, Any]],
) -> None:
    name, raw = call
    cleaned, found = CHECKS[name].check(raw)
    again = msgspec.json.encode(found)
    assert len(found) <= MAX_FAULTS
    if found:
        assert msgspec.json.decode(again) == found
        return
    jsonschema.validate(cleaned, TOOLS[name].input_schema)
    assert CHECKS[name].check(cleaned) == (cleaned, [])


@given(calls())
def test_what_conforms_and_needs_no_leniency_passes(call: tuple[str, dict[str, Any]]) -> None:
    name, raw = call
    tool = TOOLS[name]
    if tool.rules or not is_encodable(raw) or is_beyond_schema(raw):
        return
    if jsonschema.Draft202012Validator(tool.input_schema).is_valid(raw):
        assert CHECKS[name].check(raw)[1] == []


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4), st.sampled_from(sorted(TOOLS)))
def test_foreign_json_never_raises(raw: dict[str, Any], name: str) -> None:
    _, found = CHECKS[name].check(raw)
    assert all(isinstance(fault["message"], str) for fault in found)


def is_encodable(value: Any) -> bool:
    """Tell whether a value could have come out of JSON."""
    try:
        msgspec.json.encode(value).decode()
    except UnicodeError:
        return False
    return True


def is_beyond_schema(value: Any) -> bool:
    """Tell whether a value holds a number that JSON Schema does not refuse but the gateway does."""
    if isinstance(value, dict):
        return any(map(is_beyond_schema, value.values()))
    if isinstance(value, list):
        return any(map(is_beyond_schema, value))
    return isinstance(value, (int, float)) and not -(2**63) <= value < 2**63
